"""The benchmarks run, count what they sent, and write the same page from the same results."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.server import Server, serve
from benchmarks.suite import Suite
from benchmarks.targets import Target, targets

RESULTS = report.load(report.RESULTS)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def suite(server: Server, tmp_path: Path) -> Suite:
    return Suite(server, tmp_path, quick=True)


def job(suite: Suite, variant: str, number: int = 40, **more: Any) -> dict[str, Any]:
    return suite.job(variant, rows=number, path=suite.csv(number), connections=4, **more)


@pytest.mark.parametrize(
    ("variant", "scheme", "wire"),
    [
        ("naive", "http", "xml"),
        ("threads", "https", "json"),
        ("gather", "http", "xml"),
        ("workers", "https", "json"),
        ("provider", "https", "json"),
        ("limit", "https", "xml"),
        ("limit", "http", "v2"),
    ],
)
def test_the_server_counts_what_each_sends(suite: Suite, variant: str, scheme: str, wire: str) -> None:
    found = suite.send(job(suite, variant, scheme=scheme, wire=wire, batch_size=10), latency_ms=5)
    assert (found["messages"], found["repeated"]) == (40, 0)
    # Ten to a request over v2; else at least ten rounds of 5 ms, of which the span has nine.
    assert found["requests"] == 4 if wire == "v2" else found["seconds"] > found["span"] > 0.045
    assert found["cpu"] > 0


def test_a_message_that_is_sent_twice_or_never_is_noticed(suite: Suite) -> None:
    twice = Path(suite.csv(40))
    rows = twice.read_text().splitlines()
    twice.write_text("\n".join([*rows[:-1], rows[1]]) + "\n")
    with pytest.raises(RuntimeError, match="'messages': 40, 'repeated': 1"):
        suite.send(job(suite, "limit"))
    with pytest.raises(RuntimeError, match="'messages': 39"):
        suite.send(job(suite, "provider"))


def test_what_fails_tells_why(suite: Suite) -> None:
    with pytest.raises(RuntimeError, match="FileNotFoundError"):
        suite.send(job(suite, "gather") | {"path": "/nowhere.csv"})


def test_the_page_and_the_picture_are_those_of_the_results(tmp_path: Path) -> None:
    page, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    page.write_text(report.PAGE.read_text())
    for _ in range(2):
        report.write(RESULTS, page, picture)
        assert page.read_text() == report.PAGE.read_text()
        assert picture.read_text() == report.PICTURE.read_text()
    assert set(re.findall(r"<!-- (\w+) -->", page.read_text())) == set(report.BLOCKS)
    slower = copy.deepcopy(RESULTS)
    for run in slower["sending"][0]["runs"]["provider"]:
        run["seconds"] *= 2
    assert report.filled(page.read_text(), slower) != page.read_text()


def test_blocks_of_what_was_not_measured_stay() -> None:
    page = report.PAGE.read_text()
    assert report.filled(page, {name: RESULTS[name] for name in ("machine", "quick")}) == page


def test_targets_are_judged_by_their_bounds() -> None:
    found = targets(RESULTS)
    assert {target.number for target in found} == set(range(1, 9))
    at_least = Target(1, "what", 0.95, 0.9, True, " x", "sending")
    at_most = Target(3, "what", 660, 600, False, " µs", "sending")
    assert (at_least.reached, at_least.margin) == (True, "6% better")
    assert (at_most.reached, at_most.margin) == (False, "10% short")
    assert str(at_most) == (
        "3  NOT REACHED  what: 660 µs (≤ 600 µs), 10% short   [python -m benchmarks --only sending]"
    )
