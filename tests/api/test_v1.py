"""Every example of the manual's API v1, and the traps in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from airflow_provider_telekom_sms.api import v1
from airflow_provider_telekom_sms.api.delivery import DeliveryCode, DeliveryStatus
from airflow_provider_telekom_sms.api.http import Request, Response
from airflow_provider_telekom_sms.api.messages import SmsParameters
from airflow_provider_telekom_sms.api.results import NumberInfo, Receipt, SmsGroup
from airflow_provider_telekom_sms.api.times import parse_time
from airflow_provider_telekom_sms.api.wire import Wire
from airflow_provider_telekom_sms.exceptions import (
    Fate,
    IpNotAllowedError,
    MessageRejectedError,
    SenderError,
    SessionNotFoundError,
    TelekomSmsError,
    UnreadableReplyError,
)

# As printed in the manual, comments and masked values included.
SAMPLES = Path(__file__).parent / "samples"
KEY = {"token": "*" * 64}
TO, TEXT = "421XXXXXXXXX", "Text that will be displayed to the recipient"

CALLS = {
    "auth": lambda wire: v1.auth(wire, KEY["token"]),
    "ping": lambda wire: v1.ping(wire, {"session_id": "92f84490-1f89-11f0-a652-9ba39c6bc33b"}),
    "send_message": lambda wire: v1.send_message(
        wire,
        {"session_id": "92f84490-1f89-11f0-a652-9ba39c6bc33b"},
        TO,
        TEXT,
        SmsParameters.check(unicode=False),
    ),
    "check_message": lambda wire: v1.check_message(
        wire, {"session_id": "d3ccd370-114f-11f0-a1d1-0bfd5e3a9b39"}, "883315048"
    ),
    "sms-groups": lambda wire: v1.sms_groups(wire, KEY, limit=5, start_from=5),
    "check_phone_number": lambda wire: v1.check_phone_number(wire, KEY, "0900000001"),
}

# Where a request deliberately differs from the printed one: (printed, sent), and why.
DEVIATIONS = {
    # "Any value except false, 0, "0", or "" is treated as true", so the word may well be read as true.
    ("send_message", "xml", "unicode"): ("false", "0"),
    # The table says string, and an id is text everywhere here.
    ("check_message", "json", "message_id"): (883315048, "883315048"),
}

RECEIPT = {"message_id": "100427", "to": TO, "status": "success", "code": "OK", "description": ""}
STATUS = DeliveryStatus("883315048", DeliveryCode.DELIVERED, "Delivered", parse_time("2017-01-01 10:45:00"))
REPLIES = {
    "auth.reply.json": "a1da7970-5464-11e4-867e-9d647178712c",
    "auth.reply.xml": "a1da7970-5464-11e4-867e-9d647178712c",
    "ping.reply.json": None,
    "ping.reply.xml": None,
    "send_message.reply.json": Receipt(**RECEIPT, parts=1),
    "send_message.reply.xml": Receipt(**RECEIPT, parts=None),
    # Printed as "some messages could not be sent", yet it shows one success; in XML beside count="2".
    "send_message.partial.json": Receipt(**RECEIPT, parts=1),
    "send_message.partial.xml": Receipt(**RECEIPT, parts=None),
    "check_message.reply.json": STATUS,
    "check_message.reply.xml": STATUS,
    "sms-groups.reply.json": [],
    "sms-groups.reply.xml": [SmsGroup("1000", "success", False, "Text")],
    "check_phone_number.reply.json": NumberInfo("0900000001", True, "Telekom"),
    "check_phone_number.reply.xml": NumberInfo("0900000001", False, "Telekom"),
}
ERRORS = {"auth": ("IP_NOT_ALLOWED", IpNotAllowedError)}

OK = {"status": "success", "description": "", "code": "OK"}


def sample(name: str) -> str:
    """Read a sample; JSON has no comments, the manual's has."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    return re.sub(r"\s//.*", "", text) if name.endswith(".json") else text


def send(wire: Wire = Wire(), **parameters: object):  # noqa: B008  it is frozen
    return v1.send_message(wire, KEY, "421903123456", "Ahoj", SmsParameters.check(**parameters))


def reply(**fields: object) -> str:
    return json.dumps({"result": OK} | fields)


def xml(inside: str) -> str:
    return f"<response><result><status>success</status><code>OK</code></result>{inside}</response>"


def printed(name: str) -> tuple[str, str, str]:
    function, kind, wire_format = name.split(".")
    return function, kind, wire_format


def test_every_example_of_the_manual_is_tested():
    names = {path.name for path in SAMPLES.iterdir()}
    both = [f"{function}.{kind}" for function in CALLS for kind in ("request", "error")]
    tested = {*REPLIES, *(f"{name}.{wire_format}" for name in both for wire_format in ("json", "xml"))}
    assert names == tested
    assert len(names) == 38


@pytest.mark.parametrize("wire_format", ["json", "xml"])
@pytest.mark.parametrize("function", CALLS)
def test_request_is_the_printed_one(function, wire_format, parsed):
    request = next(CALLS[function](Wire(wire_format)))
    assert (request.method, request.path) == ("POST", f"/{wire_format}/{function}")
    body = sample(f"{function}.request.{wire_format}").encode()
    expected = (
        from_json(body)
        if wire_format == "json"
        else {name: text.strip() for name, text in re.findall(r"<(\w+)>([^<]+)</\1>", body.decode())}
    )
    for (where, form, name), (as_printed, as_sent) in DEVIATIONS.items():
        if (where, form) == (function, wire_format):
            assert expected[name] == as_printed
            expected[name] = as_sent
    assert parsed(request) == expected


@pytest.mark.parametrize("function", CALLS)
@pytest.mark.parametrize("wire_format", ["json", "xml"])
def test_get_sends_the_same_parameters_as_text(function, wire_format, parsed):
    request = next(CALLS[function](Wire(wire_format, "GET")))
    assert (request.method, request.path, request.body) == ("GET", f"/{wire_format}/{function}", None)
    assert parsed(request) == parsed(next(CALLS[function](Wire("xml"))))


@pytest.mark.parametrize("name", REPLIES)
def test_reply_is_read(name, answer):
    function, _, wire_format = printed(name)
    result = answer(CALLS[function](Wire(wire_format)), sample(name))
    assert result == REPLIES[name]


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize("wire_format", ["json", "xml"])
@pytest.mark.parametrize("function", CALLS)
def test_error_is_raised(function, wire_format, status, answer):
    code, kind = ERRORS.get(function, ("SESSION_NOT_FOUND", SessionNotFoundError))
    with pytest.raises(kind) as error:
        answer(CALLS[function](Wire(wire_format)), sample(f"{function}.error.{wire_format}"), status)
    assert error.value.code == code
    assert error.value.description in (
        "Access from IP address 1.2.3.4 is not allowed",
        "Session was not found or has expired",
        "Relácia nebola nájdená alebo expirovala",
    )


class TestSendMessage:
    def test_all_parameters_under_the_manuals_names(self, parsed):
        call = send(
            sender="Obchod",
            callback="true",
            delivery_time="2026-07-01 08:00:00",
            priority="3",
            validity=60,
            unicode=True,
            message_type="flash",
            group_id="1000",
        )
        assert parsed(next(call)) == {
            "to": "421903123456",
            "text": "Ahoj",
            "from": "Obchod",
            "callback": True,
            "delivery_time": "2026-07-01 08:00:00",
            "priority": 3,
            "validity": 60,
            "unicode": True,
            "type": "flash",
            "groupId": 1000,
            **KEY,
        }

    def test_nothing_is_sent_for_what_is_not_given(self, parsed):
        assert parsed(next(send())) == {"to": "421903123456", "text": "Ahoj", **KEY}

    @pytest.mark.parametrize("wire", [Wire("xml"), Wire("xml", "GET"), Wire("json", "GET")], ids=str)
    def test_booleans_travel_as_digits_where_they_are_text(self, wire, parsed):
        sent = parsed(next(send(wire, unicode=False, callback=True)))
        assert (sent["unicode"], sent["callback"]) == ("0", "1")

    @pytest.mark.parametrize(
        ("code", "kind", "fate"),
        [
            ("INCORRECT_RECIPIENT_ADDRESS", MessageRejectedError, Fate.REJECTED),
            ("SOMETHING_NEW", MessageRejectedError, Fate.REJECTED),
            ("TEXT_NUMBER_NOT_ALLOWED", SenderError, Fate.NOT_SENT),
        ],
    )
    def test_error_of_the_message(self, code, kind, fate, answer):
        message = {"status": "error", "code": code, "description": "Číslo\nje zlé\x00\ud800"}
        with pytest.raises(kind) as error:
            answer(send(), reply(messages=[message]))
        assert (error.value.code, error.value.description, error.value.fate) == (code, "Číslo je zlé", fate)

    def test_error_of_the_message_in_xml(self, answer):
        message = "<message><status>error</status><code>TEXT_REQUIRED</code><description/></message>"
        with pytest.raises(MessageRejectedError, match="TEXT_REQUIRED"):
            answer(send(Wire("xml")), xml(f'<messages count="1">{message}</messages>'))

    @pytest.mark.parametrize(
        "messages",
        [
            {},
            {"messages": None},
            {"messages": []},
            {"messages": {}},
            {"messages": ["OK"]},
            {"messages": [OK]},
            {"messages": [{"message_id": 1}]},
            {"messages": [OK | {"message_id": 1}] * 2},
            *({"messages": [OK | {"message_id": odd}]} for odd in (None, "", 0, "0", True, 1.5, [1], "a b")),
            {"messages": [{"status": "success", "code": "NOT_OK", "message_id": 1}]},
            {"messages": [{"status": "error", "code": "OK", "message_id": 1}]},
            # An error that lists an accepted message must not be taken for "not sent".
            {"result": {"status": "error", "code": "NO_CREDIT"}, "messages": [OK | {"message_id": 1}]},
        ],
        ids=json.dumps,
    )
    def test_accepted_or_not_is_unknown(self, messages, answer):
        with pytest.raises(UnreadableReplyError) as error:
            answer(send(), reply(**messages))
        assert error.value.fate is Fate.UNKNOWN

    @pytest.mark.parametrize("message_id", [100427, "100427"])
    @pytest.mark.parametrize(
        ("parts", "read"), [(3, 3), ("3", 3), (None, None), ("", None), (0, None), ([], None), (2.5, None)]
    )
    def test_odd_parts_do_not_cost_the_receipt(self, message_id, parts, read, answer):
        receipt = answer(send(), reply(messages=[OK | {"message_id": message_id, "parts": parts}]))
        assert (receipt.message_id, receipt.parts) == ("100427", read)

    def test_receipt_shows_no_number(self, answer):
        receipt = answer(send(), reply(messages=[OK | {"message_id": 7}]))
        assert receipt.to == "421903123456"
        assert receipt.masked() == {
            "message_id": "7",
            "to": "+4219••••3456",
            "status": "success",
            "code": "OK",
            "description": "",
            "parts": None,
            "external_id": None,
        }
        assert "903123456" not in repr(receipt)
        assert "message_id='7'" in repr(receipt)


class TestCheckMessage:
    @pytest.mark.parametrize("date", ["", None, "0000-00-00 00:00:00", "soon", 5, [], "2026-03-29 02:30:00"])
    def test_a_date_that_is_none(self, date, answer):
        body = reply(message_id="1", status="Sent", code="SENT", deliveryDateTime=date)
        status = answer(CALLS["check_message"](Wire()), body)
        assert status == DeliveryStatus("883315048", DeliveryCode.SENT, "Sent", None)

    @pytest.mark.parametrize(
        ("code", "terminal", "success"),
        [("READ", True, True), ("DENIED", True, False), ("UNKNOWN", True, False), ("ERROR", False, False)],
    )
    def test_code(self, code, terminal, success, answer):
        # The code "Error" at the top is that of the message, not of the reply.
        status = answer(CALLS["check_message"](Wire()), reply(status="Error", code=code))
        assert (status.is_terminal, status.is_success, status.code) == (terminal, success, code)

    def test_unknown_code_is_kept(self, answer):
        status = answer(CALLS["check_message"](Wire()), reply(status="Blacklisted", code="BLACKLISTED"))
        assert (status.code, status.is_terminal) == ("BLACKLISTED", False)

    @pytest.mark.parametrize("code", [None, "", 4, [], " "])
    def test_no_code(self, code, answer):
        with pytest.raises(UnreadableReplyError, match="no code"):
            answer(CALLS["check_message"](Wire()), reply(status="Delivered", code=code))


class TestSmsGroups:
    GROUP = {"id": 1000, "name": "Večer", "isPaused": True, "note": None}
    READ = SmsGroup("1000", "Večer", True, "")

    @pytest.mark.parametrize(
        "groups",
        [
            [GROUP],
            GROUP,
            {"count": 1, "number": [GROUP]},
            {"count": 1, "number": GROUP},
            {"1000": GROUP},
            [GROUP | {"id": "1000", "isPaused": "true", "note": ""}],
            [GROUP | {"isPaused": 1}],
        ],
        ids=json.dumps,
    )
    def test_shapes_that_the_manual_leaves_open(self, groups, answer):
        assert answer(CALLS["sms-groups"](Wire()), reply(groups=groups)) == [self.READ]

    @pytest.mark.parametrize("groups", [None, [], {}, "", {"count": 0}, {"number": []}], ids=json.dumps)
    def test_no_groups(self, groups, answer):
        assert answer(CALLS["sms-groups"](Wire()), reply(groups=groups)) == []

    @pytest.mark.parametrize("groups", [5, "x", ["x"], [{"name": "x"}], [GROUP | {"isPaused": "maybe"}]])
    def test_unreadable(self, groups, answer):
        with pytest.raises(UnreadableReplyError):
            answer(CALLS["sms-groups"](Wire()), reply(groups=groups))

    @pytest.mark.parametrize(("word", "paused"), [("true", True), ("false", False), ("", False), ("1", True)])
    def test_words_of_xml(self, word, paused, answer):
        body = xml(f"<groups count='1'><number><id>7</id><isPaused>{word}</isPaused></number></groups>")
        assert answer(CALLS["sms-groups"](Wire("xml")), body) == [SmsGroup("7", "", paused, "")]

    def test_limits_are_left_out(self, parsed):
        assert parsed(next(v1.sms_groups(Wire(), KEY))) == KEY


class TestCheckPhoneNumber:
    @pytest.mark.parametrize("exists", [None, "", "perhaps", [], 2])
    def test_unreadable(self, exists, answer):
        with pytest.raises(UnreadableReplyError):
            answer(CALLS["check_phone_number"](Wire()), reply(exists=exists, operator="Telekom"))

    def test_info_shows_no_number(self, answer):
        info = answer(v1.check_phone_number(Wire(), KEY, "0903123456"), reply(exists=False, operator=None))
        assert info == NumberInfo("0903123456", False, "")
        assert info.masked() == {"phone_number": "+4219••••3456", "exists": False, "operator": ""}
        assert "0903123456" not in repr(info)


@pytest.mark.parametrize("session_id", [None, "", 5, {}])
def test_auth_without_session(session_id, answer):
    with pytest.raises(UnreadableReplyError, match="no session_id"):
        answer(CALLS["auth"](Wire()), reply(session_id=session_id))


FIELDS = """
result status code description messages message_id parts session_id groups number id name isPaused note
exists operator deliveryDateTime
"""
names = st.sampled_from(re.findall(r"\w+", FIELDS))
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["success", "OK", "error"])
trees = st.recursive(
    leaves | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(names, inside, max_size=5),
    max_leaves=12,
)


@given(st.sampled_from(sorted(CALLS)), st.dictionaries(names, trees, max_size=6), st.booleans())
def test_no_json_raises_anything_but_our_errors(function, tree, with_result):
    call = CALLS[function](Wire())
    assert isinstance(next(call), Request)
    body = json.dumps(tree | {"result": OK} if with_result else tree).encode()
    with pytest.raises((StopIteration, TelekomSmsError)):
        call.send(Response(200, {}, body))


def _element(children):
    return st.tuples(st.sampled_from(["message", "phone_number", "count"]) | names, children).map(
        lambda pair: f"<{pair[0]}>{pair[1]}</{pair[0]}>"
    )


elements = st.recursive(
    _element(st.sampled_from(["", "success", "OK", "error", "true", "5", "<!-- x -->"])),
    lambda inside: _element(st.lists(inside, max_size=4).map("".join)),
    max_leaves=10,
)


@given(st.sampled_from(sorted(CALLS)), st.lists(elements, max_size=4).map("".join), st.booleans())
def test_no_xml_raises_anything_but_our_errors(function, inside, with_result):
    call = CALLS[function](Wire("xml"))
    assert isinstance(next(call), Request)
    body = xml(inside) if with_result else f"<response>{inside}</response>"
    with pytest.raises((StopIteration, TelekomSmsError)):
        call.send(Response(200, {}, body.encode()))
