"""Where the ledger lives."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from airflow_provider_telekom_sms.ledger.location import FILE, ledger_url, open_ledger


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


def test_a_sqlite_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID", "ledger")
    assert open_ledger().url.database == str(path)
    assert path.exists()
