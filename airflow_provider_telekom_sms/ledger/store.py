"""Opens the ledger's database: durable transactions, the database's clock, the tables."""

from __future__ import annotations

import importlib.util
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

from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    LedgerError,
    LedgerUnavailableError,
)
from airflow_provider_telekom_sms.ledger import schema

#: How long a transaction waits for another process's before it gives up, seconds.
LOCK_TIMEOUT = 60
#: Any constant will do; it only has to be the same for all who create the tables.
_CREATE_LOCK = 7_305_801_215

#: A server that has vanished without a word is noticed in half a minute.
_LIBPQ = {
    "connect_timeout": 10, "tcp_user_timeout": 30_000, "keepalives_idle": 30, "client_encoding": "utf8"
}  # fmt: skip

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


#: States of rows that were never to be sent.
NEVER_SENT = (State.INVALID, State.DUPLICATE, State.SUPPRESSED)


def storable(text: str) -> str:
    """Replace what no database takes: NUL and half a surrogate pair."""
    return text if text.isprintable() else text.encode("utf-8", "replace").decode().replace("\0", "?")


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
        try:
            with self.transaction() as connection:
                self.id = self._open(connection)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Ledger {self.url.render_as_string(hide_password=True)}>"

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _engine(self) -> Engine:
        if self.dialect == "postgresql":
            url, options = _postgresql(self.url)
            engine = sa.create_engine(
                url,
                pool_size=2,
                pool_pre_ping=True,
                hide_parameters=True,
                # Whatever the role's default is: rows are locked, and nothing else is relied on.
                isolation_level="READ COMMITTED",
                **options,
            )
            sa.event.listen(engine, "begin", _postgresql_begin)
            return engine
        if self.url.database:
            _make_private(Path(self.url.database))
        engine = sa.create_engine(self.url, hide_parameters=True, connect_args={"timeout": LOCK_TIMEOUT})
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
        return engine

    def _open(self, connection: Connection) -> str:
        """Create the tables, or bring those of an older version up to date; give the ledger's id."""
        if self.dialect == "postgresql":
            if (encoding := connection.exec_driver_sql("SHOW server_encoding").scalar()) != "UTF8":
                raise ConfigurationError(f"{self!r} is encoded in {encoding}; allowed: UTF8")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATE_LOCK)))
        tables = schema.metadata.tables.keys()
        there = tables & set(sa.inspect(connection).get_table_names())
        if not there:
            return self._create(connection)
        found = None
        if schema.ledger.name in there:
            found = connection.execute(sa.select(schema.ledger.c.id, schema.ledger.c.schema_version)).first()
        if found is None:
            raise LedgerError(f"{self!r} has lost its id; restore its backup, or all would be sent again")
        version = int(found.schema_version)
        if version > schema.SCHEMA_VERSION:
            raise LedgerError(
                f"{self!r} has tables of version {version}; this package knows versions up to "
                f"{schema.SCHEMA_VERSION}: install the newer one here, too"
            )
        steps = [schema.MIGRATIONS[step] for step in range(version, schema.SCHEMA_VERSION)]
        if missing := tables - there - {name for step in steps for name in step.new_tables}:
            raise LedgerError(
                f"{self!r} lacks the tables {', '.join(sorted(missing))}; restore its backup, or what they "
                "knew would be sent again"
            )
        if steps:
            self._migrate(connection, steps)
        return str(found.id)

    def _create(self, connection: Connection) -> str:
        schema.metadata.create_all(connection)
        ledger_id = str(uuid.uuid4())
        connection.execute(
            schema.ledger.insert().values(
                id=ledger_id, schema_version=schema.SCHEMA_VERSION, created_at=self.now(connection)
            )
        )
        return ledger_id

    def _migrate(self, connection: Connection, steps: list[schema.Migration]) -> None:
        # New tables first: a later step may change one that an earlier step brought.
        schema.metadata.create_all(connection)
        for statement in [statement for step in steps for statement in step.statements]:
            connection.execute(sa.text(statement))
        connection.execute(schema.ledger.update().values(schema_version=schema.SCHEMA_VERSION))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """
        Give a connection in a transaction that is durable once it is committed.

        :raises LedgerUnavailableError: when its server is away
        :raises LedgerError: for every other trouble of the database, without the values that were written
        """
        failure: LedgerError
        try:
            with self.engine.begin() as connection:
                yield connection
            return
        except sa.exc.SQLAlchemyError as error:
            failure = self._failure(error)
        # The driver's own error may quote what was written, numbers and texts among it.
        raise failure from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that only reads and blocks no writer."""
        failure: LedgerError
        try:
            with self.engine.connect() as connection:
                yield connection.execution_options(telekom_sms_read=True)
            return
        except sa.exc.SQLAlchemyError as error:
            failure = self._failure(error)
        raise failure from None

    def _failure(self, error: sa.exc.SQLAlchemyError) -> LedgerError:
        cause = getattr(error, "orig", None) or error
        lines = str(cause).splitlines() or [""]
        # PostgreSQL's further lines quote whole rows, and what is suppressed may still be shown by others.
        error.args = cause.args = (lines[0],)
        away = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) or (
            isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
        )
        kind = LedgerUnavailableError if away and self.dialect != "sqlite" else LedgerError
        return kind(f"{self!r}: {type(cause).__name__}: {lines[0]}")

    def now(self, connection: Connection) -> int:
        """Tell the database's time, in milliseconds since 1970 UTC."""
        return int(connection.scalar(_NOW[self.dialect]) or 0)


def _postgresql(url: URL) -> tuple[URL, dict[str, Any]]:
    """Give the URL with a driver that is installed, and that driver's options."""
    if "+" not in url.drivername:
        drivers = [name for name in ("psycopg", "psycopg2") if importlib.util.find_spec(name)]
        if not drivers:
            raise ConfigurationError(
                "A ledger in PostgreSQL needs its driver; install airflow-provider-telekom-sms[postgres]"
            )
        url = url.set(drivername=f"postgresql+{drivers[0]}")
    options: dict[str, Any] = {name: value for name, value in _LIBPQ.items() if name not in url.query}
    if url.get_driver_name() == "psycopg":
        # Statements that are prepared on the server do not pass through every pool of connections.
        options["prepare_threshold"] = None
    return url, {"connect_args": options}


def _postgresql_begin(connection: Connection) -> None:
    if not connection.get_execution_options().get("telekom_sms_read"):
        # The second for a process that stands still in a transaction: it must not hold others for ever.
        connection.exec_driver_sql(
            "SET LOCAL synchronous_commit = on; "
            f"SET LOCAL idle_in_transaction_session_timeout = {LOCK_TIMEOUT * 1000}"
        )


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
