"""What the author of a DAG got wrong: an error that names it, nothing sent, and no second try."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG

from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsBulkSendOperator,
    TelekomSmsCheckNumberOperator,
    TelekomSmsSendOperator,
)
from airflow_provider_telekom_sms.simulator import Simulator

ROWS = [{"phone": "0903000010", "name": "Ján"}, {"phone": "0904000020", "name": "Ľubo"}]
CSV = "phone,name\n0903000010,Ján\n0904000020,Ľubo\n"


def bulk(**options: Any) -> TelekomSmsBulkSendOperator:
    return TelekomSmsBulkSendOperator(**{"task_id": "send", "source": ROWS, "text": "Ahoj {name}", **options})


@pytest.fixture
def refused(sim: Simulator, context: Callable[..., Any]) -> Callable[..., str]:
    """Run an operator that must fail without a retry and without a word to the API; give its message."""

    def run(operator: Any) -> str:
        with pytest.raises(AirflowFailException) as caught:
            operator.execute(context())
        assert sim.state.requests == []
        return str(caught.value)

    return run


def numeric_frame() -> Any:
    import pandas as pd

    return pd.DataFrame({"phone": [903000010, 904000020], "name": ["Ján", "Ľubo"]})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"source": "/no/such/file.csv"}, ["/no/such/file.csv", "No such file"]),
        ({"source": "/no/such/file.xlsx"}, ["file.xlsx", ".parquet"]),
        ({"source": 42}, ["int", "DataFrame"]),
        ({"source": numeric_frame}, ["phone", "int64", "read it as text"]),
        ({"to_column": "telefon"}, ["'telefon'", "'phone', 'name'"]),
        ({"text": "Ahoj {meno}"}, ["'meno'", "'phone', 'name'"]),
        ({"text": "Ahoj {name"}, ["column 6", "never closed"]),
        ({"text": "Ahoj {name.upper}"}, ["{name.upper}", "attribute"]),
        ({"text": None}, ["text, text_column", "exactly one"]),
        ({"text_column": "name"}, ["text, text_column", "exactly one"]),
        ({"key_column": "id"}, ["'id'", "'phone', 'name'"]),
        ({"priority": 4}, ["priority", "4", "3"]),
        ({"validity": 0}, ["validity", "0", "1440"]),
        ({"message_type": "loud"}, ["message_type", "loud", "flash"]),
        ({"delivery_time": "2027-03-28 02:30:00"}, ["delivery_time", "2027-03-28"]),
        ({"delivery_time": "soon"}, ["delivery_time", "soon"]),
        ({"max_messages": 1}, ["max_messages", "2", "1"]),
        ({"price_per_part": 0.1, "max_price": 0.15}, ["max_price", "0.20", "0.15"]),
        ({"source": [*ROWS, {"phone": "1", "name": "x"}], "on_invalid": "fail"}, ["on_invalid", "row 3"]),
        ({"report_path": "report.xlsx"}, ["report_path", "report.xlsx", ".parquet"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bulk(refused: Callable[..., str], options: dict[str, Any], named: list[str]) -> None:
    message = refused(bulk(**options))
    for word in named:
        assert word in message


@pytest.mark.parametrize(
    ("content", "options", "named"),
    [
        (b"", {}, ["empty"]),
        (CSV.encode("cp1250"), {}, ['encoding="cp1250"']),
        (CSV.encode(), {"encoding": "no-such"}, ["encoding", "no-such"]),
        (CSV.replace("phone", "tel").encode(), {}, ["'phone'", "'tel', 'name'"]),
        (b"\x00\x01\x02", {}, ["rows.csv"]),
    ],
    ids=["empty", "cp1250", "encoding", "column", "binary"],
)
def test_files(
    refused: Callable[..., str], tmp_path: Path, content: bytes, options: dict[str, Any], named: list[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    message = refused(bulk(source=path, **options)).replace("'cp1250'", '"cp1250"')
    for word in (*named, "rows.csv") if "encoding" not in options else named:
        assert word in message


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (CSV.encode("utf-8-sig"), {}),
        (CSV.encode("utf-8-sig"), {"encoding": "utf-8"}),
        (CSV.encode("cp1250"), {"encoding": "cp1250"}),
        (CSV.replace(",", ";").encode("utf-8-sig"), {}),
        (CSV.replace(",", "\t").replace("\n", "\r\n").encode(), {}),
        (CSV.replace(",", "#").encode(), {"delimiter": "#"}),
    ],
    ids=["bom", "bom-utf-8", "cp1250", "semicolon", "tab-crlf", "delimiter"],
)
def test_files_that_are_read(
    sim: Simulator, context: Callable[..., Any], tmp_path: Path, content: bytes, options: dict[str, Any]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    assert bulk(source=path, **options).execute(context())["accepted"] == 2
    assert {m.number: m.text for m in sim.state.messages} == {
        "421903000010": "Ahoj Ján",
        "421904000020": "Ahoj Ľubo",
    }


def test_a_template_that_rendered_to_rows_is_not_quoted(refused: Callable[..., str]) -> None:
    operator = bulk(source="{{ rows }}")
    operator.render_template_fields({"rows": ROWS})
    message = refused(operator)
    assert "render_template_as_native_obj" in message
    assert "0903" not in message + repr(operator.source)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"to": ""}, ["row 1", "number"]),
        ({"to": ["0903000010", None]}, ["row 2", "number"]),
        ({"to": "0255551234"}, ["row 1"]),
        ({"to": "+420777123456"}, ["row 1"]),
        ({"text": ""}, ["text", "white space"]),
        ({"priority": "high"}, ["priority", "high"]),
        ({"group_id": "x"}, ["group_id"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_single(refused: Callable[..., str], options: dict[str, Any], named: list[str]) -> None:
    message = refused(
        TelekomSmsSendOperator(**{"task_id": "send", "to": "0903000010", "text": "A", **options})
    )
    for word in named:
        assert word in message


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"colour": "magenta"}, ["'colour'", "unknown", "wire_format"]),
        ({"wire_format": "yaml"}, ["'wire_format'", "'yaml'", "json, xml"]),
        ({"timeout": -1}, ["'timeout'", "-1", "above 0"]),
        ({"verify": "/no/such/ca.pem"}, ["'verify'", "/no/such/ca.pem"]),
    ],
    ids=str,
)
def test_connection(
    refused: Callable[..., str], connect: Callable[..., None], extra: dict[str, Any], named: list[str]
) -> None:
    connect(**extra)
    for operator in (
        bulk(),
        TelekomSmsSendOperator(task_id="send", to="0903000010", text="A"),
        TelekomSmsCheckNumberOperator(task_id="check", phone_numbers="0903000010"),
    ):
        message = refused(operator)
        for word in ("telekom_sms_default", *named):
            assert word in message


def test_connection_of_another_type(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "http", "password": "the password of another system"}
    monkeypatch.setenv("AIRFLOW_CONN_TELEKOM_SMS_DEFAULT", json.dumps(connection))
    message = refused(bulk())
    assert "'http'" in message
    assert "password of another" not in message


@pytest.mark.parametrize(
    ("section", "value", "named"),
    [
        ("LEDGER_PATH", "relative.db", ["ledger_path", "'relative.db'", "absolute"]),
        ("LEDGER_CONN_ID", "warehouse", ["ledger_conn_id", "'warehouse'", "'oracle'", "postgres, sqlite"]),
    ],
)
def test_place_of_the_ledger(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, section: str, value: str, named: list[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "oracle://user:secret@host/db")
    monkeypatch.setenv(f"AIRFLOW__TELEKOM_SMS__{section}", value)
    message = refused(bulk())
    assert "secret" not in message
    for word in named:
        assert word in message


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_invalid": "ignore"},
        {"on_in_doubt": "retry"},
        {"on_rejected": "retry"},
        {"fail_on": 5},
        {"fail_on": "all"},
        {"fail_on": True},
        {"concurrency": 0},
        {"concurrency": "16"},
        {"rate_limit": 0},
        {"price_per_part": None, "max_price": 5},
    ],
    ids=str,
)
def test_wrong_choices_are_refused_when_the_dag_is_parsed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        bulk(**wrong)


def test_airflow_does_not_retry_it(sim: Simulator, run_dag: Callable[..., Any]) -> None:
    with DAG("bad_input", schedule=None, default_args={"retries": 2}) as dag:
        bulk(priority=4)
        bulk(task_id="file", source="/no/such/file.csv")
        TelekomSmsSendOperator(task_id="number", to="12", text="A")
    run = run_dag(dag)
    assert set(run.states.values()) == {"failed"}
    assert set(run.tries.values()) == {1}
    assert sim.state.requests == []


@pytest.mark.parametrize(
    ("given", "on_the_wire"),
    [
        (datetime(2030, 7, 1, 12, 30), "2030-07-01 12:30:00"),
        (datetime(2030, 7, 1, 10, 30, tzinfo=UTC), "2030-07-01 12:30:00"),
        (datetime(2030, 1, 1, 11, 30, tzinfo=UTC), "2030-01-01 12:30:00"),
        ("2030-07-01T12:30:00", "2030-07-01 12:30:00"),
        ("2030-07-01T10:30:00Z", "2030-07-01 12:30:00"),
        ("{{ macros.datetime(2030, 7, 1, 9, 30) }}", "2030-07-01 09:30:00"),
        ("{{ macros.datetime(2030, 7, 1, 9, 30).isoformat() }}+09:00", "2030-07-01 02:30:00"),
    ],
    ids=str,
)
def test_times_on_the_wire(sim: Simulator, context: Callable[..., Any], given: Any, on_the_wire: str) -> None:
    import airflow.sdk.execution_time.macros as macros

    operator = TelekomSmsSendOperator(task_id="send", to="0903000010", text="A", delivery_time=given)
    operator.render_template_fields({"macros": macros})
    operator.execute(context())
    [message] = sim.state.messages
    assert message.parameters["delivery_time"].replace("T", " ") == on_the_wire
