"""Where Airflow keeps the ledger: a connection, a path, or a file under AIRFLOW_HOME."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger.store import Ledger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

SECTION = "telekom_sms"
FILE = "telekom_sms_ledger.db"
#: Extras of a PostgreSQL connection that are parameters of libpq; Airflow's other extras are not for it.
PASSED_ON = (
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding",
    "target_session_attrs", "connect_timeout", "application_name",
)  # fmt: skip


def open_ledger() -> Ledger:
    """
    Open the ledger that ``[telekom_sms]`` in Airflow's configuration names.

    :raises ConfigurationError: when what is set there cannot be used
    :raises LedgerError: when the ledger cannot be opened
    """
    # By process: a database connection must not be shared with a fork.
    return _opened(ledger_url(), os.getpid())


def ledger_url() -> URL:
    """Give the URL of the ledger's database."""
    from airflow.providers.common.compat.sdk import BaseHook, conf

    if conn_id := conf.get(SECTION, "ledger_conn_id", fallback=""):
        return _url(BaseHook.get_connection(conn_id))
    path = conf.get(SECTION, "ledger_path", fallback="")
    if not path:
        home = os.environ.get("AIRFLOW_HOME", "~/airflow")
        path = str(Path(os.path.expandvars(home)).expanduser() / FILE)
    if not Path(path).is_absolute():
        raise ConfigurationError(f"[{SECTION}] ledger_path: found {path!r}, allowed is an absolute path")
    return URL.create("sqlite", database=path)


@lru_cache(maxsize=8)
def _opened(url: URL, pid: int) -> Ledger:
    return Ledger(url)


def _url(connection: Connection) -> URL:
    kind, extra = connection.conn_type, connection.extra_dejson
    if kind == "sqlite":
        return URL.create("sqlite", database=connection.host)
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
