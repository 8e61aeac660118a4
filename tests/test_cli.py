"""The command: what it tells, what it asks, how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms import cli
from airflow_provider_telekom_sms.ledger import actions, location, planning, reporting, sending
from airflow_provider_telekom_sms.ledger.planning import PlannedRow
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State

LONG = "jar/2026 ťah " + "x" * 300
COMMAND = [sys.executable, "-m", "airflow_provider_telekom_sms", "ledger"]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
NUMBER = re.compile(r"42190300000\d|0903\s?000\s?00\d")


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Desk:
    """A ledger, where it is, and commands on it."""

    ledger: Ledger
    where: list[str]
    capture: pytest.CaptureFixture[str]

    def run(self, command: str, *arguments: str) -> Ran:
        """Run a command in this process."""
        self.capture.readouterr()
        code = cli.main(["ledger", command, *self.where, *arguments])
        done = self.capture.readouterr()
        return Ran(code, done.out, done.err)

    def json(self, command: str, *arguments: str) -> Any:
        done = self.run(command, "-o", "json", *arguments)
        assert (done.code, done.err) == (0, "")
        return done.json

    def doubt(self, campaign: str = "jar", *, end: bool = True) -> None:
        """Rows 1 to 3 are in doubt, 4 is accepted, 5 rejected, 6 planned."""
        owner = planning.begin(self.ledger, campaign, "dag/task/run")
        plan = planning.begin_plan(self.ledger, owner, "print", "{}", fallback=False, key_column="id")
        rows = [
            PlannedRow(row, State.PLANNED, b"%016d" % row, None, f"42190300000{row}", f"Ahoj {row}", 1)
            for row in range(1, 7)
        ]
        planning.add(self.ledger, owner, plan, rows)
        planning.finish_plan(self.ledger, owner, plan)
        claimed = sending.exchange(self.ledger, owner, [], 5).claimed
        states = [State.IN_DOUBT] * 3 + [State.ACCEPTED, State.REJECTED]
        outcomes = [
            Outcome(
                m.id,
                state,
                "100" if state is State.ACCEPTED else None,
                reason="no reply of 0903 000 00" + m.phone[-1],
            )
            for m, state in zip(claimed, states, strict=True)
        ]
        sending.exchange(self.ledger, owner, outcomes, 0)
        if end:
            planning.end(self.ledger, owner)

    def states(self, campaign: str = "jar") -> dict[int, str]:
        number = reporting.campaign_number(self.ledger, campaign)
        return {message.row: message.state for message in reporting.messages(self.ledger, number)}

    def counts(self, campaign: str = "jar") -> reporting.Counts:
        return reporting.counts(self.ledger, reporting.campaign_number(self.ledger, campaign))


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Desk]:
    if request.param == "sqlite":
        url = URL.create("sqlite", database=str(tmp_path / "ledger.db"))
        where = ["--ledger-path", str(tmp_path / "ledger.db")]
    else:
        url = request.getfixturevalue("postgres").database()
        connection = {"conn_type": "postgres", "host": url.host, "port": url.port, "login": url.username}
        connection |= {"password": url.password, "schema": url.database}
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
        where = ["--ledger-conn-id", "ledger"]
        location.find_outside_a_task("ledger")  # what Airflow has to say, it says the first time
    ledger = Ledger(url)
    yield Desk(ledger, where, capsys)
    ledger.close()


@pytest.fixture
def file_desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    path = tmp_path / "ledger.db"
    ledger = Ledger(URL.create("sqlite", database=str(path)))
    yield Desk(ledger, ["--ledger-path", str(path)], capsys)
    ledger.close()


class Terminal(io.StringIO):
    """Somebody who can be asked."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def say(line: str) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal(line))

    return say


# --- looking ------------------------------------------------------------------------------------------------


def test_campaigns(desk: Desk) -> None:
    assert desk.run("campaigns") == Ran(0, "", "")
    assert desk.json("campaigns") == []
    for name in ("jar", LONG, "-x\x1b[31m\n"):
        desk.doubt(name)
    actions.pause(desk.ledger, LONG, actor="Jana", reason="late")
    lines = desk.run("campaigns").out.splitlines()
    assert lines[0].split() == [
        "created", "state", "total", "planned", "claimed", "accepted", "rejected", "in", "doubt", "invalid",
        "duplicate", "suppressed", "campaign",
    ]  # fmt: skip
    numbers = r"6 +1 +0 +1 +1 +3 +0 +0 +0"
    for line, state, name in zip(
        lines[1:], ("active", "paused", "active"), ("jar", LONG, r"-x\x1b[31m\n"), strict=True
    ):
        assert re.fullmatch(rf"{TIME}  {state} +{numbers}  {re.escape(name)}", line)
    [first, second] = desk.json("campaigns", "--limit", "2")
    assert (first["campaign"], second["campaign"]) == (LONG, "-x\x1b[31m\n")
    counts = {"total": 6, "planned": 1, "claimed": 0, "accepted": 1, "rejected": 1, "in_doubt": 3}
    counts |= {"invalid": 0, "duplicate": 0, "suppressed": 0}
    assert {name: first[name] for name in counts} == counts
    assert (first["state"], bool(re.fullmatch(TIME, first["created"]))) == ("paused", True)


def test_show(desk: Desk) -> None:
    desk.doubt(LONG, end=False)
    actions.settle(desk.ledger, LONG, "resend", rows=[2], actor="Jana", reason="asked 0903 000 002")
    seen = desk.json("show", LONG)
    [plan], [one], [action] = seen["plans"], seen["tries"], seen["actions"]
    assert (seen["campaign"], seen["state"], seen["delivery"]) == (LONG, "active", {"": 1})
    assert (seen["messages"]["in_doubt"], seen["messages"]["planned"], seen["messages"]["total"]) == (2, 2, 6)
    assert (plan["key_column"], plan["rows"], plan["ready"], plan["task"]) == ("id", 6, True, "dag/task/run")
    assert (one["alive"], one["task"]) == (True, "dag/task/run")
    assert (action["who"], action["what"], action["row"]) == ("Jana", "settle: resend", 2)
    assert action["why"] == "asked +4219••••0002"
    told = desk.run("show", LONG).out
    for words in (
        f"campaign  {LONG}\nstate     active\n",
        "messages  6 total, 2 planned, 1 accepted, 1 rejected, 2 in doubt\n",
        "delivery  1 not known yet\n",
        "\nplans\n",
        "\ntries at work\n",
        "\nactions\n",
        "settle: resend",
    ):
        assert words in told
    assert not NUMBER.search(told + json.dumps(seen))


def test_a_try_that_is_most_likely_dead_and_nothing_else(file_desk: Desk) -> None:
    planning.begin(file_desk.ledger, "jar", "slot")
    with file_desk.ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE telekom_sms_owner SET lease_until = 1")
    assert file_desk.json("show", "jar")["tries"][0]["alive"] is False
    told = file_desk.run("show", "jar").out
    assert "plans: none\n" in told
    assert "actions: none\n" in told
    assert "messages  none\n" in told


def test_in_doubt(desk: Desk) -> None:
    desk.doubt()
    table = desk.run("in-doubt", "jar")
    lines = table.out.splitlines()
    assert lines[0].split() == ["row", "plan", "number", "since", "reason"]
    for row, line in enumerate(lines[1:4], 1):
        assert re.fullmatch(
            rf"  {row}     1  \+4219••••000{row}  {TIME}  no reply of \+4219••••000{row}", line
        )
    assert lines[4:] == ["3 of 3 messages in doubt"]
    found = desk.json("in-doubt", "jar", "--limit", "2")
    assert [doubt["row"] for doubt in found] == [1, 2]
    assert not NUMBER.search(table.out + json.dumps(found))
    assert "2 of 3 messages in doubt" in desk.run("in-doubt", "jar", "--limit", "2").out
    whole = desk.json("in-doubt", "jar", "--numbers")
    assert [(doubt["number"], doubt["reason"][-12:]) for doubt in whole] == [
        (f"42190300000{row}", f"0903 000 00{row}") for row in (1, 2, 3)
    ]
    assert "421903000001" in desk.run("in-doubt", "jar", "--numbers").out
    with desk.ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE telekom_sms_message SET phone = NULL, reason = NULL")
    assert "-" in desk.run("in-doubt", "jar").out
    assert desk.json("in-doubt", "jar")[0]["number"] is None


def test_report(desk: Desk, tmp_path: Path) -> None:
    desk.doubt()
    path = tmp_path / "report.csv"
    assert desk.run("report", "jar", str(path)) == Ran(0, f"The report is in {path}\n", "")
    with path.open(newline="") as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert states == ["in_doubt"] * 3 + ["accepted", "rejected", "planned"]
    assert desk.json("report", "jar", str(path)) == {"campaign": "jar", "report": str(path)}
    wrong = desk.run("report", "jar", "report.xlsx")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith("error: report_path: found 'report.xlsx'")
    wrong = desk.run("report", "jar", "/proc/nowhere/report.csv")
    assert wrong.code == 1
    assert re.fullmatch(r"error: .*/proc/nowhere.*\n", wrong.err)


# --- settling -----------------------------------------------------------------------------------------------


def test_settle(desk: Desk) -> None:
    desk.doubt(LONG)
    why = ["--why", "the list says so", "--yes"]
    done = desk.run("settle", LONG, "--as", "sent", "--rows", "2", "--message-id", "77", *why, "--by", "Jana")
    assert done == Ran(0, "1 messages are counted as accepted, and never sent again; 2 are in doubt\n", "")
    told = desk.json("settle", LONG, "--as", "resend", "--rows", "1", *why)
    assert told == {"campaign": LONG, "decision": "resend", "settled": 1, "in_doubt": 1}
    assert desk.run("settle", LONG, "--as", "drop", "--all", *why).code == 0
    states = desk.states(LONG)
    assert [states[row] for row in (1, 2, 3)] == ["planned", "accepted", "rejected"]
    import getpass

    assert [(a.action, a.row, a.actor) for a in actions.history(desk.ledger, LONG)] == [
        ("settle: sent", 2, "Jana"),
        ("settle: resend", 1, getpass.getuser()),
        ("settle: drop", 3, getpass.getuser()),
    ]
    ids = {m.row: m.message_id for m in reporting.messages(desk.ledger, 1)}
    assert ids[2] == "77"


def test_rows_of_a_plan(file_desk: Desk) -> None:
    file_desk.doubt()
    with file_desk.ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE telekom_sms_campaign SET name_hash = 'other'")
    file_desk.doubt()
    with file_desk.ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE telekom_sms_message SET key_hash = NULL, campaign_id = 2")
        connection.exec_driver_sql("UPDATE telekom_sms_plan SET campaign_id = 2")
    arguments = ["settle", "jar", "--as", "drop", "--rows", "1", "--why", "x", "--yes"]
    wrong = file_desk.run(*arguments)
    assert wrong.code == 1
    assert "1 (plans 1, 2)" in wrong.err
    assert file_desk.json(*arguments, "--plan", "2")["settled"] == 1
    assert [(doubt["row"], doubt["plan"]) for doubt in file_desk.json("in-doubt", "jar")][:2] == [
        (1, 1),
        (2, 1),
    ]


def test_rows_that_cannot_be_settled(desk: Desk) -> None:
    desk.doubt()
    done = desk.run("settle", "jar", "--as", "resend", "--rows", "1-4", "--why", "x", "--yes")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: rows: only what is in doubt can be settled, and row 4 is accepted. Nothing was changed\n"
    )
    assert desk.counts().in_doubt == 3


def test_it_asks(file_desk: Desk, answer: Callable[[str], None]) -> None:
    file_desk.doubt()
    arguments = ["settle", "jar", "--as", "drop", "--rows", "1,3", "--why", "x"]
    for no in ("", "\n", "y\n", "no\n", "YES\n"):
        answer(no)
        done = file_desk.run(*arguments)
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            "2 messages in doubt of campaign 'jar' will be counted as rejected, and never sent again:\n"
            "  row 1  +4219••••0001\n  row 3  +4219••••0003\nType yes to do it: error: Nothing was done\n"
        )
    assert file_desk.counts().in_doubt == 3
    answer("yes\n")
    assert file_desk.run(*arguments).code == 0
    assert file_desk.counts().in_doubt == 1


def test_it_names_a_few_of_many(
    file_desk: Desk, answer: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    file_desk.doubt()
    monkeypatch.setattr(cli, "SHOWN", 1)
    answer("yes\n")
    done = file_desk.run("settle", "jar", "--as", "resend", "--all", "--why", "x", "-o", "json")
    assert "  row 1  +4219••••0001\n  and 2 more\n" in done.err
    assert done.json["settled"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["settle", "jar", "--as", "drop", "--all", "--why", "x"],
        ["cancel", "jar", "--why", "x"],
        ["purge", "--older-than", "1h"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_where_nobody_can_be_asked_it_needs_yes(
    file_desk: Desk, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    file_desk.doubt()
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    before = file_desk.states()
    done = file_desk.run(*arguments)
    assert done == Ran(2, "", "wrong usage: --yes is needed where nobody can be asked. Nothing was done\n")
    assert file_desk.states() == before
    assert actions.history(file_desk.ledger, "jar") == []
    assert file_desk.run(*arguments, "--yes").code == 0


# --- campaigns ----------------------------------------------------------------------------------------------


def test_pause_resume_cancel(desk: Desk) -> None:
    desk.doubt(LONG)
    who = ["--why", "wrong text", "--by", "Jana"]
    assert desk.run("pause", LONG, *who).out == f"Campaign {LONG!r} is paused, and was active\n"
    assert desk.run("pause", LONG, *who).out == f"Campaign {LONG!r} was paused already\n"
    assert desk.json("resume", LONG, *who) == {"campaign": LONG, "was": "paused", "state": "active"}
    assert desk.json("cancel", LONG, *who, "--yes") == {
        "campaign": LONG,
        "was": "active",
        "state": "cancelled",
    }
    done = desk.run("resume", LONG, *who)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: Campaign {LONG!r} was cancelled by Jana: wrong text\n"
    assert [a.action for a in actions.history(desk.ledger, LONG)] == ["pause", "resume", "cancel"]


def test_to_cancel_asks(file_desk: Desk, answer: Callable[[str], None]) -> None:
    file_desk.doubt()
    answer("no\n")
    done = file_desk.run("cancel", "jar", "--why", "x")
    assert done.code == 1
    assert "1 planned messages will never be sent\nType yes" in done.err
    answer("yes\n")
    assert file_desk.run("cancel", "jar", "--why", "x").code == 0


def test_purge(desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], None]) -> None:
    desk.doubt()
    arguments = ["purge", "--older-than", "36h", "--yes"]
    assert desk.json(*arguments) == {"messages": 0, "campaigns": 0, "left": 0, "callbacks": 0}
    with desk.ledger.transaction() as connection:
        for table, column in (("campaign", "created_at"), ("plan", "created_at"), ("message", "state_at")):
            connection.exec_driver_sql(
                f"UPDATE telekom_sms_{table} SET {column} = {column} - {37 * 3_600_000}"
            )
    assert desk.json("purge", "--older-than", "2d", "--yes") == {
        "messages": 0,
        "campaigns": 0,
        "left": 0,
        "callbacks": 0,
    }
    answer("no\n")
    asked = desk.run("purge", "--older-than", "36h", "--forget")
    assert asked.code == 1
    assert "more than 36 hours ago will be erased; campaigns" in asked.err
    assert "will be sent again" in asked.err
    assert "again" not in desk.run("purge", "--older-than", "36h").err
    done = desk.run(*arguments)
    assert done == Ran(0, "5 messages erased, 1 left that are still to be sent; 0 campaigns deleted\n", "")
    assert [(a.action, a.reason) for a in actions.history(desk.ledger, "jar")] == [
        ("purge", "older than 36 hours")
    ]
    actions.cancel(desk.ledger, "jar", actor="Jana", reason="x")
    assert desk.json(*arguments, "--forget", "--why", "spring") == {
        "messages": 6,
        "campaigns": 1,
        "left": 0,
        "callbacks": 0,
    }
    assert actions.history(desk.ledger, "jar")[-1].reason == "spring"
    assert desk.json("campaigns") == []


# --- wrong usage and trouble --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ledger"],
        ["ledger", "nonsense"],
        ["ledger", "show"],
        ["ledger", "show", "-x"],
        ["ledger", "settle", "jar", "--as", "drop", "--why", "x"],
        ["ledger", "settle", "jar", "--as", "drop", "--why", "x", "--all", "--rows", "1"],
        ["ledger", "settle", "jar", "--as", "drop", "--all"],
        ["ledger", "settle", "jar", "--as", "lost", "--all", "--why", "x"],
        ["ledger", "settle", "jar", "--as", "drop", "--rows", "", "--why", "x"],
        ["ledger", "settle", "jar", "--as", "drop", "--rows", "9-1", "--why", "x"],
        ["ledger", "settle", "jar", "--as", "drop", "--al", "--why", "x"],
        ["ledger", "pause", "jar"],
        ["ledger", "purge"],
        ["ledger", "purge", "--older-than", "0d"],
        ["ledger", "purge", "--older-than", "90"],
        ["ledger", "purge", "--older-than", "-1d"],
        ["ledger", "in-doubt", "jar", "--limit", "0"],
        ["ledger", "show", "jar\udcff"],
        ["ledger", "show", "jar", "--ledger-path", "x", "--ledger-conn-id", "y"],
        ["ledger", "show", "jar", "-o", "yaml"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "usage: python -m airflow_provider_telekom_sms" in told.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--as", "drop", "--rows", "1"],
        ["--as", "sent", "--rows", "1,2"],
        ["--as", "sent", "--all"],
    ],
    ids=" ".join,
)
def test_an_id_is_for_a_single_row_that_was_sent(file_desk: Desk, arguments: list[str]) -> None:
    file_desk.doubt()
    done = file_desk.run("settle", "jar", *arguments, "--message-id", "7", "--why", "x", "--yes")
    assert (done.code, done.out) == (2, "")
    assert "--message-id" in done.err
    assert file_desk.counts().in_doubt == 3


def test_who_must_be_known(file_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 50000")

    monkeypatch.setattr(cli.getpass, "getuser", nobody)
    file_desk.doubt()
    done = file_desk.run("pause", "jar", "--why", "x")
    assert done == Ran(2, "", "wrong usage: --by is needed: the login name cannot be found out\n")
    assert file_desk.run("pause", "jar", "--why", "x", "--by", "Jana").code == 0


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("show", []),
        ("in-doubt", []),
        ("report", ["report.csv"]),
        ("pause", ["--why", "x"]),
        ("cancel", ["--why", "x", "--yes"]),
        ("settle", ["--as", "drop", "--all", "--why", "x", "--yes"]),
    ],
)
def test_a_campaign_that_is_not_there(desk: Desk, command: str, more: list[str]) -> None:
    done = desk.run(command, *more[:0], "no\nwhere", *more)
    assert done == Ran(1, "", "error: The ledger holds no campaign 'no\\nwhere'\n")


def test_no_reason(file_desk: Desk) -> None:
    file_desk.doubt()
    done = file_desk.run("pause", "jar", "--why", " ")
    assert (done.code, done.err) == (1, "error: reason: found nothing, allowed is a text that is not empty\n")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "There is no ledger"),
        (b"", "holds no ledger"),
        (b"no database at all" * 99, "file is not a database"),
    ],
    ids=["missing", "empty", "text"],
)
def test_a_file_that_is_no_ledger_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, named: str
) -> None:
    path = tmp_path / "other #1?.db"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["ledger", "campaigns", "--ledger-path", str(path)]) == 1
    assert named in capsys.readouterr().err
    assert path.exists() == (content is not None)
    assert content is None or path.read_bytes() == content


def test_a_connection_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ledger", "campaigns", "--ledger-conn-id", "nowhere"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ledger_conn_id: found 'nowhere'")
    assert told.count("\n") == 1


def test_what_is_configured(
    file_desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file_desk.doubt()
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", file_desk.where[1])
    assert cli.main(["ledger", "campaigns", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["campaign"] == "jar"
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", "relative.db")
    assert cli.main(["ledger", "campaigns"]) == 1
    assert "ledger_path: found 'relative.db'" in capsys.readouterr().err


# --- processes ----------------------------------------------------------------------------------------------


def run(*arguments: str, **options: Any) -> Ran:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False,
        **{"stdin": subprocess.DEVNULL, **options},
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_process(file_desk: Desk) -> None:
    for name in (LONG, "-jar"):
        file_desk.doubt(name)
    path = file_desk.where
    assert run("show", *path, LONG, "-o", "json").json["campaign"] == LONG
    done = run("settle", *path, "--as", "drop", "--all", "--why", "x", "--yes", "--", "-jar")
    assert (done.code, done.err) == (0, "")
    assert file_desk.counts("-jar").in_doubt == 0
    assert run("settle", *path, "--as", "drop", "--all", "--why", "x", LONG).code == 2
    done = run("show", *path, "nowhere")
    assert done == Ran(1, "", "error: The ledger holds no campaign 'nowhere'\n")


def test_where_the_terminal_knows_only_ascii(file_desk: Desk) -> None:
    file_desk.doubt()
    done = run("in-doubt", *file_desk.where, "jar", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.code, done.err) == (0, "")
    assert r"+4219\u2022" in done.out


def test_who_has_seen_enough(file_desk: Desk) -> None:
    for number in range(40):
        planning.begin(file_desk.ledger, f"{number} {LONG}", "slot")
    process = subprocess.Popen(
        [*COMMAND, "campaigns", *file_desk.where, "--limit", "40"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1


def test_on_a_terminal(file_desk: Desk) -> None:
    file_desk.doubt()
    ours, theirs = pty.openpty()
    command = [*COMMAND, "settle", *file_desk.where, "jar", "--as", "drop", "--all", "--why", "x"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    end = time.monotonic() + 60
    while b"Type yes" not in seen:
        assert select.select([ours], [], [], max(0.0, end - time.monotonic()))[0], seen
        seen += os.read(ours, 4096)
    assert file_desk.counts().in_doubt == 3
    os.write(ours, b"yes\n")
    assert process.wait(60) == 0
    os.close(ours)
    assert file_desk.counts().in_doubt == 0


def test_it_starts_without_airflow(file_desk: Desk) -> None:
    code = (
        "import sys; from airflow_provider_telekom_sms.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'airflow', 'pandas', 'aiohttp', 'phonenumbers', 'pydantic'};"
        "print(sorted(heavy & {m.partition('.')[0] for m in sys.modules})); sys.exit(code)"
    )
    file_desk.doubt()
    for arguments in (["show", "jar"], ["in-doubt", "jar"], ["pause", "jar", "--why", "x"]):
        done = subprocess.run(
            [sys.executable, "-c", code, "ledger", *arguments, *file_desk.where],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_connection_that_stands_in_airflows_database_only(file_desk: Desk, tmp_path: Path) -> None:
    file_desk.doubt()
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))
    }
    environment |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__FERNET_KEY": ""}

    def airflow(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments], env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]

    airflow("db", "migrate")
    airflow("connections", "add", "only_there", "--conn-type", "sqlite", "--conn-host", file_desk.where[1])
    done = run("campaigns", "--ledger-conn-id", "only_there", "-o", "json", env=environment)
    assert (done.code, done.json[0]["campaign"]) == (0, "jar"), done.err
    environment["AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID"] = "only_there"
    done = run("pause", "jar", "--why", "x", env=environment)
    assert done.code == 0, done.err
    done = run("campaigns", "--ledger-conn-id", "nowhere", env=environment)
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: ledger_conn_id: found 'nowhere'")
    # Without a key Airflow warns, which must not get among the JSON.
    connection = {"conn_type": "sqlite", "host": file_desk.where[1], "password": "of no use"}
    environment["AIRFLOW_CONN_LEDGER"] = json.dumps(connection)
    done = run("campaigns", "--ledger-conn-id", "ledger", "-o", "json", env=environment)
    assert "empty cryptography key" in done.err
    assert done.json[0]["state"] == "paused"
