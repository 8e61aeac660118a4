"""Each deviation from manual v2, beside the nearest message that it allows."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from airflow_provider_telekom_sms.simulator.judge_v2 import read, seconds_of, violations_of

CARD = {"title": "Titulok", "media": {"height": "SHORT", "contentInfo": {"fileUrl": "https://a.sk/1.png"}}}
GOOD: dict[str, Any] = {
    "recipients": [{"phone": "+421903000000", "externalId": "1"}],
    "channels": [{"type": "rcs", "ttl": 30}, {"type": "sms"}],
    "callbackUrls": [{"url": "https://a.sk/cb", "types": ["dsn"]}],
    "sms": {"text": "Ahoj"},
    "rcs": {"text": "Ahoj"},
}
STANDALONE = {"cardOrientation": "VERTICAL", "cardContent": CARD}
CAROUSEL = {"cardWidth": "MEDIUM", "cardContents": [CARD, CARD]}
EVENT = {
    "title": "a",
    "description": "b",
    "startDateTime": "2025-05-16T14:00:00.00+02:00",
    "endDateTime": "2025-05-16T14:30:00.00+02:00",
}
GONE = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one value replaced, or removed if it is GONE."""
    body = copy.deepcopy(GOOD)
    *above, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = body
    for step in above:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return body


def action(**what: Any) -> dict[str, Any]:
    button = {"text": "x", "postbackData": "y", **what}
    return {"text": "Ahoj", "suggestions": [{"action": button}]}


def reply(**what: Any) -> dict[str, Any]:
    return {"text": "Ahoj", "suggestions": [{"reply": {"text": "x", "postbackData": "y", **what}}]}


def standalone(**what: Any) -> dict[str, Any]:
    return {"standaloneCard": {**STANDALONE, **what}}


def carousel(**what: Any) -> dict[str, Any]:
    return {"carouselCard": {**CAROUSEL, **what}}


def card(**what: Any) -> dict[str, Any]:
    return standalone(cardContent={**CARD, **what})


def media(**what: Any) -> dict[str, Any]:
    return {k: v for k, v in {**CARD["media"], **what}.items() if v is not GONE}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("recipients", GONE, "recipients: missing"),
        ("recipients", None, "recipients: missing"),
        ("recipients", [], "recipients: 0 elements"),
        ("recipients", {}, "recipients: not an array"),
        ("recipients.0", "+421903000000", "recipients[0]: not an object"),
        ("recipients.0", None, "recipients[0]: not an object"),
        ("recipients.0.phone", GONE, "recipients[0].phone: missing"),
        ("recipients.0.phone", "421903000000", "recipients[0].phone: not"),
        ("recipients.0.phone", "0903000000", "recipients[0].phone: not"),
        ("recipients.0.phone", "+4219030000000", "recipients[0].phone: not"),
        ("recipients.0.phone", "+42190300000٠", "recipients[0].phone: not"),
        ("recipients.0.phone", "+421903000000\n", "recipients[0].phone: not"),
        ("recipients.0.phone", 421903000000, "recipients[0].phone: not a string"),
        ("recipients.0.externalId", " ", "recipients[0].externalId: blank"),
        ("recipients.0.externalId", 1, "recipients[0].externalId: not a string"),
        ("recipients.0.name", "x", "recipients[0].name: no such parameter"),
        ("channels", GONE, "channels: missing"),
        ("channels", [], "channels: 0 elements"),
        ("channels.0.type", "RCS", "channels[0].type: none of"),
        ("channels.0.type", GONE, "channels[0].type: missing"),
        ("channels.0.type", "sms", "channels[1].type: given twice"),
        ("channels.0.ttl", 0, "channels[0].ttl: out of range"),
        ("channels.0.ttl", 30.0, "channels[0].ttl: not an integer"),
        ("channels.0.ttl", "30", "channels[0].ttl: not an integer"),
        ("channels.0.ttl", True, "channels[0].ttl: not an integer"),
        ("sms", GONE, "sms: missing"),
        ("sms", None, "sms: missing"),
        ("rcs", GONE, "rcs: missing"),
        ("priority", 0, "priority: out of range"),
        ("priority", 4, "priority: out of range"),
        ("priority", "2", "priority: not an integer"),
        ("groupId", 0, "groupId: out of range"),
        ("from", "Telekom", "from: no such parameter"),
        ("external_id", None, "external_id: no such parameter"),
        ("deliveryTime", "2025-09-25T08:00:00", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25 08:00:00Z", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25 08:00:00.5", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25T08:00:00z", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25t08:00:00Z", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25T08:00:00+0200", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25T08:00:00+24:00", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25T08:00:00+02:60", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25T08:00:00.Z", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25T08:00:00.1234567890Z", "deliveryTime: none"),
        ("deliveryTime", "2025-02-29T08:00:00Z", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25T24:00:00Z", "deliveryTime: none"),
        ("deliveryTime", "2025-09-25T08:00:60Z", "deliveryTime: none"),
        ("deliveryTime", "1969-12-31T23:59:59Z", "deliveryTime: none"),
        ("deliveryTime", "2026-03-29 02:00:00", "deliveryTime: none"),
        ("deliveryTime", "2026-03-29 02:59:59", "deliveryTime: none"),
        ("deliveryTime", 1758780000, "deliveryTime: not a string"),
        ("callbackUrls", [], "callbackUrls: 0 elements"),
        ("callbackUrls.0.url", GONE, "callbackUrls[0].url: missing"),
        ("callbackUrls.0.url", "ftp://a.sk", "callbackUrls[0].url: not a URL"),
        ("callbackUrls.0.url", "https://", "callbackUrls[0].url: not a URL"),
        ("callbackUrls.0.url", "https://a.sk/a b", "callbackUrls[0].url: not a URL"),
        ("callbackUrls.0.url", "https://a\\b/", "callbackUrls[0].url: not a URL"),
        ("callbackUrls.0.url", "localhost/cb", "callbackUrls[0].url: not a URL"),
        ("callbackUrls.0.url", "/cb", "callbackUrls[0].url: not a URL"),
        ("callbackUrls.0.types", [], "callbackUrls[0].types: 0 elements"),
        ("callbackUrls.0.types", "dsn", "callbackUrls[0].types: not an array"),
        ("callbackUrls.0.types", ["dsn", "dsn"], "callbackUrls[0].types[1]: given twice"),
        ("callbackUrls.0.types", ["read"], "callbackUrls[0].types[0]: none of"),
        ("sms.text", "", "sms.text: blank"),
        ("sms.text", "\u00a0", "sms.text: blank"),
        ("sms.text", "a\x00", "sms.text: a character"),
        ("sms.text", "a\x85", "sms.text: a character"),
        ("sms.text", "a\ud83d", "sms.text: a character"),
        ("sms.text", "a\uffff", "sms.text: a character"),
        ("sms.text", "a" * 460, "sms.text: more than 3 parts"),
        ("sms.text", "č" * 202, "sms.text: more than 3 parts"),
        ("sms", {"text": "a" * 202, "unicode": True}, "sms.text: more than 3 parts"),
        ("sms.from", "", "sms.from: blank"),
        ("sms.unicode", 0, "sms.unicode: not a boolean"),
        ("sms.unicode", "false", "sms.unicode: not a boolean"),
        ("sms.sender", "x", "sms.sender: no such parameter"),
        ("rcs", {}, "rcs: 0 of"),
        ("rcs", {"text": "a", "file": {"url": "https://a.sk"}}, "rcs: 2 of"),
        ("rcs", {"text": None}, "rcs: 0 of"),
        ("rcs.text", " \n", "rcs.text: blank"),
        ("rcs.from", " ", "rcs.from: blank"),
        ("rcs.suggestions", [{"reply": {"text": "a", "postbackData": "b"}}] * 12, "rcs.suggestions: 12"),
        ("rcs", {"file": {}}, "rcs.file.url: missing"),
        ("rcs", {"file": {"url": "a.sk/x.pdf"}}, "rcs.file.url: not an http(s) URL"),
        ("rcs", {"file": {"url": "https://a.sk", "thumbnailUrl": ""}}, "rcs.file.thumbnailUrl: not"),
        ("rcs", {"file": {"url": "https://a.sk", "forceRefresh": 1}}, "rcs.file.forceRefresh: not a boolean"),
        ("rcs", {"file": {"url": "https://a.sk", "name": "x"}}, "rcs.file.name: no such"),
        ("rcs", standalone(cardOrientation=None), "standaloneCard.cardOrientation: missing"),
        ("rcs", standalone(cardOrientation="vertical"), "standaloneCard.cardOrientation: none of"),
        ("rcs", standalone(cardContent=None), "standaloneCard.cardContent: missing"),
        ("rcs", standalone(cardContent=[CARD]), "standaloneCard.cardContent: not an object"),
        ("rcs", standalone(thumbnailImageAlignment="CENTER"), "thumbnailImageAlignment: none of"),
        ("rcs", standalone(height="BIG"), "standaloneCard.height: none of"),
        ("rcs", standalone(cardWidth="SMALL"), "standaloneCard.cardWidth: no such"),
        ("rcs", card(title="a" * 201), "cardContent.title: blank, or longer than 200"),
        ("rcs", card(title=""), "cardContent.title: blank"),
        ("rcs", card(description="a" * 2001), "cardContent.description: blank, or longer"),
        ("rcs", standalone(cardContent={"suggestions": []}), "cardContent: none of title"),
        ("rcs", standalone(cardContent={}), "cardContent: none of title"),
        ("rcs", card(media=media(height=GONE)), "cardContent.media.height: missing"),
        ("rcs", card(media=media(height="HIGH")), "cardContent.media.height: none of"),
        ("rcs", card(media=media(contentInfo=GONE)), "cardContent.media.contentInfo: missing"),
        ("rcs", card(media=media(contentInfo={})), "contentInfo.fileUrl: missing"),
        (
            "rcs",
            card(media=media(contentInfo={"fileUrl": "https://a.sk", "url": 1})),
            "contentInfo.url: no such",
        ),
        ("rcs", carousel(cardWidth=None), "carouselCard.cardWidth: missing"),
        ("rcs", carousel(cardWidth="LARGE"), "carouselCard.cardWidth: none of"),
        ("rcs", carousel(cardContents=[CARD]), "cardContents: 1 elements"),
        ("rcs", carousel(cardContents=[CARD] * 11), "cardContents: 11 elements"),
        (
            "rcs",
            carousel(cardWidth="SMALL", cardContents=[CARD, {"media": media(height="TALL")}]),
            "cardContents[1].media.height: TALL",
        ),
        (
            "rcs",
            carousel(cardContents=[CARD, {"media": media(height=GONE)}]),
            "cardContents[1].media.height: missing",
        ),
        ("rcs", {"text": "a", "suggestions": {"reply": {}}}, "rcs.suggestions: not an array"),
        ("rcs", {"text": "a", "suggestions": [{}]}, "rcs.suggestions[0]: 0 of reply, action"),
        ("rcs", reply(text="a" * 26), "reply.text: blank, or longer than 25"),
        ("rcs", reply(text=""), "reply.text: blank"),
        ("rcs", reply(postbackData=None), "reply.postbackData: missing"),
        ("rcs", reply(postbackData=" "), "reply.postbackData: blank"),
        ("rcs", reply(fallbackUrl="https://a.sk"), "reply.fallbackUrl: no such"),
        ("rcs", action(), "action: 0 of"),
        ("rcs", action(shareLocation={}, openUrl={"url": "https://a.sk"}), "action: 2 of"),
        ("rcs", action(shareLocation={}, fallbackUrl="a.sk"), "action.fallbackUrl: not"),
        ("rcs", action(shareLocation={"label": "x"}), "shareLocation.label: no such"),
        ("rcs", action(shareLocation=True), "shareLocation: not an object"),
        ("rcs", action(dial={}), "dial.phoneNumber: missing"),
        ("rcs", action(dial={"phoneNumber": "112"}), "dial.phoneNumber: neither"),
        ("rcs", action(dial={"phoneNumber": "+420800123456"}), "dial.phoneNumber: neither"),
        ("rcs", action(openUrl={}), "openUrl.url: missing"),
        ("rcs", action(openUrl={"url": "https://a.sk", "description": ""}), "openUrl.description: blank"),
        ("rcs", action(viewLocation={"label": "x"}), "viewLocation: 0 of latLong, query"),
        (
            "rcs",
            action(viewLocation={"query": "x", "latLong": {"latitude": 1, "longitude": 1}}),
            "viewLocation: 2 of",
        ),
        ("rcs", action(viewLocation={"query": ""}), "viewLocation.query: blank"),
        ("rcs", action(viewLocation={"latLong": {"latitude": 1}}), "latLong.longitude: missing"),
        ("rcs", action(viewLocation={"latLong": {"latitude": 90.1, "longitude": 0}}), "latitude: out of"),
        ("rcs", action(viewLocation={"latLong": {"latitude": 0, "longitude": -181}}), "longitude: out of"),
        (
            "rcs",
            action(viewLocation={"latLong": {"latitude": float("nan"), "longitude": 0}}),
            "latitude: out",
        ),
        (
            "rcs",
            action(viewLocation={"latLong": {"latitude": True, "longitude": 0}}),
            "latitude: not a number",
        ),
        (
            "rcs",
            action(viewLocation={"latLong": {"latitude": "1", "longitude": 0}}),
            "latitude: not a number",
        ),
        ("rcs", action(createCalendarEvent={**EVENT, "title": None}), "createCalendarEvent.title: missing"),
        (
            "rcs",
            action(createCalendarEvent={**EVENT, "startDateTime": "2025-05-16 14:00:00"}),
            "createCalendarEvent.startDateTime: not",
        ),
        (
            "rcs",
            action(createCalendarEvent={**EVENT, "endDateTime": "2025-05-16T12:00:00Z"}),
            "createCalendarEvent.endDateTime: not after",
        ),
        (
            "rcs",
            action(
                createCalendarEvent={
                    **EVENT,
                    "startDateTime": "2025-05-16T12:00:00.000000002Z",
                    "endDateTime": "2025-05-16T12:00:00.000000001Z",
                }
            ),
            "createCalendarEvent.endDateTime: not after",
        ),
    ],
)
def test_deviations(path: str, value: Any, found: str) -> None:
    violations = violations_of(changed(path, value))
    assert len(violations) == 1, violations
    assert found in violations[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recipients", [{"phone": "+421903000000", "externalId": "1"}] * 2),
        ("recipients.0.externalId", None),
        ("recipients.0.phone", "+421255555555"),
        ("channels", [{"type": "sms", "ttl": 1}]),
        ("channels", [{"type": "sms"}, {"type": "rcs", "ttl": None}]),
        ("callbackUrls", None),
        ("callbackUrls.0.url", "https.zakaznik.app/callback"),
        ("callbackUrls.0.url", "127.0.0.1:8080"),
        ("callbackUrls.0.url", "HTTP://localhost:8080?a=1"),
        ("callbackUrls.0.types", ["postback", "dsn"]),
        ("priority", 1),
        ("priority", 3),
        ("groupId", 1000),
        ("deliveryTime", "2025-09-25 08:00:00"),
        ("deliveryTime", "2025-09-25T06:00:00Z"),
        ("deliveryTime", "2025-09-25T08:00:00+02:00"),
        ("deliveryTime", "9999-12-31T23:59:59.123456789-23:59"),
        ("deliveryTime", "9999-12-31 23:59:59"),
        ("deliveryTime", "1970-01-01 00:00:00"),
        ("deliveryTime", "2024-02-29T00:00:00Z"),
        ("deliveryTime", "2026-03-29 01:59:59"),
        ("deliveryTime", "2026-03-29 03:00:00"),
        ("deliveryTime", "2026-10-25 02:30:00"),
        ("sms.text", "€" * 228),
        ("sms.text", "č" * 201),
        ("sms.text", "a\u0308" * 459),
        ("sms.text", "a\n\t\r"),
        ("sms", {"text": "č" * 459, "unicode": False, "from": "Vaša banka"}),
        ("sms", {"text": "각" * 201, "unicode": False}),
        ("rcs.from", "Agent"),
        ("rcs.suggestions", []),
        ("rcs.suggestions", [{"reply": {"text": "a", "postbackData": "b"}}] * 11),
        ("rcs", {"file": {"url": "http://a.sk", "thumbnailUrl": "https://a.sk/t", "forceRefresh": False}}),
        ("rcs", {"text": None, "standaloneCard": STANDALONE}),
        ("rcs", standalone(thumbnailImageAlignment="LEFT", height="TALL")),
        ("rcs", card(title="a" * 200, description="a" * 2000)),
        ("rcs", card(title="a\u0308" * 200)),
        ("rcs", card(title=None)),
        (
            "rcs",
            standalone(cardOrientation="HORIZONTAL", cardContent={"media": media(height=GONE)}),
        ),
        ("rcs", carousel(cardContents=[{"title": "a"}] * 10)),
        ("rcs", carousel(cardWidth="SMALL")),
        ("rcs", reply(text="č" * 25)),
        ("rcs", action(shareLocation={}, dial=None, fallbackUrl="https://a.sk")),
        ("rcs", action(dial={"phoneNumber": "0800123456"})),
        ("rcs", action(openUrl={"url": "https://a.sk", "description": "Popis"})),
        ("rcs", action(viewLocation={"query": "Telekom", "label": "x"})),
        ("rcs", action(viewLocation={"latLong": {"latitude": -90, "longitude": 180.0}})),
        ("rcs", action(createCalendarEvent={**EVENT, "endDateTime": "2025-05-16T12:00:00.000000001Z"})),
    ],
)
def test_the_nearest_that_is_allowed(path: str, value: Any) -> None:
    assert violations_of(changed(path, value)) == []


def test_contents_without_their_channel_are_no_deviation() -> None:
    assert violations_of({**GOOD, "channels": [{"type": "sms"}]}) == []
    assert violations_of({**GOOD, "channels": [{"type": "rcs"}]}) == []


@pytest.mark.parametrize("body", [None, [], "x", 1, [GOOD]])
def test_no_object_at_all(body: Any) -> None:
    assert violations_of(body) == ["body: not an object"]


def test_every_violation_is_told_and_none_repeats_a_value() -> None:
    violations = violations_of(
        {
            "recipients": [{"phone": "0903123456"}],
            "channels": [{"type": "sms"}],
            "sms": {"text": "tajomstvo" * 60, "x": "y"},
        }
    )
    assert len(violations) == 3
    assert not any(secret in violation for violation in violations for secret in ("0903", "tajom"))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", "body: not JSON"),
        (b'{"a": NaN}', "body: not JSON"),
        (b"[" * 100_000, "body: not JSON"),
        (b'{"a": "\xe1"}', "body: not UTF-8"),
        (json.dumps(GOOD).replace('"sms": {', '"sms": {"text": "a", ').encode(), "a key is given twice"),
    ],
)
def test_unreadable(body: bytes, found: str) -> None:
    _, violations = read(body)
    assert len(violations) == 1
    assert found in violations[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-09-25 08:00:00", 1758780000),
        ("2025-09-25T06:00:00Z", 1758780000),
        ("2025-09-25T08:00:00+02:00", 1758780000),
        ("2025-09-24T23:30:00.25-06:30", 1758780000.25),
    ],
)
def test_the_moment_of_a_delivery_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
