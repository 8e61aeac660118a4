from __future__ import annotations

import pytest

from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import delivery, reporting, sending
from airflow_provider_telekom_sms.ledger.delivery import Check, Scope
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import State

CAMPAIGN = Scope("campaign")


@pytest.fixture
def sent(desk, ledger):
    """Three accepted messages of five; one is still to be sent."""
    owner = desk.planned(5)
    claimed = sending.exchange(ledger, owner, [], 4).claimed
    outcomes = [Outcome(m.id, State.ACCEPTED, f"10{n}") for n, m in enumerate(claimed[:3])]
    sending.exchange(ledger, owner, [*outcomes, Outcome(claimed[3].id, State.REJECTED)], 0)
    return [m.id for m in claimed[:3]]


def check(number, code, *, final=False, at=None, trouble=None, again=None):
    return Check(number, code, at, final, trouble, again)


def codes(ledger, scope=CAMPAIGN):
    return delivery.progress(ledger, scope).by_code


def test_what_was_accepted_is_due_at_once(ledger, sent):
    now, waiting = delivery.due(ledger, CAMPAIGN, 9)
    assert [w.id for w in waiting] == sent
    assert [w.message_id for w in waiting] == ["100", "101", "102"]
    assert all(now - 5000 < w.accepted_at <= now for w in waiting)
    assert len(delivery.due(ledger, CAMPAIGN, 2)[1]) == 2
    progress = delivery.progress(ledger, CAMPAIGN)
    assert progress == delivery.Progress(3, 1, {"": 3}, {}, 0.0, unaccepted=1)


def test_what_is_scheduled_is_due_later(desk, ledger):
    owner = desk.planned(1)
    [message] = sending.exchange(ledger, owner, [], 1).claimed
    now, _ = delivery.due(ledger, CAMPAIGN, 9)
    outcome = Outcome(message.id, State.ACCEPTED, "1", check_at=now + 60_000)
    sending.exchange(ledger, owner, [outcome], 0)
    assert delivery.due(ledger, CAMPAIGN, 9)[1] == []
    assert 58 < delivery.progress(ledger, CAMPAIGN).next_due <= 60


def test_what_is_learnt_is_kept(desk, ledger, sent):
    one, two, three = sent
    now, _ = delivery.due(ledger, CAMPAIGN, 9)
    delivery.record(
        ledger,
        [
            check(one, "DELIVERED", final=True, at=now),
            check(two, "SENT", again=now + 60_000),
            check(three, "ERROR", trouble=now, again=now - 1),
        ],
    )
    delivery.record(ledger, [])
    _, [waiting] = delivery.due(ledger, CAMPAIGN, 9)
    assert (waiting.id, waiting.code, waiting.trouble_since) == (three, "ERROR", now)
    progress = delivery.progress(ledger, CAMPAIGN)
    assert progress.by_code == {"DELIVERED": 1, "SENT": 1, "ERROR": 1}
    assert progress.final_by_code == {"DELIVERED": 1}
    assert desk.row(1)["delivered_at"] == now


def test_a_final_status_is_not_overwritten_by_a_lesser_one(ledger, sent):
    one, two, three = sent
    delivery.record(ledger, [check(i, "UNDELIVERABLE", final=True) for i in sent])
    delivery.record(
        ledger, [check(one, "SENT"), check(two, "DELIVERED", final=True), check(three, "EXPIRED")]
    )
    assert codes(ledger) == {"UNDELIVERABLE": 2, "DELIVERED": 1}
    assert delivery.due(ledger, CAMPAIGN, 9)[1] == []
    delivery.record(ledger, [check(two, "UNDELIVERABLE", final=True)])
    assert codes(ledger) == {"UNDELIVERABLE": 2, "DELIVERED": 1}


def test_the_latest_of_what_is_not_final_counts(ledger, sent):
    for code in ("SENT", "ERROR", "SENDING"):
        delivery.record(ledger, [check(sent[0], code)])
    assert codes(ledger) == {"SENDING": 1, "": 2}


def test_a_check_that_told_nothing_only_comes_later(ledger, sent):
    now, _ = delivery.due(ledger, CAMPAIGN, 9)
    delivery.record(ledger, [check(sent[0], "SENT", at=None, again=now)])
    delivery.record(ledger, [check(i, None, again=now + 60_000) for i in sent])
    assert codes(ledger) == {"SENT": 1, "": 2}
    assert delivery.due(ledger, CAMPAIGN, 9)[1] == []


def test_ids_of_a_campaign_are_watched_there(ledger, sent):
    before = reporting.campaigns(ledger)
    delivery.watch(ledger, ["101"])
    assert reporting.campaigns(ledger) == before


def test_ids_from_elsewhere_are_watched(ledger, sent):
    ids = ["101", "x-9", "x-8", "x-9"]
    for _ in range(2):
        delivery.watch(ledger, ids)
    scope = Scope(message_ids=tuple(ids))
    _, waiting = delivery.due(ledger, scope, 9)
    assert sorted(w.message_id for w in waiting) == ["101", "x-8", "x-9"]
    assert delivery.progress(ledger, scope).total == 3
    assert delivery.progress(ledger, CAMPAIGN).total == 3
    delivery.record(ledger, [check(sent[1], "READ", final=True)])
    assert codes(ledger, scope) == {"READ": 1, "": 2}
    assert codes(ledger) == {"READ": 1, "": 2}


def test_an_unknown_code_may_have_any_length(ledger, sent):
    delivery.record(ledger, [check(sent[0], "ÚPLNE_NOVÝ_STAV" * 9)])
    assert codes(ledger)["ÚPLNE_NOVÝ_STAV" * 9] == 1


def test_a_campaign_that_is_not_there(ledger):
    with pytest.raises(LedgerError, match="no campaign 'nowhere'"):
        delivery.progress(ledger, Scope("nowhere"))
