from __future__ import annotations

import datetime
import decimal
import itertools
import json
import logging
import sqlite3
import subprocess
import sys
import time
import types
import uuid

import pytest
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.campaign import query as module
from airflow_provider_telekom_sms.campaign.query import FETCHED, Query, is_query
from airflow_provider_telekom_sms.campaign.sources import Row, fingerprint, open_rows
from airflow_provider_telekom_sms.exceptions import SourceError

SECRET = "Ján Tajný"


def values(source, **options):
    return [row.values for row in open_rows(source, **options)]


def said(source, **options):
    """Give what the error says when a source is read; nothing of it may stand in its trace either."""
    with pytest.raises(SourceError) as error:
        list(open_rows(source, **options))
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return str(error.value)


# --- SQLite -----------------------------------------------------------------------------------------------


@pytest.fixture
def lite(tmp_path, monkeypatch):
    """A SQLite database as the connection ``lite``; gives how to write to it."""
    path = tmp_path / "lite.db"
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def run(sql):
        connection = sqlite3.connect(path)
        found = connection.execute(sql).fetchall()
        connection.commit()
        connection.close()
        return found

    run("CREATE TABLE people (phone TEXT, name TEXT, amount REAL)")
    run("INSERT INTO people VALUES ('0903123456', 'Ján', 1.5), ('0904123456', NULL, NULL)")
    return run


PEOPLE = [
    {"phone": "0903123456", "name": "Ján", "amount": 1.5},
    {"phone": "0904123456", "name": None, "amount": None},
]


def test_rows_of_sqlite(lite):
    rows = open_rows(Query("SELECT * FROM people", "lite"), text_columns=("phone", "elsewhere"))
    assert rows.name == "query over 'lite'"
    assert rows.columns == ["phone", "name", "amount"]
    rows.require("phone")
    assert list(rows) == [Row(1, PEOPLE[0]), Row(2, PEOPLE[1])]


def test_a_callable_may_give_a_query(lite):
    assert values(lambda: Query("SELECT * FROM people", "lite")) == PEOPLE


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT phone FROM people WHERE name = ?", ["Ján"]),
        ("SELECT phone FROM people WHERE name = ?", ("Ján",)),
        ("SELECT phone FROM people WHERE name = :name", {"name": "Ján"}),
        ("SELECT phone FROM people WHERE name LIKE 'J%'", None),
        ("SELECT phone FROM people WHERE name LIKE 'J%'", ()),
    ],
)
def test_parameters_of_sqlite(lite, sql, parameters):
    assert values(Query(sql, "lite", parameters)) == [{"phone": "0903123456"}]


def test_no_rows(lite):
    rows = open_rows(Query("SELECT * FROM people WHERE 1 = 0", "lite"), text_columns=("phone",))
    assert rows.columns == ["phone", "name", "amount"]
    assert list(rows) == []


@pytest.mark.parametrize("count", [1, FETCHED - 1, FETCHED, FETCHED + 1, 3 * FETCHED])
def test_slices(lite, count):
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n"
    assert list(open_rows(Query(sql, "lite", [count]))) == [Row(i, {"i": i}) for i in range(1, count + 1)]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT phone, name AS phone FROM people", "query over 'lite': column 'phone' is there twice"),
        ("SELECT phone, '' AS \" \" FROM people", "query over 'lite': column 2 has no name"),
        ("SELECT * FROM nowhere", "'lite' failed: OperationalError SQLITE_ERROR: no such table: nowhere"),
        ("SELEC 1", 'SQLITE_ERROR: near "…": syntax error'),
        ("SELECT 1; SELECT 2", "You can only execute one statement at a time"),
        ("SELECT ?", "failed: ProgrammingError: Incorrect number of bindings supplied"),
        ("UPDATE people SET name = 'x'", "SQLITE_READONLY: attempt to write a readonly database; allowed"),
        ("DELETE FROM people RETURNING name", "SQLITE_READONLY"),
        ("CREATE TABLE more (a)", "SQLITE_READONLY"),
        ("BEGIN", "query over 'lite' gives no rows; allowed: one query that gives rows (SELECT …)"),
        ("SELECT abs(-9223372036854775807 - 1)", "integer overflow"),
        ("SELECT CAST(x'4aff' AS TEXT) AS name", 'Could not decode to UTF-… column "…"'),
        ("SELECT json_extract('{}', 'Ján Tajný')", "SQLITE_ERROR: JSON path error near \"…\""),
    ],
)  # fmt: skip
def test_what_sqlite_refuses(lite, sql, reason):
    assert reason in said(Query(sql, "lite"))
    assert SECRET not in said(Query(sql, "lite"))
    assert lite("SELECT count(name) FROM people") == [(1,)]


def test_a_query_that_fails_half_way(lite):
    sql = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) "
        "SELECT CASE WHEN i < 5000 THEN i ELSE abs(-9223372036854775807 - 1) END AS i FROM n"
    )
    rows = iter(open_rows(Query(sql, "lite")))
    assert [row.number for row in itertools.islice(rows, 4000)] == list(range(1, 4001))
    with pytest.raises(SourceError, match=r"query over 'lite' failed after row 4000: .*integer overflow"):
        next(rows)


@pytest.mark.parametrize(("cell", "kind"), [("903123456", "int"), ("903123456.0", "float")])
def test_a_numeric_column_of_numbers(lite, cell, kind):
    sql = f"SELECT NULL AS phone UNION ALL SELECT {cell} UNION ALL SELECT 'x'"
    found = said(Query(sql, "lite"), text_columns=("phone",))
    assert found.startswith(f"query over 'lite': column 'phone' is {kind}, which loses leading zeros")
    assert "CAST(phone AS VARCHAR)" in found
    assert "903123456" not in found
    assert len(values(Query(sql, "lite"))) == 3


def test_the_type_is_checked_where_the_first_value_is(lite):
    sql = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5001) "
        "SELECT CASE WHEN i > 5000 THEN i END AS phone FROM n"
    )
    rows = iter(open_rows(Query(sql, "lite"), text_columns=("phone",)))
    assert [next(rows).values["phone"] for _ in range(5000)] == [None] * 5000
    with pytest.raises(SourceError, match="'phone' is int"):
        next(rows)
    # Text first: what comes later in another type marks its row in the plan.
    mixed = Query("SELECT '0903123456' AS phone UNION ALL SELECT 5", "lite")
    assert len(values(mixed, text_columns=("phone",))) == 2


# --- what is no query, no connection ------------------------------------------------------------------------


@pytest.mark.parametrize("sql", ["", " \n", "-- nothing\n", "/* nothing */ ;", None, 5])
def test_empty_sql(sql):
    with pytest.raises(SourceError, match="query over 'lite': the sql is empty; allowed: one query"):
        Query(sql, "lite")


@pytest.mark.parametrize("conn_id", ["", " ", None, 5])
def test_a_missing_conn_id(conn_id):
    with pytest.raises(SourceError, match="conn_id is missing; set it to the id of an Airflow connection"):
        Query("SELECT 1", conn_id)


def test_an_unknown_connection():
    assert "there is no Airflow connection 'nowhere'" in said(Query("SELECT 1", "nowhere"))


def test_connections_that_are_no_database(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps({"conn_type": "smtp", "host": "localhost"}))
    found = said(Query("SELECT 1", "mail"))
    assert "connection 'mail' of type 'smtp' is no database (SmtpHook)" in found
    assert "allowed: a connection whose hook is a DbApiHook" in found
    monkeypatch.setenv("AIRFLOW_CONN_WHAT", json.dumps({"conn_type": "klingon"}))
    with pytest.raises(SourceError, match="connection 'what' of type 'klingon' has no hook"):
        open_rows(Query("SELECT 1", "what"))
    monkeypatch.setitem(sys.modules, "airflow.providers.common.sql.hooks.sql", None)
    assert "'mail' of type 'smtp' is no database" in said(Query("SELECT 1", "mail"))


def test_a_repr_shows_no_values():
    shown = repr(Query(f"SELECT '{SECRET}'", "lite", [SECRET]))
    assert SECRET not in shown
    assert "lite" in shown


def test_fingerprints_ask_no_database():
    given = ("SELECT ?", "nowhere", ["a", datetime.date(2026, 5, 12)])
    before = fingerprint(Query(*given))
    assert before == fingerprint(Query(*given[:2], tuple(given[2])))
    assert before.startswith("query:")
    others = [
        ("SELECT ? ", *given[1:]),
        ("SELECT ?", "elsewhere", given[2]),
        (*given[:2], ["a"]),
        given[:2],
        (*given[:2], {"a": 1, "b": 2}),
    ]
    assert len({before, *(fingerprint(Query(*other)) for other in others)}) == 6
    named = types.MappingProxyType({"b": 2, "a": 1})
    assert fingerprint(Query(*given[:2], named)) == fingerprint(Query(*others[-1]))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1", "select\n1", "  \n\tSelect*from t", "with t as (select 1) select * from t", "(SELECT 1)",
        "-- numbers\n-- of all\nSELECT 1", "/* a */ /* b\n*/select 1", "SELECT'x'",
        "select/**/1", "select--\n1",
    ],
)  # fmt: skip
def test_what_is_sql(text):
    assert is_query(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "0903123456", "select.csv", "selected.csv", "with-optouts.csv", "/data/select 1.csv",
        "-- SELECT 1", "/* SELECT 1", "DELETE FROM t", "withdrawn", "select", "a select 1",
    ],
)  # fmt: skip
def test_what_is_no_sql(text):
    assert not is_query(text)


def test_telling_sql_takes_no_time():
    started = time.thread_time()  # what a busy machine takes away is not counted
    for text in (" " * 100_000 + "x", "/**/" * 50_000 + "x", "--\n" * 50_000, "(" * 100_000, "/*" * 100_000):
        assert not is_query(text)
    assert time.thread_time() - started < 2


# --- PostgreSQL ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def warehouse(postgres):
    url = postgres.database()
    postgres.sql(url, "CREATE TABLE people (phone text, name text)")
    postgres.sql(
        url,
        "INSERT INTO people SELECT '09031' || lpad(n::text, 5, '0'), 'č. ' || n "
        "FROM generate_series(1, 10000) n",
    )
    postgres.sql(
        url,
        "CREATE FUNCTION refuse(what text) RETURNS int LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'no good: %', what USING ERRCODE = '22012'; END$$",
    )
    postgres.sql(
        url,
        "CREATE FUNCTION fail(what text) RETURNS int LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'no good: %', what; END$$",
    )
    postgres.sql(
        url,
        "CREATE FUNCTION claim(what text) RETURNS int LANGUAGE plpgsql AS $$BEGIN ASSERT false, what; END$$",
    )
    return url


def describe(url: URL, **extra):
    return json.dumps({
        "conn_type": "postgres", "host": url.host, "port": url.port, "login": url.username,
        "password": url.password, "schema": url.database, "extra": extra,
    })  # fmt: skip


@pytest.fixture(params=["psycopg2", "psycopg"])
def driver(request, monkeypatch):
    from airflow.providers.postgres.hooks import postgres as hooks

    monkeypatch.setattr(hooks, "USE_PSYCOPG3", request.param == "psycopg")
    return request.param


@pytest.fixture
def pg(warehouse, driver, monkeypatch, postgres):
    """The connection ``pg``; gives how to ask the server past the package. No session may stay behind."""
    monkeypatch.setenv("AIRFLOW_CONN_PG", describe(warehouse))
    yield lambda sql, *given: postgres.sql(warehouse, sql, *given)
    assert sessions(postgres, warehouse) == []


def sessions(postgres, url):
    asked = "SELECT state, query FROM pg_stat_activity WHERE datname = ? AND pid <> pg_backend_pid()"
    until = time.monotonic() + 30
    while (found := postgres.sql(url, asked, url.database)) and time.monotonic() < until:
        time.sleep(0.02)  # a backend takes a moment to end
    return found


@pytest.fixture
def spied(monkeypatch):
    """What is opened, to look at it."""
    opened = []

    def connect(query, real=module._connect):
        opened.append(real(query))
        return opened[-1]

    monkeypatch.setattr(module, "_connect", connect)
    return opened


def test_rows_of_postgres(pg, driver, spied):
    query = Query("SELECT * FROM people ORDER BY phone", "pg")
    found = list(open_rows(query, text_columns=("phone",)))
    assert found[0] == Row(1, {"phone": "0903100001", "name": "č. 1"})
    assert [row.number for row in found] == list(range(1, 10_001))
    assert type(spied[0]).__module__.startswith(driver)
    assert spied[0].closed


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT name FROM people WHERE phone = %s", ["0903100001"]),
        ("SELECT name FROM people WHERE phone = %(phone)s", {"phone": "0903100001"}),
        ("SELECT name FROM people WHERE phone LIKE '%100001'", None),
        ("SELECT name FROM people WHERE phone LIKE '%100001';", ()),
        (
            "-- a comment\nWITH a AS (SELECT * FROM people) SELECT name FROM a WHERE name = 'č. 1' -- end",
            None,
        ),
        ("VALUES ('č. 1')", None),
    ],
)
def test_queries_of_postgres(pg, sql, parameters):
    assert [list(row.values()) for row in values(Query(sql, "pg", parameters))] == [["č. 1"]]


def test_values_of_postgres_pass_through(pg):
    sql = (
        "SELECT '1.50'::numeric AS n, 'NaN'::numeric AS nn, 'NaN'::float8 AS nan, '2026-05-12'::date AS day, "
        "'2026-05-12 10:00+02'::timestamptz AS at, '\\x00ff'::bytea AS bytes, true AS yes, "
        "'00000000-0000-0000-0000-00000000002a'::uuid AS id, NULL AS nothing, '{\"a\": 1}'::jsonb AS js, "
        "ARRAY[1, NULL] AS list"
    )
    (row,) = values(Query(sql, "pg"))
    assert bytes(row.pop("bytes")) == b"\x00\xff"
    assert str(row.pop("id")) == str(uuid.UUID(int=42))
    assert row == {
        "n": decimal.Decimal("1.50"),
        "nn": None,
        "nan": None,
        "day": datetime.date(2026, 5, 12),
        "at": datetime.datetime(2026, 5, 12, 8, tzinfo=datetime.UTC),
        "yes": True,
        "nothing": None,
        "js": {"a": 1},
        "list": [1, None],
    }


def test_no_rows_of_postgres(pg):
    rows = open_rows(Query("SELECT * FROM people WHERE false", "pg"), text_columns=("phone",))
    assert rows.columns == ["phone", "name"]
    assert list(rows) == []


@pytest.mark.parametrize("cursor", ["dictcursor", "namedtuplecursor"])
def test_a_connection_that_asks_for_dicts(pg, warehouse, monkeypatch, cursor):
    monkeypatch.setenv("AIRFLOW_CONN_PG", describe(warehouse, cursor=cursor))
    assert values(Query("SELECT 1 AS a, 2 AS b", "pg")) == [{"a": 1, "b": 2}]
    assert "column 'a' is there twice" in said(Query("SELECT 1 AS a, 2 AS a", "pg"))


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT phone AS a, name AS a FROM people", "query over 'pg': column 'a' is there twice"),
        ("SELECT FROM people", "query over 'pg' "),
        ("SELECT * FROM nowhere", 'failed: UndefinedTable 42P01: relation "nowhere" does not exist'),
        ("SELECT * FROM no.where", 'relation "no.where" does not exist'),
        ("SELECT phone, nme FROM people", 'UndefinedColumn 42703: column "nme" does not exist'),
        ('SELECT "Ján Tajný"', 'UndefinedColumn 42703: column "…" does not exist'),
        ('SELECT "0903123456"', 'UndefinedColumn 42703: column "…" does not exist'),
        ("SELECT nope(1)", "UndefinedFunction 42883: function nope(integer) does not exist"),
        ("SELEC 1", 'SyntaxError 42601: syntax error at or near "SELEC"; allowed: one query that gives rows'),
        ("UPDATE people SET name = NULL", 'syntax error at or near "UPDATE"; allowed: one query that'),
        ("DELETE FROM people RETURNING name", "SyntaxError 42601"),
        ("WITH a AS (DELETE FROM people RETURNING name) SELECT * FROM a",
         "FeatureNotSupported 0A000: DECLARE CURSOR must not contain data-modifying statements in WITH; all"),
        ("SELECT setval('counter', 1)", 'relation "…" does not exist'),
        ("SELECT lo_create(0)", "ReadOnlySqlTransaction 25006: cannot execute lo_create() in a read-only"),
        ("SELECT 1/0", "failed: DivisionByZero 22012: division by zero"),
        ("SELECT 'Ján Tajný'::int", 'TextRepresentation 22P02: invalid input syntax for type integer: "…"'),
        ("SELECT 'Ján \"Tajný\" x'::int", 'for type integer: "…"'),
        ("SELECT ('Ján' || chr(10) || 'Tajný')::int", 'for type integer: "…"'),
        ("SELECT '{Ján Tajný'::json", "invalid input syntax for type json"),
        ("SELECT refuse('Ján Tajný')", "query over 'pg' failed: DivisionByZero 22012"),
        ("SELECT fail('Ján Tajný')", "query over 'pg' failed: RaiseException P0001"),
        ("SELECT claim('Ján Tajný')", "query over 'pg' failed: AssertFailure P0004"),
        ("SELECT convert_from('\\xe14a'::bytea, 'UTF8')", 'encoding "…": … …'),
        ("SELECT pg_sleep(9)", "QueryCanceled 57014: canceling statement due to statement timeout"),
    ],
)  # fmt: skip
def test_what_postgres_refuses(pg, warehouse, monkeypatch, caplog, spied, sql, reason):
    options = "-c statement_timeout=500" if "pg_sleep" in sql else ""
    monkeypatch.setenv("AIRFLOW_CONN_PG", describe(warehouse, options=options))
    with caplog.at_level(logging.DEBUG):
        found = said(Query(sql, "pg"))
    assert reason in found
    for piece in ("Ján", "Tajný", "0903123456", "DETAIL", "e14a", "e1 4a", "\n"):
        assert piece not in found
    assert "Tajný" not in caplog.text
    assert pg("SELECT count(name) FROM people") == [(10_000,)]
    assert spied[0].closed


def test_a_word_of_the_query_is_shown_only_where_the_query_is_wrong(pg):
    sql = "SELECT name::int FROM (SELECT 'name' AS name) a"
    assert 'for type integer: "…"' in said(Query(sql, "pg"))


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [("SELECT %s", [SECRET, SECRET]), ("SELECT %s, %s", [SECRET]), ("SELECT %(a)s", {"b": SECRET}),
     ("SELECT '%' || %s", [SECRET]), ("SELECT %s", [object()])],
)  # fmt: skip
def test_parameters_that_do_not_fit(pg, sql, parameters):
    found = said(Query(sql, "pg", parameters))
    assert found.startswith("query over 'pg' failed: ")
    assert SECRET not in found


FAILS_LATE = "SELECT 1 / (5000 - n) AS x FROM generate_series(1, 10000) n"


def test_postgres_fails_half_way(pg, spied):
    rows = iter(open_rows(Query(FAILS_LATE, "pg")))
    assert [row.number for row in itertools.islice(rows, 4000)] == list(range(1, 4001))
    with pytest.raises(SourceError) as error:
        next(rows)
    assert str(error.value) == "query over 'pg' failed after row 4000: DivisionByZero 22012: division by zero"
    assert spied[0].closed


def test_a_connection_that_is_lost(pg, spied):
    rows = iter(open_rows(Query("SELECT * FROM people", "pg")))
    next(rows)
    pid = spied[0].info.backend_pid
    assert pg("SELECT pg_terminate_backend(?, 5000)", pid) == [(True,)]
    with pytest.raises(SourceError, match=r"'pg' failed after row 2000: \w+ ?\w*: .*(terminat|closed)"):
        list(rows)
    assert spied[0].closed


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"port": 1}, "refused"),
        ({"password": "wrong"}, 'failed: FATAL:  password authentication failed for user "…"'),
        ({"database": "nowhere"}, 'FATAL:  database "…" does not exist'),
    ],
)
def test_no_connection(pg, warehouse, monkeypatch, broken, reason):
    monkeypatch.setenv("AIRFLOW_CONN_PG", describe(warehouse.set(**broken)))
    found = said(Query("SELECT 1", "pg"))
    assert found.startswith("query over 'pg' cannot connect: OperationalError")
    assert reason in found
    assert "wrong" not in found


@pytest.mark.parametrize("kind", ["int", "numeric", "float8", "bool"])
def test_a_numeric_column_of_numbers_in_postgres(pg, kind):
    cell = "true" if kind == "bool" else "903123456"
    sql = f"SELECT {cell}::{kind} AS phone"
    assert "CAST(phone AS VARCHAR)" in said(Query(sql, "pg"), text_columns=("phone",))
    assert len(values(Query(f"SELECT {cell}::{kind}::text AS phone", "pg"), text_columns=("phone",))) == 1


def test_the_cursor_is_on_the_server_and_the_transaction_read_only(pg, spied):
    with open_rows(Query("SELECT name FROM pg_cursors, generate_series(1, 9999)", "pg")) as rows:
        started = iter(rows)
        assert next(started).values["name"].startswith("telekom_sms_")
        cursor = spied[0].cursor()
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("on",)
        cursor.close()
    assert spied[0].closed


def test_a_connection_with_autocommit(pg, warehouse, driver, monkeypatch, postgres):
    if driver == "psycopg2":
        pytest.skip("its connections cannot be told to")
    monkeypatch.setenv("AIRFLOW_CONN_PG", describe(warehouse, autocommit=True))
    assert len(values(Query("SELECT * FROM people", "pg"))) == 10_000


def test_rows_that_are_not_read_to_their_end(pg, postgres, warehouse, spied):
    for row in open_rows(Query("SELECT * FROM people", "pg")):
        assert row.number == 1
        break
    with open_rows(Query("SELECT * FROM people", "pg")):
        pass
    rows = open_rows(Query("SELECT * FROM people", "pg"))
    rows.close()
    rows.close()
    assert [bool(one.closed) for one in spied] == [True] * 3
    assert sessions(postgres, warehouse) == []


def test_a_consumer_that_fails(pg, spied):
    def consume():
        for _ in open_rows(Query("SELECT * FROM people", "pg")):
            raise KeyError

    with pytest.raises(KeyError):
        consume()
    assert spied[0].closed


def test_connections_that_are_wrapped(pg, monkeypatch, spied):
    """As instrumentation does it: all is passed on, only the type is another."""

    class Proxy:
        def __init__(self, inner):
            self.__dict__["inner"] = inner

        __class__ = property(lambda self: type(self.inner))

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def __setattr__(self, name, value):
            setattr(self.inner, name, value)

    monkeypatch.setattr(module, "_connect", lambda query, real=module._connect: Proxy(real(query)))
    sql = "SELECT name FROM pg_cursors"
    assert values(Query(sql, "pg"))[0]["name"].startswith("telekom_sms_")


MEASURE = """
import json, sys, time
from pathlib import Path
from airflow_provider_telekom_sms.campaign.query import Query
from airflow.providers.postgres.hooks import postgres

def peak():  # not ru_maxrss, which begins with that of the parent
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

postgres.USE_PSYCOPG3 = sys.argv[1] == "psycopg"
sql = "SELECT '0903' || lpad(n::text, 6, '0') AS phone, repeat('č', 200) || n AS name "
sql += "FROM generate_series(1, %d) n"
assert sum(1 for _ in Query(sql % 10, "pg").open_rows()) == 10
before, started = peak(), time.perf_counter()
count = sum(row.problem is None for row in Query(sql % int(sys.argv[2]), "pg").open_rows(("phone",)))
print(json.dumps([count, peak() - before, time.perf_counter() - started]))
"""


def test_memory_does_not_grow_with_the_rows(pg, driver):
    def grown(count):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, driver, str(count)], capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        found, kilobytes, seconds = json.loads(done.stdout.splitlines()[-1])
        assert found == count
        print(f"{driver}: {count} rows: {kilobytes / 1024:.1f} MB more, {seconds / count * 1e6:.1f} µs a row")
        return kilobytes

    few, many = grown(20_000), grown(200_000)
    assert many - few < 8 * 1024


# --- MySQL, as far as it goes without a server --------------------------------------------------------------


@pytest.mark.parametrize("driver_name", ["MySQLdb", "pymysql"])
def test_mysql_gets_a_cursor_that_streams(driver_name, monkeypatch):
    asked = []

    class Connection:
        __module__ = f"{driver_name}.connections"

        def cursor(self, kind):
            asked.append(kind)
            return types.SimpleNamespace(execute=asked.append)

    cursors = types.ModuleType(f"{driver_name}.cursors")
    cursors.SSCursor = "SSCursor"
    monkeypatch.setitem(sys.modules, driver_name, types.ModuleType(driver_name))
    monkeypatch.setitem(sys.modules, f"{driver_name}.cursors", cursors)
    module._read_only_cursor(Connection())
    assert asked == ["SSCursor", "START TRANSACTION READ ONLY"]


# --- errors of drivers that are not here --------------------------------------------------------------------


class ProgrammingError(Exception):
    """As drivers of other databases have it."""


@pytest.mark.parametrize(
    ("args", "attributes", "shown"),
    [
        ((1146, f"Table '{SECRET}'"), {}, "ProgrammingError 1146"),
        (("42S02", SECRET), {}, "ProgrammingError"),
        ((SECRET,), {"errno": 2003, "sqlstate": "42S02"}, "ProgrammingError 42S02"),
        ((types.SimpleNamespace(full_code="ORA-00942"),), {}, "ProgrammingError ORA-00942"),
        ((SECRET,), {"sqlstate": SECRET}, "ProgrammingError"),
        ((), {}, "ProgrammingError"),
    ],
)
def test_other_drivers_are_not_quoted(args, attributes, shown):
    error = ProgrammingError(*args)
    vars(error).update(attributes)
    with pytest.raises(SourceError) as found, module._asking(Query("SELECT 1", "x"), "failed"):
        raise error
    assert str(found.value) == f"query over 'x' failed: {shown}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain", "plain"),
        ('a "b" c "d" e\nDETAIL: f', 'a "…" e'),
        ("lone 'x y", 'lone "…"'),
        ("„Ján“ and «x» y", '"…" y'),
        ("value 0903123456 of 0xE1 12", "value … of … …"),
        ("nul \0Ján\0", "nul Ján"),
    ],
)
def test_masking(text, shown):
    assert module._masked(text) == shown
