"""
The functions of API v1: each is a generator that builds, sends and reads on one screen.

All take ``wire``, which knows the formats, and all but :func:`auth` a ``credential``, the session or the key.
All raise :class:`~airflow_provider_telekom_sms.exceptions.ApiError` where the API answers with an error, and
:class:`~airflow_provider_telekom_sms.exceptions.UnreadableReplyError` where it answers anything else that the
manual does not show.
"""

from __future__ import annotations

from airflow_provider_telekom_sms.api.delivery import DeliveryStatus, parse_code
from airflow_provider_telekom_sms.api.http import Call, Credential, Response
from airflow_provider_telekom_sms.api.messages import SmsParameters, parse_flag
from airflow_provider_telekom_sms.api.results import NumberInfo, Receipt, SmsGroup
from airflow_provider_telekom_sms.api.times import parse_reported_time
from airflow_provider_telekom_sms.api.wire import Wire, judge, plain, read_id, read_parts, unreadable


def auth(wire: Wire, token: str) -> Call[str]:
    """
    Log in (manual v1, auth).

    :param token: the API key
    :return: the session id, valid for 15 minutes after its last use
    """
    response: Response = yield wire.request("auth", {"token": token})
    session_id = wire.read(response).get("session_id")
    if not isinstance(session_id, str) or not session_id:
        raise unreadable(response, "no session_id")
    return session_id


def ping(wire: Wire, credential: Credential) -> Call[None]:
    """Keep the session alive (manual v1, ping)."""
    response: Response = yield wire.request("ping", credential)
    wire.read(response)


def send_message(
    wire: Wire, credential: Credential, to: str, text: str, parameters: SmsParameters
) -> Call[Receipt]:
    """
    Send one message (manual v1, send_message).

    :param to: the number in the form that chooses the channel
    :param text: as :func:`~airflow_provider_telekom_sms.api.messages.check_text` gave it
    :param parameters: all else
    :raises InvalidMessageError: for a character that cannot travel; nothing was sent
    """
    response: Response = yield wire.request(
        "send_message", {"to": to, "text": text, **parameters.v1, **credential}
    )
    match wire.read(response).get("messages"):
        case [dict(message)]:
            if error := judge(message, response):
                raise error
        case _:
            raise unreadable(response, "not one message")
    message_id = read_id(message.get("message_id"))
    if message_id is None:
        raise unreadable(response, "a success without message_id")
    return Receipt(
        message_id=message_id,
        to=to,
        status=message["status"],
        code=message["code"],
        description=plain(message.get("description")),
        parts=read_parts(message.get("parts")),
    )


def check_message(wire: Wire, credential: Credential, message_id: str) -> Call[DeliveryStatus]:
    """
    Ask what became of a message (manual v1, check_message).

    :param message_id: from the receipt
    """
    response: Response = yield wire.request("check_message", {"message_id": message_id, **credential})
    reply = wire.read(response)
    code = plain(reply.get("code"))
    if not code:
        raise unreadable(response, "no code")
    return DeliveryStatus(
        message_id=message_id,
        code=parse_code(code),
        status=plain(reply.get("status")),
        delivered_at=parse_reported_time(reply.get("deliveryDateTime")),
    )


def sms_groups(
    wire: Wire, credential: Credential, limit: int | None = None, start_from: int | None = None
) -> Call[list[SmsGroup]]:
    """
    List the cadence groups (manual v1, sms-groups).

    :param limit: how many
    :param start_from: from which on
    """
    response: Response = yield wire.request(
        "sms-groups", {"limit": limit, "startFrom": start_from, **credential}
    )
    groups = wire.read(response).get("groups", [])
    if not isinstance(groups, list):
        raise unreadable(response, "no list of groups")
    return [_group(group, response) for group in groups]


def check_phone_number(wire: Wire, credential: Credential, phone_number: str) -> Call[NumberInfo]:
    """
    Ask whether a number exists, and whose it is (manual v1, check_phone_number).

    :param phone_number: in the national form, ``0900000001``
    """
    response: Response = yield wire.request(
        "check_phone_number", {"phone_number": phone_number, **credential}
    )
    reply = wire.read(response)
    return NumberInfo(phone_number, _flag(reply.get("exists"), response), plain(reply.get("operator")))


def _group(group: object, response: Response) -> SmsGroup:
    group_id = read_id(group.get("id")) if isinstance(group, dict) else None
    if not isinstance(group, dict) or group_id is None:
        raise unreadable(response, "a group without id")
    paused = group.get("isPaused") or False
    return SmsGroup(group_id, plain(group.get("name")), _flag(paused, response), plain(group.get("note")))


def _flag(value: object, response: Response) -> bool:
    try:
        return parse_flag(value)
    except ValueError:
        pass
    raise unreadable(response, "neither true nor false")
