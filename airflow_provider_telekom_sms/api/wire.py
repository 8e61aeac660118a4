"""
JSON and XML, POST and GET: the only module that knows the formats of API v1.

Whatever the format, a reply has one shape, that of the manual's JSON. Only its leaves may differ: what is a
number or a boolean in JSON is text in XML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal
from xml.etree import ElementTree  # builds only: what comes in is parsed by defusedxml

from airflow_provider_telekom_sms.api.http import Request, Response
from airflow_provider_telekom_sms.exceptions import (
    ApiError,
    ConfigurationError,
    InvalidMessageError,
    UnreadableReplyError,
    api_error,
)

_ACCEPT = {kind: MappingProxyType({"Accept": f"application/{kind}"}) for kind in ("json", "xml")}
_ACCEPT_AND_CONTENT_TYPE = {
    kind: MappingProxyType({**accept, "Content-Type": f"{accept['Accept']}; charset=utf-8"})
    for kind, accept in _ACCEPT.items()
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_ID = re.compile(r"(?!0+$)[\w-]{1,64}", re.ASCII)
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,60}", re.ASCII)
_LONGEST_TEXT = 500
_ENCODE_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Wire:
    """
    How requests are written and replies are read (manual v1, "Base URL for API communication").

    :param wire_format: ``json`` or ``xml``
    :param http_method: ``POST``, or ``GET`` where the key allows it
    :raises ConfigurationError: for another format or method
    """

    wire_format: Literal["json", "xml"] = "json"
    http_method: Literal["POST", "GET"] = "POST"

    def __post_init__(self) -> None:
        if self.wire_format not in _ACCEPT:
            raise ConfigurationError(f"wire_format: found {self.wire_format!r}, allowed are json, xml")
        if self.http_method not in ("POST", "GET"):
            raise ConfigurationError(f"http_method: found {self.http_method!r}, allowed are POST, GET")

    def request(self, endpoint: str, parameters: Mapping[str, object]) -> Request:
        """
        Write a request.

        :param endpoint: e.g. ``send_message``
        :param parameters: under the manual's names; those that are None are left out
        :raises InvalidMessageError: for a character that cannot travel
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        path = f"/{self.wire_format}/{endpoint}"
        if self.http_method == "GET":
            _refuse(_SURROGATE, given, "in UTF-8")
            query = {name: _as_text(value) for name, value in given.items()}
            return Request("GET", path, query, _ACCEPT[self.wire_format])
        body = _WRITERS[self.wire_format](given)
        return Request("POST", path, {}, _ACCEPT_AND_CONTENT_TYPE[self.wire_format], body)

    def read(self, response: Response) -> dict[str, Any]:
        """
        Read a reply that says success, into the shape of the manual's JSON.

        :param response: what the API answered, with any HTTP status but 429
        :raises ApiError: the API answered with an error
        :raises UnreadableReplyError: anything that the manual does not show
        """
        if not (200 <= response.status < 300 or 400 <= response.status < 500):
            raise unreadable(response, "an HTTP status that the manual does not know")
        reply = _READERS[self.wire_format](response.body)
        if reply is None:
            raise unreadable(response, f"not a reply in {self.wire_format.upper()}")
        error = judge(reply.get("result"), response)
        if error is None and response.status < 300:
            return reply
        if error is None or _accepts_a_message(reply):
            raise unreadable(response, "a reply that contradicts itself")
        raise error


def read_json(body: bytes) -> dict[str, Any] | None:
    """
    Read a JSON object; None where the bytes are anything else.

    :param body: the bytes of a reply
    """
    try:
        reply = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def judge(verdict: object, response: Response) -> ApiError | None:
    """
    Tell what ``status`` and ``code`` say: None for a success, else the error that belongs to the code.

    :param verdict: the ``result`` of a reply, or one of its ``messages``
    :param response: the reply it stands in
    :raises UnreadableReplyError: when it says neither
    """
    if isinstance(verdict, dict):
        match verdict.get("status"), verdict.get("code"):
            case "success", "OK":
                return None
            case "error", str(code) if code not in ("", "OK"):
                return api_error(plain(code), plain(verdict.get("description")))
    raise unreadable(response, "neither success nor error")


def plain(value: object) -> str:
    """
    Give a text of the API as one line that any log and any database takes; empty for what is no text.

    :param value: e.g. a ``description``
    """
    return _NOT_PLAIN.sub(" ", value).strip()[:_LONGEST_TEXT] if isinstance(value, str) else ""


def read_id(value: object) -> str | None:
    """
    Give an id as text, which the API writes as a number here and as text there; None for what is no id.

    :param value: e.g. a ``message_id``
    """
    if isinstance(value, int | str) and not isinstance(value, bool) and _ID.fullmatch(str(value)):
        return str(value)
    return None


def read_parts(value: object) -> int | None:
    """
    Give the number of parts; an odd one must not cost the receipt of a message that was taken.

    :param value: e.g. ``parts``
    """
    if isinstance(value, int | str) and re.fullmatch(r"[1-9]\d{0,3}", str(value), re.ASCII):
        return int(value)
    return None


def unreadable(response: Response, reason: str) -> UnreadableReplyError:
    """
    Give the error for a reply that the manual does not describe; it never quotes the body.

    :param response: the reply
    :param reason: what is wrong with it
    """
    media_type = _MEDIA_TYPE.match(response.headers.get("content-type", ""))
    kind = media_type[0] if media_type else "no content type"
    return UnreadableReplyError(f"HTTP {response.status}, {kind}, {len(response.body)} bytes: {reason}")


def _as_text(value: object) -> str:
    """Write a value where it travels as text; there the word ``false`` would be read as true."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _to_json(parameters: Mapping[str, object]) -> bytes:
    _refuse(_SURROGATE, parameters, "in UTF-8")
    return _ENCODE_JSON(parameters).encode()


def _to_xml(parameters: Mapping[str, object]) -> bytes:
    _refuse(_NOT_IN_XML, parameters, "in XML")
    root = ElementTree.Element("request")
    for name, value in parameters.items():
        ElementTree.SubElement(root, name).text = _as_text(value)
    # A parser turns a carriage return that is not escaped into a line feed.
    document = ElementTree.tostring(root, encoding="unicode").replace("\r", "&#13;")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode()


def _refuse(forbidden: re.Pattern[str], parameters: Mapping[str, object], where: str) -> None:
    for name, value in parameters.items():
        if isinstance(value, str) and (found := forbidden.search(value)):
            point = f"U+{ord(found[0]):04X} at position {found.start() + 1}"
            raise InvalidMessageError(f"{name}: found {point}, a character that cannot travel {where}")


def _from_json(body: bytes) -> dict[str, Any] | None:
    reply = read_json(body)
    if reply and "groups" in reply:
        reply["groups"] = _listed(reply["groups"])
    return reply


def _listed(groups: object) -> object:
    """Find the list of groups, whose JSON the manual does not show, inside what stands in its place."""
    if isinstance(groups, dict) and "id" not in groups:
        lists = [value for value in groups.values() if isinstance(value, list)]
        return lists[0] if lists else [value for value in groups.values() if isinstance(value, dict)]
    return [groups] if isinstance(groups, dict) else groups or []


def _from_xml(body: bytes) -> dict[str, Any] | None:
    # Not above: every process of Airflow imports this module, and few read XML.
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(body.decode("utf-8-sig").lstrip(), forbid_dtd=True)
    except (ElementTree.ParseError, ValueError):
        return None
    if root.tag != "response":
        return None
    reply: dict[str, Any] = {}
    for element in root:
        match element.tag:
            case "result":
                reply["result"] = _fields(element)
            case "messages":
                reply["messages"] = [
                    {"message_id": message.get("id")} | _fields(message) for message in element
                ]
            case "groups":
                reply["groups"] = [_fields(group) for group in element]
            case "message" | "phone_number":
                reply |= _fields(element)
            case _:
                reply[element.tag] = _text(element)
    return reply


def _fields(element: ElementTree.Element) -> dict[str, str]:
    return {child.tag: _text(child) for child in element}


def _text(element: ElementTree.Element) -> str:
    return (element.text or "").strip()


def _accepts_a_message(reply: Mapping[str, Any]) -> bool:
    messages = reply.get("messages")
    return isinstance(messages, list) and any(
        isinstance(message, dict) and message.get("status") == "success" for message in messages
    )


_WRITERS = {"json": _to_json, "xml": _to_xml}
_READERS = {"json": _from_json, "xml": _from_xml}
