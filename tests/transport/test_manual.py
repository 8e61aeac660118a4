"""Every endpoint, judged by the simulator, which read the manual by itself."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_telekom_sms.exceptions import ConfigurationError, InvalidMessageError
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN

TO = "0903 123 456"
WIRES = list(itertools.product(["json", "xml"], ["POST", "GET"], ["session", "token"]))


@pytest.fixture(params=WIRES, ids="-".join)
def wire(request):
    return dict(zip(("wire_format", "http_method", "auth"), request.param, strict=True))


@pytest.fixture(params=["sync", "async"])
def ask(request):
    """Call a method of the hook, or its twin."""

    def call(hook: Any, name: str, *args: Any, **options: Any) -> Any:
        if request.param == "sync":
            return getattr(hook, name)(*args, **options)
        return asyncio.run(getattr(hook, f"a{name}")(*args, **options))

    return call


def well_credentialed(sim, auth):
    """Each request carries the key or the session, auth the key; nothing carries an empty value."""
    for request in sim.state.requests:
        expected = {"auth": "token", "ping": "session_id"}.get(
            request.endpoint, "token" if auth == "token" else "session_id"
        )
        assert {"token", "session_id"} & set(request.parameters) == {expected}
        assert not {None, "", "None", "null"} & set(request.parameters.values())
        if expected == "token":
            assert request.parameters["token"] == DEFAULT_TOKEN


def test_every_endpoint(sim, hook, wire, ask):
    telekom = hook(sim.url, **wire)

    receipt = ask(telekom, "send_message", TO, "Ahoj, ľudia & <svet>")
    status = ask(telekom, "check_message", receipt.message_id)
    groups = ask(telekom, "sms_groups")
    second = ask(telekom, "sms_groups", 1, 1)
    number = ask(telekom, "check_phone_number", "+421 903 123 456")

    [message] = sim.state.messages
    assert (receipt.message_id, receipt.status, receipt.code) == (str(message.id), "success", "OK")
    assert receipt.parts == (message.parts if wire["wire_format"] == "json" else None)
    assert (message.text, message.number) == ("Ahoj, ľudia & <svet>", "421903123456")
    assert status.message_id == receipt.message_id
    assert status.code == "QUEUED"
    assert [(g.id, g.name, g.is_paused) for g in groups] == [
        ("1000", "Ranná vlna", False),
        ("1001", "Večerná vlna", True),
    ]
    assert [g.id for g in second] == ["1001"]
    assert (number.phone_number, number.exists) == ("0903123456", True)
    asked = ["send_message", "check_message", "sms-groups", "sms-groups", "check_phone_number"]
    assert [r.endpoint for r in sim.state.requests if r.endpoint != "auth"] == asked
    assert {(r.wire, r.method) for r in sim.state.requests} == {(wire["wire_format"], wire["http_method"])}
    assert sim.state.logins == (wire["auth"] == "session")
    assert sim.state.violations == []
    well_credentialed(sim, wire["auth"])


def test_ping(sim, hook, wire, ask):
    telekom = hook(sim.url, **wire)
    if wire["auth"] == "token":
        with pytest.raises(ConfigurationError, match="auth=token"):
            ask(telekom, "ping")
        assert sim.state.requests == []
    else:
        assert ask(telekom, "ping") is None
        assert [r.endpoint for r in sim.state.requests] == ["auth", "ping"]
    assert sim.state.violations == []
    well_credentialed(sim, wire["auth"])


def test_login_of_test_connection(sim, hook, wire):
    assert hook(sim.url, **wire).test_connection() == (True, f"Logged in at {sim.url}")
    assert [r.endpoint for r in sim.state.requests] == ["auth"]
    assert sim.state.violations == []


@pytest.mark.parametrize("flag", [False, True])
def test_every_parameter(sim, hook, wire, ask, flag):
    given = {
        "sender": "Telekom",
        "callback": flag,
        "delivery_time": datetime(2036, 7, 1, 10, tzinfo=UTC),
        "priority": 3,
        "validity": 60,
        "unicode": flag,
        "message_type": "flash" if flag else "standard",
        "group_id": 1000,
        "prefer_rcs": flag,
    }
    ask(hook(sim.url, **wire), "send_message", TO, "Žltý kôň", **given)

    text = wire["http_method"] == "GET" or wire["wire_format"] == "xml"
    written = (lambda value: str(int(value))) if text else (lambda value: value)
    [message] = sim.state.messages
    assert message.parameters == {
        "to": "+421903123456" if flag else "421903123456",
        "text": "Žltý kôň",
        "from": "Telekom",
        "callback": written(flag),
        "delivery_time": "2036-07-01 12:00:00",
        "priority": written(3),
        "validity": written(60),
        "unicode": written(flag),
        "type": "flash" if flag else "standard",
        "groupId": written(1000),
    }
    assert message.parts == 1
    assert sim.state.violations == []
    well_credentialed(sim, wire["auth"])


@pytest.mark.parametrize("nothing", [{}, {"sender": None, "unicode": None, "group_id": None}], ids=len)
def test_no_parameter(sim, hook, wire, ask, nothing):
    ask(hook(sim.url, **wire), "send_message", TO, "Ahoj", **nothing)
    [message] = sim.state.messages
    assert message.parameters == {"to": "421903123456", "text": "Ahoj"}
    assert sim.state.violations == []
    well_credentialed(sim, wire["auth"])


def test_the_sender_of_the_connection(sim, hook, ask):
    telekom = hook(sim.url, sender="Obchod")
    ask(telekom, "send_message", TO, "Ahoj")
    ask(telekom, "send_message", TO, "Ahoj", sender="421903000000")
    assert [m.parameters["from"] for m in sim.state.messages] == ["Obchod", "421903000000"]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        pytest.param("2026-03-29T00:59:59Z", "2026-03-29 01:59:59", id="spring-before"),
        pytest.param("2026-03-29T01:00:00+00:00", "2026-03-29 03:00:00", id="spring-after"),
        pytest.param(datetime(2026, 3, 29, 3, 0), "2026-03-29 03:00:00", id="spring-naive"),
        pytest.param("2026-10-24T23:59:59Z", "2026-10-25 01:59:59", id="autumn-before"),
        pytest.param("2026-10-25T00:00:00Z", "2026-10-25 03:00:00", id="autumn-first-02:00"),
        pytest.param("2026-10-25T02:30:00+01:00", "2026-10-25 03:00:00", id="autumn-second-02:30"),
        pytest.param(datetime(2026, 10, 25, 2, 30), "2026-10-25 03:00:00", id="autumn-naive"),
        pytest.param("2026-10-25T02:00:00Z", "2026-10-25 03:00:00", id="autumn-after"),
    ],
)
def test_delivery_time_when_the_clocks_change(sim, hook, ask, given, written):
    ask(hook(sim.url), "send_message", TO, "Ahoj", delivery_time=given)
    assert sim.state.messages[0].parameters["delivery_time"] == written
    assert sim.state.violations == []


def test_a_time_that_does_not_exist_is_not_sent(sim, hook, ask):
    with pytest.raises(InvalidMessageError, match="does not exist"):
        ask(hook(sim.url), "send_message", TO, "Ahoj", delivery_time="2026-03-29 02:30:00")
    assert sim.state.requests == []
