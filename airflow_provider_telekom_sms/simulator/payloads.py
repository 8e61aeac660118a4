"""
What is sent to callback URLs.

The manual prints a dsn, the notification of a status (v1 "Delivery status callback", v2 ``callbackUrls``),
and no postback; ``POSTBACKS`` has what one may look like. The names of an inbound message are the operator's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_provider_telekom_sms.simulator.fates import Step
from airflow_provider_telekom_sms.simulator.records import Message

PRIMARY_NUMBER = "+421900000000"
"""The account's own number, to which inbound messages are addressed."""


@dataclass(slots=True)
class Callback:
    """
    A URL to call.

    :param url: as the client wrote it
    :param message_id: the message; None for an inbound one
    :param payload: what to send
    :param era: the state's ``era``
    :param attempt: counted from 1
    :param turn: held by the first attempts of one message, so that they keep their order
    """

    url: str
    message_id: int | None
    payload: dict[str, Any]
    era: int
    attempt: int = 1
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


def dsn(message: Message, step: Step) -> dict[str, Any]:
    """
    Return the notification of a status.

    :param message: the message
    :param step: its status
    """
    return {
        "delivery": {"status": step.code},
        "messageId": message.id,
        "channel": step.channel,
        "messageParts": message.parts if step.channel == "sms" else 1,
        "type": "dsn",
        "timestamp": _timestamp(step.since),
        **_external_id(message),
    }


def postback(message: Message, reply: dict[str, Any], shape: str) -> dict[str, Any]:
    """
    Return the notification of a click.

    :param message: the message
    :param reply: one of its ``replies``
    :param shape: one of ``POSTBACKS``
    """
    return POSTBACKS[shape](message, reply)


def inbound(number: str, text: str, channel: str) -> dict[str, Any]:
    """
    Return the notification of an inbound message.

    :param number: who wrote it, as 4219xxxxxxxx
    :param text: the text
    :param channel: sms or rcs
    """
    return {
        "addressFrom": f"+{number}",
        "addressTo": PRIMARY_NUMBER,
        "timestamp": _timestamp(datetime.now(UTC).timestamp()),
        "text": text,
        "channel": channel,
    }


def written(payload: dict[str, Any], *, trailing_comma: bool) -> bytes:
    """
    Return a payload as it is sent.

    :param payload: the payload
    :param trailing_comma: write it as the manual prints it, with a comma after the last value of ``delivery``
    """
    if not trailing_comma:
        return json.dumps(payload, ensure_ascii=False).encode(errors="replace")
    text = json.dumps(payload, ensure_ascii=False, indent=4)
    return text.replace("\n    }", ",\n    }").encode(errors="replace")


def button_text(body: dict[str, Any] | None, postback_data: str) -> str | None:
    """
    Return what the button of a suggestion says.

    :param body: the v2 request
    :param postback_data: the suggestion's ``postbackData``
    """
    buttons = (found for found in _objects(body) if found.get("postbackData") == postback_data)
    return next((button.get("text") for button in buttons), None)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)


def _timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _external_id(message: Message) -> dict[str, str]:
    return {} if message.external_id is None else {"externalId": message.external_id}


def _nested(message: Message, reply: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "postback",
        "messageId": message.id,
        **_external_id(message),
        "channel": "rcs",
        "postback": {"data": reply["postbackData"], "text": reply["text"]},
        "addressFrom": f"+{message.number}",
        "timestamp": _timestamp(reply["time"]),
    }


def _flat(message: Message, reply: dict[str, Any]) -> dict[str, Any]:
    payload = _nested(message, reply)
    del payload["postback"]
    return {**payload, "postbackData": reply["postbackData"], "text": reply["text"]}


def _like_an_inbound_message(message: Message, reply: dict[str, Any]) -> dict[str, Any]:
    return {
        **inbound(message.number, reply["text"], "rcs"),
        "timestamp": _timestamp(reply["time"]),
        "messageId": message.id,
        "postbackData": reply["postbackData"],
    }


POSTBACKS: dict[str, Callable[[Message, dict[str, Any]], dict[str, Any]]] = {
    "nested": _nested,
    "flat": _flat,
    "inbound": _like_an_inbound_message,
}
"""
The shapes of a postback: ``nested`` has an object ``postback`` with ``data`` and ``text``; ``flat`` has
``postbackData`` and ``text`` beside the rest; ``inbound`` is an inbound message with ``messageId`` and
``postbackData``, without ``type`` and ``externalId``.
"""
