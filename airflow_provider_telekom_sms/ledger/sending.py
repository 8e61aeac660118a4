"""Sends from the ledger: claims, committed before a byte leaves, and outcomes, recorded after."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.bulk import Bulk, Values
from airflow_provider_telekom_sms.ledger.planning import Owner, at_work, insert_into, renew
from airflow_provider_telekom_sms.ledger.store import Ledger, State

#: How far a rate limit is stretched, seconds: half ahead, half for turns that came late.
RATE_WINDOW = 0.2
#: Milliseconds that the first callback of a message has before the message is asked for.
FIRST_CALLBACK_MS = 60_000

_c, _p, _o, _m, _r = (
    schema.campaign.c,
    schema.plan.c,
    schema.owner.c,
    schema.message.c,
    schema.rate.c,
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that this owner alone may send now."""

    id: int
    plan_id: int
    phone: str
    text: str
    external_id: str | None = None

    def __repr__(self) -> str:
        return f"<Claimed {self.id}>"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a claimed message.

    :param id: the message's number in the ledger
    :param state: accepted, rejected, in doubt, suppressed, or planned where it surely never left
    :param check_at: when its delivery is first asked for, milliseconds since 1970 UTC; None for now
    :param calls_back: the API was given our callback URL, so that it is asked only where nothing comes
    """

    id: int
    state: State
    message_id: str | None = None
    parts: int | None = None
    reason: str | None = None
    check_at: int | None = None
    keep_text: bool = False
    calls_back: bool = False


def external_id(ledger: Ledger, number: int, given: str | None) -> str:
    """
    Give what a message is known by in replies and callbacks of API v2.

    :param number: the message's number in the ledger
    :param given: the user's own id, if there is one
    """
    return given or f"{ledger.id}-{number}"


def number_in(ledger: Ledger, external_id: str) -> int | None:
    """Give the number of the message in the ledger that an id was made of; None where it is another's."""
    ledger_id, _, number = external_id.rpartition("-")
    ours = ledger_id == ledger.id and re.fullmatch(r"[1-9]\d{0,17}", number, re.ASCII)
    return int(number) if ours else None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """
    A limit that belongs to an API key, whoever sends with it.

    :param key: the API key; the ledger keeps only its hash
    :param per_second: messages per second
    """

    key: str
    per_second: float

    def __repr__(self) -> str:
        return f"<RateLimit {self.per_second:g}/s>"


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    What an exchange gave.

    :param claimed: messages to send now
    :param recorded: how many outcomes were brought to it
    :param wait: seconds to wait for the rate limit before more can be had
    :param halted: why no more is given: ``superseded``, ``paused`` or ``cancelled``; empty if it is
    """

    claimed: list[Claimed]
    recorded: int = 0
    wait: float = 0.0
    halted: str = ""


def exchange(
    ledger: Ledger,
    owner: Owner,
    outcomes: Sequence[Outcome],
    want: int,
    *,
    plans: Collection[int] | None = None,
    rate: RateLimit | None = None,
    known: Collection[int] | None = None,
) -> Exchange:
    """
    Record outcomes and claim more, in one durable transaction.

    :param want: how many messages to claim at most
    :param plans: claim from these plans only; None for all that the campaign has ready
    :param rate: the limit that the key is under
    :param known: the claims that this owner has heard of, where the answer to an earlier exchange was lost:
        what that one claimed is given first
    :raises LedgerError: when the database fails; then nothing was recorded and nothing claimed
    """
    with ledger.transaction() as connection:
        now = ledger.now(connection)
        alive = renew(connection, owner, now)
        if outcomes:
            _record(connection, owner, outcomes, now)
        if not alive:
            return Exchange([], len(outcomes), halted="superseded")
        # Here and not before: the earlier one may be committed as late as this, and the renewal waits for it.
        lost = [] if known is None else _unheard(connection, owner, known)
        want -= len(lost)
        state = connection.scalar(_STATE, {"campaign": owner.campaign_id})
        if state != "active":
            return Exchange(lost, len(outcomes), halted=str(state))
        if want <= 0:
            return Exchange(lost, len(outcomes))
        granted, wait = _grant(connection, rate, want, now) if rate else (want, 0.0)
        claimed = _claim(connection, owner, granted, plans, now) if granted else []
        if rate and granted > len(claimed):
            _give_back(connection, rate, granted - len(claimed))
        # Fewer than were granted means that nothing is left, whatever the rate.
        return Exchange(lost + claimed, len(outcomes), wait if len(claimed) == granted else 0.0)


# What an exchange executes is built once: to build a statement costs more than to run it.
# The states stand literally: only so do both databases use the partial indexes.
_STATE = sa.select(_c.state).where(_c.id == sa.bindparam("campaign"))
#: Plans that have something to send. With shared locks: while a plan is claimed from, it cannot be removed.
_PLANS = (
    sa.select(_p.id)
    .where(
        _p.campaign_id == sa.bindparam("campaign"),
        _p.state == "ready",
        sa.select(_m.id)
        .where(_m.plan_id == _p.id, sa.text("telekom_sms_message.state = 'planned'"))
        .correlate(schema.plan)
        .exists(),
    )
    .order_by(_p.id)
    .with_for_update(read=True, of=schema.plan)
)
#: In a table expression: joined directly, PostgreSQL may run the subquery more than once, and claim too much.
_NEXT = (
    sa.select(_m.id)
    .where(_m.plan_id == sa.bindparam("plan"), sa.text("state = 'planned'"))
    .order_by(_m.id)
    .limit(sa.bindparam("want", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .cte("next")
)
_CLAIM = (
    schema.message.update()
    .where(_m.id.in_(sa.select(_NEXT.c.id)))
    .values(state=State.CLAIMED, owner_id=sa.bindparam("by_owner"), state_at=sa.bindparam("now"), reason=None)
    .returning(_m.id, _m.plan_id, _m.phone, _m.text, _m.external_id)
)


def _claim(
    connection: Connection, owner: Owner, want: int, plans: Collection[int] | None, now: int
) -> list[Claimed]:
    claimed: list[Claimed] = []
    for plan in connection.scalars(_PLANS, {"campaign": owner.campaign_id}).all():
        if len(claimed) < want and (plans is None or plan in plans):
            values = {"plan": plan, "want": want - len(claimed), "by_owner": owner.id, "now": now}
            rows = connection.execute(_CLAIM, values)
            claimed += sorted((Claimed(*row) for row in rows), key=lambda message: message.id)
    return claimed


def _unheard(connection: Connection, owner: Owner, known: Collection[int]) -> list[Claimed]:
    """Give what this owner has claimed and never heard of, because the database went away as it answered."""
    mine = sa.select(_m.id, _m.plan_id, _m.phone, _m.text, _m.external_id).where(
        _m.owner_id == owner.id, sa.text("state = 'claimed'")
    )
    return [Claimed(*row) for row in connection.execute(mine.order_by(_m.id)) if row.id not in known]


def _settling(new: Values, table: sa.FromClause | None) -> sa.Update:
    """
    Give the statement that records outcomes.

    Only of the owner's own claims; in doubt too, where a later try has declared this owner dead by mistake,
    and planned, where that one is then to be sent again but is not yet.
    """
    return (
        schema.message.update()
        .where(
            _m.id == new["row_id"],
            _m.owner_id == sa.bindparam("by_owner", type_=sa.BigInteger),
            sa.text("state IN ('claimed', 'in_doubt', 'planned')"),
        )
        .values(
            state=new["new_state"],
            state_at=sa.bindparam("now", type_=sa.BigInteger),
            reason=new["new_reason"],
            message_id=new["new_message_id"],
            parts=sa.func.coalesce(new["new_parts"], _m.parts),
            text=sa.case((new["erase"], sa.null()), else_=_m.text),
            next_check_at=new["check_at"],
            # What surely never left is nobody's: it can be planned anew.
            owner_id=sa.case((new["release"], sa.null()), else_=_m.owner_id),
        )
    )


_SETTLE = Bulk(
    {
        "row_id": sa.BigInteger(),
        "new_state": sa.Text(),
        "new_reason": sa.Text(),
        "new_message_id": sa.Text(),
        "new_parts": sa.SmallInteger(),
        "erase": sa.Boolean(),
        "check_at": sa.BigInteger(),
        "release": sa.Boolean(),
    },
    _settling,
)


def _record(connection: Connection, owner: Owner, outcomes: Sequence[Outcome], now: int) -> None:
    rows = [
        {
            "row_id": o.id,
            "new_state": o.state.value,
            "new_reason": o.reason,
            "new_message_id": o.message_id,
            "new_parts": o.parts,
            "erase": o.state == State.SUPPRESSED or (o.state == State.ACCEPTED and not o.keep_text),
            "check_at": _first_check(o, now) if o.state == State.ACCEPTED else None,
            "release": o.state == State.PLANNED,
        }
        for o in outcomes
    ]
    _SETTLE.execute(connection, rows, by_owner=owner.id, now=now)


def _first_check(outcome: Outcome, now: int) -> int:
    return (outcome.check_at or now) + (FIRST_CALLBACK_MS if outcome.calls_back else 0)


def _rate_key(rate: RateLimit) -> str:
    return hashlib.sha256(rate.key.encode()).hexdigest()


def _grant(connection: Connection, rate: RateLimit, want: int, now_ms: int) -> tuple[int, float]:
    """Take up to ``want`` messages' worth of time from the key's schedule; give count and seconds to wait."""
    key, now = _rate_key(rate), now_ms * 1000
    insert = insert_into(connection, schema.rate).values(key_hash=key, next_at=now)
    connection.execute(insert.on_conflict_do_nothing(index_elements=["key_hash"]))
    query = sa.select(_r.next_at).where(_r.key_hash == key).with_for_update()
    half = int(RATE_WINDOW * 1e6 / 2)
    start = max(int(connection.scalar(query) or now), now - half)
    if start > (latest := now + math.ceil(10e6 / rate.per_second) + 10**6):
        # Nobody books so far ahead: the clock was set back.
        _set_rate(connection, key, latest)
        start = latest
    if start > now:
        return 0, (start - now) / 1e6
    granted = min(want, 1 + int((now + half - start) * rate.per_second / 1e6))
    next_at = start + math.ceil(granted * 1e6 / rate.per_second)
    _set_rate(connection, key, next_at)
    return granted, max(0.0, (next_at - now) / 1e6)


def _give_back(connection: Connection, rate: RateLimit, unused: int) -> None:
    key = _rate_key(rate)
    next_at = connection.scalar(sa.select(_r.next_at).where(_r.key_hash == key)) or 0
    _set_rate(connection, key, int(next_at - unused * 1e6 / rate.per_second))


def _set_rate(connection: Connection, key: str, next_at: int) -> None:
    connection.execute(schema.rate.update().where(_r.key_hash == key).values(next_at=next_at))


def parameters(ledger: Ledger, owner: Owner, plan_id: int | None = None) -> dict[int, dict[str, Any]]:
    """
    Give what the messages of a campaign are sent with, by plan that is ready.

    :param plan_id: only of this plan
    """
    query = sa.select(_p.id, _p.parameters).where(_p.campaign_id == owner.campaign_id, _p.state == "ready")
    if plan_id is not None:
        query = query.where(_p.id == plan_id)
    with ledger.reading() as connection:
        return {plan: json.loads(parameters) for plan, parameters in connection.execute(query)}


def requeue(ledger: Ledger, owner: Owner, state: State, plan_id: int | None = None) -> int:
    """
    Make messages of a campaign sendable again, because the user asked for it.

    They keep their owner: until they are claimed anew, an outcome that it still brings settles them. What is
    of tries that are at work is left alone.

    :param plan_id: only those of this plan; None for the whole campaign
    :param state: ``in_doubt`` (may send twice!) or ``rejected``
    :return: how many
    """
    with ledger.transaction() as connection:
        now = ledger.now(connection)
        if not renew(connection, owner, now):
            return 0
        which = [_m.campaign_id == owner.campaign_id, _m.state == state, _m.text.is_not(None)]
        if plan_id is not None:
            which.append(_m.plan_id == plan_id)
        # What tries at work leave is for a later try, not for a sibling that began a little later.
        alive = at_work(now).where(_o.campaign_id == owner.campaign_id, _o.id != owner.id)
        which.append(sa.or_(_m.owner_id.is_(None), _m.owner_id.not_in(alive)))
        result = connection.execute(
            schema.message.update().where(*which).values(state=State.PLANNED, state_at=now)
        )
        return int(result.rowcount)
