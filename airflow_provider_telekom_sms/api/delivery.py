"""What becomes of a message: the statuses of the API, which of them are final, which outranks which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class DeliveryCode(StrEnum):
    """The codes of check_message and of callbacks (manual v1); each outranks those above it."""

    UNSENT = "UNSENT"
    SCHEDULED = "SCHEDULED"
    IN_GROUP = "IN_GROUP"
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    SENDING = "SENDING"
    #: The system tries up to 5 times within 60 minutes, so SENDING comes again, and SENT may follow.
    ERROR = "ERROR"
    SENT = "SENT"
    #: It was sent, and nothing more will be known, unless it is.
    UNKNOWN = "UNKNOWN"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"
    UNDELIVERABLE = "UNDELIVERABLE"
    DENIED = "DENIED"
    #: Above every failure: a message that failed on one channel may arrive on the next.
    DELIVERED = "DELIVERED"
    READ = "READ"


FINAL_SUCCESS = frozenset({DeliveryCode.DELIVERED, DeliveryCode.READ})
FINAL_FAILURE = frozenset(
    {DeliveryCode.EXPIRED, DeliveryCode.DELETED, DeliveryCode.UNDELIVERABLE, DeliveryCode.DENIED}
)
FINAL = FINAL_SUCCESS | FINAL_FAILURE | {DeliveryCode.UNKNOWN}

#: ERROR is final only once it has stood this long (manual v1, "Status parameter values").
ERROR_FINAL_AFTER = timedelta(minutes=60)

#: The numbers that older callbacks carry.
_BY_NUMBER = {
    "1": DeliveryCode.QUEUED,
    "3": DeliveryCode.SENT,
    "4": DeliveryCode.DELIVERED,
    "5": DeliveryCode.EXPIRED,
    "6": DeliveryCode.DELETED,
    "7": DeliveryCode.UNDELIVERABLE,
    "8": DeliveryCode.DENIED,
    "9": DeliveryCode.ERROR,
    "10": DeliveryCode.UNKNOWN,
    "11": DeliveryCode.SCHEDULED,
    "12": DeliveryCode.IN_GROUP,
    "14": DeliveryCode.PROCESSING,
}
_BY_TEXT: dict[str, str] = {**_BY_NUMBER, **DeliveryCode.__members__}
_RANK: dict[str, int] = {code: rank for rank, code in enumerate(DeliveryCode)}


def parse_code(value: str | int) -> str:
    """
    Read a code: a :class:`DeliveryCode` where it is known, else the text as it came, which is never final.

    :param value: a code in any case, or one of the numbers of older callbacks
    """
    text = str(value).strip()
    return _BY_TEXT.get(text.upper(), text)


def supersedes(new: str, old: str | None) -> bool:
    """
    Tell whether a code that just came replaces the one that is known.

    Reports come late, twice and in disorder. The rule is a strict order, so the end is the same for every
    order of arrival: the report that says most.

    :param new: what just came, as :func:`parse_code` gives it
    :param old: what is known, None for nothing
    """
    return old is None or _rank(new) > _rank(old)


def _rank(code: str) -> tuple[float, str]:
    """Place a code among the others; an unknown one says more than SENT, less than what is final."""
    return _RANK.get(code, _RANK[DeliveryCode.SENT] + 0.5), code


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """
    What check_message tells of a message.

    :param message_id: the id that was asked for
    :param code: a :class:`DeliveryCode`, or the text of a code that is not known
    :param status: the API's own words
    :param delivered_at: in Bratislava's zone; None where it has not arrived, or the date was unreadable
    """

    message_id: str
    code: str
    status: str
    delivered_at: datetime | None

    @property
    def is_terminal(self) -> bool:
        """Nothing more is to be expected; ERROR may become so, see :data:`ERROR_FINAL_AFTER`."""
        return self.code in FINAL

    @property
    def is_success(self) -> bool:
        """The message arrived."""
        return self.code in FINAL_SUCCESS
