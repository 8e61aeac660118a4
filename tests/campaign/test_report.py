from __future__ import annotations

import csv
import os
import stat
import tracemalloc

import pyarrow.parquet as pq
import pytest

from airflow_provider_telekom_sms.campaign import report
from airflow_provider_telekom_sms.campaign.report import COLUMNS, check_path, write_report
from airflow_provider_telekom_sms.exceptions import ConfigurationError, LedgerError
from airflow_provider_telekom_sms.ledger import planning, reporting
from airflow_provider_telekom_sms.ledger.planning import PlannedRow
from airflow_provider_telekom_sms.ledger.store import State
from airflow_provider_telekom_sms.simulator import Fault


@pytest.fixture
def campaign(bench):
    """A campaign with an outcome of every kind; its number in the ledger."""
    rows = [
        *bench.rows(5),
        {"phone": "0903", "name": "krátke"},
        {"phone": "0903100000", "name": "č. 0"},
        {"phone": "09031 00005", "name": 'úvodzovky ", čiarka, \n riadok'},
    ]
    bench.sim.state.order(
        Fault("error", numbers=["0903100001"], level="message", code="NO", description='Nie; "nie"')
    )
    bench.sim.state.order(Fault("drop_after", numbers=["0903100002"]))
    bench.run(rows)
    with bench.ledger.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE telekom_sms_message SET delivery_code = 'DELIVERED', delivered_at = 1800000000000 "
            "WHERE row = 1"
        )
    return reporting.campaign_number(bench.ledger, "campaign")


def read(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", ["report.csv", "report.parquet", "Report.CSV"])
def test_every_row_has_an_outcome(bench, campaign, tmp_path, name):
    path = tmp_path / "new folder" / name
    write_report(bench.ledger, campaign, str(path))
    rows = read(path)
    assert list(rows[0]) == list(COLUMNS)
    assert [int(row["row"]) for row in rows] == list(range(1, 9))
    assert [row["state"] for row in rows] == [
        "accepted", "rejected", "in_doubt", "accepted", "accepted", "invalid", "duplicate", "accepted",
    ]  # fmt: skip
    assert rows[0]["delivery_status"] == "DELIVERED"
    assert rows[0]["delivered_at"] == "2027-01-15T08:00:00+00:00"
    assert rows[0]["phone"] == "421903100000"
    assert rows[0]["message_id"].isdigit()
    assert int(rows[0]["parts"]) == 1
    assert rows[1]["reason"] == 'NO: Nie; "nie"'
    assert "the connection broke" in rows[2]["reason"]
    assert "too few digits" in rows[5]["reason"]
    assert rows[5]["phone"] == "0903"
    assert rows[6]["reason"] == "the same as row 1"
    assert rows[3]["reason"] is rows[3]["key"] is None


def test_it_is_for_its_owner_only_and_leaves_nothing_behind(bench, campaign, tmp_path):
    path = tmp_path / "report.csv"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_report(bench.ledger, campaign, str(path))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir() if "report" in p.name] == ["report.csv"]


@pytest.mark.parametrize("name", ["report.csv", "report.parquet"])
def test_a_report_that_fails_leaves_the_old_one(bench, campaign, tmp_path, monkeypatch, name):
    path = tmp_path / name
    write_report(bench.ledger, campaign, str(path))
    old = path.read_bytes()
    messages = reporting.messages

    def broken(*arguments):
        yield from list(messages(*arguments))[:3]
        assert path.read_bytes() == old, "it is replaced before it is whole"
        raise LedgerError("gone")

    monkeypatch.setattr(reporting, "messages", broken)
    with pytest.raises(LedgerError):
        write_report(bench.ledger, campaign, str(path))
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir() if "report" in p.name] == [name]


@pytest.mark.parametrize("path", ["report", "report.txt", "report.csv.gz", "csv", "s3://bucket/report.json"])
def test_another_suffix_is_refused(path):
    with pytest.raises(ConfigurationError, match=r"\.csv, \.parquet"):
        check_path(path)


def test_an_object_storage(bench, campaign, tmp_path):
    write_report(bench.ledger, campaign, f"file://{tmp_path}/stored.csv")
    assert len(read(tmp_path / "stored.csv")) == 8


def peak_of(do, *args):
    """Give the memory that a call takes at its peak."""
    tracemalloc.start()
    do(*args)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("name", ["report.csv", "report.parquet"])
def test_it_is_streamed(ledger, tmp_path, name, monkeypatch):
    monkeypatch.setattr(reporting, "PAGE", 200)
    monkeypatch.setattr(report, "_PAGE", 200)
    peaks = []
    write_report(ledger, 0, str(tmp_path / name))  # what is imported is not counted
    for number in (1_000, 8_000):
        owner = planning.begin(ledger, f"campaign {number}", "slot")
        plan_id = planning.begin_plan(ledger, owner, "", "{}", fallback=False)
        for start in range(0, number, 500):
            rows = [
                PlannedRow(row, State.PLANNED, b"%016d" % row, None, f"4219{row:08d}", "x" * 100, 1)
                for row in range(start, start + 500)
            ]
            planning.add(ledger, owner, plan_id, rows)
        path = tmp_path / f"{number}-{name}"
        # The least of some: what other threads of this process take is counted, too.
        peaks.append(min(peak_of(write_report, ledger, owner.campaign_id, str(path)) for _ in range(3)))
        assert len(read(path)) == number
    print(f"peak of 1,000 and 8,000 rows: {peaks}")
    assert peaks[1] < 1.5 * peaks[0]


def test_a_formula_behind_another_separator_is_none_either():
    assert report._harmless("x;=HYPERLINK(1);y; @z") == "x;'=HYPERLINK(1);y; '@z"
    assert report._harmless("=1;=2") == "'=1;'=2"


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(1)", "+cmd|x", "-2+3+cmd", "\t=1"])
def test_a_cell_is_no_formula(cell):
    assert report._harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["+421 903 123 456", "-5", "421903123456", "Ján", None, 7])
def test_what_is_no_formula_stays(cell):
    assert report._harmless(cell) == cell
