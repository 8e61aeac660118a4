from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import delivery, planning, reporting, sending
from airflow_provider_telekom_sms.ledger.sending import Outcome, RateLimit
from airflow_provider_telekom_sms.ledger.store import State


def accepted(message, **options):
    return Outcome(message.id, State.ACCEPTED, f"id{message.id}", **options)


def test_claims_come_in_order_and_once(desk, ledger):
    owner = desk.planned(5)
    first = sending.exchange(ledger, owner, [], 2).claimed
    second = sending.exchange(ledger, owner, [], 9).claimed
    assert [m.text for m in first + second] == [f"Ahoj {row}" for row in range(1, 6)]
    assert sending.exchange(ledger, owner, [], 9).claimed == []


def test_what_is_recorded(desk, ledger):
    owner = desk.planned(5)
    one, two, three, four, _ = sending.exchange(ledger, owner, [], 5).claimed
    outcomes = [
        accepted(one, parts=3),
        Outcome(two.id, State.REJECTED, reason="WRONG: nie"),
        Outcome(three.id, State.IN_DOUBT, reason="time-out"),
        Outcome(four.id, State.PLANNED, reason="refused"),
    ]
    assert sending.exchange(ledger, owner, outcomes, 0).recorded == 4
    assert list(desk.states().values()) == ["accepted", "rejected", "in_doubt", "planned", "claimed"]
    row = desk.row(1)
    assert (row["message_id"], row["parts"], row["owner_id"]) == (f"id{one.id}", 3, owner.id)
    assert row["next_check_at"] == row["state_at"]
    assert desk.row(2)["reason"] == "WRONG: nie"
    assert (desk.row(4)["owner_id"], desk.row(4)["reason"]) == (None, "refused")
    assert [m.id for m in sending.exchange(ledger, owner, [], 9).claimed] == [four.id]
    assert desk.row(4)["reason"] is None


def test_texts_are_erased_once_accepted_unless_they_are_kept(desk, ledger):
    owner = desk.planned(4)
    one, two, three, four = sending.exchange(ledger, owner, [], 4).claimed
    outcomes = [
        accepted(one),
        accepted(two, keep_text=True),
        Outcome(three.id, State.IN_DOUBT),
        Outcome(four.id, State.PLANNED),
    ]
    sending.exchange(ledger, owner, outcomes, 0)
    assert [desk.row(row)["text"] for row in (1, 2, 3, 4)] == [None, "Ahoj 2", "Ahoj 3", "Ahoj 4"]


def test_an_accepted_message_never_changes(desk, ledger):
    owner = desk.planned(1)
    [message] = sending.exchange(ledger, owner, [], 1).claimed
    sending.exchange(ledger, owner, [accepted(message)], 0)
    for state in (State.PLANNED, State.IN_DOUBT, State.REJECTED):
        sending.exchange(ledger, owner, [Outcome(message.id, state, "other")], 0)
    sending.requeue(ledger, owner, State.IN_DOUBT)
    sending.requeue(ledger, owner, State.REJECTED)
    planning.begin(ledger, "campaign", "slot")
    assert desk.states() == {1: "accepted"}
    assert desk.row(1)["message_id"] == f"id{message.id}"


def test_an_outcome_twice_is_an_outcome_once(desk, ledger):
    owner = desk.planned(2)
    one, two = sending.exchange(ledger, owner, [], 2).claimed
    outcomes = [accepted(one), Outcome(two.id, State.PLANNED)]
    for _ in range(2):
        sending.exchange(ledger, owner, outcomes, 0)
    assert desk.states() == {1: "accepted", 2: "planned"}


# --- superseded owners -------------------------------------------------------------------------------------


def test_a_superseded_owner_claims_nothing_but_its_outcomes_count(desk, ledger):
    zombie = desk.planned(4)
    one, two, three, _ = sending.exchange(ledger, zombie, [], 4).claimed
    desk.begin()
    assert set(desk.states().values()) == {"in_doubt"}
    outcomes = [
        accepted(one),
        Outcome(two.id, State.PLANNED),
        Outcome(three.id, State.REJECTED, reason="WRONG"),
    ]
    assert sending.exchange(ledger, zombie, outcomes, 9) == sending.Exchange([], 3, halted="superseded")
    assert desk.states() == {1: "accepted", 2: "planned", 3: "rejected", 4: "in_doubt"}
    assert desk.row(1)["message_id"] == f"id{one.id}"
    assert desk.row(2)["owner_id"] is None


def test_an_outcome_of_a_zombie_settles_what_is_to_be_sent_again(desk, ledger):
    zombie = desk.planned(2)
    one, _ = sending.exchange(ledger, zombie, [], 2).claimed
    heir = desk.begin()
    assert sending.requeue(ledger, heir, State.IN_DOUBT) == 2
    sending.exchange(ledger, zombie, [accepted(one)], 0)
    assert [m.text for m in sending.exchange(ledger, heir, [], 9).claimed] == ["Ahoj 2"]
    assert desk.states() == {1: "accepted", 2: "claimed"}


def test_an_outcome_of_a_zombie_does_not_touch_what_its_heir_claimed(desk, ledger):
    zombie = desk.planned(1)
    [message] = sending.exchange(ledger, zombie, [], 1).claimed
    heir = desk.begin()
    sending.requeue(ledger, heir, State.IN_DOUBT)
    [again] = sending.exchange(ledger, heir, [], 1).claimed
    assert again == message
    for state in (State.PLANNED, State.IN_DOUBT, State.REJECTED):
        sending.exchange(ledger, zombie, [Outcome(message.id, state)], 0)
    assert desk.states() == {1: "claimed"}
    assert desk.row(1)["owner_id"] == heir.id


def test_a_superseded_owner_makes_nothing_sendable(desk, ledger):
    zombie = desk.planned(1)
    [message] = sending.exchange(ledger, zombie, [], 1).claimed
    sending.exchange(ledger, zombie, [Outcome(message.id, State.IN_DOUBT)], 0)
    desk.begin()
    assert sending.requeue(ledger, zombie, State.IN_DOUBT) == 0
    assert desk.states() == {1: "in_doubt"}


def test_only_what_was_asked_for_is_sent_again(desk, ledger):
    owner = desk.begin()
    first = desk.plan(owner, 3)
    desk.plan(owner, 2, first=10)
    claimed = sending.exchange(ledger, owner, [], 9).claimed
    states = [State.IN_DOUBT, State.REJECTED, State.ACCEPTED, State.IN_DOUBT, State.REJECTED]
    sending.exchange(ledger, owner, [Outcome(m.id, s, "1") for m, s in zip(claimed, states, strict=True)], 0)
    assert sending.requeue(ledger, owner, State.REJECTED, first) == 1
    assert list(desk.states().values()) == ["in_doubt", "planned", "accepted", "in_doubt", "rejected"]
    assert sending.requeue(ledger, owner, State.IN_DOUBT) == 2
    assert list(desk.states().values()) == ["planned", "planned", "accepted", "planned", "rejected"]


# --- one transaction ---------------------------------------------------------------------------------------


def test_an_exchange_is_one_transaction(desk, ledger, monkeypatch):
    """Where the claim fails nothing is recorded, and the other way round."""
    owner = desk.planned(4)
    one, two = sending.exchange(ledger, owner, [], 2).claimed

    def broken(*_):
        raise sa.exc.OperationalError("UPDATE", {}, OSError("gone"))

    for name in ("_claim", "_record"):
        with monkeypatch.context() as patch:
            patch.setattr(sending, name, broken)
            with pytest.raises(LedgerError):
                sending.exchange(ledger, owner, [accepted(one), accepted(two)], 2)
        assert list(desk.states().values()) == ["claimed", "claimed", "planned", "planned"]


def test_a_claim_is_in_the_file_before_it_is_given(desk, ledger):
    owner = desk.planned(2)
    sending.exchange(ledger, owner, [], 1)
    assert desk.states()[1] == "claimed"  # read over another connection


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_a_campaign_that_is_halted_gives_nothing_and_takes_outcomes(desk, ledger, state):
    owner = desk.planned(2)
    [message] = sending.exchange(ledger, owner, [], 1).claimed
    desk.sql("UPDATE telekom_sms_campaign SET state = ?", state)
    assert sending.exchange(ledger, owner, [accepted(message)], 1).halted == state
    assert desk.states() == {1: "accepted", 2: "planned"}


def test_one_plan_only(desk, ledger):
    owner = desk.begin()
    desk.plan(owner, 2)
    second = desk.plan(owner, 2, first=3)
    claimed = sending.exchange(ledger, owner, [], 9, plans=[second]).claimed
    assert [m.text for m in claimed] == ["Ahoj 3", "Ahoj 4"]


# --- several at once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 4])
def test_processes_never_get_the_same_message(desk, ledger, processes, number):
    owner = desk.planned(3000)
    planning.end(ledger, owner)
    ids = processes(number, "drain", desk.address, 37)
    everything = [i for mine in ids for i in mine]
    assert len(everything) == len(set(everything)) == 3000
    assert reporting.counts(ledger, owner.campaign_id).accepted == 3000
    by_owner = dict(desk.sql("SELECT owner_id, count(*) FROM telekom_sms_message GROUP BY owner_id"))
    assert sorted(by_owner.values()) == sorted(len(mine) for mine in ids if mine)
    assert sum(1 for mine in ids if mine) > 1, "only one process claimed: nothing was shown"


def test_threads_never_get_the_same_message(desk, ledger):
    owner = desk.planned(1000)
    owners = [owner, *(desk.begin(slot=f"slot {i}") for i in range(3))]
    got = [[] for _ in owners]

    def drain(mine, owner):
        while claimed := sending.exchange(ledger, owner, [], 20).claimed:
            mine += [m.id for m in claimed]

    threads = [threading.Thread(target=drain, args=pair) for pair in zip(got, owners, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [i for mine in got for i in mine]
    assert len(everything) == len(set(everything)) == 1000


# --- the rate limit ----------------------------------------------------------------------------------------


def pace(ledger, owner, clock, per_second, number):
    """Claim so many as a worker does; give the moments."""
    moments = []
    end = clock.now + 10
    while len(moments) < number:
        assert clock.now < end, "nothing is granted any more"
        had = sending.exchange(ledger, owner, [], number - len(moments), rate=RateLimit("key", per_second))
        moments += [clock.now] * len(had.claimed)
        clock.now += had.wait + 0.001
    return moments


@pytest.mark.parametrize(("per_second", "number"), [(100, 100), (10, 9)])
def test_a_rate_is_kept(desk, ledger, clock, per_second, number):
    owner = desk.planned(number)
    moments = pace(ledger, owner, clock, per_second, number)
    seconds = moments[-1] - moments[0]
    window = 1 + int(sending.RATE_WINDOW * per_second)
    assert (number - window) / per_second <= seconds <= 1.3 * number / per_second + 0.3
    for first, moment in enumerate(moments):
        in_a_second = sum(1 for m in moments[first:] if m < moment + 1)
        assert in_a_second <= per_second + window


def test_a_rate_is_kept_by_all_who_share_the_ledger(desk, ledger, processes):
    """By the best of several rounds: what a busy machine is late for is never caught up."""
    desk.planned(2000)

    def kept():
        moments = sorted(m for mine in processes(2, "limited", desk.address, 60, 1.5) for m in mine)
        rate = (len(moments) - 1) / (moments[-1] - moments[0])
        print(f"two at 60/s had {rate:.1f}/s")
        return 0.75 * 60 <= rate <= 1.15 * 60

    assert any(kept() for _ in range(8))


def test_keys_have_limits_of_their_own(desk, ledger, clock):
    owner = desk.planned(9)
    sending.exchange(ledger, owner, [], 1, rate=RateLimit("key", 1))
    assert sending.exchange(ledger, owner, [], 1, rate=RateLimit("key", 1)).claimed == []
    assert len(sending.exchange(ledger, owner, [], 1, rate=RateLimit("another", 1)).claimed) == 1
    assert len(sending.exchange(ledger, owner, [], 1).claimed) == 1
    assert "another" not in str(desk.sql("SELECT * FROM telekom_sms_rate"))


def test_what_was_granted_and_not_used_is_given_back(desk, ledger, clock):
    owner = desk.planned(1)
    rate = RateLimit("key", 10)
    assert len(sending.exchange(ledger, owner, [], 3, rate=rate).claimed) == 1
    last = sending.exchange(ledger, owner, [], 3, rate=rate)
    assert last.claimed == []
    [[next_at]] = desk.sql("SELECT next_at FROM telekom_sms_rate")
    assert next_at / 1e6 - clock.now < 0.15


def test_an_empty_campaign_does_not_wait_for_the_rate(desk, ledger):
    owner = desk.planned(1)
    rate = RateLimit("key", 100)
    assert sending.exchange(ledger, owner, [], 9, rate=rate).wait == 0
    time.sleep(0.02)
    assert sending.exchange(ledger, owner, [], 9, rate=rate) == sending.Exchange([])


def test_a_clock_that_was_set_back_stops_nobody(desk, ledger, clock):
    owner = desk.planned(60)
    rate = RateLimit("key", 50)
    sending.exchange(ledger, owner, [], 1, rate=rate)
    desk.sql("UPDATE telekom_sms_rate SET next_at = next_at + 86400000000")  # a day
    began = clock.now
    waited = sending.exchange(ledger, owner, [], 1, rate=rate).wait
    assert 0 < waited < 1.3
    pace(ledger, owner, clock, 50, 9)
    assert clock.now - began < 2.5


# --- speed -------------------------------------------------------------------------------------------------


@pytest.fixture
def explained(file_desk):
    ledger = file_desk.ledger

    """Give how SQLite carries out the statements of a function that hold some words."""

    def explain(function, *words):
        seen = []
        sa.event.listen(ledger.engine, "before_cursor_execute", listen := lambda *a: seen.append(a[2:4]))
        function()
        sa.event.remove(ledger.engine, "before_cursor_execute", listen)
        found = [one for one in seen if all(word in one[0] for word in words)]
        assert found
        with ledger.reading() as connection:
            return [
                " | ".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values))
                for sql, values in found
            ]

    return explain


def test_claims_are_found_by_an_index(file_desk, explained):
    ledger = file_desk.ledger
    owner = file_desk.planned(3)
    [way] = explained(lambda: sending.exchange(ledger, owner, [], 2), "telekom_sms_message SET", "LIMIT")
    assert "telekom_sms_message_planned" in way


def test_a_long_report_is_neither_sorted_nor_scanned(file_desk, explained):
    ledger = file_desk.ledger
    owner = file_desk.planned(3)
    for way in explained(lambda: list(reporting.messages(ledger, owner.campaign_id)), "LIMIT"):
        assert "telekom_sms_message_plan (plan_id=? AND row>?)" in way
        assert "B-TREE" not in way


def test_what_is_due_is_found_by_an_index(file_desk, explained):
    ledger = file_desk.ledger
    owner = file_desk.planned(3)
    sending.exchange(ledger, owner, [accepted(sending.exchange(ledger, owner, [], 1).claimed[0])], 0)
    scope = delivery.Scope("campaign")
    [way] = explained(lambda: delivery.due(ledger, scope, 9), "trouble_since")
    assert "telekom_sms_message_due (campaign_id=? AND next_check_at<?)" in way
    assert "B-TREE" not in way
    ids = delivery.Scope(message_ids=("1", "2"))
    [way] = explained(lambda: delivery.due(ledger, ids, 9), "trouble_since")
    assert "telekom_sms_message_id (message_id=?)" in way
