from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sa

from airflow_provider_telekom_sms.exceptions import CancelledError, ConfigurationError, LedgerError
from airflow_provider_telekom_sms.ledger import (
    actions,
    delivery,
    planning,
    purging,
    reporting,
    sending,
    store,
)
from airflow_provider_telekom_sms.ledger.actions import read_rows
from airflow_provider_telekom_sms.ledger.planning import CHUNK, LEASE_MS, PlannedRow
from airflow_provider_telekom_sms.ledger.purging import Purged
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State

WHO = {"actor": "Jana", "reason": "the operator's list says so"}
DAY = timedelta(days=1)
DAY_MS = 86_400_000


@pytest.fixture
def doubtful(desk, ledger):
    """Rows 1 to 3 are in doubt, 4 is accepted, 5 rejected, 6 planned; give the try that left them so."""
    return _doubtful(desk, ledger)


def _doubtful(desk, ledger, **options):
    owner = desk.planned(6, **options)
    claimed = sending.exchange(ledger, owner, [], 5).claimed
    states = [State.IN_DOUBT] * 3 + [State.ACCEPTED, State.REJECTED]
    outcomes = [
        Outcome(m.id, state, "100" if state is State.ACCEPTED else None, reason=f"said of {m.phone}")
        for m, state in zip(claimed, states, strict=True)
    ]
    sending.exchange(ledger, owner, outcomes, 0)
    return owner


def settle(ledger, decision, rows=None, **options):
    return actions.settle(ledger, "campaign", decision, rows=rows, **{**WHO, **options})


def everything(desk):
    return desk.sql("SELECT * FROM telekom_sms_message ORDER BY id")


def log_of(ledger, campaign="campaign"):
    return [(a.action, a.actor, a.reason, a.row) for a in actions.history(ledger, campaign)]


def age(desk, days=2, campaign="campaign"):
    """Let a campaign be older than it is."""
    by = days * DAY_MS
    number = "(SELECT id FROM telekom_sms_campaign WHERE name = ?)"
    desk.sql("UPDATE telekom_sms_campaign SET created_at = created_at - ? WHERE name = ?", by, campaign)
    desk.sql(
        f"UPDATE telekom_sms_plan SET created_at = created_at - ? WHERE campaign_id = {number}", by, campaign
    )
    desk.sql(
        f"UPDATE telekom_sms_message SET state_at = state_at - ? WHERE campaign_id = {number}", by, campaign
    )
    desk.sql(
        f"UPDATE telekom_sms_owner SET lease_until = lease_until - ? WHERE campaign_id = {number}",
        by,
        campaign,
    )


def purge(ledger, older_than=DAY, **options):
    return purging.purge(ledger, older_than, **WHO, **options)


# --- the campaign as a whole --------------------------------------------------------------------------------


def test_a_paused_campaign_gives_nothing_until_it_is_resumed(desk, ledger):
    owner = desk.planned(3)
    assert len(sending.exchange(ledger, owner, [], 1).claimed) == 1
    assert actions.pause(ledger, "campaign", **WHO) == "active"
    assert sending.exchange(ledger, owner, [], 1).halted == "paused"
    assert actions.resume(ledger, "campaign", **WHO) == "paused"
    assert len(sending.exchange(ledger, owner, [], 1).claimed) == 1
    assert [entry[0] for entry in log_of(ledger)] == ["pause", "resume"]


def test_what_is_so_already_is_not_recorded_again(desk, ledger):
    desk.planned(1)
    assert actions.resume(ledger, "campaign", **WHO) == "active"
    for act, was in ((actions.pause, "active"), (actions.pause, "paused"), (actions.cancel, "paused")):
        assert act(ledger, "campaign", **WHO) == was
    assert actions.cancel(ledger, "campaign", **WHO) == "cancelled"
    assert [entry[0] for entry in log_of(ledger)] == ["pause", "cancel"]


def test_to_cancel_is_final(desk, ledger):
    owner = desk.planned(2)
    actions.cancel(ledger, "campaign", actor="Jana", reason="wrong text; ask 0903 123 456")
    assert sending.exchange(ledger, owner, [], 2).halted == "cancelled"
    for act in (actions.resume, actions.pause):
        with pytest.raises(CancelledError, match="by Jana: wrong text"):
            act(ledger, "campaign", **WHO)
    with pytest.raises(CancelledError, match=r"by Jana: wrong text; ask \+4219••••3456"):
        desk.begin()
    assert desk.sql("SELECT state FROM telekom_sms_campaign") == [("cancelled",)]
    assert [entry[0] for entry in log_of(ledger)] == ["cancel"]


@pytest.mark.parametrize("how", ["pause", "resume", "cancel"])
def test_what_a_dead_try_had_claimed_is_in_doubt_then(desk, ledger, how):
    owner = desk.planned(2)
    sending.exchange(ledger, owner, [], 1)
    getattr(actions, how)(ledger, "campaign", **WHO)
    assert desk.states()[1] == "claimed"  # it may be alive
    assert actions.in_doubt(ledger, "campaign") == []
    desk.sql("UPDATE telekom_sms_owner SET lease_until = lease_until - ?", LEASE_MS + 1)
    # Whoever looks before he settles sees what will be settled.
    assert [(doubt.row, doubt.reason) for doubt in actions.in_doubt(ledger, "campaign")] == [
        (1, "its sender is dead")
    ]
    getattr(actions, how)(ledger, "campaign", **WHO)
    assert desk.states() == {1: "in_doubt", 2: "planned"}


@pytest.mark.parametrize(
    "act",
    [
        actions.pause,
        actions.resume,
        actions.cancel,
        lambda ledger, campaign, **who: actions.settle(ledger, campaign, "drop", **who),
    ],
    ids=["pause", "resume", "cancel", "settle"],
)
def test_who_why_and_what(desk, ledger, act):
    with pytest.raises(LedgerError, match="no campaign 'campaign'"):
        act(ledger, "campaign", **WHO)
    desk.planned(1)
    for missing in ("actor", "reason"):
        for nothing in ("", " \n", None):
            with pytest.raises(ConfigurationError, match=rf"^{missing}: found nothing"):
                act(ledger, "campaign", **{**WHO, missing: nothing})
    assert log_of(ledger) == []
    assert desk.sql("SELECT state FROM telekom_sms_campaign") == [("active",)]


def test_the_history_has_the_databases_time_and_no_numbers(desk, ledger):
    name = "jar/2026 ťah " + "x" * 300
    desk.planned(1, campaign=name)
    desk.planned(1, campaign="another")
    with ledger.reading() as connection:
        before = ledger.now(connection)
    actions.pause(ledger, name, actor=" Jana\0\ud800 ", reason="asked by 0903 123 456")
    actions.pause(ledger, "another", **WHO)
    [action] = actions.history(ledger, name)
    assert before <= action.at <= before + 60_000
    assert (action.actor, action.reason) == ("Jana??", "asked by +4219••••3456")


# --- messages in doubt --------------------------------------------------------------------------------------


def test_what_is_in_doubt(desk, ledger, doubtful):
    [first, *_] = found = actions.in_doubt(ledger, "campaign")
    assert [doubt.row for doubt in found] == [1, 2, 3]
    assert (first.phone, first.reason, first.has_text) == ("421903000001", "said of 421903000001", True)
    assert first.since == desk.row(1)["state_at"]
    assert "421903" not in repr(found)
    assert [doubt.row for doubt in actions.in_doubt(ledger, "campaign", 2)] == [1, 2]
    with pytest.raises(LedgerError, match="no campaign 'nowhere'"):
        actions.in_doubt(ledger, "nowhere")


def test_settled_as_sent(desk, ledger, doubtful):
    assert settle(ledger, "sent", rows=[2, 1, 2]) == 2
    row = desk.row(1)
    assert (row["state"], row["text"], row["message_id"]) == ("accepted", None, None)
    assert (row["delivery_code"], row["next_check_at"]) == ("UNKNOWN", None)
    assert row["reason"] == "settled by hand: the operator's list says so"
    assert row["is_final"] in (True, 1)
    assert row["phone"] == "421903000001"
    # Nobody asks for it, and nobody waits for it.
    assert [w.message_id for w in delivery.due(ledger, delivery.Scope("campaign"), 9)[1]] == ["100"]
    assert delivery.progress(ledger, delivery.Scope("campaign")).final_by_code == {"UNKNOWN": 2}
    assert desk.states() == {
        1: "accepted", 2: "accepted", 3: "in_doubt", 4: "accepted", 5: "rejected", 6: "planned"
    }  # fmt: skip
    assert log_of(ledger) == [("settle: sent", *WHO.values(), row) for row in (1, 2)]


def test_settled_as_sent_with_its_id_it_is_asked_for(desk, ledger, doubtful):
    assert settle(ledger, "sent", rows=[2], message_id="7-a_b") == 1
    row = desk.row(2)
    assert (row["state"], row["message_id"], row["delivery_code"]) == ("accepted", "7-a_b", None)
    assert row["is_final"] in (False, 0)
    assert {w.message_id for w in delivery.due(ledger, delivery.Scope("campaign"), 9)[1]} == {"100", "7-a_b"}


def test_settled_as_sent_keeps_the_text_where_the_plan_does(desk, ledger, doubtful):
    desk.sql("UPDATE telekom_sms_plan SET parameters = '{\"keep_text\": true}'")
    settle(ledger, "sent", rows=[1])
    assert desk.row(1)["text"] == "Ahoj 1"


def test_settled_to_be_resent(desk, ledger, doubtful):
    assert settle(ledger, "resend", rows=[1, 3]) == 2
    assert desk.states() == {
        1: "planned", 2: "in_doubt", 3: "planned", 4: "accepted", 5: "rejected", 6: "planned"
    }  # fmt: skip
    claimed = sending.exchange(ledger, desk.begin(slot="another task"), [], 9).claimed
    assert [(m.phone, m.text) for m in claimed] == [(f"42190300000{n}", f"Ahoj {n}") for n in (1, 3, 6)]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.REJECTED, State.PLANNED])
def test_what_is_to_be_resent_is_settled_by_a_late_outcome(desk, ledger, doubtful, state):
    settle(ledger, "resend", rows=[1])
    sending.exchange(ledger, doubtful, [Outcome(desk.row(1)["id"], state, "late")], 0)
    assert desk.states()[1] == state
    claimed = sending.exchange(ledger, desk.begin(), [], 9).claimed
    assert len(claimed) == (2 if state is State.PLANNED else 1)


def test_a_late_outcome_of_what_was_claimed_anew_is_ignored(desk, ledger, doubtful):
    settle(ledger, "resend", rows=[1])
    new = desk.begin()
    sending.exchange(ledger, new, [], 1)
    sending.exchange(ledger, doubtful, [Outcome(desk.row(1)["id"], State.REJECTED)], 0)
    assert desk.row(1)["state"] == "claimed"
    assert desk.row(1)["owner_id"] == new.id


@pytest.mark.parametrize(("decision", "state"), [("sent", "accepted"), ("drop", "rejected")])
@pytest.mark.parametrize("late", [State.ACCEPTED, State.REJECTED, State.IN_DOUBT, State.PLANNED])
def test_what_is_settled_for_good_no_late_outcome_changes(desk, ledger, doubtful, decision, state, late):
    settle(ledger, decision, rows=[1])
    before = desk.row(1)
    sending.exchange(ledger, doubtful, [Outcome(before["id"], late, "late")], 0)
    assert desk.row(1) == before
    assert before["state"] == state


def test_settled_as_dropped_it_is_never_sent(desk, ledger, doubtful):
    assert settle(ledger, "drop") == 3
    row = desk.row(1)
    assert (row["state"], row["reason"]) == ("rejected", "settled by hand: the operator's list says so")
    owner = desk.begin()
    # The one that the API rejected may be sent again; those that a person gave up may not.
    assert sending.requeue(ledger, owner, State.REJECTED) == 1
    assert {m.phone[-1] for m in sending.exchange(ledger, owner, [], 9).claimed} == {"5", "6"}


def test_everything_in_doubt_and_only_that(desk, ledger, doubtful):
    other = desk.begin(campaign="another")
    planning.add(
        ledger,
        other,
        planning.begin_plan(ledger, other, "print", "{}", fallback=False),
        [PlannedRow(row, State.PLANNED, b"%016d" % row, None, "421903000777", "x", 1) for row in (1, 2)],
    )
    desk.sql("UPDATE telekom_sms_message SET state = 'in_doubt' WHERE phone = '421903000777'")
    assert settle(ledger, "resend") == 3
    assert settle(ledger, "resend") == 0
    assert settle(ledger, "drop", rows=[]) == 0
    counts = Counter(state for (state,) in desk.sql("SELECT state FROM telekom_sms_message"))
    assert counts == {"planned": 4, "accepted": 1, "rejected": 1, "in_doubt": 2}
    assert len(log_of(ledger)) == 3


def test_rows_that_are_not_in_doubt_are_named_and_nothing_changes(desk, ledger, doubtful):
    before = everything(desk)
    with pytest.raises(LedgerError) as caught:
        settle(ledger, "sent", rows=[1, 4, 5, 6, 99])
    message = str(caught.value)
    for words in ("4 is accepted", "5 is rejected", "6 is planned", "99 is not there", "Nothing was changed"):
        assert words in message
    assert "1 is" not in message
    assert everything(desk) == before
    assert log_of(ledger) == []
    with pytest.raises(LedgerError, match=r"100 is not there.* and 90 more\."):
        settle(ledger, "sent", rows=range(100, 200))


@pytest.mark.parametrize(
    ("decision", "options", "named"),
    [
        ("forget", {}, "decision: found 'forget', allowed: sent, resend, drop"),
        ("sent", {"message_id": "7"}, "message_id"),
        ("sent", {"message_id": "7", "rows": [1, 2]}, "message_id"),
        ("drop", {"message_id": "7", "rows": [1]}, "message_id"),
        ("sent", {"message_id": "0903 123 456", "rows": [1]}, "message_id: found a text of 12 characters"),
        ("sent", {"message_id": "", "rows": [1]}, "message_id: found a text of 0 characters"),
        ("sent", {"rows": ["1"]}, "rows"),
        ("sent", {"rows": [True]}, "rows"),
        ("sent", {"rows": [1.0]}, "rows"),
    ],
)
def test_what_cannot_be_meant(desk, ledger, doubtful, decision, options, named):
    before = everything(desk)
    with pytest.raises(ConfigurationError, match=named):
        settle(ledger, decision, **options)
    assert everything(desk) == before


def test_several_plans_with_the_same_row_in_doubt(desk, ledger, doubtful):
    second = desk.begin(slot="another")
    plan = planning.begin_plan(ledger, second, "print", "{}", fallback=False)
    rows = [PlannedRow(n, State.PLANNED, b"x%015d" % n, None, "421903000777", "x", 1) for n in (1, 9)]
    planning.add(ledger, second, plan, rows)
    planning.finish_plan(ledger, second, plan)
    desk.sql("UPDATE telekom_sms_message SET state = 'in_doubt' WHERE phone = '421903000777'")
    with pytest.raises(LedgerError, match=rf"plan: .* 1 \(plans 1, {plan}\)"):
        settle(ledger, "drop", rows=[1])
    with pytest.raises(LedgerError, match="2 is not there"):
        settle(ledger, "drop", rows=[2], plan=plan)
    assert settle(ledger, "drop", rows=[1], plan=plan) == 1
    assert settle(ledger, "drop", rows=[1, 9]) == 2
    assert Counter(d.plan_id for d in actions.in_doubt(ledger, "campaign")) == {1: 2}


def test_without_its_text_nothing_is_resent(desk, ledger, doubtful, caplog):
    desk.sql("UPDATE telekom_sms_message SET text = NULL WHERE row = 2")
    before = everything(desk)
    with pytest.raises(LedgerError, match=r"text was erased.* of row 2"):
        settle(ledger, "resend", rows=[1, 2])
    assert everything(desk) == before
    with caplog.at_level(logging.WARNING):
        assert settle(ledger, "resend") == 2
    assert "1 messages stay in doubt, for their text was erased: rows 2" in caplog.text
    assert [(d.row, d.has_text) for d in actions.in_doubt(ledger, "campaign")] == [(2, False)]
    assert settle(ledger, "sent", rows=[2]) == 1


def test_nothing_is_resent_in_a_cancelled_campaign(desk, ledger, doubtful):
    actions.cancel(ledger, "campaign", **WHO)
    with pytest.raises(CancelledError, match="by Jana"):
        settle(ledger, "resend")
    assert settle(ledger, "drop", rows=[1]) == 1
    assert settle(ledger, "sent", rows=[2]) == 1


def test_more_rows_than_a_statement_takes(desk, ledger):
    number = 2 * CHUNK + 7
    owner = desk.planned(number)
    while sending.exchange(ledger, owner, [], CHUNK).claimed:
        pass
    planning.end(ledger, owner)
    assert settle(ledger, "drop", rows=range(1, number + 1)) == number
    assert set(desk.states().values()) == {"rejected"}
    assert len(actions.history(ledger, "campaign")) == number


@pytest.mark.parametrize("desk", ["postgresql"], indirect=True)
def test_what_a_late_try_is_recording_is_left_to_it(desk, ledger, doubtful):
    impatient = Ledger(desk.url.update_query_dict({"options": "-c lock_timeout=2000"}))
    with ledger.transaction() as connection:
        sending._record(connection, doubtful, [Outcome(desk.row(2)["id"], State.ACCEPTED, "late")], 1)
        assert settle(impatient, "resend") == 2
        with pytest.raises(LedgerError, match="2 is in_doubt"):
            settle(impatient, "resend", rows=[2])
    impatient.close()
    assert (desk.row(2)["state"], desk.row(2)["message_id"]) == ("accepted", "late")


def test_two_people_at_once(desk, ledger, doubtful):
    """Each message is settled by one of them."""
    settled = []
    both = threading.Barrier(2)

    def person(decision):
        own = Ledger(desk.url)
        both.wait(20)
        settled.append(actions.settle(own, "campaign", decision, **WHO))
        own.close()

    people = [threading.Thread(target=person, args=(decision,)) for decision in ("sent", "drop")]
    for one in people:
        one.start()
    for one in people:
        one.join(30)
    assert sum(settled) == 3
    assert len(log_of(ledger)) == 3


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ("3", [3]),
        ("3,7-9", [3, 7, 8, 9]),
        (" 3 , 7 - 7 ", [3, 7]),
        ("[3, 7]", [3, 7]),
        ("(3)", [3]),
    ],
)
def test_row_numbers(given, rows):
    assert read_rows(given) == rows


@pytest.mark.parametrize(
    "given", ["", " ", "None", "3,", "x", "-3", "9-7", "3.0", "1-999999999", "1-60000,1-60000", "٣", "all"]
)
def test_no_row_numbers(given):
    with pytest.raises(ConfigurationError, match=r"^rows: found"):
        read_rows(given)


# --- personal data ------------------------------------------------------------------------------------------


def personal(desk):
    """Give the rows that still have any of it."""
    columns = "phone IS NOT NULL OR text IS NOT NULL OR key IS NOT NULL OR reason IS NOT NULL"
    return [row for (row,) in desk.sql(f"SELECT row FROM telekom_sms_message WHERE {columns} ORDER BY id")]


def test_a_purge_erases_what_is_done_and_old(desk, ledger, doubtful):
    desk.sql("UPDATE telekom_sms_message SET key = 'kľúč' WHERE row < 6")
    desk.sql("UPDATE telekom_sms_message SET delivery_code = 'DELIVERED', delivered_at = 5 WHERE row = 4")
    before = {row: desk.row(row) for row in range(1, 7)}
    assert purge(ledger) == Purged(0, 0, 0)
    assert personal(desk) == [1, 2, 3, 4, 5, 6]
    assert log_of(ledger) == []
    age(desk)
    assert purge(ledger, timedelta(days=3)) == Purged(0, 0, 0)
    assert purge(ledger) == Purged(5, 0, 1)
    assert personal(desk) == [6]
    gone = {"phone", "text", "key", "reason", "state_at"}
    for row in range(1, 6):
        kept = {name: value for name, value in before[row].items() if name not in gone}
        now = desk.row(row)
        assert {name: now[name] for name in kept} == kept
        assert now["key_hash"]
    assert desk.row(6) == before[6]
    assert log_of(ledger) == [("purge", *WHO.values(), None)]
    assert purge(ledger) == Purged(0, 0, 1)
    assert len(log_of(ledger)) == 1


def test_after_a_purge_nothing_is_sent_again(desk, ledger, doubtful):
    age(desk)
    purge(ledger)
    owner = desk.begin(slot="another")
    assert desk.plan(owner, 6) == 2
    assert reporting.counts(ledger, owner.campaign_id, 2).duplicate == 6
    assert sending.requeue(ledger, owner, State.IN_DOUBT) == 0
    assert sending.requeue(ledger, owner, State.REJECTED) == 0
    assert [m.phone for m in sending.exchange(ledger, owner, [], 9).claimed] == ["421903000006"]


def test_every_state_that_is_done(desk, ledger):
    owner = desk.begin()
    plan = planning.begin_plan(ledger, owner, "print", "{}", fallback=False)
    done = [s for s in State if s not in (State.PLANNED, State.CLAIMED)]
    rows = [
        PlannedRow(row, state, None, "key", "421903000001", "text", 1, "reason")
        for row, state in enumerate(State)
    ]
    planning.add(ledger, owner, plan, rows)
    desk.sql("UPDATE telekom_sms_message SET text = 'text'")
    planning.finish_plan(ledger, owner, plan, {"samples": ["Ahoj"]})
    age(desk)
    assert purge(ledger) == Purged(len(done), 0, 2)
    found = desk.sql("SELECT state, phone, text, key, reason FROM telekom_sms_message ORDER BY id")
    for state, *data in found:
        ours = "reason" if state in ("duplicate", "suppressed") else None
        kept = ["421903000001", "text", "key", "reason"]
        assert data == (kept if state in ("planned", "claimed") else [None, None, None, ours])
    # Whoever is to approve what is still to be sent wants to see it.
    assert planning.summary_of(ledger, plan) == {"samples": ["Ahoj"]}


def test_a_plan_that_is_relied_on_still_is(desk, ledger):
    first = desk.planned(2)
    second = desk.begin(slot="another")
    desk.plan(second, 2)
    planning.end(ledger, first)
    age(desk)
    assert purge(ledger).messages == 2
    with pytest.raises(planning.PlanError, match="another run has left out rows"):
        planning.remove_plan(ledger, 1)


def test_the_summary_goes_with_what_was_planned(desk, ledger):
    owner = desk.begin()
    plan = planning.begin_plan(ledger, owner, "print", "{}", fallback=False)
    planning.finish_plan(ledger, owner, plan, {"samples": ["Ahoj"]})
    assert purge(ledger) == Purged(0, 0, 0)
    assert planning.summary_of(ledger, plan) == {"samples": ["Ahoj"]}
    age(desk)
    assert purge(ledger) == Purged(0, 0, 0)
    assert planning.summary_of(ledger, plan) == {}
    assert [entry[0] for entry in log_of(ledger)] == ["purge"]


def test_what_will_never_be_sent_is_erased_too(desk, ledger, doubtful):
    actions.cancel(ledger, "campaign", **WHO)
    age(desk)
    assert purge(ledger) == Purged(6, 0, 0)
    assert personal(desk) == []
    assert desk.states()[6] == "planned"


def test_claims_of_a_try_that_died_long_ago(desk, ledger):
    owner = desk.planned(1)
    sending.exchange(ledger, owner, [], 1)
    actions.cancel(ledger, "campaign", **WHO)
    desk.sql("UPDATE telekom_sms_campaign SET created_at = created_at - ?", 2 * DAY_MS)
    desk.sql("UPDATE telekom_sms_plan SET created_at = created_at - ?", 2 * DAY_MS)
    desk.sql("UPDATE telekom_sms_message SET state_at = state_at - ?", 2 * DAY_MS)
    assert purge(ledger) == Purged(0, 0, 1)
    assert desk.states() == {1: "claimed"}  # its try lives
    age(desk)
    assert purge(ledger) == Purged(0, 0, 0)
    assert desk.states() == {1: "in_doubt"}
    age(desk)
    assert purge(ledger) == Purged(1, 0, 0)


def test_only_what_is_old_in_a_campaign(desk, ledger, doubtful):
    age(desk)
    desk.sql("UPDATE telekom_sms_message SET state_at = state_at + ? WHERE row = 2", 2 * DAY_MS)
    assert purge(ledger) == Purged(4, 0, 1)
    assert personal(desk) == [2, 6]


def test_a_purge_in_chunks_that_goes_on_where_it_was_broken_off(desk, ledger, monkeypatch):
    number = CHUNK + 10
    desk.planned(number)
    actions.cancel(ledger, "campaign", **WHO)
    age(desk)
    real, seen = purging._erasing, []

    def breaks(ledger):
        seen.append(1)
        if len(seen) == 3:
            raise LedgerError("broken off")
        return real(ledger)

    monkeypatch.setattr(purging, "_erasing", breaks)
    with pytest.raises(LedgerError, match="broken off"):
        purge(ledger)
    assert len(personal(desk)) == 10
    monkeypatch.setattr(purging, "_erasing", real)
    assert purge(ledger) == Purged(10, 0, 0)
    # Never was anything erased without a trace of who did it.
    assert [entry[0] for entry in log_of(ledger)] == ["cancel", "purge", "purge"]


@pytest.mark.parametrize("desk", ["postgresql"], indirect=True)
def test_what_somebody_holds_is_left_for_the_next_time(desk, ledger, doubtful):
    age(desk)
    impatient = Ledger(desk.url.update_query_dict({"options": "-c lock_timeout=2000"}))
    with ledger.transaction() as connection:
        connection.execute(sa.text("SELECT id FROM telekom_sms_message WHERE row = 4 FOR UPDATE"))
        assert purge(impatient) == Purged(4, 0, 2)
    impatient.close()
    assert purge(ledger) == Purged(1, 0, 1)


@pytest.mark.parametrize("wrong", [timedelta(0), -DAY])
def test_an_age_that_is_none(ledger, wrong):
    with pytest.raises(ConfigurationError, match=r"^older_than: found"):
        purge(ledger, wrong)
    with pytest.raises(ConfigurationError, match=r"^reason: found nothing"):
        purging.purge(ledger, DAY, actor="Jana", reason="")


def test_erased_rows_are_counted_and_reported(desk, ledger, doubtful, tmp_path):
    from airflow_provider_telekom_sms.campaign.report import write_report

    number = reporting.campaign_number(ledger, "campaign")
    age(desk)
    before = reporting.counts(ledger, number)
    purge(ledger)
    assert reporting.counts(ledger, number) == before
    for name in ("report.csv", "report.parquet"):
        write_report(ledger, number, str(tmp_path / name))
    lines = (tmp_path / "report.csv").read_text().splitlines()
    assert lines[1] == "1,,,in_doubt,,,1,,"
    assert lines[4] == "4,,,accepted,,100,1,,"


# --- campaigns that are forgotten ---------------------------------------------------------------------------


def test_a_campaign_is_forgotten(desk, ledger, doubtful):
    desk.planned(2, campaign="another")
    settle(ledger, "drop")
    desk.sql("UPDATE telekom_sms_message SET state = 'rejected' WHERE row = 6")
    age(desk)
    planning.end(ledger, doubtful)
    assert purge(ledger, forget=True) == Purged(6, 1, 0)
    assert reporting.campaigns(ledger) == ["another"]
    assert desk.sql("SELECT count(*) FROM telekom_sms_message") == [(2,)]
    for table in ("plan", "owner"):
        assert desk.sql(f"SELECT count(*) FROM telekom_sms_{table}") == [(1,)]
    assert [entry[::3] for entry in log_of(ledger)] == [("settle: drop", None)] * 3 + [("forget", None)]
    assert purge(ledger, forget=True) == Purged(0, 0, 0)
    # As the docstring warns.
    assert len(sending.exchange(ledger, desk.planned(6), [], 9).claimed) == 6


@pytest.mark.parametrize(
    "why",
    ["a planned message", "a claimed message", "a younger message", "a younger plan", "a live try", "young"],
)
def test_a_campaign_that_is_needed_is_not_forgotten(desk, ledger, why):
    owner = desk.planned(2)
    desk.sql("UPDATE telekom_sms_message SET state = 'rejected', state_at = 1")
    if why != "a live try":
        planning.end(ledger, owner)
    if why != "young":
        age(desk)
    now = int(time.time() * 1000)
    change = {
        "a planned message": "UPDATE telekom_sms_message SET state = 'planned' WHERE row = 1",
        "a claimed message": "UPDATE telekom_sms_message SET state = 'claimed' WHERE row = 1",
        "a younger message": f"UPDATE telekom_sms_message SET state_at = {now} WHERE row = 1",
        "a younger plan": f"UPDATE telekom_sms_plan SET created_at = {now}",
        "a live try": f"UPDATE telekom_sms_owner SET lease_until = {now + 60_000}",
    }.get(why)
    if change:
        desk.sql(change)
    assert purge(ledger, forget=True).campaigns == 0
    assert reporting.campaigns(ledger) == ["campaign"]
    assert "forget" not in [entry[0] for entry in log_of(ledger)]
    if why not in ("young", "a live try"):
        # All of it was only for that reason.
        desk.sql("UPDATE telekom_sms_message SET state = 'rejected', state_at = 1")
        desk.sql("UPDATE telekom_sms_plan SET created_at = 1")
        assert purge(ledger, forget=True).campaigns == 1


def test_a_cancelled_campaign_is_forgotten_with_what_was_planned(desk, ledger):
    planning.end(ledger, desk.planned(3))
    age(desk)
    assert purge(ledger, forget=True) == Purged(0, 0, 3)
    actions.cancel(ledger, "campaign", **WHO)
    assert purge(ledger, forget=True) == Purged(3, 1, 0)


def test_a_half_forgotten_campaign_is_not_found_and_is_finished_off(desk, ledger, monkeypatch):
    planning.end(ledger, desk.planned(3))
    actions.cancel(ledger, "campaign", **WHO)
    age(desk)

    def breaks(self):
        raise LedgerError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(purging._Purger, "delete", breaks)
        with pytest.raises(LedgerError, match="broken off"):
            purge(ledger, forget=True)
    # It is a new one that begins here, and the old one does not get into its way.
    owner = desk.planned(2)
    assert len(sending.exchange(ledger, owner, [], 9).claimed) == 2
    assert purge(ledger) == Purged(3, 1, 0)
    assert set(desk.states().values()) == {"claimed"}
    assert len(desk.states()) == 2


# --- a ledger in a file -------------------------------------------------------------------------------------


def marked(number):
    made = random.Random(7)
    return [
        PlannedRow(
            row, State.PLANNED, made.randbytes(16), f"KEY{row:06d}", f"4219030{row:05d}",
            f"TEXT{row:06d} {'x' * made.randint(1, 90)}", 1,
        )
        for row in range(1, number + 1)
    ]  # fmt: skip


def traces(folder):
    found = b"".join(path.read_bytes() for path in folder.iterdir())
    return [mark for mark in (b"4219030", b"TEXT0", b"KEY0", b"REASON", b"SAMPLE") if mark in found]


@pytest.mark.parametrize("forget", [False, True])
@pytest.mark.parametrize("library", ["overwrites", "does not"])
def test_nothing_is_left_in_the_file(tmp_path, monkeypatch, forget, library):
    if library == "does not":
        # As SQLite is built unless a distribution wants it otherwise; this is of before the purge.
        connect = store._sqlite_connect

        def careless(connection, record):
            connect(connection, record)
            connection.execute("PRAGMA secure_delete=OFF").close()

        monkeypatch.setattr(store, "_sqlite_connect", careless)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    owner = planning.begin(ledger, "campaign", "slot")
    plan = planning.begin_plan(ledger, owner, "print", "{}", fallback=False)
    for rows in actions._chunks(marked(3000)):
        planning.add(ledger, owner, plan, rows)
    planning.finish_plan(ledger, owner, plan, {"samples": ["SAMPLE"]})
    outcomes = []
    while claimed := sending.exchange(ledger, owner, outcomes, 100).claimed:
        outcomes = [Outcome(m.id, random.choice(list(State)[2:5]), "1", reason="REASON") for m in claimed]
    planning.end(ledger, owner)
    assert len(traces(tmp_path)) == 5
    time.sleep(0.05)
    assert purging.purge(ledger, timedelta(milliseconds=20), forget=forget, **WHO).messages == 3000
    assert traces(tmp_path) == []
    assert (tmp_path / "ledger.db-wal").stat().st_size == 0
    ledger.close()
    assert traces(tmp_path) == []


def test_while_a_try_is_at_work_the_file_is_not_rewritten(file_desk, caplog):
    ledger = file_desk.ledger
    planning.end(ledger, file_desk.planned(50))
    actions.cancel(ledger, "campaign", **WHO)
    age(file_desk)
    at_work = file_desk.begin(campaign="another")
    statements = []
    sa.event.listen(ledger.engine, "checkout", lambda raw, *_: raw.set_trace_callback(statements.append))
    with caplog.at_level(logging.WARNING):
        assert purge(ledger).messages == 50
    assert "VACUUM" not in statements
    # Whatever SQLite is built to do by itself.
    assert statements.index("PRAGMA secure_delete=ON") < min(
        number for number, statement in enumerate(statements) if "UPDATE telekom_sms_message" in statement
    )
    assert "may still hold traces (tries are at work)" in caplog.text
    assert (file_desk.path.with_name("ledger.db-wal")).stat().st_size == 0
    planning.end(ledger, at_work)
    purge(ledger)
    assert "VACUUM" in statements


def test_a_reader_keeps_the_log_from_being_emptied(file_desk, caplog, monkeypatch):
    ledger = file_desk.ledger
    planning.end(ledger, file_desk.planned(5))
    actions.cancel(ledger, "campaign", **WHO)
    age(file_desk)
    monkeypatch.setattr(store, "LOCK_TIMEOUT", 0.2)
    hurried = Ledger(file_desk.url)
    with ledger.reading() as connection:
        connection.execute(sa.text("SELECT * FROM telekom_sms_message")).all()
        with caplog.at_level(logging.WARNING):
            assert purge(hurried).messages == 5
    assert "may still hold traces" in caplog.text
    hurried.close()
