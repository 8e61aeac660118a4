"""A process of its own on a ledger: says ``ready``, begins when its input ends, prints JSON."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Callable

from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import planning, sending
from airflow_provider_telekom_sms.ledger.planning import PlannedRow
from airflow_provider_telekom_sms.ledger.sending import Outcome, RateLimit
from airflow_provider_telekom_sms.ledger.store import Ledger, State


def open_ledgers(urls: str, _: str) -> object:
    ids = []
    for url in urls.split():
        ledger = Ledger(url)
        ids.append(ledger.id)
        ledger.close()
    return ids


def drain(url: str, batch: str, number: str) -> object:
    """Claim all there is, in batches, and record all as accepted."""
    ledger = Ledger(url)
    owner = planning.begin(ledger, "campaign", f"slot {number}")
    mine: list[int] = []
    outcomes: list[Outcome] = []
    while True:
        claimed = sending.exchange(ledger, owner, outcomes, int(batch)).claimed
        if not claimed:
            break
        mine += [message.id for message in claimed]
        outcomes = [Outcome(message.id, State.ACCEPTED, f"{owner.id}-{message.id}") for message in claimed]
        time.sleep(0.003)  # as sending does; the lock is not fair to those who never let go
    planning.end(ledger, owner)
    return mine


def limited(url: str, per_second: str, seconds: str, number: str) -> object:
    """Claim under a rate limit for some seconds; give when each message was had."""
    ledger = Ledger(url)
    owner = planning.begin(ledger, "campaign", f"slot {number}")
    rate = RateLimit("key", float(per_second))
    moments: list[float] = []
    end = time.time() + float(seconds)
    while time.time() < end:
        had = sending.exchange(ledger, owner, [], 100, rate=rate)
        moments += [time.time()] * len(had.claimed)
        time.sleep(had.wait or 0.001)
    return moments


def full(path: str, megabytes: str, _: str) -> object:
    """Plan into a file that may not grow; give how far it came and the error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = int(float(megabytes) * 1_000_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    ledger = Ledger(f"sqlite:///{path}")
    owner = planning.begin(ledger, "campaign", "slot")
    plan_id = planning.begin_plan(ledger, owner, "", "{}", fallback=False)
    for chunk in range(100):
        rows = [
            PlannedRow(row, State.PLANNED, b"%016d" % row, None, "421903555666", "Tajný text", 1)
            for row in range(chunk * 1000, chunk * 1000 + 1000)
        ]
        try:
            planning.add(ledger, owner, plan_id, rows)
        except LedgerError as error:
            return [chunk, str(error)]
    return [100, ""]


JOBS: dict[str, Callable[..., object]] = {
    "open": open_ledgers,
    "drain": drain,
    "limited": limited,
    "full": full,
}

if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps(JOBS[sys.argv[1]](*sys.argv[2:])))
