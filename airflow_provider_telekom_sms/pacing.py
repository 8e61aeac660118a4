"""How many requests may be under way: fewer once the API has had enough, then one more for every round."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress

from airflow_provider_telekom_sms.exceptions import RateLimitedError


class Pace:
    """
    Lets requests leave.

    After HTTP 429 nothing leaves before the time that the API asks to wait, and then half as many at once.
    Whenever as many were answered as may be under way, one more may.

    :param most: how many may be under way when the API is content
    :param patience: seconds; who would have to wait longer is refused
    """

    def __init__(self, most: int, patience: float) -> None:
        self._most = self._allowed = most
        self._under_way = self._answered = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open_at = self._slowed_at = 0.0
        self._patience = patience
        self._broken_off = asyncio.Event()

    @property
    def allowed(self) -> int:
        """How many may be under way now."""
        return self._allowed

    async def begin(self) -> float:
        """
        Wait for a turn; :meth:`end` has to follow.

        :return: when it began, by the loop's clock
        :raises RateLimitedError: when the API asks to wait longer than the patience; nothing was sent
        """
        loop = asyncio.get_running_loop()
        await self._turn(loop)
        try:
            while (ahead := self._open_at - loop.time()) > 0:
                if ahead > self._patience:
                    raise RateLimitedError("HTTP 429: too many requests", retry_after=ahead)
                await self.sleep(ahead + random.uniform(0, 0.1))  # noqa: S311 not for secrets
        except BaseException:
            self.end()
            raise
        return loop.time()

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._under_way < self._allowed:
            self._under_way += 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.end()  # it was given in the same moment
            raise

    def _admit(self) -> None:
        while self._waiting and self._under_way < self._allowed:
            turn = self._waiting.popleft()
            if not turn.done():
                self._under_way += 1
                turn.set_result(None)

    def end(self) -> None:
        """Give a turn back."""
        self._under_way -= 1
        self._admit()

    def answered(self) -> None:
        """Note an answer other than HTTP 429."""
        if self._allowed == self._most:
            return
        self._answered += 1
        if self._answered >= self._allowed:
            self._answered = 0
            self._allowed += 1
            self._admit()

    def slow_down(self, began: float, retry_after: float | None) -> None:
        """
        Note HTTP 429.

        :param began: when its request began; those of one round slow down once
        :param retry_after: seconds the API asks to wait, if it says so
        """
        now = asyncio.get_running_loop().time()
        self._open_at = max(self._open_at, now + (retry_after or 0.0))
        if began >= self._slowed_at:
            self._slowed_at, self._answered = now, 0
            self._allowed -= self._allowed // 2

    def break_off(self) -> None:
        """Let nobody wait any more."""
        self._broken_off.set()

    async def sleep(self, seconds: float) -> None:
        """
        Wait.

        :raises RateLimitedError: when the wait is broken off
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._broken_off.wait()
            raise RateLimitedError("The wait for another try was broken off")
