"""
Faults that a test can order.

=============  =============================================================================================
name           what happens (* the option ``taken`` chooses whether the API handles the request)
=============  =============================================================================================
hang           * handled, then no reply for ``seconds``; not handled: the connection is aborted after them
drop_before    the connection is aborted, nothing was taken
drop_after     handled, then the connection is aborted without a reply
429            plain text; ``retry_after`` seconds (or a header verbatim), ``as_date`` for an HTTP date;
               with ``per_second`` only what comes more often
503            * plain text; not handled unless ``taken``
html           * HTTP 200 with a page; not handled unless ``taken``
cut            handled, half the reply is sent under the whole Content-Length, then the connection closes
empty          * handled, HTTP 200 with an empty body
huge           handled, the reply is followed by ``megabytes`` of blanks
expire         the session of the request dies: SESSION_NOT_FOUND
expire_every   all sessions die at every ``every``-th request
error          handled up to ``code`` and ``description`` instead of success, at ``level`` result or message;
               v2 answers HTTP 400, and at ``level`` body HTTP 200 with ``{"error": {"code": …}}``
redirect       302 to ``location``, not handled
ip             IP_NOT_ALLOWED from then on, until the faults are cleared
credit         NO_CREDIT; with ``after=K`` once K messages were taken
=============  =============================================================================================

Which requests are hit: those to ``endpoint`` ("*" for all, ``messages`` for that of v2), one of whose
recipients is in ``numbers``, and one of whose messages comes after ``after`` others since the order; of
these, counted from 1, every ``every``-th, those in ``at``, or a ``share`` drawn with ``seed``; and no more
than ``times``. Of several faults the first that hits wins. Those of sessions spare v2, which has none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from random import Random
from typing import Any

from airflow_provider_telekom_sms.simulator.judge import ENDPOINTS
from airflow_provider_telekom_sms.simulator.judge_v2 import ENDPOINT as V2

HANDLED = {
    "hang": True,
    "drop_before": False,
    "drop_after": True,
    "429": False,
    "503": False,
    "html": False,
    "cut": True,
    "empty": True,
    "huge": True,
    "expire": True,
    "expire_every": True,
    "error": True,
    "redirect": False,
    "ip": True,
    "credit": True,
}
"""The faults, and whether the API handles a request that they hit."""

_TAKEN_IS_AN_OPTION = ("hang", "503", "html", "empty")
_OF_SESSIONS = ("expire", "expire_every")
_LEVELS: dict[str, tuple[str, ...]] = {
    "result": ("*", *ENDPOINTS, V2),
    "message": ("send_message", V2),
    "body": (V2,),
}


@dataclass(kw_only=True)
class Fault:
    """
    A fault to order; the module's text says what each does and which requests it hits.

    :param name: one of ``HANDLED``
    :param endpoint: the endpoint it hits, ``"*"`` for all
    :param times: hit at most so many requests
    :param every: hit every k-th request
    :param at: hit these requests, counted from 1
    :param numbers: hit only these recipients, in any of the manual's formats
    :param share: hit this share of the requests
    :param seed: the seed of ``share``
    :param after: spare so many messages since the order
    :param taken: for hang, 503, html and empty: whether the API handles the request
    :param seconds: for hang
    :param retry_after: for 429: seconds, or a header verbatim
    :param as_date: for 429: write ``retry_after`` as an HTTP date
    :param per_second: for 429: so many requests a second are let through
    :param code: for error; a number is answered as one
    :param description: for error
    :param level: for error: ``result``, ``message`` or ``body``
    :param location: for redirect
    :param megabytes: for huge
    """

    name: str = field(kw_only=False)
    endpoint: str = "send_message"
    times: int | None = None
    every: int | None = None
    at: Collection[int] | None = None
    numbers: Collection[str] | None = None
    share: float | None = None
    seed: int = 0
    after: int = 0
    taken: bool | None = None
    seconds: float = 60.0
    retry_after: float | str | None = None
    as_date: bool = False
    per_second: float | None = None
    code: str | int = "UNKNOWN_ERROR"
    description: str = ""
    level: str = "result"
    location: str = "/elsewhere"
    megabytes: int = 64
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Refuse an order that could never mean anything."""
        if self.name not in HANDLED:
            raise ValueError(f"no fault {self.name!r}; there are {', '.join(HANDLED)}")
        if self.endpoint not in ("*", *ENDPOINTS, V2):
            raise ValueError(f"no endpoint {self.endpoint!r}; there are *, {', '.join(ENDPOINTS)}, {V2}")
        if self.level not in _LEVELS:
            raise ValueError(f"no level {self.level!r}; there are {', '.join(_LEVELS)}")
        if self.endpoint not in _LEVELS[self.level]:
            raise ValueError(f"level {self.level} is for {', '.join(_LEVELS[self.level])} only")
        if self.endpoint == V2 and self.name in _OF_SESSIONS:
            raise ValueError("v2 has no sessions")
        if self.taken is not None and self.name not in _TAKEN_IS_AN_OPTION:
            raise ValueError(f"taken is no option of {self.name!r}")
        if self.name == "expire_every" and self.every is None:
            raise ValueError("expire_every needs every")
        for name in ("times", "every", "after", "seed", "megabytes"):
            if not isinstance(getattr(self, name), (int, type(None))):
                raise ValueError(f"{name} must be an integer")
        if self.every is not None and self.every < 1:
            raise ValueError("every starts at 1")
        self.seconds = float(self.seconds)
        self.share = None if self.share is None else float(self.share)
        self.at = None if self.at is None else frozenset(self.at)
        if self.numbers is not None:
            numbers = [self.numbers] if isinstance(self.numbers, str) else self.numbers
            self.numbers = frozenset(_significant(number) for number in numbers)
        if self.per_second is not None:
            self.per_second = float(self.per_second)
            if self.name != "429" or not 0 < self.per_second < math.inf:
                raise ValueError("per_second is an option of 429, and more than 0")
        self._random = Random(self.seed)  # noqa: S311 - repeatable, not secret
        self._full_at = 0.0

    @property
    def handled(self) -> bool:
        """Whether the API handles a request that this fault hits."""
        return HANDLED[self.name] if self.taken is None else self.taken

    def hit(self, endpoint: str, numbers: Sequence[str], messages: int) -> bool:
        """
        Count a request and say whether the fault hits it.

        :param endpoint: the endpoint asked
        :param numbers: its recipients
        :param messages: how many messages were taken since the fault was ordered
        """
        if self.endpoint not in ("*", endpoint) or messages + max(len(numbers), 1) <= self.after:
            return False
        if endpoint == V2 and self.name in _OF_SESSIONS:
            return False
        if self.numbers is not None and not any(_significant(number) in self.numbers for number in numbers):
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.seen += 1
        chosen = (
            (self.every is None or self.seen % self.every == 0)
            and (self.at is None or self.seen in self.at)
            and (self.share is None or self._random.random() < self.share)
            and (self.per_second is None or self._is_too_often(self.per_second))
        )
        self.hits += chosen
        return chosen

    def _is_too_often(self, per_second: float) -> bool:
        """Tell whether there is no token left in the bucket, which holds those of a tenth of a second."""
        full_at = max(self._full_at, time.monotonic()) + 1 / per_second
        if full_at > time.monotonic() + max(0.1, 1 / per_second):
            return True
        self._full_at = full_at
        return False

    def shown(self) -> dict[str, Any]:
        """Return the order and its counters as JSON can hold them."""
        return {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(self).items()}


def from_json(order: Mapping[str, Any]) -> Fault:
    """
    Read an order that came over HTTP.

    :param order: the parameters of ``Fault``
    """
    known = {f.name for f in fields(Fault) if f.init}
    if unknown := set(order) - known:
        raise ValueError(f"no option {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    if "name" not in order:
        raise ValueError("a fault needs a name")
    return Fault(**order)


def _significant(number: str) -> str:
    # The last nine digits are what 4219…, +4219… and 09… share.
    return number[-9:]
