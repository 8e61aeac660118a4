"""What operators and the sensor make of the delivery trigger's event."""

from __future__ import annotations

from typing import Any

from airflow_provider_telekom_sms.exceptions import DeliveryError


def read_event(event: Any) -> tuple[str, dict[str, int]]:
    """
    Read the event of :class:`~airflow_provider_telekom_sms.triggers.telekom_sms.TelekomSmsDeliveryTrigger`.

    :return: ``success``, ``failure`` or ``timeout``, and the messages by delivery code
    :raises DeliveryError: for no event, an event that is not the trigger's, and one that tells of an error
    """
    if not isinstance(event, dict) or "status" not in event:
        raise DeliveryError(f"The trigger gave no event that can be read: {type(event).__name__}")
    status = event["status"]
    if status == "error":
        raise DeliveryError(f"Waiting for delivery failed: {event.get('message')}")
    if status not in ("success", "failure", "timeout") or not isinstance(event.get("delivery"), dict):
        raise DeliveryError(f"The trigger gave an unknown event: {status!r}")
    return status, event["delivery"]


def describe(by_code: dict[str, int]) -> str:
    """Say in words what is known of the delivery."""
    return (
        ", ".join(f"{number} {code or 'not asked yet'}" for code, number in sorted(by_code.items())) or "none"
    )
