"""How Airflow takes events from a trigger and says which of them it has stored, from 3.3 on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_telekom_sms.triggers.events import TelekomSmsEventTrigger


class Producer(SharedStreamProducer):
    """
    Gives the batches of a trigger, and confirms those whose events are in Airflow's database.

    :param trigger: whose batches
    """

    def __init__(self, trigger: TelekomSmsEventTrigger) -> None:
        self._trigger = trigger

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield events, each with the number of its batch."""
        async for batches in self._trigger.batches():
            for batch in batches:
                yield batch.payload, batch.id

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Confirm; an event that was not stored is handed over again."""
        await self._trigger.confirm([item.broker_payload for item in batch if item.outcome.is_clean])
