"""Sessions that die, logins that are shared, calls that are cancelled, transports that are closed."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_telekom_sms import transport as transport_module
from airflow_provider_telekom_sms.api.http import Session
from airflow_provider_telekom_sms.exceptions import (
    AuthenticationError,
    Fate,
    NotConnectedError,
    ReplyTimeoutError,
    SessionNotFoundError,
)
from airflow_provider_telekom_sms.simulator import Fault
from airflow_provider_telekom_sms.transport import AsyncTransport, Transport

NUMBERS = [f"4219031{i:05}" for i in range(200)]
METHODS = pytest.mark.parametrize("method", ["POST", "GET"])


async def at_once(send, width=32):
    """Send to all numbers, so many at once."""
    slots = asyncio.Semaphore(width)

    async def one(number):
        async with slots:
            return await send(number)

    return await asyncio.gather(*map(one, NUMBERS), return_exceptions=True)


async def met(fault, times):
    """Wait until so many requests have met a fault; the simulator, in its thread, tells nobody."""
    async with asyncio.timeout(20):
        while fault.hits < times:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def over_the_hook(hook, _settings):
    async def run():
        return await at_once(lambda number: hook.asend_message(number, "Ahoj"))

    return asyncio.run(run())


def over_the_transport(_hook, settings, sending):
    async def run():
        async with AsyncTransport(settings, connections=32) as transport:
            return await at_once(lambda n: transport.run(transport.call(sending(settings, n))))

    return asyncio.run(run())


def over_threads(hook, _settings):
    def send(number):
        try:
            return hook.send_message(number, "Ahoj")
        except Exception as error:
            return error

    with ThreadPoolExecutor(32) as pool, hook:
        return list(pool.map(send, NUMBERS))


class TestDyingSessions:
    @pytest.mark.parametrize(
        ("drive", "method"),
        [
            (over_the_hook, "POST"),
            (over_the_transport, "POST"),
            (over_the_transport, "GET"),
            (over_threads, "POST"),
            (over_threads, "GET"),
        ],
    )
    def test_everyone_gets_one_message(self, sim, hook, settings, sending, drive, method, caplog):
        fault = sim.state.order(Fault("expire_every", every=17))
        extra = [sending] if drive is over_the_transport else []

        outcomes = drive(hook(sim.url, http_method=method), settings(sim.url, http_method=method), *extra)

        assert [o for o in outcomes if isinstance(o, BaseException)] == []
        assert sim.state.messages_per_number() == dict.fromkeys(NUMBERS, 1)
        assert fault.hits >= 200 // 17
        assert sim.state.logins <= fault.hits + 1
        assert sim.state.violations == []
        # Ours only, the hook's among them: Airflow, too, may warn, of a secret that is short.
        ours = [r for r in caplog.records if "airflow_provider_telekom_sms" in r.name]
        assert [r for r in ours if r.levelno >= logging.WARNING] == []

    def test_it_ends_when_every_session_is_dead(self, sim, settings, client, monkeypatch):
        monkeypatch.setattr(transport_module.random, "uniform", lambda low, high: high / 100)
        fault = sim.state.order(Fault("expire"))
        error = client.send_one(settings(sim.url))
        assert isinstance(error, SessionNotFoundError)
        assert error.fate is Fate.NOT_SENT
        assert fault.hits == sim.state.logins == 8
        assert sim.state.messages == []

    def test_it_ends_for_all_who_are_in_flight(self, sim, settings, sending):
        sim.state.order(Fault("expire"))

        async def run():
            async with AsyncTransport(settings(sim.url), connections=32) as transport:
                calls = [transport.run(transport.call(sending(transport.settings, n))) for n in NUMBERS[:32]]
                return await asyncio.gather(*calls, return_exceptions=True)

        assert {type(o) for o in asyncio.run(run())} == {SessionNotFoundError}
        assert sim.state.logins <= 8 + 32  # each may be waiting for one more

    def test_a_session_outlives_its_transport(self, sim, hook):
        telekom = hook(sim.url)
        telekom.send_message(NUMBERS[0], "Ahoj")
        asyncio.run(telekom.asend_message(NUMBERS[1], "Ahoj"))
        with telekom:
            telekom.send_message(NUMBERS[2], "Ahoj")
        telekom.send_message(NUMBERS[3], "Ahoj")
        assert sim.state.logins == 1
        assert len(sim.state.messages) == 4

    def test_the_session_is_told_for_masking(self, sim, settings, sending):
        told = []
        with Transport(settings(sim.url), Session(on_login=told.append)) as transport:
            transport.run(transport.call(sending(transport.settings)))
        assert [r.parameters["session_id"] for r in sim.state.requests if r.endpoint != "auth"] == told


class TestOneLogin:
    def test_one_refused_login_for_all_tasks(self, sim, settings, sending):
        sim.state.settings.latency_ms = 100

        async def run():
            async with AsyncTransport(settings(sim.url, key="refused-key"), connections=32) as transport:
                calls = [transport.run(transport.call(sending(transport.settings, n))) for n in NUMBERS[:32]]
                return await asyncio.gather(*calls, return_exceptions=True)

        outcomes = asyncio.run(run())
        assert {type(o) for o in outcomes} == {AuthenticationError}
        assert [r.endpoint for r in sim.state.requests] == ["auth"]

    def test_one_refused_login_for_all_threads(self, sim, hook):
        sim.state.settings.latency_ms = 1000  # all are there by then
        telekom = hook(sim.url, key="refused-key")
        together = threading.Barrier(32)

        def send(number):
            together.wait(60)
            with pytest.raises(AuthenticationError):
                telekom.send_message(number, "Ahoj")

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(send, NUMBERS[:32]))
        assert [r.endpoint for r in sim.state.requests] == ["auth"]

    def test_threads_that_begin_together_log_in_once(self, sim, hook):
        sim.state.settings.latency_ms = 50
        telekom = hook(sim.url)
        together = threading.Barrier(32)

        def send(number):
            together.wait(60)
            return telekom.send_message(number, "Ahoj")

        with ThreadPoolExecutor(32) as pool:
            assert len(list(pool.map(send, NUMBERS[:32]))) == 32
        assert sim.state.logins == 1

    def test_a_refused_login_is_not_remembered(self, sim, settings, client, sending):
        sim.state.order(Fault("error", endpoint="auth", code="IP_NOT_ALLOWED", times=1))
        refused, sent = client.send(settings(sim.url), 2)
        assert refused.code == "IP_NOT_ALLOWED"
        assert sent.status == "success"
        assert sim.state.logins == 1

    def test_a_cancelled_waiter_leaves_the_login_to_the_others(self, sim, settings, sending):
        fault = sim.state.order(Fault("hang", endpoint="auth", seconds=1.0, times=1))

        async def run():
            async with AsyncTransport(settings(sim.url)) as transport:
                calls = [transport.run(transport.call(sending(transport.settings, n))) for n in NUMBERS[:3]]
                tasks = [asyncio.create_task(call) for call in calls]
                await asyncio.sleep(0.1)
                tasks[0].cancel()
                return await asyncio.gather(*tasks, return_exceptions=True)

        cancelled, *sent = asyncio.run(run())
        assert isinstance(cancelled, asyncio.CancelledError)
        assert [o.status for o in sent] == ["success"] * 2
        assert (fault.hits, sim.state.logins) == (1, 1)
        assert NUMBERS[0] not in sim.state.messages_per_number()

    @pytest.mark.parametrize(("hangs", "timeout"), [(1.0, 20.0), (60.0, 1.0)], ids=["slow", "for-ever"])
    def test_a_cancelled_login_does_not_wedge(self, sim, settings, sending, hangs, timeout):
        sim.state.order(Fault("hang", endpoint="auth", seconds=hangs, times=1))

        async def run():
            async with AsyncTransport(settings(sim.url, timeout=timeout)) as transport:

                def send():
                    return transport.run(transport.call(sending(transport.settings)))

                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(send(), 0.1)
                if hangs > 1:
                    with pytest.raises(ReplyTimeoutError):  # of the login that it joined
                        await send()
                return await send()

        assert asyncio.run(run()).status == "success"
        assert len(sim.state.messages) == 1


class TestLoops:
    def test_one_hook_in_loops_one_after_the_other(self, sim, hook):
        telekom = hook(sim.url)
        for number in NUMBERS[:5]:
            asyncio.run(telekom.asend_message(number, "Ahoj"))
        assert sim.state.messages_per_number() == dict.fromkeys(NUMBERS[:5], 1)
        assert sim.state.logins == 1

    def test_one_hook_in_loops_side_by_side(self, sim, hook):
        sim.state.settings.latency_ms = 20
        telekom = hook(sim.url)

        def run(numbers):
            async def send():
                return await asyncio.gather(*[telekom.asend_message(n, "Ahoj") for n in numbers])

            return asyncio.run(send())

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(run, [NUMBERS[i : i + 10] for i in range(0, 40, 10)]))
        assert sim.state.messages_per_number() == dict.fromkeys(NUMBERS[:40], 1)

    def test_a_transport_is_opened_again(self, sim, settings, sending):
        transport = AsyncTransport(settings(sim.url), connections=2)

        async def run():
            async with transport:
                calls = [transport.run(transport.call(sending(transport.settings, n))) for n in NUMBERS[:8]]
                await asyncio.gather(*calls)

        for _ in range(3):
            asyncio.run(run())
        assert sim.state.messages_per_number() == dict.fromkeys(NUMBERS[:8], 3)
        assert sim.state.logins == 1

    def test_an_abandoned_loop_does_not_wedge_the_transport(self, sim, settings, sending):
        sim.state.order(Fault("hang", endpoint="auth", times=1))
        transport = AsyncTransport(settings(sim.url))

        async def send():
            async with transport:
                return await transport.run(transport.call(sending(transport.settings)))

        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(send(), 0.3))
        sim.state.clear_faults()  # the first may have been too late for it
        assert asyncio.run(send()).status == "success"

    def test_waiting_for_a_connection_is_no_time_out(self, sim, settings, sending, monkeypatch):
        monkeypatch.setattr(transport_module, "CONNECT_TIMEOUT", 1.0)
        sim.state.settings.latency_ms = 300

        async def run():
            # Each request has 2 s, half of them to connect; the last one waits 2.4 s for the one connection.
            chosen = settings(sim.url, timeout=1.0)
            async with AsyncTransport(chosen, retry_for=0.0, connections=1) as transport:
                calls = [transport.run(transport.call(sending(transport.settings, n))) for n in NUMBERS[:8]]
                return await asyncio.gather(*calls, return_exceptions=True)

        started = time.monotonic()
        outcomes = asyncio.run(run())
        assert time.monotonic() - started >= 2.4  # one after the other
        assert [o for o in outcomes if isinstance(o, BaseException)] == []
        assert sim.state.messages_per_number() == dict.fromkeys(NUMBERS[:8], 1)


@pytest.fixture
def unclosed(caplog):
    """What Python and aiohttp say of things that nobody closed."""
    gc.collect()  # what others left behind

    def found():
        gc.collect()
        messages = [record.getMessage() for record in caplog.records]
        return [message for message in messages if re.search("[Uu]nclosed|never retrieved", message)]

    return found


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
class TestClosing:
    @METHODS
    def test_calls_in_flight_end_when_the_transport_is_closed(self, sim, settings, sending, unclosed, method):
        async def run():
            async with AsyncTransport(settings(sim.url, http_method=method)) as transport:
                await transport.log_in()
                fault = sim.state.order(Fault("hang"))
                calls = [transport.run(transport.call(sending(transport.settings, n))) for n in NUMBERS[:8]]
                tasks = [asyncio.create_task(call) for call in calls]
                await met(fault, 8)
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)

        outcomes = asyncio.run(run())
        assert {getattr(o, "fate", None) for o in outcomes} == {Fate.UNKNOWN}
        assert unclosed() == []

    def test_calls_that_wait_for_a_login_learn_that_it_is_over(self, sim, settings, sending, unclosed):
        sim.state.order(Fault("hang", endpoint="auth"))

        async def run():
            async with AsyncTransport(settings(sim.url)) as transport:
                calls = [transport.run(transport.call(sending(transport.settings, n))) for n in NUMBERS[:8]]
                tasks = [asyncio.create_task(call) for call in calls]
                await asyncio.sleep(0.1)
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)

        assert {type(o) for o in asyncio.run(run())} == {NotConnectedError}
        assert unclosed() == []

    @pytest.mark.parametrize("endpoint", ["auth", "send_message"])
    @pytest.mark.parametrize("times", [1, 2], ids=["once", "and-again-while-leaving"])
    def test_a_hook_whose_calls_are_cancelled(self, sim, hook, unclosed, endpoint, times):
        sim.state.order(Fault("hang", endpoint=endpoint))
        telekom = hook(sim.url)

        async def run():
            tasks = [asyncio.create_task(telekom.asend_message(n, "Ahoj")) for n in NUMBERS[:8]]
            await asyncio.sleep(0.1)
            for _ in range(times):
                for task in tasks:
                    task.cancel()
                await asyncio.sleep(0)
            return await asyncio.gather(*tasks, return_exceptions=True)

        assert {type(o) for o in asyncio.run(run())} == {asyncio.CancelledError}
        assert unclosed() == []
        sim.state.clear_faults()
        assert asyncio.run(telekom.asend_message(NUMBERS[0], "Ahoj")).status == "success"
        assert unclosed() == []

    def test_a_loop_that_ends_in_the_middle(self, sim, hook, unclosed):
        sim.state.order(Fault("hang"))
        telekom = hook(sim.url)

        async def run():
            for number in NUMBERS[:8]:
                telekom.kept = asyncio.create_task(telekom.asend_message(number, "Ahoj"))
            await asyncio.sleep(0.1)

        asyncio.run(run())
        assert unclosed() == []

    def test_threads(self, sim, hook, unclosed):
        telekom = hook(sim.url)
        with telekom, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: telekom.send_message(n, "Ahoj"), NUMBERS[:8]))
        telekom.send_message(NUMBERS[0], "Ahoj")
        telekom = None
        assert unclosed() == []

    def test_a_hook_that_was_never_used_reads_no_connection(self, monkeypatch):
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook

        monkeypatch.delenv("AIRFLOW_CONN_TELEKOM_SMS_DEFAULT", raising=False)
        with TelekomSmsHook():
            pass


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_control_what_is_left_open_is_found(sim, settings, unclosed):
    async def run():
        transport = await AsyncTransport(settings(sim.url, auth="token")).__aenter__()
        await transport._http.get(sim.url)

    asyncio.run(run())
    assert unclosed() != []


class TestKeepingASession:
    @pytest.mark.parametrize("after", [0.25, 600.0], ids=["pinged", "control-without"])
    async def test_an_idle_session(self, sim, settings, sending, monkeypatch, after):
        monkeypatch.setattr(transport_module, "PING_AFTER_IDLE", after)
        sim.state.settings.session_seconds = 1.5
        async with AsyncTransport(settings(sim.url)) as transport:
            await transport.run(transport.call(sending(transport.settings)))
            await asyncio.sleep(1.75)
            await transport.run(transport.call(sending(transport.settings)))
        pings = [r.code for r in sim.state.requests if r.endpoint == "ping"]
        assert sim.state.logins == (1 if after < 1 else 2)
        assert set(pings) == ({"OK"} if after < 1 else set())
        assert len(pings) in (range(2, 12) if after < 1 else [0])  # 6, by a clock that is not busy
        assert sim.state.violations == []

    async def test_a_ping_that_fails_harms_nobody(self, sim, settings, sending, monkeypatch):
        monkeypatch.setattr(transport_module, "PING_AFTER_IDLE", 0.2)
        fault = sim.state.order(Fault("drop_before", endpoint="ping"))
        began = time.monotonic()
        async with AsyncTransport(settings(sim.url)) as transport:
            await transport.run(transport.call(sending(transport.settings)))
            await met(fault, 1)
            await asyncio.sleep(0.1)
            await transport.run(transport.call(sending(transport.settings)))
        # The next one comes no earlier than the first did.
        assert 1 <= fault.hits <= (time.monotonic() - began) / 0.2
        assert sim.state.logins == 1

    async def test_no_ping_without_a_session(self, sim, settings, sending, monkeypatch):
        monkeypatch.setattr(transport_module, "PING_AFTER_IDLE", 0.1)
        async with AsyncTransport(settings(sim.url, auth="token")) as transport:
            await transport.run(transport.call(sending(transport.settings)))
            await asyncio.sleep(0.13)
        assert [r.endpoint for r in sim.state.requests] == ["send_message"]


class TestCookies:
    @METHODS
    @pytest.mark.parametrize("auth", ["session", "token"])
    def test_a_cookie_is_sent_back_in_a_session_only(self, raw, reply, settings, client, auth, method):
        login = b'{"result":{"status":"success","description":"","code":"OK"},"session_id":"s-1"}'

        def handle(sock, request):
            body = login if b"/json/auth" in request.split(b"\r\n")[0] else None
            sock.sendall(reply(body, Set_Cookie="sms_api=abc123; HttpOnly; Path=/; SameSite=lax"))
            return True

        server = raw(handle)
        client.send(settings(server.url, auth=auth, http_method=method), 3)
        first, *later = [b"cookie: sms_api=abc123" in r.lower() for r in server.requests]
        assert first is False
        assert later == ([True] * 3 if auth == "session" else [False] * 2)

    @pytest.mark.parametrize(
        ("given", "sent"),
        [
            (["a=1; Path=/", "b=2", "a=3; HttpOnly"], "b=2; a=3"),
            (["a=1", "b=2", "a=; Max-Age=0"], "b=2"),
            (["a=1", "b=2", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], "b=2"),
            (["a=1; Max-Age=900; Priority=High; Partitioned"], "a=1"),
            (["a=1; Expires=Fri, 01 Jan 2100 00:00:00 GMT"], "a=1"),
            (["a=1; Max-Age=soon; Expires=later"], "a=1"),
            (["a=1", "a=; Max-Age=-1"], None),
            # Of a load balancer; Python's own parser raises.
            (["BIGipServer/Common/pool@x=1.2,3"], "BIGipServer/Common/pool@x=1.2,3"),
            (['a="x y"; Secure', "b=p=q"], 'a="x y"; b=p=q'),
            (["a=1", "b=x\x01y", "=c", "d", "", ";"], "a=1"),
        ],
    )
    def test_what_is_kept(self, given, sent):
        cookies = transport_module._Cookies()
        for header in given:
            cookies.take([header])
        assert cookies.header == ({} if sent is None else {"Cookie": sent})

    @METHODS
    def test_no_cookie_costs_a_reply(self, raw, reply, settings, client, method):
        login = b'{"result":{"status":"success","description":"","code":"OK"},"session_id":"s-1"}'
        odd = b"BIGipServer/Common/pool=1", b"a=\xff\xfe", b'b="x\\001y"', b"c=\xc4\x8d", b";;=;", b"Path=/"

        def handle(sock, request):
            head, end, body = reply(login if b"/json/auth" in request else None).partition(b"\r\n\r\n")
            sock.sendall(b"\r\nSet-Cookie: ".join([head, *odd]) + end + body)
            return True

        server = raw(handle)
        outcomes = client.send(settings(server.url, http_method=method), 3)
        assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
        assert len(server.requests) == 4

    def test_the_simulators_cookie_is_enough_for_it(self, sim, settings, client):
        # The first two requests of a session: the cookie that the simulator set is a session of its own.
        client.send(settings(sim.url), 2)
        assert sim.state.logins == 1
        assert sim.state.violations == []


class TestKeepAlive:
    def test_a_connection_is_kept_between_sends(self, raw, reply, settings, client):
        server = raw(lambda sock, request: sock.sendall(reply()) is None)
        client.send(settings(server.url, auth="token"), 3)
        assert (server.connections, len(server.requests)) == (1, 3)

    def test_a_connection_that_rested_is_not_used_again(self, raw, reply, settings, sending, monkeypatch):
        from airflow_provider_telekom_sms import blocking_http

        server = raw(lambda sock, request: sock.sendall(reply()) is None)
        chosen = settings(server.url, auth="token")
        with Transport(chosen) as transport:
            for keepalive in (15.0, 15.0, 0.2):
                monkeypatch.setattr(blocking_http, "KEEPALIVE", keepalive)
                time.sleep(0.3 if keepalive < 1 else 0.0)
                transport.run(transport.call(sending(chosen)))
        assert (server.connections, len(server.requests)) == (2, 3)
