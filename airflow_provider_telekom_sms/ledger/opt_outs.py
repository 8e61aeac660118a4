"""Numbers whose owner wants no more messages. Campaigns leave out those that their ``suppression`` names."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.planning import insert_into
from airflow_provider_telekom_sms.ledger.store import Ledger

_o = schema.opt_out.c


def add(connection: Connection, numbers: Collection[str], now: int) -> None:
    """Note numbers; one that stands there already keeps its time."""
    if numbers:
        insert = insert_into(connection, schema.opt_out).on_conflict_do_nothing(index_elements=["phone"])
        connection.execute(insert, [{"phone": phone, "at": now} for phone in sorted(numbers)])


def opt_out(ledger: Ledger, phone: str) -> bool:
    """
    Note that somebody wants no more messages.

    :param phone: digits, as numbers stand in messages
    :return: whether it is new
    """
    with ledger.transaction() as connection:
        known = connection.scalar(sa.select(_o.at).where(_o.phone == phone))
        add(connection, [phone], ledger.now(connection))
    return known is None


def opt_in(ledger: Ledger, phone: str) -> bool:
    """
    Note that somebody wants messages again.

    :param phone: digits, as numbers stand in messages
    :return: whether it had wanted none
    """
    with ledger.transaction() as connection:
        return bool(connection.execute(schema.opt_out.delete().where(_o.phone == phone)).rowcount)


def newest(ledger: Ledger, limit: int) -> tuple[int, list[tuple[str, int]]]:
    """Give how many opted out, and the newest of them with number and time."""
    query = sa.select(_o.phone, _o.at).order_by(_o.at.desc(), _o.phone).limit(limit)
    with ledger.reading() as connection:
        total = connection.scalar(sa.select(sa.func.count()).select_from(schema.opt_out))
        return int(total or 0), [(phone, at) for phone, at in connection.execute(query)]
