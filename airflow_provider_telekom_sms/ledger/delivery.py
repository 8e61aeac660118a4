"""Delivery in the ledger: which messages to ask for next, and what is known of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from airflow_provider_telekom_sms.api import delivery as api
from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.bulk import Bulk, Values
from airflow_provider_telekom_sms.ledger.planning import _campaign
from airflow_provider_telekom_sms.ledger.store import Ledger, State

#: The campaign that holds messages which were not sent through the ledger but are waited for.
WATCHED = "(watched)"
#: A failure on one channel is final only when the next one had this long after its turn came, seconds.
FALLBACK_GRACE = 1_800.0
#: Seconds after a callback until its message is asked for: only to find what never came.
CALLBACK_PATIENCE = 3_600.0

_m, _p, _b = schema.message.c, schema.plan.c, schema.callback.c


@dataclass(frozen=True, slots=True)
class Scope:
    """
    The messages to wait for.

    :param campaign_id: the campaign's id as the user knows it
    :param message_ids: ids of the API; one of the two is given
    """

    campaign_id: str | None = None
    message_ids: tuple[str, ...] = ()

    def where(self) -> list[sa.ColumnElement[bool]]:
        """Give the condition that picks these messages."""
        if self.campaign_id is None:
            return [_m.message_id.in_(self.message_ids)]
        return [_m.campaign_id == self.campaign()]

    def campaign(self) -> sa.ScalarSelect[int]:
        """Give the query for the campaign's number."""
        return schema.campaign_named(str(self.campaign_id)).scalar_subquery()


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    A message whose delivery is not final.

    :param accepted_at: milliseconds since 1970 UTC
    :param trouble_since: since when it stands in ERROR, or in a failure that a fallback may still mend
    :param fallback: another channel may still deliver it after this one failed
    :param ttl: seconds that the channels before the last one have
    :param told: a callback came for it, so that more are to be expected
    """

    id: int
    message_id: str
    code: str | None
    accepted_at: int
    trouble_since: int | None
    fallback: bool
    ttl: int = 0
    told: bool = False


def patience(code: str, *, fallback: bool, ttl: int) -> float | None:
    """
    Give the seconds for which a status must have stood to be final; None where it never is.

    :param fallback: another channel may still deliver what failed on one
    :param ttl: seconds that the channels before the last one have
    """
    if code == api.DeliveryCode.ERROR:
        return api.ERROR_FINAL_AFTER.total_seconds()
    if code in api.FINAL_FAILURE:
        return FALLBACK_GRACE + ttl if fallback else 0.0
    return 0.0 if code in api.FINAL else None


def since_when(code: str, before: str | None, since: int | None, now: int) -> int:
    """
    Say since when a message has been in trouble, milliseconds since 1970 UTC.

    :param code: what it is in now
    :param before: what it was in until now, and ``since`` when
    """
    # A failure that follows an ERROR has not stood as long as that.
    goes_on = before == code or before in api.FINAL_FAILURE
    return (since if goes_on else None) or now


@dataclass(frozen=True, slots=True)
class Check:
    """
    What a check of one message told, and when to ask again; both times in milliseconds since 1970 UTC.

    :param code: None where it told nothing
    """

    id: int
    code: str | None
    delivered_at: int | None
    is_final: bool
    trouble_since: int | None
    next_check_at: int | None


@dataclass(frozen=True)
class Progress:
    """
    How far the delivery of a scope is.

    :param total: messages that were accepted
    :param unsent: messages of the campaign that are still to be sent
    :param by_code: accepted messages by delivery status; ``""`` where nothing is known yet
    :param final_by_code: of those, the ones whose delivery is final
    :param next_due: seconds until a message is to be asked for; None where none is waited for
    :param unaccepted: messages of the campaign that were rejected, are in doubt, or were cancelled
    :param planning: the campaign is still being planned, or was not planned to the end
    """

    total: int
    unsent: int
    by_code: dict[str, int] = field(default_factory=dict)
    final_by_code: dict[str, int] = field(default_factory=dict)
    next_due: float | None = None
    unaccepted: int = 0
    planning: bool = False


def watch(ledger: Ledger, message_ids: Sequence[str]) -> None:
    """Take in ids that were not sent through this ledger, so that what is learnt of them is kept."""
    with ledger.transaction() as connection:
        if not _unknown(connection, message_ids):
            return
        now = ledger.now(connection)
        campaign_id = _campaign(connection, WATCHED, now)
        # Another one may have taken them in before the campaign was locked.
        if not (missing := _unknown(connection, message_ids)):
            return
        plan_id = connection.scalar(sa.select(_p.id).where(_p.campaign_id == campaign_id))
        if plan_id is None:
            plan = {"campaign_id": campaign_id, "slot": WATCHED, "state": "ready", "created_at": now}
            plan |= {"owner_id": 0, "fingerprint": "", "parameters": "{}", "fallback": False}
            plan_id = connection.scalar(schema.plan.insert().values(plan).returning(_p.id))
        common = {"campaign_id": campaign_id, "plan_id": plan_id, "row": 0, "state": State.ACCEPTED}
        connection.execute(
            schema.message.insert(),
            [{**common, "message_id": i, "state_at": now, "next_check_at": now} for i in missing],
        )


def _unknown(connection: sa.Connection, message_ids: Sequence[str]) -> list[str]:
    known = set(connection.scalars(sa.select(_m.message_id).where(_m.message_id.in_(message_ids))))
    return [i for i in dict.fromkeys(message_ids) if i not in known]


def due(ledger: Ledger, scope: Scope, limit: int, until: int | None = None) -> tuple[int, list[Waiting]]:
    """
    Give the ledger's time and the messages whose time to be asked for has come, longest waiting first.

    :param until: only those whose time came before this one, in milliseconds since 1970 UTC
    """
    told = sa.select(_b.id).where(_b.row_id == _m.id).correlate(schema.message).exists()
    query = (
        sa.select(
            _m.id, _m.message_id, _m.delivery_code, _m.state_at, _m.trouble_since, _p.fallback, _p.ttl, told
        )
        .join(schema.plan, _p.id == _m.plan_id)
        .where(sa.text("telekom_sms_message.state = 'accepted' AND NOT is_final"), *scope.where())
        .order_by(_m.next_check_at, _m.id)
        .limit(limit)
    )
    with ledger.reading() as connection:
        now = ledger.now(connection)
        found = connection.execute(query.where(_m.next_check_at <= (now if until is None else until)))
        return now, [Waiting(*row) for row in found]


def record(ledger: Ledger, checks: Sequence[Check]) -> None:
    """Record what checks told; a final status is never overwritten by a lesser one."""
    if not checks:
        return
    with ledger.transaction() as connection:
        ids = [check.id for check in checks]
        known = sa.select(_m.id, _m.delivery_code).where(_m.id.in_(ids)).with_for_update()
        current = {row.id: row.delivery_code for row in connection.execute(known)}
        _LEARN.execute(connection, [_values(check, current.get(check.id)) for check in checks])


def _learning(new: Values, table: sa.FromClause | None) -> sa.Update:
    return (
        schema.message.update()
        .where(_m.id == new["row_id"])
        .values(
            delivery_code=new["code"],
            delivered_at=sa.func.coalesce(new["at"], _m.delivered_at),
            is_final=sa.or_(_m.is_final, new["final"]),
            trouble_since=new["trouble"],
            next_check_at=new["check_at"],
        )
    )


_LEARN = Bulk(
    {
        "row_id": sa.BigInteger(),
        "code": sa.Text(),
        "at": sa.BigInteger(),
        "final": sa.Boolean(),
        "trouble": sa.BigInteger(),
        "check_at": sa.BigInteger(),
    },
    _learning,
)


def _values(check: Check, current: str | None) -> dict[str, object]:
    # Short of a final status, what was just told is truer than what was told before.
    keep = check.code is None or (current in api.FINAL and not api.supersedes(check.code, current))
    return {
        "row_id": check.id,
        "code": current if keep else check.code,
        "at": None if keep else check.delivered_at,
        "final": check.is_final,
        "trouble": check.trouble_since,
        "check_at": check.next_check_at,
    }


def progress(ledger: Ledger, scope: Scope) -> Progress:
    """
    Tell how far delivery is.

    :raises LedgerError: when the ledger holds no such campaign
    """
    by_code = sa.select(
        sa.func.coalesce(_m.delivery_code, ""), _m.is_final, sa.func.count(), sa.func.min(_m.next_check_at)
    )
    with ledger.reading() as connection:
        now = ledger.now(connection)
        _require(connection, scope)
        found = connection.execute(
            by_code.where(_m.state == State.ACCEPTED, *scope.where()).group_by(_m.delivery_code, _m.is_final)
        ).all()
        others, plans = _around(connection, scope)
        cancelled = _state_of(connection, scope) == "cancelled"
    codes: Counter[str] = Counter()
    for code, _, number, _ in found:
        codes[code] += number
    if (gone := len(set(scope.message_ids)) - sum(codes.values())) > 0:
        raise LedgerError(
            f"The ledger knows {gone} of the messages no longer: they were purged, or not watched"
        )
    times = [at for _, final, _, at in found if not final and at is not None]
    return Progress(
        total=sum(codes.values()),
        unsent=others[State.CLAIMED] + (0 if cancelled else others[State.PLANNED]),
        unaccepted=others[State.REJECTED] + others[State.IN_DOUBT] + cancelled * others[State.PLANNED],
        planning=not cancelled
        and (plans["planning"] > 0 or (scope.campaign_id is not None and not plans["ready"])),
        by_code=dict(codes),
        final_by_code={code: number for code, final, number, _ in found if final},
        next_due=max(0.0, (min(times) - now) / 1000) if times else None,
    )


def _around(connection: sa.Connection, scope: Scope) -> tuple[Counter[str], Counter[str]]:
    """Count what else a campaign has: messages that are not accepted, by state, and plans, by state."""
    if scope.campaign_id is None:
        return Counter(), Counter()
    number = scope.campaign()
    messages = sa.select(_m.state, sa.func.count()).where(*scope.where()).group_by(_m.state)
    plans = sa.select(_p.state, sa.func.count()).where(_p.campaign_id == number).group_by(_p.state)
    states, planned = (connection.execute(query).all() for query in (messages, plans))
    return Counter(dict(map(tuple, states))), Counter(dict(map(tuple, planned)))


def _state_of(connection: sa.Connection, scope: Scope) -> str | None:
    if scope.campaign_id is None:
        return None
    state = sa.select(schema.campaign.c.state).where(schema.campaign.c.id == scope.campaign())
    return connection.scalar(state)


def _require(connection: sa.Connection, scope: Scope) -> None:
    if scope.campaign_id is None:
        return
    if connection.scalar(sa.select(scope.campaign())) is None:
        raise LedgerError(f"The ledger holds no campaign {scope.campaign_id!r}")
