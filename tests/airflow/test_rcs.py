"""RCS sends and campaigns over API v2, in real DAG runs."""

from __future__ import annotations

import copy
import logging
import pickle
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task

from airflow_provider_telekom_sms.api import rcs
from airflow_provider_telekom_sms.api.messages import CallbackUrl, Channel, Recipient, Sms
from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    InvalidMessageError,
)
from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
from airflow_provider_telekom_sms.ledger import delivery
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomRcsSendOperator,
    TelekomSmsBulkSendOperator,
    TelekomSmsCampaignPlanOperator,
    TelekomSmsCampaignSendOperator,
)
from airflow_provider_telekom_sms.sensors.telekom_sms import TelekomSmsDeliverySensor
from airflow_provider_telekom_sms.simulator import Fault, Simulator

Context = Callable[..., dict[str, Any]]
Dags = Callable[..., Any]

ONE, TWO = "0903 000 010", "+421 904 000 020"
#: Its phone has no RCS.
OLD_PHONE = "0903 000 710"
SURVEY = {
    "text": "Budete doma?",
    "suggestions": [{"reply": {"text": "Áno", "postbackData": "yes"}}],
}
BOTH = [{"type": "rcs", "ttl": 30}, {"type": "sms"}]
FAST: dict[str, Any] = {"poll_interval": 0.05, "wait_for_delivery": True}


def bodies(sim: Simulator) -> list[dict[str, Any]]:
    return [request.parameters for request in sim.state.requests if request.wire == "v2"]


def send(**options: Any) -> TelekomRcsSendOperator:
    return TelekomRcsSendOperator(**{"task_id": "send", "recipients": ONE, "rcs": SURVEY, **options})


class TestSend:
    def test_a_message_to_two(self, sim: Simulator, run_dag: Dags) -> None:
        with DAG("rcs_two", schedule=None) as dag:
            send(
                recipients=[ONE, {"phone": TWO, "externalId": "klient-7"}],
                sms="Budete doma? Odpíšte",
                priority=3,
                group_id=5,
                delivery_time="2031-03-01 08:00:00",
                callback_urls=[{"url": "https://example.com/dsn", "types": ["dsn", "postback"]}],
            )
        run = run_dag(dag)

        assert run.states == {"send": "success"}
        [body] = bodies(sim)
        ours = body["recipients"][0].pop("externalId")
        assert body == {
            "recipients": [{"phone": "+421903000010"}, {"phone": "+421904000020", "externalId": "klient-7"}],
            "channels": BOTH,
            "rcs": SURVEY,
            "sms": {"text": "Budete doma? Odpíšte"},
            "priority": 3,
            "groupId": 5,
            "deliveryTime": "2031-03-01T08:00:00+01:00",
            "callbackUrls": [{"url": "https://example.com/dsn", "types": ["dsn", "postback"]}],
        }
        receipts = run.xcom("send")
        assert [receipt["to"] for receipt in receipts] == ["+4219••••0010", "+4219••••0020"]
        assert [receipt["external_id"] for receipt in receipts] == [ours, "klient-7"]
        assert [receipt["message_id"] for receipt in receipts] == [str(m.id) for m in sim.state.messages]

    def test_models_are_as_good_as_dicts(self, sim: Simulator, run_dag: Dags) -> None:
        with DAG("rcs_models", schedule=None) as dag:
            send(
                recipients=Recipient(phone="+421903000010", external_id="a"),
                rcs=rcs.text("Budete doma?", replies={"Áno": "yes"}),
                sms=Sms(text="Budete doma?", sender="Firma"),
                channels=[Channel(type="rcs", ttl=5), Channel(type="sms")],
                callback_urls=[CallbackUrl(url="https://example.com/dsn", types=["dsn"])],
            )
        assert run_dag(dag).state == "success"
        [body] = bodies(sim)
        assert body["rcs"] == SURVEY
        assert body["sms"] == {"text": "Budete doma?", "from": "Firma"}
        assert body["channels"][0] == {"type": "rcs", "ttl": 5}
        assert body["recipients"] == [{"phone": "+421903000010", "externalId": "a"}]

    def test_templates_anywhere(self, sim: Simulator, run_dag: Dags) -> None:
        with DAG("rcs_templates", schedule=None, params={"who": TWO, "what": "pondelok"}) as dag:

            @task
            def numbers() -> list[str]:
                return [ONE]

            send(
                task_id="jinja",
                recipients=[{"phone": "{{ params.who }}", "externalId": "{{ params.what }}"}],
                rcs={"text": "V {{ params.what }}?", "suggestions": SURVEY["suggestions"]},
                sms={"text": "V {{ params.what }}"},
                channels=[{"type": "rcs", "ttl": "{{ 6 * 10 }}"}, {"type": "sms"}],
                priority="{{ 1 + 1 }}",
            )
            send(task_id="whole", recipients=numbers())
        run = run_dag(dag)

        assert run.state == "success"
        sent = {body["recipients"][0]["phone"]: body for body in bodies(sim)}
        jinja = sent["+421904000020"]
        assert (jinja["rcs"]["text"], jinja["sms"]["text"]) == ("V pondelok?", "V pondelok")
        assert (jinja["priority"], jinja["channels"][0]) == (2, {"type": "rcs", "ttl": 60})
        assert jinja["recipients"][0]["externalId"] == "pondelok"
        assert sent["+421903000010"]["channels"] == [{"type": "rcs"}]

    def test_a_templated_mistake_is_found_before_anything_is_sent(
        self, sim: Simulator, run_dag: Dags
    ) -> None:
        with DAG("rcs_mistake", schedule=None, params={"text": "x" * 26}) as dag:
            reply = {"reply": {"text": "{{ params.text }}", "postbackData": "yes"}}
            send(rcs={"text": "Prídete?", "suggestions": [reply]}, retries=3)
        run = run_dag(dag)
        assert run.states == {"send": "failed"}
        assert run.tries == {"send": 1}
        assert sim.state.requests == []

    def test_a_second_try_sends_nothing_again(self, sim: Simulator, context: Context) -> None:
        first = send(recipients=[ONE, TWO]).execute(context())
        again = send(recipients=[ONE, TWO]).execute(context(try_number=2))
        assert again == first
        assert len(bodies(sim)) == 1

    @pytest.mark.parametrize("field", ["rcs", "recipients"])
    def test_what_other_tasks_give_is_never_rendered(self, sim: Simulator, run_dag: Dags, field: str) -> None:
        secret = "{{ 7 * 7 }} {{ conn.telekom_sms_default.password }}"
        with DAG(f"rcs_literal_{field}", schedule=None) as dag:

            @task
            def given() -> Any:
                return [{"text": secret}] if field == "rcs" else [[{"phone": ONE, "externalId": secret}]]

            other: dict[str, Any] = {"recipients": ONE} if field == "rcs" else {"rcs": SURVEY}
            TelekomRcsSendOperator.partial(task_id="send", **other).expand(**{field: given()})
        assert run_dag(dag).state == "success"
        [body] = bodies(sim)
        assert secret in (body["rcs"]["text"], body["recipients"][0].get("externalId"))

    @pytest.mark.parametrize(
        ("rcs", "sms", "said"),
        [
            ("{{ params.card }}", None, "rcs: found a text, allowed are objects"),
            (SURVEY, "{{ params.card }}", "sms: found an object that a template turned into text"),
        ],
    )
    def test_a_dict_that_became_text_is_not_sent(
        self, sim: Simulator, context: Context, rcs: Any, sms: Any, said: str
    ) -> None:
        operator = send(rcs=rcs, sms=sms)
        operator.render_template_fields({"params": {"card": {"text": "Ahoj"}}})  # type: ignore[arg-type]
        with pytest.raises(AirflowFailException, match=said):
            operator.execute(context())
        assert sim.state.requests == []

    def test_a_template_that_gives_no_sms_gives_none(self, sim: Simulator, context: Context) -> None:
        operator = send(sms="{{ params.sms }}")
        operator.render_template_fields({"params": {"sms": None}})  # type: ignore[arg-type]
        operator.execute(context())
        assert bodies(sim)[0]["channels"] == [{"type": "rcs"}]

    def test_a_template_that_gives_no_message_is_told(self, sim: Simulator, context: Context) -> None:
        operator = send(rcs="{{ params.card }}", sms="Ahoj")
        operator.rcs = None
        with pytest.raises(AirflowFailException, match="rcs: found None, allowed: an RCS message"):
            operator.execute(context())

    def test_another_agent_is_no_other_message(
        self, sim: Simulator, context: Context, connect: Callable[..., None]
    ) -> None:
        for number, agent in enumerate(("A", "B")):
            connect(rcs_agent=agent, sender=agent)
            TelekomSmsBulkSendOperator(
                task_id="send", source=[{"phone": ONE}], rcs=SURVEY, sms="Ahoj", campaign_id="jar"
            ).execute(context(run_id=str(number)))
        assert len(bodies(sim)) == 1

    def test_mapped_tasks_with_another_card_each(self, sim: Simulator, run_dag: Dags) -> None:
        with DAG("rcs_mapped", schedule=None) as dag:
            TelekomRcsSendOperator.partial(task_id="send", recipients=ONE).expand(
                rcs=[{"text": "Jedna"}, {"text": "Dve"}, {"text": "Jedna"}]
            )
        run = run_dag(dag)
        assert run.state == "success"
        assert Counter(message.text for message in sim.state.messages) == {"Jedna": 1, "Dve": 1}

    def test_nobody_to_send_to(self, sim: Simulator, context: Context) -> None:
        operator = send(recipients="{{ nobody }}")
        operator.recipients = []
        assert operator.execute(context()) == []
        assert sim.state.requests == []

    def test_who_sends_it_is_the_connections_business(
        self, sim: Simulator, context: Context, connect: Callable[..., None]
    ) -> None:
        connect(sender="Obchod", rcs_agent="Agent")
        send(sms="Ahoj").execute(context())
        send(rcs={**SURVEY, "from": "Iný"}, sms={"text": "Ahoj", "sender": "Firma"}).execute(context("other"))
        assert [(b["rcs"]["from"], b["sms"]["from"]) for b in bodies(sim)] == [
            ("Agent", "Obchod"), ("Iný", "Firma")
        ]  # fmt: skip

    def test_a_refused_recipient_fails_the_task_and_the_others_are_sent(
        self, sim: Simulator, context: Context
    ) -> None:
        with pytest.raises(AirflowFailException, match=r"1 of 2 .* rejected.*INCORRECT_RECIPIENT"):
            send(recipients=[ONE, "0903000099"]).execute(context())
        assert len(sim.state.messages) == 1

    @pytest.mark.parametrize("shape", ["short", "strange"])
    def test_an_odd_reply_is_in_doubt(self, sim: Simulator, context: Context, shape: str) -> None:
        sim.state.settings.v2_reply = shape
        with pytest.raises(AirflowFailException, match="2 messages are in doubt"):
            send(recipients=[ONE, TWO]).execute(context())
        sim.state.settings.v2_reply = "external_id"
        with pytest.raises(AirflowFailException, match="2 messages are in doubt"):
            send(recipients=[ONE, TWO]).execute(context(try_number=2))
        assert len(bodies(sim)) == 1
        receipts = send(recipients=[ONE, TWO], on_in_doubt="resend").execute(context(try_number=3))
        assert len(receipts) == len(bodies(sim)) == 2

    def test_in_batches(self, sim: Simulator, context: Context) -> None:
        numbers = [f"09030{number:04d}0" for number in range(25)]
        assert len(send(recipients=numbers, batch_size=10).execute(context())) == 25
        assert sorted(len(body["recipients"]) for body in bodies(sim)) == [5, 10, 10]

    def test_what_airflow_shows_has_no_number_and_no_text(self, sim: Simulator) -> None:
        operator = send(recipients=[{"phone": ONE}, TWO], sms="Tajné")
        shown = f"{operator.recipients!r} {operator.rcs!r} {operator.sms!r} {operator.channels!r}"
        assert shown == "+4219••••0010, +4219••••0020 <text, suggestions> <5 characters> None"
        again = pickle.loads(pickle.dumps(copy.deepcopy(operator)))
        assert repr(again.rcs) == "<text, suggestions>"


class TestParseTime:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"rcs": {"text": "x", "suggestion": []}}, r"rcs\.suggestion\b"),
            (
                {"rcs": {"text": "x", "suggestions": [{"reply": {"text": "y"}}]}},
                r"suggestions\[0\]\.reply\.postb",
            ),
            ({"rcs": None}, "sms"),
            ({"rcs": None, "sms": "x" * 460}, r"sms\.text"),
            ({"channels": [{"type": "viber"}]}, r"channels\[0\]\.type: found 'viber', allowed are rcs, sms"),
            ({"recipients": []}, "recipients"),
            ({"recipients": [{"phone": ONE, "external": "x"}]}, r"recipients\[0\]\.external\b"),
            ({"recipients": [{"externalId": "x"}]}, r"recipients\[0\]\.phone"),
            (
                {"recipients": [{"phone": ONE, "externalId": "a"}, {"phone": ONE, "externalId": "b"}]},
                r"recipients\[1\]\.externalId: found another one than with recipients\[0\]",
            ),
            (
                {"recipients": [{"phone": ONE, "externalId": "a"}, {"phone": TWO, "externalId": "a"}]},
                r"recipients\[1\]\.externalId: found that of recipients\[0\]",
            ),
            ({"recipients": "{{ params.to }}", "rcs": {"txt": "x"}}, r"rcs\.txt"),
            ({"telekom_sms_conn_id": "{{ var.value.c }}", "rcs": {"txt": "x"}}, r"rcs\.txt"),
            ({"channels": 5}, "channels"),
            ({"rcs": "Ahoj"}, "rcs: found a text"),
            ({"priority": 4}, "priority: found 4, allowed are 1"),
            ({"group_id": 0}, "group_id"),
            ({"delivery_time": "zajtra"}, "delivery_time"),
            ({"callback_urls": [{"url": "ftp://x", "types": ["dsn"]}]}, r"callbackUrls\[0\]\.url"),
        ],
    )
    def test_a_mistake_fails_the_dag(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidMessageError, match=said):
            send(**options)

    def test_a_wrong_number_is_masked(self) -> None:
        with pytest.raises(
            InvalidMessageError, match=r"recipients\[1\]\.phone: .*landline.*rcs\.text"
        ) as caught:
            send(recipients=[ONE, "02 5880 1234"], rcs={"text": ""})
        assert "58801234" not in str(caught.value).replace(" ", "")

    @pytest.mark.parametrize("batch_size", [0, True, "10", 1_001])
    def test_a_wrong_batch_size(self, batch_size: Any) -> None:
        with pytest.raises(ConfigurationError, match="batch_size: found"):
            send(batch_size=batch_size)

    def test_what_is_ignored_is_warned_of(self) -> None:
        card = {"title": "Jedna", "suggestions": SURVEY["suggestions"]}
        message = {"standaloneCard": {"cardOrientation": "VERTICAL", "cardContent": card}}
        with pytest.warns(UserWarning, match=r"rcs\.suggestions"):
            send(rcs={**message, "suggestions": SURVEY["suggestions"]})

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"rcs": SURVEY, "text": "x"}, "text, text_column, rcs"),
            ({"text": "x", "sms": "y"}, "sms: found"),
            ({"text": "x", "api": "v2", "sms": "y"}, "sms: found"),
            ({"text": "x", "channels": BOTH}, "channels: found 'API v1'"),
            ({"text": "x", "callback_urls": []}, "callback_urls: found 'API v1'"),
            ({"text": "x", "api": "v3"}, "api: found 'v3', allowed: 'v1', 'v2'"),
            ({"text": "x", "api": "v2", "channels": BOTH}, "rcs"),
            ({"rcs": {"text": "{name"}}, r"rcs\.text: template, column 1"),
            ({"rcs": {"text": "{name}", "suggestions": [{}]}, "sms": {"txt": "x"}}, r"sms\.txt"),
            ({"rcs": {"text": "{name}", "sugestions": []}}, r"rcs\.sugestions: unknown"),
            ({"rcs": {"text": ""}}, r"rcs\.text"),
            ({"rcs": {"txt": "x"}, "sms": "{{ params.sms }}"}, r"rcs\.txt"),
            ({"rcs": "Ahoj"}, "rcs: found a text, allowed are objects"),
            (
                {"rcs": SURVEY, "sms": "{'text': 'x'}"},
                "sms: found an object that a template turned into text",
            ),
            ({"rcs": SURVEY, "channels": 5}, "channels"),
            ({"rcs": SURVEY, "channels": {"type": "sms"}}, "channels"),
            ({"rcs": SURVEY, "callback_urls": "https://x.sk"}, "callbackUrls"),
            ({"rcs": SURVEY, "dry_run": "{{ params.x }}"}, "dry_run: found '{{ params.x }}', allowed: True"),
            ({"rcs": SURVEY, "wait_for_delivery": "no"}, "wait_for_delivery: found 'no'"),
            ({"rcs": SURVEY, "delivery_timeout": "1h"}, "delivery_timeout: found '1h'"),
            ({"rcs": {"text": "TAJNE {Jozef 0903123456: x}"}}, "what stands in braces"),
            (
                {"rcs": {"text": "{name} {name}", "suggestions": [{"reply": {"text": "{name}"}}]}},
                "postbackData",
            ),
            ({"rcs": SURVEY, "batch_size": 0}, "batch_size"),
        ],
    )
    def test_a_wrong_campaign(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises((ConfigurationError, ValueError), match=said):
            TelekomSmsBulkSendOperator(task_id="send", source=[], **options)

    @pytest.mark.parametrize(
        "options", [{"callback": True}, {"validity": 5}, {"message_type": "flash"}, {"prefer_rcs": True}]
    )
    @pytest.mark.parametrize("content", [{"rcs": SURVEY}, {"text": "x", "api": "v2"}])
    def test_what_v2_does_not_have_is_refused(
        self, sim: Simulator, context: Context, options: dict[str, Any], content: dict[str, Any]
    ) -> None:
        operator = TelekomSmsBulkSendOperator(task_id="send", source=[{"phone": ONE}], **content, **options)
        with pytest.raises(AirflowFailException, match=f"{next(iter(options))}: found with API v2"):
            operator.execute(context())
        assert sim.state.requests == []


class TestCampaign:
    def test_a_card_of_each_row(self, sim: Simulator, run_dag: Dags) -> None:
        rows = [{"phone": f"090300{n:03d}0", "name": name} for n, name in enumerate(("Ján", "Eva", "Ľubo"))]
        card = rcs.card(
            "Ahoj {name}", image="https://example.com/{name}.png", buttons=[rcs.reply("Áno", "{name}")]
        )
        with DAG("rcs_bulk", schedule=None) as dag:
            TelekomSmsBulkSendOperator(
                task_id="send", source=rows, rcs=rcs.single(card), sms="Ahoj {name}, pozrite si e-mail",
                max_parts_per_message=1, price_per_part=0.05, sender="Obchod", unicode=False, **FAST,
            )  # fmt: skip
        run = run_dag(dag)

        assert run.states == {"send": "success"}
        summary = run.xcom("send")
        assert (summary["accepted"], summary["delivered"], summary["parts"], summary["price"]) == (
            3,
            3,
            3,
            0.15,
        )
        for body in bodies(sim):
            name = body["rcs"]["standaloneCard"]["cardContent"]["title"].split()[1]
            assert body["sms"] == {
                "text": f"Ahoj {name}, pozrite si e-mail", "from": "Obchod", "unicode": False
            }  # fmt: skip
            assert (
                body["rcs"]["standaloneCard"]["cardContent"]["suggestions"][0]["reply"]["postbackData"]
                == name
            )
            assert body["channels"] == BOTH

    def test_models_within_dicts_and_columns_anywhere(self, sim: Simulator, context: Context) -> None:
        event = {"title": "{name}", "description": "-", "startDateTime": "{start}", "endDateTime": "{end}"}
        action = {"text": "Termín", "postbackData": "{name}", "createCalendarEvent": event}
        row = {"phone": ONE, "name": "Ján", "url": "https://example.com/x", "start": "2030-05-16T14:00:00Z"}
        operator = TelekomSmsBulkSendOperator(
            task_id="send",
            source=[{**row, "end": "2030-05-16T15:00:00Z"}, {**row, "phone": TWO, "end": row["start"]}],
            rcs={"file": {"url": "{url}"}, "suggestions": [rcs.reply("Áno"), {"action": action}]},
        )
        summary = operator.execute(context())
        assert (summary["accepted"], summary["invalid"]) == (1, 1)
        [body] = bodies(sim)
        assert body["rcs"]["file"] == {"url": "https://example.com/x"}
        assert body["rcs"]["suggestions"][0] == {"reply": {"text": "Áno", "postbackData": "Áno"}}

    @pytest.mark.parametrize("unicode", ["{{ params.u }}", "false", ""])
    def test_unicode_as_templates_give_it(self, sim: Simulator, context: Context, unicode: str) -> None:
        operator = TelekomSmsBulkSendOperator(
            task_id="send", source=[{"phone": ONE}], rcs=SURVEY, sms="čau", unicode=unicode
        )
        operator.render_template_fields({"params": {"u": "false"}})  # type: ignore[arg-type]
        operator.execute(context())
        assert bodies(sim)[0]["sms"].get("unicode") == (None if unicode == "" else False)

    @pytest.mark.parametrize(
        ("start", "end"),
        [("{start}", "2026-06-01T00:00:00Z"), ("2031-01-01T00:00:00Z", "{end}"),
         (datetime(2030, 5, 16, 14), datetime(2030, 5, 16, 15))],
    )  # fmt: skip
    def test_times_of_a_row_and_of_all(self, sim: Simulator, context: Context, start: Any, end: Any) -> None:
        event = {"title": "x", "description": "-", "startDateTime": start, "endDateTime": end}
        action = {"text": "Termín", "postbackData": "{name}", "createCalendarEvent": event}
        row = {"phone": ONE, "name": "Ján", "start": "2025-05-16T14:00:00Z", "end": "2032-05-16T15:00:00Z"}
        operator = TelekomSmsBulkSendOperator(
            task_id="send", source=[row], rcs={"text": "x", "suggestions": [{"action": action}]}
        )
        assert operator.execute(context())["accepted"] == 1

    def test_a_cell_in_the_wrong_place_is_not_quoted(self, sim: Simulator, context: Context) -> None:
        card = {"cardOrientation": "{name}", "cardContent": {"title": "x"}}
        operator = TelekomSmsBulkSendOperator(
            task_id="send",
            source=[{"phone": ONE, "name": "Novakova"}],
            rcs={"standaloneCard": card},
            on_invalid="fail",
        )
        with pytest.raises(AirflowFailException, match=r"cardOrientation: found a cell, allowed") as caught:
            operator.execute(context())
        assert "Novakova" not in str(caught.value)

    def test_texts_over_v2(self, sim: Simulator, run_dag: Dags) -> None:
        rows = [{"phone": f"090300{n:03d}0"} for n in range(120)]
        with DAG("v2_bulk", schedule=None) as dag:
            TelekomSmsBulkSendOperator(task_id="send", source=rows, text="Všetkým", api="v2", batch_size=50)
        assert run_dag(dag).xcom("send")["accepted"] == 120
        assert sorted(len(body["recipients"]) for body in bodies(sim)) == [20, 50, 50]
        assert sim.state.logins == 0

    def test_planned_approved_and_drained_by_several(self, sim: Simulator, run_dag: Dags) -> None:
        rows = [{"phone": f"090300{n:03d}0", "name": str(n)} for n in range(60)]
        with DAG("rcs_halves", schedule=None) as dag:
            plan = TelekomSmsCampaignPlanOperator(task_id="plan", source=rows, rcs=SURVEY, sms="Ahoj {name}")
            drain = TelekomSmsCampaignSendOperator.partial(
                task_id="drain", campaign_id=plan.output["campaign_id"], batch_size=20
            )
            drain.expand(worker=[0, 1])
        run = run_dag(dag)

        assert run.state == "success"
        summary = run.xcom("plan")
        assert (summary["messages"], summary["parts"]) == (60, 60)
        assert "channels rcs for 30 s, then sms" in summary["description"]
        assert len(sim.state.messages) == 60
        assert max(sim.state.messages_per_number().values()) == 1

    def test_the_text_of_a_card_may_be_templated_by_airflow_too(self, sim: Simulator, run_dag: Dags) -> None:
        with DAG("rcs_bulk_jinja", schedule=None, params={"day": "v utorok"}) as dag:
            TelekomSmsBulkSendOperator(
                task_id="send",
                source=[{"phone": ONE, "name": "Ján"}],
                rcs={"text": "Ahoj {name}, {{ params.day }}"},
            )
        assert run_dag(dag).state == "success"
        assert bodies(sim)[0]["rcs"] == {"text": "Ahoj Ján, v utorok"}

    def test_a_changed_card_is_refused_once_some_were_sent(self, sim: Simulator, context: Context) -> None:
        def bulk(text: str) -> TelekomSmsBulkSendOperator:
            return TelekomSmsBulkSendOperator(task_id="send", source=[{"phone": ONE}], rcs={"text": text})

        bulk("Jedna").execute(context())
        with pytest.raises(AirflowFailException, match="changed since the campaign was planned"):
            bulk("Dve").execute(context(try_number=2))
        assert len(sim.state.messages) == 1


class TestFallback:
    """A phone without RCS: the message fails there first, and arrives by SMS."""

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_it_arrives_by_sms(self, sim: Simulator, run_dag: Dags, deferrable: bool) -> None:
        sim.state.settings.fallback_gap = 30.0
        with DAG(f"rcs_fallback_{deferrable}", schedule=None) as dag:
            send(
                recipients=[ONE, OLD_PHONE],
                sms="Budete doma?",
                channels=[{"type": "rcs", "ttl": 20}, BOTH[1]],
                deferrable=deferrable,
                **FAST,
            )
        assert run_dag(dag).state == "success"
        assert {message.number: message.channel for message in sim.state.messages} == {
            "421903000010": "rcs", "421903000710": "sms"
        }  # fmt: skip

    @pytest.mark.parametrize("order", [["EXPIRED", "DELIVERED"], ["DELIVERED", "EXPIRED"]])
    @pytest.mark.parametrize("deferrable", [False, True])
    def test_the_sensor_succeeds_in_whatever_order_reports_come(
        self, sim: Simulator, context: Context, run_dag: Dags, order: list[str], deferrable: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        send(sms="Ahoj").execute(context())
        (message,) = sim.state.messages
        answers = iter([order[0], order[0]])
        plain = type(sim.state).message
        asked: list[str] = []

        def told(state: Any, message_id: Any) -> Any:
            code = next(answers, order[1])
            asked.append(code)
            sim.state.set_status(message.id, code)
            return plain(state, message_id)

        monkeypatch.setattr(type(sim.state), "message", told)
        with DAG(f"rcs_sensor_{order[0]}_{deferrable}", schedule=None) as dag:
            TelekomSmsDeliverySensor(
                task_id="wait",
                message_ids=[str(message.id)],
                deferrable=deferrable,
                poke_interval=0.05,
                timeout=30,
            )
        assert run_dag(dag).state == "success"
        assert asked[0] == order[0]

    def test_a_failure_on_the_last_channel_is_final_after_ttl_and_grace(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delivery, "FALLBACK_GRACE", 0.5)
        operator = send(
            recipients="0903000031", sms="Ahoj", channels=[{"type": "rcs", "ttl": 1}, BOTH[1]], **FAST
        )
        with pytest.raises(AirflowFailException, match="Not all were delivered"):
            operator.execute(context())

    def test_without_another_channel_it_is_final_at_once(self, sim: Simulator, context: Context) -> None:
        with pytest.raises(AirflowFailException, match="Not all were delivered"):
            send(recipients="0903000031", **FAST).execute(context())


class TestHook:
    MESSAGE: dict[str, Any] = {
        "recipients": [{"phone": "+421903000010", "externalId": "a"}, {"phone": "+421903000099"}],
        "channels": [{"type": "rcs"}],
        "rcs": SURVEY,
    }

    def test_receipts(self, sim: Simulator) -> None:
        with TelekomSmsHook() as hook:
            taken, refused = hook.send_multichannel(self.MESSAGE)
        assert (taken.status, taken.code, taken.external_id) == ("success", "OK", "a")
        assert taken.message_id == str(sim.state.messages[0].id)
        assert (refused.status, refused.code, refused.message_id) == (
            "error",
            "INCORRECT_RECIPIENT_ADDRESS",
            "",
        )

    def test_a_receipt_in_xcom_has_no_number(self, sim: Simulator, run_dag: Dags) -> None:
        with DAG("rcs_hook", schedule=None) as dag:

            @task
            def send_it() -> Any:
                return TelekomSmsHook().send_multichannel(self.MESSAGE)

            send_it()
        receipts = str(run_dag(dag).xcom("send_it"))
        assert "903000010" not in receipts
        assert "+4219••••0010" in receipts
        assert str(sim.state.messages[0].id) in receipts

    async def test_the_twin(self, sim: Simulator) -> None:
        async with TelekomSmsHook() as hook:
            receipts = await hook.asend_multichannel(self.MESSAGE, batch_size=1)
        assert [receipt.status for receipt in receipts] == ["success", "error"]
        assert len(bodies(sim)) == 2

    def test_batches_after_one_that_got_lost(self, sim: Simulator) -> None:
        sim.state.order(Fault("503", endpoint="messages", at=[2]))
        numbers = [{"phone": f"+42190300{n:03d}0"} for n in range(30)]
        with TelekomSmsHook() as hook:
            receipts = hook.send_multichannel({**self.MESSAGE, "recipients": numbers}, batch_size=10)
        assert [receipt.status for receipt in receipts] == ["success"] * 10 + ["unknown"] * 10 + [
            "not_sent"
        ] * 10
        assert len(bodies(sim)) == 2

    def test_all_refused_is_an_error(self, sim: Simulator) -> None:
        sim.state.order(Fault("credit", endpoint="messages"))
        with TelekomSmsHook() as hook, pytest.raises(Exception, match="NO_CREDIT"):
            hook.send_multichannel(self.MESSAGE)

    def test_a_wrong_message_is_not_sent(self, sim: Simulator) -> None:
        with (
            TelekomSmsHook() as hook,
            pytest.raises(InvalidMessageError, match=r"channels\[1\]\.type.*rcs\.txt"),
        ):
            hook.send_multichannel(
                {**self.MESSAGE, "rcs": {"txt": "x"}, "channels": [{"type": "rcs"}, {"type": "x"}]}
            )
        assert sim.state.requests == []

    def test_a_warning_is_logged(self, sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
        callbacks = [{"url": "https.zakaznik.app/callback", "types": ["dsn"]}]
        with TelekomSmsHook() as hook, caplog.at_level(logging.WARNING):
            hook.send_multichannel({**self.MESSAGE, "callbackUrls": callbacks})
        assert "callbackUrls[0].url" in caplog.text
