"""Plans into the ledger: campaigns, the tries that own them, and their messages, in chunks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_telekom_sms.exceptions import (
    CampaignBusyError,
    CancelledError,
    LedgerError,
    PlanError,
    SupersededError,
)
from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.bulk import Bulk, Values
from airflow_provider_telekom_sms.ledger.store import Ledger, State

#: Rows written in one transaction, so that none blocks others for long.
CHUNK = 2_000
#: A try that did not speak up for so long is dead, milliseconds by the database's clock.
LEASE_MS = 300_000

#: Why a message is suppressed.
SUPPRESSED = "the number is on the suppression list"

_c, _p, _o, _m, _a = (
    schema.campaign.c,
    schema.plan.c,
    schema.owner.c,
    schema.message.c,
    schema.action.c,
)


@dataclass(frozen=True, slots=True)
class Owner:
    """
    One try of one task that works on a campaign.

    :param id: the fencing token
    :param campaign_id: the campaign's number in the ledger
    :param slot: what stays the same from try to try: the task instance
    :param began_at: milliseconds since 1970 UTC, by the database's clock
    """

    id: int
    campaign_id: int
    slot: str
    began_at: int


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One row of a source as it goes into the ledger; ``key_hash`` is None where it can never be sent."""

    row: int
    state: State
    key_hash: bytes | None = None
    key: str | None = None
    phone: str | None = None
    text: str | None = None
    parts: int | None = None
    reason: str | None = None
    external_id: str | None = None

    def __repr__(self) -> str:
        return f"<PlannedRow {self.row} {self.state}>"


@dataclass(frozen=True, slots=True)
class Plan:
    """A source that was read into a campaign."""

    id: int
    fingerprint: str
    state: str


def begin(ledger: Ledger, campaign: str, slot: str) -> Owner:
    """
    Begin a try: earlier tries of the same slot, and those whose lease ran out, are over.

    What they had claimed and not recorded is in doubt from now on.

    :param campaign: the campaign's id as the user knows it
    :param slot: the task instance, without its try
    :raises CancelledError: when somebody cancelled the campaign
    """
    with ledger.transaction() as connection:
        now = ledger.now(connection)
        campaign_id = _campaign(connection, campaign, now)
        refuse_cancelled(connection, campaign_id, campaign)
        _shorten_leases(connection, campaign_id, now)
        dead = sa.and_(
            _o.campaign_id == campaign_id,
            _o.ended_at.is_(None),
            sa.or_(_o.slot == slot, _o.lease_until < now),
        )
        end_where(connection, dead, now)
        new = {"campaign_id": campaign_id, "slot": slot, "started_at": now, "lease_until": now + LEASE_MS}
        owner_id = connection.scalar(schema.owner.insert().values(new).returning(_o.id))
    return Owner(int(owner_id or 0), campaign_id, slot, now)


def knows(ledger: Ledger, token: int, began_at: int) -> bool:
    """Tell whether the ledger knows an earlier try; after it was restored, its number may be another's."""
    query = sa.select(_o.id).where(_o.id == token, _o.started_at == began_at)
    with ledger.reading() as connection:
        return connection.scalar(query) is not None


def refuse_cancelled(connection: Connection, campaign_id: int, campaign: str) -> None:
    """
    Check that nobody cancelled a campaign.

    :param campaign_id: its number in the ledger
    :param campaign: its id as the user knows it
    :raises CancelledError: with who did and why
    """
    if connection.scalar(sa.select(_c.state).where(_c.id == campaign_id)) != "cancelled":
        return
    query = sa.select(_a.actor, _a.reason).where(_a.campaign == campaign, _a.action == "cancel")
    actor, reason = connection.execute(query.order_by(_a.id.desc())).first() or ("somebody", "")
    raise CancelledError(f"Campaign {campaign!r} was cancelled by {actor}: {reason or 'no reason given'}")


def end(ledger: Ledger, owner: Owner) -> bool:
    """
    End a try that recorded all it had claimed; whatever is still claimed is in doubt.

    :return: whether this was the last try at work on the campaign, of all that are known to live
    """
    with ledger.transaction() as connection:
        _hold(connection, owner)  # of two that end at once, one is the last
        now = ledger.now(connection)
        # With those that were killed: nobody may ever come to put what they had claimed in doubt.
        over = sa.or_(_o.id == owner.id, _o.lease_until < now)
        end_where(connection, sa.and_(_o.campaign_id == owner.campaign_id, _o.ended_at.is_(None), over), now)
        others = at_work(now).where(_o.campaign_id == owner.campaign_id)
        return connection.scalar(others.limit(1)) is None


def at_work(now: int) -> sa.Select[Any]:
    """Give the query for the owners that live: neither ended nor silent for longer than a lease."""
    return sa.select(_o.id).where(_o.ended_at.is_(None), _o.lease_until >= now)


def _shorten_leases(connection: Connection, campaign_id: int, now: int) -> None:
    """Nobody is given so long a lease: the clock was set back, and the dead must not live on for as long."""
    connection.execute(
        schema.owner.update()
        .where(_o.campaign_id == campaign_id, _o.ended_at.is_(None), _o.lease_until > now + LEASE_MS)
        .values(lease_until=now + LEASE_MS)
    )


def end_where(connection: Connection, which: sa.ColumnElement[bool], now: int) -> None:
    """End owners; what they had claimed and not recorded is in doubt from now on."""
    ended = connection.execute(
        schema.owner.update().where(which).values(ended_at=now).returning(_o.id)
    ).scalars()
    connection.execute(
        schema.message.update()
        .where(sa.text("state = 'claimed'"), _m.owner_id.in_(list(ended)))
        .values(state=State.IN_DOUBT, state_at=now, reason="its sender ended before the outcome was recorded")
    )


def _campaign(connection: Connection, name: str, now: int) -> int:
    """Find or create a campaign, and hold it until the transaction ends."""
    found = schema.campaign_named(name).with_for_update(key_share=True)
    campaign_id = connection.scalar(found)
    if campaign_id is None:
        insert = insert_into(connection, schema.campaign).values(
            name_hash=schema.name_hash(name), name=name, state="active", created_at=now
        )
        connection.execute(insert.on_conflict_do_nothing(index_elements=["name_hash"]))
        campaign_id = connection.scalar(found)
    return int(campaign_id or 0)


def insert_into(connection: Connection, table: sa.Table) -> Any:
    """Give an INSERT that knows ``on_conflict_do_nothing``."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table)
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert(table)


def plan_of(ledger: Ledger, owner: Owner) -> Plan | None:
    """Give the finished plan of this slot, if a try of it made one."""
    with ledger.reading() as connection:
        found = connection.execute(
            sa.select(_p.id, _p.fingerprint, _p.state)
            .where(_p.campaign_id == owner.campaign_id, _p.slot == owner.slot, _p.state == "ready")
            .order_by(_p.id.desc())
        ).first()
    return Plan(*found) if found else None


def require_ready(ledger: Ledger, owner: Owner) -> None:
    """
    Check that a campaign has a plan that can be sent.

    :raises PlanError: when it has none
    :raises CampaignBusyError: when it has only one that is not finished
    """
    plans = sa.select(_p.state).where(_p.campaign_id == owner.campaign_id)
    with ledger.reading() as connection:
        states = set(connection.scalars(plans))
    if not states:
        raise PlanError("The campaign has no plan")
    if "ready" not in states:
        raise CampaignBusyError("The campaign is still being planned, or its planning broke off")


def summary_of(ledger: Ledger, plan_id: int) -> dict[str, Any]:
    """Give what was found out while a plan was made."""
    with ledger.reading() as connection:
        return dict(json.loads(connection.scalar(sa.select(_p.summary).where(_p.id == plan_id)) or "{}"))


def begin_plan(
    ledger: Ledger,
    owner: Owner,
    fingerprint: str,
    parameters: str,
    *,
    fallback: bool,
    ttl: int = 0,
    key_column: str | None = None,
) -> int:
    """
    Begin a plan; what tries that are over left half-planned is removed, for it would hold its keys for ever.

    One at a time: whether a key that another plan holds will ever be sent shows only once that plan is ready.

    :param fingerprint: tells whether source or text changed between two tries
    :param parameters: JSON of what all messages of the plan are sent with
    :param fallback: a failed delivery may still be mended by another channel
    :param ttl: seconds that the channels before the last one have
    :param key_column: the column whose value may be sent once; None for number and text
    :raises CampaignBusyError: while another task is planning the campaign
    :raises PlanError: when another plan of the campaign has another kind of key: its messages would be sent
        again
    """
    remove_half_plans(ledger, owner.campaign_id)
    with ledger.transaction() as connection:
        _hold(connection, owner)
        now = ledger.now(connection)
        _must_live(connection, owner, now)
        _shorten_leases(connection, owner.campaign_id, now)
        silent = sa.and_(
            _o.campaign_id == owner.campaign_id,
            _o.ended_at.is_(None),
            _o.lease_until < now,
            _o.id != owner.id,
        )
        end_where(connection, silent, now)
        new = {
            "campaign_id": owner.campaign_id,
            "owner_id": owner.id,
            "slot": owner.slot,
            "fingerprint": fingerprint,
            "state": "planning",
            "fallback": fallback,
            "ttl": ttl,
            "parameters": parameters,
            "key_column": key_column,
            "created_at": now,
        }
        _same_key(connection, owner, key_column)
        busy = sa.select(_p.id).where(_p.campaign_id == owner.campaign_id, _p.state == "planning")
        if connection.scalar(busy) is None:
            return int(connection.scalar(schema.plan.insert().values(new).returning(_p.id)) or 0)
    raise CampaignBusyError("Another task is planning the same campaign")


def remove_half_plans(ledger: Ledger, campaign_id: int) -> None:
    """Remove what tries that are over left half-planned."""
    with ledger.reading() as connection:
        half = connection.scalars(
            sa.select(_p.id)
            .join(schema.owner, _o.id == _p.owner_id)
            .where(_p.campaign_id == campaign_id, _p.state == "planning", _o.ended_at.is_not(None))
        ).all()
    for plan_id in half:
        remove_plan(ledger, plan_id)


def _same_key(connection: Connection, owner: Owner, key_column: str | None) -> None:
    for other in connection.scalars(sa.select(_p.key_column).where(_p.campaign_id == owner.campaign_id)):
        if other != key_column:
            raise PlanError(
                f"key_column: found {key_column!r}, and the campaign was planned with {other!r}: what was "
                "sent would be sent again under another key. Keep it, or use a campaign_id of its own"
            )


@contextmanager
def kept_alive(ledger: Ledger, owner: Owner) -> Iterator[None]:
    """Renew an owner's lease from a thread, however long a source takes to give its next row."""
    done = threading.Event()

    def renewing() -> None:
        while not done.wait(LEASE_MS / 5_000):
            with suppress(LedgerError), ledger.transaction() as connection:
                renew(connection, owner, ledger.now(connection))

    thread = threading.Thread(target=renewing, name="telekom-sms-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _hold(connection: Connection, owner: Owner) -> None:
    """Hold the campaign until the transaction ends, so that plans of it are made one after the other."""
    connection.execute(sa.select(_c.id).where(_c.id == owner.campaign_id).with_for_update(key_share=True))


def add(ledger: Ledger, owner: Owner, plan_id: int, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
    """
    Write one chunk of rows; a row whose key the campaign has already becomes a duplicate.

    :return: the rows that are to be sent
    :raises SupersededError: when this try was declared dead
    """
    with ledger.transaction() as connection:
        _hold(connection, owner)
        _must_live(connection, owner, ledger.now(connection))
        first_rows = _known(connection, owner, plan_id, [r.key_hash for r in rows if r.key_hash])
        values = [_values(row, first_rows) for row in rows]
        _INSERT.execute(connection, values, campaign_id=owner.campaign_id, plan_id=plan_id)
    return [row for row, v in zip(rows, values, strict=True) if v["state"] == State.PLANNED]


_RENEW = (
    schema.owner.update()
    .where(_o.id == sa.bindparam("owner"), _o.ended_at.is_(None))
    .values(lease_until=sa.bindparam("until"))
)


def renew(connection: Connection, owner: Owner, now: int) -> bool:
    """
    Renew an owner's lease, and hold the owner until the transaction ends.

    A later try that is just beginning waits for this transaction, or is seen here.

    :return: False when a later try has taken over
    """
    return bool(connection.execute(_RENEW, {"owner": owner.id, "until": now + LEASE_MS}).rowcount)


def _must_live(connection: Connection, owner: Owner, now: int) -> None:
    if not renew(connection, owner, now):
        raise SupersededError(
            "This try was declared dead: a later one has taken over, or it was silent for too long"
        )


#: How the reason of a duplicate tells that another plan holds its key.
_EARLIER = "of an earlier plan of this campaign"


def _relied_on(connection: Connection, campaign_id: int, plan_id: int) -> bool:
    """Tell whether a later plan has duplicates of an earlier one's rows, perhaps of this plan's."""
    duplicates = sa.select(_m.id).where(
        _m.campaign_id == campaign_id,
        _m.plan_id > plan_id,
        _m.state == State.DUPLICATE,
        _m.reason.like(f"%{_EARLIER}"),
    )
    return connection.scalar(duplicates.limit(1)) is not None


def _known(connection: Connection, owner: Owner, plan_id: int, keys: list[bytes]) -> dict[bytes, str]:
    query = sa.select(_m.key_hash, _m.row, _m.plan_id).where(
        _m.campaign_id == owner.campaign_id, _m.key_hash.in_(keys)
    )
    return {
        key: f"row {row}" if plan == plan_id else f"row {row} {_EARLIER}"
        for key, row, plan in connection.execute(query)
    }


def _inserting(new: Values, table: sa.FromClause | None) -> sa.Insert:
    same = {name: sa.bindparam(name, type_=sa.BigInteger) for name in ("campaign_id", "plan_id")}
    values = {**same, **dict(new.items())}
    if table is None:
        return schema.message.insert().values(values)
    return schema.message.insert().from_select(list(values), sa.select(*values.values()).select_from(table))


_INSERT = Bulk(
    {
        name: _m[name].type
        for name in ("row", "key_hash", "key", "phone", "text", "parts", "state", "reason", "external_id")
    },
    _inserting,
)


def _values(row: PlannedRow, first_rows: dict[bytes, str]) -> dict[str, Any]:
    first = first_rows.get(row.key_hash) if row.key_hash else None
    if row.key_hash and first is None:
        first_rows[row.key_hash] = f"row {row.row}"
    duplicate = first is not None
    state = State.DUPLICATE if duplicate else row.state
    return {
        "row": row.row,
        "key_hash": None if duplicate else row.key_hash,
        "key": row.key,
        "phone": row.phone,
        "text": row.text if state == State.PLANNED else None,
        "parts": row.parts,
        "state": state.value,
        "reason": f"the same as {first}" if duplicate else row.reason,
        "external_id": row.external_id,
    }


def finish_plan(ledger: Ledger, owner: Owner, plan_id: int, summary: Mapping[str, Any] | None = None) -> None:
    """
    Mark a plan as ready: only now can its messages be claimed.

    :param summary: what was found out while it was made
    :raises SupersededError: when this try was declared dead; a later one may be removing this plan
    """
    with ledger.transaction() as connection:
        _must_live(connection, owner, ledger.now(connection))
        connection.execute(
            schema.plan.update()
            .where(_p.id == plan_id)
            .values(state="ready", summary=json.dumps(summary or {}, ensure_ascii=False))
        )


def leave_out(ledger: Ledger, owner: Owner, unwanted: Callable[[str], bool]) -> int:
    """
    Take out of a campaign what is to numbers that must not get a message any more.

    :param unwanted: tells whether a number is such a one
    :return: how many messages
    :raises SupersededError: when this try was declared dead
    """
    last, number = 0, 0
    plans = sa.select(_p.id).where(_p.campaign_id == owner.campaign_id, _p.state == "ready")
    while True:
        unsent = sa.select(_m.id, _m.phone).where(
            _m.plan_id.in_(plans), sa.text("telekom_sms_message.state = 'planned'"), _m.id > last
        )
        with ledger.transaction() as connection:
            now = ledger.now(connection)
            _must_live(connection, owner, now)
            page = connection.execute(
                unsent.order_by(_m.id).limit(CHUNK).with_for_update(skip_locked=True)
            ).all()
            ids = [row.id for row in page if unwanted(row.phone)]
            connection.execute(schema.message.update().where(_m.id.in_(ids)).values(_suppressed(now)))
        if not page:
            return number
        number += len(ids)
        last = page[-1].id


def _suppressed(now: int) -> dict[str, Any]:
    # What a try had once may have been sent then, and keeps its key.
    new = _m.owner_id.is_(None)
    return {
        "state": State.SUPPRESSED,
        "reason": sa.case((new, SUPPRESSED), else_=f"{SUPPRESSED}; an earlier try may have sent it"),
        "key_hash": sa.case((new, sa.null()), else_=_m.key_hash),
        "text": None,
        "state_at": now,
    }


def remove_plan(ledger: Ledger, plan_id: int) -> None:
    """
    Remove a plan of which nothing was ever claimed.

    :raises PlanError: when something was claimed
    """
    withdraw_plan(ledger, plan_id)
    chunk = sa.select(_m.id).where(_m.plan_id == plan_id).limit(CHUNK * 5).scalar_subquery()
    while True:
        with ledger.transaction() as connection:
            if not connection.execute(schema.message.delete().where(_m.id.in_(chunk))).rowcount:
                connection.execute(schema.plan.delete().where(_p.id == plan_id))
                return


def withdraw_plan(ledger: Ledger, plan_id: int) -> None:
    """
    Let nothing be claimed from a plan any more; what is then left half-planned is removed by the next try.

    :raises PlanError: when something was claimed
    """
    with ledger.transaction() as connection:
        was = connection.execute(sa.select(_p.campaign_id, _p.state).where(_p.id == plan_id)).first()
        if was is None:
            return  # another try has just removed it
        # No longer ready: from here on nothing of it can be claimed.
        connection.execute(schema.plan.update().where(_p.id == plan_id).values(state="planning"))
        claimed = connection.scalar(
            sa.select(sa.func.count()).where(_m.plan_id == plan_id, _m.owner_id.is_not(None))
        )
        if claimed:
            raise PlanError(
                f"The text, the source or a parameter changed since the campaign was planned, and {claimed} "
                "of its messages were already claimed. Restore what it was, or send the new one in a new run "
                "or under a campaign_id of its own"
            )
        if was.state == "ready" and _relied_on(connection, was.campaign_id, plan_id):
            raise PlanError(
                "The text, the source or a parameter changed since the campaign was planned, and another "
                "run has left out rows because this plan holds them. Restore what it was, or send the new "
                "one under a campaign_id of its own"
            )
