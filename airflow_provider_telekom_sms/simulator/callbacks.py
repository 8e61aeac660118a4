"""
Calls the callback URLs, in the background of the server's event loop.

A URL without a scheme is called as http://. Only this machine is called, and ``Settings.callback_hosts``: a
simulator must never bother strangers. Redirects are not followed. An attempt has failed without an answer of
2xx within ``Settings.callback_timeout``; the next ones follow 5, 15, 30, 60, 720 and 1440 minutes after one
another (divided by ``Settings.callback_speed``), then the callback is dropped.

A dsn is sent for each status but SCHEDULED and IN_GROUP, which the manual's list of statuses of callbacks
lacks. The first attempts of a message keep their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_telekom_sms.simulator.fates import Step
from airflow_provider_telekom_sms.simulator.payloads import Callback, dsn, written
from airflow_provider_telekom_sms.simulator.records import CallbackRecord, Message
from airflow_provider_telekom_sms.simulator.state import State

WAITS_MINUTES = (5, 15, 30, 60, 720, 1440)
_NOT_TOLD = frozenset({"SCHEDULED", "IN_GROUP"})
_AT_ONCE = 32
_TICK_SECONDS = 0.05
_TOLD_PER_TURN = 100
_HELD_SECONDS = 3.0
_LEAST_HELD_SECONDS = 0.2


@dataclass(slots=True)
class _Watch:
    """
    A message whose statuses are told.

    :param message: the message
    :param told: how many steps of its course have been
    :param last: the status told last, and its channel
    :param held: what is held back, to come in the wrong order
    :param release: the timer that ends this
    :param turn: see ``Callback``
    """

    message: Message
    told: int = 0
    last: tuple[str, str] | None = None
    held: list[Callback] = field(default_factory=list)
    release: asyncio.TimerHandle | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Callbacks:
    """
    What runs beside the server.

    :param state: the simulator's memory
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._queue: asyncio.Queue[Callback] = asyncio.Queue()
        self._client = _Client()
        self._forget()
        self._state.wake = self._wake
        self._news.set()
        work = [self._watch_messages(), *(self._make_calls() for _ in range(_AT_ONCE))]
        self._tasks = [self._loop.create_task(task) for task in work]

    async def stop(self) -> None:
        """End at once; what was not called is forgotten."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody is to be woken
            self._loop.call_soon_threadsafe(self._news.set)

    def _forget(self) -> None:
        self._era, self._speed = self._state.era, self._state.clock()[1]
        self._watches: dict[int, _Watch] = {}
        self._due: list[tuple[float, int]] = []

    # When what is told.

    async def _watch_messages(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS if self._due else None):
                    await self._news.wait()
            self._news.clear()
            now, speed = self._state.clock()
            if self._era != self._state.era:
                self._forget()
            if self._speed != speed:
                self._speed, self._due = speed, []
                for watch in self._watches.values():
                    self._plan(watch)
            for told, _ in enumerate(self._work(now), 1):
                if told % _TOLD_PER_TURN == 0:
                    await asyncio.sleep(0)  # requests come first

    def _work(self, now: float) -> Iterator[None]:
        errands = self._state.errands
        while errands:
            self._run(errands.popleft(), now)
            yield
        while self._due and self._due[0][0] <= now:
            self._tell(self._watches[heapq.heappop(self._due)[1]], now)
            yield

    def _run(self, errand: Message | Callback, now: float) -> None:
        if isinstance(errand, Callback):
            self._send([errand])
        elif watch := self._watches.get(errand.id):  # its status was set from outside
            watch.told = len(errand.history(now, self._speed)) - 1
            self._tell(watch, now)
        else:
            self._watches[errand.id] = watch = _Watch(errand)
            self._tell(watch, now)

    def _tell(self, watch: _Watch, now: float) -> None:
        for step in watch.message.history(now, self._speed)[watch.told :]:
            watch.told += 1
            status = (step.code, step.channel)
            if step.code not in _NOT_TOLD and status != watch.last:
                watch.last = status
                self._tell_step(watch, step)
        self._plan(watch)

    def _plan(self, watch: _Watch) -> None:
        course = watch.message.course(self._speed)
        if watch.told < len(course):
            heapq.heappush(self._due, (course[watch.told].since, watch.message.id))

    def _tell_step(self, watch: _Watch, step: Step) -> None:
        message, payload = watch.message, dsn(watch.message, step)
        calls = [
            Callback(url, message.id, payload, self._era, turn=watch.turn)
            for url in message.callback_urls["dsn"]
        ]
        if not self._state.settings.callback_shuffle:
            self._send(calls)
        elif watch.held:
            self._send(calls)
            self._release(watch)
        else:
            watch.held = calls
            wait = max(_HELD_SECONDS / (self._speed or 1), _LEAST_HELD_SECONDS)
            watch.release = self._loop.call_later(wait, self._release, watch)

    def _release(self, watch: _Watch) -> None:
        if watch.release:
            watch.release.cancel()
        self._send(watch.held)
        watch.held = []

    # The calls.

    def _send(self, calls: list[Callback]) -> None:
        for call in calls:
            for _ in range(1 + self._state.settings.callback_duplicates):
                self._queue.put_nowait(call)

    async def _make_calls(self) -> None:
        while True:
            call = await self._queue.get()
            if call.era != self._state.era:
                continue
            if call.attempt > 1:
                await self._call(call)
                continue
            async with call.turn:
                await self._call(call)

    async def _call(self, call: Callback) -> None:
        settings = self._state.settings
        record = CallbackRecord(self._state.clock()[0], call.url, call.message_id, call.payload, call.attempt)
        if not _allowed(call.url, settings.callback_hosts):
            record.attempt, record.error = 0, "not called: neither this machine nor one of callback_hosts"
            self._state.record_callback(call.era, record)
            return
        body = written(call.payload, trailing_comma=settings.callback_trailing_comma)
        outcome = await self._client.post(_with_scheme(call.url), body, settings.callback_timeout)
        record.status = outcome if isinstance(outcome, int) else None
        record.error = outcome if isinstance(outcome, str) else None
        self._state.record_callback(call.era, record)
        if (record.status is None or not 200 <= record.status < 300) and call.attempt <= len(WAITS_MINUTES):
            wait = WAITS_MINUTES[call.attempt - 1] * 60 / settings.callback_speed
            again = Callback(call.url, call.message_id, call.payload, call.era, call.attempt + 1)
            self._loop.call_later(wait, self._queue.put_nowait, again)


class _Client:
    """A client that keeps no cookies, follows no redirects, and is imported when it is first needed."""

    def __init__(self) -> None:
        self._session: Any = None
        self._opening = asyncio.Lock()

    async def post(self, url: str, body: bytes, seconds: float) -> int | str:
        """Return the HTTP status, or why there is none."""
        async with self._opening:
            if self._session is None:
                self._aiohttp = await asyncio.to_thread(import_module, "aiohttp")
                self._session = self._aiohttp.ClientSession(
                    connector=self._aiohttp.TCPConnector(limit=_AT_ONCE, keepalive_timeout=1),
                    cookie_jar=self._aiohttp.DummyCookieJar(),
                )
        try:
            async with self._session.post(
                url,
                data=body,
                headers={"content-type": "application/json"},
                allow_redirects=False,
                timeout=self._aiohttp.ClientTimeout(total=seconds),
            ) as reply:
                return int(reply.status)
        except (self._aiohttp.ClientError, OSError, ValueError) as exc:  # a TimeoutError is an OSError
            return f"{type(exc).__name__}: {exc}"

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()


def _with_scheme(url: str) -> str:
    return url if "://" in url.partition("?")[0] else f"http://{url}"


def _allowed(url: str, hosts: Collection[str]) -> bool:
    try:
        host = urlsplit(_with_scheme(url)).hostname or ""
    except ValueError:
        return False
    if host in hosts or "*" in hosts or host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ip_address(host).is_loopback
    return False
