"""Sending: the rivals, this package and the limit, in one run and taking turns."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks import process
from benchmarks.suite import Suite

#: wire, scheme, latency in ms, connections, and who takes part besides the usual.
CELLS: list[tuple[str, str, int, int, tuple[str, ...]]] = [
    ("json", "http", 0, 16, ("naive", "workers", "hollow")),
    ("json", "https", 0, 16, ("naive", "workers")),
    ("xml", "https", 0, 16, ("naive", "workers")),
    ("json", "http", 20, 64, ("naive",)),
    ("json", "https", 20, 64, ("naive",)),
    ("json", "http", 50, 16, ("naive",)),
    ("json", "https", 50, 16, ("naive",)),
    ("json", "http", 50, 64, ("workers",)),
    ("json", "https", 50, 64, ("workers",)),
]
USUAL = ("threads", "gather", "provider", "limit")
#: Roughly the CPU time of a message, µs: everybody gets as many as take about as long.
EXPECTED = {
    "naive": {"http": 1_000, "https": 20_000},
    "threads": {"http": 1_000, "https": 1_100},
    "gather": {"http": 100, "https": 100},
    "workers": {"http": 100, "https": 100},
    "provider": {"http": 200, "https": 230},
    "hollow": {"http": 90, "https": 90},
    "limit": {"http": 30, "https": 50},
}


def sending(suite: Suite) -> list[dict[str, Any]]:
    """Send the same campaign with everybody, cell by cell."""
    cells = []
    for wire, scheme, latency, connections, also in CELLS:
        if suite.quick and (wire == "xml" or latency == 20):
            continue
        found: dict[str, list[Any]] = {}
        variants = [name for name in EXPECTED if name in (*USUAL, *also)]
        for _, name in [(turn, name) for turn in range(suite.rounds) for name in variants]:
            number = how_many(suite, name, scheme, latency, connections)
            job = suite.job(
                name, scheme=scheme, wire=wire, rows=number, path=suite.csv(number), connections=connections
            )
            found.setdefault(name, []).append(suite.send(job, latency))
        where = {"wire": wire, "scheme": scheme, "latency_ms": latency, "connections": connections}
        cells.append({**where, "runs": found})
        suite.say(f"{wire} over {scheme}, {latency} ms, {connections} connections")
    return cells


def how_many(suite: Suite, variant: str, scheme: str, latency_ms: int, connections: int) -> int:
    """Give how many messages take the time that is meant for a run."""
    seconds = 0.5 if suite.quick else {0: 2.0, 20: 1.5}.get(latency_ms, 5.0 if connections > 16 else 3.0)
    cpu, latency = EXPECTED[variant][scheme] / 1e6, latency_ms / 1e3
    each = cpu + latency if variant == "naive" else max(cpu, latency / connections)
    number = max(seconds / each, 10 if variant == "naive" else 4 * connections)
    # Two digits, so that runs share their files.
    return int(float(f"{number:.1e}"))


def batches(suite: Suite) -> dict[str, list[Any]]:
    """Send one text to all over API v2, a hundred recipients a request; beside it over v1."""
    number = 2_000 if suite.quick else 20_000
    jobs = {
        "v1": ("provider", "json", max(number // 10, 400)),
        "v2": ("provider", "v2", number),
        "v2 limit": ("limit", "v2", number),
    }
    found: dict[str, list[Any]] = {name: [] for name in jobs}
    for _ in range(suite.rounds):
        for name, (variant, wire, rows) in jobs.items():
            job = suite.job(
                variant, wire=wire, rows=rows, path=suite.csv(rows), connections=16, batch_size=100
            )
            found[name].append(suite.send(job))
    suite.say("API v2")
    return found


def workers(suite: Suite) -> dict[str, list[Any]]:
    """Let one worker and then two drain a campaign that was planned into PostgreSQL."""
    from tests.postgres import PASSWORD, USER, PostgresServer

    number = 600 if suite.quick else 6_000
    found: dict[str, list[Any]] = {"1": [], "2": []}
    server = PostgresServer(fsync="on")
    try:
        for _ in range(suite.rounds):
            for count, runs in ((1, found["1"]), (2, found["2"])):
                ledger = {
                    "conn_type": "postgres", "host": "127.0.0.1", "port": server.port, "login": USER,
                    "password": PASSWORD, "schema": server.database().database,
                }  # fmt: skip
                runs.append(_drained(suite, ledger, count, number))
    finally:
        server.close()
    suite.say("workers")
    return found


def _drained(suite: Suite, ledger: dict[str, Any], count: int, number: int) -> dict[str, Any]:
    job = suite.job("plan", path=suite.csv(number), connections=16) | {"ledger": ledger}
    process.run("planning", job)
    with ExitStack() as stack:
        children = [
            stack.enter_context(process.child("provider", {**job, "variant": "worker", "worker": worker}))
            for worker in range(count)
        ]
        suite.server.reset()
        for child in children:
            child.go()
        answers = [child.result() for child in children]
    counted = suite.server.counts()
    if (counted["messages"], counted["repeated"]) != (number, 0):
        raise RuntimeError(f"{count} workers: {number} to send, counted {counted}")
    # They began at once.
    seconds, cpu = max(answer["seconds"] for answer in answers), sum(answer["cpu"] for answer in answers)
    return {"rows": number, "seconds": seconds, "cpu": cpu, **counted}
