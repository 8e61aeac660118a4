"""What each kind of trouble is called, what it says of the message, and that it ends in time."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import tenacity

from airflow_provider_telekom_sms import transport as transport_module
from airflow_provider_telekom_sms.exceptions import (
    ConnectionLostError,
    Fate,
    NotConnectedError,
    RateLimitedError,
    ReplyTimeoutError,
    UnreadableReplyError,
)
from airflow_provider_telekom_sms.simulator import Fault
from airflow_provider_telekom_sms.transport import parse_retry_after, retry_policy

METHODS = pytest.mark.parametrize("method", ["POST", "GET"])


def judged(outcome, error, fate=Fate.UNKNOWN):
    assert isinstance(outcome, error), outcome
    assert type(outcome) is error
    assert outcome.fate is fate


@METHODS
class TestAfterTheRequestLeft:
    @pytest.mark.parametrize(
        ("name", "options", "error"),
        [
            pytest.param("503", {}, UnreadableReplyError, id="503"),
            pytest.param("503", {"taken": True}, UnreadableReplyError, id="503-taken"),
            pytest.param("html", {}, UnreadableReplyError, id="html"),
            pytest.param("html", {"taken": True}, UnreadableReplyError, id="html-taken"),
            pytest.param("empty", {}, UnreadableReplyError, id="empty"),
            pytest.param("huge", {"megabytes": 3}, UnreadableReplyError, id="huge"),
            pytest.param("redirect", {}, UnreadableReplyError, id="redirect"),
            pytest.param("cut", {}, ConnectionLostError, id="cut"),
            pytest.param("drop_before", {}, ConnectionLostError, id="drop-before"),
            pytest.param("drop_after", {}, ConnectionLostError, id="drop-after"),
            pytest.param("hang", {"seconds": 9}, ReplyTimeoutError, id="hang"),
        ],
    )
    def test_it_is_unknown_and_not_sent_again(self, sim, settings, client, method, name, options, error):
        fault = sim.state.order(Fault(name, **options))
        started = time.monotonic()
        timeout = 0.7 if name == "hang" else 20  # the login, too, has so long
        outcome = client.send_one(settings(sim.url, http_method=method, timeout=timeout), retry_for=20)
        judged(outcome, error)
        assert time.monotonic() - started < 8
        sent = [r for r in sim.state.requests if r.endpoint == "send_message"]
        assert len(sent) == fault.hits == 1
        assert len(sim.state.messages) == fault.handled

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"OK", id="text"),
            pytest.param(b'{"result": {"status": "success"', id="half"),
            pytest.param(b"[]", id="list"),
            pytest.param(b"\xff\xfe\x00", id="binary"),
            pytest.param(b'{"result":{"status":"success","code":"OK"}}', id="no-message"),
        ],
    )
    def test_another_content(self, raw, reply, settings, client, method, body):
        server = raw(lambda sock, request: sock.sendall(reply(body)) is None)
        judged(
            client.send_one(settings(server.url, auth="token", http_method=method), retry_for=5),
            UnreadableReplyError,
        )
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("body", "coding"),
        [
            pytest.param(b"garbage", "gzip", id="garbage-as-gzip"),
            pytest.param(b"garbage", "deflate", id="garbage-as-deflate"),
            pytest.param(b"garbage", "br", id="unknown-coding"),
            pytest.param(b"", "gzip", id="nothing-as-gzip"),
            pytest.param(gzip.compress(b"{}" * 50)[:-20], "gzip", id="cut-gzip"),
            pytest.param(gzip.compress(bytes(20 << 20)), "gzip", id="bomb"),
        ],
    )
    def test_a_wrong_content_encoding(self, raw, reply, settings, client, method, body, coding):
        server = raw(lambda sock, request: sock.sendall(reply(body, Content_Encoding=coding)) is None)
        outcome = client.send_one(settings(server.url, auth="token", http_method=method), retry_for=5)
        judged(outcome, UnreadableReplyError)
        assert "Content-Encoding" in str(outcome)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        "answer", [b"no HTTP at all\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x15\x03\x01\r\n"]
    )
    def test_what_is_not_http(self, raw, settings, client, method, answer):
        server = raw(lambda sock, request: sock.sendall(answer))
        chosen = settings(server.url, auth="token", http_method=method)
        judged(client.send_one(chosen, retry_for=5), ConnectionLostError)
        assert len(server.requests) == 1


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_reply_is_read_though_none_was_asked_for(raw, reply, settings, client, coding, pack):
    packed = pack(reply().partition(b"\r\n\r\n")[2])
    server = raw(lambda sock, request: sock.sendall(reply(packed, Content_Encoding=coding)) is None)
    assert client.send_one(settings(server.url, auth="token")).status == "success"
    assert b"\r\naccept-encoding: identity\r\n" in server.requests[0].lower()


class TestBounds:
    def test_an_endless_reply_is_not_read(self, raw, settings, client):
        written = 0

        def handle(sock, request):
            nonlocal written
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(64):
                sock.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
                written += 1

        server = raw(handle)
        judged(client.send_one(settings(server.url, auth="token")), UnreadableReplyError)
        assert written < 16  # megabytes: what fits into the buffers of the sockets

    def test_the_body_of_a_redirect_is_bounded_too(self, raw, reply, settings, client):
        head = reply(b"", "302 Found", Location="/x").replace(
            b"Content-Length: 0", b"Content-Length: 99999999"
        )
        written = 0

        def handle(sock, request):
            nonlocal written
            sock.sendall(head)
            for _ in range(64):
                sock.sendall(b" " * 0x100000)
                written += 1

        server = raw(handle)
        judged(client.send_one(settings(server.url, auth="token")), UnreadableReplyError)
        assert written < 16

    @pytest.mark.parametrize(
        "start",
        [
            pytest.param(b"HTTP/1.1 200 ", id="status-line"),
            pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", id="header"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", id="body"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", id="chunk"),
        ],
    )
    def test_a_dribbling_server(self, raw, settings, client, fast, start):
        def handle(sock, request):
            sock.sendall(start)
            for _ in range(240):
                sock.sendall(b"H")
                time.sleep(0.05)

        server = raw(handle)
        started = time.monotonic()
        outcome = client.send_one(settings(server.url, auth="token", timeout=0.15), retry_for=9)
        judged(outcome, ReplyTimeoutError)
        assert time.monotonic() - started < 5  # of the 12 s that the server goes on for
        assert len(server.requests) == 1

    def test_a_reply_in_pieces_is_a_reply(self, raw, reply, settings, client):
        whole = reply()

        def handle(sock, request):
            for i in range(0, len(whole), 20):
                sock.sendall(whole[i : i + 20])
                time.sleep(0.005)
            return True

        server = raw(handle)
        outcomes = client.send(settings(server.url, auth="token", timeout=20), 2)
        assert [o.status for o in outcomes] == ["success"] * 2


class TestNeverConnected:
    def test_refused(self, settings, client, free_port):
        chosen = settings(f"http://127.0.0.1:{free_port}", auth="token")
        started = time.monotonic()
        outcome = client.send_one(chosen, retry_for=0.4)
        judged(outcome, NotConnectedError, Fate.NOT_SENT)
        assert "127.0.0.1" in str(outcome)
        assert time.monotonic() - started < 5

    @pytest.mark.usefixtures("even")
    def test_refused_until_the_server_appears(self, raw, reply, settings, client, free_port):
        servers = []

        def appear():
            servers.append(raw(lambda sock, request: sock.sendall(reply()) is None, port=free_port))

        timer = threading.Timer(0.1, appear)
        timer.start()
        outcome = client.send_one(settings(f"http://127.0.0.1:{free_port}", auth="token"), retry_for=30)
        timer.join()
        assert outcome.status == "success"
        assert len(servers[0].requests) == 1

    def test_a_name_that_does_not_exist(self, settings, client, fast):
        judged(
            client.send_one(settings("http://nobody.invalid", auth="token")), NotConnectedError, Fate.NOT_SENT
        )

    def test_a_server_that_does_not_shake_hands(self, raw, settings, client, fast):
        server = raw(lambda sock, request: True)  # takes the connection and waits for the end of a line
        started = time.monotonic()
        chosen = settings(server.url.replace("http", "https"), auth="session", timeout=20)
        judged(client.send_one(chosen), NotConnectedError, Fate.NOT_SENT)
        assert time.monotonic() - started < 8
        assert server.connections == 1


@pytest.fixture
def even(monkeypatch):
    """No jitter."""
    monkeypatch.setattr(transport_module.random, "uniform", lambda low, high: low)


@pytest.mark.usefixtures("even")
class TestRateLimit:
    @pytest.mark.parametrize(
        ("retry_after", "least"),
        [(None, 0.25), ("soon", 0.25), (1, 1.0)],
        ids=["absent", "nonsense", "seconds"],
    )
    def test_it_waits_and_sends_once(self, sim, settings, client, retry_after, least):
        sim.state.order(Fault("429", times=1, retry_after=retry_after))
        started = time.monotonic()
        outcome = client.send_one(settings(sim.url), retry_for=10)
        assert outcome.status == "success"
        assert least <= time.monotonic() - started < least + 5
        assert len(sim.state.messages) == 1
        assert len(sim.state.requests) == 3

    def test_a_date_is_waited_for(self, sim, settings, client):
        sim.state.order(Fault("429", retry_after=30, as_date=True))
        outcome = client.send_one(settings(sim.url), retry_for=20)
        judged(outcome, RateLimitedError, Fate.NOT_SENT)
        assert 15 < outcome.retry_after <= 30
        assert len(sim.state.requests) == 2

    @pytest.mark.parametrize("retry_after", [9999, 61], ids=str)
    def test_a_wait_beyond_the_limit_is_not_begun(self, sim, settings, client, retry_after):
        sim.state.order(Fault("429", retry_after=retry_after))
        started = time.monotonic()
        outcome = client.send_one(settings(sim.url), retry_for=transport_module.RETRY_FOR)
        judged(outcome, RateLimitedError, Fate.NOT_SENT)
        assert outcome.retry_after == retry_after
        assert time.monotonic() - started < 10
        assert sim.state.messages == []

    def test_it_gives_up(self, sim, settings, client):
        fault = sim.state.order(Fault("429"))
        started = time.monotonic()
        judged(client.send_one(settings(sim.url), retry_for=1.5), RateLimitedError, Fate.NOT_SENT)
        assert time.monotonic() - started < 8
        assert 2 <= fault.hits <= 3  # after 0, 0.25 and 0.75 s; the next would be at 1.75 s
        assert sim.state.messages == []

    def test_a_login_waits_too(self, sim, settings, client):
        sim.state.order(Fault("429", endpoint="auth", times=1))
        assert client.send_one(settings(sim.url), retry_for=5).status == "success"
        assert sim.state.logins == 1

    def test_what_follows_a_429_is_judged_by_itself(self, sim, settings, client):
        sim.state.order(Fault("429", times=1))
        fault = sim.state.order(Fault("drop_after"))
        judged(client.send_one(settings(sim.url), retry_for=5), ConnectionLostError)
        assert fault.hits == len(sim.state.messages) == 1


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (None, None),
            ("", None),
            ("7", 7.0),
            ("0", 0.0),
            ("-5", 0.0),
            ("1.5", None),
            ("soon", None),
            ("inf", None),
            ("9" * 400, None),
            ("9" * 5000, None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
            ("Wed, 21 Oct 99999 07:28:00 GMT", None),
            ("Wed, 21 Oct 2015 07:28:00 +99999999999", None),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_a_value(self, value, seconds):
        assert parse_retry_after(value) == seconds

    @pytest.mark.parametrize("usegmt", [True, False])
    def test_a_date(self, usegmt):
        moment = datetime.now(UTC) + timedelta(seconds=30)
        assert 20 <= parse_retry_after(format_datetime(moment, usegmt=usegmt)) <= 30

    def test_the_waits_rise_up_to_a_bound_and_never_undercut_what_was_asked(self):
        wait = retry_policy(60)["wait"]

        def waits(error, attempts):
            for attempt in attempts:
                state = tenacity.RetryCallState(None, None, (), {})
                state.attempt_number = attempt
                state.set_exception((type(error), error, None))
                yield wait(state)

        free = NotConnectedError()
        assert all(0.25 * 2**i <= w <= 0.5 * 2**i for i, w in enumerate(waits(free, range(1, 6))))
        assert all(10 <= w <= 20 for w in waits(free, range(7, 12)))
        assert all(30 <= w <= 50 for w in waits(RateLimitedError("", retry_after=30.0), range(1, 12)))
