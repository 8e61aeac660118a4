"""
What becomes of a message: the statuses of the API, which of them are final, which outranks which.

Also reads what the API calls a callback URL with (manual v1, "Delivery status callback"; v2, callbackUrls).
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl

from airflow_provider_telekom_sms.exceptions import UnreadableReplyError


class DeliveryCode(StrEnum):
    """The codes of check_message and of callbacks (manual v1); each outranks those above it."""

    UNSENT = "UNSENT"
    SCHEDULED = "SCHEDULED"
    IN_GROUP = "IN_GROUP"
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    SENDING = "SENDING"
    #: The system tries up to 5 times within 60 minutes, so SENDING comes again, and SENT may follow.
    ERROR = "ERROR"
    SENT = "SENT"
    #: It was sent, and nothing more will be known, unless it is.
    UNKNOWN = "UNKNOWN"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"
    UNDELIVERABLE = "UNDELIVERABLE"
    DENIED = "DENIED"
    #: Above every failure: a message that failed on one channel may arrive on the next.
    DELIVERED = "DELIVERED"
    READ = "READ"


FINAL_SUCCESS = frozenset({DeliveryCode.DELIVERED, DeliveryCode.READ})
FINAL_FAILURE = frozenset(
    {DeliveryCode.EXPIRED, DeliveryCode.DELETED, DeliveryCode.UNDELIVERABLE, DeliveryCode.DENIED}
)
FINAL = FINAL_SUCCESS | FINAL_FAILURE | {DeliveryCode.UNKNOWN}

#: ERROR is final only once it has stood this long (manual v1, "Status parameter values").
ERROR_FINAL_AFTER = timedelta(minutes=60)

#: The numbers that older callbacks carry.
_BY_NUMBER = {
    "1": DeliveryCode.QUEUED,
    "3": DeliveryCode.SENT,
    "4": DeliveryCode.DELIVERED,
    "5": DeliveryCode.EXPIRED,
    "6": DeliveryCode.DELETED,
    "7": DeliveryCode.UNDELIVERABLE,
    "8": DeliveryCode.DENIED,
    "9": DeliveryCode.ERROR,
    "10": DeliveryCode.UNKNOWN,
    "11": DeliveryCode.SCHEDULED,
    "12": DeliveryCode.IN_GROUP,
    "14": DeliveryCode.PROCESSING,
}
_BY_TEXT: dict[str, str] = {**_BY_NUMBER, **DeliveryCode.__members__}
_RANK: dict[str, int] = {code: rank for rank, code in enumerate(DeliveryCode)}


def parse_code(value: str | int) -> str:
    """
    Read a code: a :class:`DeliveryCode` where it is known, else the text as it came, which is never final.

    :param value: a code in any case, or one of the numbers of older callbacks
    """
    text = str(value).strip()
    return _BY_TEXT.get(text.upper(), text)


def supersedes(new: str, old: str | None) -> bool:
    """
    Tell whether a code that just came replaces the one that is known.

    Reports come late, twice and in disorder. The rule is a strict order, so the end is the same for every
    order of arrival: the report that says most.

    :param new: what just came, as :func:`parse_code` gives it
    :param old: what is known, None for nothing
    """
    return old is None or _rank(new) > _rank(old)


def _rank(code: str) -> tuple[float, str]:
    """Place a code among the others; an unknown one says more than SENT, less than what is final."""
    return _RANK.get(code, _RANK[DeliveryCode.SENT] + 0.5), code


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """
    What check_message tells of a message.

    :param message_id: the id that was asked for
    :param code: a :class:`DeliveryCode`, or the text of a code that is not known
    :param status: the API's own words
    :param delivered_at: in Bratislava's zone; None where it has not arrived, or the date was unreadable
    """

    message_id: str
    code: str
    status: str
    delivered_at: datetime | None

    @property
    def is_terminal(self) -> bool:
        """Nothing more is to be expected; ERROR may become so, see :data:`ERROR_FINAL_AFTER`."""
        return self.code in FINAL

    @property
    def is_success(self) -> bool:
        """The message arrived."""
        return self.code in FINAL_SUCCESS


#: Bytes of a callback at most.
LARGEST_CALLBACK = 65_536
#: Fields of a form at most.
_MOST_FIELDS = 100
#: Before a bracket that closes; a string, also one without an end, is passed over whole.
_TRAILING_COMMA = re.compile(r'"(?:[^"\\]|\\.)*+"?|,(?=\s*+[}\]])', re.DOTALL)
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ -]{0,39}")
_CHARSET = re.compile(r"charset=[\"']?(iso-8859-[12]|windows-125[02])\b", re.IGNORECASE)
_LONGEST_EXTERNAL_ID = 500


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """
    The API told the status of a message (``dsn``).

    :param message_id: the API's id
    :param external_id: the sender's own id (API v2); at least one of the two is there
    :param code: a :class:`DeliveryCode`, or the text of a code that is not known
    :param channel: ``sms`` or ``rcs``
    :param at: when it happened, an aware time
    """

    message_id: str | None
    external_id: str | None
    code: str
    channel: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Postback:
    """
    Somebody tapped a suggestion (``postback``); the manual shows no example of it.

    :param data: the suggestion's ``postbackData``
    :param text: what its button said
    :param address_from: whose phone it was, as it came
    """

    message_id: str | None
    external_id: str | None
    data: str | None = field(repr=False)
    text: str | None = field(default=None, repr=False)
    address_from: str | None = field(default=None, repr=False)
    channel: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """
    Somebody wrote a message.

    :param address_from: who, as it came
    :param address_to: to which of the account's numbers
    """

    address_from: str = field(repr=False)
    text: str = field(repr=False)
    address_to: str | None = field(default=None, repr=False)
    channel: str | None = None
    at: datetime | None = None


Callback = DeliveryReport | Postback | InboundMessage


def parse_callback(body: bytes, content_type: str, query: Mapping[str, str]) -> Callback:
    """
    Read what a callback URL was called with.

    The manual shows one example, and that is not quite JSON; what is not shown is guessed from its names.

    :param body: the body of a POST; empty for the older form, which is a GET
    :param content_type: the header
    :param query: the parameters of the URL
    :raises UnreadableReplyError: when it is none; nothing of it is quoted
    """
    fields = _Fields(_document(body, content_type) if body.strip() else dict(query))
    kind = (fields.text("type") or "").lower()
    channel = (fields.text("channel") or "").lower()[:10] or None
    at = _moment(fields.text("timestamp", "deliverydatetime", "time", "date"))
    message_id, external_id = fields.id("messageid", "message.id"), fields.text("externalid")
    if external_id and len(external_id) > _LONGEST_EXTERNAL_ID:
        external_id = None
    data = fields.text("postbackdata", "postback.data", "postback")
    text = fields.text("postback.text", "text", "messagetext", "message.text", "message")
    sender = fields.text("addressfrom", "from", "sender", "phone", "msisdn")
    if kind == "postback" or data is not None:
        if data is None:
            data = fields.text("data", "payload")
        return Postback(message_id, external_id, data, text, sender, channel, at)
    status = fields.text("delivery.status", "status", "deliverystatus", "messagestatus")
    if status is not None and (message_id or external_id):
        if not _CODE.fullmatch(status.strip()):
            raise _unreadable("a status that is no word")
        return DeliveryReport(message_id, external_id, parse_code(status), channel, at)
    if text is not None and sender is not None and kind != "dsn":
        return InboundMessage(sender, text, fields.text("addressto", "to", "recipient"), channel, at)
    raise _unreadable("neither a status of a message nor a reply nor a message")


def _unreadable(reason: str) -> UnreadableReplyError:
    return UnreadableReplyError(f"A callback that cannot be read: {reason}")


def _document(body: bytes, content_type: str) -> dict[str, Any]:
    if len(body) > LARGEST_CALLBACK:
        raise _unreadable(f"more than {LARGEST_CALLBACK} bytes")
    text = decode_callback(body, content_type)
    if "form-urlencoded" in content_type.lower() and text.lstrip()[:1] not in ("{", "["):
        try:
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
        except ValueError:
            raise _unreadable(f"a form with more than {_MOST_FIELDS} fields") from None
    try:
        found = _read_json(text)
    except (ValueError, RecursionError):
        try:
            # As in the manual's own example.
            found = _read_json(_TRAILING_COMMA.sub(_unless_comma, text))
        except (ValueError, RecursionError):
            raise _unreadable("no JSON") from None
    if isinstance(found, list) and len(found) == 1:
        [found] = found
    if not isinstance(found, dict):
        raise _unreadable("no JSON object")
    return found


def _unless_comma(match: re.Match[str]) -> str:
    return "" if match[0] == "," else match[0]


def decode_callback(body: bytes, content_type: str) -> str:
    """Give the text of a body, whatever it is encoded in."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        declared = _CHARSET.search(content_type)
        return body.decode(declared[1] if declared else "latin-1", "replace")


def _read_json(text: str) -> Any:
    # Numbers stay as they are written: an id is not to be rounded, and a huge one costs nothing.
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda _: None)


class _Fields:
    """
    The values of a document by their names, without regard to case and underscores.

    One that is nested is found by its own name and by that with its parent's; the outermost wins.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._found: dict[str, Any] = {}
        waiting = deque([("", document)])
        while waiting:
            parent, values = waiting.popleft()
            for key, value in values.items():
                name = key.replace("_", "").replace("-", "").lower()
                if isinstance(value, Mapping):
                    waiting.append((name, value))
                else:
                    for known_as in {name, f"{parent}.{name}"}:
                        self._found.setdefault(known_as, value)

    def text(self, *names: str) -> str | None:
        """Give the first of some fields that is there and not empty."""
        values = (self._found.get(name) for name in names)
        return next((value for value in values if isinstance(value, str) and value.strip()), None)

    def id(self, *names: str) -> str | None:
        """Give the first of some fields that is an id."""
        # Not at the top: it brings what reads XML, which those who only want a code have no use for.
        from airflow_provider_telekom_sms.api.wire import read_id

        found = (read_id(self._found.get(name)) for name in names)
        return next(filter(None, found), None)


def _moment(value: str | None) -> datetime | None:
    """Read a time: as the manual writes it, or seconds or milliseconds since 1970."""
    from airflow_provider_telekom_sms.api.times import parse_reported_time

    if value is None:
        return None
    if re.fullmatch(r"\d{10}|\d{13}", value, re.ASCII):
        return datetime.fromtimestamp(int(value[:10]), UTC)
    return parse_reported_time(value) if len(value) < 50 else None
