"""What calls of the API return; their repr shows phone numbers masked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_telekom_sms.api.phone import mask_phone


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    The API took a message; or, where several are sent at once over API v2, what became of one of them.

    :param message_id: what :func:`~airflow_provider_telekom_sms.api.v1.check_message` is asked with
    :param to: the number, as it was sent
    :param status: the API's ``status`` of the message: ``success``; over API v2 also ``error``, ``unknown``
        (it may have been taken) or ``not_sent``, all three with an empty ``message_id``
    :param code: the API's ``code`` of the message
    :param description: the API's ``description`` of the message
    :param parts: how many parts it was split into; None where the reply has none, as in XML
    :param external_id: the caller's own id (API v2)
    """

    message_id: str
    to: str
    status: str
    code: str
    description: str
    parts: int | None
    external_id: str | None = None

    def masked(self) -> dict[str, Any]:
        """Give a plain dict, fit for XCom and logs."""
        return asdict(self) | {"to": mask_phone(self.to)}

    #: What Airflow asks for where a task returns it.
    serialize = masked

    @staticmethod
    def deserialize(data: dict[str, Any], version: int) -> Receipt:
        """Give it back, with the number masked."""
        return Receipt(**data)

    def __repr__(self) -> str:
        return _shown(self)


@dataclass(frozen=True, slots=True)
class SmsGroup:
    """A cadence group (manual v1, sms-groups)."""

    id: str
    name: str
    is_paused: bool
    note: str


@dataclass(frozen=True, slots=True)
class NumberInfo:
    """
    What the API knows of a phone number (manual v1, check_phone_number).

    :param phone_number: the number, as it was asked for
    :param exists: whether it exists
    :param operator: whose it is
    """

    phone_number: str
    exists: bool
    operator: str

    def masked(self) -> dict[str, Any]:
        """Give a plain dict, fit for XCom and logs."""
        return asdict(self) | {"phone_number": mask_phone(self.phone_number)}

    #: What Airflow asks for where a task returns it.
    serialize = masked

    @staticmethod
    def deserialize(data: dict[str, Any], version: int) -> NumberInfo:
        """Give it back, with the number masked."""
        return NumberInfo(**data)

    def __repr__(self) -> str:
        return _shown(self)


def _shown(result: Receipt | NumberInfo) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in result.masked().items())
    return f"{type(result).__name__}({fields})"
