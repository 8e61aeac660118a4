from __future__ import annotations

import functools
import gzip
import math
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_telekom_sms.campaign.sources import (
    Row,
    fingerprint,
    is_missing,
    open_rows,
    require_columns,
)
from airflow_provider_telekom_sms.exceptions import SourceError

RECORDS = [{"phone": "0903123456", "name": "Ján"}, {"phone": "0904123456", "name": "Žofia"}]
ROWS = [Row(1, RECORDS[0]), Row(2, RECORDS[1])]
CSV = "phone,name\n0903123456,Ján\n0904123456,Žofia\n"


def write(path, content, encoding="utf-8"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def frames():
    yield pd.DataFrame()
    yield pd.DataFrame(RECORDS[:1])
    yield pd.DataFrame(RECORDS[:0])
    yield pd.DataFrame(RECORDS[1:])


def as_csv(tmp_path):
    return write(tmp_path / "rows.csv", CSV)


def as_gzip(tmp_path):
    return write(tmp_path / "rows.csv.gz", gzip.compress(CSV.encode()))


def as_parquet(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(RECORDS), path)
    return path


SOURCES = {
    "csv": as_csv,
    "csv.gz": as_gzip,
    "parquet": as_parquet,
    "text path": lambda tmp_path: str(as_csv(tmp_path)),
    "object storage csv": lambda tmp_path: ObjectStoragePath(as_csv(tmp_path).as_uri()),
    "object storage gzip": lambda tmp_path: ObjectStoragePath(as_gzip(tmp_path).as_uri()),
    "object storage parquet": lambda tmp_path: ObjectStoragePath(as_parquet(tmp_path).as_uri()),
    "url": lambda tmp_path: as_csv(tmp_path).as_uri(),
    "frame": lambda tmp_path: pd.DataFrame(RECORDS, index=[7, 7]),
    "list": lambda tmp_path: RECORDS,
    "iterator": lambda tmp_path: iter(RECORDS),
    "lists": lambda tmp_path: iter([RECORDS[:1], [], RECORDS[1:]]),
    "frames": lambda tmp_path: frames(),
    "callable frames": lambda tmp_path: frames,
    "callable path": lambda tmp_path: functools.partial(as_csv, tmp_path),
    "callable list": lambda tmp_path: lambda: RECORDS,
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_the_same_rows(make, tmp_path):
    rows = open_rows(make(tmp_path), text_columns=("phone",))
    assert rows.columns == ["phone", "name"]
    rows.require("name", "phone")
    assert list(rows) == ROWS


@pytest.mark.parametrize("source", [[], (), iter([]), lambda: iter([]), lambda: [[], []], pd.DataFrame()])
def test_no_rows_and_no_columns(source):
    rows = open_rows(source)
    rows.require("phone")
    assert rows.columns is None
    assert list(rows) == []


def test_a_frame_without_rows_has_columns():
    rows = open_rows(pd.DataFrame({"phone": pd.Series([], dtype="float64")}), text_columns=("phone",))
    assert rows.columns == ["phone"]
    assert list(rows) == []


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("phone;name\n1;Ján\n", "utf-8-sig"),
        ("phone\tname\r\n1\tJán\r\n", "utf-8-sig"),
        ("phone|name\r1|Ján\r", "utf-8-sig"),
        ('phone,"name"\n"1","Ján"', "utf-8-sig"),
        ("\ufeffphone,name\n1,Ján\n", "utf-8-sig"),
        ("\ufeffphone,name\n1,Ján\n", "utf-8"),
        ("\ufeffphone,name\n1,Ján\n", "cp1250"),
        ("phone, name\n\n1,Ján\n\n", "utf-8-sig"),
    ],
)
def test_csv_dialects(content, encoding, tmp_path):
    rows = open_rows(write(tmp_path / "a.csv", content), encoding=encoding)
    assert list(rows) == [Row(1, {"phone": "1", "name": "Ján"})]


@pytest.mark.parametrize("encoding", ["cp1250", "iso-8859-2", "utf-16", "utf-16-le", "utf-32"])
def test_csv_encodings(encoding, tmp_path):
    path = write(tmp_path / "a.csv", CSV, encoding)
    assert list(open_rows(path, encoding=encoding)) == ROWS


def test_csv_given_delimiter_and_quoted_separators(tmp_path):
    path = write(tmp_path / "a.csv", 'phone:"a,b;c"\n1:"x\ny"\n')
    assert list(open_rows(path, delimiter=":")) == [Row(1, {"phone": "1", "a,b;c": "x\ny"})]


def test_csv_keeps_text_as_it_is(tmp_path):
    path = write(tmp_path / "a.csv", "phone,x\n0903123456,\n 0903,NaN\n")
    assert [row.values for row in open_rows(path)] == [
        {"phone": "0903123456", "x": ""},
        {"phone": " 0903", "x": "NaN"},
    ]


def test_csv_header_only_is_an_empty_campaign(tmp_path):
    rows = open_rows(write(tmp_path / "a.csv", "phone"))
    assert rows.columns == ["phone"]
    assert list(rows) == []


def test_csv_rows_of_another_length_are_marked(tmp_path):
    path = write(tmp_path / "a.csv", "phone,name\n1\n2,b\n3,c,d\n")
    assert list(open_rows(path)) == [
        Row(1, {}, "the row has 1 fields, the header 2"),
        Row(2, {"phone": "2", "name": "b"}),
        Row(3, {}, "the row has 3 fields, the header 2"),
    ]


LATIN = "phone,name\n1,Ján\n2,Žofia\n".encode("cp1250")
LATE = b"phone,name\n" + b"1,x\n" * 10_000 + b"2,\xe1\n"
# Fixed, so that every worker of pytest-xdist collects the same tests.
NOISE = random.Random(0).randbytes(9000).hex().encode()
BROKEN_FILES = [
    ("a.csv", b"", "is empty; its first line must name the columns"),
    ("a.csv", b"\xef\xbb\xbf", "is empty"),
    ("a.csv", b"\n\n", "is empty"),
    ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
    ("a.csv", b"a,,b\n", "column 2 has no name"),
    ("a.csv", b"a,b,a\n", "column 'a' is there twice"),
    ("a.csv", b"a;b,c\n", "pass delimiter="),
    ("a.csv", LATIN, 'byte 0xe1 at offset 14, line 2; likely cp1250: pass encoding="cp1250"'),
    ("a.csv", LATE, f"byte 0xe1 at offset {11 + 40_000 + 2}, line 10002; likely cp1250"),
    ("a.csv.gz", gzip.compress(LATIN, mtime=0), "line 2; likely cp1250"),
    ("a.csv", CSV.encode("utf-16"), 'is a UTF-16 file; pass encoding="utf-16"'),
    ("a.csv", CSV.encode("utf-16-le"), 'looks like a UTF-16 file; pass encoding="utf-16-le"'),
    ("a.csv", CSV.encode("utf-16-be"), 'looks like a UTF-16 file; pass encoding="utf-16-be"'),
    ("a.csv", b"a,b\n1,2\n1,\x00\n", "line 3 holds a NUL byte"),
    ("a.csv", b'a,b\n1,"2\n1,2\n', "line 3: not valid CSV"),
    ("a.csv", b'a,b\n1,"2"x\n', "line 2: not valid CSV"),
    ("a.csv.gz", CSV.encode(), "is not a whole gzip file"),
    ("a.csv.gz", gzip.compress(NOISE, mtime=0)[:5000], "is not a whole gzip file"),
    ("a.parquet", b"", "is no parquet file"),
    ("a.parquet", CSV.encode(), "is no parquet file"),
    ("a.xlsx", b"PK", "unknown kind of file; allowed: .csv, .csv.gz, .parquet"),
    ("a.gz", b"", "unknown kind of file"),
]


@pytest.mark.parametrize(("name", "content", "reason"), BROKEN_FILES)
@pytest.mark.parametrize(
    "kind", [Path, lambda path: ObjectStoragePath(path.as_uri())], ids=["path", "storage"]
)
def test_a_broken_file_is_named(name, content, reason, kind, tmp_path):
    path = kind(write(tmp_path / name, content))
    with pytest.raises(SourceError) as error:
        list(open_rows(path))
    assert str(path) in str(error.value)
    assert reason in str(error.value)


def test_damaged_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"phone": [os.urandom(8).hex() for _ in range(5000)]}), path, compression="gzip")
    content = bytearray(path.read_bytes())
    content[1000:3000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(SourceError, match="damaged"):
        list(open_rows(path))


def test_no_file_a_directory_an_unknown_scheme(tmp_path):
    (tmp_path / "b.csv").mkdir()
    for name, reason in [("a.csv", "no such file"), ("b.csv", "is a directory")]:
        with pytest.raises(SourceError, match=reason):
            open_rows(tmp_path / name)
        with pytest.raises(SourceError):
            open_rows((tmp_path / name).as_uri())
    # Airflow 3.1 takes it for a file.
    with pytest.raises(SourceError, match=r"cannot be read|no such file"):
        open_rows("nowhere://bucket/a.csv")


def test_bad_settings(tmp_path):
    path = write(tmp_path / "a.csv", CSV)
    with pytest.raises(SourceError, match="unknown encoding 'klingon'"):
        open_rows(path, encoding="klingon")
    with pytest.raises(SourceError, match="allowed: one character"):
        open_rows(path, delimiter="||")


def test_utf_16_with_a_broken_end(tmp_path):
    path = write(tmp_path / "a.csv", CSV.encode("utf-16") + b"x")
    with pytest.raises(SourceError, match="is not utf-16 as a whole"):
        list(open_rows(path, encoding="utf-16"))


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = as_parquet(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SourceError, match=r"install airflow-provider-telekom-sms\[parquet\]"):
        open_rows(path)


def test_missing_cells_become_none(tmp_path):
    frame = pd.DataFrame(
        {
            "text": ["a", None],
            "number": [1.5, math.nan],
            "day": [pd.Timestamp("2026-05-12"), pd.NaT],
            "whole": pd.array([1, pd.NA], dtype="Int64"),
            "any": pd.Series([[1], pd.NA], dtype="object"),
        }
    )
    none = dict.fromkeys(frame.columns)
    full = {"text": "a", "number": 1.5, "day": pd.Timestamp("2026-05-12"), "whole": 1, "any": [1]}
    assert [row.values for row in open_rows(frame)] == [full, none]
    assert [row.values for row in open_rows(frame.to_dict("records"))] == [full, none]
    frame.to_parquet(tmp_path / "a.parquet")
    assert [row.values for row in open_rows(tmp_path / "a.parquet")] == [full, none]


def test_long_frames_are_read_in_slices():
    frame = pd.DataFrame({"n": range(25_001)})
    assert list(open_rows(frame)) == [Row(n + 1, {"n": n}) for n in range(25_001)]


@pytest.mark.parametrize("value", [None, math.nan, pd.NA, pd.NaT, pd.Series([math.nan])[0]])
def test_is_missing(value):
    assert is_missing(value)
    assert not any(is_missing(other) for other in ("", 0, 0.0, False, [], [None], "nan", pd.Timestamp(0)))


@pytest.mark.parametrize("values", [[903123456], [903123456.0], [True]])
def test_numeric_phone_columns_are_refused(values, tmp_path):
    frame = pd.DataFrame({"phone": values, "n": 1})
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (frame, iter([frame]), [{"phone": "1"}, frame], tmp_path / "a.parquet"):
        with pytest.raises(SourceError, match=r"column 'phone' is .*CAST\(phone AS VARCHAR\)"):
            list(open_rows(source, text_columns=("phone",)))
    assert len(list(open_rows(frame))) == 1


@pytest.mark.parametrize(
    "values", [pd.array(["1"], dtype="string"), pd.Categorical(["1"]), pd.Series(["1"], dtype="object")]
)
def test_text_phone_columns_pass(values, tmp_path):
    frame = pd.DataFrame({"phone": values})
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (frame, tmp_path / "a.parquet"):
        assert list(open_rows(source, text_columns=("phone",))) == [Row(1, {"phone": "1"})]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (5, "a source cannot be int"),
        (None, "a source cannot be NoneType"),
        (b"a.csv", "a source cannot be bytes"),
        ({"phone": "1"}, "a source cannot be dict"),
        (lambda: None, "a source cannot be NoneType"),
        (lambda: list, "gave another callable"),
        (lambda: "0944555660;Hortenzia", "<lambda> gave text that is no path; allowed: a DataFrame"),
        ([("1", "a")], "item 1, item 1: a row cannot be str"),
        (iter([{"phone": "1"}, 5]), "item 2: a row cannot be int"),
        ([{1: "a"}], "names of columns must be text, found int"),
        ([{"a": 1}, {2: 1}], "item 2: names of columns must be text"),
        (pd.DataFrame([[1]]), "column 1 is int"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a' is there twice"),
        (pd.DataFrame([[1]], columns=[" "]), "column 1 has no name"),
        (pd.DataFrame(index=[1]), "has no columns"),
        (iter([pd.DataFrame({"a": [1], "b": [1]}), pd.DataFrame({"a": [1]})]), "item 2 has no column 'b'"),
    ],
)
def test_what_is_no_source(source, reason):
    with pytest.raises(SourceError) as error:
        list(open_rows(source))
    assert reason in str(error.value)


def test_required_columns():
    rows = open_rows([{"phone": "1", "name": "a"}, {"name": "b"}, {"phone": "3"}])
    with pytest.raises(
        SourceError, match="list has no column 'amount', 'x'; its columns are: 'phone', 'name'"
    ):
        rows.require("phone", "amount", "x")
    rows.require("phone")
    assert [row.problem for row in rows] == [None, "the row lacks 'phone'", None]
    require_columns(["a"], ["a"])


def test_a_callable_that_fails_fails():
    def source():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        open_rows(source)


def test_everything_is_closed(tmp_path):
    closed = []

    def generator():
        try:
            yield from RECORDS
        finally:
            closed.append(True)

    with open_rows(generator) as rows:
        assert rows.columns == ["phone", "name"]
    assert closed
    for row in open_rows(as_csv(tmp_path)):
        assert row.number == 1
        break
    with pytest.raises(SourceError):
        open_rows(write(tmp_path / "b.csv", b""))
    # An open file would be a ResourceWarning, which the settings of pytest turn into an error.


def test_fingerprints(tmp_path):
    path = as_csv(tmp_path)
    for make in (lambda: path, lambda: str(path), lambda: ObjectStoragePath(path.as_uri())):
        before = fingerprint(make())
        assert before == fingerprint(make())
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
        assert before != fingerprint(make())
    with pytest.raises(SourceError):
        fingerprint(tmp_path / "none.csv")
    assert fingerprint(path).startswith("file:")
    assert len(fingerprint(path)) == len("file:") + 16


@pytest.mark.parametrize("make", [list, pd.DataFrame])
def test_fingerprints_of_content(make):
    assert fingerprint(make(RECORDS)) == fingerprint(make([dict(row) for row in RECORDS]))
    others = [RECORDS[:1], RECORDS[::-1], [RECORDS[0], {**RECORDS[1], "name": "x"}]]
    others.append([{"phone": row["phone"], "other": row["name"]} for row in RECORDS])
    prints = {fingerprint(make(rows)) for rows in [RECORDS, *others]}
    assert len(prints) == 5
    assert fingerprint(make([{"a": [1]}])) != fingerprint(make([{"a": [2]}]))


class Caller:
    def __call__(self):
        return RECORDS


def test_fingerprints_of_callables():
    assert fingerprint(frames) == fingerprint(functools.partial(frames)) != fingerprint(as_csv)
    assert fingerprint(Caller()) == fingerprint(Caller()) != fingerprint(frames)
    assert fingerprint(iter([])) == fingerprint(iter(RECORDS))

    def moved():
        return RECORDS

    moved.__module__ = "unusual_prefix_0123abcd_dag"
    before = fingerprint(moved)
    moved.__module__ = "unusual_prefix_4567cdef_dag"
    assert fingerprint(moved) == before


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("phone,name,amount\n")
        for number in range(300_000):
            file.write(f"0903{number:06},Name {number},{number}.50\n")
    tracemalloc.start()
    try:
        count = sum(row.problem is None for row in open_rows(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 300_000
    assert peak < 5_000_000


def test_importing_loads_nothing_heavy():
    code = (
        "import sys; from airflow_provider_telekom_sms.campaign import sources, template;"
        "list(sources.open_rows([{'a': 1}]));"
        "sys.exit(any(name in sys.modules for name in ('pandas', 'pyarrow', 'airflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("first", ["0903123456,Ján Tajný", "0903 123 456,0903 123 456"])
def test_a_missing_header_is_not_quoted(tmp_path: Path, first: str) -> None:
    path = tmp_path / "campaign.csv"
    path.write_text(f"{first}\n{first}\n")
    with pytest.raises(SourceError) as caught:
        open_rows(str(path)).require("phone")
    assert "0903" not in str(caught.value)
    assert "Tajný" not in str(caught.value)
