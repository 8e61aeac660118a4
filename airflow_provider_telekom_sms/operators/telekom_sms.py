"""The operators: single sends, bulk sends and number checks, none of which sends twice when it is retried."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from airflow_provider_telekom_sms.operators.errors import not_retried
from airflow_provider_telekom_sms.operators.fields import (
    PrivateField,
    reveal,
    show_phones,
    show_source,
    show_text,
)
from airflow_provider_telekom_sms.operators.waiting import describe, read_event
from airflow_provider_telekom_sms.settings import DEFAULT_CONN_ID
from airflow_provider_telekom_sms.triggers.telekom_sms import TelekomSmsDeliveryTrigger

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
    from airflow_provider_telekom_sms.campaign.run import Job, Result
    from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
    from airflow_provider_telekom_sms.ledger.delivery import Progress, Scope
    from airflow_provider_telekom_sms.ledger.reporting import Counts
    from airflow_provider_telekom_sms.ledger.store import Ledger

#: The optional parameters of send_message, as attributes and template fields of the sending operators.
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


class _SendingOperator(BaseOperator):
    """What single and bulk sends share: the message's parameters, the ledger, the verdict and the waiting."""

    ui_color = "#fde7f3"
    #: What can be done about messages in doubt, for the error that names them.
    _advice = "on_in_doubt='resend' sends them again, perhaps twice"

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
        wait_for_delivery: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 10,
        delivery_timeout: float | timedelta = timedelta(days=7),
        telekom_sms_conn_id: str = DEFAULT_CONN_ID,
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
        self.wait_for_delivery = wait_for_delivery
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.delivery_timeout = delivery_timeout
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

    def _settings(self, *, keep_text: bool = False) -> MessageSettings:
        from airflow_provider_telekom_sms.api.messages import SmsParameters
        from airflow_provider_telekom_sms.campaign.plan import MessageSettings

        parameters = SmsParameters.check(**{name: getattr(self, name) for name in MESSAGE_FIELDS})
        parameters = parameters.with_default_sender(self.hook.settings.sender)
        return MessageSettings(parameters, self.prefer_rcs, keep_text)

    def _ledger(self) -> Ledger:
        from airflow_provider_telekom_sms.ledger.location import open_ledger

        return open_ledger()

    def _run(self, ledger: Ledger, job: Job) -> Result:
        from airflow_provider_telekom_sms.campaign.run import run_job

        return run_job(ledger, self.hook, job, self._stop)

    def _give_verdict(self, ledger: Ledger, result: Result, on_in_doubt: str) -> None:
        """Fail where this try did not reach the end of the campaign, or left something in doubt."""
        from airflow_provider_telekom_sms.api.phone import mask_phones_in
        from airflow_provider_telekom_sms.exceptions import ApiError, InDoubtError, TelekomSmsError
        from airflow_provider_telekom_sms.ledger import reporting
        from airflow_provider_telekom_sms.ledger.store import State

        drained, counts = result.drained, result.counts
        if isinstance(drained.stopped_by, ApiError):
            description = mask_phones_in(drained.stopped_by.description)
            raise type(drained.stopped_by)(drained.stopped_by.code, description)
        if drained.stopped_by is not None:
            raise drained.stopped_by
        if drained.halted:
            raise TelekomSmsError(
                f"The campaign is not at its end: {drained.halted}; {counts.planned} planned"
            )
        if counts.planned:
            raise TelekomSmsError(f"{counts.planned} messages were given back by another task; try again")
        if not counts.in_doubt or on_in_doubt == "skip":
            return
        rows = reporting.rows_in(ledger, result.owner.campaign_id, State.IN_DOUBT, SHOWN)
        message = (
            f"{counts.in_doubt} messages are in doubt: they may have been sent or not, among them rows "
            f"{', '.join(map(str, rows))}. Everything else was sent. {self._advice}"
        )
        if on_in_doubt == "resend":
            raise InDoubtError(message)
        raise AirflowFailException(message)

    def _await_delivery(self, ledger: Ledger, scope: Scope) -> Progress:
        """Wait until nothing more is to be expected; in the triggerer if ``deferrable``."""
        from airflow_provider_telekom_sms.campaign.engine import run_blocking
        from airflow_provider_telekom_sms.campaign.polling import Criteria, Watcher
        from airflow_provider_telekom_sms.exceptions import DeliveryError

        timeout = self.delivery_timeout
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
        if self.deferrable:
            self.defer(
                trigger=TelekomSmsDeliveryTrigger(
                    telekom_sms_conn_id=self.telekom_sms_conn_id,
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
                watcher = Watcher(ledger, transport, scope, interval=self.poll_interval)
                return await watcher.wait(Criteria(wait_for_all=True), time.time() + seconds)

        verdict, progress = run_blocking(wait)
        if verdict is None:
            raise DeliveryError(f"Not all final in {seconds:g} s; delivery: {describe(progress.by_code)}")
        return progress

    def _read_event(self, event: Any) -> dict[str, int]:
        from airflow_provider_telekom_sms.exceptions import DeliveryError

        status, by_code = read_event(event)
        if status == "timeout":
            raise DeliveryError(f"Not all final in time; delivery: {describe(by_code)}")
        return by_code


class TelekomSmsSendOperator(_SendingOperator):
    """
    Sends a text to one number or a few (manual v1, send_message).

    Every message goes through the ledger: a retry or a cleared task does not send it again. All numbers are
    checked before the first message leaves.

    :param to: a Slovak mobile number in any usual spelling, or a list of them
    :param text: the text
    :param sender: sender number or name; by default the connection's, then the account's
    :param callback: report delivery to the URL in the key's settings (the API's default: true)
    :param delivery_time: when to send; a naive time is Europe/Bratislava, a past one means at once
    :param priority: 1 (low), 2 (standard), 3 (high)
    :param validity: minutes, 1 to 1440, after which an unsent message is dropped
    :param unicode: False strips diacritics and sends GSM-7, True sends UTF-16, None finds out
    :param message_type: ``standard`` or ``flash``
    :param group_id: cadence group through which to send
    :param prefer_rcs: try RCS first
    :param on_in_doubt: what to do about messages that may have been sent or not: ``fail``, or ``resend`` in
        the next try, perhaps twice
    :param wait_for_delivery: end only when the delivery of all is final; fail if one was not delivered
    :param deferrable: wait in the triggerer instead of a worker
    :param poll_interval: seconds between two checks of one message at least
    :param delivery_timeout: how long to wait, seconds or timedelta
    :param telekom_sms_conn_id: Airflow connection of type ``telekom_sms``
    :return: the receipt as a dict, numbers masked; a list of them for a list
    """

    template_fields: Sequence[str] = ("to", "text", *MESSAGE_FIELDS, "telekom_sms_conn_id")

    to = PrivateField(show_phones)
    text = PrivateField(show_text)

    def __init__(
        self,
        *,
        to: str | Sequence[str],
        text: str,
        on_in_doubt: Literal["fail", "resend"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.text = text
        self.on_in_doubt = on_in_doubt
        _check_choice(self, "on_in_doubt", "fail", "resend")

    @not_retried()
    def execute(self, context: Context) -> dict[str, Any] | list[dict[str, Any]]:
        """Send what was not sent by an earlier try, and give all receipts."""
        from airflow_provider_telekom_sms.campaign.run import Job
        from airflow_provider_telekom_sms.ledger.delivery import Scope

        ledger = self._ledger()
        campaign_id, slot = _identity(context)
        job = Job(campaign_id, slot, self._spec(), own_plan_only=True, on_in_doubt=self.on_in_doubt)
        self._give_verdict(ledger, self._run(ledger, job), self.on_in_doubt)
        receipts = self._receipts(ledger, campaign_id)
        if self.wait_for_delivery and receipts:
            ids = tuple(dict.fromkeys(receipt["message_id"] for receipt in receipts))
            progress = self._await_delivery(ledger, Scope(message_ids=ids))
            self._judge(progress.by_code)
        return self._shaped(receipts)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any] | list[dict[str, Any]]:
        """Go on after the trigger; what was sent stands in the ledger."""
        self._judge(self._read_event(event))
        return self._shaped(self._receipts(self._ledger(), _identity(context)[0]))

    def _numbers(self) -> list[Any]:
        to = reveal(self.to)
        return list(to) if isinstance(to, Sequence) and not isinstance(to, str) else [to]

    def _spec(self) -> CampaignSpec:
        from airflow_provider_telekom_sms.campaign.plan import CampaignSpec

        text = reveal(self.text)
        rows = [{"phone": number, "text": text} for number in self._numbers()]
        return CampaignSpec(rows, self._settings(), text_column="text", on_invalid="fail")

    def _receipts(self, ledger: Ledger, campaign_id: str) -> list[dict[str, Any]]:
        """
        Give a receipt for every number, from the ledger, whichever try sent it.

        :raises AirflowFailException: when the API refused one: another try would not send it again
        :raises InDoubtError: when another mapped task instance sends the same and has not got an answer yet
        """
        from airflow_provider_telekom_sms.api.messages import check_text
        from airflow_provider_telekom_sms.api.phone import mask_phones_in, parse_mobile
        from airflow_provider_telekom_sms.api.results import Receipt
        from airflow_provider_telekom_sms.campaign.plan import text_identity
        from airflow_provider_telekom_sms.exceptions import InDoubtError
        from airflow_provider_telekom_sms.ledger import reporting
        from airflow_provider_telekom_sms.ledger.store import State

        text = check_text(reveal(self.text))
        keys = [(number, text_identity(parse_mobile(number), text)) for number in self._numbers()]
        sent = reporting.outcomes_of(ledger, campaign_id, [key for _, key in keys])
        refused = [row for row in sent.values() if row.state == State.REJECTED]
        if refused:
            raise AirflowFailException(
                f"{len(refused)} of {len(sent)} messages were rejected, the first with: "
                f"{mask_phones_in(refused[0].reason)}"
            )
        if any(row.state != State.ACCEPTED for row in sent.values()):
            raise InDoubtError("Another task instance sends the same number and text, and is not done yet")
        return [
            Receipt(row.message_id, number, "success", "OK", "", row.parts).masked()
            for number, row in ((number, sent[key]) for number, key in keys)
        ]

    def _judge(self, by_code: dict[str, int]) -> None:
        from airflow_provider_telekom_sms.campaign.polling import Criteria

        if Criteria().successes(by_code) < sum(by_code.values()):
            raise AirflowFailException(f"Not all were delivered: {describe(by_code)}")

    def _shaped(self, receipts: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
        to = reveal(self.to)
        return receipts if isinstance(to, Sequence) and not isinstance(to, str) else receipts[0]


class TelekomSmsBulkSendOperator(_SendingOperator):
    """
    Sends a campaign: a text per row of a source (manual v1, send_message).

    The campaign is planned into the ledger first: every row is validated, normalised, rendered, deduplicated
    and counted before a message leaves. It is sent from there, so a retry goes on where the last try stopped.
    The same campaign never sends the same number and text (or key) twice.

    :param source: rows: a DataFrame, a list of dicts, a path or ObjectStoragePath (``.csv``, ``.csv.gz``,
        ``.parquet``), or a callable that gives one of these or an iterator of them
    :param text: template of the text over a row's columns, ``{name}``, ``{amount:.2f}``
    :param text_column: or the column that holds the text
    :param to_column: column that holds the number, as text
    :param key_column: column whose value is sent to once; by default number and text together
    :param campaign_id: the campaign's id; by default the task instance
    :param encoding: encoding of a CSV file
    :param delimiter: delimiter of a CSV file; found out by default
    :param max_messages: refuse the plan if more were to be sent
    :param max_parts_per_message: a longer text makes its row invalid
    :param price_per_part: price of one SMS part
    :param max_price: refuse the plan if it cost more
    :param dry_run: plan and report only; nothing is sent, nothing is kept
    :param on_invalid: ``skip`` leaves invalid rows out, ``fail`` sends nothing if there is one
    :param on_in_doubt: what to do about messages that may have been sent or not: ``fail`` after everything
        else was sent, ``skip`` them, or ``resend``, perhaps twice
    :param on_rejected: ``keep``, or ``resend`` in the next try
    :param fail_on: fail if more than this share (0.05) was rejected, or ``"any"`` was; None for never
    :param keep_text: keep the rendered texts in the ledger after they were accepted
    :param report_path: where to write an outcome for every row, ``.csv`` or ``.parquet``
    :param concurrency: messages in flight at once
    :param rate_limit: messages per second for the key; by default the connection's
    :param wait_for_delivery: end only when the delivery of all is final
    :return: the campaign's counts over all tries so far

    The other parameters are those of :class:`TelekomSmsSendOperator`.
    """

    template_fields: Sequence[str] = (
        "source",
        "text",
        "campaign_id",
        "report_path",
        *MESSAGE_FIELDS,
        "telekom_sms_conn_id",
    )

    source = PrivateField(show_source)
    _advice = "on_in_doubt='skip' leaves them, 'resend' sends them again, perhaps twice"
    text = PrivateField(show_text)

    def __init__(
        self,
        *,
        source: Any,
        to_column: str = "phone",
        text: str | None = None,
        text_column: str | None = None,
        key_column: str | None = None,
        campaign_id: str | None = None,
        encoding: str = "utf-8-sig",
        delimiter: str | None = None,
        max_messages: int | None = None,
        max_parts_per_message: int | None = None,
        price_per_part: float | None = None,
        max_price: float | None = None,
        dry_run: bool = False,
        on_invalid: Literal["skip", "fail"] = "skip",
        on_in_doubt: Literal["fail", "skip", "resend"] = "fail",
        on_rejected: Literal["keep", "resend"] = "keep",
        fail_on: float | Literal["any"] | None = None,
        keep_text: bool = False,
        report_path: str | None = None,
        concurrency: int = 16,
        rate_limit: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.to_column = to_column
        self.text = text
        self.text_column = text_column
        self.key_column = key_column
        self.campaign_id = campaign_id
        self.encoding = encoding
        self.delimiter = delimiter
        self.max_messages = max_messages
        self.max_parts_per_message = max_parts_per_message
        self.price_per_part = price_per_part
        self.max_price = max_price
        self.dry_run_only = dry_run
        self.on_invalid = on_invalid
        self.on_in_doubt = on_in_doubt
        self.on_rejected = on_rejected
        self.fail_on = fail_on
        self.keep_text = keep_text
        self.report_path = report_path
        self.concurrency = concurrency
        self.rate_limit = rate_limit
        self._check_choices()

    def _check_choices(self) -> None:
        """Refuse what no run can use while the DAG is parsed."""
        _check_choice(self, "on_invalid", "skip", "fail")
        _check_choice(self, "on_in_doubt", "fail", "skip", "resend")
        _check_choice(self, "on_rejected", "keep", "resend")
        if self.fail_on not in (None, "any") and not _is_number(self.fail_on, 0, 1):
            raise _wrong("fail_on", self.fail_on, "None, 'any', or a share from 0 to 1")
        if not isinstance(self.concurrency, int) or not 1 <= self.concurrency <= 1000:
            raise _wrong("concurrency", self.concurrency, "1 to 1000")
        if self.rate_limit is not None and not _is_number(self.rate_limit, 1e-6):
            raise _wrong("rate_limit", self.rate_limit, "None, or messages per second above 0")
        if self.max_price is not None and self.price_per_part is None:
            raise _wrong("price_per_part", None, "a price, for max_price to be checked")

    @not_retried()
    def execute(self, context: Context) -> dict[str, Any]:
        """Plan the campaign, unless an earlier try did, send what is not sent yet, and report."""
        from airflow_provider_telekom_sms.campaign.report import check_path
        from airflow_provider_telekom_sms.ledger.delivery import Scope

        if self.report_path:
            check_path(self.report_path)
        job = self._job(context)
        if self.dry_run_only:
            return self._plan_only(job)
        ledger = self._ledger()
        result = self._run(ledger, job)
        self._report(ledger, result.owner.campaign_id)
        self.log.info("Campaign %s: %s", job.campaign_id, _in_words(result.counts))
        self._give_verdict(ledger, result, self.on_in_doubt)
        self._fail_if_rejected(result.counts)
        if self.wait_for_delivery and result.counts.accepted:
            progress = self._await_delivery(ledger, Scope(job.campaign_id))
            return self._delivered(ledger, job.campaign_id, progress.by_code)
        return self._summary(job.campaign_id, result.counts)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Go on after the trigger; what was sent stands in the ledger."""
        by_code = self._read_event(event)
        return self._delivered(self._ledger(), self._campaign(context)[0], by_code)

    def _campaign(self, context: Context) -> tuple[str, str]:
        default_id, slot = _identity(context, with_map_index=True)
        return self.campaign_id or default_id, slot

    def _job(self, context: Context) -> Job:
        from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, Guards
        from airflow_provider_telekom_sms.campaign.run import Job

        campaign_id, slot = self._campaign(context)
        spec = CampaignSpec(
            source=self._rows(),
            settings=self._settings(keep_text=self.keep_text),
            text=reveal(self.text),
            text_column=self.text_column,
            to_column=self.to_column,
            key_column=self.key_column,
            encoding=self.encoding,
            delimiter=self.delimiter,
            on_invalid=self.on_invalid,
            guards=Guards(self.max_messages, self.max_parts_per_message, self.price_per_part, self.max_price),
        )
        return Job(
            campaign_id=campaign_id,
            slot=slot,
            spec=spec,
            concurrency=self.concurrency,
            rate_limit=self.rate_limit,
            on_in_doubt=self.on_in_doubt,
            on_rejected=self.on_rejected,
        )

    def _rows(self) -> Any:
        from airflow_provider_telekom_sms.campaign.files import SUFFIXES
        from airflow_provider_telekom_sms.exceptions import SourceError

        source = reveal(self.source)
        if isinstance(source, str) and source is not self.source and not source.lower().endswith(SUFFIXES):
            # It may hold rows, so it must not be quoted.
            raise SourceError(
                f"source: a template gave text that is no path, {self.source}; give a task's output itself, "
                "or set render_template_as_native_obj=True on the DAG"
            )
        return source

    def _plan_only(self, job: Job) -> dict[str, Any]:
        from airflow_provider_telekom_sms.campaign.run import plan_only, scratch_ledger

        with scratch_ledger() as ledger:
            owner, counts = plan_only(ledger, job)
            self._report(ledger, owner.campaign_id)
        self.log.info("Dry run of campaign %s: %s", job.campaign_id, _in_words(counts))
        return self._summary(job.campaign_id, counts)

    def _report(self, ledger: Ledger, campaign_id: int) -> None:
        from airflow_provider_telekom_sms.campaign.report import write_report

        if self.report_path:
            write_report(ledger, campaign_id, self.report_path)
            self.log.info("The report is in %s", self.report_path)

    def _fail_if_rejected(self, counts: Counts) -> None:
        if self.fail_on is None or not counts.rejected:
            return
        share = counts.rejected / (counts.rejected + counts.accepted + counts.in_doubt)
        if self.fail_on == "any" or share > float(self.fail_on):
            raise AirflowFailException(
                f"fail_on={self.fail_on!r}: {counts.rejected} messages ({share:.1%}) were rejected"
            )

    def _summary(self, campaign_id: str, counts: Counts) -> dict[str, Any]:
        numbers = counts.as_dict()
        del numbers["sent_parts"]
        summary: dict[str, Any] = {"campaign_id": campaign_id, **numbers, "report_path": self.report_path}
        summary["dry_run"] = self.dry_run_only
        if self.price_per_part is not None:
            summary["price"] = round(counts.parts * self.price_per_part, 6)
        return summary

    def _delivered(self, ledger: Ledger, campaign_id: str, by_code: dict[str, int]) -> dict[str, Any]:
        from airflow_provider_telekom_sms.campaign.polling import Criteria
        from airflow_provider_telekom_sms.ledger import reporting

        self.log.info("Delivery of campaign %s: %s", campaign_id, describe(by_code))
        number = reporting.campaign_number(ledger, campaign_id)
        self._report(ledger, number)
        summary = self._summary(campaign_id, reporting.counts(ledger, number))
        delivered = Criteria().successes(by_code)
        undelivered = sum(by_code.values()) - delivered
        return {**summary, "delivered": delivered, "undelivered": undelivered, "delivery": by_code}


class TelekomSmsCheckNumberOperator(BaseOperator):
    """
    Asks whether numbers exist, and whose they are (manual v1, check_phone_number).

    :param phone_numbers: a Slovak number in any usual spelling, or a list of them
    :param telekom_sms_conn_id: Airflow connection of type ``telekom_sms``
    :return: for each number, in order, ``{"phone_number" (masked), "exists", "operator"}``
    """

    template_fields: Sequence[str] = ("phone_numbers", "telekom_sms_conn_id")
    ui_color = "#fde7f3"

    phone_numbers = PrivateField(show_phones)

    def __init__(
        self,
        *,
        phone_numbers: str | Sequence[str],
        telekom_sms_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.phone_numbers = phone_numbers
        self.telekom_sms_conn_id = telekom_sms_conn_id

    @not_retried()
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Ask; every number is checked before the first question."""
        from airflow_provider_telekom_sms.api.phone import national_form
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook

        given = reveal(self.phone_numbers)
        numbers = [national_form(n) for n in ([given] if isinstance(given, str) else given)]
        with TelekomSmsHook(self.telekom_sms_conn_id) as hook:
            return [hook.check_phone_number(number).masked() for number in numbers]


def _identity(context: Context, *, with_map_index: bool = False) -> tuple[str, str]:
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


def _in_words(counts: Counts) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.as_dict().items() if number) or "no rows"


def _is_number(value: Any, least: float, most: float = float("inf")) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _check_choice(operator: Any, name: str, *allowed: str) -> None:
    if getattr(operator, name) not in allowed:
        raise _wrong(name, getattr(operator, name), ", ".join(map(repr, allowed)))


def _wrong(name: str, found: object, allowed: str) -> Exception:
    from airflow_provider_telekom_sms.exceptions import ConfigurationError

    return ConfigurationError(f"{name}: found {found!r}, allowed: {allowed}")
