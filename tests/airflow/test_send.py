"""Single sends and number checks, in real DAG runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task

from airflow_provider_telekom_sms.operators.fields import Private
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsCheckNumberOperator,
    TelekomSmsSendOperator,
)
from airflow_provider_telekom_sms.simulator import Fault, Simulator

ONE, TWO, THREE = "0903 000 010", "+421 904 000 020", "00421905000030"


def test_one_number(sim: Simulator, run_dag: Callable[..., Any]) -> None:
    with DAG("send_one", schedule=None) as dag:
        TelekomSmsSendOperator(task_id="send", to=ONE, text="Ahoj", sender="Firma", priority=3)
    run = run_dag(dag)

    assert run.states == {"send": "success"}
    [message] = sim.state.messages
    assert (message.number, message.text) == ("421903000010", "Ahoj")
    assert run.xcom("send") == {
        "message_id": str(message.id),
        "to": "+4219••••0010",
        "status": "success",
        "code": "OK",
        "description": "",
        "parts": 1,
        "external_id": None,
    }


def test_a_list_with_a_number_twice(sim: Simulator, run_dag: Callable[..., Any]) -> None:
    with DAG("send_list", schedule=None) as dag:
        TelekomSmsSendOperator(task_id="send", to=[ONE, TWO, "421903000010"], text="Ahoj")
    run = run_dag(dag)

    assert sim.state.messages_per_number() == {"421903000010": 1, "421904000020": 1}
    receipts = run.xcom("send")
    assert [receipt["to"] for receipt in receipts] == ["+4219••••0010", "+4219••••0020", "+4219••••0010"]
    assert receipts[0]["message_id"] == receipts[2]["message_id"] != receipts[1]["message_id"]


@pytest.mark.parametrize("deferrable", [False, True])
def test_nobody_to_send_to(sim: Simulator, context: Callable[..., Any], deferrable: bool) -> None:
    operator = TelekomSmsSendOperator(
        task_id="send", to=[], text="Ahoj", wait_for_delivery=True, deferrable=deferrable
    )
    assert operator.execute(context()) == []
    assert sim.state.requests == []


def test_templates_from_params_and_xcom(sim: Simulator, run_dag: Callable[..., Any]) -> None:
    with DAG("send_templates", schedule=None, params={"to": TWO, "what": "Meškáme"}) as dag:

        @task
        def number() -> str:
            return ONE

        @task
        def numbers() -> list[str]:
            return [TWO, THREE]

        found = number()
        TelekomSmsSendOperator(task_id="params", to="{{ params.to }}", text="{{ params.what }} 1")
        jinja = TelekomSmsSendOperator(
            task_id="jinja",
            to="{{ ti.xcom_pull('number') }}",
            text="{{ params.what }} 2",
            priority="{{ 1 + 1 }}",
        )
        TelekomSmsSendOperator(task_id="inside", to=["{{ params.to }}", found], text="{{ params.what }} 3")
        TelekomSmsSendOperator(task_id="whole", to=numbers(), text=found)
        found >> jinja
    run = run_dag(dag)

    assert run.state == "success"
    sent = sorted((message.text, message.number) for message in sim.state.messages)
    assert sent == [
        (ONE, "421904000020"),
        (ONE, "421905000030"),
        ("Meškáme 1", "421904000020"),
        ("Meškáme 2", "421903000010"),
        ("Meškáme 3", "421903000010"),
        ("Meškáme 3", "421904000020"),
    ]
    [templated] = [message for message in sim.state.messages if message.text == "Meškáme 2"]
    assert str(templated.parameters["priority"]) == "2"


def test_mapped_sends_do_not_repeat_a_number(sim: Simulator, run_dag: Callable[..., Any]) -> None:
    with DAG("send_mapped", schedule=None) as dag:
        TelekomSmsSendOperator.partial(task_id="send", text="Ahoj").expand(to=[ONE, TWO, "0903000010"])
    run = run_dag(dag)

    assert run.states == {f"send[{index}]": "success" for index in range(3)}
    assert sim.state.messages_per_number() == {"421903000010": 1, "421904000020": 1}
    assert run.xcom("send", 0)["message_id"] == run.xcom("send", 2)["message_id"]


def test_default_args_and_expand_kwargs(sim: Simulator, run_dag: Callable[..., Any]) -> None:
    with DAG("send_kwargs", schedule=None, default_args={"sender": "Firma", "retries": 3}) as dag:

        @task
        def messages() -> list[dict[str, str]]:
            return [{"to": ONE, "text": "prvá"}, {"to": TWO, "text": "druhá {{ run_id[:6] }}"}]

        TelekomSmsSendOperator.partial(task_id="send").expand_kwargs(messages())
    run = run_dag(dag)

    assert run.state == "success"
    assert sorted((m.number, m.text, m.parameters["from"]) for m in sim.state.messages) == [
        ("421903000010", "prvá", "Firma"),
        ("421904000020", "druhá manual", "Firma"),
    ]


def test_one_bad_number_stops_all(sim: Simulator, context: Callable[..., Any]) -> None:
    operator = TelekomSmsSendOperator(task_id="send", to=[ONE, "12345"], text="Ahoj")
    with pytest.raises(AirflowFailException, match=r"row 2.*number") as caught:
        operator.execute(context())
    assert "12345" not in str(caught.value)
    assert sim.state.messages == []


def test_a_rejected_message_fails_without_a_retry(sim: Simulator, run_dag: Callable[..., Any]) -> None:
    with DAG("send_rejected", schedule=None) as dag:
        TelekomSmsSendOperator(task_id="send", to=["0903000099", ONE], text="Ahoj", retries=2)
    run = run_dag(dag)
    assert (run.states, run.tries) == ({"send": "failed"}, {"send": 1})
    assert sim.state.messages_per_number() == {"421903000010": 1}


def test_in_doubt_fails_and_names_the_row(sim: Simulator, context: Callable[..., Any]) -> None:
    sim.state.order(Fault(name="drop_after", endpoint="send_message", numbers="421904000020"))
    operator = TelekomSmsSendOperator(task_id="send", to=[ONE, TWO, THREE], text="Ahoj")
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"1 messages are in doubt.*rows 2\."):
            operator.execute(context())
    assert sim.state.messages_per_number() == {"421903000010": 1, "421904000020": 1, "421905000030": 1}


def test_check_numbers(sim: Simulator, run_dag: Callable[..., Any]) -> None:
    with DAG("check", schedule=None) as dag:
        TelekomSmsCheckNumberOperator(task_id="one", phone_numbers=ONE)
        TelekomSmsCheckNumberOperator(task_id="two", phone_numbers=[TWO, "02/5555 1234"])
    run = run_dag(dag)

    assert run.state == "success"
    [one] = run.xcom("one")
    assert one.keys() == {"phone_number", "exists", "operator"}
    assert [info["phone_number"] for info in (one, *run.xcom("two"))] == [
        "+4219••••0010",
        "+4219••••0020",
        "+4212••••1234",
    ]
    asked = [r.parameters["phone_number"] for r in sim.state.requests if r.endpoint == "check_phone_number"]
    assert sorted(asked) == ["0255551234", "0903000010", "0904000020"]


def test_check_numbers_asks_nothing_if_one_is_wrong(sim: Simulator, context: Callable[..., Any]) -> None:
    operator = TelekomSmsCheckNumberOperator(task_id="check", phone_numbers=[ONE, "nonsense"])
    with pytest.raises(AirflowFailException, match="number"):
        operator.execute(context())
    assert sim.state.requests == []


class TestPrivateField:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (ONE, "+4219••••0010"),
            ([ONE, TWO], "+4219••••0010, +4219••••0020"),
            ((ONE,), "+4219••••0010"),
            (421903000010, "••••"),
            ([None, 5], "••••, ••••"),
        ],
    )
    def test_a_value_is_hidden(self, value: Any, shown: str) -> None:
        operator = TelekomSmsSendOperator(task_id="send", to=value, text="Ahoj")
        assert isinstance(operator.to, Private)
        assert (repr(operator.to), str(operator.to), operator.to.value) == (shown, shown, value)
        assert repr(operator.text) == "<4 characters>"

    @pytest.mark.parametrize("value", ["{{ params.to }}", ["{{ params.to }}", ONE], "{% if 1 %}1{% endif %}"])
    def test_a_template_is_shown_and_what_it_rendered_to_is_hidden(self, value: Any) -> None:
        operator = TelekomSmsSendOperator(task_id="send", to=value, text="{{ params.text }}")
        assert (operator.to, operator.text) == (value, "{{ params.text }}")
        operator.render_template_fields({"params": {"to": ONE, "text": "a {{ brace }}"}})
        assert isinstance(operator.to, Private)
        assert (operator.text.value, repr(operator.text)) == ("a {{ brace }}", "<13 characters>")

    def test_copies_stay_hidden(self) -> None:
        operator = TelekomSmsSendOperator(task_id="send", to=[ONE], text="Ahoj")
        for copied in (copy.copy(operator), copy.deepcopy(operator), operator.prepare_for_execution()):
            assert repr(copied.to) == "+4219••••0010"
            assert copied.to.value == [ONE]
        assert operator.to == [ONE]

    def test_a_private_value_may_be_passed_on(self) -> None:
        first = TelekomSmsSendOperator(task_id="first", to=ONE, text="Ahoj")
        second = TelekomSmsSendOperator(task_id="second", to=first.to, text=first.text)
        assert (second.to.value, second.text.value) == (ONE, "Ahoj")

    def test_dependencies_are_found(self) -> None:
        with DAG("dependencies", schedule=None):

            @task
            def number() -> str:
                return ONE

            operator = TelekomSmsSendOperator(task_id="send", to=[number()], text="Ahoj")
        assert operator.upstream_task_ids == {"number"}


def test_in_doubt_is_sent_again_only_if_told(sim: Any, context: Any) -> None:
    from airflow_provider_telekom_sms.exceptions import InDoubtError

    sim.state.order(Fault("drop_before", times=1))
    op = TelekomSmsSendOperator(task_id="resend", to="0903123456", text="Ahoj", on_in_doubt="resend")
    with pytest.raises(InDoubtError, match="on_in_doubt='resend'"):
        op.execute(context("resend"))
    assert op.execute(context("resend", try_number=2))["code"] == "OK"
    assert list(sim.state.messages_per_number().values()) == [1]


def test_a_mapped_twin_that_is_not_done_is_waited_for(sim: Any, context: Any) -> None:
    from airflow_provider_telekom_sms.exceptions import InDoubtError

    sim.state.order(Fault("drop_before", times=1))
    one, two = (
        TelekomSmsSendOperator(task_id="twins", to="0903123456", text="Ahoj", on_in_doubt="resend")
        for _ in range(2)
    )
    with pytest.raises(InDoubtError):
        one.execute(context("twins", map_index=0))
    with pytest.raises(InDoubtError, match="Another task instance"):
        two.execute(context("twins", map_index=1))
    assert one.execute(context("twins", map_index=0, try_number=2)) == two.execute(
        context("twins", map_index=1, try_number=2)
    )
    assert list(sim.state.messages_per_number().values()) == [1]
