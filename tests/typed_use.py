"""The public API as users write it: ``make types`` checks it, and nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

from airflow.sdk import DAG, Asset, AssetWatcher, Context, ObjectStoragePath, XComArg, task

from airflow_provider_telekom_sms.api import rcs
from airflow_provider_telekom_sms.api.delivery import DeliveryStatus
from airflow_provider_telekom_sms.api.messages import MultichannelMessage, Rcs
from airflow_provider_telekom_sms.api.results import NumberInfo, Receipt, SmsGroup
from airflow_provider_telekom_sms.decorators.telekom_sms import telekom_sms_task
from airflow_provider_telekom_sms.events import answers
from airflow_provider_telekom_sms.exceptions import Fate, TelekomSmsError
from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
from airflow_provider_telekom_sms.notifications.telekom_sms import TelekomSmsNotifier
from airflow_provider_telekom_sms.operators.ledger import TelekomSmsPurgeOperator, TelekomSmsSettleOperator
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomRcsSendOperator,
    TelekomSmsBulkSendOperator,
    TelekomSmsCampaignPlanOperator,
    TelekomSmsCampaignSendOperator,
    TelekomSmsCheckNumberOperator,
    TelekomSmsSendOperator,
)
from airflow_provider_telekom_sms.sensors.telekom_sms import TelekomSmsDeliverySensor
from airflow_provider_telekom_sms.triggers.events import TelekomSmsEventTrigger
from airflow_provider_telekom_sms.triggers.telekom_sms import TelekomSmsDeliveryTrigger

if TYPE_CHECKING:
    import pandas as pd


# --- the hook ---------------------------------------------------------------------------------------------


def blocking() -> None:
    with TelekomSmsHook("telekom_sms_default") as hook:
        receipt = hook.send_message("0903 123 450", "Ahoj", priority=2, delivery_time=datetime(2026, 1, 5, 9))
        assert_type(receipt, Receipt)
        assert_type(receipt.message_id, str)
        assert_type(hook.check_message(receipt.message_id), DeliveryStatus)
        assert_type(hook.check_message(1).delivered_at, datetime | None)
        assert_type(hook.check_message(1).is_terminal, bool)
        assert_type(hook.check_phone_number("0903123450"), NumberInfo)
        assert_type(hook.sms_groups(limit=10), list[SmsGroup])
        assert_type(hook.test_connection(), tuple[bool, str])
        hook.ping()
        message = MultichannelMessage.check({"recipients": [{"phone": "421903123450"}], "sms": {"text": "A"}})
        assert_type(message, MultichannelMessage)
        assert_type(hook.send_multichannel(message), list[Receipt])
        # What is misspelled or of another type is found before it runs.
        hook.send_message("0903123450", "Ahoj", prioritty=2)  # type: ignore[call-arg]
        hook.send_message("0903123450", "Ahoj", callback="yes")  # type: ignore[arg-type]


async def not_blocking() -> None:
    async with TelekomSmsHook() as hook:
        assert_type(await hook.asend_message("0903123450", "Ahoj", prefer_rcs=True), Receipt)
        assert_type(await hook.acheck_message("100"), DeliveryStatus)
        assert_type(await hook.acheck_phone_number("0903123450"), NumberInfo)
        assert_type(await hook.asms_groups(), list[SmsGroup])
        message: dict[str, Any] = {"recipients": [{"phone": "421903123450"}], "sms": {"text": "A"}}
        assert_type(await hook.asend_multichannel(message), list[Receipt])
        await hook.aping()


def errors() -> str:
    try:
        TelekomSmsHook().ping()
    except TelekomSmsError as error:
        assert_type(error.fate, Fate)
        return "again" if error.fate is Fate.NOT_SENT else str(error)
    return ""


# --- messages ---------------------------------------------------------------------------------------------

QUESTION = rcs.text("Prídete?", replies={"Áno": "yes", "Nie": "no"})
OFFER = rcs.carousel(
    [
        rcs.card(
            "Kávovary",
            "Do nedele",
            image="https://example.com/a.jpg",
            buttons=[rcs.link("A", "https://a.sk")],
        ),
        rcs.card("Televízory", buttons=["Chcem", rcs.call("Zavolať", "+421800123456")]),
    ],
    width="SMALL",
)
APPOINTMENT = rcs.calendar(
    "Uložiť", title="Kontrola", description="…", start=datetime(2026, 3, 1, 9), end=timedelta(hours=1)
)
assert_type(QUESTION, Rcs)
assert_type(OFFER, Rcs)
rcs.card("A", height="HUGE")  # type: ignore[arg-type]


# --- DAGs -------------------------------------------------------------------------------------------------

notify = TelekomSmsNotifier("0903123450", "Failed: {{ ti.task_id }}", throttle=timedelta(hours=1))
said_no = Asset(
    "said_no",
    watchers=[AssetWatcher(name="no", trigger=TelekomSmsEventTrigger("postback", postback_data="no"))],
)


def rows() -> Iterator[dict[str, str]]:
    yield {"phone": "0903123450", "name": "Eva"}


class MyCampaign(TelekomSmsBulkSendOperator):
    """An operator of the user's own."""

    def execute(self, context: Context) -> dict[str, Any]:
        summary = super().execute(context)
        assert_type(summary, dict[str, Any])
        return summary


with DAG("classic", schedule=[said_no], default_args={"on_failure_callback": notify}) as classic:
    TelekomSmsSendOperator(task_id="one", to="0903123450", text="Ahoj", priority="{{ params.priority }}")
    few = TelekomSmsSendOperator(task_id="few", to=["0903123450", "0903123451"], text="Ahoj", retries=2)
    TelekomRcsSendOperator(
        task_id="rcs",
        recipients=[{"phone": "0903123450", "externalId": "A-1"}],
        rcs=QUESTION,
        sms={"text": "Prídete?"},
        channels=[{"type": "rcs", "ttl": 30}, {"type": "sms"}],
    )
    TelekomSmsBulkSendOperator(task_id="callable", source=rows, text="Ahoj {name}", on_invalid="fail")
    TelekomSmsBulkSendOperator(task_id="answers", source=answers, text="Ďakujeme", key_column="id")
    TelekomSmsBulkSendOperator(
        task_id="file", source=ObjectStoragePath("s3://bucket/rows.csv"), rcs=OFFER, wait_for_delivery=True
    )
    plan = TelekomSmsCampaignPlanOperator(
        task_id="plan", sql="SELECT phone FROM people", sql_conn_id="warehouse", text="Ahoj"
    )
    # Airflow's types do not know that a task's output has keys.
    planned: XComArg = plan.output["campaign_id"]  # type: ignore[index]
    TelekomSmsCampaignSendOperator(task_id="send", campaign_id=planned)
    TelekomSmsCampaignSendOperator.partial(task_id="workers", campaign_id=planned, retries=3).expand(
        worker=[0, 1, 2, 3]
    )
    TelekomSmsDeliverySensor(task_id="delivered", message_ids=few.output, deferrable=True)
    TelekomSmsDeliverySensor(task_id="all", campaign_id="jar", min_success_ratio=0.9, timeout=3600)
    TelekomSmsCheckNumberOperator(task_id="check", phone_numbers=["0903123450"])
    TelekomSmsSettleOperator(task_id="settle", campaign_id="jar", decision="drop", rows="3,7-9", reason="old")
    TelekomSmsPurgeOperator(task_id="purge", older_than=timedelta(days=90))
    TelekomSmsDeliveryTrigger(campaign_id="jar")

with DAG("taskflow", schedule=None) as taskflow:

    @task
    def numbers() -> list[str]:
        return ["0903123450"]

    @task
    def people() -> list[dict[str, str]]:
        return [{"phone": "0903123450", "name": "Eva"}]

    @task.telekom_sms(text="Ahoj {name}", key_column="phone", multiple_outputs=True, retries=3)
    def remind(day: str) -> pd.DataFrame:
        raise NotImplementedError

    @telekom_sms_task(text="Ahoj {name}")
    def remind_others(day: str, *, late: bool = False) -> Iterator[dict[str, str]]:
        yield {"phone": "0903123450", "name": day}

    sent = remind("{{ ds }}")
    assert_type(sent, XComArg)
    assert_type(remind.override(task_id="again")("{{ ds }}"), XComArg)
    assert_type(remind_others.partial(late=True).expand(day=["2026-01-01", "2026-01-02"]), XComArg)
    remind(day=1)  # type: ignore[arg-type]
    remind_others()  # type: ignore[call-arg, misc]

    TelekomSmsBulkSendOperator(task_id="xcom", source=people(), text="Ahoj {name}")
    TelekomSmsBulkSendOperator.partial(task_id="mapped", text="Ahoj {name}").expand(source=[[], []])
    TelekomSmsSendOperator(task_id="to", to=numbers(), text="Ahoj")
    TelekomRcsSendOperator(task_id="recipients", recipients=numbers(), rcs=QUESTION)
    TelekomSmsCheckNumberOperator(task_id="numbers", phone_numbers=numbers())
    TelekomSmsDeliverySensor(task_id="wait", campaign_id=planned, deferrable=True)
