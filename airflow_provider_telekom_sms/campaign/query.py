"""
Rows from the warehouse: a query over any connection of Airflow that speaks DB-API.

Rows stream through a server-side cursor (PostgreSQL, MySQL) or through slices of a plain one, inside a
transaction that is read only where the database has such a thing, and rolled back everywhere.

What a database says of an error may quote rows. An error shows the name of its class and its code; its text
only where that comes from PostgreSQL or SQLite themselves (nothing a function raises), its first line
without DETAIL, with all digits and all between its first and last quote left out. Shown in quotes are names
alone that stand in the query, and those only when the query is what is wrong (SQLSTATE 42…).
"""

from __future__ import annotations

import functools
import importlib
import json
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from numbers import Number
from typing import Any

from airflow_provider_telekom_sms.campaign.rows import Row, Rows, checked_columns, is_missing, not_text
from airflow_provider_telekom_sms.exceptions import SourceError, SourceUnavailableError

#: Rows that are fetched at a time.
FETCHED = 2_000

_ALLOWED = "allowed: one query that gives rows (SELECT …)"

# Possessive: text that is no query must not take time by the square of its length.
_BLANK = r"(?:[\s(;]|--[^\n]*+|/\*.*?\*/)*+"
_starts_as_query = re.compile(
    _BLANK + r"(?:select|with)(?=[\s(*'\"`\[]|--|/\*)", re.IGNORECASE | re.DOTALL
).match
_is_blank = re.compile(_BLANK, re.DOTALL).fullmatch


def is_query(text: str) -> bool:
    """
    Tell whether text is SQL: it begins, after blanks and comments, with SELECT or WITH.

    :param text: any; ``select.csv`` is none
    """
    return _starts_as_query(text) is not None


@dataclass(frozen=True)
class Query:
    """
    A query as a source of rows.

    :param sql: one statement that gives rows
    :param conn_id: Airflow connection to run it over; any whose hook is a ``DbApiHook``
    :param parameters: values for its placeholders, which look as the driver has them (``%s``, ``?``,
        ``%(name)s``); with None, a ``%`` is a ``%``
    :raises SourceError: when there is no SQL or no connection
    """

    # SQL may hold numbers of people: neither it nor the parameters stand in a repr.
    sql: str = field(repr=False)
    conn_id: str
    parameters: Mapping[str, Any] | Sequence[Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.conn_id, str) or not self.conn_id.strip():
            raise SourceError(
                "query: conn_id is missing; set it to the id of an Airflow connection to a database"
            )
        if not isinstance(self.sql, str) or _is_blank(self.sql):
            raise SourceError(f"{self.name}: the sql is empty; {_ALLOWED}")

    @property
    def name(self) -> str:
        """What messages call this source."""
        return f"query over {self.conn_id!r}"

    def facts(self) -> list[object]:
        """Tell what changes when the query does, without running it."""
        given = self.parameters
        if given is not None:  # a tuple comes back from a DAG's JSON as a list, and is no other query
            given = dict(given) if isinstance(given, Mapping) else list(given)
        return [self.conn_id, self.sql, json.dumps(given, sort_keys=True, default=str)]

    def open_rows(self, text_columns: Collection[str] = ()) -> Rows:
        """
        Run the query and read its columns, and of its rows the first slice.

        :param text_columns: columns whose first value has to be text, not a number
        :raises SourceError: when the query cannot be run; names the connection
        """
        connection = _connect(self)
        steps: list[Callable[[], object]] = [connection.rollback, connection.close]
        try:
            with _asking(self, "failed"):
                cursor = _read_only_cursor(connection)
                steps.insert(0, cursor.close)
                cursor.arraysize = FETCHED
                # Without parameters, drivers leave a % alone.
                cursor.execute(self.sql, *([self.parameters] if self.parameters else []))
                # A named cursor of psycopg2 knows its columns only after the first fetch.
                if cursor.description is None and _driver(cursor) != "psycopg2":
                    raise SourceError(f"{self.name} gives no rows; {_ALLOWED}")
                first = cursor.fetchmany(FETCHED)
            columns = checked_columns([part[0] for part in cursor.description or ()], self.name)
        except BaseException:
            _end(steps)
            raise
        unknown = [column for column in text_columns if column in columns]
        rows = _rows(self, cursor, first, columns, unknown)
        return Rows(self.name, columns, rows, functools.partial(_end, steps))


def _end(steps: Iterable[Callable[[], object]]) -> None:
    # Each on its own: of a connection that is lost, all of them fail.
    for step in steps:
        with suppress(Exception):
            step()


# --- connections and cursors ------------------------------------------------------------------------------


def _connect(query: Query) -> Any:
    """Give an open connection, in which nothing has been asked yet."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    try:
        connection: Any = BaseHook.get_connection(query.conn_id)
    except AirflowNotFoundException:
        raise SourceError(f"query: there is no Airflow connection {query.conn_id!r}") from None
    shown = f"connection {query.conn_id!r} of type {connection.conn_type!r}"
    try:
        hook = connection.get_hook()
    except Exception as error:
        raise SourceError(
            f"query: {shown} has no hook ({type(error).__name__}); is its provider installed?"
        ) from error
    if not _is_database(hook):
        raise SourceError(
            f"query: {shown} is no database ({type(hook).__name__}); "
            "allowed: a connection whose hook is a DbApiHook (postgres, sqlite, mysql, snowflake, …)"
        )
    try:
        opened = hook.get_conn()
    except Exception as error:
        # No query was sent yet: what any driver says here holds no rows.
        reason = _masked(str(error), quoted=_QUOTED_PIECE)
        raise SourceUnavailableError(f"{query.name} cannot connect: {_kind(error)}: {reason}") from None
    try:
        with _asking(query, "cannot begin a transaction"):
            if hook.supports_autocommit:
                hook.set_autocommit(opened, False)
    except BaseException:
        _end([opened.close])
        raise
    return opened


def _is_database(hook: object) -> bool:
    try:
        from airflow.providers.common.sql.hooks.sql import DbApiHook
    except ImportError:  # the provider that all databases build on
        return False
    return isinstance(hook, DbApiHook)


def _driver(thing: object) -> str:
    """Give the top module of the driver that made a connection or an error, whatever class lies around it."""
    # Not type(): what traces connections wraps them, and passes on only their __class__.
    tops = [str(part.__module__).partition(".")[0] for part in thing.__class__.__mro__]
    return next((top for top in tops if top in _CURSORS), tops[0])


def _read_only_cursor(connection: Any) -> Any:
    make = _CURSORS.get(_driver(connection))
    return make(connection) if make else connection.cursor()


# Rows are tuples, whatever kind of cursor the connection asks for: a dict hides a column that is there twice.


def _psycopg2_cursor(connection: Any) -> Any:
    extensions = importlib.import_module("psycopg2.extensions")  # which has no types
    connection.set_session(readonly=True, autocommit=False)
    return connection.cursor(_cursor_name(), cursor_factory=extensions.cursor)


def _psycopg_cursor(connection: Any) -> Any:
    from psycopg.rows import tuple_row

    connection.read_only = True
    return connection.cursor(_cursor_name(), row_factory=tuple_row)


def _cursor_name() -> str:
    return f"telekom_sms_{uuid.uuid4().hex}"


def _mysql_cursor(connection: Any) -> Any:
    cursors = importlib.import_module(f"{_driver(connection)}.cursors")
    cursor = connection.cursor(cursors.SSCursor)
    cursor.execute("START TRANSACTION READ ONLY")
    return cursor


def _sqlite_cursor(connection: Any) -> Any:
    cursor = connection.cursor()
    cursor.row_factory = None
    cursor.execute("PRAGMA query_only = ON")
    return cursor


_CURSORS = {
    "psycopg2": _psycopg2_cursor,
    "psycopg": _psycopg_cursor,
    "MySQLdb": _mysql_cursor,
    "pymysql": _mysql_cursor,
    "sqlite3": _sqlite_cursor,
}


# --- rows -------------------------------------------------------------------------------------------------


def _rows(
    query: Query, cursor: Any, part: Sequence[Any], columns: list[str], text_columns: list[str]
) -> Iterator[Row]:
    number = 0
    while part:
        for cells in part:
            number += 1
            if isinstance(cells, Mapping):
                cells = cells.values()
            values = {
                column: None if is_missing(cell) else cell
                for column, cell in zip(columns, cells, strict=True)
            }
            if text_columns:
                text_columns = _still_unknown(query, values, text_columns)
            yield Row(number, values)
        with _asking(query, f"failed after row {number}"):
            part = cursor.fetchmany(FETCHED)


def _still_unknown(query: Query, values: Mapping[str, Any], columns: list[str]) -> list[str]:
    """Check the first values of columns that have to be text; give the columns that had none yet."""
    for column in columns:
        if isinstance(values[column], Number):
            raise not_text(query.name, column, type(values[column]).__name__)
    return [column for column in columns if values[column] is None]


# --- errors -----------------------------------------------------------------------------------------------

#: Classes of SQLSTATE that PostgreSQL itself raises: connection, what it cannot do, data, transaction,
#: access, the query, resources, an operator's intervention, the system. P0 is what functions raise.
_OWN_CLASSES = ("08", "0A", "22", "25", "28", "40", "42", "53", "54", "55", "57", "58")
#: What an UPDATE, or two statements, end with: syntax, a DECLARE that is not allowed, read only.
_NO_QUERY = ("42601", "0A000", "25006", "SQLITE_READONLY")
_QUOTES = "\"'`„“”‚‘’«»‹›"
_QUOTED = re.compile(f"[{_QUOTES}].*[{_QUOTES}]|[{_QUOTES}].*")
_QUOTED_PIECE = re.compile(f"[{_QUOTES}][^{_QUOTES}]*[{_QUOTES}]?")
_DIGITS = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)
_NAME = re.compile(r'"([^\W\d][\w$]*(?:\.[^\W\d][\w$]*)*)"')
_LITERAL = re.compile(r"'[^']*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_WORD = re.compile(r"[^\W\d][\w$]*")
_CODE = re.compile(r"[\w-]{1,40}", re.ASCII)


@contextmanager
def _asking(query: Query, what: str) -> Iterator[None]:
    """Turn what a driver raises into an error that names the connection and quotes no row."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        kind, text = _kind(error), _text(error, query.sql)
        hint = f"; {_ALLOWED}" if kind.endswith(_NO_QUERY) else ""
        # From None: the trace would show what the driver says.
        raise SourceError(f"{query.name} {what}: {kind}{text and ': '}{text}{hint}") from None


def _sqlstate(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")


def _kind(error: Exception) -> str:
    """Give the class of an error and its code, which drivers keep in one attribute or another."""
    first = error.args[0] if error.args else None
    codes = (
        _sqlstate(error),
        getattr(error, "sqlite_errorname", None),
        getattr(error, "errno", None),
        getattr(first, "full_code", None),  # of oracledb
        first if isinstance(first, int) else None,  # of MySQL
    )
    code = next((str(code) for code in codes if code and _CODE.fullmatch(str(code))), "")
    return f"{type(error).__name__}{code and ' '}{code}"


def _text(error: Exception, sql: str) -> str:
    """Give what an error says without the values it may hold; nothing where that cannot be known."""
    driver = _driver(error)
    if driver == "sqlite3":
        return _masked(str(error))
    if driver not in ("psycopg", "psycopg2"):
        return ""
    diagnostics = getattr(error, "diag", None)
    if (primary := getattr(diagnostics, "message_primary", None)) is None:
        return _masked(str(error))  # raised by the driver or by libpq
    kind = _sqlstate(error)[:2]
    # RAISE in a function takes any text and any SQLSTATE.
    if kind not in _OWN_CLASSES or getattr(diagnostics, "source_function", None) == "exec_stmt_raise":
        return ""
    return _masked(primary, _LITERAL.sub(" ", sql) if kind == "42" else "")


def _masked(text: str, sql: str = "", quoted: re.Pattern[str] = _QUOTED) -> str:
    """
    Leave out of a message what may be a value.

    :param text: of it the first line
    :param sql: names that stand in it may be shown
    :param quoted: to the last quote, as PostgreSQL does not escape those that stand in a value
    """
    known = frozenset(_WORD.findall(sql))
    line = text.strip().partition("\n")[0].strip().replace("\0", "")

    def kept(match: re.Match[str]) -> str:
        return f"\0{match[1]}\0" if known.issuperset(match[1].split(".")) else match[0]

    line = quoted.sub('"…"', _NAME.sub(kept, line)).replace("\0", '"')
    return _DIGITS.sub("…", line)
