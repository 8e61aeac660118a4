"""``POST /v2/messages`` over a socket: examples, replies, faults, and the way over the channels."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Fault, Settings
from airflow_provider_telekom_sms.simulator.fates import FATES, Channel, has_rcs, steps_of
from tests.simulator.conftest import Api

ONE, TWO, THREE = "+421903000000", "+421903000005", "+421903000006"
OLD = "+421903000700"
REJECTED = "+421903000099"
RCS, SMS = {"type": "rcs", "ttl": 30}, {"type": "sms"}
EXAMPLES = [
    {"text": "Prajete si?", "suggestions": [{"reply": {"text": "Áno", "postbackData": "yes"}}]},
    {
        "file": {"url": "https://pdfobject.com/pdf/sample.pdf"},
        "suggestions": [
            {
                "action": {
                    "text": "Vyberte polohu",
                    "postbackData": "test_text",
                    "fallbackUrl": "https://google.com",
                    "shareLocation": {},
                }
            }
        ],
    },
    {
        "standaloneCard": {
            "cardOrientation": "VERTICAL",
            "thumbnailImageAlignment": "LEFT",
            "cardContent": {
                "title": "StandaloneCard Titulka",
                "description": "StandaloneCard Popis",
                "media": {"height": "TALL", "contentInfo": {"fileUrl": "https://www.google.com/a.gif"}},
                "suggestions": [{"reply": {"text": "Nie", "postbackData": "no"}}],
            },
        }
    },
    {
        "standaloneCard": {
            "cardOrientation": "HORIZONTAL",
            "height": "TALL",
            "thumbnailImageAlignment": "RIGHT",
            "cardContent": {
                "title": "Slovak Telekom",
                "media": {"contentInfo": {"fileUrl": "https://www.telekom.sk/telekom-logo.png"}},
                "suggestions": [
                    {
                        "action": {
                            "text": "Call support",
                            "postbackData": "call_support",
                            "dial": {"phoneNumber": "+421800123456"},
                        }
                    }
                ],
            },
        }
    },
    {
        "carouselCard": {
            "cardWidth": "MEDIUM",
            "cardContents": [
                {
                    "title": "Google Karta",
                    "media": {"height": "SHORT", "contentInfo": {"fileUrl": "https://a.sk/g.png"}},
                    "suggestions": [
                        {
                            "action": {
                                "text": "Otvoriť Google",
                                "postbackData": "open_google",
                                "fallbackUrl": "https://google.com",
                                "openUrl": {"url": "https://google.com"},
                            }
                        }
                    ],
                },
                {
                    "title": "Telekom karta",
                    "description": "Karta s výškou obrázka TALL",
                    "media": {"height": "TALL", "contentInfo": {"fileUrl": "https://a.sk/t.png"}},
                    "suggestions": [
                        {
                            "action": {
                                "text": "Zavolať podporu",
                                "postbackData": "call_support",
                                "dial": {"phoneNumber": "0800123456"},
                            }
                        }
                    ],
                },
            ],
        }
    },
]


def body(*phones: str, channels: Any = (SMS,), **more: Any) -> dict[str, Any]:
    recipients = [{"phone": phone, "externalId": f"x{i}"} for i, phone in enumerate(phones or [ONE])]
    return {"recipients": recipients, "channels": list(channels), "sms": {"text": "Ahoj"}, **more}


def sent(api: Api, *phones: str, **options: Any) -> list[int]:
    reply = api.v2(body(*phones, **options)).json()
    return [receipt["messageId"] for receipt in reply["messages"]]


def way(api: Api, message_id: int, speed: float = 1.0) -> list[tuple[float, str, str]]:
    """The message's whole course: seconds since it was taken, status, channel."""
    message = api.state.message(message_id)
    assert message
    return [(round(s.since - message.taken_at, 3), s.code, s.channel) for s in message.course(speed)]


# What the manual prints.


@pytest.mark.parametrize("rcs", EXAMPLES)
def test_the_examples(api: Api, rcs: dict[str, Any]) -> None:
    request = body(
        channels=[RCS, SMS],
        rcs=rcs,
        callbackUrls=[{"url": "https.zakaznik.app/callback", "types": ["postback", "dsn"]}],
    )
    reply = api.v2(request)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    (message,) = api.state.messages
    assert reply.json() == {"messages": [{"messageId": message.id, "externalId": "x0"}]}
    assert message.body == {name: value for name, value in request.items() if name != "recipients"}
    assert api.state.violations == []
    (record,) = api.state.requests
    assert (record.endpoint, record.wire, record.code) == ("messages", "v2", "OK")
    assert (record.parameters, record.message_ids, record.message_id) == (request, [message.id], None)


def test_the_text_of_a_message(api: Api) -> None:
    for rcs in EXAMPLES:
        api.v2({"recipients": [{"phone": ONE}], "channels": [{"type": "rcs"}], "rcs": rcs})
    assert [message.text for message in api.state.messages] == [
        "Prajete si?",
        "",
        "StandaloneCard Titulka",
        "Slovak Telekom",
        "Google Karta",
    ]
    assert {(m.number, m.prefer_rcs, m.parts) for m in api.state.messages} == {("421903000000", True, 1)}


def test_each_recipient_is_a_message_with_an_id_of_the_same_sequence(api: Api) -> None:
    first = api.send_id()
    ids = sent(api, ONE, TWO, ONE, sms={"text": "č" * 71})
    assert [first, *ids, api.send_id()] == list(range(first, first + 5))
    messages = api.state.messages[1:4]
    assert [(m.id, m.number, m.external_id, m.parts) for m in messages] == [
        (ids[0], ONE[1:], "x0", 2),
        (ids[1], TWO[1:], "x1", 2),
        (ids[2], ONE[1:], "x2", 2),
    ]
    assert api.state.messages[0].body is None


def test_parts_are_those_of_the_nfc_form(api: Api) -> None:
    sent(api, sms={"text": "a\u0308" * 160})
    sent(api, sms={"text": "č" * 160, "unicode": False})
    assert [message.parts for message in api.state.messages] == [1, 1]


def test_external_id_only_where_it_was_given(api: Api) -> None:
    reply = api.v2({**body(), "recipients": [{"phone": ONE}, {"phone": TWO, "externalId": "b"}]}).json()
    one, two = (message.id for message in api.state.messages)
    assert reply == {"messages": [{"messageId": one}, {"messageId": two, "externalId": "b"}]}


def test_a_rejected_recipient_among_others(api: Api) -> None:
    reply = api.v2(body(ONE, REJECTED, TWO))
    one, two = (message.id for message in api.state.messages)
    error = {"code": "INCORRECT_RECIPIENT_ADDRESS", "description": "Recipient address is incorrect"}
    assert reply.status_code == 200
    assert reply.json()["messages"] == [
        {"messageId": one, "externalId": "x0"},
        {"externalId": "x1", "error": error},
        {"messageId": two, "externalId": "x2"},
    ]
    assert api.state.requests[0].message_ids == [one, two]
    assert api.v2(body(REJECTED)).json()["messages"] == [{"externalId": "x0", "error": error}]
    assert [record.code for record in api.state.requests] == ["OK", "INCORRECT_RECIPIENT_ADDRESS"]


# What it refuses.


@pytest.mark.parametrize(
    ("headers", "code", "violations"),
    [({}, "AUTHENTICATION_REQUIRED", 1), ({"X-API-KEY": "x"}, "API_TOKEN_NOT_FOUND", 0)],
)
def test_the_key(api: Api, headers: dict[str, str], code: str, violations: int) -> None:
    reply = api.v2(body(), headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (401, code)
    assert reply.json()["description"]
    assert api.state.messages == []
    assert len(api.state.violations) == violations


def test_another_key(api: Api) -> None:
    api.state.settings.tokens = ["a" * 64]
    assert api.v2(body()).status_code == 401
    assert api.v2(body(), headers={"X-API-KEY": "a" * 64}).status_code == 200


def test_the_address(api: Api) -> None:
    api.state.settings.deny_ip = True
    reply = api.v2(body(), headers={})
    assert reply.status_code == 403
    assert reply.json() == {
        "code": "IP_NOT_ALLOWED",
        "description": "Access from IP address 127.0.0.1 is not allowed",
    }


def test_deviations_are_noted_and_refused_all_together(api: Api) -> None:
    reply = api.v2({**body("0903000000"), "priority": 9})
    found = ["recipients[0].phone: not +421 and nine digits", "priority: out of range"]
    assert reply.status_code == 400
    assert reply.json() == {"code": "INVALID_REQUEST", "description": "; ".join(found)}
    assert api.state.violations == [f"messages (v2 POST) {violation}" for violation in found]
    assert api.state.messages == []
    assert api.state.requests[0].code == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"headers": {"content-type": "text/plain"}}, "Content-Type"),
        ({"headers": {"content-type": "application/json; charset=cp1250"}}, "Content-Type"),
        ({"params": {"a": "b"}}, "query"),
        ({"data": b"{"}, "body: not JSON"),
        ({"data": b"[]"}, "body: not an object"),
    ],
)
def test_odd_envelopes(api: Api, violated: Any, options: dict[str, Any], found: str) -> None:
    headers = {"X-API-KEY": DEFAULT_TOKEN, "content-type": "application/json", **options.pop("headers", {})}
    options = {"data": json.dumps(body()), **options}
    assert api.raw("POST", "/v2/messages", headers=headers, **options).status_code == 400
    violated("messages (v2 POST)", found)


def test_only_post(api: Api, violated: Any) -> None:
    assert api.raw("GET", "/v2/messages").status_code == 405
    violated("messages (v2 GET)")


# Shapes of the reply.


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("external_id", [{"messageId": 0, "externalId": "x0"}, {"messageId": 1, "externalId": "x1"}]),
        ("order", [{"messageId": 0}, {"messageId": 1}]),
        ("shuffled", [{"messageId": 1, "externalId": "x1"}, {"messageId": 0, "externalId": "x0"}]),
        ("short", [{"messageId": 0}]),
        ("v1_names", [{"message_id": 0, "external_id": "x0"}, {"message_id": 1, "external_id": "x1"}]),
    ],
)
def test_shapes(api: Api, shape: str, expected: list[dict[str, Any]]) -> None:
    assert api.raw("POST", "/_simulator/settings", json={"v2_reply": shape}).status_code == 200
    reply = api.v2(body(ONE, TWO)).json()
    ids = [message.id for message in api.state.messages]
    shown = [{k: ids[v] if isinstance(v, int) else v for k, v in entry.items()} for entry in expected]
    assert reply == {"messages": shown}


def test_a_strange_reply_takes_the_messages(api: Api) -> None:
    api.state.settings.v2_reply = "strange"
    assert api.v2(body(ONE, TWO)).json() == {"ok": True}
    assert len(api.state.messages) == len(api.state.requests[0].message_ids) == 2


def test_no_such_shape(api: Api) -> None:
    assert api.raw("POST", "/_simulator/settings", json={"v2_reply": "xml"}).status_code == 400
    with pytest.raises(ValueError, match="no rcs"):
        Settings(rcs="some")


# Faults.


@pytest.mark.parametrize(
    ("order", "status", "expected"),
    [
        (
            {"code": "MONTHLY_LIMIT", "description": "Limit"},
            400,
            {"code": "MONTHLY_LIMIT", "description": "Limit"},
        ),
        ({"level": "body", "code": 10}, 200, {"error": {"code": 10}}),
        (
            {"level": "body", "code": "X", "description": "y"},
            200,
            {"error": {"code": "X", "description": "y"}},
        ),
    ],
)
def test_errors_of_the_request(api: Api, order: dict[str, Any], status: int, expected: Any) -> None:
    api.state.order(Fault("error", endpoint="messages", **order))
    reply = api.v2(body(ONE, TWO))
    assert (reply.status_code, reply.json()) == (status, expected)
    assert api.state.messages == []
    assert api.state.requests[0].code == str(order["code"])


def test_an_error_of_the_first_message_only(api: Api) -> None:
    api.state.order(Fault("error", endpoint="messages", level="message", code="BLACKLISTED"))
    first, second = api.v2(body(ONE, TWO)).json()["messages"]
    assert first == {"externalId": "x0", "error": {"code": "BLACKLISTED"}}
    assert second["messageId"] == api.state.messages[0].id
    assert [message.number for message in api.state.messages] == [TWO[1:]]


@pytest.mark.parametrize(
    ("name", "options", "taken"),
    [
        ("drop_before", {}, 0),
        ("drop_after", {}, 2),
        ("cut", {}, 2),
        ("hang", {"seconds": 0.1, "taken": False}, 0),
    ],
)
def test_replies_that_never_arrive(api: Api, name: str, options: dict[str, Any], taken: int) -> None:
    api.state.order(Fault(name, endpoint="messages", times=1, **options))
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.v2(body(ONE, TWO))
    assert len(api.state.messages) == taken
    assert api.v2(body()).status_code == 200


@pytest.mark.parametrize(
    ("name", "options", "status", "taken"),
    [
        ("429", {"retry_after": 7}, 429, 0),
        ("503", {}, 503, 0),
        ("503", {"taken": True}, 503, 2),
        ("html", {}, 200, 0),
        ("empty", {}, 200, 2),
        ("redirect", {}, 302, 0),
        ("ip", {}, 403, 0),
        ("credit", {}, 400, 0),
        ("huge", {"megabytes": 1}, 200, 2),
        ("hang", {"seconds": 0.05}, 200, 2),
    ],
)
@pytest.mark.parametrize("endpoint", ["messages", "*"])
def test_other_faults(
    api: Api, endpoint: str, name: str, options: dict[str, Any], status: int, taken: int
) -> None:
    api.state.order(Fault(name, endpoint=endpoint, times=1, **options))
    assert api.v2(body(ONE, TWO)).status_code == status
    assert len(api.state.messages) == taken
    assert api.state.requests[0].fault == name
    assert len(api.state.requests[0].message_ids) == taken


def test_a_refusal_that_is_cut_keeps_its_status(api: Api) -> None:
    api.state.order(Fault("huge", endpoint="messages", megabytes=1))
    assert api.v2({}).status_code == 400


def test_numbers_and_after_mean_any_recipient(api: Api) -> None:
    api.state.order(Fault("503", endpoint="messages", numbers=["0903000005"]))
    assert [api.v2(body(*phones)).status_code for phones in ([ONE], [ONE, TWO], [ONE, THREE])] == [
        200,
        503,
        200,
    ]
    api.state.clear_faults()
    api.state.order(Fault("credit", endpoint="messages", after=4))
    statuses = [api.v2(body(*phones)).status_code for phones in ([ONE] * 2, [ONE] * 3, [ONE] * 2, [ONE])]
    assert statuses == [200, 400, 200, 400]


def test_a_fault_of_v1_spares_v2_and_the_other_way_round(api: Api) -> None:
    api.state.order(Fault("503"))
    assert api.v2(body()).status_code == 200
    api.state.clear_faults()
    api.state.order(Fault("503", endpoint="messages"))
    assert api.send()["result"]["code"] == "OK"


def test_sessions_are_none_of_its_business(api: Api) -> None:
    session = api.login()
    fault = api.state.order(Fault("expire_every", endpoint="*", every=1, times=1))
    assert api.v2(body()).status_code == 200
    assert fault.hits == 0
    assert api.json("ping", {"session_id": session})["result"]["code"] == "SESSION_NOT_FOUND"
    for name in ("expire", "expire_every"):
        with pytest.raises(ValueError, match="no sessions"):
            Fault(name, endpoint="messages", every=1)
    with pytest.raises(ValueError, match="for messages only"):
        Fault("error", level="body")


def test_latency(api: Api) -> None:
    api.state.settings.latency_ms = 200
    began = time.monotonic()
    api.v2(body())
    assert time.monotonic() - began >= 0.2


# The way over the channels.

_FALLBACK = [
    (0.0, "QUEUED", "rcs"),
    (0.5, "SENDING", "rcs"),
    (30.0, "EXPIRED", "rcs"),
    (32.0, "QUEUED", "sms"),
    (32.5, "SENDING", "sms"),
    (33.0, "SENT", "sms"),
    (34.0, "DELIVERED", "sms"),
]


def test_rcs_where_there_is_rcs(api: Api) -> None:
    (message_id,) = sent(api, ONE, channels=[RCS, SMS], rcs={"text": "a"})
    assert way(api, message_id) == [(t, c, "rcs") for t, c in FATES["delivered"]]


def test_an_old_phone_gets_the_sms_after_the_ttl(api: Api) -> None:
    (message_id,) = sent(api, OLD, channels=[RCS, SMS], rcs={"text": "a"})
    assert way(api, message_id) == _FALLBACK
    assert way(api, message_id, speed=10) == [(t / 10, c, channel) for t, c, channel in _FALLBACK]


def test_a_poller_sees_it_expired_and_then_delivered(api: Api, later: Any) -> None:
    (message_id,) = sent(api, OLD, channels=[RCS, SMS], rcs={"text": "a"})
    message = api.state.message(message_id)
    assert message
    seen = []
    for wait in (15, 16, 20):
        later(wait)
        seen.append((api.status(message_id), message.channel))
    assert seen == [
        ("SENDING", "rcs"),
        ("EXPIRED", "rcs"),
        ("DELIVERED", "sms"),
    ]


@pytest.mark.parametrize(
    ("rcs", "phone", "channel"),
    [("all", OLD, "rcs"), ("none", ONE, "sms"), ("by_number", ONE, "rcs"), ("by_number", OLD, "sms")],
)
def test_which_numbers_have_rcs(api: Api, rcs: str, phone: str, channel: str) -> None:
    api.state.settings.rcs = rcs
    (message_id,) = sent(api, phone, channels=[RCS, SMS], rcs={"text": "a"})
    assert way(api, message_id)[-1][1:] == ("DELIVERED", channel)
    api.send(to=phone)
    assert api.state.messages[-1].channel == channel


def test_the_digit() -> None:
    assert [has_rcs(number) for number in ("421903000700", "421903007070", "0903000777")] == [
        False,
        True,
        False,
    ]


def test_the_default_ttl_and_the_gap(api: Api) -> None:
    api.state.settings.fallback_gap = 5
    (message_id,) = sent(api, OLD, channels=[{"type": "rcs"}, SMS], rcs={"text": "a"})
    assert [(t, c) for t, c, _ in way(api, message_id)[2:4]] == [(60.0, "EXPIRED"), (65.0, "QUEUED")]


@pytest.mark.parametrize(
    "rcs",
    [
        {"file": {"url": "https://a.sk/missing.pdf"}},
        {"file": {"url": "https://a.sk/a.pdf", "thumbnailUrl": "https://a.sk/missing"}},
        {
            "standaloneCard": {
                "cardOrientation": "HORIZONTAL",
                "cardContent": {"media": {"contentInfo": {"fileUrl": "https://a.sk/missing"}}},
            }
        },
    ],
)
def test_a_file_that_is_not_there(api: Api, rcs: dict[str, Any]) -> None:
    (message_id,) = sent(api, ONE, channels=[RCS, SMS], rcs=rcs)
    assert way(api, message_id)[2:4] == [(1.0, "UNDELIVERABLE", "rcs"), (3.0, "QUEUED", "sms")]
    assert way(api, message_id)[-1] == (5.0, "DELIVERED", "sms")
    (alone,) = sent(api, ONE, channels=[RCS], rcs=rcs)
    assert way(api, alone)[-1] == (1.0, "UNDELIVERABLE", "rcs")


@pytest.mark.parametrize(
    ("fate", "channels", "expected"),
    [
        ("undeliverable", [Channel("rcs")], [(2, "UNDELIVERABLE", "rcs")]),
        ("undeliverable", [Channel("rcs", 30), Channel("sms")], [(6, "UNDELIVERABLE", "sms")]),
        ("slow", [Channel("rcs", 30), Channel("sms")], [(20, "DELIVERED", "rcs")]),
        ("slow", [Channel("rcs", 5), Channel("sms")], [(5, "EXPIRED", "rcs"), (27, "DELIVERED", "sms")]),
        ("stuck", [Channel("sms")], [(1, "SENT", "sms")]),
        ("stuck", [Channel("sms", 10)], [(10, "EXPIRED", "sms")]),
        ("error", [Channel("rcs"), Channel("sms")], [(60, "EXPIRED", "rcs"), (63, "ERROR", "sms")]),
        ("read", [Channel("rcs", 2), Channel("sms")], [(2, "DELIVERED", "rcs"), (3, "READ", "rcs")]),
        ("delivered", [Channel("rcs", 1), Channel("sms")], [(1, "EXPIRED", "rcs"), (5, "DELIVERED", "sms")]),
        ("delivered", [Channel("rcs", None, "no_rcs")], [(60, "EXPIRED", "rcs")]),
        ("unknown", [Channel("sms"), Channel("rcs", None, "no_rcs")], [(64, "EXPIRED", "rcs")]),
    ],
)
def test_courses(fate: str, channels: list[Channel], expected: list[tuple[float, str, str]]) -> None:
    steps = steps_of(fate, tuple(channels), 2.0)
    telling = [step for step in steps if step[1] in {code for _, code, _ in expected}]
    assert telling[-len(expected) :] == expected
    assert steps[-1] == expected[-1]
    assert list(steps) == sorted(steps, key=lambda step: step.since)


def test_scheduled_and_in_a_group(api: Api, later: Any) -> None:
    due = time.time() + 600
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(due))
    (message_id,) = sent(api, ONE, deliveryTime=when, groupId=1000)
    assert [code for _, code, _ in way(api, message_id)][:3] == ["SCHEDULED", "IN_GROUP", "QUEUED"]
    for wait, code in ((500, "SCHEDULED"), (100, "IN_GROUP"), (10, "DELIVERED")):
        later(wait)
        assert api.status(message_id) == code


def test_a_time_past_is_now(api: Api) -> None:
    (message_id,) = sent(api, ONE, deliveryTime="2025-09-25 08:00:00")
    assert way(api, message_id)[0] == (0.0, "QUEUED", "sms")


def test_status_and_fate_set_from_outside(api: Api) -> None:
    (message_id,) = sent(api, OLD, channels=[RCS, SMS], rcs={"text": "a"})
    api.state.set_status(message_id, "DENIED")
    told = [(code, channel) for _, code, channel in way(api, message_id, speed=0.001)]
    assert told == [("QUEUED", "rcs"), ("DENIED", "rcs")]
    assert api.status(message_id) == "DENIED"
    api.state.set_fate(message_id, "undeliverable")
    assert way(api, message_id)[-1][1:] == ("UNDELIVERABLE", "sms")


def test_the_page_of_messages(api: Api) -> None:
    api.state.settings.speed = 0
    (message_id,) = sent(api, OLD, channels=[RCS, SMS], rcs=EXAMPLES[0])
    (shown,) = api.raw("GET", "/_simulator/messages").json()
    assert (shown["id"], shown["external_id"], shown["channel"]) == (message_id, "x0", "rcs")
    assert shown["history"] == [{"since": shown["taken_at"], "code": "QUEUED", "channel": "rcs"}]
    assert shown["channels"][0] == {"type": "rcs", "ttl": 30, "obstacle": "no_rcs"}
    assert "clock" not in shown
    (record,) = api.raw("GET", "/_simulator/requests").json()
    assert record["message_ids"] == [message_id]


# Speed, and what it shares with the client.


def test_ten_thousand_recipients_in_three_seconds(api: Api) -> None:
    requests_ = []
    for hundred in range(100):
        recipients = [
            {"phone": f"+421903{hundred:03d}{i:02d}0", "externalId": f"{hundred}-{i}"} for i in range(100)
        ]
        requests_.append({**body(channels=[RCS, SMS], rcs=EXAMPLES[2]), "recipients": recipients})
    with requests.Session() as client:
        client.headers["X-API-KEY"] = DEFAULT_TOKEN
        began = time.process_time()
        for request in requests_:
            assert client.post(f"{api.url}/v2/messages", json=request, timeout=30).status_code == 200
        took = time.process_time() - began
    print(f"10,000 recipients: {took:.2f} s, the client's part included")
    assert took < 3
    assert len(api.state.messages) == 10_000
    assert api.state.violations == []


def test_it_imports_nothing_of_the_client() -> None:
    import airflow_provider_telekom_sms.simulator as package

    for module in Path(package.__file__).parent.glob("*.py"):
        assert not re.search(
            r"^\s*(?:from|import) airflow_provider_telekom_sms\.api", module.read_text(), re.M
        )
