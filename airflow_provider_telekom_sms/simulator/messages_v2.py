"""
``POST /v2/messages``: what v2 answers to a request that has been judged.

The manual shows no reply. ``Settings.v2_reply`` chooses one; in each a recipient that was refused has an
``error`` with ``code`` and ``description`` in place of its id:

===========  =================================================================================================
external_id  ``{"messages": [{"messageId": 123, "externalId": "…"}]}`` in the recipients' order,
             ``externalId`` only where it was given
order        the same without ``externalId``
shuffled     as external_id, in reverse order
short        as order, the last one missing
v1_names     ``message_id`` and ``external_id``
strange      ``{"ok": true}``
===========  =================================================================================================

Errors are ``{"code": …, "description": …}`` with HTTP 401 (the key), 403 (the IP address) or 400.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from airflow_provider_telekom_sms.simulator import judge_v2, replies
from airflow_provider_telekom_sms.simulator.endpoints import Answer
from airflow_provider_telekom_sms.simulator.fates import Channel
from airflow_provider_telekom_sms.simulator.faults import Fault
from airflow_provider_telekom_sms.simulator.records import RequestRecord
from airflow_provider_telekom_sms.simulator.state import State

_HTTP_STATUS = {"AUTHENTICATION_REQUIRED": 401, "API_TOKEN_NOT_FOUND": 401, "IP_NOT_ALLOWED": 403}


@dataclass(frozen=True, slots=True)
class Incoming:
    """
    A request as it came.

    :param key: the header X-API-KEY
    :param content_type: the header, empty if there is none
    :param query: the query string, undecoded
    :param body: the body, undecoded
    :param client: the caller's IP address
    """

    key: str | None
    content_type: str
    query: bytes
    body: bytes
    client: str


def handle(state: State, incoming: Incoming) -> tuple[Answer | None, Fault | None]:
    """
    Judge a request, answer and record it; no answer if a fault keeps it from the API.

    :param state: the simulator's memory
    :param incoming: the request
    """
    body, violations = judge_v2.read(incoming.body)
    violations = [*_judge_envelope(incoming), *violations]
    with state.lock:
        state.note([f"{judge_v2.ENDPOINT} (v2 POST) {violation}" for violation in violations])
        fault = state.choose_fault(judge_v2.ENDPOINT, _numbers(body))
        answered = None
        if fault is None or fault.handled:
            answered = _answer(state, incoming, body, violations, fault)
        state.record(
            RequestRecord(
                time=time.time(),
                endpoint=judge_v2.ENDPOINT,
                wire="v2",
                method="POST",
                parameters=body if isinstance(body, dict) else {},
                fault=fault.name if fault else None,
                code=answered.code if answered else None,
                message_ids=answered.message_ids if answered else [],
            )
        )
    return answered, fault


def _judge_envelope(incoming: Incoming) -> list[str]:
    found = [] if incoming.key else ["X-API-KEY: missing"]
    media_type, _, options = incoming.content_type.lower().partition(";")
    if media_type.strip() != "application/json":
        found.append("Content-Type: not application/json")
    if options.partition("charset=")[2].strip(' "') not in ("", "utf-8"):
        found.append("Content-Type: a charset other than UTF-8")
    if incoming.query:
        found.append("query: not empty")
    return found


def _numbers(body: Any) -> list[str]:
    recipients = body.get("recipients") if isinstance(body, dict) else None
    if not isinstance(recipients, list):
        return []
    phones = [recipient.get("phone") for recipient in recipients if isinstance(recipient, dict)]
    return [phone for phone in phones if isinstance(phone, str)]


def _answer(
    state: State, incoming: Incoming, body: Any, violations: list[str], fault: Fault | None
) -> Answer:
    if state.ip_denied:
        return _refused("IP_NOT_ALLOWED", incoming.client)
    if not incoming.key:
        return _refused("AUTHENTICATION_REQUIRED")
    if incoming.key not in state.settings.tokens:
        return _refused("API_TOKEN_NOT_FOUND")
    if violations:
        return _refused("INVALID_REQUEST", description="; ".join(violations))
    if fault and fault.name == "credit":
        return _refused("NO_CREDIT")
    if fault and fault.name == "error" and fault.level == "result":
        return _refused(fault.code, description=fault.description)
    if fault and fault.name == "error" and fault.level == "body":
        return _reply({"error": _error(fault.code, fault.description)}, code=str(fault.code))
    return _sent(state, body, fault if fault and fault.name == "error" else None)


def _error(code: str | int, description: str) -> dict[str, Any]:
    return {"code": code, "description": description} if description else {"code": code}


def _refused(code: str | int, client: str = "", *, description: str | None = None) -> Answer:
    if description is None:
        description = replies.describe(str(code), judge_v2.ENDPOINT, client)
    answer = _reply({"code": code, "description": description}, code=str(code))
    answer.http_status = _HTTP_STATUS.get(str(code), 400)
    return answer


def _reply(shown: Any, code: str = replies.OK, message_ids: list[int] | None = None) -> Answer:
    return Answer(json.dumps(shown, ensure_ascii=False).encode(), code, message_ids=message_ids or [])


def _sent(state: State, body: dict[str, Any], refusal: Fault | None) -> Answer:
    """Take a message for each recipient; the first one meets the refusal that was ordered."""
    common = _common(body)
    begins = judge_v2.seconds_of(body["deliveryTime"]) if body.get("deliveryTime") else 0
    receipts: list[dict[str, Any]] = []
    ids: list[int] = []
    refused = ""
    for position, recipient in enumerate(body["recipients"]):
        phone, external_id = recipient["phone"], recipient.get("externalId")
        error = None
        if refusal and position == 0:
            error = _error(refusal.code, refusal.description)
        elif state.fate_for(phone) == "rejected":
            code = "INCORRECT_RECIPIENT_ADDRESS"
            error = _error(code, replies.DESCRIPTIONS[code])
        if error:
            refused = refused or str(error["code"])
            receipts.append({"externalId": external_id, "error": error})
            continue
        channels = _channels(state, body, phone)
        message = state.add(phone, begins, channels=channels, external_id=external_id, **common)
        ids.append(message.id)
        receipts.append({"messageId": message.id, "externalId": external_id})
    return _reply(_shaped(receipts, state.settings.v2_reply), replies.OK if ids else refused, ids)


def _common(body: dict[str, Any]) -> dict[str, Any]:
    """What the messages of one request share."""
    sms, callbacks = body.get("sms") or {}, body.get("callbackUrls") or ()
    return {
        "prefer_rcs": body["channels"][0]["type"] == "rcs",
        "text": sms.get("text") or _rcs_text(body.get("rcs") or {}),
        "parameters": {},
        "parts": judge_v2.parts_of(sms["text"], sms.get("unicode")) if sms else 1,
        "in_group": body.get("groupId") is not None,
        "body": {name: value for name, value in body.items() if name != "recipients"},
        "callback_urls": {
            kind: [callback["url"] for callback in callbacks if kind in callback["types"]]
            for kind in ("dsn", "postback")
        },
    }


def _cards(rcs: dict[str, Any]) -> list[dict[str, Any]]:
    if card := rcs.get("standaloneCard"):
        return [card["cardContent"]]
    return (rcs.get("carouselCard") or {}).get("cardContents") or []


def _rcs_text(rcs: dict[str, Any]) -> str:
    texts = [rcs.get("text"), *(card.get(name) for card in _cards(rcs) for name in ("title", "description"))]
    return next(filter(None, texts), "")


def _files(rcs: dict[str, Any]) -> list[str]:
    loaded = [rcs.get("file"), *((card.get("media") or {}).get("contentInfo") for card in _cards(rcs))]
    return [
        info[name] for info in loaded if info for name in ("url", "fileUrl", "thumbnailUrl") if info.get(name)
    ]


def _channels(state: State, body: dict[str, Any], phone: str) -> tuple[Channel, ...]:
    channels = []
    for channel in body["channels"]:
        obstacle = None
        if channel["type"] == "rcs" and any("/missing" in url for url in _files(body["rcs"])):
            obstacle = "no_file"
        elif channel["type"] == "rcs" and not state.knows_rcs(phone):
            obstacle = "no_rcs"
        channels.append(Channel(channel["type"], channel.get("ttl"), obstacle))
    return tuple(channels)


def _shaped(receipts: list[dict[str, Any]], shape: str) -> Any:
    if shape == "strange":
        return {"ok": True}
    receipts = [{k: v for k, v in receipt.items() if v is not None} for receipt in receipts]
    if shape in ("order", "short"):
        for receipt in receipts:
            receipt.pop("externalId", None)
    if shape == "short":
        receipts.pop()
    if shape == "shuffled":
        receipts.reverse()
    if shape == "v1_names":
        names = {"messageId": "message_id", "externalId": "external_id"}
        receipts = [{names.get(k, k): v for k, v in receipt.items()} for receipt in receipts]
    return {"messages": receipts}
