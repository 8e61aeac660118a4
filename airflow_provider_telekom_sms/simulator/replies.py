"""The replies of manual v1, one function for each shape, in JSON and in XML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

OK = "OK"
DECLARATION = '<?xml version="1.0" encoding="UTF-8" ?>'

MEDIA_TYPES = {"json": "application/json", "xml": "application/xml"}

DESCRIPTIONS = {
    "API_TOKEN_NOT_FOUND": "API token was not found",
    "AUTHENTICATION_REQUIRED": "Authentication is required",
    "GET_REQUEST_FORBIDDEN": "GET requests are not allowed for this API key",
    "INCORRECT_RECIPIENT_ADDRESS": "Recipient address is incorrect",
    "INVALID_DELIVERY_TIME": "Delivery time is invalid",
    "INVALID_PRIORITY_VALUE": "Priority value is invalid",
    "INVALID_TYPE_VALUE": "Type value is invalid",
    "INVALID_VALIDITY_VALUE": "Validity value is invalid",
    "MESSAGE_ID_REQUIRED": "Message ID is required",
    "MESSAGE_NOT_FOUND": "Message was not found",
    "MESSAGE_TOO_LONG": "Message is too long",
    "NO_CREDIT": "Not enough credit",
    "RECIPIENT_REQUIRED": "Recipient is required",
    "SESSION_NOT_FOUND": "Session was not found or has expired",
    "TEXT_NUMBER_LENGTH_EXCEED": "Text sender is too long",
    "TEXT_NUMBER_MUST_BE_ALPHANUMERIC": "Text sender must be alphanumeric",
    "TEXT_REQUIRED": "Text is required",
}


@dataclass(frozen=True, slots=True)
class Group:
    """
    A cadence group (sms-groups).

    :param id: group ID
    :param name: group name
    :param is_paused: sending paused
    :param note: note
    """

    id: int
    name: str
    is_paused: bool = False
    note: str = ""


def describe(code: str, endpoint: str, client: str) -> str:
    """
    Return the description of an error code, as the manual words it.

    :param code: the code
    :param endpoint: the endpoint that answers: send_message says SESSION_NOT_FOUND in Slovak
    :param client: the caller's IP address, which IP_NOT_ALLOWED repeats
    """
    if code == "IP_NOT_ALLOWED":
        return f"Access from IP address {client} is not allowed"
    if code == "SESSION_NOT_FOUND" and endpoint == "send_message":
        return "Relácia nebola nájdená alebo expirovala"
    return DESCRIPTIONS.get(code, code)


def error(wire: str, code: str, description: str) -> bytes:
    """
    Return an error reply: a result and nothing else, as every section of the manual ends.

    :param wire: json or xml
    :param code: the machine's word
    :param description: the human's
    """
    return _reply(wire, code, description)


def success(wire: str) -> bytes:
    """
    Return the reply of ping.

    :param wire: json or xml
    """
    return _reply(wire)


def session(wire: str, session_id: str) -> bytes:
    """
    Return the reply of auth.

    :param wire: json or xml
    :param session_id: the new session
    """
    return _reply(wire, data={"session_id": session_id}, xml=f"    <session_id>{session_id}</session_id>\n")


def sent(wire: str, message_id: int, parts: int) -> bytes:
    """
    Return the reply of send_message: the id is a number, and XML has no parts.

    :param wire: json or xml
    :param message_id: the new message
    :param parts: the number of its parts
    """
    entry = {"status": "success", "code": OK, "description": "", "message_id": message_id, "parts": parts}
    return _messages(wire, entry, f' id="{message_id}"')


def not_sent(wire: str, code: str, description: str) -> bytes:
    """
    Return a reply whose result is OK while its one message was refused (send_message, last case).

    :param wire: json or xml
    :param code: the code of the message
    :param description: its description
    """
    return _messages(wire, {"status": "error", "code": code, "description": description}, "")


def checked(wire: str, message_id: int, code: str, prose: str, delivered: str) -> bytes:
    """
    Return the reply of check_message: nested in XML, at the top level in JSON, where the id is a string.

    :param wire: json or xml
    :param message_id: the message
    :param code: a code of the manual's table
    :param prose: its status
    :param delivered: ``YYYY-MM-DD HH:MM:SS``, or empty
    """
    fields = {"status": prose, "code": code, "deliveryDateTime": delivered}
    xml = f"    <message>\n{_elements(fields, 8)}    </message>\n"
    return _reply(wire, data={"message_id": str(message_id), **fields}, xml=xml)


def groups(wire: str, found: Sequence[Group], json_shape: str) -> bytes:
    """
    Return the reply of sms-groups.

    :param wire: json or xml
    :param found: the groups to show
    :param json_shape: the manual's JSON shows no groups at all, so the shape is a choice: ``list``,
        ``object`` (the twin of the XML), or ``none`` (the printed example to the letter)
    """
    rows = [{"id": g.id, "name": g.name, "isPaused": g.is_paused, "note": g.note} for g in found]
    numbers = "".join(f"        <number>\n{_elements(row, 12)}        </number>\n" for row in rows)
    xml = f'    <groups count="{len(rows)}">\n{numbers}    </groups>\n'
    shapes: dict[str, dict[str, Any]] = {
        "list": {"groups": rows},
        "object": {"groups": {"count": len(rows), "number": rows}},
        "none": {},
    }
    return _reply(wire, data=shapes[json_shape], xml=xml)


def phone_number(wire: str, exists: bool, operator: str) -> bytes:
    """
    Return the reply of check_phone_number: ``exists`` is a word in XML.

    :param wire: json or xml
    :param exists: whether the number exists
    :param operator: its operator
    """
    fields = {"exists": exists, "operator": operator}
    xml = f"    <phone_number>\n{_elements(fields, 8)}    </phone_number>\n"
    return _reply(wire, data=fields, xml=xml)


def _messages(wire: str, entry: dict[str, Any], xml_id: str) -> bytes:
    fields = {name: entry[name] for name in ("status", "code", "description")}
    xml = (
        f'    <messages count="1">\n        <message{xml_id}>\n'
        f"{_elements(fields, 12)}        </message>\n    </messages>\n"
    )
    return _reply(wire, data={"message_count": 1, "messages": [entry]}, xml=xml)


def _reply(
    wire: str, code: str = OK, description: str = "", *, data: dict[str, Any] | None = None, xml: str = ""
) -> bytes:
    result = {"status": "success" if code == OK else "error", "description": description, "code": code}
    if wire == "json":
        return json.dumps({"result": result, **(data or {})}, ensure_ascii=False).encode()
    body = f"    <result>\n{_elements(result, 8)}    </result>\n{xml}"
    return f"{DECLARATION}\n<response>\n{body}</response>\n".encode()


def _elements(fields: dict[str, Any], indent: int) -> str:
    return "".join(f"{' ' * indent}<{name}>{_word(value)}</{name}>\n" for name, value in fields.items())


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else escape(str(value))
