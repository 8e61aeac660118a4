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
"""

from __future__ import annotations

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
    "rejected": (),
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


def fate_of(number: str) -> str:
    """
    Return the name of the fate that a number's last digits choose.

    :param number: the recipient, in any of the manual's formats
    """
    return _BY_DIGITS.get(number[-2:]) or _BY_DIGITS.get(number[-1:], "delivered")


def status_at(fate: str, age: float) -> tuple[str, float | None]:
    """
    Return the code at an age, and the age at which the message arrived (None: it has not).

    :param fate: one of ``FATES``
    :param age: seconds since the message was handed to delivery, times the speed
    """
    code, arrived = "QUEUED", None
    for since, candidate in FATES[fate]:
        if since > age:
            break
        code = candidate
        if arrived is None and code in ARRIVED:
            arrived = since
    return code, arrived
