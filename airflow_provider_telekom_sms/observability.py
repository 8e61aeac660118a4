"""
What Airflow is told while messages are sent and waited for: metrics, and progress in the task state store.

Metrics go where Airflow's own go, to StatsD, Datadog or OpenTelemetry as ``[metrics]`` says. Neither they nor
the progress hold a number, a text or the id of a campaign. Whatever fails here fails nothing else.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from airflow_provider_telekom_sms.api.delivery import FINAL, FINAL_SUCCESS, DeliveryReport
from airflow_provider_telekom_sms.campaign.observer import Observer, Sending
from airflow_provider_telekom_sms.ledger import callbacks, delivery
from airflow_provider_telekom_sms.ledger.callbacks import Received
from airflow_provider_telekom_sms.ledger.delivery import Check, Progress, Scope, Waiting
from airflow_provider_telekom_sms.ledger.reporting import Counts
from airflow_provider_telekom_sms.ledger.store import NEVER_SENT, Ledger, State

log = logging.getLogger(__name__)

Tags = Mapping[str, str]

#: The key of a task's progress in its state store (Airflow 3.3).
PROGRESS = "telekom_sms_progress"
#: Seconds between two times that progress is stored: each is a request to Airflow's API server.
STORE_EVERY = 10.0
#: Seconds that Airflow may take to store it.
PATIENCE = 5.0
#: Later than any time of the ledger, milliseconds since 1970.
FOREVER = 2**62
#: Latencies that are measured of what became final in one go; they stand for all of it.
MEASURED = 50


@cache
def metrics_on() -> bool:
    """Tell whether Airflow has somewhere to send metrics; in one process that does not change."""
    from airflow.providers.common.compat.sdk import conf

    switches = ("statsd_on", "statsd_datadog_enabled", "otel_on")
    return any(conf.getboolean("metrics", switch, fallback=False) for switch in switches)


def count(name: str, number: int = 1, tags: Tags | None = None) -> None:
    """
    Increment a counter.

    :param name: what follows ``telekom_sms.``
    """
    if number > 0 and metrics_on():
        _tell_stats(lambda stats: stats.incr(f"telekom_sms.{name}", number, tags=dict(tags or {})))


def measure(name: str, seconds: Iterable[float], tags: Tags | None = None) -> None:
    """
    Give durations; of many, some that stand for them all: evenly spread over their ranks.

    :param name: what follows ``telekom_sms.``
    """
    ranked = sorted(seconds) if metrics_on() else []
    shown = min(len(ranked), MEASURED)
    for number in range(shown):
        duration = timedelta(seconds=ranked[(2 * number + 1) * len(ranked) // (2 * shown)])
        _tell_stats(lambda stats, dt=duration: stats.timing(f"telekom_sms.{name}", dt, tags=dict(tags or {})))


def _tell_stats(tell: Callable[..., None]) -> None:
    from airflow.providers.common.compat.sdk import Stats

    try:
        tell(Stats)
    except Exception as error:
        log.debug("A metric was lost: %s", type(error).__name__)


def tags_of(ti: Any) -> dict[str, str]:
    """Give the tags of a task instance, as Airflow's own metrics have them; none without one."""
    if ti is None:
        return {}
    return getattr(ti, "stats_tags", None) or {"dag_id": ti.dag_id, "task_id": ti.task_id}


def count_delivered(finals: Collection[tuple[str, float | None]], tags: Tags | None = None) -> None:
    """
    Count messages whose delivery has become final.

    :param finals: of each its delivery code, and the seconds from acceptance to delivery where it was
        delivered and the API said when
    """
    for code, number in Counter(code for code, _ in finals).items():
        name = "delivered" if code in FINAL_SUCCESS else "undelivered"
        count(f"delivery.{name}", number, {**(tags or {}), "status": code})
    measure("delivery.latency", [took for _, took in finals if took is not None], tags)


def receive(ledger: Ledger, received: Sequence[Received], stop_words: Collection[str]) -> int:
    """
    Store callbacks as :func:`~.ledger.callbacks.receive` does, and count them.

    :return: how many were not there yet
    """
    reports = (
        {report.message_id: report for report in map(_final, received) if report} if metrics_on() else {}
    )
    ids = tuple(map(str, reports))
    open_ = delivery.due(ledger, Scope(message_ids=ids), len(ids), until=FOREVER)[1] if ids else []
    new = callbacks.receive(ledger, received, stop_words)
    count("callbacks.stored", new)
    count("callbacks.known", len(received) - new)
    finals = []
    for waiting in open_:
        told = reports[waiting.message_id]
        # With another channel to come a failure is not final yet.
        if delivery.patience(told.code, fallback=waiting.fallback, ttl=waiting.ttl) == 0:
            at = None if told.at is None else int(told.at.timestamp() * 1000)
            finals.append((told.code, latency(told.code, waiting.accepted_at, at)))
    count_delivered(finals)
    return new


def _final(received: Received) -> DeliveryReport | None:
    told = received.callback
    return told if isinstance(told, DeliveryReport) and told.message_id and told.code in FINAL else None


def latency(code: str | None, accepted_at: int, delivered_at: int | None) -> float | None:
    """Give the seconds from acceptance to delivery; both times in milliseconds since 1970 UTC."""
    if code not in FINAL_SUCCESS or delivered_at is None:
        return None
    # By two clocks, and the API's has whole seconds.
    return max(0.0, (delivered_at - accepted_at) / 1000)


class TaskObserver(Observer):
    """
    Tells Airflow how a try gets on; while messages are sent or waited for, from a thread of its own.

    :param tags: of all metrics
    :param store: the task state store; None where there is none
    """

    def __init__(self, tags: Tags | None = None, store: Any = None) -> None:
        self.counts = metrics_on()
        self._tags, self._store = dict(tags or {}), store
        #: What is known of the API that messages are sent over.
        self._api: dict[str, str] = {}
        self._doubts = 0
        #: Counted with what comes next, when it is known over which API.
        self._owed: Counter[State] = Counter()
        self._stored_at = -STORE_EVERY
        self._storing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, "telekom-sms-observer")

    def planning(self) -> None:
        self._set_now("planning", {})

    def planned(self, counts: Counts, api: str) -> None:
        self._api = {"api": api}
        self._count({state: getattr(counts, state.value) for state in NEVER_SENT})

    def sending(self, told: Sending) -> None:
        self._api = {"api": told.api}
        self._doubts += told.fresh.get(State.IN_DOUBT, 0)
        self._thread.submit(self._count, Counter(told.fresh) + self._take_owed())
        self._set_later(
            "sending",
            done=told.done,
            total=told.total,
            messages_per_second=round(told.per_second, 1),
            seconds_left=round(told.seconds_left),
        )

    def left_out(self, number: int) -> None:
        self._owed[State.SUPPRESSED] += number

    def died_in_doubt(self, number: int) -> None:
        self._owed[State.IN_DOUBT] += max(0, number)

    def left_in_doubt(self, number: int) -> None:
        self._owed[State.IN_DOUBT] += max(0, number - self._doubts)
        self._count(self._take_owed())

    def ended(self, counts: Counts) -> None:
        self._set_now("ended", {state.value: getattr(counts, state.value) for state in State})

    def delivered(self, asked: Sequence[Waiting], checks: Sequence[Check]) -> None:
        if not self.counts:
            return
        accepted_at = {waiting.id: waiting.accepted_at for waiting in asked}
        finals = [
            (check.code, latency(check.code, accepted_at[check.id], check.delivered_at))
            for check in checks
            if check.is_final and check.code
        ]
        self._thread.submit(count_delivered, finals, self._tags)

    def waiting(self, progress: Progress) -> None:
        by_code = {code or "not asked yet": number for code, number in progress.by_code.items()}
        final = sum(progress.final_by_code.values())
        self._set_later("delivery", done=final, total=progress.total, delivery=by_code)

    def waited(self, by_code: Mapping[str, int]) -> None:
        """
        Take note that delivery is final.

        :param by_code: accepted messages by delivery status
        """
        total = sum(by_code.values())
        self._set_now("delivered", {"done": total, "total": total, "delivery": dict(by_code)})

    def rest(self) -> None:
        with suppress(TimeoutError):
            self._thread.submit(lambda: None).result(PATIENCE)

    def _take_owed(self) -> Counter[State]:
        owed, self._owed = self._owed, Counter()
        return owed

    def _count(self, outcomes: Mapping[State, int]) -> None:
        for state, number in outcomes.items():
            if state is not State.PLANNED:
                count(f"messages.{state.value}", number, self._tags | self._api)

    def _set_later(self, phase: str, **facts: Any) -> None:
        now = time.monotonic()
        if self._store is None or now - self._stored_at < STORE_EVERY:
            return
        if self._storing is None or self._storing.done():
            self._stored_at = now
            self._storing = self._thread.submit(self._set, phase, facts)

    def _set_now(self, phase: str, facts: Mapping[str, Any]) -> None:
        """Store it before anything else is asked of Airflow; a store that hangs is then left alone."""
        if self._store is not None:
            try:
                self._thread.submit(self._set, phase, facts).result(PATIENCE)
            except TimeoutError:
                self._store = None

    def _set(self, phase: str, facts: Mapping[str, Any]) -> None:
        if self._store is None:
            return
        at = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._store.set(PROGRESS, {"phase": phase, **facts, "at": at})
        except Exception as error:
            # That of a try that is superseded, too.
            log.debug("Progress could not be stored: %s", type(error).__name__)
