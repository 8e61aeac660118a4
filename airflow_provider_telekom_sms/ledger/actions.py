"""What people do to a campaign: pause, resume and cancel it, and settle what is in doubt; who, when, why."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_telekom_sms.api.delivery import DeliveryCode
from airflow_provider_telekom_sms.api.phone import mask_phones_in
from airflow_provider_telekom_sms.exceptions import ConfigurationError, LedgerError
from airflow_provider_telekom_sms.ledger import planning, reporting, schema
from airflow_provider_telekom_sms.ledger.planning import CHUNK, at_work
from airflow_provider_telekom_sms.ledger.store import Ledger, State, storable

log = logging.getLogger(__name__)

Decision = Literal["sent", "resend", "drop"]
DECISIONS: tuple[Decision, ...] = ("sent", "resend", "drop")
#: Rows that an error names.
SHOWN = 10
#: Row numbers that may be named at once.
MOST_ROWS = 100_000

_c, _p, _o, _m, _a = (
    schema.campaign.c,
    schema.plan.c,
    schema.owner.c,
    schema.message.c,
    schema.action.c,
)


@dataclass(frozen=True, slots=True)
class Action:
    """
    What somebody did to a campaign.

    :param at: milliseconds since 1970 UTC, by the database's clock
    :param row: the row it was done to, where it was done to a single one that is still there
    """

    at: int
    action: str
    actor: str
    reason: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """
    A message in doubt.

    :param plan_id: the plan that brought it; another plan may have a row of the same number
    :param since: milliseconds since 1970 UTC
    :param has_text: False where the text was erased, so that it cannot be sent again
    """

    row: int
    plan_id: int
    phone: str | None
    since: int | None
    reason: str | None
    has_text: bool

    def __repr__(self) -> str:
        return f"<Doubt row {self.row} of plan {self.plan_id}>"


# --- the campaign as a whole --------------------------------------------------------------------------------


def pause(ledger: Ledger, campaign: str, *, actor: str, reason: str) -> str:
    """
    Let a campaign claim nothing more until it is resumed; what is in flight is awaited and recorded.

    :param campaign: the campaign's id as the user knows it
    :param actor: who does it
    :param reason: why
    :return: the state it was in
    :raises CancelledError: when it was cancelled
    """
    return _change(ledger, campaign, "pause", "paused", actor, reason)


def resume(ledger: Ledger, campaign: str, *, actor: str, reason: str) -> str:
    """
    Let a paused campaign be sent by its next try.

    :return: the state it was in
    :raises CancelledError: when it was cancelled, which is final
    """
    return _change(ledger, campaign, "resume", "active", actor, reason)


def cancel(ledger: Ledger, campaign: str, *, actor: str, reason: str) -> str:
    """
    End a campaign for good: what was not sent by now never will be.

    :return: the state it was in
    """
    return _change(ledger, campaign, "cancel", "cancelled", actor, reason)


def _change(ledger: Ledger, campaign: str, action: str, new: str, actor: str, reason: str) -> str:
    actor, reason = said(actor, reason)
    number = reporting.campaign_number(ledger, campaign)
    with ledger.transaction() as connection:
        old, now = hold(connection, number), ledger.now(connection)
        if new != "cancelled":
            planning.refuse_cancelled(connection, number, campaign)
        # No try may ever come that would do it.
        bury(connection, [_o.campaign_id == number, _o.lease_until < now], now)
        if old != new:
            connection.execute(schema.campaign.update().where(_c.id == number).values(state=new))
            note(connection, now, campaign, action, actor, reason)
    return old


def bury(connection: Connection, which: list[sa.ColumnElement[bool]], now: int) -> None:
    """End tries that were killed, as the next try would; what they had claimed is in doubt from now on."""
    planning.end_where(connection, sa.and_(_o.ended_at.is_(None), *which), now)


def hold(connection: Connection, number: int) -> str:
    """Hold a campaign until the transaction ends, and give its state."""
    state = connection.scalar(sa.select(_c.state).where(_c.id == number).with_for_update(key_share=True))
    if state is None:
        raise LedgerError("The campaign was deleted meanwhile")
    return str(state)


def said(actor: str, reason: str) -> tuple[str, str]:
    """Check who and why; both are kept longer than the campaign, so without numbers."""
    for name, found in (("actor", actor), ("reason", reason)):
        if not isinstance(found, str) or not found.strip():
            raise ConfigurationError(f"{name}: found nothing, allowed is a text that is not empty")
    return storable(actor.strip()), mask_phones_in(storable(reason.strip()))


def note(
    connection: Connection,
    now: int,
    campaign: str,
    action: str,
    actor: str,
    reason: str,
    message_ids: Sequence[int | None] = (None,),
) -> None:
    common = {"at": now, "campaign": campaign, "action": action, "actor": actor, "reason": reason}
    connection.execute(schema.action.insert(), [{**common, "message_id": i} for i in message_ids])


def history(ledger: Ledger, campaign: str) -> list[Action]:
    """Give what people did to a campaign, oldest first; it is kept when the campaign is gone."""
    query = (
        sa.select(_a.at, _a.action, _a.actor, _a.reason, _m.row)
        .outerjoin(schema.message, _m.id == _a.message_id)
        .where(_a.campaign == campaign)
        .order_by(_a.id)
    )
    with ledger.reading() as connection:
        return [Action(*row) for row in connection.execute(query)]


# --- messages in doubt --------------------------------------------------------------------------------------


def in_doubt(ledger: Ledger, campaign: str, limit: int | None = None) -> list[Doubt]:
    """
    Give the messages of a campaign that may have been sent or not, in the order they were planned.

    Those are with them that a dead try had claimed, which the next one will put in doubt.

    :param campaign: the campaign's id as the user knows it
    """
    number = reporting.campaign_number(ledger, campaign)
    with ledger.reading() as connection:
        alive = at_work(ledger.now(connection)).where(_o.campaign_id == number)
        abandoned = sa.and_(_m.state == State.CLAIMED, _m.owner_id.not_in(alive))
        reason = sa.case((abandoned, "its sender is dead"), else_=_m.reason)
        query = (
            sa.select(_m.row, _m.plan_id, _m.phone, _m.state_at, reason, _m.text.is_not(None))
            .where(*_of(number), sa.or_(_m.state == State.IN_DOUBT, abandoned))
            .order_by(_m.plan_id, _m.row, _m.id)
            .limit(limit)
        )
        return [Doubt(*row) for row in connection.execute(query)]


def _of(number: int) -> list[sa.ColumnElement[bool]]:
    # By plan, in whose index the messages stand in the order of their rows.
    return [_m.plan_id.in_(sa.select(_p.id).where(_p.campaign_id == number))]


def settle(
    ledger: Ledger,
    campaign: str,
    decision: str,
    *,
    rows: Iterable[int] | None = None,
    plan: int | None = None,
    message_id: str | None = None,
    seen: str | None = None,
    actor: str,
    reason: str,
) -> int:
    """
    Say what became of messages in doubt, or what is to become of them.

    Each is recorded with who and why. An outcome that a late try still brings no longer changes what was
    settled as sent or dropped; what is to be sent again it settles, until it is claimed anew.

    :param campaign: the campaign's id as the user knows it
    :param decision: ``sent`` counts as accepted; ``resend`` leaves it to the next try of any task of the
        campaign, perhaps twice; ``drop`` counts as rejected and is never sent, not even by
        ``on_rejected="resend"``
    :param rows: row numbers of the source; None for all that is in doubt and, to be sent again, has its text
    :param plan: rows of this plan only, where several plans have a row of the same number in doubt
    :param message_id: the API's id of a single row that was sent; without it nothing is ever learnt of the
        delivery, which is then UNKNOWN
    :param seen: what :func:`mark_of` gave for all that somebody saw in doubt; None where that does not matter
    :return: how many messages were settled
    :raises LedgerError: when one of the rows cannot be settled so, or other messages are in doubt than were
        seen; then nothing was changed
    :raises CancelledError: when something is to be sent again in a cancelled campaign
    """
    actor, reason = said(actor, reason)
    wanted = None if rows is None else list(dict.fromkeys(rows))
    _check(decision, wanted, message_id)
    number = reporting.campaign_number(ledger, campaign)
    with ledger.transaction() as connection:
        now = ledger.now(connection)
        hold(connection, number)
        if decision == "resend":
            planning.refuse_cancelled(connection, number, campaign)
        bury(connection, [_o.campaign_id == number, _o.lease_until < now], now)
        found = _doubtful(connection, number, wanted, plan)
        if seen is not None and seen != mark_of(row.id for row in found):
            raise LedgerError(
                f"Meanwhile other messages of the campaign are in doubt, {len(found):,} in all. Look at them "
                "again. Nothing was changed"
            )
        if wanted is not None:
            _refuse_others(connection, number, wanted, found, plan)
        if decision == "resend":
            found = _sendable(found, named=wanted is not None)
        ids = [row.id for row in found]
        values = _settled(connection, number, decision, reason, message_id, now)
        for chunk in _chunks(ids):
            connection.execute(schema.message.update().where(_m.id.in_(chunk)).values(values))
        if ids:
            note(connection, now, campaign, f"settle: {decision}", actor, reason, ids)
    return len(ids)


def mark_of(ids: Iterable[int]) -> str:
    """Give a mark by which some messages are known, by their numbers in the ledger in any order."""
    return hashlib.sha256(",".join(map(str, sorted(ids))).encode()).hexdigest()


def _check(decision: str, rows: list[int] | None, message_id: str | None) -> None:
    if decision not in DECISIONS:
        raise ConfigurationError(f"decision: found {decision!r}, allowed: {', '.join(DECISIONS)}")
    if any(isinstance(row, bool) or not isinstance(row, int) or row < 0 for row in rows or ()):
        raise ConfigurationError("rows: found something else, allowed are row numbers of the source")
    if message_id is None:
        return
    if decision != "sent" or rows is None or len(rows) != 1:
        raise ConfigurationError("message_id: allowed only for a single row that was sent")
    if not re.fullmatch(r"[\w-]{1,64}", message_id, re.ASCII):
        raise ConfigurationError(f"message_id: found a text of {len(message_id)} characters that is no id")


def _doubtful(
    connection: Connection, number: int, rows: list[int] | None, plan: int | None
) -> list[sa.Row[Any]]:
    """Give the messages in doubt, held until the transaction ends."""
    query = sa.select(_m.id, _m.row, _m.plan_id, _m.text.is_not(None).label("has_text"))
    query = query.where(*_of(number), _m.state == State.IN_DOUBT)
    if plan is not None:
        query = query.where(_m.plan_id == plan)
    # What a late try is recording right now is left to it: to wait for each other would be a deadlock.
    query = query.order_by(_m.id).with_for_update(skip_locked=True)
    if rows is None:
        return list(connection.execute(query))
    pages = (connection.execute(query.where(_m.row.in_(chunk))) for chunk in _chunks(rows))
    return [row for page in pages for row in page]


def _refuse_others(
    connection: Connection, number: int, rows: list[int], found: list[sa.Row[Any]], plan: int | None
) -> None:
    """Refuse row numbers that are not in doubt, or are so in several plans."""
    plans: dict[int, list[int]] = {}
    for one in found:
        plans.setdefault(one.row, []).append(one.plan_id)
    if missing := [row for row in rows if row not in plans]:
        states: dict[int, set[str]] = {}
        query = sa.select(_m.row, _m.state).where(*_of(number), _m.row.in_(missing[:SHOWN]))
        for row, state in connection.execute(query if plan is None else query.where(_m.plan_id == plan)):
            states.setdefault(row, set()).add(state)
        named = [f"{row} is {'/'.join(sorted(states.get(row, {'not there'})))}" for row in missing[:SHOWN]]
        raise LedgerError(
            f"rows: only what is in doubt can be settled, and row {_some(named, len(missing))}. "
            "Nothing was changed"
        )
    if several := [row for row in rows if len(plans[row]) > 1]:
        named = [f"{row} (plans {', '.join(map(str, sorted(plans[row])))})" for row in several[:SHOWN]]
        raise LedgerError(
            f"plan: several plans of the campaign have a row of the same number in doubt: "
            f"{_some(named, len(several))}. Say which plan is meant. Nothing was changed"
        )


def _sendable(found: list[sa.Row[Any]], *, named: bool) -> list[sa.Row[Any]]:
    """Leave out what has lost its text; where it was asked for by name, refuse."""
    lost = [row.row for row in found if not row.has_text]
    shown = _some(list(map(str, lost[:SHOWN])), len(lost))
    if lost and named:
        raise LedgerError(
            f"rows: the text was erased, and cannot be sent again, of row {shown}. Nothing was changed"
        )
    if lost:
        log.warning("%d messages stay in doubt, for their text was erased: rows %s", len(lost), shown)
    return [row for row in found if row.has_text]


def _some(shown: list[str], number: int) -> str:
    return ", ".join(shown) + (f" and {number - len(shown)} more" if number > len(shown) else "")


def _settled(
    connection: Connection, number: int, decision: str, reason: str, message_id: str | None, now: int
) -> dict[str, Any]:
    """Give the values of a message that is settled."""
    if decision == "resend":
        # It keeps its owner: until it is claimed anew, an outcome that this one still brings settles it.
        return {"state": State.PLANNED, "state_at": now}
    values: dict[str, Any] = {"state_at": now, "reason": f"settled by hand: {reason}"}
    if decision == "drop":
        # Without its text, nothing sends it again.
        return {**values, "state": State.REJECTED, "text": None}
    plans = connection.execute(sa.select(_p.id, _p.parameters).where(_p.campaign_id == number))
    keep = [plan for plan, parameters in plans if json.loads(parameters).get("keep_text")]
    values |= {"state": State.ACCEPTED, "text": sa.case((_m.plan_id.in_(keep), _m.text), else_=sa.null())}
    if message_id is not None:
        return {**values, "message_id": message_id, "next_check_at": now}
    return {**values, "delivery_code": DeliveryCode.UNKNOWN, "is_final": True, "next_check_at": None}


def read_rows(given: str) -> list[int]:
    """
    Read row numbers as people write them: ``3,7-9``.

    :raises ConfigurationError: for anything else
    """
    rows: list[int] = []
    for part in given.strip().strip("[]()").split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part, re.ASCII)
        if match is None:
            raise ConfigurationError(f"rows: found {part.strip()!r}, allowed are row numbers: 3,7-9")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first + len(rows) >= MOST_ROWS:
            raise ConfigurationError(
                f"rows: found {part.strip()!r}, allowed are ranges upwards, and {MOST_ROWS} rows at once"
            )
        rows += range(first, last + 1)
    return rows


def _chunks(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
