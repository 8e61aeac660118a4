"""Waiting for delivery: operators and the sensor, poking, rescheduled and deferred."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import DAG

from airflow_provider_telekom_sms.exceptions import ConfigurationError, DeliveryError
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsBulkSendOperator,
    TelekomSmsSendOperator,
)
from airflow_provider_telekom_sms.sensors.telekom_sms import TelekomSmsDeliverySensor
from airflow_provider_telekom_sms.simulator import Simulator
from airflow_provider_telekom_sms.triggers.telekom_sms import TelekomSmsDeliveryTrigger

DELIVERED, DELIVERED_TOO, UNDELIVERABLE, STUCK = "0903000010", "0903000020", "0903000031", "0903000093"
FAST: dict[str, Any] = {"poll_interval": 0.05, "wait_for_delivery": True}


def send(to: Any, campaign: bool = False, **options: Any) -> Any:
    if campaign:
        rows = [{"phone": number} for number in to]
        return TelekomSmsBulkSendOperator(
            task_id="send", source=rows, text="Ahoj", campaign_id="jar", **options
        )
    return TelekomSmsSendOperator(task_id="send", to=to, text="Ahoj", **options)


def wait(**options: Any) -> TelekomSmsDeliverySensor:
    return TelekomSmsDeliverySensor(**{"task_id": "wait", "poke_interval": 0.05, "timeout": 60, **options})


@pytest.fixture
def sent(context: Callable[..., Any], sim: Simulator) -> Callable[..., list[str]]:
    """Send to numbers within the campaign "jar", and give the ids."""

    def send_to(*numbers: str) -> list[str]:
        send(numbers, campaign=True).execute(context("sent"))
        return [str(message.id) for message in sim.state.messages]

    return send_to


@pytest.mark.parametrize("deferrable", [False, True])
class TestOperators:
    def test_single(self, sim: Simulator, run_dag: Callable[..., Any], deferrable: bool) -> None:
        with DAG(f"wait_single_{deferrable}", schedule=None) as dag:
            send([DELIVERED, "0903000098"], deferrable=deferrable, **FAST)
        run = run_dag(dag)
        assert run.states == {"send": "success"}
        assert [receipt["to"] for receipt in run.xcom("send")] == ["+4219••••0010", "+4219••••0098"]

    def test_single_undelivered(self, sim: Simulator, run_dag: Callable[..., Any], deferrable: bool) -> None:
        with DAG(f"wait_failed_{deferrable}", schedule=None) as dag:
            send(UNDELIVERABLE, deferrable=deferrable, retries=2, **FAST)
        run = run_dag(dag)
        assert (run.states, run.tries) == ({"send": "failed"}, {"send": 1})
        assert len(sim.state.messages) == 1

    def test_bulk(self, sim: Simulator, run_dag: Callable[..., Any], deferrable: bool) -> None:
        with DAG(f"wait_bulk_{deferrable}", schedule=None) as dag:
            send([DELIVERED, DELIVERED_TOO, UNDELIVERABLE], campaign=True, deferrable=deferrable, **FAST)
        summary = run_dag(dag).xcom("send")
        assert (summary["campaign_id"], summary["accepted"]) == ("jar", 3)
        assert (summary["delivered"], summary["undelivered"]) == (2, 1)
        assert summary["delivery"] == {"DELIVERED": 2, "UNDELIVERABLE": 1}

    @pytest.mark.parametrize("campaign", [False, True])
    def test_time_out(
        self, sim: Simulator, run_dag: Callable[..., Any], deferrable: bool, campaign: bool
    ) -> None:
        with DAG(f"wait_timeout_{deferrable}_{campaign}", schedule=None) as dag:
            send([STUCK], campaign=campaign, deferrable=deferrable, delivery_timeout=0.2, retries=1, **FAST)
        run = run_dag(dag)
        # The next try sends nothing and waits again.
        assert (run.states, run.tries) == ({"send": "failed"}, {"send": 2})
        assert len(sim.state.messages) == 1


def test_deferral_frees_the_worker_and_stores_nothing_personal(
    sim: Simulator, context: Callable[..., Any]
) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        send(
            [DELIVERED, UNDELIVERABLE], deferrable=True, delivery_timeout=timedelta(hours=2), **FAST
        ).execute(context())
    trigger = deferred.value.trigger
    assert isinstance(trigger, TelekomSmsDeliveryTrigger)
    assert trigger.message_ids == [str(message.id) for message in sim.state.messages]
    assert (trigger.campaign_id, trigger.wait_for_all) == (None, True)
    assert trigger.deadline == pytest.approx(time.time() + 7200, abs=5)
    assert deferred.value.timeout == timedelta(hours=2, minutes=1)


@pytest.mark.parametrize("what", ["send", "bulk"])
@pytest.mark.parametrize(
    ("event", "message"),
    [
        (None, "no event that can be read: NoneType"),
        ("done", "no event that can be read: str"),
        ({}, "no event that can be read: dict"),
        ({"status": "wonder", "delivery": {}}, "unknown event: 'wonder'"),
        ({"status": "success"}, "unknown event"),
        ({"status": "error", "message": "the key is gone"}, "the key is gone"),
        ({"status": "timeout", "delivery": {"SENT": 1}}, "Not all final in time.*1 SENT"),
    ],
)
def test_events_that_are_refused(
    sim: Simulator, context: Callable[..., Any], event: Any, message: str, what: str
) -> None:
    operator = send([DELIVERED], campaign=what == "bulk")
    operator.execute(context())
    with pytest.raises(DeliveryError, match=message):
        operator.execute_complete(context(), event)
    if "Not all" not in message:
        with pytest.raises(DeliveryError, match=message):
            wait(message_ids=["1"]).execute_complete(context(), event)


class TestSensor:
    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize("by", ["ids", "campaign"])
    def test_after_a_send(
        self, sim: Simulator, run_dag: Callable[..., Any], deferrable: bool, by: str
    ) -> None:
        sim.state.settings.speed = 5
        ids = ["{{ ti.xcom_pull('send')[" + number + "].message_id }}" for number in "01"]
        which = {"campaign_id": "jar"} if by == "campaign" else {"message_ids": ids}
        with DAG(f"sensor_{deferrable}_{by}", schedule=None) as dag:
            sending = send([DELIVERED, DELIVERED_TOO], campaign=by == "campaign")
            sending >> wait(deferrable=deferrable, **which)
        run = run_dag(dag)
        assert run.states == {"send": "success", "wait": "success"}
        assert run.xcom("wait") == {"DELIVERED": 2}

    def test_an_id_that_another_system_sent(
        self, sim: Simulator, context: Callable[..., Any], sent: Callable[..., list[str]]
    ) -> None:
        [only] = sent(DELIVERED)
        for given in (only, int(only), [only], (int(only),), f" {only} "):
            assert wait(message_ids=given).execute(context()) == {"DELIVERED": 1}

    def test_reschedule_between_two_looks(
        self, sim: Simulator, context: Callable[..., Any], sent: Callable[..., list[str]]
    ) -> None:
        sent(STUCK)
        sensor = wait(campaign_id="jar", mode="reschedule")
        ti = context()["ti"]
        ti.get_first_reschedule_date = lambda context: None
        with pytest.raises(AirflowRescheduleException):
            sensor.execute({"ti": ti})

    def test_reschedule_in_a_dag(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        sim.state.settings.speed = 4
        with DAG("sensor_reschedule", schedule=None) as dag:
            send([DELIVERED], campaign=True) >> wait(campaign_id="jar", mode="reschedule", poke_interval=0.2)
        run = run_dag(dag)
        assert (run.states["wait"], run.tries["wait"]) == ("success", 1)

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize(
        ("soft_fail", "state"), [(False, "failed"), (True, "skipped")], ids=["hard", "soft"]
    )
    @pytest.mark.parametrize("numbers", [[UNDELIVERABLE], [DELIVERED, STUCK]], ids=["failure", "timeout"])
    def test_failure_and_time_out(
        self,
        sim: Simulator,
        run_dag: Callable[..., Any],
        deferrable: bool,
        soft_fail: bool,
        state: str,
        numbers: list[str],
    ) -> None:
        with DAG(f"sensor_bad_{deferrable}_{soft_fail}_{len(numbers)}", schedule=None) as dag:
            send(numbers, campaign=True) >> wait(
                campaign_id="jar", deferrable=deferrable, soft_fail=soft_fail, timeout=0.5, retries=2
            )
        run = run_dag(dag)
        assert (run.states["wait"], run.tries["wait"]) == (state, 1)

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_soft_fail_at_the_first_look(
        self,
        sim: Simulator,
        context: Callable[..., Any],
        sent: Callable[..., list[str]],
        deferrable: bool,
    ) -> None:
        sent(UNDELIVERABLE)
        time.sleep(0.1)
        with pytest.raises(AirflowSkipException, match="UNDELIVERABLE"):
            wait(campaign_id="jar", soft_fail=True, deferrable=deferrable).execute(context())
        with pytest.raises(AirflowFailException, match="1 UNDELIVERABLE"):
            wait(campaign_id="jar", deferrable=deferrable).execute(context())

    def test_a_poking_time_out_says_what_is_known(
        self, sim: Simulator, context: Callable[..., Any], sent: Callable[..., list[str]]
    ) -> None:
        sent(STUCK)
        with pytest.raises(AirflowSensorTimeout):
            wait(campaign_id="jar", timeout=0.2).execute(context())
        event = {"status": "timeout", "delivery": {"SENT": 1}}
        with pytest.raises(AirflowSensorTimeout, match="1 SENT"):
            wait(campaign_id="jar", timeout=0.2).execute_complete(context(), event)

    def test_a_share_is_enough(
        self, sim: Simulator, context: Callable[..., Any], sent: Callable[..., list[str]]
    ) -> None:
        sent(DELIVERED, DELIVERED_TOO, UNDELIVERABLE, "0903000092")
        time.sleep(0.1)
        for ratio, unknown in ((0.5, "fail"), (0.75, "success")):
            reached = wait(campaign_id="jar", min_success_ratio=ratio, unknown=unknown).execute(context())
            assert reached["DELIVERED"] == 2
        with pytest.raises(AirflowFailException):
            wait(campaign_id="jar", min_success_ratio=0.75).execute(context())
        statuses = ["DELIVERED", "UNDELIVERABLE", "UNKNOWN"]
        assert wait(campaign_id="jar", success_statuses=statuses).execute(context())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"unknown": "maybe"},
            {"min_success_ratio": 1.5},
            {"success_statuses": ["ARRIVED"]},
            {"success_statuses": "DELIVERED"},
        ],
        ids=str,
    )
    def test_wrong_choices_are_refused_when_the_dag_is_parsed(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            wait(campaign_id="jar", **wrong)

    @pytest.mark.parametrize("which", [{}, {"message_ids": []}, {"campaign_id": "jar", "message_ids": ["1"]}])
    def test_exactly_one_of_the_two(self, context: Callable[..., Any], which: dict[str, Any]) -> None:
        for deferrable in (False, True):
            with pytest.raises(AirflowFailException, match="exactly one of the two"):
                wait(deferrable=deferrable, **which).execute(context())

    def test_a_campaign_that_is_not_there(self, context: Callable[..., Any], sim: Simulator) -> None:
        with pytest.raises(Exception, match="no campaign 'leto'"):
            wait(campaign_id="leto").execute(context())

    def test_mapped_over_ids(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        with DAG("sensor_mapped", schedule=None) as dag:
            sending = send([DELIVERED, DELIVERED_TOO])
            TelekomSmsDeliverySensor.partial(task_id="wait", poke_interval=0.05, timeout=60).expand(
                message_ids=sending.output.map(lambda receipt: receipt["message_id"])
            )
        assert run_dag(dag).states == {"send": "success", "wait[0]": "success", "wait[1]": "success"}


@pytest.mark.parametrize(
    "given",
    [
        "100427",
        100427,
        [100427, "100427"],
        {"message_id": "100427", "to": "+4219••••3456"},
        [{"message_id": "100427"}],
        "['100427']",
        "[{'message_id': '100427', 'parts': None}]",
    ],
)
def test_ids_are_read_as_they_come(given: Any) -> None:
    sensor = TelekomSmsDeliverySensor(task_id="ids", message_ids=given)
    assert sensor._scope().message_ids == ("100427",)


@pytest.mark.parametrize("given", ["no id", "[1, 2", [1.5], True, {"message_id": "a b"}, "x" * 65])
def test_what_is_no_id_is_refused_at_once(given: Any, sim: Any, context: Any) -> None:
    sensor = TelekomSmsDeliverySensor(task_id="ids", message_ids=given)
    with pytest.raises(AirflowFailException, match="message_ids: found"):
        sensor.execute(context())
    assert sim.state.requests == []
