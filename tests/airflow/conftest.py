"""A real Airflow with a migrated database, and DAGs that run in this process."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Settings, Simulator, serve
from tests.versions import store_dag

#: Fast enough for tests: delivery takes 20 ms instead of 2 s.
SPEED = 100


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Migrate the metadata database; once, for it takes seconds."""
    from airflow.utils.db import initdb

    Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        initdb()
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()


@pytest.fixture(scope="session")
def _server() -> Iterator[Simulator]:
    with serve() as simulator:
        yield simulator


@pytest.fixture
def sim(_server: Simulator) -> Iterator[Simulator]:
    """An empty simulator; what was sent to it must keep to the manual."""
    _server.state.reset()
    _server.state.settings = Settings(speed=SPEED)
    yield _server
    assert _server.state.violations == []


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, sim: Simulator) -> Callable[..., None]:
    """Change the connection: its host, its key, its extras."""

    def change(host: str | None = None, password: str = DEFAULT_TOKEN, **extra: Any) -> None:
        connection = {
            "conn_type": "telekom_sms",
            "host": host or sim.url,
            "password": password,
            "extra": {"timeout": 2, **extra},
        }
        monkeypatch.setenv("AIRFLOW_CONN_TELEKOM_SMS_DEFAULT", json.dumps(connection))

    return change


@pytest.fixture(autouse=True)
def _connected(
    connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """A connection to the simulator and an empty ledger."""
    from airflow_provider_telekom_sms.ledger import location
    from airflow_provider_telekom_sms.ledger.store import Ledger

    opened = []

    def open_one(url: URL) -> Ledger:
        opened.append(Ledger(url))
        return opened[-1]

    connect()
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", str(tmp_path / "ledger.db"))
    monkeypatch.setattr(location, "Ledger", open_one)
    yield
    location._opened.cache_clear()
    for ledger in opened:
        ledger.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on an API that cannot be reached after half a second instead of a minute."""
    from airflow_provider_telekom_sms.transport import AsyncTransport

    monkeypatch.setitem(AsyncTransport.__init__.__kwdefaults__, "retry_for", 0.5)


@pytest.fixture
def context() -> Callable[..., dict[str, Any]]:
    """Make the context of one try, as far as operators read it."""

    def make(
        task_id: str = "task", run_id: str = "run", try_number: int = 1, map_index: int = -1
    ) -> dict[str, Any]:
        ti = SimpleNamespace(
            dag_id="dag", task_id=task_id, run_id=run_id, try_number=try_number, map_index=map_index
        )
        return {"ti": ti, "task_instance": ti, "run_id": run_id}

    return make


@dataclass
class Run:
    """A finished DAG run."""

    dag_id: str
    run_id: str
    state: str
    states: dict[str, str]
    tries: dict[str, int]

    def xcom(self, task_id: str, map_index: int = -1) -> Any:
        """Give what a task returned."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            query = XComModel.get_many(
                run_id=self.run_id, dag_ids=self.dag_id, task_ids=task_id, key="return_value"
            )
            for row in session.scalars(query):
                if row.map_index == map_index:
                    return XComModel.deserialize_value(row)
        raise AssertionError(f"{task_id} returned nothing")


@pytest.fixture
def run_dag(airflow_db: None) -> Callable[..., Run]:
    """Run a DAG to its end, and tell how it ended."""

    def run(dag: Any, **options: Any) -> Run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            store_dag(dag)
            ended = dag.test(**options)
        tis = ended.get_task_instances()
        return Run(
            dag.dag_id,
            ended.run_id,
            str(ended.state),
            {_name(ti): str(ti.state) for ti in tis},
            {_name(ti): ti.try_number for ti in tis},
        )

    return run


def _name(ti: Any) -> str:
    return ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
