from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from airflow_provider_telekom_sms.exceptions import (
    CampaignBusyError,
    LedgerError,
    PlanError,
    SupersededError,
)
from airflow_provider_telekom_sms.ledger import planning, reporting, sending
from airflow_provider_telekom_sms.ledger.planning import CHUNK, LEASE_MS, PlannedRow
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import State

# --- owners ------------------------------------------------------------------------------------------------


def test_the_next_try_of_a_slot_supersedes_it(desk, ledger):
    first = desk.planned(4)
    claimed = sending.exchange(ledger, first, [], 2).claimed
    second = desk.begin()
    assert second.id > first.id
    assert desk.states() == {1: "in_doubt", 2: "in_doubt", 3: "planned", 4: "planned"}
    assert "before the outcome was recorded" in desk.row(1)["reason"]
    assert sending.exchange(ledger, first, [], 2) == sending.Exchange([], halted="superseded")
    assert len(sending.exchange(ledger, second, [], 9).claimed) == 2
    assert {message.id for message in claimed} == {desk.row(1)["id"], desk.row(2)["id"]}


def test_another_slot_and_another_campaign_leave_it_alone(desk, ledger):
    first = desk.planned(2)
    assert len(sending.exchange(ledger, first, [], 1).claimed) == 1
    desk.begin(slot="another slot")
    desk.begin(campaign="another campaign")
    assert desk.states() == {1: "claimed", 2: "planned"}
    assert len(sending.exchange(ledger, first, [], 1).claimed) == 1


def test_a_lease_runs_out_by_the_databases_clock(desk, ledger):
    first = desk.planned(2)
    sending.exchange(ledger, first, [], 1)
    desk.sql("UPDATE telekom_sms_owner SET lease_until = lease_until - ?", LEASE_MS - 60_000)
    desk.begin(slot="a minute too early")
    assert desk.states()[1] == "claimed"
    desk.sql("UPDATE telekom_sms_owner SET lease_until = lease_until - ?", 60_001)
    desk.begin(slot="in time")
    assert desk.states()[1] == "in_doubt"
    assert sending.exchange(ledger, first, [], 1).halted == "superseded"


def test_every_exchange_and_every_chunk_renews_the_lease(desk, ledger):
    def lease():
        return desk.sql("SELECT lease_until FROM telekom_sms_owner WHERE id = ?", owner.id)[0][0]

    def age():
        desk.sql("UPDATE telekom_sms_owner SET lease_until = 1")

    owner = desk.begin()
    plan_id = planning.begin_plan(ledger, owner, "", "{}", fallback=False)
    age()
    planning.add(ledger, owner, plan_id, desk.rows(1, 2))
    assert lease() > 1
    age()
    planning.finish_plan(ledger, owner, plan_id)
    assert lease() > 1
    age()
    sending.exchange(ledger, owner, [], 0)
    assert lease() > 1


def test_the_end_of_a_try_leaves_its_claims_in_doubt(desk, ledger):
    owner = desk.planned(3)
    claimed = sending.exchange(ledger, owner, [], 2).claimed
    sending.exchange(ledger, owner, [Outcome(claimed[0].id, State.ACCEPTED, "1")], 0)
    planning.end(ledger, owner)
    planning.end(ledger, owner)
    assert desk.states() == {1: "accepted", 2: "in_doubt", 3: "planned"}
    assert sending.exchange(ledger, owner, [], 2).halted == "superseded"


# --- campaigns ---------------------------------------------------------------------------------------------

NAMES = [
    "x" * 300,
    "x" * 299 + "y",
    "dag/task/run/2",
    "dag/task/run /2",
    "manual__2026-01-01T00:00:00+00:00",
    "manual__2026-01-01T00:00:00 00:00",
    "kampaň č. 1 – žltý kôň 🐎",
    "Kampaň č. 1 – žltý kôň 🐎",
    "%s {0} ' \" ; --",
]


def test_names_of_campaigns(desk, ledger):
    owners = {name: desk.begin(campaign=name) for name in NAMES}
    assert len({owner.campaign_id for owner in owners.values()}) == len(NAMES)
    for name, owner in owners.items():
        assert desk.begin(campaign=name).campaign_id == owner.campaign_id
        assert reporting.campaign_number(ledger, name) == owner.campaign_id
    with pytest.raises(LedgerError, match="no campaign 'another'"):
        reporting.campaign_number(ledger, "another")


def test_slots_may_be_long_and_strange_too(desk):
    first = desk.begin(slot="š" * 1000)
    desk.begin(slot="š" * 1000 + " ")
    open_owners = desk.sql("SELECT count(*) FROM telekom_sms_owner WHERE ended_at IS NULL")
    assert open_owners == [(2,)]
    assert desk.begin(slot="š" * 1000).id != first.id
    assert desk.sql("SELECT count(*) FROM telekom_sms_owner WHERE ended_at IS NULL") == [(2,)]


# --- plans -------------------------------------------------------------------------------------------------


def test_nothing_is_claimed_from_half_a_plan(desk, ledger):
    owner = desk.begin()
    plan_id = desk.plan(owner, 5, finish=False)
    assert sending.exchange(ledger, owner, [], 9).claimed == []
    assert sending.exchange(ledger, owner, [], 9, plans=[plan_id]).claimed == []
    planning.finish_plan(ledger, owner, plan_id)
    assert len(sending.exchange(ledger, owner, [], 9).claimed) == 5


def test_a_key_is_once_in_a_campaign(desk, ledger):
    first = desk.begin()
    desk.plan(first, 3)
    second = desk.begin(slot="another run")
    plan_id = planning.begin_plan(ledger, second, "", "{}", fallback=False)
    planning.add(ledger, second, plan_id, desk.rows(2, 3))
    planning.finish_plan(ledger, second, plan_id)
    counted = reporting.counts(ledger, second.campaign_id, plan_id)
    assert (counted.planned, counted.duplicate) == (1, 2)
    reasons = {m.row: m.reason for m in reporting.messages(ledger, second.campaign_id, plan_id)}
    assert reasons == {
        2: "the same as row 2 of an earlier plan of this campaign",
        3: "the same as row 3 of an earlier plan of this campaign",
        4: None,
    }
    other = desk.begin(campaign="another campaign")
    desk.plan(other, 3)
    assert reporting.counts(ledger, other.campaign_id).planned == 3


def test_duplicates_are_named_with_their_row(desk, ledger):
    owner = desk.begin()
    plan_id = planning.begin_plan(ledger, owner, "", "{}", fallback=False)
    [row] = desk.rows(1, 1)

    def same(number):
        return PlannedRow(number, State.PLANNED, row.key_hash, None, row.phone, row.text, 1)

    planning.add(ledger, owner, plan_id, [same(7), same(8)])  # in one chunk
    planning.add(ledger, owner, plan_id, [same(9)])  # in another
    found = {m.row: (m.state, m.reason, m.text) for m in reporting.messages(ledger, owner.campaign_id)}
    assert found == {
        7: ("planned", None, "Ahoj 1"),
        8: ("duplicate", "the same as row 7", None),
        9: ("duplicate", "the same as row 7", None),
    }


def test_two_runs_that_plan_the_same_at_once(desk, ledger):
    """Whoever comes first: each key is planned once."""
    owners = [desk.begin(slot=f"slot {i}") for i in range(4)]
    start = threading.Barrier(4)
    troubles = []

    def plan(owner):
        try:
            start.wait()
            plan_id = None
            while plan_id is None:
                try:
                    plan_id = planning.begin_plan(ledger, owner, "", "{}", fallback=False)
                except CampaignBusyError:
                    time.sleep(0.01)
            for first in range(1, 601, 100):
                planning.add(ledger, owner, plan_id, desk.rows(first, 100))
            planning.finish_plan(ledger, owner, plan_id)
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=plan, args=[owner]) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = reporting.counts(ledger, owners[0].campaign_id)
    assert troubles == []
    assert (counted.planned, counted.duplicate) == (600, 1800)


def test_a_try_that_died_while_planning_is_planned_anew(desk, ledger):
    dead = desk.begin()
    desk.plan(dead, CHUNK + 5, finish=False)
    alive = desk.begin()
    assert planning.plan_of(ledger, alive) is None
    desk.plan(alive, 4)
    assert desk.states() == dict.fromkeys(range(1, 5), "planned")
    assert desk.sql("SELECT count(*) FROM telekom_sms_plan") == [(1,)]


def test_half_a_plan_of_another_slot_does_not_keep_its_keys(desk, ledger):
    """Its rows would be duplicates of something that nobody will ever send."""
    dead = desk.begin(slot="yesterday")
    desk.plan(dead, 4, finish=False)
    planning.end(ledger, dead)
    alive = desk.begin(slot="today")
    plan_id = desk.plan(alive, 4)
    assert reporting.counts(ledger, alive.campaign_id, plan_id).planned == 4
    assert len(sending.exchange(ledger, alive, [], 9).claimed) == 4


def test_half_a_plan_of_a_slot_that_lives_is_left_alone(desk, ledger):
    """What it holds may never be sent, so nobody else can tell what is a duplicate until it is done."""
    busy, other = desk.begin(slot="busy"), desk.begin(slot="another")
    plan_id = desk.plan(busy, 2, finish=False)
    with pytest.raises(CampaignBusyError):
        desk.plan(other, 2, first=3)
    planning.add(ledger, busy, plan_id, desk.rows(5, 1))
    planning.finish_plan(ledger, busy, plan_id)
    desk.plan(other, 2, first=3)
    assert desk.states() == dict.fromkeys((1, 2, 3, 4, 5), "planned")


def test_half_a_plan_of_a_slot_that_is_silent_is_removed(desk, ledger, clock):
    other = desk.begin(slot="another")
    desk.plan(desk.begin(slot="killed"), 2, finish=False)
    with pytest.raises(CampaignBusyError):
        desk.plan(other, 2)
    clock.now += LEASE_MS / 1000 + 1
    with pytest.raises(CampaignBusyError):  # it declares the silent one dead
        desk.plan(other, 2)
    desk.plan(other, 2)
    assert desk.states() == {1: "planned", 2: "planned"}


def test_a_plan_that_another_run_relies_on_is_not_removed(desk, ledger):
    first = desk.plan(desk.begin(slot="first"), 3)
    desk.plan(desk.begin(slot="second"), 2, first=2)
    with pytest.raises(PlanError, match="another run has left out rows"):
        planning.remove_plan(ledger, first)
    assert desk.states()[1] == "planned"


def test_a_slow_source_keeps_the_lease(desk, ledger, monkeypatch):
    monkeypatch.setattr(planning, "LEASE_MS", 2000)
    owner = desk.begin(slot="slow")
    with planning.kept_alive(ledger, owner):
        time.sleep(2.5)
        desk.begin(slot="another")
    desk.plan(owner, 1)


def test_a_superseded_try_plans_nothing_more(desk, ledger):
    """The next try may be removing what this one planned, even while it finishes."""
    zombie = desk.begin()
    plan_id = desk.plan(zombie, 2, finish=False)
    desk.begin()
    with pytest.raises(SupersededError):
        planning.add(ledger, zombie, plan_id, desk.rows(3, 1))
    with pytest.raises(SupersededError):
        planning.finish_plan(ledger, zombie, plan_id)
    assert desk.states() == {1: "planned", 2: "planned"}
    assert sending.exchange(ledger, desk.begin(), [], 9).claimed == []


def test_a_plan_is_found_by_the_next_try(desk, ledger):
    owner = desk.begin()
    plan_id = desk.plan(owner, 2)
    found = planning.plan_of(ledger, desk.begin())
    assert found == planning.Plan(plan_id, "print", "ready")
    assert planning.plan_of(ledger, desk.begin(slot="another")) is None
    assert planning.plan_of(ledger, desk.begin(campaign="another")) is None


def test_a_plan_of_which_nothing_was_claimed_is_removed(desk, ledger):
    owner = desk.begin()
    plan_id = desk.plan(owner, CHUNK * 5 + 1)
    claimed = sending.exchange(ledger, owner, [], 2).claimed
    sending.exchange(ledger, owner, [Outcome(m.id, State.PLANNED) for m in claimed], 0)
    planning.remove_plan(ledger, plan_id)
    assert desk.states() == {}
    assert desk.sql("SELECT count(*) FROM telekom_sms_plan") == [(0,)]


@pytest.mark.parametrize("state", [State.CLAIMED, State.ACCEPTED, State.REJECTED, State.IN_DOUBT])
@pytest.mark.parametrize("resend", [False, True])
def test_a_plan_of_which_something_was_claimed_is_not_removed(desk, ledger, state, resend):
    owner = desk.begin()
    plan_id = desk.plan(owner, 3)
    [message] = sending.exchange(ledger, owner, [], 1).claimed
    if state is not State.CLAIMED:
        sending.exchange(ledger, owner, [Outcome(message.id, state, "7")], 0)
    if resend:
        sending.requeue(ledger, owner, state)
    with pytest.raises(PlanError, match="1 of its messages were already claimed"):
        planning.remove_plan(ledger, plan_id)
    assert len(desk.states()) == 3
    assert len(sending.exchange(ledger, owner, [], 2).claimed) == 2


def test_a_clock_that_was_set_back(desk, ledger, monkeypatch):
    """The dead do not live on for as long, and all else goes on."""
    dead = desk.begin(slot="dead")
    planning.begin_plan(ledger, dead, "print", "{}", fallback=False)
    now, back = ledger.now, [86_400_000]
    monkeypatch.setattr(ledger, "now", lambda connection: now(connection) - back[0])
    owner = desk.begin(slot="slot")
    with pytest.raises(CampaignBusyError):
        desk.plan(owner)
    back[0] -= LEASE_MS + 1
    with pytest.raises(CampaignBusyError):
        desk.plan(owner)  # sees that the other is dead; the next look removes what it left
    desk.plan(owner, 3)
    claimed = sending.exchange(ledger, owner, [], 2).claimed
    assert len(claimed) == 2
    again = desk.begin(slot="slot")
    assert Counter(desk.states().values()) == {"in_doubt": 2, "planned": 1}
    assert len(sending.exchange(ledger, again, [], 9).claimed) == 1
    assert planning.end(ledger, again)
