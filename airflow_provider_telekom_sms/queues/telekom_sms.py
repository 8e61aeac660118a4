"""Answers and finished campaigns as a queue of ``MessageQueueTrigger`` (provider common.messaging)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

try:
    from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider
except ImportError:
    # Without that provider nobody asks for a queue.
    BaseMessageQueueProvider = object  # type: ignore[misc,assignment]

if TYPE_CHECKING:
    from airflow_provider_telekom_sms.triggers.events import TelekomSmsEventTrigger

SCHEME = "telekom-sms"


class TelekomSmsQueueProvider(BaseMessageQueueProvider):
    """
    Makes ``MessageQueueTrigger(scheme="telekom-sms", kind="postback", …)`` a ``TelekomSmsEventTrigger``.

    The older form ``queue="telekom-sms://postback"`` names the kind.
    """

    scheme = SCHEME

    def queue_matches(self, queue: str) -> bool:
        """Tell whether a queue is one of ours."""
        return urlsplit(queue).scheme == SCHEME

    def trigger_class(self) -> type[TelekomSmsEventTrigger]:
        """Give the trigger that stands behind the queue."""
        from airflow_provider_telekom_sms.triggers.events import TelekomSmsEventTrigger

        return TelekomSmsEventTrigger

    def trigger_kwargs(self, queue: str, **kwargs: Any) -> dict[str, Any]:
        """Give the parameters that a queue's name stands for."""
        return {"kind": urlsplit(queue).netloc}
