"""Reads from the ledger: counts of a campaign, and its rows one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.store import NEVER_SENT, Ledger, State

#: Rows read in one go.
PAGE = 5_000

_c, _p, _m = schema.campaign.c, schema.plan.c, schema.message.c


@dataclass(frozen=True, slots=True)
class Counts:
    """
    How many messages of a campaign stand in which state, over all tries so far.

    :param parts: SMS parts of everything that was or will be sent
    :param sent_parts: SMS parts of what was accepted
    """

    total: int = 0
    planned: int = 0
    claimed: int = 0
    accepted: int = 0
    rejected: int = 0
    in_doubt: int = 0
    invalid: int = 0
    duplicate: int = 0
    suppressed: int = 0
    parts: int = 0
    sent_parts: int = 0

    def as_dict(self) -> dict[str, int]:
        """Give the counts by name."""
        return asdict(self)


def counts(ledger: Ledger, campaign_id: int, plan_id: int | None = None) -> Counts:
    """
    Count a campaign's messages by state.

    :param plan_id: count only what this plan brought
    """
    query = sa.select(_m.state, sa.func.count(), sa.func.coalesce(sa.func.sum(_m.parts), 0)).group_by(
        _m.state
    )
    with ledger.reading() as connection:
        found = {
            state: (int(number), int(parts))
            for state, number, parts in connection.execute(query.where(*_of(campaign_id, plan_id)))
        }
    numbers = {state.value: found.get(state, (0, 0))[0] for state in State}
    return Counts(
        total=sum(numbers.values()),
        **numbers,
        parts=sum(parts for state, (_, parts) in found.items() if state not in NEVER_SENT),
        sent_parts=found.get(State.ACCEPTED, (0, 0))[1],
    )


def messages_by_parts(ledger: Ledger, plan_id: int) -> dict[int, int]:
    """Give how many messages of a plan, of those that were or will be sent, take how many parts."""
    query = sa.select(_m.parts, sa.func.count()).where(_m.plan_id == plan_id, _m.state.not_in(NEVER_SENT))
    with ledger.reading() as connection:
        found = connection.execute(query.group_by(_m.parts).order_by(_m.parts))
        return {int(parts): int(number) for parts, number in found}


def sendable(ledger: Ledger, campaign_id: int, plan_id: int | None = None) -> int:
    """Count what can be claimed: planned messages of plans that are ready."""
    query = sa.select(sa.func.count()).join_from(schema.message, schema.plan, _p.id == _m.plan_id)
    query = query.where(
        _p.campaign_id == campaign_id, _p.state == "ready", sa.text("telekom_sms_message.state = 'planned'")
    )
    if plan_id is not None:
        query = query.where(_p.id == plan_id)
    with ledger.reading() as connection:
        return int(connection.scalar(query) or 0)


def in_doubt_of(ledger: Ledger, owner_id: int, plan_id: int | None) -> int:
    """Count what one try left in doubt, and what any left so of a plan."""
    whose = sa.or_(_m.owner_id == owner_id, _m.plan_id == plan_id)
    query = sa.select(sa.func.count()).where(whose, _m.state == State.IN_DOUBT)
    with ledger.reading() as connection:
        return int(connection.scalar(query) or 0)


def rejections(ledger: Ledger, campaign_id: int, limit: int) -> list[tuple[str, int]]:
    """Give the commonest reasons for which messages were rejected, and how many were for each."""
    number = sa.func.count().label("number")
    query = sa.select(sa.func.coalesce(_m.reason, ""), number).where(
        *_of(campaign_id, None), _m.state == State.REJECTED
    )
    with ledger.reading() as connection:
        found = connection.execute(query.group_by(_m.reason).order_by(number.desc()).limit(limit))
        return [(reason, int(count)) for reason, count in found]


def reached_before(ledger: Ledger, plan_id: int) -> int:
    """
    Count the messages of a plan whose number has got another one in the same campaign, or may have.

    Another text is another message, unless the campaign has a ``key_column``.
    """
    earlier = schema.message.alias("earlier").c
    had = (State.ACCEPTED, State.CLAIMED, State.IN_DOUBT)
    campaign = sa.select(_p.campaign_id).where(_p.id == plan_id).scalar_subquery()
    others = sa.select(_p.id).where(_p.campaign_id == campaign, _p.id != plan_id)
    numbers = sa.select(earlier.phone).where(earlier.plan_id.in_(others), earlier.state.in_(had))
    query = sa.select(sa.func.count()).where(_m.plan_id == plan_id, _m.state.not_in(NEVER_SENT))
    with ledger.reading() as connection:
        if connection.scalar(others.limit(1)) is None:
            return 0
        return int(connection.scalar(query.where(_m.phone.in_(numbers))) or 0)


def campaign_number(ledger: Ledger, campaign: str) -> int:
    """
    Give a campaign's number in the ledger.

    :param campaign: the campaign's id as the user knows it
    :raises LedgerError: when the ledger holds no such campaign
    """
    with ledger.reading() as connection:
        number = connection.scalar(schema.campaign_named(campaign))
    if number is None:
        raise LedgerError(f"The ledger holds no campaign {campaign!r}")
    return int(number)


def _of(campaign_id: int, plan_id: int | None) -> list[sa.ColumnElement[bool]]:
    # By plan, in whose index the messages stand in the order of the table; in that of the keys they do not.
    plans = sa.select(_p.id).where(_p.campaign_id == campaign_id)
    return [_m.plan_id.in_(plans) if plan_id is None else _m.plan_id == plan_id]


def rows_in(ledger: Ledger, campaign_id: int, state: State, limit: int) -> list[int]:
    """Give the row numbers of the first messages in a state."""
    query = sa.select(_m.row).where(_m.campaign_id == campaign_id, _m.state == state).order_by(_m.id)
    with ledger.reading() as connection:
        return list(connection.scalars(query.limit(limit)))


def messages(ledger: Ledger, campaign_id: int, plan_id: int | None = None) -> Iterator[sa.Row[Any]]:
    """
    Give a campaign's messages in the order they were planned, in constant memory.

    :param plan_id: give only what this plan brought
    """
    with ledger.reading() as connection:
        plans = sa.select(_p.id).where(_p.campaign_id == campaign_id).order_by(_p.id)
        found = connection.scalars(plans).all() if plan_id is None else [plan_id]
    for plan in found:
        after = (-1, 0)
        while page := _page(ledger, plan, after):
            yield from page
            after = (page[-1].row, page[-1].id)


def _page(ledger: Ledger, plan_id: int, after: tuple[int, int]) -> Sequence[sa.Row[Any]]:
    query = (
        sa.select(schema.message)
        .where(_m.plan_id == plan_id, sa.tuple_(_m.row, _m.id) > after)
        .order_by(_m.row, _m.id)
        .limit(PAGE)
    )
    with ledger.reading() as connection:
        return connection.execute(query).all()


def outcomes_of(ledger: Ledger, campaign: str, key_hashes: list[bytes]) -> dict[bytes, sa.Row[Any]]:
    """
    Give the messages that hold these keys in a campaign, whichever plan brought them.

    :param campaign: the campaign's id as the user knows it
    """
    number = campaign_number(ledger, campaign)
    query = sa.select(schema.message).where(_m.campaign_id == number, _m.key_hash.in_(key_hashes))
    with ledger.reading() as connection:
        return {row.key_hash: row for row in connection.execute(query)}


def invalid_rows(ledger: Ledger, plan_id: int, limit: int) -> list[tuple[int, str]]:
    """Give row number and reason of a plan's first invalid rows."""
    query = (
        sa.select(_m.row, _m.reason)
        .where(_m.plan_id == plan_id, _m.state == State.INVALID)
        .order_by(_m.row)
        .limit(limit)
    )
    with ledger.reading() as connection:
        return [(int(row), reason or "") for row, reason in connection.execute(query)]


def campaigns(ledger: Ledger) -> list[str]:
    """Give the ids of all campaigns, oldest first."""
    with ledger.reading() as connection:
        return list(connection.scalars(sa.select(_c.name).order_by(_c.id)))
