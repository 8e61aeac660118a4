"""The simulator's page: every number a phone, whose suggestions can be tapped without a script."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Fault, Settings, State
from airflow_provider_telekom_sms.simulator.page import MOST_MESSAGES, MOST_PHONES, page
from airflow_provider_telekom_sms.simulator.state import local_time
from tests.markup import Markup
from tests.simulator.conftest import Api

REPLIES = [
    {"reply": {"text": "Áno", "postbackData": "yes"}},
    {"action": {"text": "Volať", "postbackData": "call", "dial": {"phoneNumber": "+421800123456"}}},
]
NOON = 1_760_176_800.0  # 12:00 in Bratislava


def send(api: Api, number: str = "421903000000", rcs: Any = None, sms: Any = None, **recipient: Any) -> int:
    contents = {key: value for key, value in {"rcs": rcs, "sms": sms}.items() if value is not None}
    body = {
        "recipients": [{"phone": f"+{number}", **recipient}],
        "channels": [{"type": channel} for channel in contents],
        **contents,
    }
    answer = api.raw("POST", "/v2/messages", json=body, headers={"X-API-KEY": DEFAULT_TOKEN})
    message_id: int = answer.json()["messages"][0]["messageId"]
    return message_id


def shown(api: Api) -> Markup:
    return Markup(page(api.state))


def test_an_empty_page_says_how_to_send(api: Api) -> None:
    drawing = Markup(page(api.state, api.url + "/"))
    curl, connection = [e.text for e in drawing.all("pre")]
    assert json.loads(connection) == {"conn_type": "telekom_sms", "host": api.url, "password": DEFAULT_TOKEN}
    words = shlex.split(curl.replace("\\\n", ""))
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    assert words[:4] == ["curl", "-X", "POST", f"{api.url}/v2/messages"]
    answer = api.raw("POST", "/v2/messages", data=words[words.index("-d") + 1].encode(), headers=headers)
    assert answer.status_code == 200
    assert api.state.violations == []
    drawing = shown(api)
    assert drawing.all("pre") == []
    assert [e.text for e in drawing.all(".bubble")] == ["Prajete si dostávať správy z tohto čísla?"]


def test_a_key_that_somebody_chose_is_not_shown() -> None:
    assert "real-key" not in page(State(Settings(tokens=["real-key"])))


def test_a_message_of_v1_has_its_text_and_its_facts(api: Api) -> None:
    message_id = api.send_id("421903000000", "Dobrý deň", **{"from": "Telekom"})
    message = api.state.message(message_id)
    assert message is not None
    message.taken_at = NOON
    api.state.set_status(message_id, "DELIVERED")
    drawing = shown(api)
    assert [e.text for e in drawing.all(".bar")] == ["+421 903 000 000"]
    assert [e.text for e in drawing.all(".bubble")] == ["Dobrý deň"]
    assert [e.text for e in drawing.all(".facts")] == [
        f"DELIVERED SMS from Telekom 12:00:00 1 part #{message_id}"
    ]
    assert drawing.all("time")[0].attributes["datetime"] == "2025-10-11 12:00:00"
    assert [e.text for e in drawing.all(".day")] == ["2025-10-11"]
    assert drawing.all("form") == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("QUEUED", "way"),
        ("SENT", "way"),
        ("DELIVERED", "good"),
        ("READ", "good"),
        ("ERROR", "doubt"),
        ("UNKNOWN", "doubt"),
        ("UNDELIVERABLE", "bad"),
        ("EXPIRED", "bad"),
        ("DELETED", "bad"),
        ("DENIED", "bad"),
        ("<NEW>", "way"),
    ],
)
def test_a_status_has_a_word_and_a_colour(api: Api, code: str, kind: str) -> None:
    api.state.set_status(api.send_id(), code)
    (status,) = shown(api).all(".status")
    assert status.text == code
    assert status.classes == ["status", kind]


def test_an_arrival_has_its_time(api: Api) -> None:
    message_id = api.send_id()
    assert "title" not in shown(api).all(".status")[0].attributes
    api.state.set_status(message_id, "READ")
    message = api.state.message(message_id)
    assert message is not None
    _, arrived = message.status(*api.state.clock())
    assert shown(api).all(".status")[0].attributes["title"] == f"arrived {local_time(arrived)}"


def test_a_message_of_v2_has_its_channel_agent_and_external_id(api: Api) -> None:
    rcs = {"text": "Ahoj", "from": "Agent 007", "suggestions": REPLIES}
    message_id = send(api, rcs=rcs, sms={"text": "x" * 161}, externalId="moje-1")
    (facts,) = shown(api).all(".facts")
    assert " RCS from Agent 007 " in facts.text
    assert facts.text.endswith(f"2 parts #{message_id} externalId moje-1")


def test_a_message_that_fell_back_is_an_sms(api: Api, later: Callable[[float], None]) -> None:
    send(api, "421903000700", rcs={"text": "cez RCS", "suggestions": REPLIES}, sms={"text": "cez SMS"})
    assert [e.text for e in shown(api).all(".bubble")] == ["cez RCS"]
    later(300)
    drawing = shown(api)
    assert [e.text for e in drawing.all(".bubble")] == ["cez SMS"]
    assert " SMS " in drawing.all(".facts")[0].text
    assert drawing.all("form") == []


def test_a_suggestion_is_a_form_that_needs_no_script(api: Api) -> None:
    message_id = send(api, rcs={"text": "Ahoj", "suggestions": REPLIES})
    drawing = shown(api)
    assert [e.attributes for e in drawing.all("form")] == [
        {"method": "post", "action": "/_simulator/click"}
    ] * 2
    assert [
        (e.attributes["type"], e.attributes["name"], e.attributes["value"]) for e in drawing.all("input")
    ] == [
        ("hidden", "message_id", str(message_id)),
        ("hidden", "postbackData", "yes"),
        ("hidden", "text", "Áno"),
        ("hidden", "message_id", str(message_id)),
        ("hidden", "postbackData", "call"),
        ("hidden", "text", "Volať"),
    ]
    (policy,) = [e for e in drawing.all("meta") if "http-equiv" in e.attributes]
    assert "form-action 'self'" in policy.attributes["content"]


def test_a_card_can_be_tapped_too(api: Api) -> None:
    contents = [{"title": "Prvá", "suggestions": REPLIES[:1]}, {"title": "Druhá", "suggestions": REPLIES[1:]}]
    send(api, rcs={"carouselCard": {"cardWidth": "SMALL", "cardContents": contents}})
    drawing = shown(api)
    assert [e.text for e in drawing.all("button")] == ["Áno", "Volať"]
    assert len(drawing.all("form")) == 2


def test_a_conversation_goes_from_old_to_new(api: Api) -> None:
    first = send(api, rcs={"text": "prvá", "suggestions": REPLIES})
    second = send(api, rcs={"text": "druhá", "suggestions": REPLIES})
    for message_id, text in [(second, "Áno"), (first, "Volať")]:
        api.state.click(message_id, "yes", text)
    for message_id, taken, tapped in [(first, 0, 30), (second, 20, 10**6)]:
        message = api.state.message(message_id)
        assert message is not None
        message.taken_at = NOON + taken
        message.replies[0]["time"] = NOON + tapped
    drawing = shown(api)
    assert [e.text for e in drawing.all(".bubble")] == ["prvá", "druhá", "Volať", "Áno"]
    assert [e.text for e in drawing.all(".own")] == [
        "Volaťtapped 12:00:30 postbackData yes",
        "Ánotapped 01:46:40 postbackData yes",
    ]
    assert [e.text for e in drawing.all(".day")] == ["2025-10-11", "2025-10-23"]


def test_messages_of_the_same_moment_keep_their_order(api: Api) -> None:
    for text in ("b", "a", "c"):
        message = api.state.message(api.send_id(text=text))
        assert message is not None
        message.taken_at = NOON
    assert [e.text for e in shown(api).all(".bubble")] == ["b", "a", "c"]


def test_the_newest_phone_is_first(api: Api) -> None:
    for number in ("421903000001", "421903000002", "421903000001"):
        api.send(number)
    assert [e.text for e in shown(api).all(".bar")] == ["+421 903 000 001", "+421 903 000 002"]


def test_what_is_not_shown_is_counted(api: Api) -> None:
    for number in range(MOST_PHONES + 2):
        api.send(f"4219030{number:05}")
    for number in range(MOST_MESSAGES + 1):
        api.send("421904000000", f"text {number}")
    drawing = shown(api)
    assert len(drawing.all(".phone")) == MOST_PHONES
    assert [e.text for e in drawing.all(".note")] == ["1 earlier message", "3 more numbers have messages."]
    first = drawing.all(".screen")[0].text
    assert re.findall("text ([0-9]+)", first) == [str(number) for number in range(1, MOST_MESSAGES + 1)]


def test_the_head_counts(api: Api) -> None:
    api.send("421903000001")
    api.send("421903000001")
    names = [e.text for e in shown(api).all("dt")]
    assert dict(zip(names, [e.text for e in shown(api).all("dd")], strict=True)) == {
        "messages": "2",
        "numbers": "1",
        "requests": "2",
        "logins": "0",
        "callbacks": "0",
        "violations": "0",
    }
    assert [(e.text, e.attributes["href"]) for e in shown(api).all("a")] == [("Reload", "/")]
    assert shown(api).all(".panel") == []


def test_the_last_violations_are_shown(api: Api) -> None:
    api.state.note([f"<violation {number}>" for number in range(12)])
    (panel,) = [e for e in shown(api).all(".panel") if "bad" in e.classes]
    assert panel.text.startswith("Deviations from the manual: the last 10 of 12")
    assert re.findall("<violation [0-9]+>", panel.text) == [f"<violation {n}>" for n in range(11, 1, -1)]


def test_the_faults_on_order_are_shown(api: Api) -> None:
    api.state.order(Fault("drop_after", times=3))
    api.state.order(Fault("429", endpoint="*"))
    (panel,) = [e for e in shown(api).all(".panel") if "doubt" in e.classes]
    assert "drop_after on send_message: hit 0 of 3" in panel.text
    assert "429 on *: hit 0 of any number" in panel.text


TEXTS = st.sampled_from(["<b>x</b>", '"><i x="', "' x='", "<!--", "</p>", "&lt;"]) | st.text(
    st.sampled_from("<>\"'&=/; \u202e") | st.characters(codec="utf-8", exclude_categories=["C"]),
    min_size=1,
    max_size=25,
).filter(str.strip)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=7, max_size=7))
def test_no_text_changes_the_page(api: Api, texts: list[str]) -> None:
    def shape(texts: list[str]) -> Any:
        api.state.reset()
        reply = {"reply": {"text": texts[0], "postbackData": texts[1]}}
        card = {"title": texts[2], "description": texts[3], "suggestions": [reply]}
        rcs = {
            "from": texts[4],
            "standaloneCard": {"cardOrientation": "VERTICAL", "cardContent": card},
        }
        api.state.click(send(api, rcs=rcs, externalId=texts[5]), texts[1], texts[0])
        send(api, sms={"text": texts[6], "from": texts[4]})
        api.state.note([texts[6]])
        return shown(api).shape

    assert shape(texts) == shape(["x"] * 7)


# Over HTTP.


def test_the_page_is_served_and_a_tap_is_seen(api: Api) -> None:
    message_id = send(api, rcs={"text": "Ahoj", "suggestions": REPLIES})
    served = api.raw("GET", "/")
    assert served.headers["content-type"] == "text/html; charset=utf-8"
    drawing = Markup(served.text)
    fields = {e.attributes["name"]: e.attributes["value"] for e in drawing.all("input")[:3]}
    tapped = api.raw("POST", drawing.all("form")[0].attributes["action"], data=fields)
    assert (tapped.status_code, tapped.headers["location"]) == (303, "/")
    message = api.state.message(message_id)
    assert message is not None
    assert [(reply["postbackData"], reply["text"]) for reply in message.replies] == [("yes", "Áno")]
    assert Markup(api.raw("GET", "/").text).all(".own")[0].text.startswith("Áno")
    assert api.state.violations == []
