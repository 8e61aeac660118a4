"""Campaigns over API v2: what shares a content travels together, and each recipient has its own outcome."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_telekom_sms.api.messages import SmsParameters
from airflow_provider_telekom_sms.campaign import engine
from airflow_provider_telekom_sms.campaign.multichannel import Multichannel
from airflow_provider_telekom_sms.campaign.plan import MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, run_job
from airflow_provider_telekom_sms.exceptions import (
    AuthenticationError,
    CreditError,
    InvalidMessageError,
    SourceError,
)
from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.sending import external_id
from airflow_provider_telekom_sms.simulator import Fault
from tests.campaign.conftest import Bench

BOTH = [{"type": "rcs", "ttl": 30}, {"type": "sms"}]
RCS = [{"type": "rcs"}]


def card(title: str, number: int = 0) -> dict[str, Any]:
    url = f"https://example.com/{number}.png"
    return {"title": title, "media": {"height": "SHORT", "contentInfo": {"fileUrl": url}}}


CAROUSEL = {"carouselCard": {"cardWidth": "SMALL", "cardContents": [card("Prvá", 1), card("Druhá", 2)]}}


def over_v2(
    rcs: Any = None, sms: Any = None, channels: Any = None, *, plain: bool = False, **parameters: Any
) -> MessageSettings:
    channels = channels or (RCS if sms is None else BOTH)
    return MessageSettings(
        SmsParameters.check(**parameters), multichannel=Multichannel(channels, None, rcs, sms, plain)
    )


def bodies(bench: Bench) -> list[dict[str, Any]]:
    assert bench.sim.state.violations == []
    return [request.parameters for request in bench.sim.state.requests if request.wire == "v2"]


def test_ten_thousand_recipients_of_one_carousel(bench: Bench) -> None:
    bench.sim.state.settings.fate = None
    rows = [{"phone": f"09031{row:05d}", "name": str(row)} for row in range(10_099) if row % 100 != 99]
    rows.append({"phone": "0903100099", "name": "refused"})
    assert len(rows) == 10_000 - 1 + 1
    result = bench.run(rows, settings=over_v2(CAROUSEL, {"text": "Ponuka na webe"}), key_column="phone")
    assert result.counts.accepted == 9_999, (bench.sim.state.violations[:2], bench.messages()[0])
    assert result.counts.rejected == 1

    sent = bodies(bench)
    assert len(sent) == 100
    assert {len(body["recipients"]) for body in sent} == {100}
    assert all(body["rcs"] == CAROUSEL and body["channels"] == BOTH for body in sent)
    # Each has its own receipt: the ledger's id of every message is that of its own number at the server.
    at_server = {str(message.id): message for message in bench.sim.state.messages}
    accepted = [row for row in bench.messages() if row.state == "accepted"]
    assert len({row.message_id for row in accepted}) == len(accepted) == 9_999
    for row in accepted:
        assert at_server[row.message_id].number == row.phone.lstrip("+")
        assert at_server[row.message_id].external_id == external_id(bench.ledger, row.id, None)
    (refused,) = (row for row in bench.messages() if row.state == "rejected")
    assert refused.phone.endswith("099")
    assert refused.reason.startswith("INCORRECT_RECIPIENT_ADDRESS")


def test_rows_with_the_same_content_travel_together(bench: Bench) -> None:
    rows = [
        {"phone": f"09031{row:05d}", "city": city, "name": name}
        for row, (city, name) in enumerate([("Nitra", "a"), ("Žilina", "b")] * 60)
    ]
    rcs = {"standaloneCard": {"cardOrientation": "VERTICAL", "cardContent": {"title": "Predajňa {city}"}}}
    bench.run(rows, settings=over_v2(rcs, {"text": "Nová predajňa: {city}", "from": "Obchod"}), batch_size=40)
    sent = [
        (body["rcs"]["standaloneCard"]["cardContent"]["title"], body["sms"], len(body["recipients"]))
        for body in bodies(bench)
    ]
    assert Counter((title, size) for title, _, size in sent) == {
        ("Predajňa Nitra", 40): 1, ("Predajňa Nitra", 20): 1,
        ("Predajňa Žilina", 40): 1, ("Predajňa Žilina", 20): 1,
    }  # fmt: skip
    for title, sms, _ in sent:
        assert sms == {"text": f"Nová predajňa: {title.split()[1]}", "from": "Obchod"}
    assert {row.text for row in bench.messages()} == {None}


def test_a_card_for_each_row(bench: Bench) -> None:
    rcs = {
        "text": "Faktúra {number:>4s} na {amount:.2f} €, zľava {{5 %}}",
        "suggestions": [
            {"action": {"text": "Kde", "postbackData": "{number}", "viewLocation": {"latLong": {
                "latitude": "{lat}", "longitude": "{lon}"}}}}
        ],
    }  # fmt: skip
    rows = [
        {"phone": f"090310000{row}", "number": f"F{row}", "amount": row, "lat": "48,15", "lon": f"17.{row}"}
        for row in range(5)
    ]
    result = bench.run(rows, settings=over_v2(rcs))
    assert (result.counts.accepted, result.counts.parts) == (5, 0)
    sent = sorted(bodies(bench), key=lambda body: str(body["rcs"]["text"]))
    assert [body["rcs"]["text"] for body in sent] == [
        f"Faktúra   F{row} na {row}.00 €, zľava {{5 %}}" for row in range(5)
    ]
    place = sent[3]["rcs"]["suggestions"][0]["action"]
    assert place["viewLocation"] == {"latLong": {"latitude": 48.15, "longitude": 17.3}}
    assert place["postbackData"] == "F3"


def test_a_bad_row_is_invalid_and_names_the_path(bench: Bench) -> None:
    rcs = {"text": "Prídete?", "suggestions": [{"reply": {"text": "{answer}", "postbackData": "yes"}}]}
    rows = [{"phone": f"090310000{row}", "answer": "Á" * (25 + row)} for row in range(3)]
    rows.append({"phone": "0903100009", "answer": ""})
    result = bench.run(rows, settings=over_v2(rcs))
    assert (result.counts.accepted, result.counts.invalid) == (1, 3)
    reasons = [row.reason for row in bench.messages() if row.state == "invalid"]
    assert reasons[0].startswith("rcs.suggestions[0].reply.text: ")
    assert "26" in reasons[0]
    assert "25" in reasons[0]
    assert reasons[2] == "column 'answer' is empty"


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"rcs": {"text": "x", "file": {}}}, InvalidMessageError, "rcs"),
        ({"rcs": {"txt": "x"}}, InvalidMessageError, r"rcs\.txt"),
        ({"rcs": {"text": "{name"}}, SourceError, r"rcs\.text: template, column 1"),
        ({"rcs": {"text": "Ahoj {name}"}, "sms": {"text": "x" * 500}}, InvalidMessageError, r"sms\.text"),
        ({"rcs": {"text": "x"}, "channels": [{"type": "sms"}]}, InvalidMessageError, "sms"),
        ({"rcs": {"text": "x"}, "channels": [{"type": "rcs", "ttl": 0}]}, InvalidMessageError, r"\[0\]\.ttl"),
        ({"rcs": {"text": "Ahoj {surname}"}}, SourceError, "surname"),
    ],
)
def test_what_no_row_can_mend_fails_the_plan(
    bench: Bench, settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        bench.run(3, settings=over_v2(**settings))
    assert bench.sim.state.requests == []


def test_one_text_over_v2_travels_in_batches(bench: Bench) -> None:
    settings = over_v2(
        channels=[{"type": "sms"}], plain=True, sender="Obchod", unicode=False, priority=3, group_id=7,
        delivery_time="2030-07-01 08:00:00",
    )  # fmt: skip
    result = bench.run(250, settings=settings, text="Vypredaj od zajtra")
    assert (result.counts.accepted, result.counts.parts) == (250, 250)
    sent = bodies(bench)
    assert sorted(len(body["recipients"]) for body in sent) == [50, 100, 100]
    for body in sent:
        assert {name: body[name] for name in body if name != "recipients"} == {
            "channels": [{"type": "sms"}],
            "sms": {"text": "Vypredaj od zajtra", "from": "Obchod", "unicode": False},
            "priority": 3,
            "groupId": 7,
            "deliveryTime": "2030-07-01T08:00:00+02:00",
        }
    # The same text over v1 is the same message.
    again = bench.run(250, slot="another", settings=MessageSettings(), text="Vypredaj od zajtra")
    assert again.counts.duplicate == 250


def test_another_card_to_the_same_number_is_another_message(bench: Bench) -> None:
    for slot, rcs in (
        ("first", {"text": "Prvá"}),
        ("again", {"text": "Prvá"}),
        ("second", {"text": "Druhá"}),
    ):
        bench.run(3, slot=slot, settings=over_v2(rcs))
    assert Counter(message.text for message in bench.sim.state.messages) == {"Prvá": 3, "Druhá": 3}


@pytest.mark.parametrize("shape", ["external_id", "order", "shuffled", "v1_names"])
def test_receipts_are_matched(bench: Bench, shape: str) -> None:
    bench.sim.state.settings.v2_reply = shape
    bench.run(30, settings=over_v2({"text": "Ahoj"}), batch_size=10)
    bench.agree()
    assert bench.states() == {"accepted": 30}


@pytest.mark.parametrize(
    ("arrange", "state", "taken"),
    [
        (lambda state: setattr(state.settings, "v2_reply", "short"), "in_doubt", True),
        (lambda state: setattr(state.settings, "v2_reply", "strange"), "in_doubt", True),
        (lambda state: state.order(Fault("503", endpoint="messages", taken=True)), "in_doubt", True),
        (lambda state: state.order(Fault("503", endpoint="messages")), "in_doubt", False),
        (lambda state: state.order(Fault("html", endpoint="messages", taken=True)), "in_doubt", True),
        (lambda state: state.order(Fault("cut", endpoint="messages")), "in_doubt", True),
        (lambda state: state.order(Fault("empty", endpoint="messages")), "in_doubt", True),
        (lambda state: state.order(Fault("drop_after", endpoint="messages")), "in_doubt", True),
        (lambda state: state.order(Fault("redirect", endpoint="messages")), "in_doubt", False),
        (
            lambda state: state.order(Fault("error", endpoint="messages", code="INVALID_REQUEST")),
            "rejected",
            False,
        ),
        (
            lambda state: state.order(Fault("error", endpoint="messages", code="10", level="body")),
            "rejected",
            False,
        ),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_every_reply_ends_in_the_right_state(
    bench: Bench, arrange: Callable[[Any], Any], state: str, taken: bool
) -> None:
    arrange(bench.sim.state)
    bench.run(20, settings=over_v2({"text": "Ahoj"}), batch_size=10)
    assert bench.states() == {state: 20}
    assert len(bench.sim.state.messages) == (20 if taken else 0)
    # Whatever it was, the next try does not send it again.
    bench.sim.state.clear_faults()
    bench.sim.state.settings.v2_reply = "external_id"
    before = len(bodies(bench))
    bench.run(20, settings=over_v2({"text": "Ahoj"}), batch_size=10)
    assert len(bodies(bench)) == before
    assert bench.doubles() == {}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("credit", endpoint="messages"), CreditError),
        (Fault("ip", endpoint="messages"), Exception),
        (Fault("error", endpoint="messages", code="NO_CREDIT", level="message"), CreditError),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_account_that_is_refused_uses_up_no_row(
    bench: Bench, fault: Fault, error: type[Exception]
) -> None:
    bench.sim.state.order(fault)
    result = bench.run(30, settings=over_v2({"text": "Ahoj"}), batch_size=10, concurrency=1)
    assert isinstance(result.drained.stopped_by, error)
    bench.sim.state.clear_faults()
    assert result.counts.rejected == result.counts.in_doubt == 0
    bench.run(30, settings=over_v2({"text": "Ahoj"}), batch_size=10)
    assert bench.states() == {"accepted": 30}
    assert bench.doubles() == {}


def test_a_wrong_key_stops_at_once(bench: Bench) -> None:
    bench.sim.state.settings.tokens = ("another",)
    result = bench.run(30, settings=over_v2({"text": "Ahoj"}), batch_size=10, concurrency=1)
    assert isinstance(result.drained.stopped_by, AuthenticationError)
    assert bench.states() == {"planned": 30}


def test_429_is_waited_for(bench: Bench) -> None:
    bench.sim.state.order(Fault("429", endpoint="messages", times=3, retry_after=0))
    bench.run(30, settings=over_v2({"text": "Ahoj"}), batch_size=10)
    assert bench.states() == {"accepted": 30}


def test_a_429_that_took_some_is_not_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over v2 it may have had enough half-way, and then it names what it took."""
    from starlette.responses import Response

    from airflow_provider_telekom_sms.simulator import server

    def too_many(fault: Any, reply: Response) -> Response:
        return Response(reply.body, 429, media_type="application/json")

    monkeypatch.setattr(server, "misbehaved", too_many)
    bench.sim.state.order(Fault("drop_after", endpoint="messages", times=1))
    bench.run(10, settings=over_v2({"text": "Ahoj"}))
    assert bench.states() == {"in_doubt": 10}
    assert len(bodies(bench)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["multichannel"]["rcs"].update(nonsense=1),
        lambda plan: plan["multichannel"].update(channels=[{"type": "viber"}]),
        lambda plan: plan["multichannel"]["rcs"].update(text="{"),
    ],
)
def test_a_plan_that_is_no_longer_allowed_is_told_and_nothing_is_claimed(
    bench: Bench, change: Callable[[dict[str, Any]], None]
) -> None:
    """As where the package was updated between plan and send, and its rules are stricter."""
    settings = over_v2({"text": "Ahoj {name}"})
    spec = bench.spec(bench.rows(5), settings=settings)
    run_job(bench.ledger, bench.hook, Job("campaign", "plan", spec, sends=False), bench.stop)  # type: ignore[arg-type]
    kept = json.loads(settings.to_json())
    change(kept)
    with bench.ledger.transaction() as connection:
        connection.execute(schema.plan.update().values(parameters=json.dumps(kept)))
    with pytest.raises((InvalidMessageError, SourceError)):
        run_job(bench.ledger, bench.hook, Job("campaign", "send"), bench.stop)  # type: ignore[arg-type]
    assert bench.states() == {"planned": 5}


def test_every_plan_is_built_before_anything_is_claimed(bench: Bench) -> None:
    for slot, text in (("first", "Prvá"), ("second", "Druhá")):
        spec = bench.spec(bench.rows(5), settings=over_v2({"text": text}))
        run_job(bench.ledger, bench.hook, Job("campaign", slot, spec, sends=False), bench.stop)  # type: ignore[arg-type]
    kept = json.loads(over_v2({"text": "Druhá", "nonsense": 1}).to_json())
    with bench.ledger.transaction() as connection:
        change = schema.plan.update().where(schema.plan.c.slot == "second")
        connection.execute(change.values(parameters=json.dumps(kept)))
    with pytest.raises(InvalidMessageError, match="nonsense"):
        run_job(bench.ledger, bench.hook, Job("campaign", "send"), bench.stop)  # type: ignore[arg-type]
    assert bench.states() == {"planned": 10}


def test_a_fault_of_ours_ends_the_campaign(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(engine.Engine, "_outcome", fails)
    result = bench.run(30, settings=over_v2({"text": "Ahoj"}), batch_size=10, concurrency=1)
    assert isinstance(result.drained.stopped_by, RuntimeError)
    assert bench.states() == {"in_doubt": 10, "planned": 20}


def test_trouble_stops_a_campaign(bench: Bench) -> None:
    bench.sim.state.order(Fault("503", endpoint="messages"))
    result = bench.run(2_000, settings=over_v2({"text": "Ahoj"}))
    assert "in a row ended in doubt" in str(result.drained.stopped_by)
    assert bench.states()["in_doubt"] <= engine.OUTSTANDING * 100


def test_different_contents_are_sent_side_by_side(bench: Bench) -> None:
    bench.sim.state.settings.latency_ms = 50
    bench.run(200, settings=over_v2({"text": "Ahoj {name}"}), concurrency=40)
    assert len(bodies(bench)) == 200
    assert bench.states() == {"accepted": 200}


def test_a_rate_limit_holds_back_no_batch(bench: Bench) -> None:
    result = bench.run(30, settings=over_v2({"text": "Ahoj"}), rate_limit=60)
    assert result.counts.accepted == 30
    assert len(bodies(bench)) > 3


def test_v1_is_not_asked_for_a_session(bench: Bench) -> None:
    bench.run(3, settings=over_v2({"text": "Ahoj"}))
    assert bench.sim.state.logins == 0


def test_both_apis_in_one_campaign(bench: Bench) -> None:
    bench.run(30, slot="v1", text="Jedna")
    bench.sim.state.order(Fault("ip", endpoint="messages", times=1))
    stopped = bench.run(30, slot="v2", settings=over_v2({"text": "Dve"}), batch_size=10)
    assert stopped.drained.stopped_by
    bench.sim.state.clear_faults()
    bench.run(bench.rows(5, 100), slot="v3", text="Tri", batch_size=10)
    assert bench.states() == {"accepted": 65}
    assert Counter(message.text for message in bench.sim.state.messages) == {"Jedna": 30, "Dve": 30, "Tri": 5}


def test_an_unwanted_recipient_leaves_the_batch(bench: Bench) -> None:
    from airflow_provider_telekom_sms.campaign.suppression import SuppressionList

    spec = bench.spec(bench.rows(10), settings=over_v2({"text": "Ahoj"}))
    job = Job("campaign", "slot", spec, SuppressionList(["0903100003"]))
    run_job(bench.ledger, bench.hook, job, bench.stop)  # type: ignore[arg-type]
    assert bench.states() == {"accepted": 9, "suppressed": 1}
    assert "+421903100003" not in {to["phone"] for body in bodies(bench) for to in body["recipients"]}


def test_what_the_api_repeats_is_not_kept(bench: Bench) -> None:
    said = "Text 'Tajná správa' sa nedá poslať na +421903100000"
    bench.sim.state.order(Fault("error", endpoint="messages", code="INVALID_REQUEST", description=said))
    rows = [{"phone": "0903100000", "what": "správa"}]
    for slot, text in (("of a row", "Tajná {what}"), ("of all", "Tajná správa")):
        bench.run(rows, slot=slot, campaign=slot, settings=over_v2({"text": text}))
        (row,) = bench.messages(slot)
        assert row.reason.startswith("INVALID_REQUEST: Text '…'")


def test_the_reply_is_in_the_debug_log_alone(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.sim.state.settings.fate = None
    with caplog.at_level(logging.DEBUG, "airflow_provider_telekom_sms"):
        bench.run([{"phone": "0903100099"}], settings=over_v2({"text": "Ahoj"}))
    replies = [record for record in caplog.records if record.name.endswith("api.v2")]
    assert [record.levelno for record in replies] == [logging.DEBUG]
    assert "INCORRECT_RECIPIENT_ADDRESS" in replies[0].getMessage()
    assert "903100099" not in caplog.text


def test_settings_survive_the_ledger(bench: Bench) -> None:
    callbacks = [{"url": "https://example.com/dsn", "types": ["dsn"]}]
    shared = Multichannel(BOTH, callbacks, {"text": "Ahoj {name}"}, {"text": "Ahoj"}, False)
    settings = MessageSettings(multichannel=shared)
    again = MessageSettings.from_json(json.loads(settings.to_json()))
    assert again == settings
    assert (shared.ttl, shared.fallback, again.fallback) == (30, True, True)
    assert MessageSettings().to_json() == MessageSettings(multichannel=None).to_json()


def test_a_plan_tells_of_its_channels_and_masks_what_comes_from_rows(bench: Bench) -> None:
    from airflow_provider_telekom_sms.campaign.summary import describe_plan, summarize

    result = bench.run(3, settings=over_v2({"text": "Ahoj {name}, príďte"}, {"text": "Príďte {name}"}))
    summary = summarize(bench.ledger, "campaign", int(result.plan_id or 0), None)
    told = describe_plan(summary)
    assert "channels rcs for 30 s, then sms" in told
    assert "Ahoj č. •, príďte | Príďte č. •" in told
    assert summary["parts"] == 3
