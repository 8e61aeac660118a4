"""The sensor: waits until messages are delivered."""

from __future__ import annotations

import re
import time
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_telekom_sms.operators.errors import not_retried
from airflow_provider_telekom_sms.operators.waiting import describe, read_event
from airflow_provider_telekom_sms.settings import DEFAULT_CONN_ID
from airflow_provider_telekom_sms.triggers.telekom_sms import TelekomSmsDeliveryTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_telekom_sms.campaign.polling import Criteria
    from airflow_provider_telekom_sms.ledger.delivery import Progress, Scope
    from airflow_provider_telekom_sms.ledger.store import Ledger


class TelekomSmsDeliverySensor(BaseSensorOperator):
    """
    Waits until messages are delivered (manual v1, check_message).

    DELIVERED and READ are success; EXPIRED, DELETED, UNDELIVERABLE and DENIED are final failures, ERROR once
    it has stood for 60 minutes. The sensor succeeds as soon as enough are delivered, and fails, without
    retries, as soon as that can no longer happen. What it learns is kept in the ledger.

    :param message_ids: ids of the API or receipts of a send operator, one or a short list
    :param campaign_id: or a campaign of the ledger, of any size
    :param success_statuses: delivery codes that count as delivered; DELIVERED and READ by default
    :param unknown: what UNKNOWN (sent, nothing more will be known) counts as: ``fail`` or ``success``
    :param min_success_ratio: share of messages, 0 to 1, that must be delivered
    :param telekom_sms_conn_id: Airflow connection of type ``telekom_sms``
    :param ledger_conn_id: Airflow connection of the ledger's database; by default what ``[telekom_sms]`` says
    :param deferrable: wait in the triggerer instead of a worker
    :param poke_interval: seconds between two checks of one message at least; they rise with its age
    """

    template_fields: Sequence[str] = ("message_ids", "campaign_id", "telekom_sms_conn_id", "ledger_conn_id")
    ui_color = "#fde7f3"

    def __init__(
        self,
        *,
        message_ids: str
        | int
        | Mapping[str, Any]
        | Sequence[str | int | Mapping[str, Any]]
        | XComArg
        | None = None,
        campaign_id: str | XComArg | None = None,
        success_statuses: Sequence[str] | None = None,
        unknown: str = "fail",
        min_success_ratio: float = 1.0,
        telekom_sms_conn_id: str = DEFAULT_CONN_ID,
        ledger_conn_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float | timedelta = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.message_ids = message_ids
        self.campaign_id: Any = campaign_id
        self.success_statuses = success_statuses
        self.unknown = unknown
        self.min_success_ratio = min_success_ratio
        self.telekom_sms_conn_id = telekom_sms_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.deferrable = deferrable
        self._criteria()

    def execute(self, context: Context) -> Any:
        """Wait; in the triggerer if ``deferrable``, after a first look."""
        if not self.deferrable:
            return super().execute(context)
        looked = self.poke(context)
        if looked.is_done:
            return looked.xcom_value
        scope = self._scope()
        return self.defer(
            trigger=TelekomSmsDeliveryTrigger(
                telekom_sms_conn_id=self.telekom_sms_conn_id,
                campaign_id=scope.campaign_id,
                message_ids=scope.message_ids,
                ledger_id=self._ledger().id,
                ledger_conn_id=self.ledger_conn_id,
                success_statuses=self.success_statuses,
                unknown=self.unknown,
                min_success_ratio=self.min_success_ratio,
                poll_interval=self.poke_interval,
                deadline=time.time() + self.timeout,
            ),
            method_name="execute_complete",
            # The trigger tells more of a time-out than Airflow does, so it comes first.
            timeout=timedelta(seconds=self.timeout + 60),
        )

    @not_retried()
    def poke(self, context: Context) -> PokeReturnValue:
        """Ask for what is due, and judge."""
        from airflow_provider_telekom_sms.campaign.engine import run_blocking
        from airflow_provider_telekom_sms.campaign.polling import Watcher
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
        from airflow_provider_telekom_sms.ledger import delivery
        from airflow_provider_telekom_sms.observability import TaskObserver, tags_of

        observer = TaskObserver(tags_of(context.get("ti")))
        criteria, scope, ledger = self._criteria(), self._scope(), self._ledger()
        if scope.message_ids:
            delivery.watch(ledger, scope.message_ids)

        async def look() -> Progress:
            async with TelekomSmsHook(self.telekom_sms_conn_id).async_transport() as transport:
                watcher = Watcher(ledger, transport, scope, interval=self.poke_interval, observer=observer)
                return await watcher.check_due()

        progress = run_blocking(look)
        self.log.info("Delivery: %s", describe(progress.by_code))
        verdict = criteria.verdict(progress)
        if verdict == "failure":
            self._fail(progress.by_code)
        return PokeReturnValue(verdict == "success", progress.by_code)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, int]:
        """Go on after the trigger."""
        status, by_code = read_event(event)
        if status == "timeout":
            from airflow.providers.common.compat.sdk import AirflowSensorTimeout

            raise AirflowSensorTimeout(f"Not decided in {self.timeout:g} s; delivery: {describe(by_code)}")
        if status == "failure":
            self._fail(by_code)
        return by_code

    def _fail(self, by_code: dict[str, int]) -> NoReturn:
        message = (
            f"Too few messages were delivered (min_success_ratio={self.min_success_ratio:g}): "
            f"{describe(by_code)}"
        )
        # Here and not by the base class, which sees to it only while it pokes.
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(message)
        # A retry would only ask again what is final.
        raise AirflowFailException(message)

    def _criteria(self) -> Criteria:
        from airflow_provider_telekom_sms.campaign.polling import Criteria

        return Criteria.check(
            success_statuses=self.success_statuses,
            unknown=self.unknown,
            min_success_ratio=self.min_success_ratio,
        )

    def _scope(self) -> Scope:
        from airflow_provider_telekom_sms.exceptions import ConfigurationError
        from airflow_provider_telekom_sms.ledger.delivery import Scope

        message_ids = tuple(dict.fromkeys(_ids(self.message_ids)))
        if bool(message_ids) == bool(self.campaign_id):
            raise ConfigurationError("message_ids, campaign_id: give exactly one of the two")
        return Scope(self.campaign_id or None, message_ids)

    def _ledger(self) -> Ledger:
        from airflow_provider_telekom_sms.ledger.location import open_ledger

        return open_ledger(self.ledger_conn_id)


def _ids(given: Any) -> Iterator[str]:
    """
    Read ids from what a DAG's author, an XCom or a template gave.

    :raises ConfigurationError: for what is no id; it would be waited for until the time-out
    """
    from airflow_provider_telekom_sms.exceptions import ConfigurationError

    if isinstance(given, Mapping):
        given = given.get("message_id")
    if isinstance(given, str) and given.lstrip().startswith(("[", "{")):
        # A template that rendered to a list or a receipt, and so to its text.
        try:
            yield from _ids(literal_eval(given.strip()))
        except (ValueError, SyntaxError):
            raise ConfigurationError("message_ids: found a text that is no list of ids") from None
    elif isinstance(given, Sequence) and not isinstance(given, str):
        for one in given:
            yield from _ids(one)
    elif isinstance(given, str | int) and not isinstance(given, bool):
        text = str(given).strip()
        if text and not re.fullmatch(r"[\w-]{1,64}", text, re.ASCII):
            raise ConfigurationError(f"message_ids: found a text of {len(text)} characters that is no id")
        if text:
            yield text
    elif given is not None:
        raise ConfigurationError(f"message_ids: found {type(given).__name__}, allowed are ids and receipts")
