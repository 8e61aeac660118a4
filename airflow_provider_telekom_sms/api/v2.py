"""
API v2: one function, which sends a message over SMS, RCS or both (manual v2, message).

The manual shows no reply, so replies are read tolerantly, and what is not understood means that nobody knows
whether the message was taken; it never means that it was not.
"""

from __future__ import annotations

import json
import logging
import re
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
    is_known,
)

log = logging.getLogger(__name__)

#: HTTP statuses that are about the key or the account, whatever the reply says besides.
_OF_THE_ACCOUNT = {401: AuthenticationError, 402: CreditError, 403: AuthenticationError}
#: What stands where an error would, and is none.
_NO_ERROR = frozenset({"", "0", "200", "OK", "SUCCESS"})
#: Words of a ``status`` that say no.
_FAILED = frozenset({"error", "failed", "failure", "rejected", "refused"})
#: HTTP statuses that say nothing about the request itself: it may be under way.
_NO_VERDICT = (408, 409, 425, 499)
_IDS = ("messageId", "message_id", "id")
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
    log.debug("HTTP %d: %s", response.status, _Masked(response.body, message))
    return _read(response, message["recipients"])


def with_senders(message: Mapping[str, Any], sms: str | None, rcs: str | None) -> dict[str, Any]:
    """
    Give a message with the sender of each channel that names none (manual v2, sms and rcs).

    :param sms: sender number or name of the SMS; None for the account's
    :param rcs: agent of the RCS message; None for the account's
    """
    senders = {name: {"from": sender} for name, sender in (("sms", sms), ("rcs", rcs)) if sender}
    return {**message, **{name: senders[name] | message[name] for name in senders if name in message}}


def send_in_batches(token: str, message: Mapping[str, Any], batch_size: int) -> Call[list[Receipt]]:
    """
    Send a message to any number of recipients, one request after another (manual v2, message).

    :param token: the API key
    :param message: as in :func:`send_messages`
    :param batch_size: recipients of one request
    :return: a receipt for each recipient in order, whose ``status`` is ``success``, ``error``, ``unknown`` or
        ``not_sent``
    :raises TelekomSmsError: what the first request met, where all of the messages met the same fate
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
    fates = {failure.fate for failure in failures}
    if len(results) < len(recipients):
        fates.add(Fate.NOT_SENT)
    # Only what is true of all may be said of all.
    if len(failures) == len(results) and len(fates) == 1:
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
    status = response.status
    if not (200 <= status < 300 or 400 <= status < 500) or status in _NO_VERDICT:
        raise unreadable(response, "an HTTP status that is no verdict")
    reply = read_json(response.body) or {}
    messages = reply.get("messages")
    items = (
        [item if isinstance(item, dict) else {} for item in messages] if isinstance(messages, list) else []
    )
    # Only what surely says no of each message can be a refusal of all.
    taken = any(_may_be_taken(item, response) for item in items)
    if status in _OF_THE_ACCOUNT and not taken:
        raise _account_error(reply, response)
    error = _error_in(reply, response, alone=status >= 400)
    if error is not None or status >= 400:
        if error is None or taken:
            raise unreadable(response, "neither an error nor a success")
        raise error
    if not items:
        raise unreadable(response, "no messages")
    ids = Counter(filter(None, map(_message_id, items)))
    return [
        _result(item, to, response, ids)
        for item, to in zip(_matched(items, recipients), recipients, strict=True)
    ]


def _account_error(reply: Mapping[str, Any], response: Response) -> AccountError:
    """Give the error of a key that was refused, in whatever words."""
    error = None
    with suppress(UnreadableReplyError):
        error = _error_in(reply, response, alone=True)
    if isinstance(error, AccountError):
        return error
    code, description = (error.code, error.description) if error else (f"HTTP {response.status}", "")
    return _OF_THE_ACCOUNT[response.status](code, description)


def _error_in(verdict: Mapping[str, Any], response: Response, *, alone: bool = False) -> ApiError | None:
    """
    Find an error in a reply or in one of its messages; each of these forms has been seen somewhere.

    :param alone: a code is an error by itself; otherwise only one that is known as such
    :raises UnreadableReplyError: for an error that does not say which
    """
    said, result = verdict.get("error"), verdict.get("result")
    surely = True
    if said:
        error: Mapping[str, Any] = said if isinstance(said, dict) else {"code": said}
    elif isinstance(result, dict) and _failed(result):
        error = result
    else:
        error, surely = verdict, _failed(verdict)
    code = error.get("code")
    code = plain(str(code)) if isinstance(code, str | int) and not isinstance(code, bool) else ""
    if code and code.upper() not in _NO_ERROR and (surely or alone or is_known(code)):
        return api_error(code, plain(error.get("description") or error.get("message")))
    if surely and not (said and code):
        raise unreadable(response, "an error without a code")
    return None


def _failed(verdict: Mapping[str, Any]) -> bool:
    return str(verdict.get("status")).lower() in _FAILED


def _may_be_taken(item: Mapping[str, Any], response: Response) -> bool:
    try:
        return _has_id(item) or _error_in(item, response) is None
    except UnreadableReplyError:
        return True


def _matched(
    items: Sequence[dict[str, Any]], recipients: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any] | None]:
    """Give for each recipient its part of the reply: by externalId, else by order where the counts agree."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        by_id.setdefault(_external_id(item), []).append(item)
    wanted = [str(recipient.get("externalId") or "") for recipient in recipients]
    sent = Counter(wanted)
    # An id at a place that is not its own shows that the order is another.
    in_order = len(items) == len(recipients) and all(
        _external_id(item) in ("", external_id) for item, external_id in zip(items, wanted, strict=True)
    )
    for index, (recipient, external_id) in enumerate(zip(recipients, wanted, strict=True)):
        named = by_id.get(external_id, []) if external_id and sent[external_id] == 1 else []
        found = None
        if named:
            found = named[0] if len(named) == 1 else None
        elif in_order:
            found = items[index]
        yield found if found is not None and _is_about(found, recipient) else None


def _places(item: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Give where a part of the reply may name its recipient."""
    inner = item.get("recipient")
    return (item, inner) if isinstance(inner, dict) else (item,)


def _external_id(item: Mapping[str, Any]) -> str:
    given = (place.get(name) for place in _places(item) for name in ("externalId", "external_id"))
    return next((str(one) for one in given if isinstance(one, str | int) and not isinstance(one, bool)), "")


def _is_about(item: Mapping[str, Any], recipient: Mapping[str, Any]) -> bool:
    """Tell whether a part of the reply names no other number."""
    numbers = (
        place.get(name) for place in _places(item) for name in ("phone", "to", "addressTo", "recipient")
    )
    digits = (re.sub(r"\D", "", str(one)) for one in numbers if isinstance(one, str | int))
    # The national significant number is what all spellings share.
    return all(one[-9:] == recipient["phone"][-9:] for one in digits if len(one) >= 9)


def _result(
    item: Mapping[str, Any] | None,
    recipient: Mapping[str, Any],
    response: Response,
    ids: Mapping[str, int],
) -> Result:
    if item is None:
        return unreadable(response, "nothing in it is surely about this recipient")
    try:
        error = _error_in(item, response)
    except UnreadableReplyError as unclear:
        return unclear
    if error is not None:
        return unreadable(response, "both an id and an error") if _has_id(item) else error
    message_id, external_id = _message_id(item), recipient.get("externalId")
    if message_id is None or ids[message_id] > 1 or message_id == external_id:
        return unreadable(response, "neither an id of its own nor an error")
    parts = read_parts(item.get("messageParts", item.get("parts")))
    return Receipt(message_id, recipient["phone"], "success", "OK", "", parts, external_id)


def _has_id(item: Mapping[str, Any]) -> bool:
    """Tell whether a message has something like an id, readable or not."""
    return any(item.get(name) not in (None, "", 0) for name in _IDS)


def _message_id(item: Mapping[str, Any]) -> str | None:
    return next(filter(None, (read_id(item.get(name)) for name in _IDS)), None)


class _Masked:
    """A reply for the log at DEBUG, with numbers and callback URLs masked; made only where it is read."""

    def __init__(self, body: bytes, message: Mapping[str, Any]) -> None:
        self._body, self._message = body, message

    def __str__(self) -> str:
        shown = self._body[:_SHOWN].decode("utf-8", "replace")
        for callback in self._message.get("callbackUrls") or ():
            # What stands at its end may be a secret.
            if end := str(callback["url"]).rpartition("/")[2]:
                shown = shown.replace(end, "…")
        return mask_phones_in(shown)
