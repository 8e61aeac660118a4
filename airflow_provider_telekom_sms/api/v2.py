"""
API v2: one function, which sends a message over SMS, RCS or both (manual v2, message).

The manual shows no reply, so replies are read tolerantly, and what is not understood means that nobody knows
whether the message was taken; it never means that it was not.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any

from airflow_provider_telekom_sms.api.http import Call, Request, Response
from airflow_provider_telekom_sms.api.phone import mask_phones_in
from airflow_provider_telekom_sms.api.results import Receipt
from airflow_provider_telekom_sms.api.wire import plain, read_id, read_json, read_parts, unreadable
from airflow_provider_telekom_sms.exceptions import (
    AccountError,
    ApiError,
    AuthenticationError,
    CreditError,
    Fate,
    TelekomSmsError,
    UnreadableReplyError,
    api_error,
)

log = logging.getLogger(__name__)

#: Recipients of one request; the manual sets no limit.
BATCH_SIZE = 100
#: HTTP statuses that are about the key or the account, whatever the reply says besides.
_OF_THE_ACCOUNT = {401: AuthenticationError, 402: CreditError, 403: AuthenticationError}
#: What stands where an error would, and is none.
_NO_ERROR = frozenset({"", "0", "200", "OK", "SUCCESS"})
_STATUS_OF = {Fate.NOT_SENT: "not_sent", Fate.REJECTED: "error", Fate.UNKNOWN: "unknown"}
#: Bytes of a reply that the log shows.
_SHOWN = 4_000
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

#: What became of one recipient's message: the API took it, refused it, or it is not known.
Result = Receipt | TelekomSmsError


def send_messages(token: str, message: Mapping[str, Any]) -> Call[list[Result]]:
    """
    Send a message to all of its recipients in one request (manual v2, message).

    :param token: the API key
    :param message: the body of the request, checked by
        :class:`~airflow_provider_telekom_sms.api.messages.MultichannelMessage`
    :return: for each recipient in order what became of it
    :raises ApiError: the API refused the request as a whole
    :raises UnreadableReplyError: whether it was taken is not known
    """
    headers = {
        "X-API-KEY": token,
        "Accept": "application/json",
        "Content-Type": "application/json; charset=utf-8",
    }
    response: Response = yield Request("POST", "/v2/messages", {}, headers, _ENCODE(message).encode())
    log.debug("HTTP %d: %s", response.status, _Masked(response.body))
    return _read(response, message["recipients"])


def with_senders(message: Mapping[str, Any], sms: str | None, rcs: str | None) -> dict[str, Any]:
    """
    Give a message with the sender of each channel that names none (manual v2, sms and rcs).

    :param sms: sender number or name of the SMS; None for the account's
    :param rcs: agent of the RCS message; None for the account's
    """
    senders = {name: {"from": sender} for name, sender in (("sms", sms), ("rcs", rcs)) if sender}
    return {**message, **{name: senders[name] | message[name] for name in senders if name in message}}


def send_in_batches(
    token: str, message: Mapping[str, Any], batch_size: int = BATCH_SIZE
) -> Call[list[Receipt]]:
    """
    Send a message to any number of recipients, one request after another (manual v2, message).

    :param token: the API key
    :param message: as in :func:`send_messages`
    :param batch_size: recipients of one request
    :return: a receipt for each recipient in order, whose ``status`` is ``success``, ``error``, ``unknown`` or
        ``not_sent``
    :raises TelekomSmsError: what the first request met, where no message at all was taken
    """
    recipients = list(message["recipients"])
    results: list[Result] = []
    while len(results) < len(recipients):
        batch = recipients[len(results) : len(results) + batch_size]
        try:
            results += yield from send_messages(token, {**message, "recipients": batch})
        except ApiError as error:
            results += [error] * len(batch)
            if error.stops_campaign:
                break
        except TelekomSmsError as error:
            results += [error] * len(batch)
            break
    failures = [result for result in results if isinstance(result, TelekomSmsError)]
    if len(failures) == len(results):
        raise failures[0]
    return [_receipt_of(result, to) for result, to in zip_longest(results, recipients)]


def _receipt_of(result: Result | None, recipient: Mapping[str, Any]) -> Receipt:
    """Give what became of a recipient's message in the form of a receipt."""
    match result:
        case Receipt():
            return result
        case ApiError(code=code, description=said):
            status = _STATUS_OF[result.fate]
        case TelekomSmsError():
            status, code, said = _STATUS_OF[result.fate], type(result).__name__, str(result)
        case None:
            status, code, said = "not_sent", "NOT_SENT", "a request before it did not get through"
    return Receipt("", recipient["phone"], status, code, said, None, recipient.get("externalId"))


def _read(response: Response, recipients: Sequence[Mapping[str, Any]]) -> list[Result]:
    if not (200 <= response.status < 300 or 400 <= response.status < 500):
        raise unreadable(response, "an HTTP status that no manual knows")
    reply = read_json(response.body) or {}
    messages = reply.get("messages")
    items = messages if isinstance(messages, list) else []
    items = [item if isinstance(item, dict) else {} for item in items]
    taken = any(map(_message_id, items))
    if response.status in _OF_THE_ACCOUNT and not taken:
        raise _account_error(reply, response)
    error = _error_in(reply, response, taken)
    if error is not None or response.status >= 400:
        if error is None or taken:
            raise unreadable(response, "neither an error nor a success")
        raise error
    if not items:
        raise unreadable(response, "no messages")
    found = _matched(items, recipients)
    return [_result(item, to, response) for item, to in zip(found, recipients, strict=True)]


def _account_error(reply: Mapping[str, Any], response: Response) -> AccountError:
    """Give the error of a key that was refused, in whatever words."""
    error = None
    with suppress(UnreadableReplyError):
        error = _error_in(reply, response, taken=False)
    if isinstance(error, AccountError):
        return error
    code, description = (error.code, error.description) if error else (f"HTTP {response.status}", "")
    return _OF_THE_ACCOUNT[response.status](code, description)


def _error_in(verdict: Mapping[str, Any], response: Response, taken: bool) -> ApiError | None:
    """
    Find an error in a reply or in one of its messages; each of these forms has been seen somewhere.

    :param taken: it has the id of a message, so that a code alone is no error
    """
    said, result = verdict.get("error"), verdict.get("result")
    if said:
        error: Mapping[str, Any] = said if isinstance(said, dict) else {"code": said}
    elif isinstance(result, dict) and result.get("status") == "error":
        error = result
    elif taken or plain(str(verdict.get("code", ""))) in _NO_ERROR:
        return None
    else:
        error = verdict
    code = error.get("code")
    if isinstance(code, str | int) and not isinstance(code, bool) and plain(str(code)):
        return api_error(plain(str(code)), plain(error.get("description") or error.get("message")))
    raise unreadable(response, "an error without a code")


def _matched(
    items: Sequence[dict[str, Any]], recipients: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any] | None]:
    """Give for each recipient its part of the reply: by externalId, else by order where the counts agree."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        by_id.setdefault(_external_id(item), []).append(item)
    sent = Counter(recipient.get("externalId") for recipient in recipients)
    in_order = items if len(items) == len(recipients) else [None] * len(recipients)
    for recipient, at_its_place in zip(recipients, in_order, strict=True):
        external_id = recipient.get("externalId") or ""
        named = by_id.get(external_id, []) if sent[external_id] == 1 else []
        if len(named) == 1:
            yield named[0]
        elif at_its_place is not None and _external_id(at_its_place) in ("", external_id) and not named:
            yield at_its_place
        else:
            yield None


def _external_id(item: Mapping[str, Any]) -> str:
    given = item.get("externalId", item.get("external_id"))
    return str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""


def _result(item: Mapping[str, Any] | None, recipient: Mapping[str, Any], response: Response) -> Result:
    if item is None:
        return unreadable(response, "nothing in it is surely about this recipient")
    message_id = _message_id(item)
    try:
        error = _error_in(item, response, message_id is not None)
    except UnreadableReplyError as unclear:
        return unclear
    if message_id and error is None:
        parts = read_parts(item.get("messageParts", item.get("parts")))
        return Receipt(
            message_id, recipient["phone"], "success", "OK", "", parts, recipient.get("externalId")
        )
    return error if error and not message_id else unreadable(response, "neither an id nor an error")


def _message_id(item: Mapping[str, Any]) -> str | None:
    found = (read_id(item.get(name)) for name in ("messageId", "message_id", "id"))
    return next(filter(None, found), None)


class _Masked:
    """A reply for the log at DEBUG, with numbers masked; made only where somebody reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __str__(self) -> str:
        return mask_phones_in(self._body[:_SHOWN].decode("utf-8", "replace"))
