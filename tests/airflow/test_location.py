"""Where the ledger lives."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger.location import FILE, ledger_url, open_ledger
from tests.postgres import PostgresServer


def test_a_path(tmp_path: Path) -> None:
    assert str(ledger_url()) == f"sqlite:///{tmp_path / 'ledger.db'}"
    assert open_ledger() is open_ledger()
    assert stat.S_IMODE((tmp_path / "ledger.db").stat().st_mode) == 0o600


def test_without_settings_it_is_in_the_home_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH")
    assert ledger_url().database == f"{os.environ['AIRFLOW_HOME']}/{FILE}"


@pytest.mark.parametrize("kind", ["postgres", "postgresql"])
def test_a_connection(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    ours = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "connect_timeout": 5}
    connection = {"conn_type": kind, "host": "db", "port": 5433, "login": "me", "password": "p@ss/word"}
    connection |= {"schema": "sms", "extra": {**ours, "cursor": "dictcursor"}}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID", "ledger")
    url = ledger_url()
    assert (url.get_backend_name(), url.host, url.port, url.username, url.password, url.database) == (
        "postgresql", "db", 5433, "me", "p@ss/word", "sms",
    )  # fmt: skip
    assert url.query == {name: str(value) for name, value in ours.items()}


@pytest.mark.parametrize("as_uri", [False, True])
def test_a_sqlite_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_uri: bool) -> None:
    path = tmp_path / "other.db"
    as_json = json.dumps({"conn_type": "sqlite", "host": str(path)})
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{path}" if as_uri else as_json)
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID", "ledger")
    assert open_ledger().url.database == str(path)
    assert path.exists()


@pytest.mark.parametrize("found", ["sqlite://", "sqlite://ledger.db", '{"conn_type": "sqlite"}'])
def test_a_sqlite_connection_without_a_whole_path_is_refused(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    """Without a path SQLite would keep the ledger in memory, and a retry would send all again."""
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", found)
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID", "ledger")
    with pytest.raises(ConfigurationError, match=r"connection 'ledger': found '.*', allowed is an absolute"):
        open_ledger()


@pytest.mark.parametrize(
    "executor",
    [
        "CeleryExecutor",
        "KubernetesExecutor",
        "LocalExecutor,CeleryExecutor",
        "airflow.providers.edge3.executors.EdgeExecutor",
        "LocalExecutor;team1=remote:my.own.RemoteExecutor",
    ],
)
def test_a_file_that_nobody_chose_is_refused_where_tasks_run_on_many_machines(
    monkeypatch: pytest.MonkeyPatch, executor: str, tmp_path: Path
) -> None:
    """Each machine would have a ledger of its own, and a retry on another would send all again."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    assert ledger_url().database == str(tmp_path / "ledger.db")  # chosen on purpose
    monkeypatch.delenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH")
    with pytest.raises(ConfigurationError, match=r"\[core\] executor: .*Executor.*ledger_conn_id") as caught:
        ledger_url()
    assert "with LocalExecutor" not in str(caught.value)


@pytest.mark.parametrize("executor", ["LocalExecutor", "airflow.executors.local_executor.LocalExecutor", ""])
def test_on_one_machine_a_file_serves(monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    monkeypatch.delenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH")
    assert str(ledger_url().database).endswith(FILE)


def test_an_operator_can_name_another_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "mine.db")}
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(connection))
    assert open_ledger("mine").url.database == str(tmp_path / "mine.db")
    assert open_ledger().id != open_ledger("mine").id


def test_a_ledger_in_postgresql(monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer) -> None:
    url = postgres.database()
    connection = {"conn_type": "postgres", "host": url.host, "port": url.port, "login": url.username}
    connection |= {"password": url.password, "schema": url.database}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID", "ledger")
    assert open_ledger().id == postgres.sql(url, "SELECT id FROM telekom_sms_ledger")[0][0]
