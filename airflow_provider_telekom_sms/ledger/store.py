"""Opens the ledger's database: durable transactions, the database's clock, the tables."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from airflow_provider_telekom_sms.exceptions import ConfigurationError, LedgerError
from airflow_provider_telekom_sms.ledger import schema

#: How long a transaction waits for another process's before it gives up, seconds.
LOCK_TIMEOUT = 60
#: Any constant will do; it only has to be the same for all who create the tables.
_CREATE_LOCK = 7_305_801_215

_NOW = {
    "sqlite": sa.text("SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"),
    "postgresql": sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"),
}


class State(StrEnum):
    """States of a message."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"
    INVALID = "invalid"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"


class Ledger:
    """
    An open ledger.

    :param url: SQLAlchemy URL of the database; SQLite and PostgreSQL are supported
    :raises ConfigurationError: for another kind of database
    :raises LedgerError: when it cannot be opened or its tables are of another version
    """

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self.dialect = self.url.get_backend_name()
        if self.dialect not in _NOW:
            raise ConfigurationError(
                f"The ledger cannot live in {self.dialect!r}; allowed: {', '.join(_NOW)}"
            )
        self.engine = self._engine()
        with self.transaction() as connection:
            self.id = self._open(connection)

    def __repr__(self) -> str:
        return f"<Ledger {self.url.render_as_string(hide_password=True)}>"

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _engine(self) -> Engine:
        if self.dialect != "sqlite":
            try:
                return sa.create_engine(
                    self.url,
                    pool_size=2,
                    pool_pre_ping=True,
                    hide_parameters=True,
                    connect_args={"options": "-c synchronous_commit=on"},
                )
            except ImportError as error:
                raise ConfigurationError(f"A ledger in PostgreSQL needs its driver: {error}") from None
        if self.url.database:
            _make_private(Path(self.url.database))
        engine = sa.create_engine(self.url, hide_parameters=True, connect_args={"timeout": LOCK_TIMEOUT})
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
        return engine

    def _open(self, connection: Connection) -> str:
        if self.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATE_LOCK)))
        schema.metadata.create_all(connection)
        found = connection.execute(sa.select(schema.ledger.c.id, schema.ledger.c.schema_version)).first()
        if found is None:
            ledger_id = str(uuid.uuid4())
            values = {
                "id": ledger_id,
                "schema_version": schema.SCHEMA_VERSION,
                "created_at": self.now(connection),
            }
            connection.execute(schema.ledger.insert().values(values))
            return ledger_id
        if found.schema_version != schema.SCHEMA_VERSION:
            raise LedgerError(
                f"{self!r} has tables of version {found.schema_version}; this package needs version "
                f"{schema.SCHEMA_VERSION}"
            )
        return str(found.id)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """
        Give a connection in a transaction that is durable once it is committed.

        :raises LedgerError: for every trouble of the database, without the values that were written
        """
        failure: str
        try:
            with self.engine.begin() as connection:
                yield connection
            return
        except sa.exc.SQLAlchemyError as error:
            failure = f"{self!r}: {_cause(error)}"
        # The driver's own error may quote what was written, numbers and texts among it.
        raise LedgerError(failure) from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that only reads and blocks no writer."""
        failure: str
        try:
            with self.engine.connect() as connection:
                yield connection.execution_options(telekom_sms_read=True)
            return
        except sa.exc.SQLAlchemyError as error:
            failure = f"{self!r}: {_cause(error)}"
        raise LedgerError(failure) from None

    def now(self, connection: Connection) -> int:
        """Tell the database's time, in milliseconds since 1970 UTC."""
        return int(connection.scalar(_NOW[self.dialect]) or 0)


def _cause(error: sa.exc.SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}"


def _make_private(path: Path) -> None:
    """Create the file for its owner only: it holds numbers and texts."""
    try:
        # The folder must be there: an empty ledger in place of a volume that is missing would send all again.
        path.touch(mode=0o600)
    except OSError as error:
        raise LedgerError(f"The ledger {str(path)!r} cannot be created: {error.strerror}") from None


def _sqlite_connect(connection: Any, _: Any) -> None:
    # The driver would begin transactions late, and as readers, which then cannot become writers.
    connection.isolation_level = None
    # The keys of a long plan are spread over their whole index: ten times as many pages as by default go into
    # the log before they are written back, most of them several times.
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=10000"):
        connection.execute(f"PRAGMA {pragma}").close()
    _switch_to_wal(connection)


def _switch_to_wal(connection: Any) -> None:
    """Switch a new file over; of all statements this one does not wait while another process holds a lock."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _sqlite_begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("telekom_sms_read")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
