"""Callbacks in the ledger: stored, applied in whatever order they come, and what they settle."""

from __future__ import annotations

import itertools
import json
import random
from datetime import timedelta

import pytest
import sqlalchemy as sa

from airflow_provider_telekom_sms.api import delivery as codes
from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import (
    callbacks,
    delivery,
    opt_outs,
    planning,
    purging,
    schema,
    sending,
)
from airflow_provider_telekom_sms.ledger.callbacks import Received, catch_up, receive
from airflow_provider_telekom_sms.ledger.delivery import Check, Scope
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State

CAMPAIGN = Scope("campaign")
MINUTE = 60_000
AT = "2026-01-05T08:00:00Z"
AT_MS = 1_767_600_000_000


def dsn(status, message_id=None, external_id=None, **more):
    told = {"delivery": {"status": status}, "messageId": message_id, "externalId": external_id, "type": "dsn"}
    return read({**told, "timestamp": AT, **more})


def read(told):
    return Received.read(json.dumps(told).encode(), "application/json", {})


class Campaign:
    """Messages of a campaign, in any state."""

    def __init__(self, desk, number=3, *, fallback=False, ttl=0, parameters="{}", external_ids=()):
        self.desk, self.ledger = desk, desk.ledger
        self.owner = desk.begin()
        self.plan = planning.begin_plan(
            self.ledger, self.owner, "print", parameters, fallback=fallback, ttl=ttl
        )
        planning.add(self.ledger, self.owner, self.plan, desk.rows(1, number))
        planning.finish_plan(self.ledger, self.owner, self.plan)
        for row, external_id in enumerate(external_ids, 1):
            desk.sql("UPDATE telekom_sms_message SET external_id = ? WHERE row = ?", external_id, row)

    def claim(self, want=9):
        self.claimed = sending.exchange(self.ledger, self.owner, [], want).claimed
        return self.claimed

    def record(self, *outcomes, **options):
        """Record outcomes of the claimed messages in their order: a message id, or a state."""
        found = [
            Outcome(message.id, told, reason="a reason")
            if isinstance(told, State)
            else Outcome(message.id, State.ACCEPTED, told, **options)
            for message, told in zip(self.claimed, outcomes, strict=False)
            if told
        ]
        sending.exchange(self.ledger, self.owner, found, 0)

    def external_id(self, index=0):
        message = self.claimed[index]
        return sending.external_id(self.ledger, message.id, message.external_id)

    def sent(self, *ids):
        self.claim(len(ids))
        self.record(*ids)
        return self

    def die(self):
        """The owner is gone: what it has claimed is in doubt."""
        self.desk.begin()


@pytest.fixture
def one(desk):
    """A campaign of a message, which the API has taken as 100."""
    return Campaign(desk, 1).sent("100")


def told(desk, *columns):
    return desk.sql(f"SELECT {', '.join(columns)} FROM telekom_sms_callback ORDER BY id")


def status(desk, row=1):
    found = desk.row(row)
    return found["state"], found["message_id"], found["delivery_code"], bool(found["is_final"])


# --- stored -------------------------------------------------------------------------------------------------


def test_all_kinds_are_stored_as_they_came(desk, ledger, one):
    postback = {
        "type": "postback",
        "messageId": 100,
        "postback": {"data": "yes", "text": "Áno"},
        "channel": "rcs",
    }
    inbound = {
        "addressFrom": "0903 123 450",
        "addressTo": "+421900000000",
        "text": "Dobrý deň",
        "timestamp": AT,
    }
    assert receive(ledger, [dsn("SENT", 100), read(postback), read(inbound)]) == 3
    assert told(
        desk, "kind", "message_id", "code", "channel", "occurred_at", "phone", "text", "postback_data"
    ) == [
        ("dsn", "100", "SENT", None, AT_MS, None, None, None),
        ("postback", "100", None, "rcs", None, "421903000001", "Áno", "yes"),
        ("inbound", None, None, None, AT_MS, "421903123450", "Dobrý deň", None),
    ]
    payloads = [json.loads(payload) for (payload,) in told(desk, "payload")]
    assert payloads[1:] == [postback, inbound]
    row = desk.row(1)
    assert told(desk, "row_id", "campaign_id", "look_again_at") == [
        (row["id"], row["campaign_id"], None), (row["id"], row["campaign_id"], None), (None, None, None),
    ]  # fmt: skip
    assert status(desk) == ("accepted", "100", "SENT", False)


def test_the_same_is_stored_once(desk, ledger, one):
    assert receive(ledger, [dsn("SENT", 100), dsn("SENT", 100), dsn("DELIVERED", 100)]) == 2
    assert receive(ledger, [dsn("DELIVERED", 100), dsn("SENT", 100)]) == 0
    assert [code for (code,) in told(desk, "code")] == ["SENT", "DELIVERED"]
    assert receive(ledger, []) == 0


def test_two_who_write_the_same_are_two(desk, ledger):
    words = {"addressFrom": "0903123450", "text": "ano"}
    assert receive(ledger, [read(words), read(words), read({**words, "addressFrom": "0903123451"})]) == 2


def test_what_no_database_takes_is_replaced(desk, ledger):
    body = b'{"addressFrom": "0903123450", "text": "a\\u0000b\\ud83d", "x": "\0"}'.replace(b"\0", b"\\u0000")
    assert receive(ledger, [Received.read(body, "", {})]) == 1
    assert told(desk, "text") == [("a?b?",)]
    assert receive(
        ledger, [Received.read(b'{"messageId": "7", "status": "4"}\xff'.replace(b"\xff", b" "), "", {})]
    )


def test_a_repr_shows_no_number_and_no_text():
    shown = repr(read({"addressFrom": "+421903123450", "text": "Jana", "channel": "sms"}))
    assert "3450" not in shown
    assert "Jana" not in shown


def test_nothing_is_stored_where_the_database_fails(desk, ledger, one):
    desk.sql("ALTER TABLE telekom_sms_message RENAME TO gone")
    with pytest.raises(LedgerError) as caught:
        receive(ledger, [dsn("DELIVERED", 100), read({"addressFrom": "0903123450", "text": "Jana"})])
    assert "Jana" not in str(caught.value)
    assert told(desk, "id") == []


# --- orders -------------------------------------------------------------------------------------------------

COURSE = ["QUEUED", "SENDING", "ERROR", "SENT", "UNKNOWN", "EXPIRED", "DELIVERED", "READ"]


def most(reports):
    return max(reports, key=list(codes.DeliveryCode).index)


@pytest.mark.parametrize("fallback", [False, True])
def test_the_order_does_not_matter(desk, ledger, fallback):
    number = 60
    Campaign(desk, number, fallback=fallback).sent(*(str(100 + n) for n in range(number)))
    dice = random.Random(5)
    heard = {n: dice.sample(COURSE, dice.randint(1, len(COURSE))) for n in range(number)}
    calls = [dsn(code, 100 + n) for n, reports in heard.items() for code in reports]
    calls += dice.sample(calls, len(calls) // 3)
    dice.shuffle(calls)
    while calls:
        size = dice.randint(1, 40)
        receive(ledger, calls[:size])
        del calls[:size]
    for n, reports in heard.items():
        state, _, code, is_final = status(desk, n + 1)
        assert (state, code) == ("accepted", most(reports))
        failed_first = "EXPIRED" in reports and not {"DELIVERED", "READ"} & set(reports)
        assert is_final == (
            code in codes.FINAL and not (fallback and failed_first and code == "EXPIRED")
        ) or (
            # UNKNOWN was final before the failure came.
            fallback and failed_first and "UNKNOWN" in reports
        )


def test_delivered_then_read_in_both_orders(desk, ledger):
    Campaign(desk, 2).sent("1", "2")
    first, later = dsn("DELIVERED", 1), dsn("READ", 1, timestamp="2026-01-05T09:00:00Z")
    receive(ledger, [first])
    assert desk.row(1)["delivered_at"] == AT_MS
    receive(ledger, [later])
    receive(ledger, [dsn("READ", 2, timestamp="2026-01-05T09:00:00Z")])
    receive(ledger, [dsn("DELIVERED", 2)])
    for row in (1, 2):
        assert status(desk, row)[2:] == ("READ", True)
        assert desk.row(row)["delivered_at"] == AT_MS
        assert desk.row(row)["next_check_at"] is None


def test_a_final_error_is_mended_only_by_what_is_final(desk, ledger, one):
    delivery.record(ledger, [Check(desk.row(1)["id"], "ERROR", None, True, 1, None)])
    receive(ledger, [dsn("SENT", 100)])
    assert status(desk)[2:] == ("ERROR", True)
    receive(ledger, [dsn("DELIVERED", 100)])
    assert status(desk)[2:] == ("DELIVERED", True)


@pytest.mark.parametrize("first", ["before", "after"])
def test_before_and_after_the_outcome_is_recorded(desk, ledger, clock, first):
    campaign = Campaign(desk, 2)
    campaign.claim()
    if first == "after":
        campaign.record("100", "101")
    receive(ledger, [dsn("SENT", 100), dsn("DELIVERED", 100)])
    if first == "before":
        assert status(desk) == ("claimed", None, None, False)
        assert told(desk, "row_id") == [(None,), (None,)]
        campaign.record("100", "101")
        assert 0 < catch_up(ledger) <= 1
        assert status(desk)[2] is None
        clock.now += 1
        assert catch_up(ledger) == 0
    assert status(desk) == ("accepted", "100", "DELIVERED", True)
    assert catch_up(ledger) is None
    assert [row for (row,) in told(desk, "row_id")] == [desk.row(1)["id"]] * 2


def test_what_is_of_nobody_is_looked_for_ever_more_rarely(desk, ledger, clock):
    began = clock.now
    receive(
        ledger,
        [dsn("SENT", 7), dsn("SENT", external_id="of another"), read({"addressFrom": "1", "text": "x"})],
    )
    looks = []
    while (pause := catch_up(ledger)) is not None:
        clock.now += pause
        looks += [round(clock.now - began)] if not pause else []
    assert looks == [1, 4, 16, 64, 256, 1024, 4096]
    assert told(desk, "row_id", "look_again_at") == [(None, None)] * 3, "kept, though"


def test_a_message_that_is_being_recorded_is_left_for_the_next_look(desk, ledger, one, clock):
    """To wait for it would be a deadlock, should that one wait for another that is held here."""
    if ledger.dialect == "sqlite":
        pytest.skip("one writer at a time")
    other = Ledger(desk.url)
    with other.transaction() as connection:
        connection.execute(sa.select(schema.message.c.id).with_for_update())
        receive(ledger, [dsn("DELIVERED", 100)])
    other.close()
    assert status(desk)[2] is None
    clock.now += 1
    catch_up(ledger)
    assert status(desk)[2] == "DELIVERED"


# --- doubts -------------------------------------------------------------------------------------------------


def test_a_message_that_is_being_recorded_is_not_taken_for_another(desk, ledger, clock):
    """Both have the same id of the user; the callback is about the first, which somebody holds."""
    if ledger.dialect == "sqlite":
        pytest.skip("one writer at a time")
    campaign = Campaign(desk, 2, external_ids=["cust", "cust"])
    campaign.claim()
    campaign.record("100", State.IN_DOUBT)
    with ledger.transaction() as other:
        other.execute(sa.select(schema.message).where(schema.message.c.row == 1).with_for_update())
        receive(ledger, [dsn("DELIVERED", "100", "cust")])
    assert status(desk, 2)[:2] == ("in_doubt", None)
    clock.now += 2
    while catch_up(ledger) == 0:
        pass
    assert status(desk, 1) == ("accepted", "100", "DELIVERED", True)
    assert status(desk, 2)[:2] == ("in_doubt", None)


@pytest.mark.parametrize("state", ["claimed", "in_doubt", "planned again"])
@pytest.mark.parametrize("kind", ["dsn", "postback"])
def test_an_external_id_settles_what_is_in_doubt(desk, ledger, state, kind):
    campaign = Campaign(desk, 2)
    campaign.claim()
    if state != "claimed":
        campaign.record(State.IN_DOUBT, State.IN_DOUBT)
    if state == "planned again":
        assert sending.requeue(ledger, campaign.owner, State.IN_DOUBT) == 2
    proof = {"messageId": 100, "externalId": campaign.external_id()}
    proof |= {"status": "SENDING"} if kind == "dsn" else {"postbackData": "yes"}
    receive(ledger, [read(proof)])
    assert status(desk) == ("accepted", "100", "SENDING" if kind == "dsn" else None, False)
    row = desk.row(1)
    assert (row["text"], row["reason"]) == (None, None)
    assert desk.row(2)["state"] != "accepted"
    # It is never sent again, and what its sender brings late changes nothing.
    assert 1 not in [message.id for message in sending.exchange(ledger, campaign.owner, [], 9).claimed]
    campaign.record(State.IN_DOUBT)
    assert status(desk)[:2] == ("accepted", "100")
    receive(ledger, [dsn("DELIVERED", 100)])
    assert status(desk)[2:] == ("DELIVERED", True)


def test_all_in_one_batch(desk, ledger):
    campaign = Campaign(desk, 1)
    campaign.claim()
    campaign.die()
    receive(ledger, [dsn("DELIVERED", 100), dsn("SENT", 100, campaign.external_id()), dsn("READ", 100)])
    assert status(desk) == ("accepted", "100", "READ", True)


def test_keep_text_keeps_it(desk, ledger):
    campaign = Campaign(desk, 1, parameters='{"keep_text": true}')
    campaign.claim()
    receive(ledger, [dsn("SENT", 100, campaign.external_id())])
    assert desk.row(1)["text"] == "Ahoj 1"


def test_an_id_of_another_ledger_or_of_nobody(desk, ledger):
    campaign = Campaign(desk, 2)
    campaign.claim(1)
    ours = campaign.external_id()
    never_claimed = sending.external_id(ledger, desk.row(2)["id"], None)
    strange = [f"9ad034a9-c6da-4082-a967-947a3b99a904-{campaign.claimed[0].id}", f"{ours}0", f"{ours}x", "-1",
               f"{ledger.id}-", f"{ledger.id}--1", f"{ledger.id}-{'9' * 40}", f"{ledger.id}-٣",
               never_claimed]  # fmt: skip
    receive(ledger, [dsn("DELIVERED", n, name) for n, name in enumerate(strange, 200)])
    assert desk.states() == {1: "claimed", 2: "planned"}


def test_an_id_of_the_user(desk, ledger):
    campaign = Campaign(desk, 4, external_ids=["order-1", "twice", "twice", "order-1 again"])
    campaign.claim(3)
    campaign.record(State.IN_DOUBT, State.IN_DOUBT, State.IN_DOUBT)
    receive(
        ledger, [dsn("SENT", 100, "order-1"), dsn("SENT", 101, "twice"), dsn("SENT", 103, "order-1 again")]
    )
    assert desk.states() == {1: "accepted", 2: "in_doubt", 3: "in_doubt", 4: "planned"}
    # The next message of the same order is another one.
    receive(ledger, [dsn("DELIVERED", 104, "order-1")])
    assert status(desk) == ("accepted", "100", "SENT", False)


def test_an_id_of_the_user_that_looks_like_ours(desk, ledger):
    campaign = Campaign(desk, 2)
    campaign.claim()
    campaign.record(State.IN_DOUBT, State.IN_DOUBT)
    looks_like_the_first = campaign.external_id()
    desk.sql("UPDATE telekom_sms_message SET external_id = 'other' WHERE row = 1")
    desk.sql("UPDATE telekom_sms_message SET external_id = ? WHERE row = 2", looks_like_the_first)
    receive(ledger, [dsn("SENT", 100, looks_like_the_first)])
    assert desk.states() == {1: "in_doubt", 2: "accepted"}


def test_a_message_that_was_sent_twice_has_arrived_if_either_has(desk, ledger):
    campaign = Campaign(desk, 1)
    campaign.claim()
    campaign.record("101")
    receive(ledger, [dsn("UNDELIVERABLE", 100, campaign.external_id())])
    assert status(desk) == ("accepted", "101", None, False)
    receive(ledger, [dsn("DELIVERED", 100, campaign.external_id())])
    assert status(desk) == ("accepted", "101", "DELIVERED", True)


def test_what_was_refused_and_arrives_was_sent(desk, ledger):
    campaign = Campaign(desk, 1)
    campaign.claim()
    campaign.record(State.REJECTED)
    receive(ledger, [dsn("DENIED", 100, campaign.external_id())])
    assert desk.states() == {1: "rejected"}
    receive(ledger, [dsn("DELIVERED", 100, campaign.external_id())])
    assert status(desk) == ("accepted", "100", "DELIVERED", True)
    assert sending.requeue(ledger, campaign.owner, State.REJECTED) == 0


def test_without_the_apis_id_it_is_waited_for_and_not_asked_for(desk, ledger):
    campaign = Campaign(desk, 1)
    campaign.claim()
    receive(ledger, [dsn("SENT", external_id=campaign.external_id())])
    assert status(desk) == ("accepted", None, "SENT", False)
    assert desk.row(1)["next_check_at"] is None
    receive(ledger, [dsn("DELIVERED", 100, campaign.external_id())])
    assert status(desk) == ("accepted", "100", "DELIVERED", True)


# --- fallback -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(["EXPIRED", "SENDING", "DELIVERED"])))
def test_a_fallback_that_arrives(desk, ledger, order):
    Campaign(desk, 1, fallback=True, ttl=30).sent("100")
    for code in order:
        receive(ledger, [dsn(code, 100)])
    assert status(desk)[2:] == ("DELIVERED", True)


def test_a_failure_stands_until_the_fallback_had_its_time(desk, ledger, clock):
    Campaign(desk, 1, fallback=True, ttl=30).sent("100")
    receive(ledger, [dsn("EXPIRED", 100)])
    end = int(clock.now * 1000) + 30 * MINUTE + 30_000
    assert status(desk)[2:] == ("EXPIRED", False)
    assert desk.row(1)["next_check_at"] == end
    clock.now += 600
    # The next channel's turn: as a poll would, it leaves the failure as it is.
    receive(ledger, [dsn("SENT", 100)])
    assert status(desk)[2:] == ("EXPIRED", False)
    assert desk.row(1)["next_check_at"] == end
    clock.now += 1230
    receive(ledger, [dsn("DENIED", 100)])
    assert status(desk)[2:] == ("DENIED", True)


def test_without_a_fallback_a_failure_is_final(desk, ledger, one):
    receive(ledger, [dsn("UNDELIVERABLE", 100)])
    assert status(desk)[2:] == ("UNDELIVERABLE", True)
    assert delivery.progress(ledger, CAMPAIGN).final_by_code == {"UNDELIVERABLE": 1}


# --- asking -------------------------------------------------------------------------------------------------


def test_what_gets_callbacks_is_asked_for_later(desk, ledger, clock):
    campaign = Campaign(desk, 3)
    campaign.claim()
    campaign.record("100", "101", "102", calls_back=True)
    assert delivery.due(ledger, CAMPAIGN, 9)[1] == []
    receive(ledger, [dsn("SENT", 100), dsn("DELIVERED", 101)])
    clock.now += 60
    [silent] = delivery.due(ledger, CAMPAIGN, 9)[1]
    assert (silent.message_id, silent.told) == ("102", False)
    clock.now += 3541
    found = {one.message_id: one.told for one in delivery.due(ledger, CAMPAIGN, 9)[1]}
    assert found == {"100": True, "102": False}


def test_what_gets_none_is_asked_for_as_ever(desk, ledger, one):
    assert [found.told for found in delivery.due(ledger, CAMPAIGN, 9)[1]] == [False]


def test_the_newest_callback_of_a_scope(desk, ledger, one):
    assert callbacks.newest(ledger, CAMPAIGN) == callbacks.newest(ledger, Scope(message_ids=("7",))) == 0
    receive(ledger, [dsn("SENT", 7)])
    assert callbacks.newest(ledger, CAMPAIGN) == 0
    receive(ledger, [dsn("SENT", 100)])
    assert callbacks.newest(ledger, CAMPAIGN) > 0
    assert callbacks.newest(ledger, Scope(message_ids=("7",))) > 0


# --- opting out ---------------------------------------------------------------------------------------------


def test_stop_words(desk, ledger, one):
    def wrote(phone, text, **more):
        return read({"addressFrom": phone, "text": text, "timestamp": AT, **more})

    receive(
        ledger,
        [
            wrote("+421903123450", "stop"),
            wrote("0903123451", "  Stop. Prosím\nuž nie"),
            wrote("0903123452", "nonstop"),
            wrote("0903123453", "nie, STOP"),
            wrote("info", "STOP"),
            read({"messageId": 100, "postbackData": "STOP", "timestamp": AT}),
        ],
        stop_words=["STOP", "koniec"],
    )
    receive(ledger, [wrote("0903123450", "STOP", x=1), wrote("0903123454", "STOP", x=2)], stop_words=["Stop"])
    receive(ledger, [wrote("0903123455", "STOP", x=3)])
    found = desk.sql("SELECT phone FROM telekom_sms_opt_out ORDER BY phone")
    assert [phone for (phone,) in found] == ["421903000001", "421903123450", "421903123451", "421903123454"]


WORDS = ["STOP", "ODHLÁSIŤ", "NEPOSIELAT VIAC"]


@pytest.mark.parametrize(
    ("text", "is_heard"),
    [
        *((text, True) for text in (
            "Stop,prosim", "STOP;ďakujem", "-STOP", "(STOP)", "STOP…", "STOP😀", "»STOP«", "\u200bSTOP",
            "ＳＴＯＰ", "odhlasit", "Odhla\u0301sit\u030c", "neposielať viac, prosím",
        )),
        *((text, False) for text in ("stopka", "STOP1", "neposielat", "nie, STOP", "…")),
    ],
)  # fmt: skip
def test_stop_words_as_people_write_them(desk, ledger, one, text, is_heard):
    receive(ledger, [read({"addressFrom": "tel:+421903123450", "text": text, "timestamp": AT})], WORDS)
    assert desk.sql("SELECT phone FROM telekom_sms_opt_out") == ([("421903123450",)] if is_heard else [])


def test_who_opts_out_before_his_message_is_recorded(desk, ledger, clock):
    campaign = Campaign(desk, 1)
    campaign.claim()
    receive(ledger, [read({"messageId": "100", "postbackData": "STOP", "timestamp": AT})], WORDS)
    campaign.record("100")
    clock.now += 2
    while catch_up(ledger, WORDS) == 0:
        pass
    assert desk.sql("SELECT phone FROM telekom_sms_opt_out") == [("421903000001",)]
    assert told(desk, "phone") == [("421903000001",)]


def test_what_comes_again_undoes_no_opt_in(desk, ledger):
    stop = read({"addressFrom": "0903123450", "text": "STOP", "timestamp": AT})
    assert receive(ledger, [stop], WORDS) == 1
    assert opt_outs.opt_in(ledger, "421903123450")
    assert receive(ledger, [stop], WORDS) == 0
    assert desk.sql("SELECT phone FROM telekom_sms_opt_out") == []


# --- purging ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forget", [False, True])
def test_purging_deletes_them(desk, ledger, clock, forget):
    campaign = Campaign(desk, 1).sent("100")
    planning.end(ledger, campaign.owner)
    words = {"addressFrom": "+421903123450", "text": "Jana ide", "timestamp": AT}
    receive(
        ledger, [dsn("DELIVERED", 100), read(words), read({**words, "text": "STOP"})], stop_words=["STOP"]
    )
    clock.now += 3 * 86_400
    receive(ledger, [dsn("READ", 100), read({**words, "text": "Dobre"})])
    done = purging.purge(ledger, timedelta(days=2), forget=forget, actor="me", reason="test")
    assert (done.callbacks, done.campaigns) == ((2, 1) if forget else (3, 0))
    # Of what came late, that of a forgotten message goes with it.
    assert told(desk, "code", "text") == ([] if forget else [("READ", None)]) + [(None, "Dobre")]
    assert desk.sql("SELECT phone FROM telekom_sms_opt_out") == [("421903123450",)]
    assert ("(callbacks)", "purge", "me") in desk.sql(
        "SELECT campaign, action, actor FROM telekom_sms_action"
    )
    if ledger.dialect == "sqlite":
        assert b"Jana ide" not in desk.path.read_bytes()
    assert purging.purge(ledger, timedelta(days=2), actor="me", reason="again").callbacks == 0
