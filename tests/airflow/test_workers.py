"""
Campaigns in two halves, in a real Airflow on a real PostgreSQL.

Four mapped tasks drain a campaign, and one of them is killed from outside with SIGKILL, at a random moment
while it sends; and a person approves a plan, or rejects it, before it is sent.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.api.phone import parse_mobile
from airflow_provider_telekom_sms.exceptions import InvalidPhoneNumberError
from airflow_provider_telekom_sms.ledger import reporting
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.simulator import Settings, Simulator, serve
from tests.airflow.running import (
    Airflow,
    answer,
    has_ended,
    question,
    standalone,
    start,
    state_of,
    wait_for_dags,
)
from tests.airflow.worker_dags import CONCURRENCY
from tests.postgres import PostgresServer

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
APPROVED = "telekom_sms_approved_campaign"
#: So many that every worker has to claim more than once.
ROWS = {"workers_4": 500, "workers_8": 500, "workers_32": 2_000, "workers_fail": 500}
WORKERS = 4
LATENCY_MS = 100
RUNS = int(os.environ.get("TELEKOM_SMS_WORKER_RUNS", "6"))
#: At once; every one needs five slots.
AT_ONCE = 3
SEED = int(os.environ.get("TELEKOM_SMS_WORKER_SEED", "0")) or random.randrange(1, 10**6)

#: Writes down every claim, past the package.
WITNESS = """
CREATE TABLE witness (message_id bigint NOT NULL, owner_id bigint NOT NULL);
CREATE FUNCTION bear_witness() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO witness VALUES (NEW.id, NEW.owner_id); RETURN NULL; END';
CREATE TRIGGER witness AFTER UPDATE ON telekom_sms_message FOR EACH ROW
    WHEN (NEW.state = 'claimed' AND (OLD.state <> 'claimed' OR OLD.owner_id IS DISTINCT FROM NEW.owner_id))
    EXECUTE FUNCTION bear_witness();
"""


@dataclass
class Place:
    """Airflow, the API it sends to, and the ledger it keeps."""

    airflow: Airflow
    home: Path
    sim: Simulator
    postgres: PostgresServer
    url: URL
    ledger: Ledger

    def sql(self, statement: str, *values: Any) -> list[Any]:
        return self.postgres.sql(self.url, statement, *values)

    def prepare(self, settings: Settings) -> None:
        self.sim.state.reset()
        self.sim.state.settings = settings

    def task_instances(self, dag_id: str, run_id: str) -> dict[tuple[str, int], dict[str, Any]]:
        """Give the task instances of a run by task and map index."""
        found = self.airflow.call(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {(ti["task_id"], ti["map_index"]): ti for ti in found}


@pytest.fixture(scope="module")
def place(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("workers") / "airflow"
    url, metadata = postgres.database(), postgres.database()
    ledger = Ledger(url)
    postgres.sql(url, WITNESS)
    connection = {
        "conn_type": "postgres", "login": url.username, "password": url.password,
        "host": url.host, "port": url.port, "schema": url.database,
    }  # fmt: skip
    settings = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.set(
            drivername="postgresql+psycopg2"
        ).render_as_string(hide_password=False),
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID": "sms_ledger",
        "AIRFLOW_CONN_SMS_LEDGER": json.dumps(connection),
        "MEETINGS": str(home / "meetings"),
    }
    dags = [Path(__file__).with_name("worker_dags.py"), EXAMPLES / "approved_campaign.py", EXAMPLES / "data"]
    with serve() as sim, standalone(home, sim, dags, **settings) as airflow:
        (home / "meetings").mkdir()
        wait_for_dags(airflow, [*CONCURRENCY, APPROVED])
        yield Place(airflow, home, sim, postgres, url, ledger)
    ledger.close()


@dataclass
class Killed:
    """A run of which one worker was killed, or was to be."""

    dag_id: str
    run_id: str
    number: int
    victim: int
    claimed: int
    """Rows that it had claimed and not recorded."""
    left: int
    """Rows that nobody had claimed."""

    @property
    def hit(self) -> bool:
        return self.claimed > 0

    @property
    def rows(self) -> int:
        return ROWS[self.dag_id]

    @property
    def concurrency(self) -> int:
        return CONCURRENCY[self.dag_id]


def run_and_kill(place: Place, dag_id: str, number: int) -> Killed:
    """Start a run, kill one of its workers at a random moment while it sends, and wait for its end."""
    chance = random.Random(f"{SEED}/{dag_id}/{number}")
    rows = ROWS[dag_id]
    # By rows unclaimed, not by the clock, which a busy machine makes too late; below zero, with none left.
    victim, moment = chance.randrange(WORKERS), chance.randrange(-rows // 4, rows)
    run_id = f"{dag_id}_{number}"
    source = place.home / f"{run_id}.csv"
    source.write_text("\n".join(["phone", *(f"0{phone}" for phone in phones_of(number, rows))]))
    start(place.airflow, dag_id, dag_run_id=run_id, conf={"source": str(source)})

    pid = place.airflow.wait_until(
        f"{run_id}: worker {victim} begins", 180, partial(process_of, place, dag_id, run_id, victim)
    )
    meeting = place.home / "meetings" / run_id
    meeting.mkdir(exist_ok=True)
    (meeting / "killer").touch()
    slot = f"{dag_id}/send/{run_id}/{victim}"
    campaign = reporting.campaign_number(place.ledger, run_id)
    deadline = time.monotonic() + 120
    while (left := unclaimed(place, campaign)) and (left > moment or not claimed_by(place, slot)):
        assert time.monotonic() < deadline, f"{left} rows are unclaimed, {moment} waited for"
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    claimed, left = claimed_by(place, slot), unclaimed(place, campaign)
    place.airflow.wait_until(f"{run_id} ends", 240, partial(has_ended, place.airflow, dag_id, run_id))
    return Killed(dag_id, run_id, number, victim, claimed, left)


def phones_of(number: int, rows: int) -> range:
    """Give the numbers of a run, without the leading zero; those that end in 99 are refused."""
    first = 903_000_000 + number * max(ROWS.values())
    return range(first, first + rows)


def process_of(place: Place, dag_id: str, run_id: str, worker: int) -> int | None:
    """Find the process of a mapped task by the title that Airflow gives it, once all four are there."""
    meeting = place.home / "meetings" / run_id
    if not meeting.exists() or len(list(meeting.iterdir())) < WORKERS:
        return None
    title = f"airflow worker -- {place.task_instances(dag_id, run_id)['send', worker]['id']}".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().rstrip(b"\0 ") == title:
                return int(path.parent.name)
    return None


def claimed_by(place: Place, slot: str) -> int:
    """Count what a worker has claimed and not recorded."""
    [(claimed,)] = place.sql(
        "SELECT count(*) FROM telekom_sms_message m JOIN telekom_sms_owner o ON o.id = m.owner_id "
        "WHERE o.slot = ? AND m.state = 'claimed'",
        slot,
    )
    return int(claimed)


def unclaimed(place: Place, campaign: int) -> int:
    """Count what no worker has claimed yet."""
    return reporting.counts(place.ledger, campaign).planned


def counted(place: Place, run: Killed) -> dict[str, Any]:
    """Hold the ledger against the server, row by row."""
    phones = {f"421{phone}" for phone in phones_of(run.number, run.rows)}
    sent = {p: n for p, n in place.sim.state.messages_per_number().items() if p in phones}
    campaign = reporting.campaign_number(place.ledger, run.run_id)
    states = {m.phone: m.state for m in reporting.messages(place.ledger, campaign)}
    of = {s: {p for p, state in states.items() if state == s} for s in ("accepted", "rejected", "in_doubt")}
    assert set(states) == phones
    assert sum(map(len, of.values())) == run.rows, Counter(states.values())
    assert of["accepted"] <= set(sent) <= of["accepted"] | of["in_doubt"]
    assert len(of["in_doubt"]) <= 4 * run.concurrency
    claims = place.sql(
        "SELECT m.id, o.slot FROM telekom_sms_message m LEFT JOIN witness w ON w.message_id = m.id "
        "LEFT JOIN telekom_sms_owner o ON o.id = w.owner_id WHERE m.campaign_id = ?",
        campaign,
    )
    assert len(claims) == len({row for row, _ in claims}) == run.rows, "claimed by none, or by more than one"
    return {
        "messages": sum(sent.values()),
        "twice": sum(n > 1 for n in sent.values()),
        **{state: len(found) for state, found in of.items()},
        "arrived in doubt": len(of["in_doubt"] & set(sent)),
        "spread": Counter(int(slot.rpartition("/")[2]) for _, slot in claims),
    }


@pytest.mark.slow
def test_one_of_four_workers_is_killed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(Settings(latency_ms=LATENCY_MS))
    dags = [dag_id for dag_id in CONCURRENCY if dag_id != "workers_fail"]
    totals: Counter[str] = Counter()
    per_worker: Counter[int] = Counter()
    worst: Counter[int] = Counter()
    shares = []
    began = time.monotonic()

    def tell(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    tell(f"\nseed {SEED}, {RUNS} runs, {AT_ONCE} at once")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = [threads.submit(run_and_kill, place, dags[n % len(dags)], n) for n in range(RUNS)]
        for future in running:
            run = future.result()
            assert state_of(place.airflow, run.dag_id, run.run_id) == "success"
            tis = place.task_instances(run.dag_id, run.run_id)
            assert {ti["state"] for ti in tis.values()} == {"success"}
            tries = [tis["send", worker]["try_number"] for worker in range(WORKERS)]
            if run.hit:
                assert tries == [2 if worker == run.victim else 1 for worker in range(WORKERS)]
            found = counted(place, run)
            spread = found.pop("spread")
            per_worker += spread
            shares += [spread[worker] for worker in range(WORKERS)]
            worst[run.concurrency] = max(worst[run.concurrency], found["in_doubt"])
            totals += Counter({**found, "rows": run.rows, "hit": run.hit, "others had work": run.left > 0})
            tell(
                f"{run.run_id}: concurrency {run.concurrency}, worker {run.victim} "
                f"{'killed' if run.hit else 'too late'} with {run.claimed} claimed and {run.left} unclaimed; "
                f"rows by worker {[spread[w] for w in range(WORKERS)]}; {found}"
            )
    tell(
        f"{RUNS} runs, {totals['hit']} kills while the victim had rows outstanding "
        f"(in {totals['others had work']} of the runs rows were still unclaimed), {RUNS - totals['hit']} too "
        f"late. {totals['rows']} rows: {totals['accepted']} accepted, {totals['rejected']} rejected, "
        f"{totals['in_doubt']} in doubt, of which {totals['arrived in doubt']} had arrived. At the server "
        f"{totals['messages']} messages, {totals['twice']} numbers with more than one. In doubt at most "
        f"{', '.join(f'{n} with concurrency {c} (bound {4 * c})' for c, n in sorted(worst.items()))}. "
        f"Rows by worker {[per_worker[w] for w in range(WORKERS)]}, of one worker in one run from "
        f"{min(shares)} to {max(shares)}. {time.monotonic() - began:.0f} s"
    )
    assert totals["twice"] == 0
    assert RUNS - totals["hit"] <= max(1, RUNS / 10)
    assert place.sim.state.violations == []


@pytest.mark.slow
def test_the_last_of_four_workers_names_what_is_in_doubt(place: Place) -> None:
    place.prepare(Settings(latency_ms=LATENCY_MS))
    run = run_and_kill(place, "workers_fail", 0)
    found = counted(place, run)
    tis = place.task_instances(run.dag_id, run.run_id)
    ended = sorted(
        (ti["end_date"], ti["state"], index) for (task, index), ti in tis.items() if task == "send"
    )

    assert run.hit
    assert state_of(place.airflow, run.dag_id, run.run_id) == "failed"
    assert [state for _, state, _ in ended] == ["success", "success", "success", "failed"]
    assert found["twice"] == 0
    last = ended[-1][2]
    tries = tis["send", last]["try_number"]
    path = f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/send/logs/{tries}?map_index={last}"
    log = json.dumps(place.airflow.call(path))
    rows = place.sql(
        "SELECT m.row FROM telekom_sms_message m JOIN telekom_sms_campaign c ON c.id = m.campaign_id "
        "WHERE c.name = ? AND m.state = 'in_doubt' ORDER BY m.id",
        run.run_id,
    )
    named = ", ".join(str(row) for (row,) in rows[:10])
    assert (
        f"{len(rows)} messages are in doubt: they may have been sent or not, among them rows {named}." in log
    )
    assert place.sim.state.violations == []


def answered(place: Place, run_id: str, option: str) -> None:
    """Answer, and wait for the end."""
    log = place.home / "standalone.log"
    answer(place.airflow, log, APPROVED, run_id, option)
    place.airflow.wait_until("the end", 120, partial(has_ended, place.airflow, APPROVED, run_id))
    if state_of(place.airflow, APPROVED, run_id) == "failed":
        print(*(line for line in log.read_text().splitlines() if run_id in line), sep="\n")


def states(place: Place, run_id: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (task_id, _), ti in place.task_instances(APPROVED, run_id).items():
        found.setdefault(task_id, set()).add(ti["state"])
    return found


@pytest.mark.slow
def test_a_person_approves(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(Settings(speed=100))
    run_id = start(place.airflow, APPROVED)
    asked = question(place.airflow, APPROVED, run_id)
    body = asked["body"]
    with capsys.disabled():
        print("", asked["subject"], "", body, sep="\n")

    assert asked["options"] == ["Approve", "Reject"]
    assert asked["defaults"] == ["Reject"]
    assert "**113 messages**" in body
    assert re.search(r"120 rows\D+5\D+invalid\D+2\D+duplicate\D+0\D+suppressed", body)
    assert re.search(r"price \*\*\d+\.\d\d\*\*", body)
    assert "What costs more than it has to" in body
    assert "Samples, with what comes from the rows masked" in body
    with (EXAMPLES / "data" / "faktury.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    digits = re.sub(r"[ /.\-()]", "", body.replace(run_id, ""))
    for row in rows:
        assert (row["cislo"] or "no number") not in body
        assert not [part for part in row["meno"].split() if part in body]
        with suppress(InvalidPhoneNumberError):
            assert parse_mobile(row["telefon"])[-9:] not in digits
    assert not re.search(r"\d{7}", digits)
    # Nothing is sent before the answer.
    assert place.sim.state.messages == []

    answered(place, run_id, "Approve")
    assert states(place, run_id) == {task: {"success"} for task in ("plan", "approve", "send", "delivered")}
    campaign = reporting.campaign_number(place.ledger, f"faktury/{run_id}")
    counts = reporting.counts(place.ledger, campaign)
    assert (counts.total, counts.accepted, counts.rejected) == (120, 112, 1)
    sent = place.sim.state.messages_per_number()
    assert len(sent) == 112
    assert max(sent.values()) == 1
    assert place.sim.state.violations == []


@pytest.mark.slow
def test_a_person_rejects(place: Place) -> None:
    place.prepare(Settings(speed=100))
    run_id = start(place.airflow, APPROVED)
    question(place.airflow, APPROVED, run_id)
    answered(place, run_id, "Reject")

    done, skipped = {"success"}, {"skipped"}
    assert states(place, run_id) == {"plan": done, "approve": done, "send": skipped, "delivered": skipped}
    assert place.sim.state.messages == []
