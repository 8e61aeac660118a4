"""TaskFlow: functions whose rows are sent, and rows that other tasks give."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk import DAG, Asset, task

from airflow_provider_telekom_sms.campaign import engine
from airflow_provider_telekom_sms.campaign.sources import fingerprint
from airflow_provider_telekom_sms.decorators.telekom_sms import _Call
from airflow_provider_telekom_sms.exceptions import ConfigurationError, IpNotAllowedError
from airflow_provider_telekom_sms.operators.fields import Private, reveal
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsBulkSendOperator,
    TelekomSmsCampaignPlanOperator,
)
from airflow_provider_telekom_sms.simulator import Simulator

ROWS = [{"phone": f"0903 100 0{number}0", "name": name} for number, name in enumerate(("Ján", "Eva", "Ľubo"))]
SENT = {"421903100000": "Ahoj Ján", "421903100010": "Ahoj Eva", "421903100020": "Ahoj Ľubo"}
OTHERS = [{"phone": "0904 200 000", "name": "Zoja"}]

Dags = Callable[..., Any]
Contexts = Callable[..., dict[str, Any]]


def texts(sim: Simulator) -> dict[str, str]:
    assert set(sim.state.messages_per_number().values()) <= {1}
    return {message.number: message.text for message in sim.state.messages}


def stored(model: Any, run: Any) -> str:
    """Give what Airflow's database holds of a run or its DAG, as text."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(model).where(model.dag_id == run.dag_id)).all()
        return json.dumps(
            [{c.key: getattr(row, c.key) for c in model.__mapper__.column_attrs} for row in rows],
            default=str,
            ensure_ascii=False,
        )


def rendered(run: Any) -> str:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    return stored(RenderedTaskInstanceFields, run)


def serialized(run: Any) -> str:
    from airflow.models.serialized_dag import SerializedDagModel

    return stored(SerializedDagModel, run)


def decorated(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Give the operator that a decorated function becomes."""
    return task.telekom_sms(**{"task_id": "task", "text": "Ahoj {name}", **options})(function)(*args).operator


class Source:
    """A function that counts how often it is called."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.calls = list(answers), 0

    def function(self) -> Callable[..., Any]:
        def rows(*args: Any) -> Any:
            self.calls += 1
            return self.answers[min(self.calls, len(self.answers)) - 1]

        return rows


# --- what a function may return ---------------------------------------------------------------------------


def _generator() -> Iterator[dict[str, str]]:
    yield from ROWS


def _frames() -> Iterator[pd.DataFrame]:
    yield pd.DataFrame(ROWS[:1])
    yield pd.DataFrame(ROWS[1:])


async def _coroutine() -> list[dict[str, str]]:
    return ROWS


@pytest.mark.parametrize(
    "function",
    [lambda: ROWS, lambda: tuple(ROWS), lambda: pd.DataFrame(ROWS), _generator, _frames, _coroutine],
    ids=["list", "tuple", "frame", "generator", "frames", "async"],
)
def test_what_is_returned_is_sent(sim: Simulator, context: Contexts, function: Callable[..., Any]) -> None:
    summary = decorated(function).execute(context())
    assert (summary["total"], summary["accepted"]) == (3, 3)
    assert texts(sim) == SENT


def test_a_file_is_sent(sim: Simulator, context: Contexts, tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_csv(tmp_path / "rows.csv", index=False)
    assert decorated(lambda: tmp_path / "rows.csv").execute(context())["accepted"] == 3
    assert texts(sim) == SENT


@pytest.mark.parametrize("given", [None, 7, {"phone": "0903100000", "name": "Ján"}], ids=repr)
def test_what_holds_no_rows_is_refused(sim: Simulator, context: Contexts, given: Any) -> None:
    with pytest.raises(AirflowFailException, match=f"cannot be {type(given).__name__}; allowed: a DataFrame"):
        decorated(lambda: given).execute(context())
    assert sim.state.messages == []


def test_a_function_may_skip_its_task(sim: Simulator, run_dag: Dags) -> None:
    with DAG("taskflow_skip", schedule=None) as dag:

        @task.telekom_sms(text="Ahoj {name}")
        def nobody() -> list[dict[str, str]]:
            raise AirflowSkipException("nobody is late")

        nobody()
    assert run_dag(dag).states == {"nobody": "skipped"}
    assert sim.state.messages == []


async def test_an_event_loop_may_be_running(sim: Simulator, context: Contexts) -> None:
    """As in a notebook."""
    assert decorated(_coroutine).execute(context())["accepted"] == 3


# --- how it is called -------------------------------------------------------------------------------------


def test_arguments_and_what_the_task_gives(sim: Simulator, run_dag: Dags) -> None:
    with DAG("taskflow_arguments", schedule=None, params={"name": "Ľubo"}) as dag:

        @task
        def people() -> list[dict[str, str]]:
            return ROWS

        @task.telekom_sms(
            text="{greeting} {name}", campaign_id="{{ dag.dag_id }}/{{ run_id }}", multiple_outputs=True
        )
        def greet(
            people: list[dict[str, str]], name: str, greeting: str = "Ahoj", dag_run: Any = None
        ) -> list[dict[str, str]]:
            assert dag_run.dag_id == "taskflow_arguments"
            return [{**one, "greeting": greeting} for one in people if one["name"] == name]

        @task
        def look(campaign_id: str, accepted: int) -> str:
            return f"{campaign_id}: {accepted}"

        sent = greet(people(), name="{{ params.name }}")
        look(sent["campaign_id"], sent["accepted"])
    run = run_dag(dag)
    assert run.state == "success"
    assert dag.get_task("greet").upstream_task_ids == {"people"}
    assert texts(sim) == {"421903100020": "Ahoj Ľubo"}
    assert run.xcom("look") == f"taskflow_arguments/{run.run_id}: 1"


def test_a_return_annotation_is_about_rows(sim: Simulator, run_dag: Dags) -> None:
    with DAG("taskflow_annotation", schedule=None) as dag:

        @task.telekom_sms(text="Ahoj {name}")
        def rows() -> dict[str, Any]:
            return ROWS  # type: ignore[return-value]

        rows()
    assert run_dag(dag).state == "success"
    assert dag.get_task("rows").multiple_outputs is False


def test_expand_partial_and_override(sim: Simulator, run_dag: Dags) -> None:
    with DAG("taskflow_mapped", schedule=None) as dag:

        @task
        def names() -> list[str]:
            return ["Ján", "Eva"]

        @task.telekom_sms(text="Ahoj {name}")
        def one_each(name: str, rows: str) -> list[dict[str, str]]:
            return [row for row in json.loads(rows) if row["name"] == name]

        mapped = one_each.partial(rows=json.dumps(ROWS)).expand(name=names())
        mapped >> one_each.override(task_id="last", text="Čau {name}", retries=1)("Ľubo", json.dumps(ROWS))
    run = run_dag(dag)
    assert run.states == dict.fromkeys(["names", "one_each[0]", "one_each[1]", "last"], "success")
    assert texts(sim) == {**SENT, "421903100020": "Čau Ľubo"}
    # Each instance is a campaign of its own, unless told otherwise.
    campaigns = {run.xcom("one_each", index)["campaign_id"] for index in (0, 1)}
    assert len(campaigns | {run.xcom("last")["campaign_id"]}) == 3


def test_rows_are_never_rendered(sim: Simulator, run_dag: Dags) -> None:
    rows = [{"phone": "0903100000", "name": "{{ 7 * 7 }}"}]
    with DAG("taskflow_jinja", schedule=None) as dag:

        @task
        def other() -> list[dict[str, str]]:
            return rows

        @task.telekom_sms(text="Ahoj {name}")
        def own(given: list[dict[str, str]]) -> list[dict[str, str]]:
            return [*given, {"phone": "0903100010", "name": "{% raw %}"}]

        own(other())
    assert run_dag(dag).state == "success"
    assert texts(sim) == {"421903100000": "Ahoj {{ 7 * 7 }}", "421903100010": "Ahoj {% raw %}"}


@pytest.mark.parametrize("taken", [{"source": ROWS}, {"sql": "SELECT 1", "sql_conn_id": "db"}], ids=str)
def test_another_source_is_refused_when_parsed(taken: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="the function gives the rows"):
        decorated(lambda: ROWS, **taken)


def test_the_operators_checks_speak_when_parsed() -> None:
    with pytest.raises(ConfigurationError, match="on_invalid"):
        decorated(lambda: ROWS, on_invalid="perhaps")


# --- retries, deferrals, clears ---------------------------------------------------------------------------


def test_a_retry_goes_on_from_the_plan(sim: Simulator, context: Contexts) -> None:
    source = Source(ROWS, OTHERS)
    sim.state.settings.deny_ip = True
    with pytest.raises(IpNotAllowedError):
        decorated(source.function()).execute(context())
    sim.state.settings.deny_ip = False

    assert decorated(source.function()).execute(context(try_number=2))["accepted"] == 3
    assert decorated(source.function()).execute(context(try_number=3))["accepted"] == 3
    assert source.calls == 1
    assert texts(sim) == SENT


def test_a_retry_under_airflow(
    sim: Simulator, run_dag: Dags, connect: Callable[..., None], impatient: None
) -> None:
    source = Source(ROWS, OTHERS)
    connect(host="http://127.0.0.1:9")
    with DAG("taskflow_retry", schedule=None) as dag:
        options: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(0)}
        task.telekom_sms(text="Ahoj {name}", on_retry_callback=lambda context: connect(), **options)(
            source.function()
        )()
    run = run_dag(dag)
    assert (run.states, run.tries) == ({"rows": "success"}, {"rows": 2})
    assert source.calls == 1
    assert texts(sim) == SENT


def test_what_failed_before_a_plan_was_ready_is_called_again(sim: Simulator, context: Contexts) -> None:
    def broken() -> Iterator[dict[str, str]]:
        calls.append(1)
        yield from ROWS
        if len(calls) == 1:
            raise OSError("the warehouse is away")

    calls: list[int] = []
    with pytest.raises(OSError, match="warehouse"):
        decorated(broken).execute(context())
    assert sim.state.messages == []
    assert decorated(broken).execute(context(try_number=2))["accepted"] == 3
    assert texts(sim) == SENT


def test_a_wait_for_the_rate_limit_does_not_call_again(
    sim: Simulator, context: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LONG_WAIT", 0.2)
    source = Source(ROWS, OTHERS)
    operator = decorated(source.function(), rate_limit=0.5, deferrable=True, concurrency=1)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context())
    assert deferred.value.method_name == "execute_later"
    # Whoever goes on is another process, which has parsed the DAG anew.
    again = decorated(source.function(), rate_limit=None, deferrable=True, concurrency=1)
    assert again.execute_later(context())["accepted"] == 3
    assert source.calls == 1
    assert texts(sim) == SENT


def test_a_wait_for_delivery_does_not_call_again(sim: Simulator, run_dag: Dags) -> None:
    source = Source(ROWS, OTHERS)
    with DAG("taskflow_delivery", schedule=None) as dag:
        options: dict[str, Any] = {"wait_for_delivery": True, "deferrable": True, "poll_interval": 0.05}
        task.telekom_sms(text="Ahoj {name}", **options)(source.function())()
    summary = run_dag(dag).xcom("rows")
    assert (summary["accepted"], summary["delivered"]) == (3, 3)
    assert source.calls == 1


def test_a_cleared_task_sends_nothing_more(sim: Simulator, run_dag: Dags) -> None:
    source = Source(ROWS, OTHERS)
    with DAG("taskflow_clear", schedule=None) as dag:
        task.telekom_sms(text="Ahoj {name}")(source.function())()
    day = datetime(2026, 3, 1, tzinfo=UTC)
    for _ in range(2):
        assert run_dag(dag, logical_date=day, run_after=day).xcom("rows")["accepted"] == 3
    assert source.calls == 1
    assert texts(sim) == SENT


def test_other_arguments_are_noticed(sim: Simulator, context: Contexts) -> None:
    """As with rows of another task: planned anew while nothing was sent, and never left out silently."""

    def given(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return rows

    sim.state.settings.deny_ip = True
    with pytest.raises(IpNotAllowedError):
        decorated(given, OTHERS).execute(context())
    with pytest.raises(IpNotAllowedError):
        decorated(given, ROWS).execute(context(try_number=2))
    sim.state.settings.deny_ip = False
    # What was claimed and given back was never sent, so the plan may still change.
    summary = decorated(given, ROWS).execute(context(try_number=3))
    assert (summary["total"], summary["accepted"]) == (3, 3)
    with pytest.raises(AirflowFailException, match="source or a parameter changed"):
        decorated(given, OTHERS).execute(context(try_number=4))
    assert texts(sim) == SENT


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        ([{"a": 1}], [{"a": 2}]),
        (date(2026, 1, 1), date(2026, 1, 2)),
        (Decimal("1.5"), Decimal("1.6")),
        (Path("a"), Path("b")),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
    ],
    ids=str,
)
def test_arguments_that_are_data_tell_two_calls_apart(one: Any, other: Any) -> None:
    def call(value: Any) -> str:
        return fingerprint(_Call(texts, [value], {}, {}))

    assert call(one) == call(one) != call(other)
    assert call({"nested": [one]}) != call({"nested": [other]})


def test_what_is_no_data_does_not_tell_two_calls_apart() -> None:
    calls = [_Call(texts, [object(), {1: object()}], {"ti": SimpleNamespace(n=n)}, {}) for n in range(2)]
    assert fingerprint(calls[0]) == fingerprint(calls[1])
    assert fingerprint(calls[0]) != fingerprint(_Call(stored, calls[0]._args, calls[0]._kwargs, {}))


# --- rows that other tasks give ---------------------------------------------------------------------------


@pytest.mark.parametrize("operator", [TelekomSmsBulkSendOperator, TelekomSmsCampaignPlanOperator])
@pytest.mark.parametrize("kind", ["list", "frame", "key", "map", "concat"])
def test_rows_of_another_task(sim: Simulator, run_dag: Dags, operator: type[Any], kind: str) -> None:
    with DAG(f"taskflow_rows_{kind}_{operator.__name__}", schedule=None) as dag:

        @task
        def rows() -> Any:
            return {"frame": pd.DataFrame(ROWS), "key": {"rows": ROWS}}.get(kind, ROWS)

        source: Any = rows()
        if kind == "map":
            source = source.map(lambda row: {**row, "name": row["name"].title()})
        elif kind == "concat":
            source = source.concat(source)
        elif kind == "key":
            source = task(task_id="inner")(lambda given: given["rows"])(source)
        operator(task_id="send", source=source, text="Ahoj {name}")
    run = run_dag(dag)
    assert run.state == "success"
    assert dag.get_task("send").upstream_task_ids == {"inner" if kind == "key" else "rows"}
    summary = run.xcom("send")
    assert summary["total"] - summary["duplicate"] == 3
    assert texts(sim) == (SENT if operator is TelekomSmsBulkSendOperator else {})


def test_rows_of_another_task_for_each_campaign(sim: Simulator, run_dag: Dags) -> None:
    with DAG("taskflow_rows_mapped", schedule=None) as dag:

        @task
        def parts() -> list[list[dict[str, str]]]:
            return [ROWS[:1], ROWS[1:]]

        TelekomSmsBulkSendOperator.partial(task_id="send", text="Ahoj {name}").expand(source=parts())
    run = run_dag(dag)
    assert [run.xcom("send", index)["accepted"] for index in (0, 1)] == [1, 2]
    assert texts(sim) == SENT


def test_a_task_that_gave_nothing_is_refused(sim: Simulator, run_dag: Dags) -> None:
    with DAG("taskflow_nothing", schedule=None) as dag:

        @task
        def rows() -> None:
            return None

        TelekomSmsBulkSendOperator(task_id="send", source=rows(), text="Ahoj {name}", retries=3)
    run = run_dag(dag)
    assert (run.states["send"], run.tries["send"]) == ("failed", 1)
    assert sim.state.messages == []


# --- personal data ----------------------------------------------------------------------------------------

#: Found nowhere else, so that one grep finds them.
PERSON = {"phone": "0944 555 660", "name": "Hortenzia"}
TRACES = ("555660", "555 660", "Hortenzia")


def traces(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text]


def test_airflow_keeps_no_row(sim: Simulator, run_dag: Dags, caplog: pytest.LogCaptureFixture) -> None:
    """Of what a decorated function returns: nowhere. Of its arguments and of a source: only the XCom."""
    from airflow.models.xcom import XComModel

    caplog.set_level(logging.INFO)
    with DAG("taskflow_private", schedule=None, user_defined_macros={"whom": json.dumps([PERSON])}) as dag:

        @task.telekom_sms(text="Ahoj {name}")
        def own(day: str, whom: str, again: list[dict[str, str]]) -> list[dict[str, str]]:
            assert (len(day), json.loads(whom), again) == (10, [PERSON], [PERSON])
            return again

        @task
        def rows() -> list[dict[str, str]]:
            return [PERSON]

        @task
        def frame() -> pd.DataFrame:
            return pd.DataFrame([PERSON])

        def made() -> list[dict[str, str]]:
            return [PERSON]

        own("{{ dag_run.run_after.date() }}", "{{ whom }}", [PERSON])
        task.telekom_sms(text="Ahoj {name}")(made)()
        given, table = rows(), frame()

        @task.telekom_sms(text="Čau {name}")
        def passed_on(given: list[dict[str, str]], table: pd.DataFrame) -> list[dict[str, str]]:
            return given

        passed_on(given, table=table)
        mapped = passed_on.override(task_id="mapped", text="Čau, čau {name}").partial(table=table)

        @task
        def lists() -> list[list[dict[str, str]]]:
            return [[{**PERSON, "braces": "{{ nothing.at.all }}"}]]

        mapped.expand(given=lists())
        TelekomSmsBulkSendOperator(task_id="list", source=given, text="A {name}")
        TelekomSmsBulkSendOperator(task_id="table", source=table, text="B {name}")
        TelekomSmsCampaignPlanOperator(task_id="plan", source=table, text="C {name}")
    run = run_dag(dag)

    assert run.state == "success"
    assert len(sim.state.messages) == 6
    shown = rendered(run)
    assert shown.count("<list of 1 rows>") == 4
    assert shown.count("<DataFrame of 1 rows>") == 4
    assert traces(shown) == []
    assert traces(serialized(run).replace("\\", "")) == []
    assert traces(caplog.text) == []
    mine = [run.xcom(name) for name in ("own", "made", "passed_on", "list", "table", "plan")]
    assert traces(json.dumps(mine, ensure_ascii=False)) == []
    # The canary: this is what must not be relied on where nobody may keep it.
    assert traces(stored(XComModel, run)) == ["555 660", "Hortenzia"]


def test_arguments_are_hidden_one_by_one() -> None:
    def rows(*args: Any, **kwargs: Any) -> None: ...

    asset = Asset("jar")
    operator = task.telekom_sms(text="Ahoj {name}")(rows)(
        "0903 100 000", "{{ ds }}", 421903100000, asset, None, True, many=[1, 2]
    ).operator
    hidden, template, number, *as_is = operator.op_args
    assert [repr(hidden), template, repr(number)] == ["<12 characters>", "{{ ds }}", "<int>"]
    assert as_is == [asset, None, True]
    assert repr(operator.op_kwargs) == "{'many': <list of 2 rows>}"
    # What is rendered is hidden, too.
    operator.op_args = [hidden, "2026-01-01", number, *as_is]
    assert isinstance(operator.op_args[1], Private)
    assert reveal(operator.op_args[1]) == "2026-01-01"
