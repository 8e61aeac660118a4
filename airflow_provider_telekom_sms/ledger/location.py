"""Where Airflow keeps the ledger: a connection, a path, or a file under AIRFLOW_HOME."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger.store import Ledger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

SECTION = "telekom_sms"
FILE = "telekom_sms_ledger.db"
#: Executors that run every task on one machine.
LOCAL_EXECUTORS = {"LocalExecutor", "SequentialExecutor", "DebugExecutor"}
#: Extras of a PostgreSQL connection that are parameters of libpq; Airflow's other extras are not for it.
PASSED_ON = (
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding",
    "target_session_attrs", "connect_timeout", "application_name",
)  # fmt: skip


def open_ledger(ledger_conn_id: str | None = None) -> Ledger:
    """
    Open the ledger that ``[telekom_sms]`` in Airflow's configuration names, or another one.

    :param ledger_conn_id: Airflow connection of the database; None for what is configured
    :raises ConfigurationError: when what is set there cannot be used
    :raises LedgerError: when the ledger cannot be opened
    """
    url = ledger_url(ledger_conn_id)
    # By process: a database connection must not be shared with a fork. By file: one that was deleted could
    # still be written to, and nobody would ever read it.
    return _opened(url, os.getpid(), _file_of(url))


def ledger_url(ledger_conn_id: str | None = None, *, find: Callable[[str], Connection] | None = None) -> URL:
    """
    Give the URL of the ledger's database.

    :param find: finds a connection outside of a task; there Airflow's usual way passes by its own database
    """
    from airflow.providers.common.compat.sdk import BaseHook, conf

    if conn_id := ledger_conn_id or conf.get(SECTION, "ledger_conn_id", fallback=""):
        return _url((find or BaseHook.get_connection)(conn_id))
    path = conf.get(SECTION, "ledger_path", fallback="")
    if not path:
        _refuse_remote(conf.get("core", "executor", fallback=""))
        home = os.environ.get("AIRFLOW_HOME", "~/airflow")
        path = str(Path(os.path.expandvars(home)).expanduser() / FILE)
    return _file(path, f"[{SECTION}] ledger_path")


def find_outside_a_task(conn_id: str) -> Any:
    """Find a connection where Airflow's servers do; ``airflow.sdk`` asks them, which only a task can."""
    from airflow.models import Connection
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    try:
        return Connection.get_connection_from_secrets(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"ledger_conn_id: found {conn_id!r}; Airflow has no such connection, or its database is away"
        ) from None


def _refuse_remote(executors: str) -> None:
    """Refuse a file that every machine would have one of its own: a retry elsewhere would send all again."""
    # "LocalExecutor,team1=CeleryExecutor;alias:module.EdgeExecutor"
    names = [re.split(r"[.:=]", name.strip())[-1] for name in re.split(r"[,;]", executors)]
    if remote := [name for name in names if name and name not in LOCAL_EXECUTORS]:
        raise ConfigurationError(
            f"[core] executor: with {', '.join(remote)} tasks run on several machines, and the ledger would "
            f"be a file on each of them. Set [{SECTION}] ledger_conn_id to a PostgreSQL connection, or "
            "ledger_path if all machines see the same file"
        )


def _file_of(url: URL) -> tuple[int, int] | None:
    if url.get_backend_name() != "sqlite":
        return None
    path = Path(str(url.database))
    if not path.exists():
        _opened.cache_clear()
        Ledger(url).close()
    status = path.stat()
    return status.st_dev, status.st_ino


@lru_cache(maxsize=8)
def _opened(url: URL, pid: int, file: tuple[int, int] | None) -> Ledger:
    return Ledger(url)


def _file(path: str, setting: str) -> URL:
    # None, and SQLite would keep the ledger in memory; a relative one depends on who runs.
    if not Path(path).is_absolute():
        raise ConfigurationError(f"{setting}: found {path!r}, allowed is an absolute path of a SQLite file")
    return URL.create("sqlite", database=path)


def _url(connection: Connection) -> URL:
    kind, extra = connection.conn_type, connection.extra_dejson
    if kind == "sqlite":
        # From JSON and the form the path is the host; "sqlite:////var/lib/ledger.db" makes it the schema.
        return _file(connection.host or connection.schema or "", f"connection {connection.conn_id!r}")
    if kind in ("postgres", "postgresql"):
        return URL.create(
            "postgresql",
            username=connection.login,
            password=connection.password,
            host=connection.host,
            port=connection.port,
            database=connection.schema,
            query={name: str(extra[name]) for name in PASSED_ON if name in extra},
        )
    raise ConfigurationError(
        f"[{SECTION}] ledger_conn_id: connection {connection.conn_id!r} is of type {kind!r}; "
        "allowed: postgres, sqlite"
    )
