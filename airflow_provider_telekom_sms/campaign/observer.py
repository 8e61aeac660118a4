"""Who is told how a try gets on. This one tells nobody; a task's tells Airflow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from airflow_provider_telekom_sms.ledger.delivery import Check, Progress, Waiting
from airflow_provider_telekom_sms.ledger.reporting import Counts
from airflow_provider_telekom_sms.ledger.store import State

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    """
    How far sending is.

    :param fresh: outcomes since it was last told, by state
    :param done: messages that have an outcome, over all tries
    :param total: messages that are to have one
    :param per_second: messages per second of this try
    :param seconds_left: until all have one, at this speed
    :param api: the version of the API that is sent over, ``v1`` or ``v2``
    """

    fresh: Mapping[State, int]
    done: int
    total: int
    per_second: float
    seconds_left: float
    api: str


class Observer:
    """
    Is told how a try gets on; what it does must never raise.

    What it is told while messages are sent or waited for, it is told on an event loop.
    """

    #: Whether it wants to know what has to be counted for it alone.
    counts = False

    def planning(self) -> None:
        """Take note that a campaign is being planned."""

    def planned(self, counts: Counts, api: str) -> None:
        """
        Take note of a plan that this try made.

        :param counts: the plan's
        :param api: as in :class:`Sending`
        """

    def left_out(self, number: int) -> None:
        """Take note of planned messages that are not to be sent after all, for they are suppressed now."""

    def sending(self, told: Sending) -> None:
        """Take note of how far sending is: now and then, and at the end."""

    def died_in_doubt(self, number: int) -> None:
        """Take note of messages that tries which were killed have left in doubt."""

    def left_in_doubt(self, number: int) -> None:
        """Take note of all that this try has left in doubt, whether it was told of it or not."""

    def ended(self, counts: Counts) -> None:
        """Take note of how the campaign stands at the end of the try."""

    def delivered(self, asked: Sequence[Waiting], checks: Sequence[Check]) -> None:
        """
        Take note of what was asked of the API.

        :param asked: messages whose delivery was not final
        :param checks: what was told of some of them
        """

    def waiting(self, progress: Progress) -> None:
        """Take note of how far delivery is."""

    def rest(self) -> None:
        """Wait until all that it was told is passed on: the event loop is done, and others use its ways."""


@contextmanager
def folded(title: str) -> Iterator[None]:
    """Fold what is logged meanwhile into one line of a task's log."""
    log.info("::group::%s", title)
    try:
        yield
    finally:
        log.info("::endgroup::")
