"""The same alert goes once within its time, whoever raises it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.ledger.throttle import LONGEST, claim, give_back
from tests.at_once import at_once
from tests.ledger.older import make_older

HOUR = timedelta(hours=1)


def test_one_in_its_time(ledger: Ledger, clock: SimpleNamespace) -> None:
    first = claim(ledger, "a", HOUR)
    assert first
    assert first.held_back == 0
    assert [claim(ledger, "a", HOUR) for _ in range(3)] == [None] * 3
    assert claim(ledger, "b", HOUR)
    clock.now += 3599
    assert claim(ledger, "a", HOUR) is None
    clock.now += 1
    second = claim(ledger, "a", HOUR)
    assert second
    assert second.held_back == 4
    clock.now += 3600
    third = claim(ledger, "a", HOUR)
    assert third
    assert third.held_back == 0


def test_a_throttle_that_was_shortened_holds_at_once(ledger: Ledger, clock: SimpleNamespace) -> None:
    assert claim(ledger, "a", timedelta(days=1))
    clock.now += 61
    assert claim(ledger, "a", timedelta(minutes=1))


def test_what_was_surely_not_sent_is_given_back(ledger: Ledger, clock: SimpleNamespace) -> None:
    assert claim(ledger, "a", HOUR)
    claim(ledger, "a", HOUR)
    clock.now += 3600
    failed = claim(ledger, "a", HOUR)
    assert failed
    assert failed.held_back == 1
    assert claim(ledger, "a", HOUR) is None
    give_back(ledger, failed)
    next_one = claim(ledger, "a", HOUR)
    assert next_one
    # The one that was told of, the one that waited meanwhile, and the failed one itself.
    assert next_one.held_back == 3
    assert claim(ledger, "a", HOUR) is None


def test_a_late_give_back_frees_nobody_elses_claim(ledger: Ledger, clock: SimpleNamespace) -> None:
    late = claim(ledger, "a", HOUR)
    assert late
    clock.now += 3600
    assert claim(ledger, "a", HOUR)
    give_back(ledger, late)
    assert claim(ledger, "a", HOUR) is None


def test_a_clock_that_is_set_back_silences_nobody(ledger: Ledger, clock: SimpleNamespace) -> None:
    assert claim(ledger, "a", HOUR)
    clock.now -= 7200
    assert claim(ledger, "a", HOUR)


def test_keys_are_hashed_and_forgotten(desk: Any, ledger: Ledger, clock: SimpleNamespace) -> None:
    for run in range(20):
        assert claim(ledger, f"dag\0run {run}", HOUR)
    rows = desk.sql("SELECT key_hash FROM telekom_sms_throttle")
    assert len(rows) == 20
    assert all("run" not in key and len(key) == 64 for (key,) in rows)
    clock.now += 3 * LONGEST.total_seconds() + 1
    assert claim(ledger, "another", HOUR)
    assert len(desk.sql("SELECT key_hash FROM telekom_sms_throttle")) == 1


def test_an_older_ledger_gets_the_table(desk: Any) -> None:
    make_older(desk, 2)
    again = Ledger(desk.url)
    assert claim(again, "a", HOUR)
    again.close()
    assert desk.sql("SELECT schema_version FROM telekom_sms_ledger") == [(schema.SCHEMA_VERSION,)]


def claimer(address: str) -> Callable[[], bool]:
    """Be ready to claim, in a process of its own."""
    ledger = Ledger(address)
    with ledger.reading() as connection:
        ledger.now(connection)
    return lambda: claim(ledger, "dag", HOUR) is not None


def test_processes_that_fail_at_once(desk: Any) -> None:
    number = 50  # the PostgreSQL here takes a hundred connections
    assert claim(desk.ledger, "dag", HOUR)
    desk.sql("UPDATE telekom_sms_throttle SET last_at = last_at - ?", 3_600_001)
    told = Counter(at_once(number, f"{__name__}:claimer", desk.address, preload="psycopg"))
    assert told == {True: 1, False: number - 1}
    assert desk.sql("SELECT held_back, number FROM telekom_sms_throttle") == [(number - 1, 2)]
