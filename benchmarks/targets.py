"""What is to be reached, and what was: a line for each, with by how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """
    A figure and its bound.

    :param number: of the promise it belongs to
    :param what: what was measured, and against whom
    :param found: the figure
    :param bound: what it is to be at least, or at most
    :param at_least: which of the two
    :param unit: of both
    :param section: which part of the benchmarks measures it
    """

    number: int
    what: str
    found: float
    bound: float
    at_least: bool
    unit: str
    section: str

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound

    @property
    def margin(self) -> str:
        """By how much, of the bound."""
        share = (self.found - self.bound) / self.bound * (1 if self.at_least else -1)
        return f"{abs(share):.0%} {'better' if share >= 0 else 'short'}"

    @property
    def figure(self) -> str:
        """The figure, and what it is to be."""
        sign = "≥" if self.at_least else "≤"
        return f"{in_digits(self.found)}{self.unit} ({sign} {in_digits(self.bound)}{self.unit})"

    def __str__(self) -> str:
        verdict = "reached" if self.reached else "NOT REACHED"
        return (
            f"{self.number}  {verdict:<12} {self.what}: {self.figure}, {self.margin}"
            f"   [python -m benchmarks --only {self.section}]"
        )


def in_digits(number: float) -> str:
    """Give a number with the digits that mean something."""
    if abs(number) >= 100:
        return f"{number:,.0f}".replace(",", " ")
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def rate(runs: list[Any], seconds: str = "seconds") -> float:
    """Give messages per second; the median of the rounds."""
    return float(median(run["rows"] / run[seconds] for run in runs))


def cpu(runs: list[Any]) -> float:
    """Give CPU time a message in µs, user and system; the median of the rounds."""
    return float(median(run["cpu"] / run["rows"] for run in runs)) * 1e6


def cell(results: Results, wire: str, scheme: str, latency_ms: int, connections: int) -> dict[str, list[Any]]:
    """Give the runs of a cell by variant."""
    wanted = {"wire": wire, "scheme": scheme, "latency_ms": latency_ms, "connections": connections}
    return next(c["runs"] for c in results["sending"] if wanted.items() <= c.items())


def targets(results: Results) -> list[Target]:
    """Judge what was measured; sections that were not are left out."""
    return [
        target
        for section, judge in JUDGES.items()
        if section in results
        for target in judge(results)
    ]  # fmt: skip


def _sending(results: Results) -> Iterator[Target]:
    for scheme, connections, bound in (
        ("http", 64, 0.90),
        ("https", 64, 0.88),
        ("http", 16, 0.93),
        ("https", 16, 0.93),
    ):
        runs = cell(results, "json", scheme, 50, connections)
        what = f"v1 over {scheme.upper()}, 50 ms, {connections} connections"
        whole, alone = (rate(runs["provider"], seconds) for seconds in ("seconds", "span"))
        yield Target(
            1,
            f"{what}: share of the limit, sending",
            alone / rate(runs["limit"], "span"),
            bound,
            True,
            " x",
            "sending",
        )
        yield Target(
            1, f"{what}: the same with planning", whole / rate(runs["limit"]), bound, True, " x", "sending"
        )
    runs = cell(results, "json", "https", 0, 16)
    ours = rate(runs["provider"])
    for name, said, bound in (
        ("naive", "requests.post a row", 80.0),
        ("threads", "a Session with threads", 2.2),
        ("workers", "a bare aiohttp loop", 0.8),
    ):
        what = f"v1 over HTTPS, no latency, 16 connections: messages/s beside {said}"
        yield Target(2, what, ours / rate(runs[name]), bound, True, " x", "sending")
    runs = cell(results, "json", "http", 0, 16)
    whole = cpu(runs["provider"])
    yield Target(3, "CPU a v1 message end to end, HTTP", whole, 600, False, " µs", "sending")
    yield Target(
        3, "the same beside requests.post a row", whole / cpu(runs["naive"]), 0.33, False, " x", "sending"
    )
    yield Target(3, "of that, all but HTTP", cpu(runs["hollow"]), 120, False, " µs", "sending")


def _batches(results: Results) -> Iterator[Target]:
    runs = results["batches"]
    for said, seconds in (("end to end", "seconds"), ("sending alone", "span")):
        yield Target(
            4, f"v2, 100 recipients a request, no latency: messages/s beside v1, both {said} with the ledger",
            rate(runs["v2"], seconds) / rate(runs["v1"], seconds), 50, True, " x", "batches",
        )  # fmt: skip
    if "sending" in results:
        naive = rate(cell(results, "json", "https", 0, 16)["naive"])
        yield Target(
            4, "the same, end to end, beside requests.post a row over v1 (HTTPS)",
            rate(runs["v2"]) / naive, 50, True, " x", "sending,batches",
        )  # fmt: skip


def _planning(results: Results) -> Iterator[Target]:
    few, some, many = sorted(
        (runs for name, runs in results["planning"].items() if name.startswith("CSV")),
        key=lambda runs: runs[0]["rows"],
    )
    rows = [in_digits(runs[0]["rows"]) for runs in (few, some, many)]
    grown = peak(many) - peak(few)
    yield Target(
        5,
        f"peak memory of planning {rows[2]} rows above that of {rows[0]}",
        grown,
        60,
        False,
        " MB",
        "planning",
    )
    ratio = median(run["seconds"] for run in many) / median(run["seconds"] for run in some)
    times = many[0]["rows"] / some[0]["rows"]
    yield Target(
        5, f"time of planning {rows[2]} rows beside {rows[1]}", ratio, times * 1.1, False, " x", "planning"
    )
    yield Target(
        5,
        f"planning {rows[2]} rows from CSV into SQLite, a row",
        1e6 / rate(many),
        60,
        False,
        " µs",
        "planning",
    )


def peak(runs: list[Any]) -> float:
    """Give the peak memory of a process in MB; the median of the rounds."""
    return float(median(run["peak_mb"] for run in runs))


def _polling(results: Results) -> Iterator[Target]:
    for name, runs in results["polling"].items():
        what = f"asking for {in_digits(runs[0]['rows'])} messages, {name}"
        yield Target(6, f"{what}: checks/s", rate(runs, "waited"), 2000, True, "/s", "polling")
        blocked = median(run["blocked_ms"] for run in runs)
        yield Target(6, f"{what}: the loop's longest block", blocked, 50, False, " ms", "polling")


def _parsing(results: Results) -> Iterator[Target]:
    ratio = median(results["parsing"]["ours"]) / median(results["parsing"]["bare"])
    yield Target(
        7, "importing Airflow and the operators beside Airflow alone", ratio, 1.15, False, " x", "parsing"
    )


def _workers(results: Results) -> Iterator[Target]:
    one, two = (results["workers"][count] for count in ("1", "2"))
    ratio = rate(two) / rate(one)
    yield Target(8, "two workers beside one, PostgreSQL", ratio, 1.6, True, " x", "workers")


JUDGES: dict[str, Callable[[Results], Iterator[Target]]] = {
    "sending": _sending,
    "batches": _batches,
    "planning": _planning,
    "polling": _polling,
    "parsing": _parsing,
    "workers": _workers,
}
