"""
Sends what the ledger has planned: many messages in flight, each claimed before it leaves, recorded after.

::

    ledger ──exchange: claims──► batches ──► worker × concurrency ──► transport
       ▲                                        │
       └────────exchange: outcomes──────────────┘

A batch is what one request carries: one message over API v1, over API v2 as many as share a content.

One bookkeeper does all of the ledger's work, outcomes and new claims in one transaction, in a thread of its
own. Messages that are claimed and not recorded are bounded, and so is what a kill can leave in doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_after_delay, wait_exponential
from tenacity.stop import stop_when_event_set

from airflow_provider_telekom_sms.api import v1, v2
from airflow_provider_telekom_sms.api.http import Call, Credential
from airflow_provider_telekom_sms.api.messages import SmsParameters
from airflow_provider_telekom_sms.api.phone import international_form, mask_phones_in, wire_form
from airflow_provider_telekom_sms.api.results import Receipt
from airflow_provider_telekom_sms.campaign.multichannel import Multichannel, private_in
from airflow_provider_telekom_sms.campaign.observer import Observer, Sending
from airflow_provider_telekom_sms.campaign.plan import MessageSettings, first_check
from airflow_provider_telekom_sms.exceptions import (
    ApiError,
    Fate,
    LedgerError,
    LedgerUnavailableError,
    TelekomSmsError,
    TransportError,
)
from airflow_provider_telekom_sms.ledger import sending
from airflow_provider_telekom_sms.ledger.planning import LEASE_MS, SUPPRESSED, Owner
from airflow_provider_telekom_sms.ledger.sending import Claimed, Exchange, Outcome, RateLimit
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from airflow_provider_telekom_sms.settings import DEFAULT_BATCH_SIZE, callback_url_for
from airflow_provider_telekom_sms.transport import AsyncTransport

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Claimed and not recorded at most, in multiples of the concurrency, or of the recipients of one request
#: where these are more; after a kill they are in doubt.
OUTSTANDING = 4
#: So many outcomes, in the same multiples, are worth a commit; meanwhile as many again are in flight, and as
#: many wait their turn.
BATCH = 2
#: Seconds that an outcome waits for others before it is recorded.
LINGER = 0.1
#: So many messages in doubt in a row, or two such multiples, stop a campaign: the API is in trouble, and
#: what is still planned is better sent later than put in doubt now.
TROUBLE_IN_A_ROW = 50
#: Seconds that a ledger whose server is away is waited for.
LEDGER_PATIENCE = 120.0
#: Seconds to wait for the rate limit that are better waited without a worker.
LONG_WAIT = 30.0
#: A text that is no longer tells nothing where the API repeats it.
SHORT_TEXT = 3
#: Seconds until the first line of progress in the log; the next ones take twice as long, up to the last.
REPORT_AFTER, REPORT_EVERY = 1.0, 32.0
#: Seconds between two times that the observer is told of progress.
TELL_EVERY = 10.0


@dataclass
class Drained:
    """
    What one try did.

    :param counts: outcomes of this try by state; ``planned`` are those that surely never left
    :param stopped_by: the error that stopped the campaign before its end
    :param halted: why there was no more: ``superseded``, ``paused``, ``cancelled`` or ``killed``
    :param wait: seconds until the rate limit lets the next message leave
    """

    counts: dict[State, int] = field(default_factory=dict)
    stopped_by: Exception | None = None
    halted: str = ""
    wait: float = 0.0


class Engine:
    """
    Drains a campaign, or one plan of it.

    :param ledger: the ledger
    :param owner: this try
    :param transport: an open transport
    :param concurrency: requests in flight at once
    :param batch_size: recipients of one request, over API v2
    :param plan_id: send only what this plan brought; None for the whole campaign
    :param rate: the limit that the key is under
    :param total: how many messages are to be sent, for the log
    :param done: how many were sent by earlier tries, likewise
    :param stop: set from another thread or a signal handler to end cleanly
    :param yields: end where the rate limit makes it wait long, instead of waiting
    :param unwanted: tells whether a number must not get a message
    :param observer: is told how far it is
    """

    def __init__(
        self,
        ledger: Ledger,
        owner: Owner,
        transport: AsyncTransport,
        *,
        concurrency: int,
        batch_size: int = DEFAULT_BATCH_SIZE,
        plan_id: int | None = None,
        rate: RateLimit | None = None,
        total: int = 0,
        done: int = 0,
        stop: threading.Event | None = None,
        yields: bool = False,
        unwanted: Callable[[str], bool] = lambda phone: False,
        observer: Observer | None = None,
    ) -> None:
        self._ledger, self._owner, self._transport = ledger, owner, transport
        self._concurrency, self._batch_size = concurrency, batch_size
        self._plan_id, self._rate = plan_id, rate
        #: What bounds are multiples of.
        self._unit = concurrency
        self._stop = stop or threading.Event()
        self._yields, self._unwanted = yields, unwanted
        self._batches: asyncio.Queue[list[Claimed]] = asyncio.Queue()
        #: Batches that wait to be filled, by what their messages share.
        self._unfilled: dict[tuple[int, str], list[Claimed]] = {}
        self._outcomes: list[Outcome] = []
        #: Numbers of the messages that are claimed and not recorded.
        self._outstanding: set[int] = set()
        self._lease_until = 0.0
        self._exchanging: asyncio.Future[Exchange] | None = None
        self._settings: dict[int, MessageSettings] = {}
        self._callback_url: str | None = None
        self._wake = asyncio.Event()
        self._trouble = 0
        self._exhausted = False
        self._meter = _Meter(total, done, observer or Observer())
        self._drained = Drained()

    async def run(self) -> Drained:
        """
        Send until nothing is left or something stops it.

        :raises TelekomSmsError: when the key is refused before the first claim
        :raises LedgerError: when the ledger fails; what was claimed then stands in doubt, unless the ledger
            still takes what is known of it
        """
        await asyncio.to_thread(self._read_settings)
        if not all(settings.multichannel for settings in self._settings.values()):
            await self._transport.log_in()
        workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]
        with ThreadPoolExecutor(1, "telekom-sms-ledger") as thread:
            try:
                await self._keep_books(thread)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                await self._close_books(thread)
                self._meter.report()
        return self._drained

    def _read_settings(self) -> None:
        """Read what messages are sent with before any is claimed: what cannot be read puts none in doubt."""
        found = sending.parameters(self._ledger, self._owner, self._plan_id)
        self._settings = {plan: MessageSettings.from_json(settings) for plan, settings in found.items()}
        for settings in self._settings.values():
            # Built here and not with the first message: rules may be stricter than those it was planned by.
            _ = settings.content
            if settings.multichannel is not None:
                self._unit = max(self._concurrency, self._batch_size)
                self._meter.api = "v2"
        self._callback_url = callback_url_for(self._transport.settings)

    async def _keep_books(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        claim_from = spoke_at = 0.0
        while True:
            want = self._room() if loop.time() >= claim_from else 0
            asked_at = loop.time()
            self._exchanging = loop.run_in_executor(thread, self._exchange, list(self._outcomes), want)
            result = self._take_in(await asyncio.shield(self._exchanging))
            spoke_at = loop.time()
            claim_from = spoke_at + result.wait
            if result.halted:
                self._halt(result.halted)
            else:
                self._lease_until = asked_at + LEASE_MS / 1000
            if want and not result.claimed and not result.wait:
                self._exhausted = True
            if self._yields and result.wait > LONG_WAIT:
                self._exhausted, self._drained.wait = True, result.wait
            if not self._outstanding and (self._stopping or self._exhausted):
                self._drained.wait = min(self._drained.wait, max(0.0, claim_from - loop.time()))
                return
            # Nothing comes to fill them; or it comes late, for under a rate limit each has its turn.
            if self._rate is not None or not self._room():
                self._put_unfilled()
            await self._next_exchange(claim_from, spoke_at + LEASE_MS / 5000)

    def _take_in(self, result: Exchange) -> Exchange:
        self._exchanging = None
        recorded, self._outcomes = self._outcomes[: result.recorded], self._outcomes[result.recorded :]
        self._count(recorded)
        self._outstanding.difference_update(outcome.id for outcome in recorded)
        self._outstanding.update(message.id for message in result.claimed)
        for message in result.claimed:
            self._put(message)
        return result

    def _put(self, message: Claimed) -> None:
        """Put a message into a batch, and the batch into the queue if it is full."""
        if self._settings[message.plan_id].multichannel is None:
            self._batches.put_nowait([message])
            return
        shared = (message.plan_id, message.text)
        batch = self._unfilled.setdefault(shared, [])
        batch.append(message)
        if len(batch) >= self._batch_size:
            self._batches.put_nowait(self._unfilled.pop(shared))

    def _put_unfilled(self) -> None:
        for batch in self._unfilled.values():
            self._batches.put_nowait(batch)
        self._unfilled.clear()

    async def _close_books(self, thread: ThreadPoolExecutor) -> None:
        """Where the books were broken off: record what is known, release what never left."""
        unheard = False
        if self._exchanging is not None:
            try:
                # It was not cancelled with this try, and its claims would be in doubt for nothing.
                self._take_in(await self._exchanging)
            except Exception:
                unheard = True
        self._give_back()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(LedgerError):
            while self._outcomes or unheard:
                known = list(self._outcomes)
                self._take_in(await loop.run_in_executor(thread, self._exchange_once, known, 0, unheard))
                unheard = False
                self._give_back()

    def _give_back(self) -> None:
        self._put_unfilled()
        while not self._batches.empty():
            self._outcomes += _all(self._batches.get_nowait(), State.PLANNED)

    def _room(self) -> int:
        if self._stopping or self._exhausted:
            return 0
        # What is recorded now makes room in the same transaction.
        room = OUTSTANDING * self._unit - (len(self._outstanding) - len(self._outcomes))
        # Small claims cost as much as large ones.
        return room if 2 * room >= self._unit else 0

    async def _next_exchange(self, claim_from: float, heartbeat: float) -> None:
        """Wait until an exchange is worth its commit."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if self._worth_recording() or self._may_claim(claim_from):
                return
            # No later than the rate limit allows: what is lost there is never caught up.
            ahead = claim_from - loop.time()
            try:
                async with asyncio.timeout(min(LINGER, ahead) if ahead > 0 else LINGER):
                    await self._wake.wait()
            except TimeoutError:
                if self._outcomes or self._stop.is_set() or loop.time() >= heartbeat:
                    return

    def _worth_recording(self) -> bool:
        return 0 < min(BATCH * self._unit, len(self._outstanding)) <= len(self._outcomes)

    def _may_claim(self, claim_from: float) -> bool:
        waiting = sum(map(len, self._unfilled.values()))
        starving = self._batches.empty() and len(self._outstanding) - waiting < self._unit
        return starving and self._room() > 0 and asyncio.get_running_loop().time() >= claim_from

    def _exchange(self, outcomes: list[Outcome], want: int) -> Exchange:
        """
        Exchange, in the ledger's thread; a server that restarts is waited for.

        Meanwhile what is claimed goes on being sent, and nothing more is claimed.
        """
        for attempt in Retrying(
            retry=retry_if_exception_type(LedgerUnavailableError),
            stop=stop_after_delay(LEDGER_PATIENCE) | stop_when_event_set(self._stop),
            wait=wait_exponential(0.1, max=2.0),
            sleep=sleep_using_event(self._stop),
            before_sleep=lambda state: log.warning("Waiting for the ledger: %s", state.outcome.exception()),  # type: ignore[union-attr]
            reraise=True,
        ):
            with attempt:
                again = attempt.retry_state.attempt_number > 1
                return self._exchange_once(outcomes, want, again)
        raise AssertionError("unreachable")

    def _exchange_once(self, outcomes: list[Outcome], want: int, again: bool) -> Exchange:
        # The answer may have been lost after the commit: recorded again nothing changes, but what was claimed
        # then is in no doubt, for it never left.
        return sending.exchange(
            self._ledger,
            self._owner,
            outcomes,
            want,
            # A plan that is made meanwhile is for the next engine.
            plans=self._settings.keys(),
            rate=self._rate,
            known=self._outstanding if again else None,
        )

    async def _work(self) -> None:
        while True:
            batch = await self._batches.get()
            try:
                outcomes = await self._send(batch)
            except asyncio.CancelledError:
                self._outcomes += _all(batch, State.IN_DOUBT, "cancelled while it was sent")
                raise
            except Exception as error:
                # A fault of ours: whether the batch left is not known, and the next would meet it too.
                self._stopped(error)
                outcomes = _all(batch, State.IN_DOUBT, type(error).__name__)
            self._outcomes += outcomes
            if self._worth_recording():
                self._wake.set()

    async def _send(self, batch: list[Claimed]) -> list[Outcome]:
        if self._stopping:
            return _all(batch, State.PLANNED)
        if asyncio.get_running_loop().time() > self._lease_until:
            # This process stood still, and another may be sending it by now.
            return _all(batch, State.PLANNED, "its sender's lease ran out before it left")
        left_out = [message for message in batch if self._unwanted(message.phone)]
        outcomes = _all(left_out, State.SUPPRESSED, SUPPRESSED)
        if left_out:
            batch = [message for message in batch if message not in left_out]
        return outcomes + await self._deliver(batch) if batch else outcomes

    async def _deliver(self, batch: list[Claimed]) -> list[Outcome]:
        """Send a batch in one request."""
        settings = self._settings[batch[0].plan_id]
        try:
            parameters = settings.leaving(datetime.now(UTC))
        except Exception as error:
            # It never left, and the next would meet the same.
            self._stopped(error)
            return _all(batch, State.PLANNED, type(error).__name__)
        results: list[Receipt | TelekomSmsError]
        try:
            if settings.multichannel is None:
                results = [await self._over_v1(batch[0], settings.prefer_rcs, parameters)]
            else:
                results = await self._over_v2(batch, settings, settings.multichannel, parameters)
        except TelekomSmsError as error:
            results = [error] * len(batch)
        check_at = first_check(parameters)
        return [
            self._outcome(message, result, settings, check_at)
            for message, result in zip(batch, results, strict=True)
        ]

    async def _over_v1(self, message: Claimed, prefer_rcs: bool, parameters: SmsParameters) -> Receipt:
        wire = self._transport.settings.wire
        to = wire_form(message.phone, prefer_rcs)

        def send(credential: Credential) -> Call[Receipt]:
            return v1.send_message(wire, credential, to, message.text, parameters)

        return await self._transport.run(self._transport.call(send))

    async def _over_v2(
        self,
        batch: list[Claimed],
        settings: MessageSettings,
        multichannel: Multichannel,
        parameters: SmsParameters,
    ) -> list[v2.Result]:
        recipients = [
            {
                "phone": international_form(message.phone),
                "externalId": sending.external_id(self._ledger, message.id, message.external_id),
            }
            for message in batch
        ]
        body = multichannel.body(settings.content_of(batch[0].text), parameters, recipients)
        if self._callback_url and multichannel.callback_urls is None:
            # Joined here and kept nowhere, for it holds a secret.
            body["callbackUrls"] = [{"url": self._callback_url, "types": ["dsn", "postback"]}]
        return await self._transport.run(v2.send_messages(self._transport.settings.token, body))

    def _outcome(
        self,
        message: Claimed,
        result: Receipt | TelekomSmsError,
        settings: MessageSettings,
        check_at: int | None,
    ) -> Outcome:
        if isinstance(result, TelekomSmsError):
            return self._failed(message, result, settings)
        self._trouble = 0
        return Outcome(
            message.id,
            State.ACCEPTED,
            result.message_id,
            # Over two channels that is known only later.
            None if settings.content else result.parts,
            check_at=check_at,
            keep_text=settings.keep_text,
            calls_back=self._calls_back(settings),
        )

    def _calls_back(self, settings: MessageSettings) -> bool:
        """Tell whether our receiver hears of a message; over v1 the URL stands in the key's settings."""
        if settings.multichannel is not None:
            return self._callback_url is not None and settings.multichannel.callback_urls is None
        return self._callback_url is not None and settings.parameters.callback is not False

    def _failed(self, message: Claimed, error: TelekomSmsError, settings: MessageSettings) -> Outcome:
        # The API's description may quote the text, which the ledger forgets and no log may have.
        private = (
            [message.text] if settings.content is None else private_in(settings.content.of(message.text))
        )
        secret = (self._callback_url or "").rpartition("/")[2]
        error = _without([secret, *private], error)
        reason = str(error)
        if error.stops_campaign and not self._drained.halted:
            self._stopped(error)
        if error.fate is Fate.NOT_SENT:
            return Outcome(message.id, State.PLANNED, reason=reason)
        if error.fate is Fate.REJECTED:
            self._trouble = 0
            return Outcome(message.id, State.REJECTED, reason=reason)
        self._trouble += 1
        if self._trouble >= max(TROUBLE_IN_A_ROW, 2 * self._unit):
            self._stopped(
                TransportError(f"{self._trouble} messages in a row ended in doubt, the last with: {reason}")
            )
        return Outcome(message.id, State.IN_DOUBT, reason=reason)

    @property
    def _stopping(self) -> bool:
        if self._stop.is_set() and not self._drained.halted:
            self._halt("killed")
        return bool(self._drained.halted or self._drained.stopped_by)

    def _stopped(self, error: Exception) -> None:
        if self._drained.stopped_by is None:
            log.error("The campaign stops: %s", mask_phones_in(str(error)))
            self._drained.stopped_by = error

    def _halt(self, why: str) -> None:
        if not self._drained.halted:
            log.warning("This try sends nothing more: %s", why)
            self._drained.halted = why
            self._transport.break_off()

    def _count(self, outcomes: list[Outcome]) -> None:
        fresh = Counter(outcome.state for outcome in outcomes)
        for state, number in fresh.items():
            self._drained.counts[state] = self._drained.counts.get(state, 0) + number
        self._meter.add(fresh)


def _without(private: Iterable[str], error: TelekomSmsError) -> TelekomSmsError:
    """Give an error of the API without what it repeats."""
    if not isinstance(error, ApiError):
        return error
    description = error.description
    for text in private:
        if len(text) > SHORT_TEXT:
            description = description.replace(text, "…")
    return error if description == error.description else type(error)(error.code, description)


def _all(batch: list[Claimed], state: State, reason: str | None = None) -> list[Outcome]:
    return [Outcome(message.id, state, reason=reason) for message in batch]


class _Meter:
    """Progress in the log: soon at first, then every half minute, whatever the speed; and to the observer."""

    api = "v1"

    def __init__(self, total: int, done: int, observer: Observer) -> None:
        self.total, self.done, self.earlier = done + total, done, done
        self.observer = observer
        self.fresh: Counter[State] = Counter()
        self.began = self.reported = self.told = time.monotonic()
        self.pause = REPORT_AFTER

    def add(self, fresh: Counter[State]) -> None:
        self.fresh.update(fresh)
        self.done += fresh.total() - fresh[State.PLANNED]
        now = time.monotonic()
        if now - self.reported >= self.pause:
            self.report()
            self.pause = min(2 * self.pause, REPORT_EVERY)
        elif now - self.told >= TELL_EVERY:
            self.tell()

    def report(self) -> None:
        self.reported = time.monotonic()
        told = self.tell()
        log.info(
            "Sent %d of %d, %.0f messages/s, %.0f s to go",
            told.done, told.total, told.per_second, told.seconds_left,
        )  # fmt: skip

    def tell(self) -> Sending:
        self.told = time.monotonic()
        speed = (self.done - self.earlier) / max(self.told - self.began, 1e-3)
        total = max(self.total, self.done)
        left = (total - self.done) / speed if speed else 0.0
        told = Sending(self.fresh, self.done, total, speed, left, self.api)
        self.fresh = Counter()
        self.observer.sending(told)
        return told


def run_blocking(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """
    Run a coroutine to its end from blocking code, on an event loop in a thread of its own.

    There it runs even where this thread has a loop already, and what a signal handler raises (Airflow's
    time-outs, an interrupt) cannot strike in the midst of a callback, which would swallow it: it is raised
    here, the coroutine is cancelled, and what it still has to put in order is awaited.

    :param make: makes the coroutine
    """
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def main() -> T:
        running.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await make()

    with ThreadPoolExecutor(1, "telekom-sms-loop") as thread:
        done = thread.submit(contextvars.copy_context().run, asyncio.run, main())
        try:
            return done.result()
        except BaseException:
            loop, task = running.result()
            if task is not None and not done.done():
                with contextlib.suppress(RuntimeError):  # the loop has just been closed
                    loop.call_soon_threadsafe(task.cancel)
            raise
