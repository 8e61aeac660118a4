"""
What becomes of a message: its statuses by age, chosen by the last digits of its number.

Ages are in seconds at speed 1. Every fate begins QUEUED, SENDING (0.5 s), SENT (1 s), unless its course says
otherwise.

==================  ====================  ===========================================================
number ends in      fate                  course
==================  ====================  ===========================================================
0, 5, 6, 7, 8, 9    delivered             DELIVERED (2 s)
1                   undeliverable         UNDELIVERABLE (2 s)
2                   expired               EXPIRED (2 s)
3                   slow                  DELIVERED (20 s), SENT until then
4                   error_then_delivered  ERROR (1 s), SENDING (3 s), SENT (3.5 s), DELIVERED (4 s)
91                  denied                DENIED (2 s)
92                  unknown               UNKNOWN (2 s)
93                  stuck                 SENT for ever
94                  error                 ERROR (1 s) for ever
95                  deleted               DELETED (2 s)
98                  read                  DELIVERED (2 s), READ (3 s)
99                  rejected              refused when sent: result OK, an error in ``messages[0]``
==================  ====================  ===========================================================

Two digits win over one. Before its fate begins, a message is SCHEDULED until its ``delivery_time`` (by the
clock, whatever the speed) and, with a ``groupId``, IN_GROUP for 2 s.

A number whose third digit from the end is 7 has no RCS (``Settings.rcs``).

A message of v2 goes over its channels in their order until it arrives. On each it meets its fate, except that
over RCS

- a number without RCS leaves it SENDING until its ttl is over;
- a file, media or thumbnail whose URL contains ``/missing`` makes it UNDELIVERABLE (1 s).

What has no final status when its ttl is over is EXPIRED. A channel without a ttl never expires if it is the
last and meets its fate; otherwise its ttl is 60 s. A failure stands for ``Settings.fallback_gap`` before the
next channel begins, QUEUED again; that of the last channel is final.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

Course = tuple[tuple[float, str], ...]

STATUSES = {
    "UNSENT": "Not sent",
    "SCHEDULED": "Scheduled",
    "QUEUED": "Queued",
    "SENDING": "Sending",
    "SENT": "Sent",
    "DELIVERED": "Delivered",
    "EXPIRED": "Expired",
    "DELETED": "Deleted",
    "UNDELIVERABLE": "Undeliverable",
    "DENIED": "Denied",
    "IN_GROUP": "In group",
    "READ": "Read",
    "PROCESSING": "Processing",
    "ERROR": "Error",
    "UNKNOWN": "Unknown",
}
"""The manual's codes and their prose (check_message, "Status parameter values")."""

ARRIVED = frozenset({"DELIVERED", "READ"})
IN_GROUP_SECONDS = 2.0
DEFAULT_TTL_SECONDS = 60.0

_FINAL = ARRIVED | {"EXPIRED", "DELETED", "UNDELIVERABLE", "DENIED", "UNKNOWN"}

_QUEUE: Course = ((0.0, "QUEUED"), (0.5, "SENDING"))
_SENT: Course = (*_QUEUE, (1.0, "SENT"))

FATES: dict[str, Course] = {
    "delivered": (*_SENT, (2.0, "DELIVERED")),
    "undeliverable": (*_SENT, (2.0, "UNDELIVERABLE")),
    "expired": (*_SENT, (2.0, "EXPIRED")),
    "slow": (*_SENT, (20.0, "DELIVERED")),
    "error_then_delivered": (
        *_QUEUE,
        (1.0, "ERROR"),
        (3.0, "SENDING"),
        (3.5, "SENT"),
        (4.0, "DELIVERED"),
    ),
    "denied": (*_SENT, (2.0, "DENIED")),
    "unknown": (*_SENT, (2.0, "UNKNOWN")),
    "stuck": _SENT,
    "error": (*_QUEUE, (1.0, "ERROR")),
    "deleted": (*_SENT, (2.0, "DELETED")),
    "read": (*_SENT, (2.0, "DELIVERED"), (3.0, "READ")),
    "rejected": _QUEUE[:1],
}

_BY_DIGITS = {
    "1": "undeliverable",
    "2": "expired",
    "3": "slow",
    "4": "error_then_delivered",
    "91": "denied",
    "92": "unknown",
    "93": "stuck",
    "94": "error",
    "95": "deleted",
    "98": "read",
    "99": "rejected",
}


OBSTACLES: dict[str, Course] = {
    "no_rcs": _QUEUE,
    "no_file": (*_QUEUE, (1.0, "UNDELIVERABLE")),
}
"""What can stand between a message and its fate on a channel."""


class Channel(NamedTuple):
    """
    A channel that a message may take.

    :param type: rcs or sms
    :param ttl: seconds until the next channel has its turn
    :param obstacle: one of ``OBSTACLES``
    """

    type: str
    ttl: float | None = None
    obstacle: str | None = None


class Step(NamedTuple):
    """
    A status on the way of a message.

    :param since: when it begins, in seconds
    :param code: the status
    :param channel: rcs or sms
    """

    since: float
    code: str
    channel: str


def fate_of(number: str) -> str:
    """
    Return the name of the fate that a number's last digits choose.

    :param number: the recipient, in any of the manual's formats
    """
    return _BY_DIGITS.get(number[-2:]) or _BY_DIGITS.get(number[-1:], "delivered")


def has_rcs(number: str) -> bool:
    """
    Whether the phone of a number knows RCS, by the third digit from the end.

    :param number: the recipient, in any of the manual's formats
    """
    return number[-3:-2] != "7"


@lru_cache(maxsize=1024)
def steps_of(fate: str, channels: tuple[Channel, ...], gap: float) -> tuple[Step, ...]:
    """
    Return the statuses of a message by its age.

    :param fate: one of ``FATES``
    :param channels: the channels, by priority
    :param gap: seconds for which the failure of a channel stands before the next one has its turn
    """
    steps: list[Step] = []
    begins = 0.0
    for channel in channels:
        leg = _leg(fate, channel, is_last=channel is channels[-1])
        steps += [Step(begins + age, code, channel.type) for age, code in leg]
        if any(code in ARRIVED for _, code in leg):
            break
        begins = steps[-1].since + gap
    return tuple(steps)


def _leg(fate: str, channel: Channel, *, is_last: bool) -> Course:
    course = OBSTACLES[channel.obstacle] if channel.obstacle else FATES[fate]
    ttl = channel.ttl or (math.inf if is_last and not channel.obstacle else DEFAULT_TTL_SECONDS)
    in_time = tuple(step for step in course if step[0] <= ttl)
    if any(code in _FINAL for _, code in in_time):
        return course
    return in_time if math.isinf(ttl) else (*in_time, (ttl, "EXPIRED"))


def status_at(fate: str, age: float) -> tuple[str, float | None]:
    """
    Return the code at an age, and the age at which a message over one channel arrived (None: it has not).

    :param fate: one of ``FATES``
    :param age: seconds since the message was handed to delivery, times the speed
    """
    return latest([step for step in steps_of(fate, (Channel("sms"),), 0) if step.since <= age])


def latest(steps: Sequence[Step]) -> tuple[str, float | None]:
    """
    Return the code of the last step, and when the message arrived (None: it has not).

    :param steps: the steps taken so far
    """
    return steps[-1].code, next((step.since for step in steps if step.code in ARRIVED), None)
