"""Turns what people answer, and campaigns that are finished, into asset events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_telekom_sms.exceptions import ConfigurationError, TelekomSmsError
from airflow_provider_telekom_sms.ledger import callbacks, events
from airflow_provider_telekom_sms.ledger.events import Batch, Watch
from airflow_provider_telekom_sms.settings import stop_words

if TYPE_CHECKING:
    from airflow_provider_telekom_sms.triggers.producer import Producer

log = logging.getLogger(__name__)

#: Seconds after which a batch is handed over again that Airflow was never heard to have stored.
AGAIN = 900.0
#: Seconds that Airflow before 3.3, which does not say so, surely has stored an event after.
STORED = 30.0
#: Seconds between two tries to reach a ledger that is away, at most.
PATIENCE = 60.0


class TelekomSmsEventTrigger(BaseEventTrigger):
    """
    Starts DAGs when people answer, or when a campaign is finished; for an ``AssetWatcher``.

    What came since the last event makes one event. It holds counts, no numbers and no texts; the DAG gets the
    answers themselves from :func:`airflow_provider_telekom_sms.events.answers`. Each is in one event of this
    trigger, whatever dies in between. In the texts ``*`` stands for anything.

    :param kind: ``postback`` (a button was tapped), ``inbound`` (somebody wrote), ``campaign_sent``,
        ``campaign_delivered``, or a list of these
    :param campaign_id: only these campaigns, one or a list; None for all
    :param postback_data: only these buttons, one or a list; None for all
    :param text: only inbound messages that say this, in any case, one or a list; None for all
    :param name: what it goes on under when the other parameters change. Without one, a change of ``kind``,
        ``campaign_id``, ``postback_data`` or ``text`` makes it a new one, which begins at ``since``
    :param ledger_conn_id: Airflow connection of the ledger's database; None for what ``[telekom_sms]`` says
    :param poll_interval: seconds between two looks into the ledger
    :param batch_size: answers, or campaigns, in one event at most
    :param since: where a new one begins: ``now``, or at the ``beginning`` of what the ledger holds
    :raises ConfigurationError: naming the parameter, what was found and what is allowed
    """

    def __init__(
        self,
        kind: str | Sequence[str],
        *,
        campaign_id: str | Sequence[str] | None = None,
        postback_data: str | Sequence[str] | None = None,
        text: str | Sequence[str] | None = None,
        name: str | None = None,
        ledger_conn_id: str | None = None,
        poll_interval: float = 5.0,
        batch_size: int = 1_000,
        since: str = "now",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = Watch.check(
            kind=kind, campaign_id=campaign_id, postback_data=postback_data, text=text, name=name, since=since
        )
        self.ledger_conn_id = ledger_conn_id
        self.poll_interval = float(_number("poll_interval", poll_interval, 0.05, 3_600))
        self.batch_size = int(_number("batch_size", batch_size, 1, 10_000))
        self._desk: _Desk | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what Airflow stores to make this trigger again: plain JSON."""
        watch = self.watch
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "kind": list(watch.kinds),
            "campaign_id": list(watch.campaign_id),
            "postback_data": list(watch.postback_data),
            "text": list(watch.text),
            "name": watch.name,
            "ledger_conn_id": self.ledger_conn_id,
            "poll_interval": self.poll_interval,
            "batch_size": self.batch_size,
            "since": watch.since,
        }

    def shared_stream_key(self) -> Hashable | None:
        """Let Airflow 3.3 say when it has stored an event; triggers of one name are given the same ones."""
        return "telekom_sms", self.ledger_conn_id, self.watch.title

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Producer:
        """Make what Airflow 3.3 asks for events."""
        from airflow_provider_telekom_sms.triggers.producer import Producer

        return Producer(cls(**kwargs))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield what the producer gives as it is."""
        async for payload in shared_stream:
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield events for as long as it runs; from 3.3 on Airflow asks the producer instead."""
        given: deque[tuple[float, int]] = deque()
        async for batches in self.batches():
            for batch in batches:
                yield TriggerEvent(batch.payload)  # type: ignore[no-untyped-call]
                given.append((time.monotonic(), batch.id))
            stored = [number for at, number in given if at <= time.monotonic() - STORED]
            if await self.confirm(stored):
                for _ in stored:
                    given.popleft()

    async def batches(self) -> AsyncIterator[list[Batch]]:
        """Give what is to be handed over, again and again; nothing where there is nothing."""
        failures = 0
        while True:
            found: list[Batch] = []
            try:
                if self._desk is None:
                    self._desk = await asyncio.to_thread(_Desk, self)
                found, pause = await asyncio.to_thread(self._desk.look)
                failures = 0
            except Exception as error:
                # It goes on as soon as the ledger, or Airflow with its connection, is there again.
                failures += 1
                pause = min(self.poll_interval * 2**failures, PATIENCE)
                said = error if isinstance(error, TelekomSmsError) else type(error).__name__
                log.warning("The ledger could not be looked into, again in %.0f s: %s", pause, said)
            yield found
            await asyncio.sleep(pause)

    async def confirm(self, numbers: Sequence[int]) -> bool:
        """Note that Airflow has stored events; tell whether that went well, else they come again later."""
        if not numbers or self._desk is None:
            return True
        try:
            await asyncio.to_thread(events.confirm, self._desk.ledger, numbers)
        except TelekomSmsError as error:
            log.warning("It cannot be noted that %d events are stored: %s", len(numbers), error)
            return False
        return True


class _Desk:
    """What a trigger does with the ledger; all of it blocks."""

    def __init__(self, trigger: TelekomSmsEventTrigger) -> None:
        from airflow_provider_telekom_sms.ledger.location import open_ledger

        self._trigger, self.ledger = trigger, open_ledger(trigger.ledger_conn_id)
        self._watcher = events.watcher(self.ledger, trigger.watch)
        self._again: float | None = None

    def look(self) -> tuple[list[Batch], float]:
        """Give what is to be handed over, and the seconds until the next look."""
        trigger, ledger, watch = self._trigger, self.ledger, self._trigger.watch
        # What the receiver would look at again, had it not been started anew since.
        callbacks.catch_up(ledger, stop_words())
        found = events.unconfirmed(ledger, self._watcher, after=self._again)
        # Once it runs, only what was lost: what it has just given is on its way.
        self._again, more = AGAIN, False
        if watch.of(events.ANSWERS):
            batch, more = events.gather_answers(ledger, self._watcher, watch, trigger.batch_size)
            found += [batch] if batch else []
        if watch.of(events.CAMPAIGNS):
            batch, many = events.gather_campaigns(
                ledger, self._watcher, watch, trigger.batch_size, trigger.poll_interval
            )
            found, more = found + ([batch] if batch else []), more or many
        same = {
            "watcher": watch.title, "ledger": ledger.id, "ledger_conn_id": trigger.ledger_conn_id
        }  # fmt: skip
        found = [Batch(batch.id, {**same, **batch.payload}) for batch in found]
        return found, min(trigger.poll_interval, 0.5) if more else trigger.poll_interval


def _number(parameter: str, value: Any, least: float, most: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigurationError(f"{parameter}: found {value!r}, allowed are numbers from {least} to {most}")
    return value
