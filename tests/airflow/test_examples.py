"""The example DAGs run to their end, as they are."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "dags_examples"


@pytest.fixture(scope="module")
def examples(airflow_db: None) -> dict[str, Any]:
    """The DAGs of the example files, by file."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=EXAMPLES, bundle_name="dags-folder")
    assert bag.import_errors == {}
    return {Path(dag.fileloc).stem: dag for dag in bag.dags.values()}


def test_every_example_is_run_here(examples: dict[str, Any]) -> None:
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    assert set(examples) == files
    assert files == {
        "approved_campaign",
        "csv_campaign",
        "one_message",
        "wait_for_delivery",
    }


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
