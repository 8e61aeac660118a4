"""The Airflow lines that are supported, and tests that need a newer one."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from airflow import __version__
from packaging.version import Version

_CONSTRAINTS = Path(__file__).parent.parent / "constraints"
#: The Airflow that the tests run on.
RUNNING = Version(Version(__version__).base_version)


def lines() -> list[str]:
    """Give the lines of Airflow that are supported, the oldest first."""
    found = [path.stem.removeprefix("airflow-") for path in _CONSTRAINTS.glob("airflow-*.txt")]
    return sorted(found, key=Version)


def constraints(line: str) -> Path:
    """Give the file of versions that a line is tested with."""
    return _CONSTRAINTS / f"airflow-{line}.txt"


def needs_airflow(line: str, why: str) -> pytest.MarkDecorator:
    """
    Mark tests of what an older Airflow has not; docs/compatibility.md says what happens there instead.

    :param line: the first with it, ``3.3``
    :param why: what Airflow has from then on
    """
    return pytest.mark.skipif(Version(line) > RUNNING, reason=f"needs Airflow {line}: {why}")


def dag_bag(folder: Path | str = os.devnull) -> Any:
    """Give what the DAG files in a folder hold."""
    if Version("3.2") <= RUNNING:
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(dag_folder=folder, bundle_name="dags-folder")
    from airflow.models import dagbag as before

    Before: Any = before.DagBag
    return Before(dag_folder=folder)


def store_dag(dag: Any) -> Any:
    """Write a DAG into Airflow's database as the DAG processor does; give the bag it is in."""
    name = "airflow.dag_processing.dagbag" if Version("3.2") <= RUNNING else "airflow.models.dagbag"
    bag = dag_bag()
    bag.bag_dag(dag)
    importlib.import_module(name).sync_bag_to_db(bag, "dags-folder", None)
    return bag


def dag_serialization() -> Any:
    """Give the class that serializes DAGs."""
    module: Any = importlib.import_module("airflow.serialization.serialized_objects")
    return module.DagSerialization if Version("3.2") <= RUNNING else module.SerializedDAG


def set_up_metrics(factory: Callable[[], Any] | None = None) -> None:
    """
    Let Airflow read ``[metrics]`` anew, as the process of a task does when it starts.

    :param factory: makes what takes the metrics, instead of what is configured
    """
    if Version("3.3") <= RUNNING:
        from airflow.sdk.observability import stats
        from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

        stats.initialize(factory=factory or get_stats_factory(), export_legacy_names=True)
    elif Version("3.2") <= RUNNING:
        utils: Any = importlib.import_module("airflow.sdk.observability.metrics.stats_utils")
        before: Any = importlib.import_module("airflow.sdk.observability.stats").Stats
        before.initialize(factory=factory or utils.get_stats_factory(before))
    else:
        # It is read with the module.
        oldest: Any = importlib.reload(importlib.import_module("airflow.stats"))
        if factory:
            type(oldest.Stats).factory = factory


def run_sync_callback(data: dict[str, Any]) -> tuple[bool, str | None]:
    """
    Run a callback as an executor does; from Airflow 3.2 on.

    :param data: what Airflow has stored of it
    """
    log = structlog.get_logger()
    if Version("3.3") <= RUNNING:
        from airflow.sdk.execution_time.callback_supervisor import execute_callback

        return execute_callback(data["path"], data["kwargs"], Path("x"), None, log)
    from airflow.executors.workloads import callback as workload

    before: Any = workload
    stored = before.CallbackDTO(id="1", fetch_method="import_path", data=data)
    told: tuple[bool, str | None] = before.execute_callback_workload(stored, log)
    return told
