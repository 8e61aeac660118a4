"""What the page of campaigns shows: counted, sorted and cut to a page by the database."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url

from airflow_provider_telekom_sms.api.delivery import FINAL_SUCCESS, DeliveryCode
from airflow_provider_telekom_sms.api.phone import mask_phones_in
from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.store import NEVER_SENT, Ledger, State

#: Milliseconds that PostgreSQL may take for a page, and for what is counted in the background.
PAGE_MS, COUNTING_MS = 10_000, 300_000
#: Bars of a timeline, at most.
BARS = 48
#: Lengths that a bar may stand for, milliseconds.
STEPS = tuple(
    minutes * 60_000 for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080, 40_320)
)
#: Where the API and its users are.
ZONE = ZoneInfo("Europe/Bratislava")
#: Different reasons, and suggestions, that are told apart.
MOST_REASONS = 5_000
#: Suggestions and deeds that are named.
TAPS, DEEDS = 8, 10
#: State of a campaign that is being deleted.
_FORGOTTEN = "forgotten"
_HOUR = 3_600_000
DAY = 24 * _HOUR

_c, _p, _o, _m, _a, _b = (
    schema.campaign.c,
    schema.plan.c,
    schema.owner.c,
    schema.message.c,
    schema.action.c,
    schema.callback.c,
)
_ASIDE, _UNDELIVERED = sa.text(schema.ASIDE), sa.text(schema.UNDELIVERED)


# --- the ledger, as it is -----------------------------------------------------------------------------------


class _Found(Ledger):
    """A ledger that is opened as it is: to look at one neither makes it nor brings it up to date."""

    def __init__(self, url: URL) -> None:
        self.url, self.dialect = url, url.get_backend_name()
        self.engine = self._engine()
        with self.reading() as connection:
            self.id = self._check(connection)

    def _check(self, connection: Connection) -> str:
        """Give its id; empty where there is no ledger."""
        tables = schema.metadata.tables.keys()
        there = tables & set(sa.inspect(connection).get_table_names())
        if not there:
            return ""
        if schema.ledger.name not in there:
            raise LedgerError("The ledger has lost its id: restore its backup")
        found = connection.execute(sa.select(schema.ledger.c.id, schema.ledger.c.schema_version)).first()
        if found is None:
            raise LedgerError("The ledger has lost its id: restore its backup")
        if found.schema_version > schema.SCHEMA_VERSION:
            raise LedgerError(
                f"The ledger has tables of version {found.schema_version}, and this package knows versions "
                f"up to {schema.SCHEMA_VERSION}: install the newer package on the API server, too"
            )
        if found.schema_version < schema.SCHEMA_VERSION:
            raise LedgerError(
                f"The ledger has tables of version {found.schema_version}, and this package wants version "
                f"{schema.SCHEMA_VERSION}: the next task that sends brings them up to date, and so does "
                "python -m airflow_provider_telekom_sms ledger campaigns"
            )
        if missing := tables - there:
            raise LedgerError(f"The ledger lacks the tables {', '.join(sorted(missing))}: restore its backup")
        return str(found.id)


def find(url: str | URL) -> Ledger | None:
    """
    Open a ledger to look at it and to settle what is in doubt; it is neither made nor changed by that.

    :param url: SQLAlchemy URL of the database
    :return: None where there is no ledger yet
    :raises LedgerError: when it cannot be opened, or its tables are of another version; says what to do
    """
    url = make_url(url)
    if url.get_backend_name() == "sqlite" and not _holds_tables(Path(str(url.database))):
        return None
    ledger = _Found(url)
    if ledger.id:
        return ledger
    ledger.close()
    return None


def _holds_tables(path: Path) -> bool:
    """Look into a file without making it one of ours."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=5)) as file:
            names = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return any(name in schema.metadata.tables for (name,) in names)
    except sqlite3.Error as error:
        raise LedgerError(f"The ledger cannot be opened: {error}") from None


def _limit_time(connection: Connection, milliseconds: int) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")


# --- campaigns ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Campaign:
    """
    A campaign and who is at work on it.

    :param number: its number in the ledger
    :param name: its id as the user knows it
    :param state: ``active``, ``paused`` or ``cancelled``
    :param created_at: milliseconds since 1970 UTC, by the database's clock
    :param planning: plans that are not finished
    :param at_work: tries that are alive
    :param in_doubt: messages that may have been sent or not
    :param abandoned: of those, what tries had claimed that were killed
    :param version: changes with whatever people and tries do to it, short of sending
    """

    number: int
    name: str
    state: str
    created_at: int
    planning: int
    at_work: int
    in_doubt: int
    abandoned: int
    version: tuple[int, ...]

    def __repr__(self) -> str:
        return f"<Campaign {self.number} {self.state}>"


def campaigns(
    ledger: Ledger, *, search: str = "", before: int | None = None, limit: int = 50
) -> list[Campaign]:
    """
    Give campaigns, the newest first.

    :param search: a part of the campaign's id, in any case
    :param before: only campaigns with a smaller number in the ledger
    """
    query = sa.select(_c.id, _c.name, _c.state, _c.created_at).where(_c.state != _FORGOTTEN)
    if search:
        query = query.where(_c.name.icontains(search, autoescape=True))
    if before is not None:
        query = query.where(_c.id < before)
    with ledger.reading() as connection:
        _limit_time(connection, PAGE_MS)
        found = connection.execute(query.order_by(_c.id.desc()).limit(limit)).all()
        return _with_work(ledger, connection, found)


def campaign(ledger: Ledger, number: int) -> Campaign | None:
    """Give a campaign by its number in the ledger; None where there is none."""
    query = sa.select(_c.id, _c.name, _c.state, _c.created_at)
    with ledger.reading() as connection:
        found = connection.execute(query.where(_c.id == number, _c.state != _FORGOTTEN)).all()
        return next(iter(_with_work(ledger, connection, found)), None)


def _with_work(ledger: Ledger, connection: Connection, found: Sequence[Any]) -> list[Campaign]:
    numbers, names = [row.id for row in found], [row.name for row in found]
    now = ledger.now(connection)
    alive = sa.and_(_o.ended_at.is_(None), _o.lease_until >= now)
    owners = sa.select(
        _o.campaign_id, _count(alive), sa.func.count(), sa.func.coalesce(sa.func.max(_o.ended_at), 0)
    )
    plans = sa.select(_p.campaign_id, _count(_p.state == "planning"), sa.func.max(_p.id))
    actions = sa.select(_a.campaign, sa.func.max(_a.id)).where(_a.campaign.in_(names)).group_by(_a.campaign)
    doubts = sa.select(_m.campaign_id, sa.func.count()).where(_ASIDE, _m.state == State.IN_DOUBT)

    def by_campaign(query: sa.Select[Any], column: sa.ColumnElement[Any]) -> dict[int, Sequence[int]]:
        rows = connection.execute(query.where(column.in_(numbers)).group_by(column))
        return {row[0]: [int(value) for value in row[1:]] for row in rows}

    work = by_campaign(owners, _o.campaign_id)
    planned = by_campaign(plans, _p.campaign_id)
    doubtful = by_campaign(doubts, _m.campaign_id)
    abandoned = _abandoned(connection, numbers, now)
    acted = {name: int(last) for name, last in connection.execute(actions)}
    campaigns = []
    for row in found:
        alive_now, tries, last_end = work.get(row.id, (0, 0, 0))
        planning, last_plan = planned.get(row.id, (0, 0))
        in_doubt = doubtful.get(row.id, (0,))[0] + abandoned[row.id]
        version = (acted.get(row.name, 0), tries, alive_now, last_end, planning, last_plan, in_doubt)
        campaigns.append(
            Campaign(
                row.id,
                row.name,
                row.state,
                row.created_at,
                planning,
                alive_now,
                in_doubt,
                abandoned[row.id],
                version,
            )
        )
    return campaigns


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _dead(now: int) -> sa.Select[Any]:
    """Give the query for the tries that were killed: what they had claimed is in doubt, or soon will be."""
    return sa.select(_o.id).where(_o.ended_at.is_(None), _o.lease_until < now)


def _abandoned(connection: Connection, numbers: Collection[int], now: int) -> Counter[int]:
    """Count what tries had claimed that were killed, by campaign."""
    dead = _dead(now).where(_o.campaign_id.in_(numbers))
    query = sa.select(_m.campaign_id, sa.func.count()).where(
        sa.text("telekom_sms_message.state = 'claimed'"), _m.owner_id.in_(dead)
    )
    return Counter(dict(map(tuple, connection.execute(query.group_by(_m.campaign_id)))))


# --- figures ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """
    How far a campaign is: its messages by what became of them.

    :param as_of: when they were counted, milliseconds since 1970 UTC, by the database's clock
    :param took: seconds that it took to count them
    :param by_state: messages by state
    :param by_code: accepted messages by delivery status; ``""`` where nothing is known yet
    :param failed_by_code: of those, the ones that finally failed
    :param unknown: accepted messages of which nothing more will be known
    :param parts: SMS parts of what was or will be sent, by plan
    :param sent_parts: of those, parts of what was accepted
    :param sent, delivered: first and last time, milliseconds since 1970 UTC; empty where there is none
    """

    as_of: int
    took: float
    by_state: Mapping[str, int] = field(default_factory=dict)
    by_code: Mapping[str, int] = field(default_factory=dict)
    failed_by_code: Mapping[str, int] = field(default_factory=dict)
    unknown: int = 0
    parts: Mapping[int, int] = field(default_factory=dict)
    sent_parts: Mapping[int, int] = field(default_factory=dict)
    sent: tuple[int, int] | tuple[()] = ()
    delivered: tuple[int, int] | tuple[()] = ()

    def of(self, *states: str) -> int:
        """Count the messages in some states."""
        return sum(self.by_state.get(state, 0) for state in states)

    @property
    def total(self) -> int:
        """All rows of its sources."""
        return sum(self.by_state.values())

    @property
    def messages(self) -> int:
        """What was or will be sent."""
        return self.total - self.of(*NEVER_SENT)

    @property
    def unsent(self) -> int:
        """What is still to be sent, or is being sent right now."""
        return self.of(State.PLANNED, State.CLAIMED)

    @property
    def accepted(self) -> int:
        """What the API took."""
        return self.of(State.ACCEPTED)

    @property
    def arrived(self) -> int:
        """What was delivered, read or not."""
        return sum(self.by_code.get(code, 0) for code in FINAL_SUCCESS)

    @property
    def read(self) -> int:
        """What was delivered and read."""
        return self.by_code.get(DeliveryCode.READ, 0)

    @property
    def undelivered(self) -> int:
        """What the API took and could not deliver."""
        return sum(self.failed_by_code.values())

    @property
    def failed(self) -> int:
        """What the API refused, and what it could not deliver."""
        return self.undelivered + self.of(State.REJECTED)

    @property
    def on_the_way(self) -> int:
        """What the API took and says nothing final of."""
        return self.accepted - self.arrived - self.undelivered - self.unknown


def figures(ledger: Ledger, number: int) -> Figures:
    """
    Count a campaign's messages, in one pass.

    :param number: its number in the ledger
    """
    began = time.monotonic()
    query = sa.select(
        _m.plan_id,
        _m.state,
        sa.func.coalesce(_m.delivery_code, ""),
        _m.is_final,
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(_m.parts), 0),
        sa.func.min(_m.state_at),
        sa.func.max(_m.state_at),
        sa.func.min(_m.delivered_at),
        sa.func.max(_m.delivered_at),
    ).where(_of(number))
    query = query.group_by(_m.plan_id, _m.state, _m.delivery_code, _m.is_final)
    with ledger.reading() as connection:
        _limit_time(connection, COUNTING_MS)
        now = ledger.now(connection)
        found = connection.execute(query).all()
    return _summed(found, now, time.monotonic() - began)


def _summed(found: Iterable[Any], now: int, took: float) -> Figures:
    by_state: Counter[str] = Counter()
    by_code: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    parts: Counter[int] = Counter()
    sent_parts: Counter[int] = Counter()
    sent: list[int] = []
    delivered: list[int] = []
    unknown = 0
    for plan, state, code, is_final, number, its_parts, *times in found:
        by_state[state] += number
        if state not in NEVER_SENT:
            parts[plan] += int(its_parts)
        if state != State.ACCEPTED:
            continue
        by_code[code] += number
        sent_parts[plan] += int(its_parts)
        sent += [at for at in times[:2] if at is not None]
        delivered += [at for at in times[2:] if at is not None]
        if is_final and code == DeliveryCode.UNKNOWN:
            unknown += number
        elif is_final and code not in FINAL_SUCCESS:
            failed[code] += number
    return Figures(
        now, took, by_state, by_code, failed, unknown, parts, sent_parts, _ends(sent), _ends(delivered)
    )


def _ends(times: Sequence[int]) -> tuple[int, int] | tuple[()]:
    return (min(times), max(times)) if times else ()


def _of(number: int) -> sa.ColumnElement[bool]:
    # By plan, in whose index the messages stand in the order of the table; in that of the keys they do not.
    return _m.plan_id.in_(sa.select(_p.id).where(_p.campaign_id == number))


@dataclass(frozen=True, slots=True)
class Timeline:
    """
    What was sent and delivered when.

    :param start: milliseconds since 1970 UTC
    :param step: length of a bar, milliseconds
    :param sent: messages that the API took, by bar
    :param delivered: messages that arrived, by bar
    """

    start: int
    step: int
    sent: tuple[int, ...]
    delivered: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Details:
    """
    What takes longer to find out.

    :param took: seconds that it took
    :param timeline: None where nothing was sent
    :param rejected: why messages were rejected, and how many; the commonest first, numbers left out
    :param invalid: why rows could not be sent, in the same way
    :param price, sent_price: of all that was or will be sent, and of what was accepted, in any currency; None
        where a plan has no price
    :param taps: how often suggestions were tapped, by what stands behind them; the commonest first
    :param tapped: how often any of them was
    :param replies: how many answers were written
    :param opted_out: how many of those who answered want no more messages
    :param history: what people did, the newest first
    """

    as_of: int
    took: float
    timeline: Timeline | None
    rejected: Sequence[tuple[str, int]]
    invalid: Sequence[tuple[str, int]]
    price: float | None
    sent_price: float | None
    taps: Sequence[tuple[str, int]]
    tapped: int
    replies: int
    opted_out: int
    history: Sequence[Deed]


def details(ledger: Ledger, campaign: Campaign, seen: Figures) -> Details:
    """
    Find out when a campaign was delivered, why some was not, and what was answered.

    :param seen: its figures
    """
    began = time.monotonic()
    number = campaign.number
    with ledger.reading() as connection:
        _limit_time(connection, COUNTING_MS)
        now = ledger.now(connection)
        timeline = _timeline(connection, campaign, seen, now)
        rejected = _reasons(connection, number, State.REJECTED) if seen.of(State.REJECTED) else []
        invalid = _reasons(connection, number, State.INVALID) if seen.of(State.INVALID) else []
        prices = _prices(connection, number)
        taps = _taps(connection, number)
        answers = _answers(connection, number)
    done = history(ledger, campaign.name, DEEDS)
    cost, sent_cost = _cost(seen.parts, prices), _cost(seen.sent_parts, prices)
    took = time.monotonic() - began
    return Details(now, took, timeline, rejected, invalid, cost, sent_cost, taps, *answers, done)


def _timeline(connection: Connection, campaign: Campaign, seen: Figures, now: int) -> Timeline | None:
    times = [*seen.sent, *seen.delivered]
    # The times of delivery are the API's: what cannot be must not make one bar of all the rest.
    earliest, latest = campaign.created_at - _HOUR, now + _HOUR
    if any(not earliest <= at <= latest for at in times):
        ends = [sa.func.min(_m.delivered_at), sa.func.max(_m.delivered_at)]
        query = sa.select(*ends).where(_of(campaign.number), _m.delivered_at.between(earliest, latest))
        times = [*seen.sent, *(at for at in connection.execute(query).one() if at is not None)]
    if not times:
        return None
    # The first bar begins before the first time, by a day that may have 25 hours.
    fewest = (max(times) - min(times)) / (BARS - 2)
    step = next((step for step in STEPS if step > fewest), math.ceil(fewest / STEPS[-1]) * STEPS[-1])
    start = min(times) // step * step if step < DAY else _midnight(min(times))
    bars = int((max(times) - start) // step + 1)

    def by_bar(column: sa.ColumnElement[Any]) -> tuple[int, ...]:
        # The literal, for PostgreSQL takes two parameters of the same value for two expressions.
        bar: sa.Label[Any] = sa.literal_column(f"({column} - {int(start)}) / {int(step)}").label("bar")
        query = sa.select(bar, sa.func.count()).where(
            _of(campaign.number), _m.state == State.ACCEPTED, column.between(start, start + step * bars - 1)
        )
        found = {int(n): int(number) for n, number in connection.execute(query.group_by(sa.text("bar")))}
        return tuple(found.get(n, 0) for n in range(bars))

    return Timeline(start, step, by_bar(_m.state_at), by_bar(_m.delivered_at))


def _midnight(at: int) -> int:
    moment = datetime.fromtimestamp(at / 1000, ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(moment.timestamp()) * 1000


def _reasons(connection: Connection, number: int, state: State) -> list[tuple[str, int]]:
    count = sa.func.count().label("number")
    query = sa.select(_m.reason, count).where(_ASIDE, _m.campaign_id == number, _m.state == state)
    query = query.group_by(_m.reason).order_by(count.desc(), _m.reason).limit(MOST_REASONS)
    found: Counter[str] = Counter()
    for reason, many in connection.execute(query):
        found[kind_of(reason or "")] += many
    return found.most_common()


def kind_of(reason: str) -> str:
    """Give what many reasons have in common: a reason without the number that it is about."""
    return _MASKED.sub("…", mask_phones_in(reason))


_MASKED = re.compile(r"(?:\+421\d)?••••\d{0,4}")


def _prices(connection: Connection, number: int) -> dict[int, float]:
    query = sa.select(_p.id, _p.summary).where(
        _p.campaign_id == number, _p.summary.contains("price_per_part")
    )
    found = {plan: json.loads(summary).get("price_per_part") for plan, summary in connection.execute(query)}
    return {plan: float(price) for plan, price in found.items() if price is not None}


def _cost(parts: Mapping[int, int], prices: Mapping[int, float]) -> float | None:
    """Give what parts cost by plan; None where one has no price, for half a price is none."""
    costly = {plan: number for plan, number in parts.items() if number}
    if not prices or not costly.keys() <= prices.keys():
        return None
    return round(sum(number * prices[plan] for plan, number in costly.items()), 6)


def _taps(connection: Connection, number: int) -> list[tuple[str, int]]:
    count = sa.func.count().label("number")
    query = sa.select(_b.postback_data, count).where(_b.campaign_id == number, _b.kind == "postback")
    query = query.group_by(_b.postback_data).order_by(count.desc()).limit(MOST_REASONS)
    taps: Counter[str] = Counter()
    for data, many in connection.execute(query):
        taps[mask_phones_in(data or "")] += many
    return taps.most_common(TAPS)


def _answers(connection: Connection, number: int) -> tuple[int, int, int]:
    """Count taps, replies, and who of those who answered wants no more messages."""
    mine = [_b.campaign_id == number, _b.kind != "dsn"]
    tapped = sa.func.coalesce(_count(_b.kind == "postback"), 0)
    taps, both = connection.execute(sa.select(tapped, sa.func.count()).where(*mine)).one()
    who = sa.select(sa.func.count(sa.distinct(_b.phone))).where(*mine)
    opted_out = connection.scalar(who.where(_b.phone.in_(sa.select(schema.opt_out.c.phone))))
    return int(taps), both - int(taps), int(opted_out or 0)


# --- plans, tries, history ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlanSeen:
    """
    A source that was read into a campaign.

    :param task: the task instance that did it
    :param price: price of one SMS part, in any currency; None where none was set
    :param summary: what was found out while it was made; texts in it have their values masked
    """

    id: int
    task: str
    state: str
    created_at: int
    key_column: str | None
    price: float | None
    summary: Mapping[str, Any]


def plans(ledger: Ledger, number: int, limit: int) -> list[PlanSeen]:
    """Give a campaign's plans, the newest first."""
    query = sa.select(_p.id, _p.slot, _p.state, _p.created_at, _p.key_column, _p.summary)
    query = query.where(_p.campaign_id == number).order_by(_p.id.desc()).limit(limit)
    with ledger.reading() as connection:
        found = connection.execute(query).all()
    seen = []
    for number, task, state, at, key, text in found:
        summary = json.loads(text or "{}")
        seen.append(PlanSeen(number, task, state, at, key, summary.get("price_per_part"), summary))
    return seen


@dataclass(frozen=True, slots=True)
class Try:
    """
    A try that has not ended.

    :param alive: False where it was silent for so long that it was most likely killed
    """

    task: str
    started_at: int
    alive: bool


def tries(ledger: Ledger, number: int, limit: int) -> list[Try]:
    """Give the tries that have not ended, the newest first."""
    query = sa.select(_o.slot, _o.started_at, _o.lease_until)
    query = query.where(_o.campaign_id == number, _o.ended_at.is_(None)).order_by(_o.id.desc()).limit(limit)
    with ledger.reading() as connection:
        now = ledger.now(connection)
        return [Try(slot, started, until >= now) for slot, started, until in connection.execute(query)]


class Deed(NamedTuple):
    """What somebody did to a campaign, to so many messages at once; ``row`` where it was one."""

    at: int
    action: str
    actor: str
    reason: str
    number: int
    row: int | None


def history(ledger: Ledger, name: str, limit: int) -> list[Deed]:
    """
    Give what people did to a campaign, the newest first.

    :param name: the campaign's id as the user knows it
    """
    last, number = sa.func.max(_a.id).label("last"), sa.func.count().label("number")
    same = (_a.at, _a.action, _a.actor, _a.reason)
    grouped = (
        sa.select(*same, number, last, sa.func.max(_a.message_id).label("message"))
        .where(_a.campaign == name)
        .group_by(*same)
        .order_by(last.desc())
        .limit(limit)
        .subquery()
    )
    g = grouped.c
    query = (
        sa.select(g.at, g.action, g.actor, g.reason, g.number, _m.row)
        .outerjoin(schema.message, sa.and_(_m.id == g.message, g.number == 1))
        .order_by(g.last.desc())
    )
    with ledger.reading() as connection:
        _limit_time(connection, COUNTING_MS)
        return [Deed(*row) for row in connection.execute(query)]


# --- rows ---------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a message stands among those of its campaign: the order in which they were planned."""

    plan_id: int
    row: int
    id: int


_place = sa.tuple_(_m.plan_id, _m.row, _m.id)
_ROW = (
    _m.plan_id, _m.row, _m.id, _m.key, _m.phone, _m.parts, _m.state, _m.reason, _m.state_at, _m.message_id,
    _m.delivery_code, _m.delivered_at, _m.is_final,
)  # fmt: skip
_FEW_CODES = ("ERROR", "UNKNOWN", "EXPIRED", "DELETED", "UNDELIVERABLE", "DENIED")


def _is_state(state: str) -> sa.ColumnElement[bool]:
    return sa.literal_column(f"telekom_sms_message.state = '{State(state).value}'", sa.Boolean())


#: Which rows are shown, by a name: the conditions, and whether they are few and have an index of their own.
SHOWN: dict[str, tuple[list[Any], bool]] = {
    "all": ([], False),
    **{state: ([_is_state(state)], False) for state in (State.PLANNED, State.CLAIMED, State.ACCEPTED)},
    "on_the_way": ([_is_state("accepted"), sa.not_(_m.is_final)], False),
    "arrived": ([_m.delivery_code.in_(sorted(FINAL_SUCCESS))], False),
    "undelivered": (
        [_UNDELIVERED, _m.is_final, _m.delivery_code != DeliveryCode.UNKNOWN, _is_state("accepted")],
        True,
    ),
    **{state: ([_ASIDE, _is_state(state)], True) for state in (State.REJECTED, State.IN_DOUBT, *NEVER_SENT)},
    **{
        code.value: (
            [_is_state("accepted"), _m.delivery_code == code.value]
            + ([_UNDELIVERED] if code in _FEW_CODES else []),
            code in _FEW_CODES,
        )
        for code in DeliveryCode
    },
}


def rows(
    ledger: Ledger, number: int, shown: str = "all", *, after: Place | None = None, limit: int = 50
) -> list[sa.Row[Any]]:
    """
    Give messages of a campaign in the order they were planned; texts are not read.

    :param shown: which, a name of :data:`SHOWN`
    :param after: only those that stand behind this place
    """
    conditions, few = SHOWN[shown]
    query = sa.select(*_ROW).where(*conditions).limit(limit)
    with ledger.reading() as connection:
        _limit_time(connection, PAGE_MS)
        if few:
            query = query.where(_m.campaign_id == number).order_by(_m.plan_id, _m.row, _m.id)
            return list(connection.execute(query if after is None else query.where(_place > after)))
        # What is planned has an index of its own, by number; in a plan, numbers rise with the rows.
        order = (_m.id,) if shown == State.PLANNED else (_m.row, _m.id)
        return _by_plan(connection, query, number, order, after, limit)


def _by_plan(
    connection: Connection,
    query: sa.Select[Any],
    number: int,
    order: tuple[sa.ColumnElement[Any], ...],
    after: Place | None,
    limit: int,
) -> list[sa.Row[Any]]:
    """Plan by plan, for the rows of each stand in an index in their order, and those of all do not."""
    plans = sa.select(_p.id).where(_p.campaign_id == number).order_by(_p.id)
    found: list[sa.Row[Any]] = []
    for plan in connection.scalars(plans if after is None else plans.where(_p.id >= after.plan_id)).all():
        page = query.where(_m.plan_id == plan).order_by(*order).limit(limit - len(found))
        if after and plan == after.plan_id:
            page = page.where(sa.tuple_(*order) > (after.row, after.id)[-len(order) :])
        found += connection.execute(page)
        if len(found) >= limit:
            break
    return found


def doubts(ledger: Ledger, number: int, *, after: Place | None = None, limit: int = 50) -> list[sa.Row[Any]]:
    """
    Give messages that may have been sent or not, in the order they were planned.

    Those are with them that a dead try had claimed, which the next one will put in doubt. Each tells whether
    it still has its text, without which it cannot be sent again.
    """
    wanted = (*_ROW, _m.text.is_not(None).label("has_text"))
    with ledger.reading() as connection:
        _limit_time(connection, PAGE_MS)
        queries = _doubtful(ledger, connection, number, *wanted)
        if after:
            queries = [query.where(_place > after) for query in queries]
        both = sa.union_all(*queries).subquery()
        b = both.c
        return list(connection.execute(sa.select(both).order_by(b.plan_id, b.row, b.id).limit(limit)))


def doubtful(ledger: Ledger, number: int) -> list[int]:
    """Give the numbers in the ledger of all that :func:`doubts` gives, in any order."""
    with ledger.reading() as connection:
        _limit_time(connection, PAGE_MS)
        both = sa.union_all(*_doubtful(ledger, connection, number, _m.id))
        return list(connection.scalars(both))


def _doubtful(
    ledger: Ledger, connection: Connection, number: int, *wanted: sa.ColumnElement[Any]
) -> list[sa.Select[Any]]:
    """Give the queries for what is in doubt, and for what soon will be."""
    dead = _dead(ledger.now(connection)).where(_o.campaign_id == number)
    return [
        sa.select(*wanted).where(_ASIDE, _is_state("in_doubt"), _m.campaign_id == number),
        sa.select(*wanted).where(_is_state("claimed"), _m.owner_id.in_(dead)),
    ]


def places(ledger: Ledger, number: int, ids: Sequence[int]) -> dict[int, list[int]]:
    """
    Give the row numbers of messages, by plan.

    :param ids: numbers of messages in the ledger; those of other campaigns are left out
    """
    query = sa.select(_m.plan_id, _m.row).where(_m.id.in_(ids), _m.campaign_id == number)
    found: dict[int, list[int]] = defaultdict(list)
    with ledger.reading() as connection:
        for plan, row in connection.execute(query.order_by(_m.plan_id, _m.row)):
            found[plan].append(row)
    return found
