"""What the operators that plan and send have in common, piece by piece."""

from __future__ import annotations

import contextlib
import math
import shlex
import threading
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from airflow_provider_telekom_sms import version_compat
from airflow_provider_telekom_sms.links.telekom_sms import TelekomSmsCampaignLink
from airflow_provider_telekom_sms.operators.errors import not_retried
from airflow_provider_telekom_sms.operators.fields import (
    PrivateField,
    as_payload,
    known,
    reveal,
    show_content,
    show_source,
    show_text,
)
from airflow_provider_telekom_sms.operators.waiting import describe, read_event
from airflow_provider_telekom_sms.settings import DEFAULT_BATCH_SIZE, DEFAULT_CONN_ID
from airflow_provider_telekom_sms.triggers.telekom_sms import TelekomSmsDeliveryTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_telekom_sms.api.messages import CallbackUrl, Channel, Rcs, Sms
    from airflow_provider_telekom_sms.campaign.multichannel import Multichannel
    from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
    from airflow_provider_telekom_sms.campaign.run import Job, Result
    from airflow_provider_telekom_sms.campaign.suppression import SuppressionList
    from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
    from airflow_provider_telekom_sms.ledger.delivery import Progress, Scope
    from airflow_provider_telekom_sms.ledger.reporting import Counts
    from airflow_provider_telekom_sms.ledger.store import Ledger
    from airflow_provider_telekom_sms.observability import TaskObserver

#: The optional parameters of send_message, as attributes and template fields of the operators.
MESSAGE_FIELDS = (
    "sender",
    "callback",
    "delivery_time",
    "priority",
    "validity",
    "unicode",
    "message_type",
    "group_id",
)
#: Rows that an error names.
SHOWN = 10
#: Seconds between two looks at a campaign that is paused, or at an API that asks to wait without saying how
#: long; meanwhile no worker is held.
PAUSE = 60.0
#: The longest that an API which asks to wait is obeyed without anybody being told, seconds.
LONGEST_PAUSE = 86_400.0


class LedgerOperator(BaseOperator):
    """Works on the ledger."""

    ui_color = "#fde7f3"

    def __init__(self, *, ledger_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id

    def _ledger(self) -> Ledger:
        from airflow_provider_telekom_sms.ledger.location import open_ledger

        return open_ledger(self.ledger_conn_id)


class JobOperator(LedgerOperator):
    """Runs jobs over the ledger; they end cleanly when the task is told to stop, and tell how they get on."""

    operator_extra_links = (TelekomSmsCampaignLink(),)
    #: Is told how the try gets on; None before it has begun.
    _observer: TaskObserver | None = None

    def __init__(self, *, telekom_sms_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.telekom_sms_conn_id = telekom_sms_conn_id

    @cached_property
    def hook(self) -> TelekomSmsHook:
        """The hook of this operator's connection."""
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook

        return TelekomSmsHook(self.telekom_sms_conn_id)

    @cached_property
    def _stop(self) -> threading.Event:
        return threading.Event()

    def on_kill(self) -> None:
        """End cleanly: what is in flight is awaited and recorded, the rest stays planned."""
        self._stop.set()

    def campaign_of(self, ti: Any) -> str | None:
        """
        Give the id of the campaign that a task instance works on; None where it leaves none.

        :param ti: the task instance of this operator, or its key
        """
        return identity({"ti": ti})[0]

    def _run(self, context: Context, ledger: Ledger, job: Job) -> Result:
        from airflow_provider_telekom_sms.campaign.run import run_job
        from airflow_provider_telekom_sms.operators.memory import remember

        self._observer = self._observe(context)
        begun = partial(remember, context, ledger)
        return run_job(ledger, self.hook, job, self._stop, begun, self._observer)

    def _observe(self, context: Context) -> TaskObserver:
        from airflow_provider_telekom_sms.observability import TaskObserver, tags_of

        return TaskObserver(tags_of(context.get("ti")), self._progress_store(context))

    def _progress_store(self, context: Context) -> Any:
        """Give where progress is stored; nowhere for what takes no time."""
        return None

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Give what is going to be read; asked for by the OpenLineage provider."""
        if not _has_openlineage():
            return None
        from airflow_provider_telekom_sms.lineage import started

        return started(self)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """
        Give what was read and written, and the campaign's counts; asked for by the OpenLineage provider.

        :param task_instance: this operator's
        """
        if not _has_openlineage():
            return None
        from airflow_provider_telekom_sms.lineage import ended

        return ended(self, task_instance)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Give the same where the task has failed: what was sent was sent."""
        return self.get_openlineage_facets_on_complete(task_instance)


class MessageOperator(JobOperator):
    """Has the parameters of a message."""

    def __init__(
        self,
        *,
        sender: str | None = None,
        callback: bool | str | None = None,
        delivery_time: datetime | str | None = None,
        priority: int | str | None = None,
        validity: int | str | None = None,
        unicode: bool | str | None = None,
        message_type: str | None = None,
        group_id: int | str | None = None,
        prefer_rcs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sender = sender
        self.callback = callback
        self.delivery_time = delivery_time
        self.priority = priority
        self.validity = validity
        self.unicode = unicode
        self.message_type = message_type
        self.group_id = group_id
        self.prefer_rcs = prefer_rcs

    def _settings(self, *, keep_text: bool = False, send_window: str | None = None) -> MessageSettings:
        from airflow_provider_telekom_sms.api.messages import SmsParameters
        from airflow_provider_telekom_sms.campaign.plan import MessageSettings
        from airflow_provider_telekom_sms.campaign.window import SendWindow

        parameters = SmsParameters.check(**{name: getattr(self, name) for name in MESSAGE_FIELDS})
        parameters = parameters.with_default_sender(self.hook.settings.sender)
        window = SendWindow.parse(send_window) if send_window else None
        return MessageSettings(parameters, self.prefer_rcs, keep_text, window)


class SendingOperator(JobOperator):
    """Sends, gives the verdict on what was sent, and waits for its delivery."""

    #: What can be done about messages in doubt, for the error that names them.
    _advice = "on_in_doubt='resend' sends them again, perhaps twice"

    def __init__(
        self,
        *,
        wait_for_delivery: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 10,
        delivery_timeout: float | timedelta = timedelta(days=7),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_delivery = wait_for_delivery
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.delivery_timeout = delivery_timeout
        check_flags(self, "wait_for_delivery", "deferrable")
        if not _is_number(poll_interval, 0):
            raise wrong("poll_interval", poll_interval, "seconds")
        if not isinstance(delivery_timeout, timedelta) and not _is_number(delivery_timeout, 0):
            raise wrong("delivery_timeout", delivery_timeout, "seconds, or a timedelta")

    def execute_later(self, context: Context, event: Any = None) -> Any:
        """Go on after a wait without a worker: what was sent meanwhile stands in the ledger."""
        return self.execute(context)

    def _give_verdict(self, ledger: Ledger, job: Job, result: Result) -> None:
        """Fail where this try did not reach the end of the campaign, or left something in doubt."""
        from airflow_provider_telekom_sms.exceptions import InDoubtError
        from airflow_provider_telekom_sms.ledger import reporting
        from airflow_provider_telekom_sms.ledger.store import State

        if self.deferrable:
            self._wait_without_worker(result)
        self._fail_if_broken_off(result)
        counts = result.counts
        own = result.plan_id if job.own_plan_only else None
        if left := reporting.sendable(ledger, result.owner.campaign_id, own):
            raise _error(f"{left} messages were given back by another task; try again")
        in_doubt = counts.in_doubt if result.last else self._own_doubts(ledger, job, result)
        if not in_doubt or job.on_in_doubt == "skip":
            return
        rows = reporting.rows_in(ledger, result.owner.campaign_id, State.IN_DOUBT, SHOWN)
        message = (
            f"{in_doubt} messages are in doubt: they may have been sent or not, among them rows "
            f"{', '.join(map(str, rows))}. Nothing else is left to be sent. "
            + self._advice.format(campaign=shlex.quote(job.campaign_id))
        )
        if job.on_in_doubt == "resend":
            raise InDoubtError(message)
        raise AirflowFailException(message)

    def _own_doubts(self, ledger: Ledger, job: Job, result: Result) -> int:
        """Of several that drain a campaign the last speaks for all; who has planned answers for himself."""
        from airflow_provider_telekom_sms.ledger import reporting

        if job.spec is None:
            self.log.info("Others are still sending this campaign; the last of them gives the verdict")
            return 0
        self.log.warning(
            "Another try is at work on this campaign, or was killed in the last five minutes: %d messages "
            "are claimed. Whoever finishes last gives the verdict, writes the report and waits for delivery; "
            "if that one was killed and is not retried, run this again after that time",
            result.counts.claimed,
        )
        return reporting.in_doubt_of(ledger, result.owner.id, result.plan_id)

    def _wait_without_worker(self, result: Result) -> None:
        from airflow_provider_telekom_sms.exceptions import RateLimitedError
        from airflow_provider_telekom_sms.ledger.store import State

        drained, error = result.drained, result.drained.stopped_by
        if drained.wait and not error and not drained.halted:
            self._defer_for(drained.wait, "the rate limit")
        if drained.halted == "paused" and not error:
            self._defer_for(PAUSE, "the campaign to be resumed")
        # Only where something got through: an API that takes nothing at all is worth an alarm.
        if isinstance(error, RateLimitedError) and drained.counts.get(State.ACCEPTED):
            seconds = min(max(PAUSE, error.retry_after or 0), LONGEST_PAUSE)
            self._defer_for(seconds, "the API, which had too many requests")

    def _defer_for(self, seconds: float, what: str) -> NoReturn:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        self.log.info("Waiting %.0f s for %s, without a worker", seconds, what)
        trigger = TimeDeltaTrigger(timedelta(seconds=seconds))
        self.defer(trigger=trigger, method_name="execute_later")
        raise AssertionError("unreachable")

    def _fail_if_broken_off(self, result: Result) -> None:
        from airflow_provider_telekom_sms.api.phone import mask_phones_in
        from airflow_provider_telekom_sms.exceptions import ApiError, CancelledError

        drained, planned = result.drained, result.counts.planned
        if isinstance(drained.stopped_by, ApiError):
            description = mask_phones_in(drained.stopped_by.description)
            raise type(drained.stopped_by)(drained.stopped_by.code, description)
        if drained.stopped_by is not None:
            raise drained.stopped_by
        if drained.halted == "cancelled":
            raise CancelledError(f"The campaign was cancelled while it was sent; {planned} will not be sent")
        if drained.halted == "paused":
            raise _error(
                f"The campaign is not at its end: paused; {planned} planned. It goes on with the first try "
                "after python -m airflow_provider_telekom_sms ledger resume; ledger show tells who paused it"
            )
        if drained.halted:
            raise _error(f"The campaign is not at its end: {drained.halted}; {planned} planned")

    def _await_delivery(self, ledger: Ledger, scope: Scope) -> Progress:
        """Wait until nothing more is to be expected; in the triggerer if ``deferrable``."""
        from airflow_provider_telekom_sms.campaign.engine import run_blocking
        from airflow_provider_telekom_sms.campaign.observer import folded
        from airflow_provider_telekom_sms.campaign.polling import Criteria, Watcher
        from airflow_provider_telekom_sms.exceptions import DeliveryError

        timeout = self.delivery_timeout
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
        if self.deferrable:
            self.defer(
                trigger=TelekomSmsDeliveryTrigger(
                    telekom_sms_conn_id=self.telekom_sms_conn_id,
                    ledger_conn_id=self.ledger_conn_id,
                    campaign_id=scope.campaign_id,
                    message_ids=scope.message_ids,
                    ledger_id=ledger.id,
                    wait_for_all=True,
                    poll_interval=self.poll_interval,
                    deadline=time.time() + seconds,
                ),
                method_name="execute_complete",
                # The trigger tells more of a time-out than Airflow does, so it comes first.
                timeout=timedelta(seconds=seconds + 60),
            )

        async def wait() -> tuple[Any, Progress]:
            async with self.hook.async_transport() as transport:
                watcher = Watcher(
                    ledger, transport, scope, interval=self.poll_interval, observer=self._observer
                )
                return await watcher.wait(Criteria(wait_for_all=True), time.time() + seconds)

        with folded("Delivery"):
            try:
                verdict, progress = run_blocking(wait)
            finally:
                if self._observer is not None:
                    self._observer.rest()
        if verdict is None:
            raise DeliveryError(f"Not all final in {seconds:g} s; delivery: {describe(progress.by_code)}")
        return progress

    def _read_event(self, event: Any) -> dict[str, int]:
        from airflow_provider_telekom_sms.exceptions import DeliveryError

        status, by_code = read_event(event)
        if status == "timeout":
            raise DeliveryError(f"Not all final in time; delivery: {describe(by_code)}")
        return by_code


class ReceiptsOperator(SendingOperator):
    """Sends a message to a few numbers, and gives a receipt for each."""

    #: Over API v2 each message has an id that its sender chose.
    _has_external_ids = False

    def __init__(self, *, on_in_doubt: Literal["fail", "resend"] = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_in_doubt = on_in_doubt
        self.batch_size = DEFAULT_BATCH_SIZE
        check_choice(self, "on_in_doubt", "fail", "resend")

    def _spec(self) -> CampaignSpec:
        """Give what to send, a row for each number."""
        raise NotImplementedError

    @property
    def _messages(self) -> list[tuple[str, str]]:
        """Give number and content of each message; together they make it what it is."""
        raise NotImplementedError

    def _shaped(self, receipts: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
        """Give the receipts as the operator returns them."""
        raise NotImplementedError

    @not_retried()
    def execute(self, context: Context) -> dict[str, Any] | list[dict[str, Any]]:
        """Send what was not sent by an earlier try, and give all receipts."""
        from airflow_provider_telekom_sms.campaign.run import Job
        from airflow_provider_telekom_sms.ledger.delivery import Scope

        if not self._messages:
            return self._shaped([])
        ledger = self._ledger()
        campaign_id, slot = identity(context)
        job = Job(
            campaign_id,
            slot,
            self._spec(),
            own_plan_only=True,
            batch_size=self.batch_size,
            on_in_doubt=self.on_in_doubt,
            yields=self.deferrable,
        )
        self._give_verdict(ledger, job, self._run(context, ledger, job))
        receipts = self._receipts(ledger, campaign_id)
        if self.wait_for_delivery:
            ids = tuple(dict.fromkeys(receipt["message_id"] for receipt in receipts))
            if None in ids:
                raise AirflowFailException("A message was settled by hand: its delivery cannot be asked for")
            progress = self._await_delivery(ledger, Scope(message_ids=ids))
            self._judge(progress.by_code)
        return self._shaped(receipts)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any] | list[dict[str, Any]]:
        """Go on after the trigger; what was sent stands in the ledger."""
        self._judge(self._read_event(event))
        return self._shaped(self._receipts(self._ledger(), identity(context)[0]))

    def _receipts(self, ledger: Ledger, campaign_id: str) -> list[dict[str, Any]]:
        """
        Give a receipt for every number, from the ledger, whichever try sent it.

        :raises AirflowFailException: when the API refused one: another try would not send it again
        :raises InDoubtError: when another mapped task instance sends the same and has not got an answer yet
        """
        from airflow_provider_telekom_sms.api.phone import mask_phones_in, parse_mobile
        from airflow_provider_telekom_sms.api.results import Receipt
        from airflow_provider_telekom_sms.campaign.plan import text_identity
        from airflow_provider_telekom_sms.exceptions import InDoubtError
        from airflow_provider_telekom_sms.ledger import reporting
        from airflow_provider_telekom_sms.ledger.sending import external_id
        from airflow_provider_telekom_sms.ledger.store import State

        keys = [(number, text_identity(parse_mobile(number), content)) for number, content in self._messages]
        sent = reporting.outcomes_of(ledger, campaign_id, [key for _, key in keys])
        refused = [row for row in sent.values() if row.state == State.REJECTED]
        if refused:
            raise AirflowFailException(
                f"{len(refused)} of {len(sent)} messages were rejected, the first with: "
                f"{mask_phones_in(refused[0].reason or 'no reason that was kept')}"
            )
        if any(row.state != State.ACCEPTED for row in sent.values()):
            raise InDoubtError("Another task instance sends the same number and text, and is not done yet")
        return [
            Receipt(
                row.message_id, number, "success", "OK", "", row.parts,
                external_id(ledger, row.id, row.external_id) if self._has_external_ids else None,
            ).masked()
            for number, row in ((number, sent[key]) for number, key in keys)
        ]  # fmt: skip

    def _judge(self, by_code: dict[str, int]) -> None:
        from airflow_provider_telekom_sms.campaign.polling import Criteria

        self.log.info("Delivery: %s", describe(by_code))
        if Criteria().successes(by_code) < sum(by_code.values()):
            raise AirflowFailException(f"Not all were delivered: {describe(by_code)}")


class CampaignOperator(JobOperator):
    """Works on a campaign: has its id, its price and its report."""

    def __init__(
        self,
        *,
        campaign_id: str | None = None,
        price_per_part: float | None = None,
        report_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.campaign_id = campaign_id
        self.price_per_part = price_per_part
        self.report_path = report_path

    def campaign_of(self, ti: Any) -> str | None:
        """
        Give the id of the campaign that a task instance works on; None where it leaves none.

        :param ti: the task instance of this operator, or its key
        """
        return self._campaign({"ti": ti})[0]

    def _run(self, context: Context, ledger: Ledger, job: Job) -> Result:
        self._show_link(context)
        return super()._run(context, ledger, job)

    def _show_link(self, context: Context) -> None:
        """Show the link from the beginning; Airflow itself shows it when the task has ended."""
        ti: Any = context.get("ti")
        if hasattr(ti, "xcom_push"):
            link = TelekomSmsCampaignLink()
            with contextlib.suppress(Exception):
                ti.xcom_push(link.xcom_key, link.get_link(self, ti_key=ti))

    def _progress_store(self, context: Context) -> Any:
        return context.get("task_state_store") if version_compat.AIRFLOW_V_3_3_PLUS else None

    def _campaign(self, context: Context) -> tuple[str, str]:
        """Give the campaign's id, and the slot of this task instance."""
        from airflow_provider_telekom_sms.ledger.store import storable

        default_id, slot = identity(context, with_map_index=True)
        # A number where Airflow renders templates as native objects.
        campaign_id = default_id if self.campaign_id in (None, "") else str(self.campaign_id)
        if storable(campaign_id) != campaign_id:
            raise wrong("campaign_id", campaign_id, "text without NUL and halves of surrogate pairs")
        return campaign_id, slot

    def _check_report_path(self) -> None:
        from airflow_provider_telekom_sms.campaign.report import check_path

        if self.report_path:
            check_path(self.report_path)

    def _summary(self, campaign_id: str, counts: Counts) -> dict[str, Any]:
        numbers = counts.as_dict()
        del numbers["sent_parts"]
        summary: dict[str, Any] = {"campaign_id": campaign_id, **numbers, "report_path": self.report_path}
        if self.price_per_part is not None:
            summary["price"] = round(counts.parts * self.price_per_part, 6)
        return summary


class PlanningOperator(CampaignOperator, MessageOperator):
    """Plans a campaign: has its source, its content and its guards."""

    source = PrivateField(show_source)
    text = PrivateField(show_text)
    rcs = PrivateField(show_content)
    sms = PrivateField(show_content)
    sql_parameters = PrivateField(show_source)
    suppression = PrivateField(show_source, files=True)

    def __init__(
        self,
        *,
        source: Any = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        sql_parameters: Any = None,
        to_column: str = "phone",
        text: str | None = None,
        text_column: str | None = None,
        rcs: Mapping[str, Any] | Rcs | None = None,
        sms: str | Mapping[str, Any] | Sms | None = None,
        channels: Sequence[Mapping[str, Any] | Channel] | None = None,
        callback_urls: Sequence[Mapping[str, Any] | CallbackUrl] | None = None,
        api: Literal["v1", "v2"] = "v1",
        key_column: str | None = None,
        encoding: str = "utf-8-sig",
        delimiter: str | None = None,
        suppression: Any = None,
        send_window: str | None = None,
        max_messages: int | None = None,
        max_parts_per_message: int | None = None,
        max_price: float | None = None,
        on_invalid: Literal["skip", "fail"] = "skip",
        keep_text: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.sql_parameters = sql_parameters
        self.to_column = to_column
        self.text = text
        self.text_column = text_column
        self.rcs = as_payload(rcs)
        self.sms = as_payload(sms)
        self.channels = as_payload(channels)
        self.callback_urls = as_payload(callback_urls)
        self.api = api
        self.key_column = key_column
        self.encoding = encoding
        self.delimiter = delimiter
        self.suppression = suppression
        self.send_window = send_window
        self.max_messages = max_messages
        self.max_parts_per_message = max_parts_per_message
        self.max_price = max_price
        self.on_invalid = on_invalid
        self.keep_text = keep_text
        check_choice(self, "on_invalid", "skip", "fail")
        check_choice(self, "api", "v1", "v2")
        check_flags(self, "keep_text")
        self._check_content()
        if (source is None) == (sql is None):
            raise wrong("source, sql", "both" if sql else "neither", "exactly one of the two")
        if sql is not None and not sql_conn_id:
            raise wrong("sql_conn_id", sql_conn_id, "the Airflow connection to run sql over")
        if max_price is not None and self.price_per_part is None:
            raise wrong("price_per_part", None, "a price, for max_price to be checked")
        for name in ("price_per_part", "max_price", "max_messages", "max_parts_per_message"):
            if getattr(self, name) is not None and not _is_number(getattr(self, name), 0):
                raise wrong(name, getattr(self, name), "None, or a number from 0 up")

    def _check_content(self) -> None:
        """Check what can be checked while the DAG is parsed: all that is neither templated nor of a row."""
        if self.rcs is not None and (self.text is not None or self.text_column is not None):
            raise wrong("text, text_column, rcs", "rcs and a text", "one of them; sms is the text beside rcs")
        for name in ("sms",) if self.rcs is None else ():
            if getattr(self, name) is not None:
                raise wrong(name, "no rcs", "with rcs, where that does not arrive; else the text is the SMS")
        if self.rcs is None and self.api == "v1":
            for name in ("channels", "callback_urls"):
                if getattr(self, name) is not None:
                    raise wrong(name, "API v1", "with rcs or api='v2'")
        if self._over_v2:
            for warning in self._multichannel(parsing=True).warnings():
                warnings.warn(warning, stacklevel=5)

    @property
    def _over_v2(self) -> bool:
        return self.rcs is not None or self.api == "v2"

    def _multichannel(
        self,
        sender: str | None = None,
        agent: str | None = None,
        unicode: bool | None = None,
        *,
        parsing: bool = False,
    ) -> Multichannel:
        """
        Give what all messages have in common.

        :param parsing: what is still to be rendered is replaced by something that is right
        """
        from airflow_provider_telekom_sms.campaign.multichannel import Multichannel

        parts = message_parts(self, sender=sender, agent=agent, unicode=unicode, parsing=parsing)
        return Multichannel(
            parts["channels"], parts["callbackUrls"], parts["rcs"], parts["sms"], plain=parts["rcs"] is None
        )

    def _settings(self, **options: Any) -> MessageSettings:
        from airflow_provider_telekom_sms.campaign.multichannel import check_parameters

        settings = super()._settings(**options)
        if not self._over_v2:
            return settings
        parameters = settings.parameters
        check_parameters(parameters, settings.prefer_rcs)
        agent = self.hook.settings.rcs_agent
        multichannel = self._multichannel(parameters.sender, agent, parameters.unicode)
        return replace(settings, multichannel=multichannel)

    def _spec(self) -> CampaignSpec:
        from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, Guards

        return CampaignSpec(
            source=self._rows(),
            settings=self._settings(keep_text=self.keep_text, send_window=self.send_window),
            text=reveal(self.text),
            text_column=self.text_column,
            to_column=self.to_column,
            key_column=self.key_column,
            encoding=self.encoding,
            delimiter=self.delimiter,
            on_invalid=self.on_invalid,
            guards=Guards(self.max_messages, self.max_parts_per_message, self.price_per_part, self.max_price),
        )

    def _suppression(self) -> SuppressionList | None:
        from airflow_provider_telekom_sms.campaign.suppression import SuppressionList

        given = reveal(self.suppression)
        if given is None:
            return None
        return SuppressionList(given, self.to_column, self.sql_conn_id, self.encoding, self.delimiter)

    def _rows(self) -> Any:
        from airflow_provider_telekom_sms.campaign.files import SUFFIXES
        from airflow_provider_telekom_sms.campaign.query import Query
        from airflow_provider_telekom_sms.exceptions import SourceError

        source = reveal(self.source)
        if self.sql is not None:
            return Query(self.sql, str(self.sql_conn_id), reveal(self.sql_parameters))
        if isinstance(source, str) and source is not self.source and not source.lower().endswith(SUFFIXES):
            # It may hold rows, so it must not be quoted.
            raise SourceError(
                f"source: a template gave text that is no path, {self.source}; give a task's output itself, "
                "or set render_template_as_native_obj=True on the DAG"
            )
        return source


class DrainingOperator(CampaignOperator, SendingOperator):
    """Sends a campaign: has its speed, and what becomes of messages in doubt and rejected."""

    _advice = (
        "on_in_doubt='skip' leaves them, 'resend' sends them again, perhaps twice; "
        "python -m airflow_provider_telekom_sms ledger in-doubt {campaign} lists them, and "
        "ledger settle {campaign} --rows ROWS --as sent, resend or drop settles them"
    )

    def __init__(
        self,
        *,
        on_in_doubt: Literal["fail", "skip", "resend"] = "fail",
        on_rejected: Literal["keep", "resend"] = "keep",
        fail_on: float | Literal["any"] | None = None,
        concurrency: int = 16,
        batch_size: int = DEFAULT_BATCH_SIZE,
        rate_limit: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.on_in_doubt = on_in_doubt
        self.on_rejected = on_rejected
        self.fail_on = fail_on
        self.concurrency = concurrency
        self.batch_size = batch_size
        self.rate_limit = rate_limit
        check_batch_size(batch_size)
        check_choice(self, "on_in_doubt", "fail", "skip", "resend")
        check_choice(self, "on_rejected", "keep", "resend")
        if fail_on not in (None, "any") and not _is_number(fail_on, 0, 1):
            raise wrong("fail_on", fail_on, "None, 'any', or a share from 0 to 1")
        if not isinstance(concurrency, int) or not 1 <= concurrency <= 1000:
            raise wrong("concurrency", concurrency, "1 to 1000")
        if rate_limit is not None and not _is_number(rate_limit, 1e-6):
            raise wrong("rate_limit", rate_limit, "None, or messages per second above 0")

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Go on after the trigger; what was sent stands in the ledger."""
        by_code = self._read_event(event)
        return self._delivered(context, self._ledger(), self._campaign(context)[0], by_code)

    def _suppression(self) -> SuppressionList | None:
        """Give the numbers that must not get a message."""
        raise NotImplementedError

    def _job(self, context: Context, spec: CampaignSpec | None) -> Job:
        from airflow_provider_telekom_sms.campaign.run import Job

        campaign_id, slot = self._campaign(context)
        return Job(
            campaign_id=campaign_id,
            slot=slot,
            spec=spec,
            suppression=self._suppression(),
            concurrency=self.concurrency,
            batch_size=self.batch_size,
            rate_limit=self.rate_limit,
            yields=self.deferrable,
            on_in_doubt=self.on_in_doubt,
            on_rejected=self.on_rejected,
            report_path=self.report_path,
        )

    def _send(self, context: Context, job: Job) -> dict[str, Any]:
        from airflow_provider_telekom_sms.ledger.delivery import Scope

        ledger = self._ledger()
        result = self._run(context, ledger, job)
        self.log.info("Campaign %s: %s", job.campaign_id, in_words(result.counts))
        self._tell_rejections(ledger, result)
        self._give_verdict(ledger, job, result)
        if result.last:
            self._fail_if_rejected(result.counts)
        if result.unreported:
            raise _error(f"All was sent, but report_path {self.report_path!r}: {result.unreported}")
        if self.wait_for_delivery and result.last and result.counts.accepted:
            progress = self._await_delivery(ledger, Scope(job.campaign_id))
            return self._delivered(context, ledger, job.campaign_id, progress.by_code)
        return self._summary(job.campaign_id, result.counts)

    def _tell_rejections(self, ledger: Ledger, result: Result) -> None:
        from airflow_provider_telekom_sms.api.phone import mask_phones_in
        from airflow_provider_telekom_sms.ledger import reporting

        if result.counts.rejected:
            for reason, number in reporting.rejections(ledger, result.owner.campaign_id, SHOWN):
                self.log.warning("Rejected: %d with %s", number, mask_phones_in(reason))

    def _fail_if_rejected(self, counts: Counts) -> None:
        if self.fail_on is None or not counts.rejected:
            return
        share = counts.rejected / (counts.rejected + counts.accepted + counts.in_doubt)
        if self.fail_on == "any" or share > float(self.fail_on):
            raise AirflowFailException(
                f"fail_on={self.fail_on!r}: {counts.rejected} messages ({share:.1%}) were rejected"
            )

    def _delivered(
        self, context: Context, ledger: Ledger, campaign_id: str, by_code: dict[str, int]
    ) -> dict[str, Any]:
        from airflow_provider_telekom_sms.campaign.polling import Criteria
        from airflow_provider_telekom_sms.campaign.report import write_report
        from airflow_provider_telekom_sms.ledger import reporting

        self.log.info("Delivery of campaign %s: %s", campaign_id, describe(by_code))
        self._observe(context).waited(by_code)
        number = reporting.campaign_number(ledger, campaign_id)
        if self.report_path:
            write_report(ledger, number, self.report_path)
        summary = self._summary(campaign_id, reporting.counts(ledger, number))
        delivered = Criteria().successes(by_code)
        undelivered = sum(by_code.values()) - delivered
        return {**summary, "delivered": delivered, "undelivered": undelivered, "delivery": by_code}


def message_parts(
    operator: Any,
    *,
    sender: str | None = None,
    agent: str | None = None,
    unicode: bool | None = None,
    parsing: bool = False,
) -> dict[str, Any]:
    """
    Give what an operator's fields say of a message over API v2, unchecked, by the manual's names.

    :param sender: of the SMS, where it names none
    :param agent: of the RCS message likewise
    :param unicode: of the SMS likewise
    :param parsing: what is still to be rendered is replaced by something that is right
    """
    from airflow_provider_telekom_sms.campaign.multichannel import (
        ANY_CONTENT,
        channels_of,
        rcs_of,
        sms_of,
        with_defaults,
    )

    rcs = rcs_of(known(operator.rcs, ANY_CONTENT, parsing=parsing))
    sms = sms_of(known(operator.sms, ANY_CONTENT, parsing=parsing))
    return {
        "channels": channels_of(known(operator.channels, None, parsing=parsing), rcs, sms),
        "callbackUrls": known(operator.callback_urls, None, parsing=parsing),
        "rcs": with_defaults(rcs, sender=agent),
        "sms": with_defaults(sms, sender=sender, unicode=unicode),
    }


def identity(context: Context, *, with_map_index: bool = False) -> tuple[str, str]:
    """
    Give the default campaign id and the slot: what stays the same from try to try of a task instance.

    Mapped single sends share a campaign, so that none of them repeats another's number and text.
    """
    ti: Any = context.get("ti")
    if ti is None:
        # Outside a task there are no tries to tell apart.
        return (unique := f"adhoc/{uuid.uuid4()}"), unique
    task = f"{ti.dag_id}/{ti.task_id}/{ti.run_id}"
    map_index = getattr(ti, "map_index", -1)
    slot = f"{task}/{map_index}"
    return (slot if with_map_index and map_index >= 0 else task), slot


def in_words(counts: Counts) -> str:
    """Say in words how a campaign stands."""
    return ", ".join(f"{number} {name}" for name, number in counts.as_dict().items() if number) or "no rows"


def check_choice(operator: Any, name: str, *allowed: str) -> None:
    """Check a setting that is one of a few words."""
    if getattr(operator, name) not in allowed:
        raise wrong(name, getattr(operator, name), ", ".join(map(repr, allowed)))


def check_flags(operator: Any, *names: str) -> None:
    """Check settings that are true or false, and cannot be templated: every text would be true."""
    for name in names:
        if not isinstance(getattr(operator, name), bool):
            raise wrong(name, getattr(operator, name), "True, False")


def check_batch_size(batch_size: Any) -> None:
    """Check how many recipients a request may have."""
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or not 1 <= batch_size <= 1000:
        raise wrong("batch_size", batch_size, "1 to 1000")


def wrong(name: str, found: object, allowed: str) -> Exception:
    """Give the error for a setting that no run can use."""
    from airflow_provider_telekom_sms.exceptions import ConfigurationError

    return ConfigurationError(f"{name}: found {found!r}, allowed: {allowed}")


def _has_openlineage() -> bool:
    # Not by importing it: in a process without it that would be tried again and again.
    return find_spec("airflow.providers.openlineage") is not None


def _error(message: str) -> Exception:
    from airflow_provider_telekom_sms.exceptions import TelekomSmsError

    return TelekomSmsError(message)


def _is_number(value: Any, least: float, most: float = float("inf")) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value) and least <= value <= most
