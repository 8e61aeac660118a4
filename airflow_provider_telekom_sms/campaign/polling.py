"""Waits for delivery: asks check_message for what is due, and judges what came of it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, Self, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow_provider_telekom_sms.api import delivery as codes
from airflow_provider_telekom_sms.api import v1
from airflow_provider_telekom_sms.campaign.observer import Observer
from airflow_provider_telekom_sms.exceptions import (
    AccountError,
    ConfigurationError,
    MessageNotFoundError,
    TelekomSmsError,
)
from airflow_provider_telekom_sms.ledger import callbacks, delivery
from airflow_provider_telekom_sms.ledger.delivery import Check, Progress, Scope, Waiting
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.pacing import Pace
from airflow_provider_telekom_sms.settings import Settings
from airflow_provider_telekom_sms.transport import RETRY_FOR, AsyncTransport

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

#: Messages read from the ledger in one go.
BATCH = 500
#: Checks in flight at once with one key, however many campaigns a process waits for: the loop handles what is
#: answered together without a pause.
IN_FLIGHT = 32
#: Threads for the work of one ledger, likewise: each that computes holds the loop up for 5 ms at a time.
LEDGER_THREADS = 2
#: Seconds between two checks of one message at most, however old it is.
LONGEST_INTERVAL = 600.0
#: How long an id that the API has just given may be unknown to it, seconds.
NOT_FOUND_GRACE = 60.0
NOT_FOUND = "MESSAGE_NOT_FOUND"
#: Seconds between two lines of progress in the log, and only where there is some.
REPORT_EVERY = 30.0
#: Where callbacks come all the time, the ledger counts at most every so many times as long as it takes it.
MOST_COUNTING = 20

Verdict = Literal["success", "failure"]


@dataclass(frozen=True)
class Criteria:
    """
    When waiting ends, and how.

    :param success_statuses: delivery codes that count as delivered
    :param unknown: what UNKNOWN counts as
    :param min_success_ratio: share of messages, 0 to 1, that must be delivered
    :param wait_for_all: end only when nothing more is to be expected of any message
    """

    success_statuses: tuple[str, ...] = tuple(sorted(codes.FINAL_SUCCESS))
    unknown: Literal["fail", "success"] = "fail"
    min_success_ratio: float = 1.0
    wait_for_all: bool = False

    @classmethod
    def check(
        cls,
        *,
        success_statuses: Sequence[str] | None = None,
        unknown: Any = "fail",
        min_success_ratio: Any = 1.0,
        wait_for_all: bool = False,
    ) -> Self:
        """
        Make criteria from what a DAG's author gave.

        :raises ConfigurationError: naming the parameter, what was found and what is allowed
        """
        if isinstance(success_statuses, str):
            raise ConfigurationError("success_statuses: found a text, allowed is a list of delivery codes")
        statuses = tuple(codes.parse_code(status) for status in success_statuses or cls.success_statuses)
        if strange := [status for status in statuses if status not in codes.DeliveryCode.__members__]:
            raise ConfigurationError(
                f"success_statuses: found {strange}, allowed are {', '.join(codes.DeliveryCode)}"
            )
        if unknown not in ("fail", "success"):
            raise ConfigurationError(f"unknown: found {unknown!r}, allowed are 'fail', 'success'")
        ratio = min_success_ratio
        if not isinstance(ratio, int | float) or isinstance(ratio, bool) or not 0 <= ratio <= 1:
            raise ConfigurationError(f"min_success_ratio: found {ratio!r}, allowed are numbers from 0 to 1")
        return cls(statuses, unknown, float(ratio), wait_for_all)

    def successes(self, by_code: dict[str, int]) -> int:
        """Count what is delivered."""
        good = {*self.success_statuses, *(["UNKNOWN"] if self.unknown == "success" else [])}
        return sum(number for code, number in by_code.items() if code in good)

    def verdict(self, progress: Progress) -> Verdict | None:
        """Judge; None while it may still turn out either way."""
        total = progress.total + progress.unsent + progress.unaccepted
        final = progress.unaccepted + sum(progress.final_by_code.values())
        if progress.planning or (self.wait_for_all and final < total):
            return None
        # A share of a count: whole messages, so that 0.1 + 0.2 does not fail anybody.
        needed = round(self.min_success_ratio * total, 6)
        if self.successes(progress.by_code) >= needed and progress.unsent == 0:
            return "success"
        lost = final - self.successes(progress.final_by_code)
        return "failure" if total - lost < needed else None


def judge(waiting: Waiting, code: str, delivered_at: int | None, now: int, interval: float) -> Check:
    """
    Say whether a status is final, and if not, when to ask again.

    :param waiting: what is known of the message
    :param code: what the API just told
    :param now: milliseconds since 1970 UTC, by the ledger's clock
    :param interval: seconds between two checks at least; it rises with the message's age
    """
    if code == NOT_FOUND:
        patience: float | None = NOT_FOUND_GRACE
    else:
        patience = delivery.patience(code, fallback=waiting.fallback, ttl=waiting.ttl)
    since = delivery.since_when(code, waiting.code, waiting.trouble_since, now)
    if patience is not None and now - since >= patience * 1000:
        return Check(waiting.id, code, delivered_at, True, since, None)
    troubled = None if patience is None else since
    return Check(waiting.id, code, delivered_at, False, troubled, ask_again_at(waiting, now, interval))


def ask_again_at(waiting: Waiting, now: int, interval: float) -> int:
    """Say when to ask for a message again: the older it is, the later; late where callbacks tell of it."""
    if waiting.told:
        return now + int(max(interval, delivery.CALLBACK_PATIENCE) * 1000)
    age = max(0, now - waiting.accepted_at) / 1000
    pause = min(max(interval, age / 4), max(interval, LONGEST_INTERVAL))
    return now + int(pause * 1000)


class Watcher:
    """
    Asks for what is due, many at a time, with the ledger's work off the event loop.

    :param ledger: the ledger
    :param transport: an open transport
    :param scope: the messages
    :param interval: seconds between two checks of one message at least
    :param concurrency: checks in flight at once
    :param observer: is told what became final, and how far delivery is
    """

    def __init__(
        self,
        ledger: Ledger,
        transport: AsyncTransport,
        scope: Scope,
        *,
        interval: float,
        concurrency: int = 10,
        observer: Observer | None = None,
    ) -> None:
        self._ledger, self._transport, self._scope = ledger, transport, scope
        self._interval, self._concurrency = interval, concurrency
        self._observer = observer or Observer()
        transport.pace = _pace(transport.settings)
        threads = ThreadPoolExecutor(LEDGER_THREADS, "telekom-sms-wait")
        self._threads = _threads.setdefault(ledger, threads)
        self._reported: tuple[float, dict[str, int]] = (-REPORT_EVERY, {})
        #: Seconds that it took to tell how far delivery is.
        self._took = 0.0

    async def wait(
        self, criteria: Criteria, deadline: float | None = None
    ) -> tuple[Verdict | None, Progress]:
        """
        Wait for a verdict.

        :param criteria: when to end
        :param deadline: Unix time after which there is none
        :raises AccountError: when the key is refused
        """
        while True:
            heard = await self._in_thread(callbacks.newest, self._ledger, self._scope)
            progress = await self.check_due(deadline)
            self._report(progress)
            if verdict := criteria.verdict(progress):
                return verdict, progress
            if deadline is not None and time.time() >= deadline:
                return None, progress
            pause = self._interval if progress.next_due is None else progress.next_due
            # Not at once, even where something is due again: the last round may have met a dead network.
            pause = max(min(pause, LONGEST_INTERVAL), min(1.0, self._interval))
            if deadline is not None:
                pause = min(pause, max(0.0, deadline - time.time()))
            await self._pause(pause, heard)

    def _report(self, progress: Progress) -> None:
        self._observer.waiting(progress)
        told_at, told = self._reported
        if progress.by_code != told and time.monotonic() - told_at >= REPORT_EVERY:
            self._reported = time.monotonic(), progress.by_code
            final = sum(progress.final_by_code.values())
            by_code = [f"{number} {code or 'not asked yet'}" for code, number in progress.by_code.items()]
            log.info("Delivery: %d of %d final: %s", final, progress.total, ", ".join(sorted(by_code)))

    async def _pause(self, seconds: float, heard: int) -> None:
        """
        Sleep, but go on when a callback has told something meanwhile.

        :param heard: the last callback that is known
        """
        end = time.monotonic() + seconds
        # Looking costs next to nothing; what it then costs to count a long campaign is kept in bounds.
        look = max(self._interval, MOST_COUNTING * self._took)
        while (left := end - time.monotonic()) > look:
            await asyncio.sleep(look)
            if await self._in_thread(callbacks.newest, self._ledger, self._scope) != heard:
                return
        await asyncio.sleep(max(0.0, left))

    async def check_due(self, deadline: float | None = None) -> Progress:
        """
        Ask for everything that is due now, record it, and tell how far delivery is.

        :param deadline: Unix time after which nothing more is asked for
        :raises AccountError: when the key is refused
        """
        began: int | None = None
        while True:
            # What falls due again meanwhile waits for the next round: a long campaign has to be judged, too.
            now, batch = await self._in_thread(delivery.due, self._ledger, self._scope, BATCH, began)
            began = began or now
            checks, failures = await self._check(batch, now, deadline)
            await self._in_thread(delivery.record, self._ledger, checks)
            self._observer.delivered(batch, checks)
            for error in failures:
                if isinstance(error, AccountError | ConfigurationError):
                    raise error
            if len(checks) < BATCH:
                counting = time.monotonic()
                progress = await self._in_thread(delivery.progress, self._ledger, self._scope)
                self._took = time.monotonic() - counting
                return progress

    async def _check(
        self, batch: list[Waiting], now: int, deadline: float | None
    ) -> tuple[list[Check], list[TelekomSmsError]]:
        """Ask for a batch with a fixed number of workers; what was not asked for is left as it was."""
        todo = iter(batch)
        checks: list[Check] = []
        failures: list[TelekomSmsError] = []

        async def work() -> None:
            for waiting in todo:
                try:
                    checks.append(await self._ask(waiting, now))
                except TelekomSmsError as error:
                    failures.append(error)
                    if error.stops_campaign:
                        return
                    again = ask_again_at(waiting, now, self._interval)
                    checks.append(Check(waiting.id, None, None, False, waiting.trouble_since, again))

        workers = [asyncio.create_task(work()) for _ in range(min(self._concurrency, len(batch)))]
        await _finish(workers, None if deadline is None else max(0.0, deadline - time.time()))
        if failures:
            log.warning("%d of %d checks failed, the last with: %s", len(failures), len(batch), failures[-1])
        return checks, failures

    async def _in_thread(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        run = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: run(do, *args, **kwargs))

    async def _ask(self, waiting: Waiting, now: int) -> Check:
        wire = self._transport.settings.wire
        try:
            status = await self._transport.run(
                self._transport.call(
                    lambda credential: v1.check_message(wire, credential, waiting.message_id)
                )
            )
        except MessageNotFoundError:
            return judge(waiting, NOT_FOUND, None, now, self._interval)
        at = status.delivered_at
        return judge(waiting, status.code, int(at.timestamp() * 1000) if at else None, now, self._interval)


#: What lets the checks of one key leave, as long as any waits on that event loop.
_paces: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, Settings], Pace] = WeakValueDictionary()


def _pace(settings: Settings) -> Pace:
    key = asyncio.get_running_loop(), settings
    return _paces.get(key) or _paces.setdefault(key, Pace(IN_FLIGHT, RETRY_FOR))


#: A ledger that hangs holds up nobody who waits with another one.
_threads: WeakKeyDictionary[Ledger, ThreadPoolExecutor] = WeakKeyDictionary()


async def _finish(tasks: list[asyncio.Task[None]], seconds: float | None) -> None:
    """Await tasks, but no longer than that; none is left running, and what one raises is raised."""
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
