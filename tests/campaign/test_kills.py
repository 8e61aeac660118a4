"""A process that is killed at any place, and run again until the campaign is at its end."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest


class Campaign:
    """One campaign in a ledger of its own, sent by processes to the simulator in another."""

    def __init__(self, far, nursery, path, rows, concurrency, **job):
        self.far, self.nursery, self.path = far, nursery, path
        self.rows, self.concurrency = rows, concurrency
        self.job = {"ledger": str(path), "url": far.url, "rows": rows, "concurrency": concurrency, **job}

    def start(self, **options):
        return self.nursery.start(**self.job, **options)

    def finish(self, **options):
        self.start(**options)
        answer = self.nursery.wait()
        assert "error" not in answer, answer
        return answer

    def ledger(self):
        connection = sqlite3.connect(self.path, timeout=30)
        try:
            found = connection.execute("SELECT phone, state FROM telekom_sms_message").fetchall()
        except sqlite3.OperationalError:
            return {}  # killed before there was a table
        finally:
            connection.close()
        return dict(found)

    def server(self):
        return Counter(message["number"] for message in self.far.ask("GET", "messages"))

    def check(self):
        """Nothing twice, nothing lost: every row has a message or says that it may have none."""
        ledger, server = self.ledger(), self.server()
        assert len(ledger) == self.rows
        assert {n: c for n, c in server.items() if c > 1} == {}
        for phone, state in ledger.items():
            assert state in ("accepted", "in_doubt"), state
            if state == "accepted":
                assert server[phone] == 1
        return Counter(ledger.values()), sum(server.values())


@pytest.fixture
def campaign(far, nursery, tmp_path):
    return lambda rows, concurrency, name="ledger", **job: Campaign(
        far, nursery, tmp_path / f"{name}.db", rows, concurrency, **job
    )


@pytest.mark.parametrize("after", [0, 70])
@pytest.mark.parametrize("at", ["claimed", "sent", "recorded"])
def test_killed_at_the_worst_moment(campaign, tmp_path, until, at, after):
    one = campaign(200, 16)
    marker = tmp_path / "here"
    child = one.start(at=at, after=after, marker=str(marker))
    until(marker.exists)
    os.kill(child, signal.SIGKILL)
    assert one.nursery.wait()["signal"] == signal.SIGKILL
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


def test_killed_and_sent_again_because_it_was_asked_for(campaign, tmp_path, until):
    one = campaign(100, 8)
    marker = tmp_path / "here"
    child = one.start(at="claimed", after=20, marker=str(marker))
    until(marker.exists)
    os.kill(child, signal.SIGKILL)
    one.nursery.wait()
    one.finish(on_in_doubt="resend")
    assert set(one.ledger().values()) == {"accepted"}
    doubles = {n: c for n, c in one.server().items() if c > 1}
    print(f"sent again: {len(doubles)} twice, as was asked for")
    assert len(doubles) <= 4 * 8


def storm(campaign, runs, latency_ms, moments, rows=500, concurrency=32):
    chance = random.Random(20_260_101)
    totals = Counter()
    most = 0
    for run in range(runs):
        one = campaign(rows, concurrency, f"ledger {run}")
        one.far.ask("POST", "reset", {})
        one.far.ask("POST", "settings", {"latency_ms": latency_ms})
        kills = 0
        while True:
            child = one.start()
            # The first try is killed for sure, the next ones more and more rarely.
            if kills < 1 or chance.random() < 0.3:
                _kill_after_the_first_message(one, child, chance.uniform(*moments))
            answer = one.nursery.wait()
            if answer["signal"] == 0:
                assert not answer.get("error"), answer
                assert not answer["stopped_by"], answer
                break
            kills += 1
        states, taken = one.check()
        assert states["in_doubt"] <= 4 * concurrency * kills
        most = max(most, states["in_doubt"] / kills if kills else 0)
        totals += Counter({"kills": kills, "rows": rows, "server": taken, **states})
    print(f"{runs} runs: {dict(totals)}, numbers with two messages: 0, "
          f"in doubt per kill at most {most:.0f} of {4 * concurrency} allowed")  # fmt: skip
    assert totals["accepted"] + totals["in_doubt"] == totals["rows"]
    assert totals["kills"] >= runs * 0.5, "hardly anything was killed: nothing was shown"


def _kill_after_the_first_message(one, child, seconds):
    taken = sum(one.server().values())
    end = time.monotonic() + 5
    while time.monotonic() < end:
        # Through the summary, which is short; it may end before it is killed.
        if one.far.ask("GET", "summary")["messages"] > taken:
            break
        if _is_gone(child):
            return
        time.sleep(0.005)
    time.sleep(seconds)
    if not _is_gone(child):
        os.kill(child, signal.SIGKILL)


def _is_gone(child):
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except FileNotFoundError:
        return True


def test_a_storm_of_kills(campaign):
    storm(campaign, 20, 8, (0.01, 0.2))


@pytest.mark.slow
def test_a_long_storm_of_kills(campaign):
    storm(campaign, 200, 60, (0.05, 1.5))
