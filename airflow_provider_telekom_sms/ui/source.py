"""The ledger behind the page, and what was counted in it lately."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.exceptions import TelekomSmsError
from airflow_provider_telekom_sms.ledger import overview
from airflow_provider_telekom_sms.ledger.overview import Campaign, Details, Figures
from airflow_provider_telekom_sms.ledger.store import Ledger

log = logging.getLogger(__name__)

#: Seconds that a page waits for what is being counted, before it shows what was counted last.
PATIENCE = 0.25
#: Counting may take so large a share of the time, and figures are as old as that at least, seconds.
SHARE, YOUNGEST = 0.1, 1.0
#: Seconds for which figures are kept where nothing is left to happen.
OLDEST = 600.0
#: Campaigns whose figures are kept.
MOST = 5_000
#: How many are counted at once.
COUNTERS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    version: Hashable
    fresh_until: float
    young_until: float


class Kept(Generic[T]):
    """
    What takes long to find out, kept while it is fresh and found out anew in the background.

    :param threads: where it is found out
    :param is_last: tells whether it is to change no more
    """

    def __init__(self, threads: ThreadPoolExecutor, is_last: Callable[[T], bool]) -> None:
        self._threads, self._is_last = threads, is_last
        self._kept: OrderedDict[int, _Kept[T]] = OrderedDict()
        self._running: dict[int, Future[None]] = {}
        self._lock = threading.Lock()

    def get(
        self, key: int, version: Hashable, find_out: Callable[[], T], patience: float = PATIENCE
    ) -> T | None:
        """
        Give what is known, which may be a little old; None where it is not found out yet.

        :param version: where this is another, what is known is old at once
        :param patience: seconds to wait for what is not fresh
        """
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(key)
            if kept and kept.version == version and now < kept.fresh_until:
                return kept.value
            running = self._running.get(key)
            if running is None:
                running = self._running[key] = self._threads.submit(self._find, key, version, find_out)
        if not (kept and kept.version == version and now < kept.young_until):
            with contextlib.suppress(NotYet):
                running.result(max(0.0, patience))
        with self._lock:
            kept = self._kept.get(key)
        return kept.value if kept else None

    def _find(self, key: int, version: Hashable, find_out: Callable[[], T]) -> None:
        began = time.monotonic()
        try:
            value = find_out()
            now = time.monotonic()
            fresh_for = max(YOUNGEST, (now - began) / SHARE)
            fresh_until = now + (OLDEST if self._is_last(value) else fresh_for)
            with self._lock:
                self._kept[key] = _Kept(value, version, fresh_until, now + 3 * fresh_for)
                self._kept.move_to_end(key)
                while len(self._kept) > MOST:
                    self._kept.popitem(last=False)
        finally:
            with self._lock:
                del self._running[key]

    def clear(self) -> None:
        """Forget all of it."""
        with self._lock:
            self._kept.clear()


class Source:
    """
    The ledger that the page shows.

    :param find_url: tells where it is
    """

    def __init__(self, find_url: Callable[[], URL]) -> None:
        self._find_url = find_url
        self._ledger: Ledger | None = None
        self._file: tuple[int, int] | None = None
        self._counted: Hashable = None
        self._lock = threading.Lock()
        threads = ThreadPoolExecutor(COUNTERS, "telekom-sms-counting")
        self._figures: Kept[Figures] = Kept(threads, lambda found: not (found.unsent or found.on_the_way))
        self._details: Kept[Details] = Kept(threads, lambda found: False)

    def ledger(self) -> Ledger | None:
        """
        Give the ledger; None where there is none yet.

        :raises TelekomSmsError: when it cannot be opened; says what to do
        """
        with self._lock:
            if self._ledger is not None and self._file != _file_of(self._ledger.url):
                self._close()
            if self._ledger is None:
                url = self._find_url()
                self._ledger, self._file = overview.find(url), _file_of(url)
                self._forget_others(self._ledger.id if self._ledger else None)
            return self._ledger

    def _forget_others(self, ledger_id: str | None) -> None:
        """Keep figures only while they are those of the same ledger."""
        if (ledger_id, self._file) != self._counted:
            self._figures.clear()
            self._details.clear()
        self._counted = (ledger_id, self._file)

    def lose(self) -> None:
        """Open it anew next time, for something is wrong with it."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
        self._ledger = None

    def figures(self, ledger: Ledger, campaign: Campaign, patience: float = PATIENCE) -> Figures | None:
        """Give how far a campaign is; None where it is being counted."""
        find_out = _logged(lambda: overview.figures(ledger, campaign.number))
        return self._figures.get(campaign.number, campaign.version, find_out, patience)

    def details(
        self, ledger: Ledger, campaign: Campaign, figures: Figures, patience: float = PATIENCE
    ) -> Details | None:
        """Give what takes longer; None where it is being found out."""
        find_out = _logged(lambda: overview.details(ledger, campaign, figures))
        return self._details.get(campaign.number, campaign.version, find_out, patience)


def _logged(find_out: Callable[[], T]) -> Callable[[], T]:
    """Say what went wrong, for nobody may be waiting to hear of it."""

    def run() -> T:
        try:
            return find_out()
        except TelekomSmsError as error:
            log.warning("A campaign could not be counted: %s", error)
            raise

    return run


def _file_of(url: URL) -> tuple[int, int] | None:
    """Tell a file from another one of the same name: one that was deleted can still be read."""
    if url.get_backend_name() != "sqlite":
        return None
    try:
        status = Path(str(url.database)).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
