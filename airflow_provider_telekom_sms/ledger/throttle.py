"""Sends the same alert once within a time, however many processes raise it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.store import Ledger

#: The longest throttle.
LONGEST = timedelta(days=31)
#: After this time nobody needs to know of an alert any more.
_FORGOTTEN = 3 * LONGEST

_t = schema.throttle.c
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_UNUSED = {"last_at": 0, "is_free": True, "number": 0, "held_back": 0}


class Claim(NamedTuple):
    """
    The right to send an alert.

    :param key_hash: whose it is
    :param number: tells it from the claims before and after it
    :param held_back: how many were held back since the last one that was sent
    """

    key_hash: str
    number: int
    held_back: int


def claim(ledger: Ledger, key: str, throttle: timedelta) -> Claim | None:
    """
    Claim the right to send an alert, once within the throttle by the database's clock.

    :param key: what the same alerts have in common; only its hash is kept
    :param throttle: how long the alerts that follow are held back
    :return: None where it is held back, which is counted
    """
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    with ledger.transaction() as connection:
        _forget(ledger, connection)
        new = _INSERT[ledger.dialect](schema.throttle).values(key_hash=key_hash, **_UNUSED)
        # A change that changes nothing, for its lock: from here on all others wait.
        locked = new.on_conflict_do_update(index_elements=[_t.key_hash], set_={"number": _t.number})
        found = connection.execute(locked.returning(*_t)).one()
        # The time is asked for after the wait.
        now = ledger.now(connection)
        this = schema.throttle.update().where(_t.key_hash == key_hash)
        # A clock that was set back must not silence alerts for longer than they were meant to be.
        if not found.is_free and abs(now - found.last_at) < throttle.total_seconds() * 1000:
            connection.execute(this.values(held_back=_t.held_back + 1))
            return None
        taken = this.values(last_at=now, is_free=False, number=_t.number + 1, held_back=0)
        connection.execute(taken)
    return Claim(key_hash, found.number + 1, found.held_back)


def give_back(ledger: Ledger, claim: Claim) -> None:
    """
    Give a claim back whose alert was surely not sent: the next one may go, and counts it as held back.

    Nothing happens where another claim came after it.
    """
    with ledger.transaction() as connection:
        connection.execute(
            schema.throttle.update()
            .where(_t.key_hash == claim.key_hash, _t.number == claim.number)
            .values(is_free=True, held_back=_t.held_back + claim.held_back + 1)
        )


def _forget(ledger: Ledger, connection: Connection) -> None:
    """Delete what is old: a key may be another one in every run."""
    before = ledger.now(connection) - int(_FORGOTTEN.total_seconds() * 1000)
    # Without waiting for another process, which may be waiting for this one.
    old = sa.select(_t.key_hash).where(_t.last_at < before).with_for_update(skip_locked=True)
    connection.execute(schema.throttle.delete().where(_t.key_hash.in_(old)))
