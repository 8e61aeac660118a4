"""What the replies of API v2 mean, of which the manual shows none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api import v2
from airflow_provider_telekom_sms.api.http import Request, Response
from airflow_provider_telekom_sms.api.results import Receipt
from airflow_provider_telekom_sms.exceptions import (
    ApiError,
    AuthenticationError,
    CreditError,
    Fate,
    IpNotAllowedError,
    MessageRejectedError,
    NotConnectedError,
    TelekomSmsError,
    UnreadableReplyError,
)

KEY = "k" * 64
A, B, C = ({"phone": f"+42190300000{number}", "externalId": name} for number, name in enumerate("abc"))
ALL = [A, B, C]
NAMELESS = [{"phone": recipient["phone"]} for recipient in ALL]


def message(recipients: Sequence[Any] = ALL) -> dict[str, Any]:
    return {"recipients": list(recipients), "channels": [{"type": "sms"}], "sms": {"text": "Ahoj"}}


def answered(reply: Any, recipients: Sequence[Any] = ALL, status: int = 200) -> list[Any]:
    """Send, and give what became of each recipient; bytes are a reply as they stand."""
    call = v2.send_messages(KEY, message(recipients))
    next(call)
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    try:
        call.send(Response(status, {"content-type": "application/json"}, body))
    except StopIteration as done:
        return list(done.value)
    raise AssertionError("a second request")


def told(results: list[Any]) -> list[str | None]:
    """An id, the code of an error, or None where nobody knows."""
    assert all(result.fate is Fate.UNKNOWN for result in results if isinstance(result, UnreadableReplyError))
    return [
        result.message_id if isinstance(result, Receipt) else getattr(result, "code", None)
        for result in results
    ]


def test_the_request() -> None:
    request = next(v2.send_messages(KEY, message()))
    assert isinstance(request, Request)
    assert (request.method, request.path, dict(request.query)) == ("POST", "/v2/messages", {})
    assert request.headers == {
        "X-API-KEY": KEY, "Accept": "application/json", "Content-Type": "application/json; charset=utf-8",
    }  # fmt: skip
    assert json.loads(request.body or b"") == message()
    assert KEY not in repr(request)


def test_a_receipt() -> None:
    item = {"messageId": 991003276, "externalId": "a", "messageParts": 2}
    [receipt] = answered({"messages": [item]}, [A])
    assert receipt == Receipt("991003276", A["phone"], "success", "OK", "", 2, "a")


ERROR = {"code": "INCORRECT_RECIPIENT_ADDRESS", "description": "zlé číslo"}


@pytest.mark.parametrize(
    ("items", "recipients", "expected"),
    [
        # By externalId, in whatever order and type.
        ([{"messageId": 3, "externalId": "c"}, {"messageId": 1, "externalId": "a"}, {"messageId": 2,
          "externalId": "b"}], ALL, ["1", "2", "3"]),
        ([{"message_id": "7", "external_id": 5}], [{**A, "externalId": "5"}], ["7"]),
        ([{"messageId": 1, "externalId": "a"}, {"messageId": 3, "externalId": "c"}], ALL, ["1", None, "3"]),
        ([{"messageId": 1, "externalId": "a"}], ALL, ["1", None, None]),
        # By order, where the counts agree.
        ([{"messageId": 1}, {"messageId": 2}, {"messageId": 3}], ALL, ["1", "2", "3"]),
        ([{"id": 1}, {"id": 2}, {"id": 3}], NAMELESS, ["1", "2", "3"]),
        ([{"messageId": 1}, {"messageId": 2}], ALL, [None, None, None]),
        ([{"messageId": n} for n in range(1, 5)], ALL, [None, None, None]),
        ([{"messageId": 1}, {"messageId": 2, "externalId": "b"}, {"messageId": 3}], ALL, ["1", "2", "3"]),
        # Both at odds: what has a name goes by it, and the order is no order.
        ([{"messageId": 2, "externalId": "b"}, {"messageId": 9}, {"messageId": 3}], ALL, [None, "2", None]),
        ([{"messageId": 1, "externalId": "x"}, {"messageId": 2}, {"messageId": 3}], ALL, [None, None, None]),
        ([{"externalId": "c", "messageId": 3}, {"error": ERROR}, {"messageId": 2}], ALL, [None, None, "3"]),
        ([{"messageId": 1, "recipient": {"externalId": "b"}}, {"messageId": 2, "recipient": {"externalId":
          "a"}}, {"messageId": 3}], ALL, ["2", "1", None]),
        # Another number is another recipient, whatever its place.
        ([{"messageId": 1, "to": "421903000001"}, {"messageId": 2, "phone": "0903000001"}, {"messageId": 3,
          "recipient": {"phone": "+421 903 000 002"}}], NAMELESS, [None, "2", "3"]),
        # One id for several says nothing of each, and an id that is ours is none of theirs.
        ([{"messageId": 5}, {"messageId": 5}, {"messageId": 6}], ALL, [None, None, "6"]),
        ([{"id": "a", "externalId": "a"}, {"id": "x", "externalId": "b"}], [A, B], [None, "x"]),
        # A name twice is no name.
        ([{"messageId": 1, "externalId": "a"}, {"messageId": 2, "externalId": "a"}, {"messageId": 3,
          "externalId": "c"}], ALL, [None, None, "3"]),
        ([{"messageId": 1, "externalId": "a"}, {"messageId": 2, "externalId": "a"}], [A, A], ["1", "2"]),
        # Errors of single recipients.
        ([{"messageId": 1}, {"error": ERROR}, {"error": "LISTED"}], ALL, ["1", ERROR["code"], "LISTED"]),
        ([{"externalId": "b", "error": {"code": 10}}, {"messageId": 1, "externalId": "a"},
          {"externalId": "c", "status": "error", "code": "X"}], ALL, ["1", "10", "X"]),
        ([{"messageId": 1, "status": "error", "code": "X"}, {"messageId": "msg:1", "error": ERROR},
          {"messageId": "msg:1", "code": "QUEUED"}], ALL, [None, None, None]),
        # Neither an id nor an error that is known as one.
        ([{"externalId": "a", "code": 202, "status": "success"}, {"externalId": "b", "code": "ACCEPTED"},
          {"externalId": "c", "code": "NO_CREDIT"}], ALL, [None, None, "NO_CREDIT"]),
        # A state of a message that has an id is no error.
        ([{"messageId": 1, "code": "QUEUED"}, {"messageId": 2, "error": None}, {"messageId": 3, "error": {}}],
         ALL, ["1", "2", "3"]),
        # Neither nor, both at once, or nothing that can be read.
        ([{}, "?", {"messageId": True}], ALL, [None, None, None]),
        ([{"messageId": 1, "error": ERROR}, {"messageId": 2}, {"error": {"x": 1}}], ALL, [None, "2", None]),
        ([{"messageId": 0}, {"messageId": ""}, {"messageId": {"x": 1}}], ALL, [None, None, None]),
    ],
)  # fmt: skip
def test_each_recipient_has_its_own_outcome(items: Any, recipients: Any, expected: list[str | None]) -> None:
    results = answered({"messages": items}, recipients)
    assert told(results) == expected
    for result, recipient in zip(results, recipients, strict=True):
        assert not isinstance(result, Receipt) or result.to == recipient["phone"]


@pytest.mark.parametrize(
    ("reply", "status", "error", "code"),
    [
        ({"code": "NO_CREDIT", "description": "Nedostatok kreditu"}, 400, CreditError, "NO_CREDIT"),
        ({"code": "NO_CREDIT"}, 200, CreditError, "NO_CREDIT"),
        ({"error": {"code": 10}}, 200, MessageRejectedError, "10"),
        ({"error": {"code": "INVALID_TYPE_VALUE"}}, 400, MessageRejectedError, "INVALID_TYPE_VALUE"),
        ({"error": "TEXT_REQUIRED"}, 422, MessageRejectedError, "TEXT_REQUIRED"),
        ({"result": {"status": "error", "code": "NO_CREDIT"}}, 200, CreditError, "NO_CREDIT"),
        ({"error": {"code": "X"}, "messages": []}, 200, MessageRejectedError, "X"),
        ({"error": {"code": "X"}, "messages": [{"error": {"code": "Y"}}]}, 400, MessageRejectedError, "X"),
        # The key: never a matter of the single message.
        ({"code": "API_TOKEN_NOT_FOUND"}, 401, AuthenticationError, "API_TOKEN_NOT_FOUND"),
        ({"code": "IP_NOT_ALLOWED"}, 403, IpNotAllowedError, "IP_NOT_ALLOWED"),
        ({"code": "SOMETHING"}, 403, AuthenticationError, "SOMETHING"),
        ({"error": True}, 401, AuthenticationError, "HTTP 401"),
        (b"<html>Unauthorized", 401, AuthenticationError, "HTTP 401"),
        (b"", 402, CreditError, "HTTP 402"),
    ],
)  # fmt: skip
def test_a_request_that_was_refused_whole(reply: Any, status: int, error: type[ApiError], code: str) -> None:
    with pytest.raises(error) as caught:
        answered(reply, status=status)
    assert type(caught.value) is error
    assert caught.value.code == code
    assert caught.value.fate in (Fate.NOT_SENT, Fate.REJECTED)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"", 200), (b"", 204), (b"[]", 200), (b"null", 200), (b"<html>", 200), (b'{"messages":[{"mess', 200),
        ({}, 200), ({"ok": True}, 200), ({"messages": []}, 200), ({"messages": {}}, 200),
        ({"messages": None}, 200), ({"code": "ok"}, 200), ({"code": 202, "message": "Accepted"}, 202),
        ({"code": "QUEUED", "results": [{"id": 7}]}, 200), ({"error": {"code": 0, "message": "OK"}}, 200),
        ({"code": "X"}, 408), ({"code": "X"}, 409), ({"code": "X"}, 425), ({"code": "X"}, 499),
        ({"messages": [{"externalId": "a", "status": "success"}]}, 403), ({"status": "error"}, 200),
        ({"messages": [{"messageId": 1}]}, 429), ({"error": {"code": "X"}, "messages": [{}]}, 400),
        ({"error": {}}, 200), ({"error": {"message": "?"}}, 200),
        ({"code": "OK"}, 200), ({"code": 0}, 200), ({"code": ["x"]}, 200),
        (b"<html>", 400), ({}, 404), ({"messages": [{"messageId": 1}]}, 400),
        ({"messages": [{"messageId": 1}], "error": {"code": "X"}}, 200),
        ({"messages": [{"messageId": 1}]}, 401),
        ({"messages": [{"messageId": 1}]}, 500), ({"code": "X"}, 500), ({"code": "X"}, 302),
        ({"code": "X"}, 199),
        (b'{"messages": ' + b"[" * 50_000, 200), (b"\xff\xfe", 200),
    ],
)  # fmt: skip
def test_what_nobody_understands_is_in_doubt(reply: Any, status: int) -> None:
    with pytest.raises(UnreadableReplyError) as caught:
        answered(reply, status=status)
    assert caught.value.fate is Fate.UNKNOWN
    assert not caught.value.stops_campaign


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "messageId", "externalId", "error", "code", "result", "status", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([200, 201, 400, 401, 404, 500]))
def test_no_reply_is_a_fault_of_ours(reply: Any, status: int) -> None:
    """Whatever comes, each recipient has one outcome, or all share an error of this package."""
    try:
        results = answered(reply, status=status)
    except TelekomSmsError:
        return
    assert len(results) == 3
    ids = [result.message_id for result in results if isinstance(result, Receipt)]
    given_ids = json.dumps(reply)
    assert all(message_id in given_ids for message_id in ids)
    assert all(isinstance(result, Receipt | TelekomSmsError) for result in results)


# --- in batches ---------------------------------------------------------------------------------------------


def in_batches(*answers: Any, size: int = 2, number: int = 5) -> tuple[list[Receipt], list[int]]:
    """Answer one request after another: with a reply, or an error of the way there."""
    recipients = [{"phone": f"+42190300001{n}", "externalId": str(n)} for n in range(number)]
    call = v2.send_in_batches(KEY, message(recipients), size)
    sizes: list[int] = []
    try:
        request = next(call)
        for answer in answers:
            sizes.append(len(json.loads(request.body or b"")["recipients"]))  # type: ignore[union-attr]
            if isinstance(answer, Exception):
                request = call.throw(answer)
            else:
                request = call.send(Response(200, {}, json.dumps(answer).encode()))
    except StopIteration as done:
        return done.value, sizes
    raise AssertionError("one more request")


def taken(*ids: int) -> dict[str, Any]:
    return {"messages": [{"messageId": number} for number in ids]}


def test_all_batches() -> None:
    receipts, sizes = in_batches(taken(1, 2), taken(3, 4), taken(5))
    assert sizes == [2, 2, 1]
    assert [receipt.message_id for receipt in receipts] == ["1", "2", "3", "4", "5"]
    assert [receipt.external_id for receipt in receipts] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("trouble", "status", "code", "goes_on"),
    [
        (UnreadableReplyError("?"), "unknown", "UnreadableReplyError", False),
        (NotConnectedError("gone"), "not_sent", "NotConnectedError", False),
        ({"code": "NO_CREDIT"}, "not_sent", "NO_CREDIT", False),
        ({"error": {"code": "TEXT_REQUIRED"}}, "error", "TEXT_REQUIRED", True),
    ],
)
def test_trouble_after_the_first_batch(trouble: Any, status: str, code: str, goes_on: bool) -> None:
    answers = [taken(1, 2), trouble, taken(5)] if goes_on else [taken(1, 2), trouble]
    receipts, _ = in_batches(*answers)
    assert [receipt.status for receipt in receipts] == [
        "success", "success", status, status, "success" if goes_on else "not_sent"
    ]  # fmt: skip
    assert receipts[2].code == code
    assert receipts[4].code == ("OK" if goes_on else "NOT_SENT")
    assert {receipt.message_id for receipt in receipts if receipt.status != "success"} == {""}


def test_trouble_before_anything_was_taken_is_raised() -> None:
    with pytest.raises(UnreadableReplyError):
        in_batches(UnreadableReplyError("?"), number=2)
    with pytest.raises(MessageRejectedError):
        in_batches({"error": "X"}, {"error": "Y"}, {"error": "Z"})


def test_no_way_to_the_api_is_raised() -> None:
    with pytest.raises(NotConnectedError):
        in_batches(NotConnectedError("gone"))


def test_an_error_is_not_said_of_all_where_the_fates_differ() -> None:
    receipts, _ = in_batches({"error": "X"}, UnreadableReplyError("?"))
    assert [receipt.status for receipt in receipts] == ["error", "error", "unknown", "unknown", "not_sent"]
    receipts, _ = in_batches({"error": "X"}, {"code": "NO_CREDIT"})
    assert [receipt.status for receipt in receipts] == ["error", "error", "not_sent", "not_sent", "not_sent"]


def test_senders_are_filled_in_where_none_is_named() -> None:
    given = {**message(), "rcs": {"text": "x", "from": "Iný"}}
    assert v2.with_senders(given, "Obchod", "Agent") == {
        **given, "sms": {"text": "Ahoj", "from": "Obchod"}
    }  # fmt: skip
    assert v2.with_senders(given, None, None) == given
    assert "from" not in given["sms"]
