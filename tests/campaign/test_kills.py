"""Processes that are killed or stand still at any place, and run again until the campaign is at its end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, run_job
from airflow_provider_telekom_sms.ledger.store import Ledger

DATABASES = ["sqlite", "postgresql"]

#: Of a long storm; more by hand, as CONTRIBUTING.md tells.
STORM_RUNS = int(os.environ.get("TELEKOM_SMS_STORM_RUNS", "100"))


class Campaign:
    """One campaign in a ledger of its own, sent by processes to the simulator in another."""

    def __init__(self, far, nursery, url, rows, concurrency, **job):
        self.far, self.nursery, self.url = far, nursery, url
        self.rows, self.concurrency = rows, concurrency
        self.name = url.get_backend_name()
        self.job = {
            "ledger": url.render_as_string(hide_password=False),
            "url": far.url,
            "rows": rows,
            "concurrency": concurrency,
            **job,
        }

    def start(self, **options):
        return self.nursery.start(**{**self.job, **options})

    def finish(self, **options):
        answer = self.nursery.wait(self.start(**options))
        assert "error" not in answer, answer
        return answer

    def plan(self):
        """Plan and send nothing; the processes then send what is planned."""
        rows = [{"phone": f"09031{row:05d}", "name": str(row)} for row in range(self.rows)]
        spec = CampaignSpec(rows, MessageSettings(), text="Ahoj {name}")
        ledger = Ledger(self.url)
        run_job(ledger, None, Job("campaign", "plan", spec, sends=False), None)
        ledger.close()
        self.job["rows"] = 0

    def look(self, query):
        """Read past the package."""
        engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
        if not sa.inspect(engine).has_table("telekom_sms_message"):
            return []  # killed before there was a table
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def ledger(self):
        return dict(self.look("SELECT phone, state FROM telekom_sms_message"))

    def is_locked(self):
        """Tell whether somebody is in the midst of a transaction."""
        if self.name == "postgresql":
            return bool(self.look("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                                  "AND pid <> pg_backend_pid() AND state <> 'idle'"))  # fmt: skip
        with contextlib.closing(sqlite3.connect(self.url.database, timeout=0.1)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    def left_by(self):
        """How much each slot's tries left in doubt or claimed."""
        return dict(
            self.look(
                "SELECT o.slot, count(*) FROM telekom_sms_message m JOIN telekom_sms_owner o "
                "ON o.id = m.owner_id WHERE m.state IN ('in_doubt', 'claimed') GROUP BY o.slot"
            )
        )

    def server(self):
        return Counter(message["number"] for message in self.far.ask("GET", "messages"))

    def taken(self):
        return self.far.ask("GET", "summary")["messages"]

    def check(self):
        """Nothing twice, nothing lost: every row has a message or says that it may have none."""
        ledger, server = self.ledger(), self.server()
        assert len(ledger) == self.rows
        assert {n: c for n, c in server.items() if c > 1} == {}
        assert server.keys() <= ledger.keys()
        for phone, state in ledger.items():
            assert state in ("accepted", "in_doubt"), state
            if state == "accepted":
                assert server[phone] == 1
        return Counter(ledger.values()), sum(server.values())


def kill(child):
    """Kill a process and all of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def is_gone(child):
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it was opened, or after
        return True


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    """Gives the URLs of empty ledgers, in PostgreSQL one after the other."""
    if request.param == "sqlite":
        return lambda name="ledger": URL.create("sqlite", database=str(tmp_path / f"{name}.db"))
    server = request.getfixturevalue("postgres")
    url = server.database()

    def make(name="ledger"):
        # What a dead process had begun may still be under way.
        server.sql(url, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
        server.sql(url, "DROP SCHEMA public CASCADE")
        server.sql(url, "CREATE SCHEMA public")
        return url

    return make


@pytest.fixture
def campaign(far, nursery, database):
    return lambda rows, concurrency, name="ledger", **job: Campaign(
        far, nursery, database(name), rows, concurrency, **job
    )


# --- killed at a chosen place -------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 70])
@pytest.mark.parametrize("at", ["claimed", "sent", "recorded"])
def test_killed_at_the_worst_moment(campaign, tmp_path, until, at, after):
    one = campaign(200, 16)
    marker = tmp_path / "here"
    child = one.start(at=at, after=after, marker=str(marker))
    until(marker.exists)
    kill(child)
    assert one.nursery.wait(child)["signal"] == signal.SIGKILL
    before, sent = Counter(one.ledger().values()), sum(one.server().values())
    second = one.finish()
    states, taken = one.check()
    print(f"killed when {at} (after {after}): ledger {dict(before)}, server {sent}; "
          f"second try sent {second['sent']}; ledger {dict(states)}, server {taken}")  # fmt: skip
    assert states["in_doubt"] <= 4 * 16
    assert states["in_doubt"] == before["claimed"]
    assert second["sent"] == ({"accepted": before["planned"]} if before["planned"] else {})
    assert taken == sent + before["planned"]
    if at == "recorded" and after:
        assert before["accepted"] >= after
    third = one.finish()
    assert third["sent"] == {}
    assert sum(one.server().values()) == taken


@pytest.mark.parametrize("at", ["claimed", "sent"])
def test_killed_with_a_batch_in_flight(campaign, tmp_path, until, at):
    one = campaign(200, 4, batch_size=10)
    marker = tmp_path / "here"
    child = one.start(at=at, after=3, marker=str(marker))
    until(marker.exists)
    kill(child)
    one.nursery.wait(child)
    before = Counter(one.ledger().values())
    second = one.finish()
    states, taken = one.check()
    print(f"killed when {at}: ledger {dict(before)}; second try sent {second['sent']}; server {taken}")
    assert 0 < states["in_doubt"] == before["claimed"] <= 4 * 10
    assert second["sent"] == {"accepted": before["planned"]}


def test_killed_and_sent_again_because_it_was_asked_for(campaign, tmp_path, until):
    one = campaign(100, 8)
    marker = tmp_path / "here"
    child = one.start(at="claimed", after=20, marker=str(marker))
    until(marker.exists)
    kill(child)
    one.nursery.wait(child)
    one.finish(on_in_doubt="resend")
    assert set(one.ledger().values()) == {"accepted"}
    doubles = {n: c for n, c in one.server().items() if c > 1}
    print(f"sent again: {len(doubles)} twice, as was asked for")
    assert len(doubles) <= 4 * 8


# --- killed at any moment -----------------------------------------------------------------------------------


@dataclass
class Totals:
    """What all runs of a storm came to; none is left out."""

    concurrency: int
    numbers: Counter = field(default_factory=Counter)
    most: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, left, **numbers):
        self.most = max([self.most, *left])
        self.numbers += Counter(numbers)

    def tell(self, capsys, what):
        n = self.numbers
        with capsys.disabled():
            print(f"\n{what}: {dict(n)}, numbers with two messages: 0, in doubt per kill at most {self.most} "
                  f"of {4 * self.concurrency} allowed, {time.monotonic() - self.began:.0f} s")  # fmt: skip
        assert n["accepted"] + n["in_doubt"] == n["rows"]
        assert n["accepted"] <= n["server"] <= n["rows"]
        assert self.most <= 4 * self.concurrency


def kill_at_random(one, child, chance, moments):
    """Kill a process somewhere between its start and its end; most after the first message it sends."""
    taken = one.taken()
    end = time.monotonic() + (0 if chance.random() < 0.2 else 5)
    while time.monotonic() < end and not is_gone(child):
        # Through the summary, which is short.
        if one.taken() > taken:
            break
        time.sleep(0.005)
    time.sleep(chance.uniform(*moments))
    kill(child)


def storm(campaign, capsys, runs, latency_ms, moments, rows=500, concurrency=32, **job):
    chance = random.Random(20_260_101)
    totals = Totals(max(concurrency, job.get("batch_size", 0)))
    for run in range(runs):
        one = campaign(rows, concurrency, f"ledger {run}", **job)
        one.far.ask("POST", "reset", {})
        one.far.ask("POST", "settings", {"latency_ms": latency_ms})
        kills, left, before = 0, [], 0
        while True:
            child = one.start()
            # The first try is killed for sure, the next ones more and more rarely.
            if kills < 1 or chance.random() < 0.3:
                kill_at_random(one, child, chance, moments)
            answer = one.nursery.wait(child)
            if answer["signal"] == 0:
                assert not answer.get("error"), answer
                assert not answer["stopped_by"], answer
                break
            assert answer["signal"] == signal.SIGKILL
            kills += 1
            # This one's claims, and the ones of those before it.
            doubted = sum(one.left_by().values())
            left.append(doubted - before)
            before = doubted
        states, taken = one.check()
        assert states["in_doubt"] == before, "a try that was not killed left something in doubt"
        totals.add(left, runs=1, kills=kills, rows=rows, server=taken, **states)
    totals.tell(capsys, f"{one.name}, killed process groups")
    assert totals.numbers["kills"] >= runs * 0.5, "hardly anything was killed: nothing was shown"


def test_a_storm_of_kills(campaign, capsys):
    storm(campaign, capsys, 20, 8, (0.01, 0.2))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_storm_of_kills_over_v2(campaign, capsys):
    storm(campaign, capsys, 10, 60, (0.01, 0.3), concurrency=4, batch_size=16)


@pytest.mark.slow
def test_a_long_storm_of_kills(campaign, capsys):
    storm(campaign, capsys, STORM_RUNS, 30, (0.02, 0.6))


# --- several at work on one campaign ------------------------------------------------------------------------


def several(campaign, capsys, runs, latency_ms, moments, rows=500, concurrency=32, workers=4):
    chance = random.Random(20_260_102)
    totals = Totals(concurrency)
    for run in range(runs):
        one = campaign(rows, concurrency, f"ledger {run}")
        one.far.ask("POST", "reset", {})
        one.far.ask("POST", "settings", {"latency_ms": latency_ms})
        one.plan()
        slots = {one.start(slot=f"worker {n}"): f"worker {n}" for n in range(workers)}
        victim = chance.choice(list(slots))
        kill_at_random(one, victim, chance, moments)
        answers = {slots[child]: one.nursery.wait(child) for child in slots}
        killed = answers.pop(slots[victim])
        for answer in answers.values():
            assert not answer.get("error"), answer
            assert not answer["stopped_by"], answer
        left = one.left_by()
        # Nobody but the dead one left anything, and its siblings sent all the rest.
        assert left.keys() <= ({slots[victim]} if killed["signal"] else set()), left
        states = Counter(one.ledger().values())
        if killed["signal"]:
            # Dead in its very first transaction, it never was at work for the others.
            known = one.look(f"SELECT 1 FROM telekom_sms_owner WHERE slot = '{slots[victim]}'")
            assert states["planned"] == 0, states
            assert sum(answer["last"] for answer in answers.values()) == (0 if known else 1)
            retried = one.finish(slot=slots[victim])
            assert retried["sent"] == {}
            answers["retried"] = retried
            lasts = [name for name, answer in answers.items() if answer["last"]]
            assert lasts == ["retried"] or not known, lasts
        else:
            assert sum(answer["last"] for answer in [*answers.values(), killed]) == 1
        states, taken = one.check()
        assert states["in_doubt"] == sum(left.values())
        totals.add(
            list(left.values()), runs=1, kills=killed["signal"] != 0, rows=rows, server=taken,
            siblings=sum(answer["sent"].get("accepted", 0) for answer in answers.values()), **states,
        )  # fmt: skip
    totals.tell(capsys, f"{workers} processes on one campaign, one of them killed")
    assert totals.numbers["kills"] >= runs * 0.5, "hardly anything was killed: nothing was shown"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_one_of_several_is_killed(campaign, capsys):
    several(campaign, capsys, 5, 60, (0.0, 0.25))


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_one_of_several_is_killed_again_and_again(campaign, capsys):
    several(campaign, capsys, STORM_RUNS // 5, 60, (0.0, 0.3))


# --- stood still --------------------------------------------------------------------------------------------


class StoodStill:
    """A process that is stopped in the middle of a campaign, and wakes up again."""

    def __init__(self, one, until, at=100, **options):
        self.one, self.until = one, until
        self.child = one.start(**options)
        until(lambda: one.taken() >= at)
        os.killpg(self.child, signal.SIGSTOP)
        # It stops once its system calls have ended.
        while (time.sleep(0.05), one.is_locked())[1]:
            # In the midst of a transaction: there the others would only wait for it.
            os.killpg(self.child, signal.SIGCONT)
            time.sleep(0.01)
            os.killpg(self.child, signal.SIGSTOP)
        # What it had sent by then still arrives.
        until(lambda: one.taken() == (time.sleep(0.3), one.taken())[1])
        self.taken, self.claims = one.taken(), self._claims()
        self.in_flight = sum(self.states(self.claims).values()) - self.states(self.claims)["accepted"]

    def _claims(self):
        return set(self.one.look("SELECT phone FROM telekom_sms_message WHERE owner_id = 1"))

    def states(self, phones):
        ledger = self.one.ledger()
        return Counter(ledger[phone] for (phone,) in phones)

    def wake(self):
        os.killpg(self.child, signal.SIGCONT)
        answer = self.one.nursery.wait(self.child)
        assert "error" not in answer, answer
        return answer


@pytest.fixture
def stood_still(until):
    return lambda one, **options: StoodStill(one, until, **options)


def test_a_process_that_stood_still_while_a_later_try_took_over(campaign, stood_still, capsys):
    one = campaign(1000, 16)
    one.far.ask("POST", "settings", {"latency_ms": 60})
    still = stood_still(one)
    second = one.finish()
    meanwhile, doubted = one.server(), Counter(one.ledger().values())["in_doubt"]
    answer = still.wake()
    states, late = Counter(one.ledger().values()), one.server() - meanwhile
    with capsys.disabled():
        print(f"\n{one.name}, stood still with {doubted} claims of {4 * 16} allowed: the later try sent "
              f"{second['sent']}; awake again it sent {sum(late.values())} of its own claims, ended "
              f"{answer['halted']}, recorded {answer['sent']}; ledger {dict(states)}")  # fmt: skip
    assert answer["halted"] == "superseded"
    assert second["counts"]["in_doubt"] == doubted <= 4 * 16
    # It claimed nothing more, and sent nothing that it had not claimed before it stood still.
    assert still._claims() <= still.claims
    assert late.keys() <= {phone for (phone,) in still.claims}
    assert sum(late.values()) <= doubted
    # The outcomes that it still brought counted, and what it gave back is sent.
    one.finish()
    states, taken = one.check()
    assert states == {"accepted": 1000}
    assert taken == 1000


@pytest.mark.parametrize("meanwhile", ["another is at work", "nobody is"])
def test_a_process_whose_lease_ran_out_sends_nothing_that_waited(
    campaign, stood_still, tmp_path, capsys, meanwhile
):
    one = campaign(600, 16)
    one.far.ask("POST", "settings", {"latency_ms": 100})
    leaving = tmp_path / "leaving"
    still = stood_still(one, lease_ms=700, leaving=str(leaving))
    in_flight = set(leaving.read_text().split())
    time.sleep(1)
    asked = one.taken()
    assert asked == still.taken
    if meanwhile == "nobody is":
        answer = still.wake()
        assert answer["sent"]["accepted"] == 600
        assert answer["sent"].get("planned", 0) > 0, "what had waited was sent at once"
        with capsys.disabled():
            print(f"\n{one.name}, lease run out, nobody else: {answer['sent']}")
    else:
        other = one.finish(slot="another", rows=0)
        before = one.server()
        answer = still.wake()
        late = one.server() - before
        with capsys.disabled():
            print(f"\n{one.name}, lease run out: another sent {other['sent']}; it {late.total()} late, "
                  f"recorded {answer['sent']}, ended {answer['halted']}")  # fmt: skip
        assert answer["halted"] == "superseded"
        # The stop may strike just between the last check and the first byte, and that is in flight.
        assert late.keys() <= in_flight
        assert answer["sent"].get("planned", 0) > 0
        assert still._claims() <= still.claims
        one.finish(slot="another", rows=0)
    states, taken = one.check()
    assert states == {"accepted": 600}
    assert taken == 600
