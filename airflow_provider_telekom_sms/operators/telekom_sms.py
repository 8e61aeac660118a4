"""The operators: single sends, campaigns and number checks, none of which sends twice when it is retried."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_telekom_sms.operators.base import (
    MESSAGE_FIELDS,
    DrainingOperator,
    MessageOperator,
    PlanningOperator,
    ReceiptsOperator,
    check_batch_size,
    in_words,
    message_parts,
    wrong,
)
from airflow_provider_telekom_sms.operators.errors import not_retried
from airflow_provider_telekom_sms.operators.fields import (
    PrivateField,
    as_payload,
    is_template,
    known,
    reveal,
    show_content,
    show_phones,
    show_recipients,
    show_source,
    show_text,
)
from airflow_provider_telekom_sms.settings import DEFAULT_BATCH_SIZE, DEFAULT_CONN_ID

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_telekom_sms.api.messages import (
        CallbackUrl,
        Channel,
        MultichannelMessage,
        Rcs,
        Recipient,
        Sms,
        SmsParameters,
    )
    from airflow_provider_telekom_sms.campaign.plan import CampaignSpec
    from airflow_provider_telekom_sms.campaign.run import Job
    from airflow_provider_telekom_sms.campaign.suppression import SuppressionList
    from airflow_provider_telekom_sms.ledger.reporting import Counts

_PLANNING_FIELDS: tuple[str, ...] = (
    "source",
    "sql",
    "sql_conn_id",
    "sql_parameters",
    "text",
    "rcs",
    "sms",
    "channels",
    "callback_urls",
    "campaign_id",
    "suppression",
    "send_window",
    "report_path",
    *MESSAGE_FIELDS,
    "telekom_sms_conn_id",
    "ledger_conn_id",
)


class TelekomSmsSendOperator(MessageOperator, ReceiptsOperator):
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
    :param ledger_conn_id: Airflow connection of the ledger's database; by default what ``[telekom_sms]`` says
    :return: the receipt as a dict, numbers masked; a list of them for a list
    """

    template_fields: Sequence[str] = ("to", "text", *MESSAGE_FIELDS, "telekom_sms_conn_id")

    to = PrivateField(show_phones)
    text = PrivateField(show_text)

    def __init__(
        self,
        *,
        to: str | Sequence[str] | XComArg,
        text: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.text = text

    @property
    def _messages(self) -> list[tuple[str, str]]:
        from airflow_provider_telekom_sms.api.messages import check_text

        text = check_text(reveal(self.text))
        return [(number, text) for number in self._numbers()]

    def _numbers(self) -> list[Any]:
        to = reveal(self.to)
        return list(to) if isinstance(to, Sequence) and not isinstance(to, str) else [to]

    def _spec(self) -> CampaignSpec:
        from airflow_provider_telekom_sms.campaign.plan import CampaignSpec

        text = reveal(self.text)
        rows = [{"phone": number, "text": text} for number in self._numbers()]
        return CampaignSpec(rows, self._settings(), text_column="text", on_invalid="fail")

    def _shaped(self, receipts: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
        to = reveal(self.to)
        return receipts if isinstance(to, Sequence) and not isinstance(to, str) else receipts[0]


class TelekomRcsSendOperator(ReceiptsOperator):
    """
    Sends an RCS message to a few recipients, with an SMS where RCS does not arrive (manual v2, message).

    ``rcs`` and ``sms`` are models, or dicts in the manual's spelling. Where nothing is templated the message
    is checked when the DAG is parsed, else when the task runs, before the first message leaves. Every message
    goes through the ledger: a retry or a cleared task does not send it again.

    :param recipients: Slovak mobile numbers in any usual spelling, or ``{"phone": …, "externalId": …}``; a
        single one need not be in a list
    :param rcs: the RCS message: a text, a file, a card or a carousel; see ``api.rcs`` for short ways
    :param sms: the SMS, as a text or ``{"text", "from", "unicode"}``
    :param channels: the order of channels and how long each has, by default where both are given
        ``[{"type": "rcs", "ttl": 30}, {"type": "sms"}]``, ttl in seconds
    :param delivery_time: when to send; a naive time is Europe/Bratislava, a past one means at once
    :param priority: 1 (low), 2 (standard), 3 (high)
    :param group_id: cadence group through which to send
    :param callback_urls: whom the API tells of delivery and replies,
        ``[{"url": …, "types": ["dsn", "postback"]}]``
    :param on_in_doubt: what to do about messages that may have been sent or not: ``fail``, or ``resend`` in
        the next try, perhaps twice
    :param batch_size: recipients of one request
    :param wait_for_delivery: end only when the delivery of all is final; fail if one was not delivered
    :param deferrable: wait in the triggerer instead of a worker
    :param poll_interval: seconds between two checks of one message at least
    :param delivery_timeout: how long to wait, seconds or timedelta
    :param telekom_sms_conn_id: Airflow connection of type ``telekom_sms``
    :param ledger_conn_id: Airflow connection of the ledger's database; by default what ``[telekom_sms]`` says
    :return: a receipt for each recipient as a dict, numbers masked
    :raises InvalidMessageError: when the DAG is parsed, naming every path that is wrong
    """

    template_fields: Sequence[str] = (
        "recipients",
        "rcs",
        "sms",
        "channels",
        "delivery_time",
        "priority",
        "group_id",
        "callback_urls",
        "telekom_sms_conn_id",
    )

    recipients = PrivateField(show_recipients)
    rcs = PrivateField(show_content)
    sms = PrivateField(show_content)
    _has_external_ids = True

    def __init__(
        self,
        *,
        recipients: str
        | Mapping[str, Any]
        | Recipient
        | Sequence[str | Mapping[str, Any] | Recipient]
        | XComArg,
        rcs: Mapping[str, Any] | Rcs | None = None,
        sms: str | Mapping[str, Any] | Sms | None = None,
        channels: Sequence[Mapping[str, Any] | Channel] | None = None,
        delivery_time: datetime | str | None = None,
        priority: int | str | None = None,
        group_id: int | str | None = None,
        callback_urls: Sequence[Mapping[str, Any] | CallbackUrl] | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recipients = as_payload(recipients)
        self.rcs = as_payload(rcs)
        self.sms = as_payload(sms)
        self.channels = as_payload(channels)
        self.delivery_time = delivery_time
        self.priority = priority
        self.group_id = group_id
        self.callback_urls = as_payload(callback_urls)
        self.batch_size = batch_size
        check_batch_size(batch_size)
        #: A template that gives nothing must not make an SMS of an RCS message.
        self._wants_rcs = rcs is not None
        if not is_template((delivery_time, priority, group_id)):
            self._parameters()
        for warning in self._message(parsing=True).warnings:
            warnings.warn(warning, stacklevel=2)

    def _message(
        self, sender: str | None = None, agent: str | None = None, *, parsing: bool = False
    ) -> MultichannelMessage:
        """
        Give the whole message, checked.

        :param parsing: what is still to be rendered is replaced by something that is right
        """
        from airflow_provider_telekom_sms.api.messages import MultichannelMessage
        from airflow_provider_telekom_sms.campaign.multichannel import ANY_RECIPIENT
        from airflow_provider_telekom_sms.exceptions import InvalidMessageError

        parts = message_parts(self, sender=sender, agent=agent, parsing=parsing)
        if parts["rcs"] is None and self._wants_rcs:
            raise wrong("rcs", None, "an RCS message: its template gave nothing")
        recipients, problems = self._recipients(known(self.recipients, [ANY_RECIPIENT], parsing=parsing))
        given = {"recipients": recipients, **{n: part for n, part in parts.items() if part is not None}}
        message = None
        try:
            message = MultichannelMessage.check(given)
        except InvalidMessageError as error:
            problems.append(str(error))
        if message is not None and not problems:
            problems += _two_ids(message)
        if message is None or problems:
            raise InvalidMessageError("; ".join(problems))
        return message

    def _parameters(self) -> SmsParameters:
        from airflow_provider_telekom_sms.api.messages import SmsParameters

        return SmsParameters.check(
            delivery_time=self.delivery_time, priority=self.priority, group_id=self.group_id
        )

    def _given(self) -> Sequence[Any]:
        return _listed(reveal(self.recipients))

    def _recipients(self, given: Any) -> tuple[list[Any], list[str]]:
        """Give the recipients in the manual's spelling, whatever that of their numbers, and wrong numbers."""
        from airflow_provider_telekom_sms.api.phone import international_form, parse_mobile
        from airflow_provider_telekom_sms.campaign.multichannel import ANY_RECIPIENT
        from airflow_provider_telekom_sms.exceptions import InvalidPhoneNumberError

        recipients, problems = [], []
        for index, one in enumerate(_listed(given)):
            recipient = dict(one) if isinstance(one, Mapping) else {"phone": one}
            # Without a number it is refused with its path, like all else.
            if "phone" in recipient and not is_template(recipient["phone"]):
                try:
                    recipient["phone"] = international_form(parse_mobile(recipient["phone"]))
                except InvalidPhoneNumberError as error:
                    problems.append(f"recipients[{index}].phone: {error}")
                    recipient |= ANY_RECIPIENT
            recipients.append(recipient)
        return recipients, problems

    @cached_property
    def _whole(self) -> dict[str, Any]:
        settings = self.hook.settings
        message = self._message(settings.sender, settings.rcs_agent)
        for warning in message.warnings:
            self.log.warning("%s", warning)
        return message.payload()

    @property
    def _content(self) -> str:
        from airflow_provider_telekom_sms.campaign.multichannel import written

        return written(self._parts)

    @property
    def _parts(self) -> dict[str, Any]:
        return {name: self._whole[name] for name in ("rcs", "sms") if name in self._whole}

    @property
    def _messages(self) -> list[tuple[str, str]]:
        from airflow_provider_telekom_sms.campaign.multichannel import identity_of

        if not self._given():
            return []
        content = identity_of(self._parts)
        return [(recipient["phone"], content) for recipient in self._whole["recipients"]]

    def _spec(self) -> CampaignSpec:
        from airflow_provider_telekom_sms.campaign.multichannel import CONTENT, EXTERNAL_ID, Multichannel
        from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings

        whole, content = self._whole, self._content
        shared = Multichannel(whole["channels"], whole.get("callbackUrls"))
        rows = [
            {"phone": one["phone"], CONTENT: content, EXTERNAL_ID: one.get("externalId")}
            for one in whole["recipients"]
        ]
        settings = MessageSettings(self._parameters(), multichannel=shared)
        return CampaignSpec(rows, settings, on_invalid="fail")

    def _shaped(self, receipts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return receipts


def _listed(given: Any) -> Sequence[Any]:
    return given if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _two_ids(message: MultichannelMessage) -> Iterator[str]:
    """
    Find a number that comes with two ids, and an id that comes with two numbers.

    A number gets a message once, and one of its ids would be lost; an id must tell whose reply it stands in.
    """
    by_phone: dict[str, int] = {}
    by_id: dict[str, int] = {}
    for index, one in enumerate(message.recipients):
        before = by_phone.setdefault(one.phone, index)
        if message.recipients[before].external_id != one.external_id:
            yield (
                f"recipients[{index}].externalId: found another one than with recipients[{before}], "
                "which has the same number; a number gets a message once, so allowed is one externalId"
            )
        elif one.external_id is not None:
            before = by_id.setdefault(one.external_id, index)
            if message.recipients[before].phone != one.phone:
                yield (
                    f"recipients[{index}].externalId: found that of recipients[{before}], which has another "
                    "number; allowed is an externalId for each number"
                )


class TelekomSmsBulkSendOperator(PlanningOperator, DrainingOperator):
    """
    Sends a campaign: a text, card or carousel per row of a source (manual v1, send_message; v2, message).

    The campaign is planned into the ledger first: every row is validated, normalised, rendered, deduplicated
    and counted before a message leaves. It is sent from there, so a retry goes on where the last try stopped.
    The same campaign never sends the same number and text (or key) twice.

    :param source: rows: a DataFrame, a list of dicts, a path or ObjectStoragePath (``.csv``, ``.csv.gz``,
        ``.parquet``), or a callable that gives one of these or an iterator of them
    :param sql: or a query that gives the rows, or a ``.sql`` file; streamed, never whole in memory
    :param sql_conn_id: Airflow connection to run it over, and a ``suppression`` that is SQL: any database
    :param sql_parameters: values for the placeholders of ``sql``
    :param text: template of the text over a row's columns, ``{name}``, ``{amount:.2f}``
    :param text_column: or the column that holds the text
    :param rcs: or an RCS message, a model or a dict in the manual's spelling, whose texts are such templates;
        rows with the same content travel together, ``batch_size`` recipients in a request
    :param sms: the SMS where RCS does not arrive: a template, or ``{"text": template, "from", "unicode"}``
    :param channels: with ``rcs`` or ``api="v2"``: the order of channels and how long each has, by default
        where both are given ``[{"type": "rcs", "ttl": 30}, {"type": "sms"}]``, ttl in seconds
    :param callback_urls: with ``rcs`` or ``api="v2"``: whom the API tells of delivery and replies
    :param api: ``v1``, or ``v2`` to send texts over API v2, where one identical text travels in batches;
        ``rcs`` is always sent over v2
    :param to_column: column that holds the number, as text
    :param key_column: column whose value is sent to once; by default number and text together
    :param campaign_id: the campaign's id; by default the task instance
    :param encoding: encoding of a CSV file
    :param delimiter: delimiter of a CSV file; found out by default
    :param suppression: numbers that must not get a message: a list, a path, SQL or a ``.sql`` file
    :param send_window: when messages may reach phones, as OpenStreetMap writes opening hours, in the time of
        Bratislava: ``08:00-20:00``, ``Mo-Fr 08:00-20:00; PH off``; outside, a message is handed over with
        the next allowed ``delivery_time``
    :param max_messages: refuse the plan if more were to be sent
    :param max_parts_per_message: a longer text makes its row invalid; the API takes at most 3
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
    :param concurrency: requests in flight at once
    :param batch_size: recipients of one request, over API v2
    :param rate_limit: messages per second for the key; by default the connection's
    :param wait_for_delivery: end only when the delivery of all is final
    :return: the campaign's counts over all tries so far

    The other parameters are those of :class:`TelekomSmsSendOperator`.
    """

    template_fields: Sequence[str] = _PLANNING_FIELDS
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012

    def __init__(self, *, dry_run: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(dry_run, bool):
            # A text, which every template gives, would be true.
            raise wrong("dry_run", dry_run, "True, False")
        self.dry_run_only = dry_run

    @not_retried()
    def execute(self, context: Context) -> dict[str, Any]:
        """Plan the campaign, unless an earlier try did, send what is not sent yet, and report."""
        self._check_report_path()
        job = self._job(context, self._spec())
        return self._plan_only(job) if self.dry_run_only else self._send(context, job)

    def campaign_of(self, ti: Any) -> str | None:
        """Give the id of the task instance's campaign; None for a dry run, of which nothing is kept."""
        return None if self.dry_run_only else super().campaign_of(ti)

    def _plan_only(self, job: Job) -> dict[str, Any]:
        from airflow_provider_telekom_sms.campaign.run import run_job, scratch_ledger

        with scratch_ledger() as ledger:
            counts = run_job(ledger, self.hook, replace(job, sends=False), self._stop).counts
        self.log.info("Dry run of campaign %s: %s", job.campaign_id, in_words(counts))
        return self._summary(job.campaign_id, counts)

    def _summary(self, campaign_id: str, counts: Counts) -> dict[str, Any]:
        return {**super()._summary(campaign_id, counts), "dry_run": self.dry_run_only}


class TelekomSmsCampaignPlanOperator(PlanningOperator):
    """
    Plans a campaign and sends nothing: the first half of :class:`TelekomSmsBulkSendOperator`.

    A person can approve the plan before :class:`TelekomSmsCampaignSendOperator` sends it. The summary names
    no recipient: numbers, and in the sample texts what comes from the rows, are masked.

    :return: ``campaign_id``, the counts of the plan, ``messages`` to send, ``parts``, ``price``, ``by_parts``
        (messages and price by number of parts), ``costs`` (what forces Unicode and further parts),
        ``invalid_rows``, ``samples``, and ``description``: all of it for a person, in Markdown

    The parameters are those of :class:`TelekomSmsBulkSendOperator` that concern the plan.
    """

    template_fields: Sequence[str] = _PLANNING_FIELDS
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012

    def __init__(self, *, multiple_outputs: bool = True, **kwargs: Any) -> None:
        # So that plan.output["campaign_id"] is the id, and not what was left under that key by nobody.
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)

    @not_retried()
    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, unless an earlier try did, and say what would be sent."""
        from airflow_provider_telekom_sms.campaign.run import Job
        from airflow_provider_telekom_sms.campaign.summary import describe_plan, summarize

        self._check_report_path()
        campaign_id, slot = self._campaign(context)
        job = Job(
            campaign_id,
            slot,
            self._spec(),
            self._suppression(),
            sends=False,
            report_path=self.report_path,
        )
        ledger = self._ledger()
        result = self._run(context, ledger, job)
        summary = summarize(ledger, campaign_id, int(result.plan_id or 0), self.price_per_part)
        summary["report_path"] = self.report_path
        return {**summary, "description": describe_plan(summary)}


class TelekomSmsCampaignSendOperator(DrainingOperator):
    """
    Sends a planned campaign: the second half of :class:`TelekomSmsBulkSendOperator`.

    Several can drain one campaign side by side: ``.partial(campaign_id=…).expand(worker=[0, 1, 2, 3])``. Each
    message is claimed by one of them; one that dies leaves only its own claims in doubt, and the others send
    the rest. Whoever finishes while no other is at work gives the verdict (``on_in_doubt``, ``fail_on``),
    writes the report and waits for delivery. Give them ``retries``: who was killed has to come back for that.

    :param campaign_id: the campaign's id, for example ``plan.output["campaign_id"]``
    :param worker: tells mapped tasks apart; its value means nothing
    :param suppression: numbers that must not get a message, as they stand now and not when it was planned
    :param sql_conn_id: Airflow connection to run a suppression that is SQL over
    :param to_column: column of the suppression that holds the numbers, where there are several

    The other parameters are those of :class:`TelekomSmsBulkSendOperator` that concern sending.
    """

    template_fields: Sequence[str] = (
        "campaign_id",
        "report_path",
        "suppression",
        "sql_conn_id",
        "telekom_sms_conn_id",
        "ledger_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)

    suppression = PrivateField(show_source, files=True)

    def __init__(
        self,
        *,
        campaign_id: str | XComArg,
        worker: int = 0,
        suppression: Any = None,
        sql_conn_id: str | None = None,
        to_column: str = "phone",
        **kwargs: Any,
    ) -> None:
        super().__init__(campaign_id=campaign_id, **kwargs)
        self.worker = worker
        self.suppression = suppression
        self.sql_conn_id = sql_conn_id
        self.to_column = to_column

    def _suppression(self) -> SuppressionList | None:
        from airflow_provider_telekom_sms.campaign.suppression import SuppressionList

        given = reveal(self.suppression)
        return None if given is None else SuppressionList(given, self.to_column, self.sql_conn_id)

    @not_retried()
    def execute(self, context: Context) -> dict[str, Any]:
        """Send what is not sent yet, whoever planned it."""
        self._check_report_path()
        if not self.campaign_id:
            raise wrong("campaign_id", self.campaign_id, "the id of a planned campaign")
        return self._send(context, self._job(context, None))


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
        phone_numbers: str | Sequence[str] | XComArg,
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
