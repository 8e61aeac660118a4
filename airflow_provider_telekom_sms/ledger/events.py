"""
What asset events are made of: answers and finished campaigns, in batches.

::

    callback, plan ──► watcher ──► batch ──► handed over ──► confirmed    by the trigger
                                     └─────► taken, once for each DAG     by that DAG's runs

A watcher looks at everything once. What it made a batch of stays in that batch: one that is handed over
again, after whatever died, is the same one, and which DAG run had it stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.delivery import WATCHED
from airflow_provider_telekom_sms.ledger.planning import insert_into
from airflow_provider_telekom_sms.ledger.store import Ledger, State

ANSWERS = ("postback", "inbound")
CAMPAIGNS = ("campaign_sent", "campaign_delivered")

#: Rows read in one go.
PAGE = 1_000
#: A plan that was begun so long ago is committed or never will be, milliseconds: the server ends a
#: transaction that stands still for half of that.
SETTLED = 120_000
#: An unfinished campaign is looked at after a twentieth of its age, milliseconds, or after this.
LAZIEST_LOOK = 300_000
#: Campaigns that are named in an asset event.
NAMED = 20

_w, _e, _a, _f = (
    schema.event_watcher.c,
    schema.event_batch.c,
    schema.event_answer.c,
    schema.event_campaign.c,
)
_b, _c, _p, _o, _m = schema.callback.c, schema.campaign.c, schema.plan.c, schema.owner.c, schema.message.c
_MEMBER = (_f.campaign_id, _f.kind, _f.plan_id)
#: As the index of what is no status says it.
_SAID = sa.text("telekom_sms_callback.kind <> 'dsn'")


@dataclass(frozen=True, slots=True)
class Watch:
    """
    What a watcher looks for. In the texts ``*`` stands for anything; empty means all.

    :param kinds: of :data:`ANSWERS` and :data:`CAMPAIGNS`
    :param campaign_id: ids of campaigns, as the user knows them
    :param postback_data: what stands behind the button
    :param text: of inbound messages, in any case
    :param name: what the watcher goes on under when the rest changes; without one, the rest is its name
    :param since: where a new one begins
    """

    kinds: tuple[str, ...]
    campaign_id: tuple[str, ...] = ()
    postback_data: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    name: str | None = None
    since: Literal["now", "beginning"] = "now"

    @classmethod
    def check(cls, *, kind: Any, name: Any, since: Any, **patterns: Any) -> Self:
        """
        Make one of what a DAG's author gave.

        :raises ConfigurationError: naming the parameter, what was found and what is allowed
        """
        kinds, lists = _texts("kind", kind), {key: _texts(key, value) for key, value in patterns.items()}
        if not kinds or not set(kinds) <= {*ANSWERS, *CAMPAIGNS}:
            raise ConfigurationError(
                f"kind: found {kind!r}, allowed are {', '.join((*ANSWERS, *CAMPAIGNS))}, or a list of these"
            )
        for parameter, needs in (("postback_data", "postback"), ("text", "inbound")):
            if lists.get(parameter) and needs not in kinds:
                raise ConfigurationError(f"{parameter}: allowed only with kind {needs!r}")
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise ConfigurationError(f"name: found {name!r}, allowed is a text that is not empty")
        if since not in ("now", "beginning"):
            raise ConfigurationError(f"since: found {since!r}, allowed are 'now', 'beginning'")
        lists["text"] = tuple(text.casefold() for text in lists.get("text", ()))
        return cls(kinds, name=name, since=since, **lists)

    @property
    def title(self) -> str:
        """What tells this watcher from others."""
        if self.name is not None:
            return self.name
        given = {key: value for key, value in asdict(self).items() if value and key not in ("name", "since")}
        return json.dumps(given, ensure_ascii=False)

    def of(self, among: Sequence[str]) -> tuple[str, ...]:
        """Give the kinds that are looked for, of some."""
        return tuple(kind for kind in among if kind in self.kinds)

    def is_of_campaign(self, name: str | None) -> bool:
        """Tell whether a campaign is among those that are looked for."""
        return not self.campaign_id or (name is not None and _which(self.campaign_id, name) is not None)


def _texts(parameter: str, value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) and one for one in found):
        raise ConfigurationError(f"{parameter}: found {value!r}, allowed is a text or a list of texts")
    return tuple(sorted(set(found)))


@lru_cache(maxsize=1_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _which(patterns: Iterable[str], value: str) -> str | None:
    return next((pattern for pattern in patterns if _compiled(pattern).fullmatch(value)), None)


@dataclass(frozen=True, slots=True)
class Batch:
    """
    What one asset event is about.

    :param id: its number in the ledger
    :param payload: counts and campaigns, as JSON; no number, text or answer of a person
    """

    id: int
    payload: dict[str, Any]


# --- watching -----------------------------------------------------------------------------------------------


def watcher(ledger: Ledger, watch: Watch) -> int:
    """Find or create a watcher; give its number in the ledger."""
    key = hashlib.sha256(watch.title.encode()).hexdigest()
    number = sa.select(_w.id).where(_w.key_hash == key)
    with ledger.reading() as connection:
        if (found := connection.scalar(number)) is not None:
            return int(found)
    with ledger.transaction() as connection:
        now, callback, plan = ledger.now(connection), 0, 0
        if watch.since == "now":
            callback = connection.scalar(sa.select(sa.func.max(_b.id))) or 0
            plan = _newest_plan(connection) if watch.of(CAMPAIGNS) else 0
        new = {"key_hash": key, "name": watch.title, "callback_id": callback, "plan_id": plan}
        insert = insert_into(connection, schema.event_watcher).values(**new, created_at=now)
        insert = insert.on_conflict_do_nothing(index_elements=["key_hash"]).returning(_w.id)
        created = connection.scalar(insert)
        if created is not None and watch.since == "now":
            for kind in watch.of(CAMPAIGNS):
                _note_plans(connection, created, kind, _unfinished_plans(connection, watch, kind), now)
        return int(created or connection.scalar(number) or 0)


def _newest_plan(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        # Waits for those that are being written: none is to appear with a lower number.
        connection.exec_driver_sql("LOCK TABLE telekom_sms_plan IN SHARE MODE")
    return connection.scalar(sa.select(sa.func.max(_p.id))) or 0


def _hold(connection: Connection, watcher_id: int) -> sa.Row[Any]:
    """Hold a watcher until the transaction ends, so that nothing gets into two batches of it."""
    return connection.execute(
        sa.select(schema.event_watcher).where(_w.id == watcher_id).with_for_update()
    ).one()


def _add_batch(connection: Connection, watcher_id: int, payload: dict[str, Any], now: int) -> Batch:
    new = {"watcher_id": watcher_id, "created_at": now, "handed_over_at": now}
    insert = schema.event_batch.insert().values(payload=json.dumps(payload, ensure_ascii=False), **new)
    return _batch(connection.scalar(insert.returning(_e.id)), payload)


def _batch(number: Any, payload: dict[str, Any]) -> Batch:
    return Batch(int(number), {"batch": int(number), **payload})


def _named(names: Iterable[str | None]) -> dict[str, int]:
    counted = Counter(name for name in names if name is not None)
    return dict(counted.most_common(NAMED))


# --- answers ------------------------------------------------------------------------------------------------


def gather_answers(ledger: Ledger, watcher_id: int, watch: Watch, limit: int) -> tuple[Batch | None, bool]:
    """
    Make a batch of the answers that came since the last one.

    :param limit: callbacks that are looked at
    :return: the batch, None where there is nothing for one; and whether there may be more
    """
    with ledger.reading() as connection:
        after = sa.select(_w.callback_id).where(_w.id == watcher_id).scalar_subquery()
        if not any(connection.execute(query.limit(1)).first() for query in _answers(watcher_id, after)):
            return None, False
    with ledger.transaction() as connection:
        held = _hold(connection, watcher_id)
        waiting, new = (
            connection.execute(query.limit(limit)).all() for query in _answers(watcher_id, held.callback_id)
        )
        found = [one for one in (*waiting, *new) if one.kind in watch.kinds]
        fit = [(one, why) for one in found if (why := _fits(watch, one)) is not None]
        mine = [(one, why) for one, why in fit if watch.is_of_campaign(one.name)]
        # What they are about may not be recorded yet.
        wait = [one.id for one, _ in fit if not watch.is_of_campaign(one.name) and one.look_again_at]
        settled = [one.id for one in waiting]
        connection.execute(
            schema.event_answer.delete().where(_a.watcher_id == watcher_id, _a.callback_id.in_(settled))
        )
        if new:
            last = schema.event_watcher.update().where(_w.id == watcher_id)
            connection.execute(last.values(callback_id=new[-1].id))
        batch = None
        if mine:
            batch = _add_batch(connection, watcher_id, _describe_answers(watch, mine), ledger.now(connection))
        members = [(one.id, batch and batch.id) for one, _ in mine] + [(number, None) for number in wait]
        if members:
            rows = [{"watcher_id": watcher_id, "callback_id": i, "batch_id": of} for i, of in members]
            connection.execute(schema.event_answer.insert(), rows)
    return batch, limit in (len(waiting), len(new))


def _answers(watcher_id: int, after: Any) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Give the queries for what waited for its campaign and does no longer, and for what came."""
    query = sa.select(
        _b.id, _b.kind, _b.text, _b.postback_data, _b.look_again_at, _c.name
    ).select_from(schema.callback).outerjoin(schema.campaign, _c.id == _b.campaign_id)  # fmt: skip
    waited = query.join(schema.event_answer, _a.callback_id == _b.id).where(
        _a.watcher_id == watcher_id, _a.batch_id.is_(None), _b.look_again_at.is_(None)
    )
    # Callbacks are committed in the order of their numbers.
    return waited.order_by(_b.id), query.where(_SAID, _b.id > after).order_by(_b.id)


def _fits(watch: Watch, one: sa.Row[Any]) -> str | None:
    """Give the pattern that an answer fits, empty where there is none to fit; None where it does not."""
    patterns, value = watch.postback_data, one.postback_data or ""
    if one.kind == "inbound":
        patterns, value = watch.text, (one.text or "").strip().casefold()
    return _which(patterns, value) if patterns else ""


def _describe_answers(watch: Watch, answers: list[tuple[sa.Row[Any], str]]) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "count": len(answers),
        "by_kind": dict(Counter(one.kind for one, _ in answers)),
        "campaigns": _named(one.name for one, _ in answers),
        "first": min(one.id for one, _ in answers),
        "last": max(one.id for one, _ in answers),
    }
    # By what was asked for: what the buttons themselves say may name a person.
    for kind, patterns, name in (
        ("postback", watch.postback_data, "by_postback"),
        ("inbound", watch.text, "by_text"),
    ):
        if patterns:
            payload[name] = dict(Counter(why for one, why in answers if one.kind == kind))
    return payload


# --- finished campaigns -------------------------------------------------------------------------------------


def gather_campaigns(
    ledger: Ledger, watcher_id: int, watch: Watch, limit: int, interval: float
) -> tuple[Batch | None, bool]:
    """
    Make a batch of the campaigns that were finished since the last one.

    :param limit: campaigns that are looked at
    :param interval: seconds until a campaign that is not finished is looked at again at least
    :return: the batch, None where there is nothing for one; and whether there may be more
    """
    more = _find_plans(ledger, watcher_id, watch)
    with ledger.reading() as connection:
        now = ledger.now(connection)
        looked = connection.execute(_due(watcher_id, now).limit(limit)).all()
        counts = {one.campaign_id: _count(connection, one.campaign_id) for one in looked if one.is_finished}
    if not looked:
        return None, more
    with ledger.transaction() as connection:
        _hold(connection, watcher_id)
        # Another triggerer may have come first.
        which = _which_ones(watcher_id, looked)
        still = set(connection.execute(sa.select(*_MEMBER).where(which)).all())
        mine = [one for one in looked if (one.campaign_id, one.kind, one.plan_id) in still]
        finished = [one for one in mine if one.is_finished]
        batch = None
        if finished:
            batch = _add_batch(connection, watcher_id, _describe_campaigns(finished, counts), now)
        for one in finished:
            into = {"batch_id": batch and batch.id, "counts": json.dumps(counts[one.campaign_id])}
            only = schema.event_campaign.update().where(_which_ones(watcher_id, [one]))
            connection.execute(only.values(into))
        _look_later(connection, watcher_id, [one for one in mine if not one.is_finished], now, interval)
    return batch, more or len(looked) == limit


def _which_ones(watcher_id: int, ones: Iterable[sa.Row[Any]]) -> sa.ColumnElement[bool]:
    members = [(one.campaign_id, one.kind, one.plan_id) for one in ones]
    return sa.and_(_f.watcher_id == watcher_id, _f.batch_id.is_(None), sa.tuple_(*_MEMBER).in_(members))


def _look_later(
    connection: Connection, watcher_id: int, ones: list[sa.Row[Any]], now: int, interval: float
) -> None:
    removed = [one for one in ones if one.plan_state is None]
    connection.execute(schema.event_campaign.delete().where(_which_ones(watcher_id, removed)))
    soonest, share = int(interval * 1000), (now - _f.found_at) // 20
    pause = sa.case((share < soonest, soonest), (share > LAZIEST_LOOK, LAZIEST_LOOK), else_=share)
    later = schema.event_campaign.update().where(_which_ones(watcher_id, ones))
    connection.execute(later.values(look_at=sa.literal(now, sa.BigInteger) + pause))


def _find_plans(ledger: Ledger, watcher_id: int, watch: Watch) -> bool:
    """Note the plans that were begun since; tell whether there may be more."""
    with ledger.reading() as connection:
        after, now = (
            connection.scalar(sa.select(_w.plan_id).where(_w.id == watcher_id)),
            ledger.now(connection),
        )
        plans = connection.execute(
            sa.select(_p.id, _p.campaign_id, _p.created_at, _c.name)
            .join(schema.campaign, _c.id == _p.campaign_id)
            .where(_p.id > after)
            .order_by(_p.id)
            .limit(PAGE)
        ).all()
        newest = {one.campaign_id: one.id for one in plans if _is_watched(watch, one.name)}
        found = {kind: _not_noted(connection, watcher_id, kind, newest) for kind in watch.of(CAMPAIGNS)}
    last = max((one.id for one in plans if one.created_at < now - SETTLED), default=after)
    if last == after and not any(found.values()):
        return False
    with ledger.transaction() as connection:
        _hold(connection, watcher_id)
        for kind, of_kind in found.items():
            _note_plans(connection, watcher_id, kind, of_kind, now)
        go_on = schema.event_watcher.update().where(_w.id == watcher_id, _w.plan_id < last)
        connection.execute(go_on.values(plan_id=last))
    return len(plans) == PAGE


def _is_watched(watch: Watch, name: str) -> bool:
    return name != WATCHED and watch.is_of_campaign(name)


def _not_noted(connection: Connection, watcher_id: int, kind: str, newest: dict[int, int]) -> dict[int, int]:
    query = sa.select(_f.campaign_id, sa.func.max(_f.plan_id)).where(
        _f.watcher_id == watcher_id, _f.kind == kind, _f.campaign_id.in_(newest)
    )
    noted = dict(map(tuple, connection.execute(query.group_by(_f.campaign_id))))
    return {campaign: plan for campaign, plan in newest.items() if noted.get(campaign, 0) < plan}


def _note_plans(connection: Connection, watcher_id: int, kind: str, plans: dict[int, int], now: int) -> None:
    """Note campaigns, by their newest plan, to be looked at until they are finished."""
    if not plans:
        return
    same = {"watcher_id": watcher_id, "kind": kind, "found_at": now, "look_at": now}
    insert = insert_into(connection, schema.event_campaign).on_conflict_do_nothing()
    connection.execute(insert, [{"campaign_id": c, "plan_id": p, **same} for c, p in plans.items()])
    newer = schema.event_campaign.alias("newer").c
    earlier = sa.select(newer.plan_id).where(
        newer.campaign_id == _f.campaign_id,
        newer.watcher_id == _f.watcher_id,
        newer.kind == _f.kind,
        newer.plan_id > _f.plan_id,
    )
    connection.execute(
        schema.event_campaign.delete().where(
            _f.watcher_id == watcher_id,
            _f.kind == kind,
            _f.batch_id.is_(None),
            _f.campaign_id.in_(plans),
            earlier.correlate(schema.event_campaign).exists(),
        )
    )


def _unfinished_plans(connection: Connection, watch: Watch, kind: str) -> dict[int, int]:
    newest = sa.func.max(_p.id).label("newest")
    query = (
        sa.select(_c.id, _c.name, newest)
        .join(schema.plan, _p.campaign_id == _c.id)
        .where(sa.or_(_p.state == "planning", ~_is_finished(kind)))
        .group_by(_c.id, _c.name)
    )
    return {one.id: one.newest for one in connection.execute(query) if _is_watched(watch, one.name)}


def _due(watcher_id: int, now: int) -> sa.Select[Any]:
    """Give the query for the campaigns to look at, and whether they are finished."""
    finished = sa.case(
        *((_f.kind == kind, _is_finished(kind)) for kind in CAMPAIGNS), else_=sa.false()
    )  # fmt: skip
    return (
        sa.select(
            _f.campaign_id, _f.kind, _f.plan_id, _f.found_at, _c.name, _p.state.label("plan_state"),
            sa.and_(_p.state == "ready", finished).label("is_finished"),
        )
        .join(schema.campaign, _c.id == _f.campaign_id)
        .outerjoin(schema.plan, _p.id == _f.plan_id)
        .where(_f.watcher_id == watcher_id, _f.batch_id.is_(None), _f.look_at <= now)
        .order_by(_f.look_at)
    )  # fmt: skip


def _is_finished(kind: str) -> sa.ColumnElement[bool]:
    """Give the condition that nothing more is to come; each part of it looks for one row in an index."""
    plan, campaign = schema.plan.alias("any_plan"), schema.campaign
    planned = (
        sa.select(_m.id)
        .join(plan, plan.c.id == _m.plan_id)
        .where(plan.c.campaign_id == _c.id, plan.c.state == "ready")
        .where(sa.text("telekom_sms_message.state = 'planned'"))
    )
    claimed = (
        sa.select(_m.id)
        .join(schema.owner, _o.id == _m.owner_id)
        .where(_o.campaign_id == _c.id, sa.text("telekom_sms_message.state = 'claimed'"))
    )
    arriving = sa.select(_m.id).where(
        _m.campaign_id == _c.id, sa.text("telekom_sms_message.state = 'accepted' AND NOT is_final")
    )
    # With a limit the server cannot turn them into one join over all messages.
    none = [
        query.limit(1).correlate(campaign).scalar_subquery().is_(None)
        for query in (planned, claimed, *([arriving] if kind == "campaign_delivered" else []))
    ]
    return sa.and_(sa.or_(_c.state == "cancelled", none[0]), *none[1:])


def _count(connection: Connection, campaign_id: int) -> dict[str, Any]:
    """Count a campaign's messages by state, and those that were accepted by delivery status."""
    query = sa.select(_m.state, _m.delivery_code, sa.func.count()).where(
        _m.plan_id.in_(sa.select(_p.id).where(_p.campaign_id == campaign_id))
    )
    states: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    for state, code, number in connection.execute(query.group_by(_m.state, _m.delivery_code)):
        states[state] += number
        if state == State.ACCEPTED:
            codes[code or ""] += number
    by_state = {state.value: states[state] for state in State if states[state]}
    return {"total": states.total(), **by_state, "delivery": dict(codes)}


def _describe_campaigns(finished: list[sa.Row[Any]], counts: dict[int, dict[str, Any]]) -> dict[str, Any]:
    return {
        "count": len(finished),
        "by_kind": dict(Counter(one.kind for one in finished)),
        "campaigns": {one.name: counts[one.campaign_id]["total"] for one in finished[:NAMED]},
    }


# --- handing over -------------------------------------------------------------------------------------------


def unconfirmed(
    ledger: Ledger, watcher_id: int, *, after: float | None = None, limit: int = 100
) -> list[Batch]:
    """
    Give batches to hand over again, for Airflow was never heard to have stored their events.

    :param after: only those that were last handed over so many seconds ago; None for all
    """
    query = sa.select(_e.id, _e.payload).where(_e.watcher_id == watcher_id, _e.confirmed_at.is_(None))
    with ledger.reading() as connection:
        now = ledger.now(connection)
        if after is not None:
            query = query.where(_e.handed_over_at < now - int(after * 1000))
        found = connection.execute(query.order_by(_e.id).limit(limit))
        batches = [_batch(number, json.loads(payload)) for number, payload in found]
    _stamp(ledger, [batch.id for batch in batches], "handed_over_at")
    return batches


def confirm(ledger: Ledger, batches: Collection[int]) -> None:
    """Note that Airflow has stored the events of batches."""
    _stamp(ledger, batches, "confirmed_at")


def _stamp(ledger: Ledger, batches: Collection[int], column: str) -> None:
    if not batches:
        return
    with ledger.transaction() as connection:
        stamp = schema.event_batch.update().where(_e.id.in_(list(batches)), _e.confirmed_at.is_(None))
        connection.execute(stamp.values({column: ledger.now(connection)}))


def forget_batches(ledger: Ledger, before: int) -> None:
    """
    Delete batches made before a time, milliseconds since 1970 UTC, and which runs had them.

    What they were made of is not looked at again, for its watcher has passed it.
    """
    with ledger.transaction() as connection:
        # Over the plans of the last minutes it may go once more.
        before = min(before, ledger.now(connection) - 2 * SETTLED)
        connection.execute(schema.event_batch.delete().where(_e.created_at < before))
        connection.execute(schema.event_take.delete().where(schema.event_take.c.at < before))


# --- taking -------------------------------------------------------------------------------------------------


def take(ledger: Ledger, batches: Collection[int], dag_id: str, run_id: str) -> list[int]:
    """
    Take batches for a DAG run: these and later ones of the same watchers that no other run of the DAG has.

    Later ones too, because Airflow may leave an event that comes while a run is being made to the run after
    that, which may never be. The same run gets the same ones whenever it asks.

    :param batches: of the asset events that started the run
    :return: those that are the run's now, in order
    """
    first = sa.select(_e.watcher_id, sa.func.min(_e.id)).where(_e.id.in_(list(batches)))
    with ledger.transaction() as connection:
        now = ledger.now(connection)
        watchers = connection.execute(first.group_by(_e.watcher_id).order_by(_e.watcher_id)).all()
        taken = [
            number
            for watcher_id, earliest in watchers
            for number in _take(connection, watcher_id, earliest, dag_id, run_id, now)
        ]
    return sorted(taken)


def _take(
    connection: Connection, watcher_id: int, earliest: int, dag_id: str, run_id: str, now: int
) -> Sequence[int]:
    takes, taken = schema.event_take, schema.event_taken
    _hold(connection, watcher_id)
    whose = {"watcher_id": watcher_id, "dag_id": dag_id, "run_id": run_id}
    take_id = connection.scalar(sa.select(takes.c.id).filter_by(**whose))
    if take_id is None:
        take_id = connection.scalar(takes.insert().values(**whose, at=now).returning(takes.c.id))
        others = sa.select(taken.c.batch_id).where(taken.c.batch_id == _e.id, taken.c.dag_id == dag_id)
        free = sa.select(_e.id, sa.literal(dag_id), sa.literal(take_id)).where(
            _e.watcher_id == watcher_id, _e.id >= earliest, ~others.correlate(schema.event_batch).exists()
        )
        connection.execute(taken.insert().from_select(["batch_id", "dag_id", "take_id"], free))
    return connection.scalars(sa.select(taken.c.batch_id).where(taken.c.take_id == take_id)).all()


def answers(ledger: Ledger, batches: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Give the answers in batches, in the order they came, in constant memory."""
    page = (
        sa.select(
            _b.id, _b.kind, sa.func.coalesce(_b.phone, _m.phone).label("phone"), _b.text, _b.postback_data,
            _b.message_id, _b.external_id, _c.name.label("campaign_id"), _m.row, _m.key, _b.received_at,
        )
        .select_from(schema.event_answer)
        .join(schema.callback, _b.id == _a.callback_id)
        .outerjoin(schema.campaign, _c.id == _b.campaign_id)
        .outerjoin(schema.message, _m.id == _b.row_id)
        .order_by(_a.callback_id)
        .limit(PAGE)
    )  # fmt: skip
    for batch in batches:
        after = 0
        while True:
            with ledger.reading() as connection:
                query = page.where(_a.batch_id == batch, _a.callback_id > after)
                rows = connection.execute(query).mappings().all()
            for row in rows:
                yield {**row, "received_at": datetime.fromtimestamp(row["received_at"] / 1000, UTC)}
            if len(rows) < PAGE:
                break
            after = rows[-1]["id"]


def campaigns(ledger: Ledger, batches: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Give the finished campaigns in batches, with their counts when they were."""
    query = (
        sa.select(_c.name, _f.kind, _f.counts)
        .join(schema.campaign, _c.id == _f.campaign_id)
        .order_by(_c.name, _f.kind)
    )
    for batch in batches:
        with ledger.reading() as connection:
            rows = connection.execute(query.where(_f.batch_id == batch)).all()
        for row in rows:
            yield {"campaign_id": row.name, "kind": row.kind, **json.loads(row.counts)}
