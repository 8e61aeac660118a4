"""Batches of answers and finished campaigns: each once for each watcher, taken once by each DAG."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from typing import Any

import pytest

from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger import actions, callbacks, events, planning, purging, sending
from airflow_provider_telekom_sms.ledger.callbacks import Received
from airflow_provider_telekom_sms.ledger.events import ANSWERS, Batch, Watch
from airflow_provider_telekom_sms.ledger.planning import Owner
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from tests.at_once import at_once

MINUTE = 60_000
ids = itertools.count(1)


def read(told: dict[str, Any]) -> Received:
    return Received.read(json.dumps(told).encode(), "application/json", {})


def tap(data: str = "YES", message_id: object = None, **more: Any) -> Received:
    postback = {"data": data, "text": f"says {data}"}
    return read({"type": "postback", "messageId": message_id, "postback": postback, "n": next(ids), **more})


def write(text: str, phone: str = "0903000001") -> Received:
    return read({"addressFrom": phone, "addressTo": "123", "text": text, "timestamp": f"{next(ids)}"})


def status(code: str, message_id: object) -> Received:
    return read({"delivery": {"status": code}, "messageId": message_id, "type": "dsn", "n": next(ids)})


def watch(kind: Any = "postback", **more: Any) -> Watch:
    given = {"campaign_id": None, "postback_data": None, "text": None, "name": None, "since": "now", **more}
    return Watch.check(kind=kind, **given)


class Watching:
    """A watcher, and short words for what its trigger does."""

    def __init__(self, ledger: Ledger, kind: Any = "postback", **more: Any) -> None:
        self.ledger, self.watch = ledger, watch(kind, **more)
        self.id = events.watcher(ledger, self.watch)

    def gather(self, limit: int = 1_000) -> Batch | None:
        if self.watch.of(ANSWERS):
            return events.gather_answers(self.ledger, self.id, self.watch, limit)[0]
        return events.gather_campaigns(self.ledger, self.id, self.watch, limit, 0)[0]

    def said(self) -> list[Any]:
        """Gather; give what the answers say, whose campaign is known or not."""
        batch = self.gather()
        rows = events.answers(self.ledger, [batch.id]) if batch else []
        return [row["postback_data"] or row["text"] for row in rows]

    def told(self) -> dict[str, int] | None:
        """Gather; give the finished campaigns, as the event tells them."""
        batch = self.gather()
        return batch and batch.payload["campaigns"]


def send(desk: Any, campaign: str = "campaign", number: int = 3, *, record: int | None = None) -> Owner:
    """Plan a campaign and send some of it; its messages get the ids campaign-row."""
    owner = desk.planned(number, campaign=campaign)
    claimed = sending.exchange(desk.ledger, owner, [], number if record is None else record).claimed
    outcomes = [Outcome(one.id, State.ACCEPTED, f"{campaign}-{row}") for row, one in enumerate(claimed, 1)]
    sending.exchange(desk.ledger, owner, outcomes, 0)
    return owner


@pytest.fixture
def receive(ledger: Ledger) -> Callable[..., int]:
    return lambda *received: callbacks.receive(ledger, received)


# --- answers ------------------------------------------------------------------------------------------------


def test_what_came_since_makes_one_batch_and_each_answer_is_in_one(desk, ledger, receive):
    send(desk)
    receive(tap("OLD"))
    watching = Watching(ledger)
    assert watching.gather() is None
    receive(
        tap("YES", "campaign-1"), status("DELIVERED", "campaign-1"), write("Áno"), tap("NO", "campaign-2")
    )
    batch = watching.gather()
    assert batch is not None
    first, last = batch.payload.pop("first"), batch.payload.pop("last")
    assert 0 < first < last
    assert batch.payload == {
        "batch": batch.id, "count": 2, "by_kind": {"postback": 2}, "campaigns": {"campaign": 2}
    }  # fmt: skip
    assert watching.gather() is None
    receive(tap("LATER"))
    assert watching.said() == ["LATER"]


def test_a_new_watcher_may_begin_at_the_beginning(ledger, receive):
    receive(tap("OLD"), write("hi"))
    assert Watching(ledger, ["inbound", "postback"], since="beginning").said() == ["OLD", "hi"]


def test_watchers_are_told_apart_by_name_or_by_what_they_look_for(ledger, receive):
    first, same, other = Watching(ledger), Watching(ledger, "postback"), Watching(ledger, postback_data="YES")
    assert first.id == same.id != other.id
    named, renamed = Watching(ledger, name="a"), Watching(ledger, "inbound", name="a")
    assert named.id == renamed.id
    receive(tap("YES"))
    assert (first.said(), same.said(), other.said()) == (["YES"], [], ["YES"])


PATTERNS: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({"postback_data": "YES"}, ["YES"]),
    ({"postback_data": ["YES", "confirm *"]}, ["YES", "confirm 7"]),
    ({"postback_data": "*"}, ["YES", "yes", "confirm 7"]),
    ({"kind": "inbound", "text": ["áno*", "[x]"]}, ["ÁNO prosím", "[X]"]),
    ({"kind": ["inbound", "postback"], "text": "nie", "postback_data": "YES"}, ["YES", "Nie "]),
    ({"campaign_id": "spring*"}, ["YES", "yes"]),
    ({"campaign_id": ["spring", "summer"]}, ["confirm 7"]),
    ({"campaign_id": "spring"}, []),
)


def test_patterns(desk, ledger, receive):
    for campaign in ("spring1", "summer"):
        send(desk, campaign)
    watchers = [Watching(ledger, **{"kind": "postback", **options}) for options, _ in PATTERNS]
    receive(
        tap("YES", "spring1-1"), tap("yes", "spring1-2"), tap("confirm 7", "summer-1"),
        write("ÁNO prosím"), write("Nie "), write("[X]"), write("Nie, ďakujem"),
    )  # fmt: skip
    for watching, (options, expected) in zip(watchers, PATTERNS, strict=True):
        assert watching.said() == expected, options


def test_the_payload_holds_nothing_personal_and_is_bounded(desk, ledger, receive):
    for number in range(30):
        send(desk, f"c{number}", 1)
    asked = ["confirm *", "cancel *"]
    watching = Watching(ledger, ["postback", "inbound"], postback_data=asked, text="*")
    receive(*(tap(f"confirm Ján Novák {n}", f"c{n}-1") for n in range(30)), write("Som Ján, 0903 000 001"))
    batch = watching.gather()
    assert batch
    text = json.dumps(batch.payload, ensure_ascii=False)
    assert not any(secret in text for secret in ("Novák", "Ján", "9030"))
    assert batch.payload["by_postback"] == {"confirm *": 30}
    assert batch.payload["by_text"] == {"*": 1}
    assert len(batch.payload["campaigns"]) == 20


def test_a_batch_is_bounded_and_says_that_there_is_more(ledger, receive):
    watching = Watching(ledger)
    receive(*(tap(f"{n}") for n in range(5)))
    gather = lambda: events.gather_answers(ledger, watching.id, watching.watch, 2)  # noqa: E731
    found = [gather() for _ in range(4)]
    assert [(batch.payload["count"] if batch else 0, more) for batch, more in found] == [
        (2, True), (2, True), (1, False), (0, False)
    ]  # fmt: skip


def test_an_answer_waits_for_its_campaign_and_holds_no_other_up(desk, ledger, clock, receive):
    """It came before the reply to the send was recorded: whose it is shows a second later."""
    mine, all_ = Watching(ledger, campaign_id="campaign"), Watching(ledger)
    send(desk, "other")
    owner = desk.planned(1)
    [claimed] = sending.exchange(ledger, owner, [], 1).claimed
    receive(tap("EARLY", "m"), tap("OTHER", "other-1"), tap("UNKNOWN", "nobody"))
    assert (mine.said(), all_.said()) == ([], ["EARLY", "OTHER", "UNKNOWN"])
    sending.exchange(ledger, owner, [Outcome(claimed.id, State.ACCEPTED, "m")], 0)
    receive(tap("NEXT", "m"))
    assert mine.said() == ["NEXT"]
    clock.now += 2
    while callbacks.catch_up(ledger) == 0:
        pass
    batch = mine.gather()
    assert batch
    [row] = events.answers(ledger, [batch.id])
    assert (row["postback_data"], row["campaign_id"], row["phone"]) == ("EARLY", "campaign", "421903000001")
    assert mine.said() == []
    clock.now += 4_000
    while callbacks.catch_up(ledger) == 0:
        pass
    assert (mine.said(), all_.said()) == ([], ["NEXT"])
    # What nobody will ever want is not kept.
    assert desk.sql("SELECT COUNT(*) FROM telekom_sms_event_answer WHERE batch_id IS NULL") == [(0,)]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"kind": "sms"}, "kind: found 'sms', allowed are postback"),
        ({"kind": []}, "kind"),
        ({"kind": 7}, "kind"),
        ({"kind": "inbound", "postback_data": "YES"}, "postback_data: allowed only with kind 'postback'"),
        ({"text": "x"}, "text: allowed only"),
        ({"campaign_id": ["a", 7]}, "campaign_id"),
        ({"campaign_id": [""]}, "campaign_id"),
        ({"name": " "}, "name"),
        ({"since": "yesterday"}, "since"),
    ],
)
def test_what_is_wrong_is_named(options, wrong):
    with pytest.raises(ConfigurationError, match=wrong):
        watch(**{"kind": "postback", **options})


# --- finished campaigns -------------------------------------------------------------------------------------


def test_a_campaign_is_sent_once_nothing_of_it_is_left_to_send(desk, ledger):
    watching = Watching(ledger, "campaign_sent")
    owner = desk.begin()
    plan = desk.plan(owner, 3, finish=False)
    assert watching.told() is None
    planning.finish_plan(ledger, owner, plan)
    assert watching.told() is None
    claimed = sending.exchange(ledger, owner, [], 3).claimed
    assert watching.told() is None
    states = (State.ACCEPTED, State.REJECTED, State.IN_DOUBT)
    outcomes = [Outcome(one.id, state, "1") for one, state in zip(claimed, states, strict=True)]
    sending.exchange(ledger, owner, outcomes, 0)
    batch = watching.gather()
    assert batch
    assert batch.payload == {
        "batch": batch.id, "count": 1, "by_kind": {"campaign_sent": 1}, "campaigns": {"campaign": 3}
    }  # fmt: skip
    assert list(events.campaigns(ledger, [batch.id])) == [
        {
            "campaign_id": "campaign", "kind": "campaign_sent", "total": 3,
            "accepted": 1, "rejected": 1, "in_doubt": 1, "delivery": {"": 1},
        }
    ]  # fmt: skip
    assert watching.told() is None


def test_a_campaign_is_delivered_once_each_of_its_messages_is_final(desk, ledger, receive):
    watching = Watching(ledger, ["campaign_sent", "campaign_delivered"])
    send(desk, number=2)
    assert watching.told() == {"campaign": 2}
    receive(status("DELIVERED", "campaign-1"), status("SENT", "campaign-2"))
    assert watching.told() is None
    receive(status("UNDELIVERABLE", "campaign-2"))
    batch = watching.gather()
    assert batch
    assert batch.payload["by_kind"] == {"campaign_delivered": 1}
    [told] = events.campaigns(ledger, [batch.id])
    assert told["delivery"] == {"DELIVERED": 1, "UNDELIVERABLE": 1}
    assert watching.told() is None


def test_new_rows_finish_a_campaign_again(desk, ledger):
    watching = Watching(ledger, "campaign_sent")
    send(desk)
    assert watching.told() == {"campaign": 3}
    again = desk.begin(slot="tomorrow")
    desk.plan(again, 2, first=4)
    assert watching.told() is None
    claimed = sending.exchange(ledger, again, [], 9).claimed
    sending.exchange(ledger, again, [Outcome(one.id, State.ACCEPTED) for one in claimed], 0)
    assert watching.told() == {"campaign": 5}
    assert watching.told() is None


def test_two_plans_at_once_are_told_of_once(desk, ledger):
    watching = Watching(ledger, "campaign_sent")
    send(desk, record=2)
    assert watching.told() is None
    second = desk.begin(slot="two")
    desk.plan(second, 1, first=4)
    assert watching.told() is None
    claimed = sending.exchange(ledger, second, [], 9).claimed
    sending.exchange(ledger, second, [Outcome(one.id, State.ACCEPTED) for one in claimed], 0)
    batch = watching.gather()
    assert batch
    assert (batch.payload["count"], batch.payload["campaigns"]) == (1, {"campaign": 4})
    assert watching.told() is None


def test_a_cancelled_campaign_is_finished(desk, ledger):
    watching = Watching(ledger, "campaign_sent")
    send(desk, record=1)
    assert watching.told() is None
    actions.cancel(ledger, "campaign", actor="me", reason="wrong text")
    assert watching.told() == {"campaign": 3}


def test_a_plan_that_was_removed_is_forgotten(desk, ledger):
    watching = Watching(ledger, "campaign_sent")
    owner = desk.begin()
    plan = desk.plan(owner, 2)
    assert watching.told() is None
    planning.remove_plan(ledger, plan)
    assert watching.told() is None
    assert desk.sql("SELECT * FROM telekom_sms_event_campaign") == []


def test_what_was_finished_before_is_not_told_unless_it_is_asked_for(desk, ledger):
    send(desk, "finished")
    running = send(desk, "running", record=1)
    send(desk, "unlike", record=1)
    now = Watching(ledger, "campaign_sent", campaign_id=["finished", "running"])
    ever = Watching(ledger, "campaign_sent", since="beginning")
    assert (now.told(), ever.told()) == (None, {"finished": 3})
    claimed = sending.exchange(ledger, running, [], 9).claimed
    sending.exchange(ledger, running, [Outcome(one.id, State.ACCEPTED) for one in claimed], 0)
    assert (now.told(), ever.told()) == ({"running": 3}, {"running": 3})


def test_an_unfinished_campaign_is_looked_at_ever_more_rarely(desk, ledger, clock):
    send(desk, record=1)
    watching = Watching(ledger, "campaign_sent", since="beginning")
    looks = []
    for _ in range(90):
        before = desk.sql("SELECT look_at FROM telekom_sms_event_campaign")
        events.gather_campaigns(ledger, watching.id, watching.watch, 9, 5)
        if desk.sql("SELECT look_at FROM telekom_sms_event_campaign") != before:
            looks.append(clock.now)
        clock.now += 100
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(looks)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (100, 300)


def test_plans_are_passed_only_once_none_with_a_lower_number_can_appear(desk, ledger, clock):
    """PostgreSQL gives numbers before it commits: an earlier one may become visible later."""
    watching = Watching(ledger, "campaign_sent", since="beginning")
    send(desk, "first")
    send(desk, "second")
    [(number,)] = desk.sql("SELECT id FROM telekom_sms_plan ORDER BY id LIMIT 1")
    hide, show = (
        "UPDATE telekom_sms_plan SET id = id + 1000 WHERE id = ?",
        "UPDATE telekom_sms_plan SET id = id - 1000 WHERE id = ?",
    )
    if ledger.dialect == "postgresql":
        desk.sql("ALTER TABLE telekom_sms_message DROP CONSTRAINT telekom_sms_message_plan_id_fkey")
    desk.sql("UPDATE telekom_sms_message SET plan_id = plan_id + 1000 WHERE plan_id = ?", number)
    desk.sql(hide, number)
    desk.sql("UPDATE telekom_sms_plan SET created_at = created_at + 10000000 WHERE id = ?", number + 1000)
    events.gather_campaigns(ledger, watching.id, watching.watch, 1, 0)
    desk.sql("UPDATE telekom_sms_plan SET created_at = created_at - 10000000 WHERE id = ?", number + 1000)
    desk.sql(show, number + 1000)
    desk.sql("UPDATE telekom_sms_message SET plan_id = ? WHERE plan_id = ?", number, number + 1000)
    told = [watching.told() or {} for _ in range(3)]
    assert "first" in {name for one in told for name in one}
    clock.now += 300
    assert watching.told() is None
    [(passed,)] = desk.sql("SELECT plan_id FROM telekom_sms_event_watcher")
    assert passed == number + 1


def test_a_look_at_nothing_new_writes_nothing(desk, ledger, receive, monkeypatch):
    send(desk)
    receive(tap())
    answers, finished = (
        Watching(ledger, since="beginning"),
        Watching(ledger, "campaign_sent", since="beginning"),
    )
    assert (answers.said(), finished.told()) == (["YES"], {"campaign": 3})
    monkeypatch.setattr(Ledger, "transaction", None)
    assert (answers.gather(), finished.gather()) == (None, None)
    assert events.unconfirmed(ledger, answers.id, after=60) == []


# --- handing over -------------------------------------------------------------------------------------------


def test_what_is_not_confirmed_is_handed_over_again_as_it_was(ledger, clock, receive):
    watching = Watching(ledger)
    batches = []
    for _ in range(3):
        receive(tap(), tap("NO"))
        batches.append(watching.gather())
    assert None not in batches
    assert events.unconfirmed(ledger, watching.id) == batches
    assert events.unconfirmed(ledger, watching.id, after=60) == []
    clock.now += 61
    assert events.unconfirmed(ledger, watching.id, after=60) == batches
    assert events.unconfirmed(ledger, watching.id, after=60) == []
    events.confirm(ledger, [batches[1].id])
    assert events.unconfirmed(ledger, watching.id) == [batches[0], batches[2]]
    assert events.unconfirmed(ledger, Watching(ledger, "inbound").id) == []


# --- taking -------------------------------------------------------------------------------------------------


def taken(ledger: Ledger, batch: Batch, run: str, dag: str = "dag") -> list[str]:
    numbers = events.take(ledger, [batch.id], dag, run)
    return [row["postback_data"] for row in events.answers(ledger, numbers)]


def batch_of(watching: Watching, *data: str) -> Batch:
    callbacks.receive(watching.ledger, [tap(one) for one in data])
    batch = watching.gather()
    assert batch
    return batch


def test_each_dag_has_each_answer_in_one_run(ledger):
    watching = Watching(ledger)
    batch = batch_of(watching, "a", "b")
    assert taken(ledger, batch, "run 1") == ["a", "b"]
    # Airflow was told twice: another run, and a retry or another task of the first.
    assert taken(ledger, batch, "run 2") == []
    assert taken(ledger, batch, "run 1") == ["a", "b"]
    assert taken(ledger, batch, "run 1", "other dag") == ["a", "b"]
    assert taken(ledger, batch, "run 2", "other dag") == []


def test_a_run_takes_what_airflow_may_have_left_behind_and_keeps_to_it(ledger):
    """An event that comes while a run is being made waits for the next event, perhaps for ever."""
    watching, other = Watching(ledger), Watching(ledger, postback_data="x*")
    first = batch_of(watching, "a")
    left_behind = batch_of(watching, "b")
    other_batch = batch_of(other, "x")
    assert taken(ledger, first, "run 1") == ["a", "b"]
    later = batch_of(watching, "c")
    assert taken(ledger, first, "run 1") == ["a", "b"]
    assert taken(ledger, left_behind, "run 2") == ["x", "c"]
    assert taken(ledger, later, "run 3") == []
    assert taken(ledger, other_batch, "run 4") == ["x"]


def test_a_run_that_took_nothing_takes_nothing_later(ledger):
    """Or the tasks of one run would work on different answers."""
    watching = Watching(ledger)
    batch = batch_of(watching, "a")
    assert taken(ledger, batch, "run 1") == ["a"]
    assert taken(ledger, batch, "run 2") == []
    later = batch_of(watching, "b")
    assert taken(ledger, batch, "run 2") == []
    assert taken(ledger, later, "run 3") == ["b"]


def test_a_new_dag_does_not_get_what_was_long_ago(ledger):
    watching = Watching(ledger)
    old = [batch_of(watching, f"{n}") for n in range(3)]
    assert taken(ledger, old[2], "run 1", "new dag") == ["2"]
    # A run that failed before it took anything is cleared, long after others went on.
    assert taken(ledger, old[1], "run 1") == ["1", "2"]
    assert taken(ledger, old[0], "run 0") == ["0"]


def test_rows_tell_whose_they_are_and_stream(desk, ledger, monkeypatch):
    monkeypatch.setattr(events, "PAGE", 2)
    send(desk)
    watching = Watching(ledger, ["postback", "inbound"])
    receive = [tap("YES", f"campaign-{row}") for row in (1, 2, 3)] + [write("Áno", "0903 123 450")]
    callbacks.receive(ledger, receive)
    batch = watching.gather()
    assert batch
    rows = events.answers(ledger, events.take(ledger, [batch.id], "dag", "run"))
    assert isinstance(rows, Iterator)
    found = list(rows)
    assert [row["row"] for row in found] == [1, 2, 3, None]
    assert [row["id"] for row in found] == sorted({row["id"] for row in found})
    first, last = found[0], found[-1]
    assert first["received_at"].tzinfo is UTC
    del first["received_at"], first["id"], last["received_at"], last["id"]
    assert first == {
        "kind": "postback", "phone": "421903000001", "text": "says YES", "postback_data": "YES",
        "message_id": "campaign-1", "external_id": None, "campaign_id": "campaign", "row": 1, "key": None,
    }  # fmt: skip
    assert last == {
        "kind": "inbound", "phone": "421903123450", "text": "Áno", "postback_data": None,
        "message_id": None, "external_id": None, "campaign_id": None, "row": None, "key": None,
    }  # fmt: skip


def test_purging_takes_batches_with_it_and_nothing_comes_again(desk, ledger, clock):
    send(desk)
    answers, finished = (
        Watching(ledger, since="beginning"),
        Watching(ledger, "campaign_sent", since="beginning"),
    )
    batch = batch_of(answers, "a")
    assert finished.told() == {"campaign": 3}
    assert taken(ledger, batch, "run") == ["a"]
    purging.purge(ledger, timedelta(days=1), actor="me", reason="test")
    assert taken(ledger, batch, "run") == ["a"]
    clock.now += 1
    purging.purge(ledger, timedelta(milliseconds=1), actor="me", reason="test")
    assert finished.told() is None
    clock.now += 200
    assert finished.told() is None
    clock.now += 86_400
    purging.purge(ledger, timedelta(days=1), actor="me", reason="test")
    for table in ("batch", "answer", "campaign", "take", "taken"):
        assert desk.sql(f"SELECT * FROM telekom_sms_event_{table}") == [], table
    assert taken(ledger, batch, "run") == []
    assert (answers.gather(), finished.told()) == (None, None)
    assert batch_of(answers, "b").id > batch.id


def test_a_campaign_that_is_forgotten_leaves_nothing(desk, ledger, clock):
    send(desk)
    finished = Watching(ledger, ["campaign_sent", "campaign_delivered"], since="beginning")
    assert finished.told() == {"campaign": 3}
    clock.now += 10 * 86_400
    purging.purge(ledger, timedelta(days=1), forget=True, actor="me", reason="test")
    assert desk.sql("SELECT * FROM telekom_sms_event_campaign") == []
    assert finished.told() is None


# --- at once ------------------------------------------------------------------------------------------------


def receiver_and_triggerer(address: str) -> Callable[[], Any]:
    """Be a receiver and a triggerer and a run of a DAG, in a process of its own."""
    ledger, rng = Ledger(address), random.Random()
    watching = Watching(ledger, name="w")

    def work() -> Any:
        batches, sent = [], []
        for _ in range(15):
            names = [f"{rng.random()}" for _ in range(rng.randint(1, 4))]
            callbacks.receive(ledger, [tap(name) for name in names])
            sent += names
            if batch := watching.gather(rng.randint(1, 9)):
                batches.append(batch.id)
        while batch := watching.gather():
            batches.append(batch.id)
        numbers = events.take(ledger, [1], "dag", f"run {rng.random()}")
        return sent, batches, numbers

    return work


def test_processes_that_gather_and_take_at_once(desk, ledger):
    answers = at_once(4, "tests.ledger.test_events:receiver_and_triggerer", desk.address)
    sent = [name for mine, _, _ in answers for name in mine]
    batches = [number for _, mine, _ in answers for number in mine]
    assert len(set(batches)) == len(batches)
    last = Watching(ledger, name="w").gather()
    rows = list(events.answers(ledger, sorted([*batches, *([last.id] if last else [])])))
    assert Counter(row["postback_data"] for row in rows) == Counter(sent)
    taken = Counter(number for _, _, mine in answers for number in mine)
    assert set(taken.values()) == {1}
