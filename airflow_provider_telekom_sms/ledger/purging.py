"""Erases personal data of old messages, and whole campaigns that nobody needs any more."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.actions import bury, note, said
from airflow_provider_telekom_sms.ledger.events import forget_batches
from airflow_provider_telekom_sms.ledger.planning import CHUNK, at_work
from airflow_provider_telekom_sms.ledger.store import Ledger, State

log = logging.getLogger(__name__)

_c, _p, _o, _m, _b = schema.campaign.c, schema.plan.c, schema.owner.c, schema.message.c, schema.callback.c

#: What callbacks are recorded under: they may be about messages of no campaign.
CALLBACKS = "(callbacks)"

#: State of a campaign that is being deleted: no id leads to it any more.
_FORGOTTEN = "forgotten"
#: What is never sent again, so that its data may go.
_DONE = (
    State.ACCEPTED,
    State.REJECTED,
    State.IN_DOUBT,
    State.INVALID,
    State.DUPLICATE,
    State.SUPPRESSED,
)
#: Their reasons are words of ours; by that of a duplicate it is known that another plan is relied on.
_KEEPS_REASON = (State.DUPLICATE, State.SUPPRESSED)
_HAS_DATA = sa.or_(
    _m.phone.is_not(None),
    _m.text.is_not(None),
    _m.key.is_not(None),
    _m.external_id.is_not(None),
    sa.and_(_m.reason.is_not(None), _m.state.not_in(_KEEPS_REASON)),
)
_ERASED: dict[str, Any] = {
    "phone": None,
    "text": None,
    "key": None,
    "external_id": None,
    "reason": sa.case((_m.state.in_(_KEEPS_REASON), _m.reason), else_=sa.null()),
}


@dataclass(frozen=True, slots=True)
class Purged:
    """
    What a purge did.

    :param messages: whose personal data was erased, or which were deleted with their campaign
    :param campaigns: campaigns that were deleted
    :param left: messages that are as old and keep their data, because they are still to be sent
    :param callbacks: callbacks that were deleted, without those of deleted campaigns
    """

    messages: int
    campaigns: int
    left: int
    callbacks: int = 0


def purge(ledger: Ledger, older_than: timedelta, *, forget: bool = False, actor: str, reason: str) -> Purged:
    """
    Erase numbers, texts, keys and reasons of messages whose last change is longer ago, and plans' summaries.

    Callbacks that came longer ago are deleted, and batches of asset events. Who opted out stays so.

    What tells that a message was sent stays: the campaign still never sends the same number and text (or key)
    twice. Messages that are still to be sent are left, but for those of cancelled campaigns. It goes in small
    steps; where it is broken off, the next purge goes on.

    :param older_than: by the database's clock
    :param forget: also delete campaigns in which nothing is younger or still to be sent. Warning: all that
        they knew is forgotten. Whatever runs under their ids again is sent again
    :raises ConfigurationError: when ``older_than`` is not above zero
    """
    actor, reason = said(actor, reason)
    if older_than <= timedelta(0):
        raise ConfigurationError(f"older_than: found {older_than}, allowed is any time above zero")
    with _erasing(ledger) as connection:
        now = ledger.now(connection)
        before = now - int(older_than.total_seconds() * 1000)
        # What they had claimed keeps its data for now, for that it is in doubt is news.
        bury(connection, [_o.lease_until < min(now, before)], now)
        query = sa.select(_c.id, _c.name, _c.state).where(_c.created_at < before).order_by(_c.id)
        old = connection.execute(query).all()
    messages = campaigns = left = 0
    for campaign in old:
        purger = _Purger(ledger, campaign, before, actor, reason)
        if campaign.state == _FORGOTTEN or (forget and purger.forget()):
            messages += purger.delete()
            campaigns += 1
        else:
            messages += purger.erase()
            left += purger.left()
    callbacks = _delete_callbacks(ledger, before, actor, reason)
    forget_batches(ledger, before)
    if ledger.dialect == "sqlite":
        _clean_file(ledger)
    return Purged(messages, campaigns, left, callbacks)


def _delete_callbacks(ledger: Ledger, before: int, actor: str, reason: str) -> int:
    # Numbers rise with the time.
    chunk = sa.select(_b.id).where(_b.received_at < before).order_by(_b.id).limit(CHUNK)
    deleted = 0
    while True:
        with _erasing(ledger) as connection:
            ids = connection.scalars(chunk).all()
            if not ids:
                return deleted
            connection.execute(schema.callback.delete().where(_b.id.in_(ids)))
            if not deleted:
                note(connection, ledger.now(connection), CALLBACKS, "purge", actor, reason)
        deleted += len(ids)


@contextmanager
def _erasing(ledger: Ledger) -> Iterator[Connection]:
    """Give a transaction in which what is erased is overwritten in a ledger's file, too."""
    with ledger.transaction() as connection:
        if ledger.dialect == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON").close()
        yield connection


class _Purger:
    """Purges one campaign; ``before`` is the time since which nothing may have changed."""

    def __init__(self, ledger: Ledger, campaign: Any, before: int, actor: str, reason: str) -> None:
        self._ledger, self._before = ledger, before
        self._id, self._name = campaign.id, campaign.name
        self._who_and_why: tuple[str, str] | None = (actor, reason)
        unsent = [State.CLAIMED] if campaign.state == "cancelled" else [State.CLAIMED, State.PLANNED]
        self._unsent = _m.state.in_(unsent)
        self._old = sa.or_(_m.state_at.is_(None), _m.state_at < before)
        self._plans = sa.select(_p.id).where(_p.campaign_id == self._id, _p.created_at < before)

    def _record(self, connection: Connection, action: str) -> None:
        """Record, once, in the transaction that does it: nothing is erased without a trace of who did it."""
        if self._who_and_why:
            now = self._ledger.now(connection)
            note(connection, now, self._name, action, *self._who_and_why)
        self._who_and_why = None

    def erase(self) -> int:
        with self._ledger.reading() as connection:
            plans = connection.scalars(self._plans.order_by(_p.id)).all()
        erased = sum(self._erase_plan(plan) for plan in plans)
        unsent = sa.select(_m.id).where(_m.plan_id == _p.id, self._unsent).correlate(schema.plan).exists()
        with _erasing(self._ledger) as connection:
            summaries = schema.plan.update().where(_p.id.in_(plans), _p.summary.is_not(None), ~unsent)
            if connection.execute(summaries.values(summary=None)).rowcount:
                self._record(connection, "purge")
        return erased

    def _erase_plan(self, plan_id: int) -> int:
        erased, after = 0, (-1, 0)
        while True:
            page = (
                sa.select(_m.id, _m.row)
                .where(_m.plan_id == plan_id, sa.tuple_(_m.row, _m.id) > after, self._old, _HAS_DATA)
                .where(~self._unsent)
                .order_by(_m.row, _m.id)
                .limit(CHUNK)
                .with_for_update(skip_locked=True)
            )
            with _erasing(self._ledger) as connection:
                found = connection.execute(page).all()
                if not found:
                    return erased
                ids = [row.id for row in found]
                connection.execute(schema.message.update().where(_m.id.in_(ids)).values(_ERASED))
                self._record(connection, "purge")
            erased += len(found)
            after = (found[-1].row, found[-1].id)

    def left(self) -> int:
        """Count what is as old and has its data still."""
        query = sa.select(sa.func.count()).where(_m.plan_id.in_(self._plans), self._old, _HAS_DATA)
        with self._ledger.reading() as connection:
            return int(connection.scalar(query) or 0)

    def forget(self) -> bool:
        """Take the campaign's id from it, if nobody needs it any more: from here on no try begins on it."""
        with _erasing(self._ledger) as connection:
            held = sa.select(_c.id).where(_c.id == self._id).with_for_update(key_share=True)
            # Another purge may just have deleted it.
            if connection.scalar(held) is None or self._is_needed(connection):
                return False
            connection.execute(
                schema.campaign.update()
                .where(_c.id == self._id)
                .values(state=_FORGOTTEN, name_hash=schema.name_hash(f"{_FORGOTTEN}\0{self._id}"))
            )
            self._record(connection, "forget")
        return True

    def _is_needed(self, connection: Connection) -> bool:
        of_campaign = _m.plan_id.in_(sa.select(_p.id).where(_p.campaign_id == self._id))
        now = self._ledger.now(connection)
        needs = (
            at_work(now).where(_o.campaign_id == self._id),
            sa.select(_p.id).where(_p.campaign_id == self._id, _p.created_at >= self._before),
            sa.select(_m.id).where(of_campaign, sa.or_(self._unsent, ~self._old)),
        )
        return any(connection.scalar(need.limit(1)) is not None for need in needs)

    def delete(self) -> int:
        chunk = sa.select(_m.id).where(_m.plan_id.in_(sa.select(_p.id).where(_p.campaign_id == self._id)))
        deleted = 0
        while True:
            with _erasing(self._ledger) as connection:
                ids = connection.scalars(chunk.limit(CHUNK)).all()
                connection.execute(schema.message.delete().where(_m.id.in_(ids)))
                connection.execute(schema.callback.delete().where(_b.row_id.in_(ids)))
                if not ids:
                    # Its plans and tries go with it.
                    connection.execute(schema.campaign.delete().where(_c.id == self._id))
                    return deleted
            deleted += len(ids)


def _clean_file(ledger: Ledger) -> None:
    """
    Rewrite the ledger's file and empty the log beside it: both keep traces of what stood there before.

    Pages that were ever split hold copies which no overwriting reaches. It keeps others waiting for some
    seconds, so it is done while no try is at work.
    """
    with ledger.reading() as connection:
        busy = connection.scalar(at_work(ledger.now(connection)).limit(1)) is not None
    trouble = "tries are at work"
    raw = ledger.engine.raw_connection()
    try:
        cursor = raw.cursor()
        if not busy:
            cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        busy = busy or cursor.fetchone() != (0, 0, 0)
    except sqlite3.OperationalError as error:
        busy, trouble = True, str(error)
    finally:
        raw.close()
    if busy:
        log.warning("%r: its file may still hold traces (%s); the next purge removes them", ledger, trouble)
