"""Waits for delivery in the triggerer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_telekom_sms.settings import DEFAULT_CONN_ID


@cache
def _prepare() -> None:
    """
    Do what takes a triggerer's loop a quarter of a second: import, and look through all objects for garbage.

    What has grown by the import would have the collector look through all that Airflow has loaded, again and
    again. It is here to stay, and from here on nobody looks.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        for module in ("aiohttp", "airflow_provider_telekom_sms.campaign.polling"):
            import_module(module)
        gc.collect(1)  # of all that is garbage now, the young, for which this takes no time
        gc.freeze()
    finally:
        if collects:
            gc.enable()


class TelekomSmsDeliveryTrigger(BaseTrigger):
    """
    Fires once when the delivery of messages is decided.

    Its stored arguments hold no number, no text and no secret. It only asks and never sends, for Airflow may
    run a trigger twice.

    :param telekom_sms_conn_id: Airflow connection of type ``telekom_sms``
    :param campaign_id: campaign to wait for
    :param message_ids: or a short list of ids of the API
    :param ledger_id: id of the ledger that the task uses; the triggerer must see the same
    :param ledger_conn_id: Airflow connection of its database; None for what ``[telekom_sms]`` says
    :param success_statuses: delivery codes that count as delivered
    :param unknown: what UNKNOWN counts as, ``fail`` or ``success``
    :param min_success_ratio: share of messages, 0 to 1, that must be delivered
    :param wait_for_all: fire only when nothing more is to be expected of any message
    :param poll_interval: seconds between two checks of one message at least
    :param deadline: Unix time at which to give up, None for never
    """

    def __init__(
        self,
        *,
        telekom_sms_conn_id: str = DEFAULT_CONN_ID,
        campaign_id: str | None = None,
        message_ids: Sequence[str] = (),
        ledger_id: str | None = None,
        ledger_conn_id: str | None = None,
        success_statuses: Sequence[str] | None = None,
        unknown: str = "fail",
        min_success_ratio: float = 1.0,
        wait_for_all: bool = False,
        poll_interval: float = 10.0,
        deadline: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.telekom_sms_conn_id = telekom_sms_conn_id
        self.campaign_id = campaign_id
        self.message_ids = list(message_ids)
        self.ledger_id = ledger_id
        self.ledger_conn_id = ledger_conn_id
        self.success_statuses = None if success_statuses is None else list(success_statuses)
        self.unknown = unknown
        self.min_success_ratio = min_success_ratio
        self.wait_for_all = wait_for_all
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what Airflow stores to make this trigger again: plain JSON."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "telekom_sms_conn_id": self.telekom_sms_conn_id,
            "campaign_id": self.campaign_id,
            "message_ids": self.message_ids,
            "ledger_id": self.ledger_id,
            "ledger_conn_id": self.ledger_conn_id,
            "success_statuses": self.success_statuses,
            "unknown": self.unknown,
            "min_success_ratio": self.min_success_ratio,
            "wait_for_all": self.wait_for_all,
            "poll_interval": self.poll_interval,
            "deadline": self.deadline,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until delivery is decided; yield ``{"status", "delivery"}`` or ``{"status", "message"}``."""
        from airflow_provider_telekom_sms.exceptions import TelekomSmsError

        try:
            event = await self._wait()
        except TelekomSmsError as error:
            event = {"status": "error", "message": str(error)}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        await asyncio.to_thread(_prepare)
        from airflow_provider_telekom_sms.campaign.polling import Criteria, Watcher
        from airflow_provider_telekom_sms.exceptions import ConfigurationError
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
        from airflow_provider_telekom_sms.ledger import delivery
        from airflow_provider_telekom_sms.ledger.location import open_ledger
        from airflow_provider_telekom_sms.observability import TaskObserver, tags_of

        criteria = Criteria.check(
            success_statuses=self.success_statuses,
            unknown=self.unknown,
            min_success_ratio=self.min_success_ratio,
            wait_for_all=self.wait_for_all,
        )
        ledger = await asyncio.to_thread(open_ledger, self.ledger_conn_id)
        if self.ledger_id not in (None, ledger.id):
            raise ConfigurationError(
                "The triggerer sees another ledger than the task; set [telekom_sms] ledger_conn_id, or "
                "ledger_path to a file that both reach"
            )
        scope = delivery.Scope(self.campaign_id, tuple(self.message_ids))
        if self.message_ids:
            await asyncio.to_thread(delivery.watch, ledger, self.message_ids)
        async with TelekomSmsHook(self.telekom_sms_conn_id).async_transport() as transport:
            observer = TaskObserver(tags_of(self.task_instance))
            watcher = Watcher(ledger, transport, scope, interval=self.poll_interval, observer=observer)
            verdict, progress = await watcher.wait(criteria, self.deadline)
        return {"status": verdict or "timeout", "delivery": progress.by_code}
