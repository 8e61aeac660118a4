"""A ledger in PostgreSQL that goes away in the middle of a campaign, for a moment or for long."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest

from airflow_provider_telekom_sms.campaign import engine
from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, run_job
from airflow_provider_telekom_sms.exceptions import LedgerUnavailableError
from airflow_provider_telekom_sms.ledger.store import Ledger
from tests.campaign.conftest import Hook
from tests.postgres import PostgresServer

CONCURRENCY = 16


class Scene:
    """A campaign whose way to its ledger leads through a proxy."""

    def __init__(self, far, server, proxy, rows):
        self.far, self.server, self.rows = far, server, rows
        self.direct = server.database()
        self.proxy = proxy(self.direct)
        self.began = time.monotonic()
        far.ask("POST", "settings", {"latency_ms": 25})
        self.errors, self.results = [], []

    def start(self):
        self.thread = threading.Thread(target=self._try)
        self.thread.start()

    def _try(self):
        rows = [{"phone": f"09031{row:05d}", "name": str(row)} for row in range(self.rows)]
        spec = CampaignSpec(rows, MessageSettings(), text="Ahoj {name}")
        job = Job("campaign", "slot", spec, concurrency=CONCURRENCY, on_in_doubt="skip")
        try:
            ledger = Ledger(self.direct.set(port=self.proxy.port))
            try:
                self.results.append(run_job(ledger, Hook(self.far.url), job, threading.Event()))
            finally:
                ledger.close()
        except Exception as error:
            self.errors.append(error)

    def join(self):
        self.thread.join(120)
        assert not self.thread.is_alive(), "it hangs"

    def ledger(self):
        return dict(self.server.sql(self.direct, "SELECT phone, state FROM telekom_sms_message"))

    def taken(self):
        return self.far.ask("GET", "summary")["messages"]

    def sent(self):
        return Counter(message["number"] for message in self.far.ask("GET", "messages"))

    def go_on_until(self, number):
        """Wait for so many messages at the server."""
        end = time.monotonic() + 60
        while self.taken() < number:
            assert time.monotonic() < end, "it never came to pass"
            assert self.thread.is_alive(), (self.errors, self.results)
            time.sleep(0.005)

    def quiet(self):
        """Wait until nothing more is sent; tell what was."""
        before = None
        while before != (now := self.taken()):
            before = now
            time.sleep(0.3)
        return self.sent()

    def stop(self, mode):
        self.server.stop(mode)
        self.proxy.shut()  # so that it can be looked at before anything goes on

    def look(self):
        """Compare what was sent with what stands in the ledger, which has come back for us alone."""
        sent = self.quiet()
        self.server.start()
        ledger = self.ledger()
        states = Counter(ledger.values())
        unclaimed = {phone for phone in sent if ledger[phone] == "planned"}
        assert unclaimed == set(), "sent without a claim"
        assert states["claimed"] + states["in_doubt"] <= 4 * CONCURRENCY * (1 + len(self.errors))
        assert {phone for phone, state in ledger.items() if state == "accepted"} <= sent.keys()
        return {**states, "server": sent.total()}

    def end(self):
        ledger, sent = self.ledger(), self.sent()
        assert len(ledger) == self.rows
        assert {n: c for n, c in sent.items() if c > 1} == {}
        assert {phone for phone, state in ledger.items() if state == "accepted"} <= sent.keys()
        states = Counter(ledger.values())
        assert states["accepted"] + states["in_doubt"] == self.rows
        return {**states, "server": sent.total(), "twice": 0}

    def told(self, capsys, what):
        with capsys.disabled():
            print(f"\n{what}: {self.end()}, {time.monotonic() - self.began:.0f} s")


@pytest.fixture(scope="module")
def own_postgres():
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def scene(far, own_postgres, proxy):
    return lambda rows: Scene(far, own_postgres, proxy, rows)


def test_the_server_is_stopped_and_started_again_and_again(scene, capsys):
    one = scene(3000)
    one.start()
    looks = []
    for number, mode in enumerate(["fast", "immediate"] * 3):
        one.go_on_until(100 + 450 * number)
        one.stop(mode)
        looks.append((mode, one.look()))
        one.proxy.open()
    one.join()
    one.told(capsys, f"PostgreSQL stopped and started: {looks}; at the end")
    assert one.errors == []
    [result] = one.results
    assert result.whole
    assert result.counts.accepted == 3000
    assert one.end() == {"accepted": 3000, "server": 3000, "twice": 0}


def test_the_server_is_away_for_longer_than_it_is_waited_for(scene, capsys, monkeypatch):
    monkeypatch.setattr(engine, "LEDGER_PATIENCE", 1.0)
    one = scene(1000)
    for number, mode in enumerate(["fast", "immediate"]):
        one.start()
        one.go_on_until(100 + 400 * number)
        one.stop(mode)
        one.join()
        assert len(one.errors) == number + 1
        one.look()
        one.proxy.open()
    assert {type(error) for error in one.errors} == {LedgerUnavailableError}
    one.start()
    one.join()
    one.told(capsys, "PostgreSQL away twice for longer than the patience")
    [result] = one.results
    assert result.whole
    assert result.counts.in_doubt <= 2 * 4 * CONCURRENCY
    asked = one.taken()
    one.start()
    one.join()
    assert one.taken() == asked, "what was in doubt was sent again"


@pytest.mark.slow
def test_connections_are_killed_at_random(scene, capsys):
    one = scene(2000)
    chance = random.Random(20_260_103)
    kills = 0
    one.start()
    one.go_on_until(1)
    while one.taken() < 1700:
        assert one.thread.is_alive(), one.errors
        [(killed,)] = one.server.sql(
            one.direct,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        kills += killed
        time.sleep(chance.uniform(0.0, 0.15))
    one.join()
    one.told(capsys, f"{kills} connections killed")
    assert one.errors == []
    assert kills > 10
    assert one.end() == {"accepted": 2000, "server": 2000, "twice": 0}


class Meddler:
    """Breaks connections around a COMMIT, in one of four ways."""

    WAYS = ("answered", "raced", "late", "never")

    def __init__(self, ways, seed, share):
        self.ways, self.share, self.chance = ways, share, random.Random(seed)
        self.armed, self.cuts = threading.Event(), Counter()

    def __call__(self, link, said):
        if b"COMMIT\0" not in said or not self.armed.is_set() or self.chance.random() >= self.share:
            return False
        way = self.chance.choice(self.ways)
        self.cuts[way] += 1
        link.deaf.set()
        if way == "late":
            # It is still on its way, or being written, when the client has long lost its patience.
            link.hang_up(link.client)
            time.sleep(0.5)
        if way != "never":
            link.server.sendall(said)
        if way in ("answered", "late"):
            assert link.heard.wait(10)
        link.hang_up()
        return True


@pytest.mark.parametrize("ways", [Meddler.WAYS, ("late",)], ids="-".join)
def test_the_answer_to_a_commit_is_lost(scene, capsys, ways):
    one = scene(2000 if len(ways) > 1 else 800)
    meddler = one.proxy.meddle = Meddler(ways, 20_260_104, 0.3)
    one.start()
    one.go_on_until(1)
    meddler.armed.set()
    one.go_on_until(one.rows - 100)
    meddler.armed.clear()
    one.join()
    one.told(capsys, f"commits without an answer, {dict(meddler.cuts)}")
    assert one.errors == []
    assert meddler.cuts.total() >= 3
    assert one.end() == {"accepted": one.rows, "server": one.rows, "twice": 0}


def test_what_another_transaction_holds_is_waited_for_without_haste(far, own_postgres, until, capsys):
    """A process that stood still in the midst of a claim: nobody else can have its rows, or knows of it."""
    url = own_postgres.database()
    ledger = Ledger(url)
    rows = [{"phone": f"09031{row:05d}", "name": str(row)} for row in range(200)]
    spec = CampaignSpec(rows, MessageSettings(), text="Ahoj {name}")
    run_job(ledger, None, Job("campaign", "plan", spec, sends=False), None)
    with ledger.transaction() as held:
        held.exec_driver_sql("SELECT id FROM telekom_sms_message WHERE mod(id, 2) = 0 FOR UPDATE")
        results = []
        job = Job("campaign", "slot", concurrency=CONCURRENCY)
        thread = threading.Thread(
            target=lambda: results.append(run_job(ledger, Hook(far.url), job, threading.Event()))
        )
        thread.start()
        until(lambda: far.ask("GET", "summary")["messages"] >= 100, 60)
        time.sleep(3)
        meanwhile = far.ask("GET", "summary")
    thread.join(60)
    ledger.close()
    with capsys.disabled():
        print(f"\nhalf of it held for 3 s: {meanwhile['messages']} sent, {meanwhile['logins']} logins")
    assert meanwhile["messages"] == 100
    assert meanwhile["logins"] <= 5
    [result] = results
    assert result.drained.counts == {"accepted": 200}, "only the last round was counted"
    assert result.counts.accepted == far.ask("GET", "summary")["messages"] == 200
