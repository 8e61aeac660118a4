from __future__ import annotations

import gzip
import json
import logging
import random
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from array import array

import pandas as pd
import pytest

from airflow_provider_telekom_sms.api.phone import parse_mobile
from airflow_provider_telekom_sms.campaign.query import Query
from airflow_provider_telekom_sms.campaign.suppression import Suppression, load_suppression
from airflow_provider_telekom_sms.exceptions import SourceError

#: The same two numbers, spelled as people do, with blanks and doubles between them.
NUMBERS = ["0903 123 456", "", "+421904123456", None, "00421 903/123456", "  "]
TWO = {"421903123456", "421904123456"}
CSV = "name,phone\n" + "".join(f'Ján,"{number or ""}"\n' for number in NUMBERS)


def load(given, column="phone", conn_id=None, **options):
    return load_suppression(given, column=column, conn_id=conn_id, **options)


def refused(given, *arguments, **options):
    with pytest.raises(SourceError) as error:
        load(given, *arguments, **options)
    assert "123456" not in str(error.value)
    assert "123 456" not in str(error.value)
    return str(error.value)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"phone": NUMBERS, "n": 1}).to_parquet(path)
    return path


RECORDS = [{"phone": number, "n": 1} for number in NUMBERS]
SOURCES = {
    "list": lambda tmp_path: NUMBERS,
    "tuple": lambda tmp_path: tuple(NUMBERS),
    "set": lambda tmp_path: set(NUMBERS),
    "series": lambda tmp_path: pd.Series(NUMBERS, index=range(5, 11)),
    "string series": lambda tmp_path: pd.Series(NUMBERS, dtype="string"),
    "categories": lambda tmp_path: pd.Series(NUMBERS, dtype="category"),
    "index": lambda tmp_path: pd.Index(NUMBERS),
    "missing first": lambda tmp_path: pd.Series([None, float("nan"), pd.NA, *NUMBERS]),
    "iterator": lambda tmp_path: iter(NUMBERS),
    "csv": lambda tmp_path: write(tmp_path / "a.csv", CSV),
    "text path": lambda tmp_path: str(write(tmp_path / "a.CSV", CSV)),
    "select in a path": lambda tmp_path: str(write(tmp_path / "select.csv", CSV)),
    "url": lambda tmp_path: write(tmp_path / "a.csv", CSV).as_uri(),
    "gzip": lambda tmp_path: write(tmp_path / "a.csv.gz", gzip.compress(CSV.encode())),
    "only column": lambda tmp_path: write(tmp_path / "a.csv", "číslo\n0903123456\n421904123456\n"),
    "parquet": as_parquet,
    "frame": lambda tmp_path: pd.DataFrame(RECORDS),
    "only column of a frame": lambda tmp_path: pd.DataFrame({"other": NUMBERS}),
    "dicts": lambda tmp_path: RECORDS,
    "iterator of dicts": lambda tmp_path: iter(RECORDS),
    "callable": lambda tmp_path: lambda: RECORDS,
    "callable list": lambda tmp_path: lambda: NUMBERS,
    "callable generator": lambda tmp_path: lambda: (number for number in NUMBERS),
    "callable frames": lambda tmp_path: lambda: iter([pd.DataFrame(RECORDS[:2]), pd.DataFrame(RECORDS[2:])]),
    "callable path": lambda tmp_path: lambda: str(write(tmp_path / "a.csv", CSV)),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_the_same_numbers(make, tmp_path, caplog):
    found = load(make(tmp_path))
    assert len(found) == 2
    assert all(number in found for number in TWO)
    assert "421903123457" not in found
    assert "421000000000" not in found
    assert "421999999999" not in found
    assert not caplog.records


@pytest.mark.parametrize(
    "given", [[], (), set(), ["", None, " "], pd.Series([], dtype="object"), pd.DataFrame(), lambda: iter([])]
)
def test_nobody(given):
    found = load(given)
    assert len(found) == 0
    assert "421903123456" not in found


def test_spellings_are_read_as_those_of_recipients():
    spellings = [
        "0903123456",
        "903123456",
        "00421903123456",
        "421 903 123 456",
        "+421(903)123-456",
        "0903\u00a0123456",
    ]
    assert {parse_mobile(spelling) for spelling in spellings} == {"421903123456"}
    for spelling in spellings:
        assert "421903123456" in load([spelling])


def test_it_agrees_with_a_set():
    numbers = random.Random(0).sample(range(421903000000, 421903010000), 3000)
    found, known = Suppression(array("Q", numbers)), set(numbers)
    assert len(found) == 3000
    assert all((str(n) in found) == (n in known) for n in range(421902999990, 421903010010))


@pytest.mark.parametrize("phone", ["0903123456", "+421903123456", "+42190312345", "", "42190312345x"])
def test_only_normalised_numbers_are_looked_up(phone):
    with pytest.raises(ValueError, match="only numbers as parse_mobile gives them"):
        _ = phone in load(["0903123456"])


def test_a_repr_shows_no_number():
    assert repr(load(["0903123456"])) == "<Suppression of 1 numbers>"


# --- what cannot be used ------------------------------------------------------------------------------------


def test_unusable_entries_are_counted(caplog):
    landline, foreign, words = "02/57291111", "+420603123456", "nemá"
    with caplog.at_level(logging.WARNING):
        found = load(["0903123456", landline, "", foreign, words])
    assert len(found) == 1
    (record,) = caplog.records
    assert record.getMessage() == (
        "suppression: list, column 'phone': 3 of 4 entries are no Slovak mobile number and hold back no "
        "message: rows 2, 4, 5"
    )
    caplog.clear()
    load(["0903123456", *["x"] * 9])
    assert caplog.records[0].getMessage().endswith("rows 2, 3, 4, 5, 6, …")


def test_rows_that_cannot_be_matched_are_counted(tmp_path, caplog):
    load(write(tmp_path / "a.csv", "phone,name\n0903123456,a\n0904123456\n"))
    assert "1 of 2 entries" in caplog.text
    caplog.clear()
    load([{"phone": "0903123456", "n": 1}, {"n": 1}])
    assert "1 of 2 entries" in caplog.text


def test_a_wrong_column_lets_nobody_through():
    found = refused([{"phone": name, "n": "0903123456"} for name in ("Ján", "Žofia")])
    assert found == (
        "suppression: list, column 'phone': of 2 entries none is a Slovak mobile number (rows 1, 2); "
        "is it the right column?"
    )
    assert "none is a Slovak mobile number (rows 2)" in refused(["", "02/57291111"])


@pytest.mark.parametrize(
    "entry",
    ["4,21903E+11", "903123456.0", "0903123456, 0904123456", "Ján 0903123456", "0903 12 34", "0903l23456"],
)
def test_a_damaged_number_may_be_somebodys(entry):
    found = refused(["0903123456", entry])
    assert "row 2: found what is no phone number and may have been one" in found
    assert entry not in found


@pytest.mark.parametrize("entry", [421903123456, 903123456.0, True, b"0903123456", ("0903123456",)])
def test_entries_that_are_no_text(entry):
    found = refused(["0903123456", entry])
    assert f"row 2: found {type(entry).__name__}, allowed is text" in found
    assert "CAST(… AS VARCHAR)" in found
    assert "row 2" in refused([{"phone": "0903123456", "n": 1}, {"phone": entry, "n": 1}])


def test_numeric_columns(tmp_path):
    frame = pd.DataFrame({"phone": [421903123456, None], "n": 1})
    frame.to_parquet(tmp_path / "a.parquet")
    for given in (frame, frame["phone"], tmp_path / "a.parquet", [421903123456]):
        assert "row 1: found" in refused(given)


def test_columns():
    for given in ([{"a": "0903123456", "b": 1}], pd.DataFrame({"a": ["0903123456"], "b": 1})):
        assert "has no column 'phone'; its columns are: 'a', 'b'" in refused(given)
        assert len(load(given, "a")) == 1


@pytest.mark.parametrize("first", ["0903123456", "+421 903 123 456", "0903\u00a0123456", "02/12123456"])
def test_a_missing_header_does_not_lose_a_number(first, tmp_path):
    path = write(tmp_path / "a.csv", f"{first}\n0904123456\n")
    assert "is the line that names the column missing?" in refused(path)
    assert "is the line that names the columns missing?" in refused(
        write(path, "0903123456,0904123456\n0904123456,a\n")
    )


@pytest.mark.parametrize(
    "text", ["0903123456", "+421 903 123 456", "", "a.txt", "DELETE FROM a", "0903123456;0904123456"]
)
def test_text_that_is_neither_path_nor_sql(text):
    for given in (text, lambda: text):
        found = refused(given, conn_id="lite")
        assert "found text that is neither a path nor SQL; allowed: a list of numbers, a path" in found


@pytest.mark.parametrize(
    "given", [None, 421903123456, b"0903123456", {"phone": "0903123456"}, lambda: lambda: []]
)
def test_what_is_no_source(given):
    assert "suppression: it cannot be " in refused(given)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        load(str(tmp_path / "a.csv"))


def test_csv_settings(tmp_path):
    path = write(tmp_path / "a.csv", "číslo:meno\n0903123456:Žofia\n".encode("cp1250"))
    assert len(load(path, "číslo", encoding="cp1250", delimiter=":")) == 1


def test_files_are_closed_when_an_entry_fails(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"phone": [903123456] * 20_000, "n": 1}).to_parquet(path)
    refused(path)
    refused(write(tmp_path / "a.csv", "a,b\n0903123456,1\n"))
    # An open file would be a ResourceWarning, which the settings of pytest turn into an error.


# --- SQL ----------------------------------------------------------------------------------------------------


@pytest.fixture
def lite(tmp_path, monkeypatch):
    path = tmp_path / "lite.db"
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE optouts (phone TEXT, at TEXT, n INTEGER)")
    connection.executemany("INSERT INTO optouts VALUES (?, 'x', 421903123456)", [(n,) for n in NUMBERS])
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT * FROM optouts", None),
        ("\n  -- who opted out\n select phone AS other from optouts", None),
        ("WITH a AS (SELECT phone FROM optouts WHERE at = ?) SELECT * FROM a", ["x"]),
        ("SELECT phone FROM optouts WHERE at = :at", {"at": "x"}),
    ],
)
def test_sql(lite, sql, parameters):
    found = load(sql, conn_id="lite", parameters=parameters)
    assert all(number in found for number in TWO)
    assert (
        len(load(Query(sql, "lite", parameters)))
        == len(load(lambda: sql, conn_id="lite", parameters=parameters))
        == 2
    )


def test_sql_that_cannot_be_used(lite):
    for conn_id in (None, ""):
        assert "set sql_conn_id to an Airflow connection" in refused(
            "SELECT phone FROM optouts", conn_id=conn_id
        )
    assert "there is no Airflow connection 'nowhere'" in refused("SELECT 1", conn_id="nowhere")
    assert "query over 'lite' failed" in refused("SELECT phone FROM nowhere", conn_id="lite")
    assert "its columns are: 'phone', 'at', 'n'" in refused("SELECT * FROM optouts", "other", "lite")
    assert "row 1: found int" in refused("SELECT n FROM optouts", conn_id="lite")
    assert "of 6 entries none" in refused("SELECT at FROM optouts", conn_id="lite")
    assert len(load("SELECT phone FROM optouts WHERE 1 = 0", conn_id="lite")) == 0


def test_sql_of_postgres(postgres, monkeypatch):
    url = postgres.database()
    postgres.sql(
        url,
        "CREATE TABLE optouts AS "
        "SELECT '0903' || lpad(n::text, 6, '0') AS phone FROM generate_series(0, 9999) n",
    )
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps({
        "conn_type": "postgres", "host": url.host, "port": url.port, "login": url.username,
        "password": url.password, "schema": url.database,
    }))  # fmt: skip
    found = load("SELECT phone FROM optouts WHERE phone LIKE '0903%'", conn_id="pg")
    assert len(found) == 10_000
    assert "421903009999" in found
    assert "421903010000" not in found
    assert 'relation "nowhere" does not exist' in refused("SELECT phone FROM nowhere", conn_id="pg")


# --- size and speed ---------------------------------------------------------------------------------------


def test_a_million_numbers():
    count = 1_000_000
    numbers = random.Random(0).sample(range(421900000000, 421999999999), count)
    raw = array("Q", numbers)
    asked = [str(number) for number in numbers[:50_000]] + [str(number + 1) for number in numbers[:50_000]]
    del numbers
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = Suppression(raw)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    started = time.perf_counter()
    hits = sum(phone in found for phone in asked)
    seconds = (time.perf_counter() - started) / len(asked)
    print(
        f"{count} numbers: {(now - before) / count:.2f} bytes each, {(peak - before) / count:.1f} at the "
        f"peak beside the input, {seconds * 1e6:.2f} µs a lookup"
    )
    assert 50_000 <= hits < 60_000
    assert (now - before) / count < 9
    assert (peak - before) / count < 40


def test_loading_takes_no_memory_but_for_the_numbers():
    count = 100_000
    tracemalloc.start()
    try:
        found = load(f"0903{number:06d}" for number in range(count))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"{peak / count:.1f} bytes an entry at the peak")
    assert len(found) == count
    assert peak < 100 * count


def test_importing_loads_nothing_heavy():
    code = (
        "import sys; from airflow_provider_telekom_sms.campaign import suppression, query;"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'pandas', 'pyarrow', 'airflow', 'psycopg2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
