"""The example DAGs run to their end, as they are."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.versions import RUNNING, dag_bag, needs_airflow

EXAMPLES = Path(__file__).parents[2] / "dags_examples"


@pytest.fixture(scope="module")
def examples(airflow_db: None) -> dict[str, Any]:
    """The DAGs of the example files, by file."""
    bag = dag_bag(EXAMPLES)
    # It shows a deadline.
    assert [Path(file).stem for file in bag.import_errors] == ["failure_alert"] * (Version("3.2") > RUNNING)
    return {Path(dag.fileloc).stem: dag for dag in bag.dags.values()}


def test_every_example_is_run_here(examples: dict[str, Any]) -> None:
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    assert set(examples) == files - ({"failure_alert"} if Version("3.2") > RUNNING else set())
    assert files == {
        "answered_survey",
        "approved_campaign",
        "csv_campaign",
        "failure_alert",
        "one_message",
        "personal_data",
        "rcs_appointment",
        "rcs_carousel",
        "rcs_survey",
        "taskflow_campaign",
        "wait_for_delivery",
        "warehouse_campaign",
    }


@needs_airflow("3.3", "it looks for the examples of providers that are not its own")
def test_airflow_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    [bundle] = [b for b in DagBundlesManager().get_all_dag_bundles() if "telekom" in b.name]
    assert {path.name for path in bundle.path.glob("*.py")} == {path.name for path in EXAMPLES.glob("*.py")}


def test_csv_campaign(
    run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any, tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    run = run_dag(examples["csv_campaign"], run_conf={"report": str(report)})

    assert run.state == "success"
    summary = run.xcom("send")
    assert {name: summary[name] for name in ("total", "accepted", "rejected", "invalid", "duplicate")} == {
        "total": 120,
        "accepted": 112,
        "rejected": 1,
        "invalid": 5,
        "duplicate": 2,
    }
    assert (summary["delivered"], summary["undelivered"]) == (108, 4)
    with report.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(1, 121))
    assert Counter(row["delivery_status"] for row in rows if row["state"] == "accepted") == {
        "DELIVERED": 108,
        "EXPIRED": 2,
        "UNDELIVERABLE": 2,
    }
    assert all(row["reason"] for row in rows if row["state"] != "accepted")
    assert max(sim.state.messages_per_number().values()) == 1


@pytest.mark.parametrize(("name", "messages"), [("one_message", 1), ("wait_for_delivery", 3)])
def test_small_examples(
    run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any, name: str, messages: int
) -> None:
    assert run_dag(examples[name]).state == "success"
    assert len(sim.state.messages) == messages


def test_approved_campaign(run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any) -> None:
    """Here nobody can be asked; in test_workers.py somebody is."""
    run = run_dag(examples["approved_campaign"], mark_success_pattern="approve")

    assert run.state == "success"
    assert set(run.states) == {"plan", "approve", *(f"send[{worker}]" for worker in range(4)), "delivered"}
    assert len(sim.state.messages) == 112
    assert max(sim.state.messages_per_number().values()) == 1


def test_rcs_survey(run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any) -> None:
    run = run_dag(examples["rcs_survey"])

    assert run.state == "success"
    messages = sim.state.messages
    assert [receipt["message_id"] for receipt in run.xcom("ask")] == [str(message.id) for message in messages]
    # The last number has no RCS in the simulator.
    assert [message.channel for message in messages] == ["rcs", "rcs", "sms"]
    assert {message.status(*message.clock())[0] for message in messages} == {"DELIVERED"}
    assert {message.callback_urls["postback"][0] for message in messages} == {"https://example.com/replies"}
    assert sim.state.click(messages[0].id, "yes")["text"] == "Áno"


def test_rcs_carousel(
    run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any, tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    run = run_dag(examples["rcs_carousel"], run_conf={"report": str(report)})

    assert run.state == "success"
    summary = run.xcom("send")
    assert {name: summary[name] for name in ("total", "accepted", "delivered")} == {
        "total": 30,
        "accepted": 30,
        "delivered": 30,
    }
    assert Counter(message.channel for message in sim.state.messages) == {"rcs": 27, "sms": 3}
    first = next(message for message in sim.state.messages if message.number == "421944254800")
    assert first.text.startswith("Anna Ševčíková, v predajni Bratislava ")
    assert len(first.body["rcs"]["carouselCard"]["cardContents"]) == 3
    with report.open(newline="") as file:
        assert {row["delivery_status"] for row in csv.DictReader(file)} == {"DELIVERED"}


def test_rcs_appointment(run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any) -> None:
    run = run_dag(examples["rcs_appointment"])

    assert run.state == "success"
    # The last row says not when it ends.
    summary = run.xcom("remind")
    assert {name: summary[name] for name in ("accepted", "invalid")} == {"accepted": 4, "invalid": 1}
    message = next(message for message in sim.state.messages if message.number == "421944302718")
    card = message.body["rcs"]["standaloneCard"]["cardContent"]
    assert card["description"] == "Viera Kováčová, tešíme sa na vás 15.03.2027 o 10:00, Hlavná 45, Košice."
    confirm, cancel, calendar, place = card["suggestions"]
    assert confirm["reply"]["postbackData"] == "confirm T-103"
    assert cancel["reply"]["postbackData"] == "cancel T-103"
    event = calendar["action"]["createCalendarEvent"]
    assert (event["startDateTime"], event["endDateTime"]) == (
        "2027-03-15T10:00:00+01:00",
        "2027-03-15T11:00:00+01:00",
    )
    assert place["action"]["viewLocation"]["latLong"] == {"latitude": 48.7202, "longitude": 21.2577}


@needs_airflow("3.2", "deadlines in airflow.sdk")
def test_failure_alert(run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any) -> None:
    run = run_dag(examples["failure_alert"])

    assert Counter(run.states.values()) == {"failed": 20}
    [message] = sim.state.messages
    assert message.number == "421903123450"
    assert message.text.startswith("Failed: telekom_sms_")


def test_answered_survey(run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any) -> None:
    """Here no asset event starts it, so nobody has answered; in test_events.py many do."""
    assert run_dag(examples["answered_survey"]).state == "success"
    assert sim.state.messages == []


def test_taskflow_campaign(run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any) -> None:
    run = run_dag(examples["taskflow_campaign"])

    assert run.state == "success"
    summary = run.xcom("remind")
    assert 0 < summary["accepted"] < 112
    assert run.xcom("next_step") == f"{summary['delivered']} of {summary['accepted']} delivered"
    assert len(sim.state.messages) == summary["accepted"]
    assert max(sim.state.messages_per_number().values()) == 1


def test_warehouse_campaign(
    run_dag: Callable[..., Any],
    examples: dict[str, Any],
    sim: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as warehouse, warehouse:
        warehouse.executescript(
            """
            CREATE TABLE reminders (id INT, phone TEXT, name TEXT, amount REAL, due_on TEXT);
            CREATE TABLE opted_out (phone TEXT);
            INSERT INTO reminders VALUES (1, '0903123450', 'Ľubica', 12.5, '2026-01-01'),
                (2, '0903123460', 'Šimon', 7.1, '2026-01-01'), (3, '0903123470', 'Eva', 3, '2999-01-01');
            INSERT INTO opted_out VALUES ('+421 903 123 460');
            """
        )
    where = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(where))
    for _ in range(2):
        run = run_dag(examples["warehouse_campaign"])
        assert run.state == "success"
    [message] = sim.state.messages
    assert message.text == "Dobrý deň Ľubica, nezabudnite na platbu 12.50 €."
    assert run.xcom("send")["suppressed"] >= 1


def test_personal_data(run_dag: Callable[..., Any], examples: dict[str, Any], sim: Any) -> None:
    assert run_dag(examples["one_message"]).state == "success"
    run = run_dag(examples["personal_data"])
    # Nothing is as old here.
    assert run.xcom("purge")["messages"] == 0
