"""Callbacks, with a real receiver on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest
import requests

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Settings, serve
from airflow_provider_telekom_sms.simulator.callbacks import WAITS_MINUTES, _allowed
from tests.simulator.conftest import Api

Until = Callable[[Callable[[], Any]], None]
COURSE = ["QUEUED", "SENDING", "SENT", "DELIVERED"]
RCS = {"text": "a", "suggestions": [{"reply": {"text": "Áno", "postbackData": "yes"}}]}


@dataclass
class Receiver:
    """Keeps what it is sent; answers ``status``, after ``gate`` is open."""

    port: int
    status: int = 204
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/cb"

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    @property
    def statuses(self) -> list[str]:
        return [payload["delivery"]["status"] for payload in self.payloads]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/json"
            found.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            found.paths.append(self.path)
            found.gate.wait(10)
            self.send_response(found.status)
            if found.status == 302:
                self.send_header("location", found.url)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        found = Receiver(server.server_port)
        found.gate.set()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.gate.set()
        server.shutdown()


def send(api: Api, url: str, *phones: str, types: tuple[str, ...] = ("dsn",), **more: Any) -> list[int]:
    body = {
        "recipients": [{"phone": phone, "externalId": f"x{i}"} for i, phone in enumerate(phones)]
        or [{"phone": "+421903000000"}],
        "channels": [{"type": "sms"}],
        "sms": {"text": "č" * 71},
        "callbackUrls": [{"url": url, "types": list(types)}],
        **more,
    }
    return [receipt["messageId"] for receipt in api.v2(body).json()["messages"]]


@pytest.fixture(autouse=True)
def _quick(api: Api) -> Iterator[None]:
    api.state.settings.speed = 100
    yield
    assert api.state.violations == []


def test_each_status_is_told_as_the_manual_prints_it(api: Api, receiver: Receiver, until: Until) -> None:
    (message_id,) = send(api, receiver.url)
    until(lambda: len(receiver.bodies) == 4)
    assert receiver.statuses == COURSE
    last = receiver.payloads[-1]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", last.pop("timestamp"))
    assert last == {
        "delivery": {"status": "DELIVERED"},
        "messageId": message_id,
        "channel": "sms",
        "messageParts": 2,
        "type": "dsn",
    }
    until(lambda: len(api.state.callbacks) == 4)
    record = api.state.callbacks[-1]
    assert (record.url, record.message_id, record.attempt, record.status, record.error) == (
        receiver.url,
        message_id,
        1,
        204,
        None,
    )
    assert record.payload["delivery"] == {"status": "DELIVERED"}
    assert api.raw("GET", "/_simulator/callbacks").json()[-1]["status"] == 204
    assert api.state.summary()["callbacks"] == 4


def test_the_external_id_and_the_channel_of_a_fallback(api: Api, receiver: Receiver, until: Until) -> None:
    channels = [{"type": "rcs", "ttl": 1}, {"type": "sms"}]
    send(api, receiver.url, "+421903000700", channels=channels, rcs=RCS)
    until(lambda: len(receiver.bodies) == 7)
    told = [(p["delivery"]["status"], p["channel"], p["messageParts"]) for p in receiver.payloads]
    assert told == [
        ("QUEUED", "rcs", 1),
        ("SENDING", "rcs", 1),
        ("EXPIRED", "rcs", 1),
        *[(status, "sms", 2) for status in COURSE],
    ]
    assert {payload["externalId"] for payload in receiver.payloads} == {"x0"}


def test_only_the_url_of_the_type(api: Api, receiver: Receiver, until: Until) -> None:
    urls = [{"url": receiver.url + kind, "types": [kind]} for kind in ("dsn", "postback")]
    (message_id,) = send(api, "", callbackUrls=urls)
    until(lambda: len(receiver.bodies) == 4)
    api.state.click(message_id, "yes", "Áno")
    until(lambda: len(receiver.bodies) == 5)
    assert receiver.paths == ["/cbdsn"] * 4 + ["/cbpostback"]


def test_a_url_without_a_scheme(api: Api, receiver: Receiver, until: Until) -> None:
    send(api, receiver.url.removeprefix("http://"))
    until(lambda: len(receiver.bodies) == 4)


def test_a_group_and_a_time_to_come_are_not_told(
    api: Api, receiver: Receiver, until: Until, later: Callable[[float], None]
) -> None:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    (message_id,) = send(api, receiver.url, deliveryTime=when, groupId=1)
    time.sleep(0.15)
    assert receiver.bodies == []
    assert api.status(message_id) == "SCHEDULED"
    later(700)
    until(lambda: len(receiver.bodies) == 4)
    assert receiver.statuses == COURSE


def test_a_speed_that_changes(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.speed = 0.0001
    send(api, receiver.url)
    until(lambda: receiver.statuses == ["QUEUED"])
    api.state.settings.speed = 1000
    until(lambda: receiver.statuses == COURSE)


def test_a_status_set_from_outside_is_told(api: Api, receiver: Receiver, until: Until) -> None:
    (message_id,) = send(api, receiver.url)
    until(lambda: receiver.statuses == COURSE)
    api.state.set_status(message_id, "DELIVERED")
    api.state.set_status(message_id, "READ")
    until(lambda: receiver.statuses == [*COURSE, "READ"])
    api.state.set_fate(message_id, "denied")
    until(lambda: receiver.statuses == [*COURSE, "READ", "DENIED"])


# Trouble.


def test_the_schedule_of_attempts(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.callback_speed = 60 * sum(WAITS_MINUTES)  # the whole of it in a second
    api.state.settings.fate = "stuck"
    api.state.settings.speed = 0
    receiver.status = 500
    send(api, receiver.url)
    until(lambda: len(api.state.callbacks) == 7)
    records = api.state.callbacks
    assert [record.attempt for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert {record.status for record in records} == {500}
    waits = [after.time - before.time for before, after in pairwise(records)]
    assert all(
        wait >= minutes / sum(WAITS_MINUTES) for wait, minutes in zip(waits, WAITS_MINUTES, strict=True)
    )
    time.sleep(0.3)
    assert len(receiver.bodies) == 7
    assert len({*receiver.bodies}) == 1


def test_an_attempt_that_succeeds_is_the_last(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.callback_speed = 3000
    api.state.settings.speed = 0
    receiver.status = 302
    send(api, receiver.url)
    until(lambda: len(receiver.bodies) == 1)
    receiver.status = 200
    until(lambda: len(api.state.callbacks) == 2)
    assert [record.status for record in api.state.callbacks] == [302, 200]
    time.sleep(0.5)
    assert len(receiver.bodies) == 2


def test_nobody_there_and_nobody_who_answers(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.speed = 0
    api.state.settings.callback_timeout = 0.1
    send(api, "http://127.0.0.1:9/")
    receiver.gate.clear()
    send(api, receiver.url)
    until(lambda: len(api.state.callbacks) == 2)
    errors = {record.url: (record.error or "").partition(":")[0] for record in api.state.callbacks}
    assert errors == {"http://127.0.0.1:9/": "ClientConnectorError", receiver.url: "TimeoutError"}


def test_strangers_are_never_called(api: Api, until: Until) -> None:
    send(api, "https.zakaznik.app/callback")
    until(lambda: len(api.state.callbacks) == 4)
    assert {(record.attempt, record.status) for record in api.state.callbacks} == {(0, None)}
    assert "not called" in str(api.state.callbacks[0].error)


@pytest.mark.parametrize(
    ("url", "hosts", "allowed"),
    [
        ("http://127.0.0.1:8080/cb", (), True),
        ("127.8.9.1/cb", (), True),
        ("https://localhost/cb", (), True),
        ("http://[::1]:80/", (), True),
        ("http://127.0.0.1@a.sk/", (), False),
        ("http://localhost.a.sk", (), False),
        ("http://10.0.0.1/", (), False),
        ("http://[::1/", (), False),
        ("a.sk?u=http://localhost", (), False),
        ("http://a.sk/", ["a.sk"], True),
        ("http://b.a.sk/", ["a.sk"], False),
        ("http://a.sk/", ["*"], True),
    ],
)
def test_whom_it_calls(url: str, hosts: tuple[str, ...], allowed: bool) -> None:
    assert _allowed(url, hosts) is allowed


def test_requests_do_not_wait_for_a_receiver_that_hangs(api: Api, receiver: Receiver, until: Until) -> None:
    receiver.gate.clear()
    began = time.monotonic()
    for _ in range(20):
        send(api, receiver.url, *["+421903000000"] * 10)
    assert time.monotonic() - began < 5
    assert len(api.state.messages) == 200
    until(lambda: receiver.bodies)


def test_a_quick_end_with_a_callback_hanging(receiver: Receiver, until: Until) -> None:
    receiver.gate.clear()
    before = threading.active_count()
    with serve(Settings(speed=100)) as simulator:
        send(Api(simulator.url, simulator.state), receiver.url)
        until(lambda: receiver.bodies)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    receiver.gate.set()
    until(lambda: threading.active_count() <= before)
    simulator.state.wake()  # nobody is left to be woken


def test_a_reset_forgets_the_callbacks_under_way(api: Api, receiver: Receiver, until: Until) -> None:
    receiver.gate.clear()
    send(api, receiver.url)
    until(lambda: receiver.bodies)
    api.state.reset()
    receiver.gate.set()
    (message_id,) = send(api, receiver.url)
    until(lambda: len(api.state.callbacks) == 4)
    assert {record.message_id for record in api.state.callbacks} == {message_id}


def test_a_reset_cancels_the_next_attempt(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.callback_speed = 1000
    api.state.settings.speed = 0
    receiver.status = 500
    send(api, receiver.url)
    until(lambda: len(api.state.callbacks) == 1)
    api.state.reset()
    time.sleep(0.6)  # it was due after 0.3 s
    assert len(receiver.bodies) == 1


# What receivers must bear.


def test_duplicates(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.callback_duplicates = 1
    send(api, receiver.url)
    until(lambda: len(receiver.bodies) == 8)
    assert receiver.statuses == [status for status in COURSE for _ in range(2)]


def test_disorder(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.callback_shuffle = True
    send(api, receiver.url)
    until(lambda: len(receiver.bodies) == 4)
    assert receiver.statuses == ["SENDING", "QUEUED", "DELIVERED", "SENT"]


def test_disorder_holds_nothing_back_for_ever(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.callback_shuffle = True
    api.state.settings.fate = "stuck"
    send(api, receiver.url)
    until(lambda: receiver.statuses == ["SENDING", "QUEUED", "SENT"])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_callback_before_the_reply(api: Api, receiver: Receiver, version: str) -> None:
    api.state.settings.callback_before_reply = True
    api.state.settings.callback_url = receiver.url
    phones = ("+421903000000", "+421903000005")
    ids = [api.send_id()] if version == "v1" else send(api, receiver.url, *phones)
    assert {payload["messageId"] for payload in receiver.payloads} == set(ids)


def test_a_trailing_comma(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.callback_trailing_comma = True
    (message_id,) = send(api, receiver.url)
    until(lambda: receiver.bodies)
    text = re.sub(r'(?<="timestamp": ")[^"]+', "…", receiver.bodies[0].decode())
    assert text == (
        '{\n    "delivery": {\n        "status": "QUEUED",\n    },\n'
        f'    "messageId": {message_id},\n    "channel": "sms",\n    "messageParts": 2,\n'
        '    "type": "dsn",\n    "timestamp": "…"\n}'
    )


# Postbacks and inbound messages.


def clickable(api: Api, receiver: Receiver) -> int:
    (message_id,) = send(
        api, receiver.url, "+421903000000", types=("postback",), channels=[{"type": "rcs"}], rcs=RCS
    )
    return message_id


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            "nested",
            {
                "type": "postback",
                "externalId": "x0",
                "channel": "rcs",
                "postback": {"data": "yes", "text": "Áno"},
                "addressFrom": "+421903000000",
            },
        ),
        (
            "flat",
            {
                "type": "postback",
                "externalId": "x0",
                "channel": "rcs",
                "postbackData": "yes",
                "text": "Áno",
                "addressFrom": "+421903000000",
            },
        ),
        (
            "inbound",
            {
                "channel": "rcs",
                "postbackData": "yes",
                "text": "Áno",
                "addressFrom": "+421903000000",
                "addressTo": "+421900000000",
            },
        ),
    ],
)
def test_postbacks(api: Api, receiver: Receiver, until: Until, shape: str, expected: dict[str, Any]) -> None:
    api.state.settings.postback_shape = shape
    message_id = clickable(api, receiver)
    reply = api.state.click(message_id, "yes")
    until(lambda: receiver.bodies)
    (payload,) = receiver.payloads
    assert payload.pop("timestamp").endswith("Z")
    assert payload == {"messageId": message_id, **expected}
    assert (reply["postbackData"], reply["text"]) == ("yes", "Áno")
    assert api.state.messages[0].replies == [reply]


def test_clicks_over_http(api: Api, receiver: Receiver, until: Until) -> None:
    message_id = clickable(api, receiver)
    click = {"message_id": message_id, "postbackData": "yes"}
    assert api.raw("POST", "/_simulator/click", json=click).json()["text"] == "Áno"
    form = api.raw("POST", "/_simulator/click", data={**click, "text": "Áno, prosím"})
    assert (form.status_code, form.headers["location"]) == (303, "/")
    until(lambda: len(receiver.bodies) == 2)
    (shown,) = api.raw("GET", "/_simulator/messages").json()
    assert [reply["text"] for reply in shown["replies"]] == ["Áno", "Áno, prosím"]
    assert shown["replies"][0]["postbackData"] == "yes"


@pytest.mark.parametrize("click", [{"message_id": 1, "postbackData": "yes"}, {"message_id": "x"}, {}])
@pytest.mark.parametrize("carrier", ["json", "data"])
def test_clicks_on_nothing(api: Api, carrier: str, click: dict[str, Any]) -> None:
    options: dict[str, Any] = {carrier: click or {"a": "b"}}
    assert api.raw("POST", "/_simulator/click", **options).status_code == 400


def test_half_a_character_does_not_stop_the_callbacks(api: Api, receiver: Receiver, until: Until) -> None:
    message_id = clickable(api, receiver)
    for _ in range(40):
        api.state.click(message_id, "yes", "\ud83d")
    until(lambda: len(receiver.bodies) == 40)


def test_inbound_messages(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.inbound("0903000000", "nobody listens")
    api.state.settings.inbound_url = receiver.url
    api.state.inbound("0903000000", "Áno")
    answer = api.raw("POST", "/_simulator/inbound", json={"number": "+421903000000", "text": "Nie"})
    assert answer.status_code == 200
    until(lambda: len(receiver.bodies) == 2)
    assert {tuple(payload) for payload in receiver.payloads} == {
        ("addressFrom", "addressTo", "timestamp", "text", "channel")
    }
    assert {(p["addressFrom"], p["channel"]) for p in receiver.payloads} == {("+421903000000", "sms")}
    assert sorted(payload["text"] for payload in receiver.payloads) == ["Nie", "Áno"]


# v1.


def test_v1_calls_the_url_of_the_key(api: Api, receiver: Receiver, until: Until) -> None:
    api.state.settings.callback_url = receiver.url
    api.send_id(callback=False)
    wanted = api.send_id(to="+421903000000")
    until(lambda: len(receiver.bodies) == 4)
    assert receiver.statuses == COURSE
    assert {(p["messageId"], p["channel"]) for p in receiver.payloads} == {(wanted, "rcs")}
    assert "externalId" not in receiver.payloads[0]


def test_settings_from_outside(api: Api, receiver: Receiver, until: Until) -> None:
    change = {"callback_url": receiver.url, "callback_speed": 10, "callback_hosts": ["a.sk"], "rcs": "all"}
    assert api.raw("POST", "/_simulator/settings", json=change).json().items() >= change.items()
    api.send_id()
    until(lambda: receiver.bodies)
    refused = api.raw("POST", "/_simulator/settings", json={"callback_speed": 0})
    assert refused.status_code == 400


def test_the_page_of_phones(api: Api) -> None:
    reply = requests.get(api.url, timeout=5)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert DEFAULT_TOKEN in reply.text or api.url in reply.text


def test_the_command_knows_v2_and_callbacks(receiver: Receiver, until: Until) -> None:
    options = ["--port", "0", "--speed", "100", "--v2-reply", "order", "--rcs", "none"]
    options += ["--callback-url", receiver.url, "--inbound-url", receiver.url]
    options += ["--callback-host", "a.sk", "--callback-speed", "10"]
    command = [sys.executable, "-m", "airflow_provider_telekom_sms.simulator", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().split()[-1]
            changed = requests.post(f"{url}/_simulator/settings", json={}, timeout=30).json()
            body = {
                "recipients": [{"phone": "+421903000000", "externalId": "a"}],
                "channels": [{"type": "sms"}],
                "sms": {"text": "a"},
            }
            headers = {"X-API-KEY": DEFAULT_TOKEN}
            sent = requests.post(f"{url}/v2/messages", json=body, headers=headers, timeout=30).json()
            requests.post(f"{url}/_simulator/inbound", json={"number": "0903000000", "text": "a"}, timeout=30)
            until(lambda: receiver.bodies)
            process.terminate()
            assert process.communicate(timeout=30) == ("", "")
        finally:
            process.kill()
    assert [list(receipt) for receipt in sent["messages"]] == [["messageId"]]
    assert receiver.payloads[0]["text"] == "a"
    assert (changed["rcs"], changed["callback_url"], changed["callback_speed"]) == ("none", receiver.url, 10)
    assert changed["callback_hosts"] == ["a.sk"]
