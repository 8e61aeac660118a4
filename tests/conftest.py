"""Airflow reads its settings when it is first imported, so they are set before anything else is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import PostgresServer

# On a busy machine, or while hypothesis first makes its tables, time tells nothing.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_HOME = tempfile.TemporaryDirectory(prefix="telekom-sms-airflow-", ignore_cleanup_errors=True)

os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY"] = "0"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = f"{_HOME.name}/dags"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_HOME.name}/airflow.db"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; ``postgres.database()`` gives the URL of a new database."""
    server = PostgresServer()
    yield server
    server.close()
