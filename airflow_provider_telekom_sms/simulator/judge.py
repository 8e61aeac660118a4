"""
The judge: reads a request with the manual in hand and notes everything in which it deviates.

A deviation is noted even where the API would be lenient. What the API refuses besides has a code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from xml.etree.ElementTree import ParseError
from zoneinfo import ZoneInfo

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

BRATISLAVA = ZoneInfo("Europe/Bratislava")
WIRES = ("json", "xml")

Note = Callable[[str], None]
Reader = Callable[[Any, str, Note], Any]
"""Takes a value, its carrier (json, xml or query) and a place for notes; a ValueError refuses the value."""

_RECIPIENT = re.compile(r"(?:\+?4219|09)[0-9]{8}")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_ENCODING = re.compile(r"""<\?xml[^>]*encoding=["']([^"']+)["']""")
_MEDIA_TYPES = {"json": ("application/json",), "xml": ("application/xml", "text/xml")}


@dataclass(frozen=True, slots=True)
class Incoming:
    """
    A request as it came.

    :param wire: json or xml, from the path
    :param endpoint: the rest of the path
    :param method: POST or GET
    :param query: the query string, undecoded
    :param content_type: the header, empty if there is none
    :param body: the body, undecoded
    """

    wire: str
    endpoint: str
    method: str
    query: bytes = b""
    content_type: str = ""
    body: bytes = b""


@dataclass(slots=True)
class Verdict:
    """
    What the judge found.

    :param parameters: the parameters as they came
    :param values: the parameters as the API understands them
    :param violations: every deviation from the manual
    :param refusal: the code with which the API refuses the request, were it authenticated
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    refusal: str | None = None

    def refuse(self, code: str | None) -> None:
        """
        Keep the first refusal.

        :param code: the code, or None where the API lets a deviation pass
        """
        self.refusal = self.refusal or code


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    A row of a parameter table of the manual.

    :param read: reads and checks a value
    :param missing: the code for its absence; None if it is optional
    :param wrong: the code for a wrong value; None if the API ignores such a value
    """

    read: Reader
    missing: str | None = None
    wrong: str | None = None


class _Unreadable(ValueError):
    """The request's parameters cannot be read at all."""


def judge(incoming: Incoming, *, allow_get: bool) -> Verdict:
    """
    Judge a request.

    :param incoming: the request
    :param allow_get: whether the API key allows GET
    """
    verdict = Verdict()
    place = f"{incoming.endpoint} ({incoming.wire} {incoming.method})"

    def note(found: str) -> None:
        verdict.violations.append(f"{place} {found}")

    if incoming.method == "GET" and not allow_get:
        note("the API key does not allow GET")
        verdict.refuse("GET_REQUEST_FORBIDDEN")
    _judge_envelope(incoming, note)
    try:
        pairs = _pairs(incoming, note)
    except _Unreadable as exc:
        note(str(exc))
        verdict.refuse("AUTHENTICATION_REQUIRED")
        return verdict
    carrier = "query" if incoming.method == "GET" else incoming.wire
    _judge_parameters(incoming.endpoint, carrier, pairs, verdict, note)
    return verdict


def recipient_number(to: str) -> str:
    """
    Return the number as 4219xxxxxxxx.

    :param to: one of the manual's three formats
    """
    return f"421{to[1:]}" if to.startswith("0") else to.lstrip("+")


def _judge_envelope(incoming: Incoming, note: Note) -> None:
    if incoming.method == "GET":
        if incoming.body:
            note(f"a GET with a body of {len(incoming.body)} bytes")
        return
    if incoming.query:
        note("a query string on a POST")
    media_type, _, options = incoming.content_type.lower().partition(";")
    if media_type.strip() not in _MEDIA_TYPES[incoming.wire]:
        note(f"content type {incoming.content_type!r}")
    charset = options.partition("charset=")[2].strip(' "')
    if charset not in ("", "utf-8"):
        note(f"charset {charset!r}")


def _pairs(incoming: Incoming, note: Note) -> list[tuple[str, Any]]:
    if incoming.method == "GET":
        return _query_pairs(incoming.query)
    try:
        text = incoming.body.decode()
    except UnicodeDecodeError:
        raise _Unreadable("the body is not UTF-8") from None
    return _json_pairs(text) if incoming.wire == "json" else _xml_pairs(text, note)


def _query_pairs(query: bytes) -> list[tuple[str, Any]]:
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except UnicodeDecodeError:
        raise _Unreadable("the query is not percent-encoded UTF-8") from None
    except ValueError:
        raise _Unreadable("the query is not parseable") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Objects stay lists of pairs, or a parameter that is given twice would go unnoticed.
_JSON = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_no_constant)


def _json_pairs(text: str) -> list[tuple[str, Any]]:
    try:
        pairs = _JSON.decode(text)
    except (ValueError, RecursionError):
        raise _Unreadable("the body is not parseable as JSON") from None
    if not isinstance(pairs, tuple):
        raise _Unreadable("the body is not a JSON object")
    return list(pairs)


def _xml_pairs(text: str, note: Note) -> list[tuple[str, Any]]:
    declared = _ENCODING.match(text)
    if declared and declared[1].lower() != "utf-8":
        note(f"declared encoding {declared[1]!r}")
    try:
        root = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise _Unreadable("XML with a DTD or entities") from None
    except (ParseError, ValueError):
        raise _Unreadable("the body is not parseable as XML") from None
    if root.tag != "request":
        note(f"root element {root.tag!r} instead of 'request'")
    if (root.text or "").strip() or any((child.tail or "").strip() for child in root):
        note("text outside of parameters")
    for element in root.iter():
        if element.attrib:
            note(f"attributes on {element.tag!r}")
    for child in root:
        if len(child):
            note(f"{child.tag}: nested elements")
    return [(child.tag, child.text or "") for child in root]


def _judge_parameters(
    endpoint: str, carrier: str, pairs: list[tuple[str, Any]], verdict: Verdict, note: Note
) -> None:
    table = ENDPOINTS[endpoint]
    for name, value in pairs:
        if name in verdict.parameters:
            note(f"{name}: given twice")
        verdict.parameters[name] = value
    for name, value in verdict.parameters.items():
        if name not in table:
            note(f"{name}: unknown parameter")
        elif value is None:
            note(f"{name}: null")
        else:
            if value in ("None", "null"):
                note(f"{name}: the word {value!r} as a value")
            _read(name, value, carrier, table[name], verdict, note)
    for name, parameter in table.items():
        if parameter.missing and verdict.values.get(name) in (None, ""):
            if verdict.parameters.get(name) in (None, ""):
                note(f"{name}: missing")
            verdict.refuse(parameter.missing)
    if "token" in table and "session_id" in table:
        given = [name for name in ("token", "session_id") if verdict.values.get(name)]
        if len(given) != 1:
            note("both token and session_id" if given else "neither token nor session_id")


def _read(name: str, value: Any, carrier: str, parameter: Parameter, verdict: Verdict, note: Note) -> None:
    try:
        verdict.values[name] = parameter.read(value, carrier, lambda found: note(f"{name}: {found}"))
    except ValueError as exc:
        note(f"{name}: {exc}")
        verdict.refuse(parameter.wrong)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _string(value: Any, carrier: str, note: Note) -> str:
    if not isinstance(value, str):
        if isinstance(value, (bool, tuple, list)):
            raise ValueError(f"wrong JSON type, {_shown(value)} instead of a string")
        note(f"wrong JSON type, {_shown(value)} instead of a string")
        return str(value)
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        note("half a surrogate pair, which is no character")
    return value


def _integer(value: Any, carrier: str, note: Note) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ValueError(f"{_shown(value)} is not an integer")
    if carrier == "json":
        note(f"wrong JSON type, {_shown(value)} instead of an integer")
    return int(value)


def _integer_between(low: int, high: int | None = None) -> Reader:
    def read(value: Any, carrier: str, note: Note) -> int:
        number = _integer(value, carrier, note)
        if number < low or (high is not None and number > high):
            raise ValueError(f"{number} is out of range")
        return number

    return read


# What each carrier may write for a boolean. JSON has booleans, and the manual names 0, "0", "" besides; the
# XML example has the word; in a query the word `false` would read as true, so there only a digit is clear.
_BOOLEANS: dict[str, tuple[Any, ...]] = {
    "json": (True, False, 0, 1, "0", ""),
    "xml": ("true", "false", "0", "1", ""),
    "query": ("0", "1", ""),
}


def _boolean(value: Any, carrier: str, note: Note) -> bool:
    if isinstance(value, (float, tuple, list)) or value not in _BOOLEANS[carrier]:
        note(f"{_shown(value)} is not a boolean here")
    return value not in (False, 0, "0", "") and (carrier, value) != ("xml", "false")


def _recipient(value: Any, carrier: str, note: Note) -> str:
    to = _string(value, carrier, note)
    if to and not _RECIPIENT.fullmatch(to):
        raise ValueError(f"{_shown(to)} is none of 4219xxxxxxxx, +4219xxxxxxxx, 09xxxxxxxx")
    return to


def _phone_number(value: Any, carrier: str, note: Note) -> str:
    # The manual gives no format here, so any run of digits is a number.
    number = _string(value, carrier, note)
    if number and not re.fullmatch(r"\+?[0-9]{6,15}", number):
        raise ValueError(f"{_shown(number)} is not a phone number")
    return number


def _timestamp(value: Any, carrier: str, note: Note) -> datetime:
    text = _string(value, carrier, note)
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not YYYY-MM-DD HH:MM:SS")
    try:
        local = datetime.fromisoformat(text).replace(tzinfo=BRATISLAVA)
    except ValueError:
        raise ValueError(f"{text!r} is not a date and time") from None
    if local.astimezone(UTC).astimezone(BRATISLAVA).replace(tzinfo=None) != local.replace(tzinfo=None):
        raise ValueError(f"{text!r} does not exist in Europe/Bratislava")
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        note(f"{text!r} happens twice in Europe/Bratislava")
    return local


def _one_of(*words: str) -> Reader:
    def read(value: Any, carrier: str, note: Note) -> str:
        word = _string(value, carrier, note)
        if word not in words:
            raise ValueError(f"{_shown(word)} is none of {', '.join(words)}")
        return word

    return read


def _message_id(value: Any, carrier: str, note: Note) -> int | None:
    # The table says string, the example shows a number: both are the manual's.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{0,18}", value):
        raise ValueError(f"{_shown(value)} is not a message id")
    return int(value) if value else None


def _sender(value: Any, carrier: str, note: Note) -> str:
    sender = _string(value, carrier, note)
    if not sender:
        raise ValueError("empty")
    return sender


_EITHER = {"token": Parameter(_string), "session_id": Parameter(_string)}

ENDPOINTS: dict[str, dict[str, Parameter]] = {
    "auth": {"token": Parameter(_string, missing="AUTHENTICATION_REQUIRED")},
    "ping": {"session_id": Parameter(_string, missing="AUTHENTICATION_REQUIRED")},
    "send_message": {
        "to": Parameter(_recipient, missing="RECIPIENT_REQUIRED", wrong="INCORRECT_RECIPIENT_ADDRESS"),
        "text": Parameter(_string, missing="TEXT_REQUIRED"),
        **_EITHER,
        "from": Parameter(_sender),
        "callback": Parameter(_boolean),
        "delivery_time": Parameter(_timestamp, wrong="INVALID_DELIVERY_TIME"),
        "priority": Parameter(_integer_between(1, 3), wrong="INVALID_PRIORITY_VALUE"),
        "validity": Parameter(_integer_between(1, 1440), wrong="INVALID_VALIDITY_VALUE"),
        "unicode": Parameter(_boolean),
        "type": Parameter(_one_of("standard", "flash"), wrong="INVALID_TYPE_VALUE"),
        "groupId": Parameter(_integer_between(0)),
    },
    "check_message": {
        **_EITHER,
        "message_id": Parameter(_message_id, missing="MESSAGE_ID_REQUIRED", wrong="MESSAGE_NOT_FOUND"),
    },
    "sms-groups": {
        **_EITHER,
        "limit": Parameter(_integer_between(0)),
        "startFrom": Parameter(_integer_between(0)),
    },
    "check_phone_number": {
        **_EITHER,
        "phone_number": Parameter(
            _phone_number, missing="RECIPIENT_REQUIRED", wrong="INCORRECT_RECIPIENT_ADDRESS"
        ),
    },
}
