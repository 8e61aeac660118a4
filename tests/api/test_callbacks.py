"""What callback URLs are called with: the manual's, the simulator's, the older form, and what is none."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.delivery import (
    LARGEST_CALLBACK,
    DeliveryReport,
    InboundMessage,
    Postback,
    parse_callback,
)
from airflow_provider_telekom_sms.exceptions import UnreadableReplyError
from airflow_provider_telekom_sms.simulator.fates import Step
from airflow_provider_telekom_sms.simulator.payloads import POSTBACKS, dsn, inbound, written
from airflow_provider_telekom_sms.simulator.records import Message

MANUAL = b"""{
  "delivery": {
    "status": "DELIVERED",
  },
  "messageId": 991003276,
  "channel": "sms",
  "messageParts": 1,
  "type": "dsn",
  "timestamp": "2025-10-02T08:31:39.825Z"
}
"""
AT = datetime(2025, 10, 2, 8, 31, 39, 825000, tzinfo=UTC)


def parse(body, content_type="application/json", **query):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return parse_callback(body, content_type, query)


def refuse(body, content_type="application/json"):
    with pytest.raises(UnreadableReplyError) as caught:
        parse(body, content_type)
    return str(caught.value)


def test_the_example_of_the_manual():
    assert parse(MANUAL) == DeliveryReport("991003276", None, "DELIVERED", "sms", AT)


def test_the_older_form_is_a_get():
    form = {"message_id": "77", "status": "4", "addressFrom": "+421903123450", "addressTo": "+421900000000"}
    assert parse(b"", "", **form) == DeliveryReport("77", None, "DELIVERED")
    assert parse(urlencode(form).encode(), "application/x-www-form-urlencoded") == parse(b"", "", **form)


@pytest.mark.parametrize(
    ("status", "code"),
    [(4, "DELIVERED"), ("4", "DELIVERED"), ("delivered", "DELIVERED"), (14, "PROCESSING"), (99, "99"),
     ("BLACKLISTED", "BLACKLISTED"), (" READ ", "READ")],
)  # fmt: skip
@pytest.mark.parametrize("shape", ["nested", "flat"])
def test_statuses_are_words_or_numbers(status, code, shape):
    told = {"delivery": {"status": status}} if shape == "nested" else {"status": status}
    assert parse({**told, "messageId": 5}) == DeliveryReport("5", None, code)


@pytest.mark.parametrize("name", ["messageId", "message_id", "MessageID"])
@pytest.mark.parametrize("value", [5, "5"])
def test_ids_are_texts_or_numbers(name, value):
    assert parse({name: value, "status": "SENT", "externalId": "a-1"}) == DeliveryReport("5", "a-1", "SENT")


def test_an_external_id_will_do():
    assert parse({"externalId": "a", "status": "SENT"}) == DeliveryReport(None, "a", "SENT")
    assert parse({"externalId": 17, "status": "SENT"}).external_id == "17"
    refuse({"externalId": "a" * 501, "status": "SENT"})


def test_a_large_id_is_not_rounded():
    assert (
        parse(b'{"messageId": 12345678901234567890123, "status": 4}').message_id == "12345678901234567890123"
    )


MESSAGE = Message(
    7,
    "421903123450",
    False,
    "Ahoj",
    {},
    1,
    0.0,
    0.0,
    "delivered",
    (),
    0.0,
    lambda: (0.0, 1.0),
    external_id="x",
)
REPLY = {"time": AT.timestamp(), "postbackData": "yes", "text": "Áno"}


@pytest.mark.parametrize("trailing_comma", [False, True])
def test_the_dsn_of_the_simulator(trailing_comma):
    body = written(dsn(MESSAGE, Step(AT.timestamp(), "READ", "rcs")), trailing_comma=trailing_comma)
    assert parse(body) == DeliveryReport("7", "x", "READ", "rcs", AT)


@pytest.mark.parametrize("trailing_comma", [False, True])
@pytest.mark.parametrize("shape", POSTBACKS)
def test_the_postbacks_of_the_simulator(shape, trailing_comma):
    found = parse(written(POSTBACKS[shape](MESSAGE, REPLY), trailing_comma=trailing_comma))
    external_id = None if shape == "inbound" else "x"
    assert found == Postback("7", external_id, "yes", "Áno", "+421903123450", "rcs", AT)


@pytest.mark.parametrize(
    "told",
    [
        {"postbackData": "yes"},
        {"postback_data": "yes"},
        {"postback": "yes"},
        {"postback": {"data": "yes"}},
        {"type": "postback", "data": "yes"},
        {"type": "postback", "data": {"postbackData": "yes"}},
        {"type": "POSTBACK", "payload": "yes"},
    ],
)
def test_postbacks_of_other_shapes(told):
    found = parse({**told, "messageId": "7"})
    assert (type(found), found.data, found.message_id) == (Postback, "yes", "7")


def test_a_postback_of_a_shape_that_nobody_guesses_is_kept_as_one():
    assert parse({"type": "postback", "reply": {"value": "yes"}, "messageId": 7}) == Postback("7", None, None)


def test_inbound_messages():
    found = parse(inbound("421903123450", "STOP", "sms"))
    assert (found.address_from, found.address_to, found.text, found.channel) == (
        "+421903123450", "+421900000000", "STOP", "sms",
    )  # fmt: skip
    assert abs((datetime.now(UTC) - found.at).total_seconds()) < 5
    flat = {"addressFrom": "0903", "text": "ano", "timestamp": "2025-10-02 10:31:39", "status": "RECEIVED"}
    assert parse(flat) == InboundMessage("0903", "ano", at=AT.replace(microsecond=0))


@pytest.mark.parametrize(
    "moment", ["2025-10-02T08:31:39Z", "2025-10-02 10:31:39", 1759393899, "1759393899825"]
)
def test_times(moment):
    assert parse({"messageId": 1, "status": 4, "timestamp": moment}).at == AT.replace(microsecond=0)


@pytest.mark.parametrize(
    "moment", ["yesterday", "", None, [], {}, True, "9" * 13, 1e300, "0001-01-01T00:00:00Z"]
)
def test_a_strange_time_costs_nothing(moment):
    assert parse({"messageId": 1, "status": 4, "timestamp": moment}).code == "DELIVERED"


def test_encodings():
    body = '{"addressFrom": "0903123450", "text": "áno"}'
    assert parse(body.encode("utf-8-sig")).text == "áno"
    assert parse(body.encode("latin-1")).text == "áno"
    text = body.replace("áno", "ďakujem")
    assert parse(text.encode("cp1250"), "application/json; charset=windows-1250").text == "ďakujem"


def test_one_in_a_list():
    assert parse([{"messageId": 1, "status": 4}]).code == "DELIVERED"
    refuse([{"messageId": 1, "status": 4}] * 2)


def test_of_two_keys_the_last_is_meant():
    assert parse(b'{"messageId": 1, "messageId": 2, "status": 4}').message_id == "2"


SECRET = "421903123450"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"   ", b"null", b"1", b'"text"', b"[]", b"{}", b"<html>", b"\xff\xfe\x00",
        b'{"status": "SENT"}', b'{"messageId": 1}', b'{"messageId": NaN, "status": "SENT"}',
        b'{"messageId": [1], "status": 4}',
        b'{"messageId": true, "status": 4}', b'{"messageId": 1.5e3, "status": 4}',
        b'{"messageId": 0, "status": 4}', b'{"messageId": "a b", "status": 4}',
        b'{"messageId": 1, "status": {"a": 1}}', b'{"messageId": 1, "status": "\xc4\x8d"}',
        b'{"text": "x"}', b'{"messageId": 1, "status": 4', b'{"messageId": 1,, "status": 4}',
        f'{{"messageId": 1, "status": "{SECRET} {SECRET * 4}"}}'.encode(),
    ],
)  # fmt: skip
def test_what_is_no_callback(body):
    assert SECRET not in refuse(body)


BOMBS = {
    "brackets": b"[" * 65_000,
    "objects": b'{"a":' * 13_000,
    "objects that end": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "quotes": b'"\\"' * 21_000,
    "a string without end": b'{"x":"' + b'\\"' * 32_000,
    "a long number": b'{"messageId": ' + b"9" * 65_000 + b', "status": 4}',
    "a long float": b'{"messageId": 1e' + b"9" * 65_000 + b', "status": 4}',
    "commas": b"{" + b"," * 65_000 + b"}",
    "commas and blanks": b",   " * 16_000,
    "blanks": b"{,}" + b" " * 65_000,
    "many keys": json.dumps({str(n): n for n in range(4_500)}).encode(),
    "many forms": b"a=1&" * 16_000,
    "too large": MANUAL + b" " * LARGEST_CALLBACK,
}


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_cheap(name, kind):
    began = time.thread_time()
    refuse(BOMBS[name], kind)
    assert time.thread_time() - began < 0.5


def test_a_comma_in_a_text_stays():
    body = b'{"addressFrom": "0903123450", "text": "a,}, \\",] b", }'
    assert parse(body).text == 'a,}, ",] b'


def test_nothing_personal_is_shown():
    shown = [
        parse(inbound(SECRET, "Ahoj Jana", "sms")),
        parse(written(POSTBACKS["flat"](MESSAGE, REPLY), trailing_comma=False)),
    ]
    for word in (SECRET, "Jana", "yes", "Áno", "900000000"):
        assert word not in repr(shown)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messageId",
                    "status",
                    "delivery",
                    "postback",
                    "data",
                    "text",
                    "addressFrom",
                    "timestamp",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()), st.text(max_size=30))
@example(b'{"messageId": "\\ud800", "status": "\\ud800", "text": "\\ud800", "addressFrom": "1"}', "")
def test_whatever_comes_is_read_or_refused(body, content_type):
    try:
        found = parse_callback(body, content_type, {})
    except UnreadableReplyError:
        return
    assert isinstance(found, DeliveryReport | Postback | InboundMessage)
    if isinstance(found, DeliveryReport):
        assert found.message_id or found.external_id
