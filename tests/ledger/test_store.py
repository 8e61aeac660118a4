from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import stat
import threading
import time
import traceback

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    LedgerError,
    LedgerUnavailableError,
)
from airflow_provider_telekom_sms.ledger import planning, schema, sending
from airflow_provider_telekom_sms.ledger.planning import PlannedRow
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from tests.ledger.older import make_older

SECRETS = ("421903555666", "Tajný text")


def whole(error):
    """All that a log or a crash report would show of an error, and of those behind it."""
    behind = error.__context__
    return "".join(traceback.format_exception(error)) + (whole(behind) if behind else "")


def test_it_is_opened_by_its_owner_only_and_keeps_its_id(file_desk):
    for path in file_desk.path.parent.glob("ledger.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    again = Ledger(f"sqlite:///{file_desk.path}")
    assert again.id == file_desk.ledger.id
    again.close()


def test_every_connection_is_durable(file_desk):
    ledger = file_desk.ledger
    with contextlib.ExitStack() as stack:
        for connection in [stack.enter_context(ledger.reading()) for _ in range(4)]:
            found = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
            assert found == ["wal", 2, 1]


def test_a_reader_blocks_no_writer(desk, ledger):
    owner = desk.planned(2)
    with ledger.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.message)) == 2
        planning.end(ledger, owner)


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE", "DEFERRED"])
def test_a_new_file_that_another_process_has_locked_is_waited_for(tmp_path, lock):
    """Of all statements, the one that switches to WAL does not wait by itself for a reader."""
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path, check_same_thread=False)
    other.execute("CREATE TABLE something (a)")
    other.execute(f"BEGIN {lock}")
    other.execute("SELECT * FROM something").fetchall()
    began = time.monotonic()
    threading.Timer(0.3, other.close).start()
    Ledger(f"sqlite:///{path}").close()
    assert 0.2 < time.monotonic() - began < 20


def test_processes_that_open_new_databases_at_once_agree(postgres, processes):
    """Many, since a lock has to be met at the right moment."""
    urls = [postgres.database().render_as_string(hide_password=False) for _ in range(8)]
    ids = processes(4, "open", " ".join(urls))
    assert len({tuple(mine) for mine in ids}) == 1
    assert len(set(ids[0])) == 8


def test_processes_that_open_new_files_at_once_agree(tmp_path, processes):
    """Many files, since a lock has to be met at the right moment."""
    ids = processes(4, "open", " ".join(f"sqlite:///{tmp_path}/{file}.db" for file in range(40)))
    assert len({tuple(mine) for mine in ids}) == 1
    assert len(set(ids[0])) == 40


def test_another_version_of_the_tables_is_refused(desk):
    desk.sql("UPDATE telekom_sms_ledger SET schema_version = schema_version + 1")
    with pytest.raises(LedgerError, match="version 5; this package knows versions up to 4"):
        Ledger(desk.url)


def shape(ledger):
    """All columns and indexes, however they came there."""
    found = sa.inspect(ledger.engine)
    return {
        name: (
            {column["name"]: (str(column["type"]), column["nullable"]) for column in found.get_columns(name)},
            {index["name"]: index["column_names"] for index in found.get_indexes(name)},
            [(key["constrained_columns"], key["referred_table"]) for key in found.get_foreign_keys(name)],
        )
        for name in schema.metadata.tables
    }


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_ledger_is_brought_up_to_date(desk, ledger, version):
    owner = desk.planned(3)
    new = shape(ledger)
    make_older(desk, version)
    again = Ledger(desk.url)
    assert again.id == ledger.id
    assert desk.sql("SELECT schema_version FROM telekom_sms_ledger") == [(4,)]
    assert shape(again) == new
    assert len(sending.exchange(again, owner, [], 9).claimed) == 3
    assert desk.sql("SELECT key_column, ttl FROM telekom_sms_plan") == [(None, 0)]
    assert desk.sql("SELECT DISTINCT external_id FROM telekom_sms_message") == [(None,)]
    again.close()


@pytest.mark.parametrize("table", ["owner", "message", "action", "ledger"])
def test_a_ledger_that_lacks_a_table_is_refused(desk, ledger, table):
    """Made anew, it would be empty, and what was sent would be sent again."""
    ledger.close()
    cascade = "CASCADE" if ledger.dialect == "postgresql" else ""
    desk.sql(f"DROP TABLE telekom_sms_{table} {cascade}")
    with pytest.raises(LedgerError, match="has lost its id" if table == "ledger" else f"telekom_sms_{table}"):
        Ledger(desk.url)


def test_a_ledger_without_its_row_is_refused(desk, ledger):
    desk.sql("DELETE FROM telekom_sms_ledger")
    with pytest.raises(LedgerError, match="has lost its id"):
        Ledger(desk.url)


def test_a_wrong_password_is_told_and_not_shown(postgres):
    url = postgres.url(password="wrong-password")
    with pytest.raises(LedgerUnavailableError, match="password authentication failed") as caught:
        Ledger(url)
    assert "wrong-password" not in whole(caught.value)


def test_a_server_that_is_not_there_is_told(postgres):
    url = postgres.url().set(port=1)
    with pytest.raises(LedgerUnavailableError, match=r"(?i)connection refused|connection failed"):
        Ledger(url)


def test_a_database_that_may_only_be_read_is_told(postgres):
    url = postgres.database()
    postgres.sql(url, f'ALTER DATABASE "{url.database}" SET default_transaction_read_only = on')
    with pytest.raises(LedgerError, match="read-only transaction"):
        Ledger(url)


@pytest.mark.parametrize("encoding", ["LATIN2", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_letter_is_refused(postgres, encoding):
    made = f"CREATE DATABASE \"{encoding}\" ENCODING '{encoding}' TEMPLATE template0"
    postgres.sql(postgres.url(), f"{made} LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(ConfigurationError, match=f"encoded in {encoding}; allowed: UTF8"):
        Ledger(postgres.url(encoding))


def test_a_role_with_another_isolation_is_no_matter(postgres):
    url = postgres.database()
    postgres.sql(url, f"ALTER DATABASE \"{url.database}\" SET default_transaction_isolation = 'serializable'")
    ledger = Ledger(url)
    with ledger.transaction() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    ledger.close()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_both_drivers_of_postgresql_serve(postgres, driver):
    ledger = Ledger(postgres.database().set(drivername=f"postgresql+{driver}"))
    owner = planning.begin(ledger, "campaign", "slot")
    plan_id = planning.begin_plan(ledger, owner, "", "{}", fallback=False)
    planning.add(ledger, owner, plan_id, secret_rows(1) + secret_rows(2)[1:])
    planning.finish_plan(ledger, owner, plan_id)
    claimed = sending.exchange(ledger, owner, [], 9).claimed
    outcomes = [sending.Outcome(message.id, State.ACCEPTED, str(message.id)) for message in claimed]
    assert sending.exchange(ledger, owner, outcomes, 9) == sending.Exchange([], 2)
    assert planning.end(ledger, owner)
    ledger.close()


def test_a_commit_in_postgresql_is_durable(postgres):
    """Even where the server's setting, or the role's, is not."""
    url = postgres.database()
    postgres.sql(url, f'ALTER DATABASE "{url.database}" SET synchronous_commit = off')
    ledger = Ledger(url)
    for open_, found in ((ledger.transaction, "on"), (ledger.reading, "off")):
        with open_() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == found
    ledger.close()


def test_another_kind_of_database_is_refused():
    with pytest.raises(ConfigurationError, match=r"mysql.*sqlite, postgresql"):
        Ledger("mysql://user:secret@host/database")


def test_a_password_is_not_shown(ledger):
    ledger.url = make_url("postgresql://user:geheim@host/database")
    assert "geheim" not in repr(ledger)


def test_no_database(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_text("Toto nie je databáza. " * 100)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger(f"sqlite:///{path}")
    assert path.read_text().startswith("Toto nie je")


def test_a_missing_folder_is_not_made(tmp_path):
    """An empty ledger where a volume is not mounted would send everything again."""
    with pytest.raises(LedgerError, match="No such file or directory"):
        Ledger(f"sqlite:///{tmp_path / 'volume' / 'ledger.db'}")
    assert not (tmp_path / "volume").exists()


def test_a_file_that_may_not_be_written(as_nobody):
    """SQLite opens it and says so at the first write, which comes before the first message."""

    def attempt(folder):
        path = folder / "ledger.db"
        Ledger(f"sqlite:///{path}").close()
        path.chmod(0o400)
        planning.begin(Ledger(f"sqlite:///{path}"), "campaign", "slot")
        return "began"

    answer = as_nobody(attempt)
    assert answer.startswith("LedgerError: <Ledger sqlite:///")
    assert "readonly" in answer


def test_a_folder_that_may_not_be_written(as_nobody):
    def attempt(folder):
        folder.chmod(0o500)
        Ledger(f"sqlite:///{folder / 'ledger.db'}")
        return "opened"

    answer = as_nobody(attempt)
    assert answer.startswith("LedgerError: ")
    assert "Permission denied" in answer


def secret_rows(number):
    return [
        PlannedRow(row, State.PLANNED, b"%016d" % row, "kľúč", *SECRETS, 1) for row in range(1, number + 1)
    ]


def test_a_full_disk_shows_no_number_and_no_text(file_desk):
    owner = file_desk.begin()
    plan_id = planning.begin_plan(file_desk.ledger, owner, "", "{}", fallback=False)

    def no_more(connection, _):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 10}").close()

    file_desk.ledger.close()
    sa.event.listen(file_desk.ledger.engine, "connect", no_more)
    with pytest.raises(LedgerError, match="full") as caught:
        planning.add(file_desk.ledger, owner, plan_id, secret_rows(2000))
    shown = whole(caught.value)
    assert not any(secret in shown for secret in (*SECRETS, "kľúč"))
    assert file_desk.states() == {}


def test_a_file_that_may_not_grow(tmp_path, processes):
    [[chunk, error]] = processes(1, "full", tmp_path / "ledger.db", 1)
    assert 0 < chunk < 100
    assert "LedgerError" not in error
    assert error.startswith("<Ledger sqlite:///")
    assert not any(secret in error for secret in SECRETS)


@pytest.mark.parametrize("wrong", [{"row": None}, {"reason": object()}])
def test_what_was_to_be_written_is_in_no_error(desk, ledger, wrong):
    owner = desk.begin()
    plan_id = planning.begin_plan(ledger, owner, "", "{}", fallback=False)
    row = dataclasses.replace(secret_rows(1)[0], **wrong)
    with pytest.raises(LedgerError) as caught:
        planning.add(ledger, owner, plan_id, [row])
    shown = whole(caught.value)
    assert not any(secret in shown for secret in SECRETS)


def test_reading_fails_as_writing_does(desk, ledger):
    desk.sql("DROP TABLE telekom_sms_message")
    with (
        pytest.raises(LedgerError, match=r"no such table|UndefinedTable") as caught,
        ledger.reading() as connection,
    ):
        connection.execute(sa.select(schema.message).where(schema.message.c.text == SECRETS[1]))
    assert SECRETS[1] not in whole(caught.value)


def test_the_clock_is_the_databases(desk, ledger):
    with ledger.reading() as connection:
        assert abs(ledger.now(connection) - time.time() * 1000) < 2000
