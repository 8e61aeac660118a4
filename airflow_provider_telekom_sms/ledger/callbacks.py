"""
What the API tells by itself: stored as it came, and applied to its message, in one transaction.

Callbacks come late, twice and in disorder, and before the reply to the send itself. So all that is known of a
message is the report that says most (:func:`~airflow_provider_telekom_sms.api.delivery.supersedes`), and what
no message is found for is looked at again: soon, then ever later, for an hour.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_telekom_sms.api.delivery import (
    FINAL,
    FINAL_SUCCESS,
    Callback,
    DeliveryReport,
    InboundMessage,
    Postback,
    decode_callback,
    parse_callback,
    supersedes,
)
from airflow_provider_telekom_sms.exceptions import InvalidPhoneNumberError
from airflow_provider_telekom_sms.ledger import delivery, opt_outs, schema
from airflow_provider_telekom_sms.ledger.bulk import Bulk, Values
from airflow_provider_telekom_sms.ledger.delivery import Scope
from airflow_provider_telekom_sms.ledger.planning import insert_into
from airflow_provider_telekom_sms.ledger.sending import number_in
from airflow_provider_telekom_sms.ledger.store import Ledger, State, storable

#: Callbacks without a message that are looked at in one go.
CHUNK = 500
#: Milliseconds: the first look follows so soon, the last so late.
FIRST_LOOK, LAST_LOOK = 1_000, 3_600_000
#: One writer at a time: what has a higher number was committed later, so readers may go by the number.
_TURN = 7_305_801_216

_NO_WORD = re.compile(r"[\W_]+")
_URI = re.compile(r"^(?:tel|sips?):([^@;]*).*", re.IGNORECASE | re.DOTALL)

_b, _m, _p = schema.callback.c, schema.message.c, schema.plan.c
#: The columns of a callback that say whose it is and what it tells.
_TELLS = (_b.id, _b.received_at, _b.message_id, _b.external_id, _b.kind, _b.code, _b.occurred_at)


@dataclass(frozen=True, slots=True)
class Received:
    """
    A callback that was read.

    :param payload: as it came
    :param hash: the same for the same callback, however often it comes
    """

    callback: Callback
    payload: str = field(repr=False)
    hash: bytes

    @classmethod
    def read(cls, body: bytes, content_type: str, query: Mapping[str, str]) -> Received:
        """
        Read a callback; the parameters are those of :func:`~.delivery.parse_callback`.

        :raises UnreadableReplyError: when it is none
        """
        callback = parse_callback(body, content_type, query)
        payload = decode_callback(body, content_type) if body.strip() else json.dumps(dict(query))
        seen = hashlib.sha256(payload.encode("utf-8", "surrogatepass"))
        if callback.at is None and not isinstance(callback, DeliveryReport):
            # Who writes the same another day says it again.
            seen.update(datetime.now(UTC).date().isoformat().encode())
        return cls(callback, storable(payload), seen.digest()[:16])


# --- writing ------------------------------------------------------------------------------------------------


def receive(ledger: Ledger, received: Sequence[Received], stop_words: Collection[str] = ()) -> int:
    """
    Store callbacks, and apply them to their messages; durable once this returns.

    :param stop_words: whoever writes or taps one of them, in any case, goes into the table of opt-outs
    :return: how many were not there yet
    :raises LedgerError: when the database fails; then none was stored
    """
    with _turn(ledger) as (connection, now):
        told = [{"received_at": now, **_columns(one)} for one in {one.hash: one for one in received}.values()]
        _apply(connection, ledger, told, now)
        insert = insert_into(connection, schema.callback).on_conflict_do_nothing(index_elements=["hash"])
        new = set(connection.execute(insert.returning(_b.hash), told).scalars()) if told else set()
        # What comes again is no news: meanwhile they may have opted in.
        _opt_out(connection, [one for one in told if one["hash"] in new], stop_words, now)
    return len(new)


def catch_up(ledger: Ledger, stop_words: Collection[str] = ()) -> float | None:
    """
    Look again for the messages of callbacks that came before what they are about was recorded.

    :param stop_words: as of :func:`receive`; whose number is known only now is heard now
    :return: seconds until there is something to look at again; None where nothing waits
    """
    waiting = _b.look_again_at.is_not(None)
    with ledger.reading() as connection:
        first = connection.scalar(sa.select(sa.func.min(_b.look_again_at)).where(waiting))
        if first is None or (early := first - ledger.now(connection)) > 0:
            return None if first is None else early / 1000
    with _turn(ledger) as (connection, now):
        due = sa.select(*_TELLS, _b.phone, _b.text, _b.postback_data).where(waiting, _b.look_again_at <= now)
        told = [dict(row._mapping) for row in connection.execute(due.order_by(_b.look_again_at).limit(CHUNK))]
        _apply(connection, ledger, told, now)
        _LOOKED.execute(connection, [{f"the_{name}": one[name] for name in _FOUND} for one in told])
        _opt_out(connection, told, stop_words, now)
    return 0.0


@contextmanager
def _turn(ledger: Ledger) -> Iterator[tuple[Connection, int]]:
    """Give a transaction that no other of callbacks runs beside, and the time."""
    with ledger.transaction() as connection:
        if ledger.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
        yield connection, ledger.now(connection)


def _columns(received: Received) -> dict[str, Any]:
    callback = received.callback
    kinds: dict[type, Literal["dsn", "postback", "inbound"]] = {
        DeliveryReport: "dsn", Postback: "postback", InboundMessage: "inbound"
    }  # fmt: skip
    told = {
        "kind": kinds[type(callback)],
        "message_id": getattr(callback, "message_id", None),
        "external_id": getattr(callback, "external_id", None),
        "code": getattr(callback, "code", None),
        "channel": callback.channel,
        "phone": _phone(getattr(callback, "address_from", None)),
        "text": getattr(callback, "text", None),
        "postback_data": getattr(callback, "data", None),
    }
    clean = {name: value if value is None else storable(value) for name, value in told.items()}
    at = None if callback.at is None else int(callback.at.timestamp() * 1000)
    return {**clean, "occurred_at": at, "payload": received.payload, "hash": received.hash}


def _phone(address: str | None) -> str | None:
    from airflow_provider_telekom_sms.api.phone import parse_mobile

    try:
        # RCS may write it as a URI: tel:+421…, sip:+421…@…
        return None if address is None else parse_mobile(_URI.sub(r"\1", address))
    except InvalidPhoneNumberError:
        # A landline, or a name.
        return address


def _looking(new: Values, table: sa.FromClause | None) -> sa.Update:
    values = {name: new[f"the_{name}"] for name in _FOUND if name != "id"}
    return schema.callback.update().where(_b.id == new["the_id"]).values(values)


_FOUND: dict[str, Any] = {
    "id": sa.BigInteger(),
    "campaign_id": sa.BigInteger(),
    "row_id": sa.BigInteger(),
    "phone": sa.Text(),
    "look_again_at": sa.BigInteger(),
}
_LOOKED = Bulk({f"the_{name}": kind for name, kind in _FOUND.items()}, _looking)


def _opt_out(
    connection: Connection, told: list[dict[str, Any]], stop_words: Collection[str], now: int
) -> None:
    words = tuple(f"{word} " for word in map(_folded, stop_words) if word)
    wants_no_more = {
        one["phone"]
        for one in told
        if any(f"{_folded(one[name])} ".startswith(words) for name in ("text", "postback_data"))
    }
    # What is no such number stays as it came; no campaign could send to it.
    numbers = {phone for phone in wants_no_more if phone and len(phone) == 12 and phone.isdecimal()}
    opt_outs.add(connection, numbers, now)


def _folded(text: str | None) -> str:
    """Give the words of a text as people mean them: without case, diacritics and signs."""
    apart = unicodedata.normalize("NFKD", text or "")
    letters = "".join(letter for letter in apart if unicodedata.category(letter) not in ("Mn", "Cf"))
    return _NO_WORD.sub(" ", letters.casefold()).strip()


# --- applying -----------------------------------------------------------------------------------------------


class _Message:
    """A message that callbacks are about, held until the transaction ends."""

    def __init__(self, row: sa.Row[Any]) -> None:
        self.id, self.campaign_id, self.plan_id = row.id, row.campaign_id, row.plan_id
        self.phone, self.fallback, self.ttl = row.phone, row.fallback, row.ttl
        self.state, self.has_owner, self.state_at = row.state, row.owner_id is not None, row.state_at
        self.message_id, self.external_id = row.message_id, row.external_id
        self.code, self.delivered_at, self.is_final = row.delivery_code, row.delivered_at, row.is_final
        self.trouble_since, self.next_check_at = row.trouble_since, row.next_check_at
        self.was_settled = False

    def may_be(self, message_id: str | None, code: str | None, ours: bool) -> bool:
        """
        Tell whether a callback is about this message, which has its externalId.

        :param ours: the externalId was made by the ledger, so that nothing else can have it
        """
        arrived = code in FINAL_SUCCESS
        if self.state == State.ACCEPTED:
            # A message that was sent twice has two ids, and has arrived if either has.
            return message_id is None or self.message_id is None or (ours and arrived)
        if self.state == State.REJECTED:
            return arrived
        # What is planned and has an owner was in doubt, and is to be sent again.
        return self.state in (State.CLAIMED, State.IN_DOUBT) or (
            self.state == State.PLANNED and self.has_owner
        )

    def accept(self, message_id: str | None, now: int) -> None:
        """Take a callback as the proof that the API took this message."""
        if self.state != State.ACCEPTED:
            self.state, self.state_at, self.was_settled = State.ACCEPTED, now, True
        if self.message_id is None and message_id:
            self.message_id = message_id
            self.next_check_at = None if self.is_final else now

    def hear(self, code: str, at: int | None, now: int) -> None:
        """Take in a status; of all that come, in whatever order, the one that says most stays."""
        if code in FINAL_SUCCESS and at is not None:
            self.delivered_at = at if self.delivered_at is None else min(at, self.delivered_at)
        if supersedes(code, self.code) and (code in FINAL or not self.is_final):
            since = delivery.since_when(code, self.code, self.trouble_since, now)
            patience = delivery.patience(code, fallback=self.fallback, ttl=self.ttl)
            self.code, self.trouble_since = code, None if patience is None else since
            self.is_final = self.is_final or (patience is not None and now >= since + patience * 1000)
        self.next_check_at = None if self.is_final or self.message_id is None else self._ask_at(now)

    def _ask_at(self, now: int) -> int:
        patience = delivery.patience(self.code or "", fallback=self.fallback, ttl=self.ttl)
        if self.trouble_since is None or patience is None:
            return now + int(delivery.CALLBACK_PATIENCE * 1000)
        return max(now, int(self.trouble_since) + int(patience * 1000))


class _Messages:
    """The messages that some callbacks may be about."""

    def __init__(self, connection: Connection, ledger: Ledger, told: Sequence[Mapping[str, Any]]) -> None:
        self._ledger = ledger
        self._by_number: dict[int, _Message] = {}
        self._by_message_id: dict[str, list[_Message]] = defaultdict(list)
        self._by_external_id: dict[str, list[_Message]] = defaultdict(list)
        held, self._busy = _held(connection, ledger, told)
        for row in held:
            one = _Message(row)
            self._by_number[one.id] = one
            if one.message_id is not None:
                self._by_message_id[one.message_id].append(one)
            if one.external_id is not None:
                self._by_external_id[one.external_id].append(one)

    def about(self, told: Mapping[str, Any], now: int) -> list[_Message]:
        """Give the messages that a callback is about: by the API's id, else by what proves it."""
        message_id, external_id = told["message_id"], told["external_id"]
        if known := self._by_message_id.get(message_id):
            return known
        number = None if external_id is None else number_in(self._ledger, external_id)
        # It may be about one that is being recorded; what its other id names would be the wrong one.
        if external_id is None or not self._busy.isdisjoint({message_id, external_id, number} - {None}):
            return []
        ours = self._by_number.get(number or 0)
        named = self._by_external_id[external_id]
        if ours is not None and ours.external_id is None:
            named = [ours]
        found = [one for one in named if one.may_be(message_id, told["code"], one is ours)]
        if len(found) != 1:
            return []
        found[0].accept(message_id, now)
        if found[0].message_id is not None and found[0].message_id == message_id:
            self._by_message_id[message_id] = found
        return found


def _held(
    connection: Connection, ledger: Ledger, told: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[sa.Row[Any]], set[Any]]:
    """Hold the messages that callbacks may be about; give them, and the ids of those that others hold."""
    message_ids = {one["message_id"] for one in told} - {None}
    external_ids = {one["external_id"] for one in told} - {None}
    numbers = {number_in(ledger, external_id) for external_id in external_ids} - {None}
    wanted = ((_m.message_id, message_ids), (_m.external_id, external_ids), (_m.id, numbers))
    which = [column.in_(values) for column, values in wanted if values]
    if not which:
        return [], set()
    # Only an external id can name the wrong one.
    seen = sa.select(_m.id, _m.message_id, _m.external_id).where(sa.or_(*which))
    known = connection.execute(seen).all() if external_ids else []
    # What is being recorded right now is left for the next look: to wait for each other would be a deadlock.
    query = sa.select(schema.message, _p.fallback, _p.ttl).join(schema.plan, _p.id == _m.plan_id)
    query = query.where(sa.or_(*which)).with_for_update(of=schema.message, skip_locked=True)
    held = connection.execute(query).all()
    mine = {row.id for row in held}
    return held, {value for row in known if row.id not in mine for value in row} - {None}


def _apply(connection: Connection, ledger: Ledger, told: list[dict[str, Any]], now: int) -> None:
    """Apply callbacks to their messages, and note with each which that is, or when to look again."""
    messages = _Messages(connection, ledger, told)
    changed: dict[int, _Message] = {}
    for one in told:
        found = messages.about(one, now)
        for message in found:
            changed[message.id] = message
            if one["kind"] == "dsn":
                message.hear(one["code"], one["occurred_at"], now)
        known = found[0] if found else None
        one["row_id"] = known and known.id
        one["campaign_id"] = known and known.campaign_id
        one["phone"] = one["phone"] or (known.phone if known and one["kind"] == "postback" else None)
        one["look_again_at"] = None if known else _next_look(one, now)
    _write(connection, list(changed.values()))


def _next_look(told: Mapping[str, Any], now: int) -> int | None:
    age = now - told["received_at"]
    if age > LAST_LOOK or not (told["message_id"] or told["external_id"]):
        return None
    return int(now + max(FIRST_LOOK, 3 * age))


_COLUMNS: dict[str, Any] = {
    "the_id": sa.BigInteger(),
    "the_state": sa.Text(),
    "the_state_at": sa.BigInteger(),
    "the_message_id": sa.Text(),
    "the_delivery_code": sa.Text(),
    "the_delivered_at": sa.BigInteger(),
    "the_is_final": sa.Boolean(),
    "the_trouble_since": sa.BigInteger(),
    "the_next_check_at": sa.BigInteger(),
    "was_settled": sa.Boolean(),
    "erase": sa.Boolean(),
}


def _telling(new: Values, table: sa.FromClause | None) -> sa.Update:
    same = [name.removeprefix("the_") for name in _COLUMNS if name not in ("the_id", "was_settled", "erase")]
    return (
        schema.message.update()
        .where(_m.id == new["the_id"])
        .values(
            {name: new[f"the_{name}"] for name in same}
            | {
                "reason": sa.case((new["was_settled"], sa.null()), else_=_m.reason),
                "text": sa.case((new["erase"], sa.null()), else_=_m.text),
            }
        )
    )


_TELL = Bulk(_COLUMNS, _telling)


def _write(connection: Connection, messages: list[_Message]) -> None:
    keeping = _keeping_text(connection, {one.plan_id for one in messages if one.was_settled})
    rows = [
        {
            "the_id": one.id,
            "the_state": str(one.state),
            "the_state_at": one.state_at,
            "the_message_id": one.message_id,
            "the_delivery_code": None if one.code is None else str(one.code),
            "the_delivered_at": one.delivered_at,
            "the_is_final": one.is_final,
            "the_trouble_since": one.trouble_since,
            "the_next_check_at": one.next_check_at,
            "was_settled": one.was_settled,
            "erase": one.was_settled and one.plan_id not in keeping,
        }
        for one in messages
    ]
    _TELL.execute(connection, rows)


def _keeping_text(connection: Connection, plans: Collection[int]) -> set[int]:
    if not plans:
        return set()
    found = connection.execute(sa.select(_p.id, _p.parameters).where(_p.id.in_(plans)))
    return {plan for plan, parameters in found if json.loads(parameters).get("keep_text")}


# --- reading ------------------------------------------------------------------------------------------------


def newest(ledger: Ledger, scope: Scope) -> int:
    """Give the number of the last callback that may have changed something for a scope."""
    query = sa.select(sa.func.max(_b.id))
    if scope.campaign_id is not None:
        query = query.where(_b.campaign_id == scope.campaign())
    with ledger.reading() as connection:
        return int(connection.scalar(query) or 0)
