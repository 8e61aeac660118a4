"""
Messages of API v2 that break one rule each, beside the nearest ones that do not.

Both the models and the simulator are held to them. Nothing here imports either.
"""

from __future__ import annotations

import copy
import re
from typing import Any, NamedTuple

GONE: Any = object()
"""As a value: the key is left out."""

_URL = "https://www.telekom.sk/logo.png"
_ACTION = {"text": "Ukázať", "postbackData": "ukazat"}
_EVENT = {
    "title": "Koncert",
    "description": "V parku",
    "startDateTime": "2026-05-16T14:00:00+02:00",
    "endDateTime": "2026-05-16T14:30:00+02:00",
}
_CARD = {
    "title": "Karta",
    "description": "Popis",
    "media": {
        "height": "SHORT",
        "contentInfo": {"fileUrl": _URL, "thumbnailUrl": _URL, "forceRefresh": True},
    },
    "suggestions": [{"reply": {"text": "Áno", "postbackData": "ano"}}],
}
_TWO = [_CARD, copy.deepcopy(_CARD)]


def _message(**rcs: Any) -> dict[str, Any]:
    return {
        "recipients": [{"phone": "+421903123456", "externalId": "a"}, {"phone": "+421903123456"}],
        "channels": [{"type": "rcs", "ttl": 30}, {"type": "sms"}],
        "deliveryTime": "2026-07-01T08:00:00Z",
        "priority": 2,
        "groupId": 7,
        "callbackUrls": [{"url": "https://zakaznik.app/dsn", "types": ["dsn", "postback"]}],
        "sms": {"text": "Ahoj", "from": "Obchod", "unicode": True},
        "rcs": {"from": "Obchod", **rcs},
    }


_SUGGESTIONS = [
    {"reply": {"text": "Áno", "postbackData": "ano"}},
    {"action": {**_ACTION, "fallbackUrl": _URL, "dial": {"phoneNumber": "+421800123456"}}},
    {"action": {**_ACTION, "viewLocation": {"latLong": {"latitude": 48, "longitude": 17.1}, "label": "Tu"}}},
    {"action": {**_ACTION, "viewLocation": {"query": "Telekom"}}},
    {"action": {**_ACTION, "shareLocation": {}}},
    {"action": {**_ACTION, "openUrl": {"url": _URL, "description": "Obchod"}}},
    {"action": {**_ACTION, "createCalendarEvent": _EVENT}},
]
TEXT = _message(text="Ahoj", suggestions=_SUGGESTIONS)
FILE = _message(file={"url": _URL, "thumbnailUrl": _URL, "forceRefresh": False})
CARD = _message(
    standaloneCard={"cardOrientation": "VERTICAL", "thumbnailImageAlignment": "LEFT", "cardContent": _CARD}
)
CAROUSEL = _message(carouselCard={"cardWidth": "MEDIUM", "cardContents": _TWO})


class Case(NamedTuple):
    """
    One rule.

    :param name: what is wrong
    :param path: where the error is said to be, in the manual's spelling
    :param bad: breaks the rule
    :param good: just does not
    """

    name: str
    path: str
    bad: dict[str, Any]
    good: dict[str, Any]


def changed(message: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """
    Give a copy of a message with another value at one place.

    :param message: the message
    :param path: the place, as ``rcs.suggestions[0].reply``
    :param value: the value; ``GONE`` takes the key away
    """
    message = copy.deepcopy(message)
    keys: list[Any] = [
        int(index) if index else key for key, index in re.findall(r"([A-Za-z_]+)|\[(\d+)\]", path)
    ]
    target: Any = message
    for key in keys[:-1]:
        target = target[key]
    if value is GONE:
        target.pop(keys[-1], None)
    else:
        target[keys[-1]] = value
    return message


def _case(
    message: dict[str, Any], name: str, where: str, bad: Any, good: Any, path: str | None = None
) -> Case:
    reported = where if path is None else path
    return Case(f"{reported}: {name}", reported, changed(message, where, bad), changed(message, where, good))


def _replies(number: int) -> list[dict[str, Any]]:
    return [{"reply": {"text": str(i), "postbackData": str(i)}} for i in range(number)]


_DIAL = "rcs.suggestions[1].action"
_PLACE = "rcs.suggestions[2].action.viewLocation"
_QUERY = "rcs.suggestions[3].action.viewLocation"
_SHARE = "rcs.suggestions[4].action"
_OPEN = "rcs.suggestions[5].action.openUrl"
_CALENDAR = "rcs.suggestions[6].action.createCalendarEvent"
_STANDALONE = "rcs.standaloneCard"
_CONTENT = f"{_STANDALONE}.cardContent"
_INFO = f"{_CONTENT}.media.contentInfo"
_CARDS = "rcs.carouselCard.cardContents"
_CHANNELS = [{"type": "rcs"}, {"type": "sms"}]
_REPLY = {"text": "Áno", "postbackData": "ano"}
_MEDIA = {"height": "SHORT", "contentInfo": {"fileUrl": _URL}}
_TALL = {"title": "b", "media": {**_MEDIA, "height": "TALL"}}
_SMALL = changed(CAROUSEL, "rcs.carouselCard.cardWidth", "SMALL")
_SPRING = "2026-03-29 0{}:30:00"

_TOP: list[tuple[Any, ...]] = [
    ("recipients missing", "recipients", GONE, [{"phone": "+421903123456"}]),
    ("recipients null", "recipients", None, [{"phone": "+421903123456"}]),
    ("no recipient", "recipients", [], [{"phone": "+421903123456"}]),
    ("recipients an object", "recipients", {"phone": "+421903123456"}, [{"phone": "+421903123456"}]),
    ("recipient a string", "recipients[0]", "+421903123456", {"phone": "+421903123456"}),
    ("phone missing", "recipients[1].phone", GONE, "+421903123456"),
    ("phone without plus", "recipients[1].phone", "421903123456", "+421903123456"),
    ("phone national", "recipients[1].phone", "0903123456", "+421903123456"),
    ("phone too short", "recipients[1].phone", "+42190312345", "+421903123456"),
    ("phone too long", "recipients[1].phone", "+4219031234567", "+421903123456"),
    ("phone foreign", "recipients[1].phone", "+420903123456", "+421903123456"),
    ("phone with a line end", "recipients[1].phone", "+421903123456\n", "+421903123456"),
    ("phone in other digits", "recipients[1].phone", "+42190312345６", "+421000000000"),
    ("phone a number", "recipients[1].phone", 421903123456, "+421903123456"),
    ("externalId blank", "recipients[0].externalId", " ", "0"),
    ("externalId a number", "recipients[0].externalId", 1, "1"),
    ("unknown key", "recipients[0].phones", "+421903123456", GONE),
    ("channels missing", "channels", GONE, _CHANNELS),
    ("no channel", "channels", [], _CHANNELS),
    ("type missing", "channels[1].type", GONE, "sms"),
    ("type in capitals", "channels[1].type", "SMS", "sms"),
    ("type unknown", "channels[0].type", "viber", "rcs"),
    ("type twice", "channels[1].type", "rcs", "sms"),
    ("ttl 0", "channels[0].ttl", 0, 1),
    ("ttl negative", "channels[0].ttl", -1, None),
    ("ttl a string", "channels[0].ttl", "30", 30),
    ("ttl a float", "channels[0].ttl", 30.0, 30),
    ("ttl a boolean", "channels[0].ttl", True, 1),
    ("priority 0", "priority", 0, 1),
    ("priority 4", "priority", 4, 3),
    ("priority a string", "priority", "2", 2),
    ("priority a float", "priority", 1.0, 1),
    ("priority a boolean", "priority", True, None),
    ("groupId 0", "groupId", 0, 1),
    ("groupId a string", "groupId", "7", 10**12),
    ("callbackUrls empty", "callbackUrls", [], None),
    ("callback types missing", "callbackUrls[0].types", GONE, ["dsn"]),
    ("callback types empty", "callbackUrls[0].types", [], ["dsn"]),
    ("callback types a string", "callbackUrls[0].types", "dsn", ["postback"]),
    ("callback type unknown", "callbackUrls[0].types[1]", "read", "postback"),
    ("callback type twice", "callbackUrls[0].types[1]", "dsn", "postback"),
    ("callback url missing", "callbackUrls[0].url", GONE, "https.zakaznik.app/callback"),
    (
        "callback url of another scheme",
        "callbackUrls[0].url",
        "ftp://zakaznik.app",
        "zakaznik.app:8080/a?b#c",
    ),
    ("callback url without a dot", "callbackUrls[0].url", "localhost/x", "http://localhost/x"),
    (
        "callback url with a blank",
        "callbackUrls[0].url",
        "https://zakaznik.app/a b",
        "HTTPS://zakaznik.app/a",
    ),
    ("sms missing, with its channel", "sms", GONE, {"text": "a"}),
    ("sms null, with its channel", "sms", None, {"text": "a"}),
    ("sms a string", "sms", "Ahoj", {"text": "Ahoj"}),
    ("sms text missing", "sms.text", GONE, "a"),
    ("sms text null", "sms.text", None, "a"),
    ("sms text blank", "sms.text", " \n\t", " a"),
    ("sms text a number", "sms.text", 5, "5"),
    ("sms text with a control character", "sms.text", "a\x07", "a\r\n\tb"),
    ("sms text with half a character", "sms.text", "a\ud83d", "a\U0001f600"),
    ("sms of 4 parts, unicode", "sms.text", "č" * 202, "č" * 201),
    ("sms of 4 parts, emoji", "sms.text", "\U0001f600" * 100, "\U0001f600" * 99),
    ("sms from blank", "sms.from", "", "0903123456"),
    ("sms from null byte", "sms.from", "a\x00", "a"),
    ("sms unicode a number", "sms.unicode", 1, True),
    ("sms unicode a string", "sms.unicode", "true", False),
    ("rcs missing, with its channel", "rcs", GONE, {"text": "a"}),
    ("unknown key", "delivery", "2026-07-01T08:00:00Z", GONE),
    *(
        (f"deliveryTime {bad}", "deliveryTime", bad, good)
        for bad, good in (
            ("soon", "2025-09-25 08:00:00"),
            ("2025-09-25", "2025-09-25T06:00:00Z"),
            ("2025-09-25T08:00:00", "2025-09-25T08:00:00+02:00"),
            ("2025-09-25 06:00:00Z", "2025-09-25T06:00:00.1Z"),
            ("2025-09-25T06:00:00z", "2025-09-25T06:00:00.123456789Z"),
            ("2025-09-25t06:00:00Z", "2025-09-25T23:59:59-00:00"),
            ("2025-09-25T06:00:00.Z", "2025-09-25T06:00:00.0Z"),
            ("2025-09-25T06:00:00.1234567890Z", "2025-09-25T06:00:00.999999999Z"),
            ("2025-09-25T06:00:00,5Z", "2025-09-25T06:00:00.5Z"),
            ("2025-09-25 08:00:00.5", "2025-09-25 08:00:00"),
            ("2025-09-25 08:00", "2025-09-25 08:00:59"),
            ("2025-09-25T06:00Z", "2025-09-25T06:00:00Z"),
            ("2025-09-25T06:00:00+0200", "2025-09-25T06:00:00+02:00"),
            ("2025-09-25T06:00:00+24:00", "2025-09-25T06:00:00+23:59"),
            ("2025-09-25T06:00:00+02:60", "2025-09-25T06:00:00-23:59"),
            ("2025-02-29T06:00:00Z", "2024-02-29T06:00:00Z"),
            ("2025-04-31 06:00:00", "2025-04-30 06:00:00"),
            ("2025-13-01T06:00:00Z", "2025-12-01T06:00:00Z"),
            ("2025-09-25T24:00:00Z", "2025-09-25T23:00:00Z"),
            ("2025-09-25T06:60:00Z", "2025-09-25T06:59:00Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
            ("0001-01-01 00:00:00", "9999-12-31 23:59:59"),
            ("1969-12-31T23:59:59-05:00", "9999-12-31T23:59:59-23:59"),
            ("2025-09-25T06:00:00Z\n", "1970-01-01T00:00:00+23:59"),
            ("２025-09-25T06:00:00Z", "2025-09-25T06:00:00Z"),
            (_SPRING.format(2), _SPRING.format(3)),
            ("2026-03-29 02:00:00", "2026-10-25 02:30:00"),
            ("2026-03-29 02:59:59", "2026-03-29 01:59:59"),
            (1758780000, None),
        )
    ),
]
_RCS: list[tuple[Any, ...]] = [
    ("rcs empty", "rcs", {}, {"text": "a"}),
    ("two contents", "rcs", {"text": "a", "file": {"url": _URL}}, {"text": "a", "file": None}),
    ("text blank", "rcs.text", "\u00a0", "\u200b"),
    ("text null", "rcs.text", None, "a", "rcs"),
    ("text a list", "rcs.text", ["a"], "a"),
    ("text with a control character", "rcs.text", "a\u0085", "a\u00a0"),
    ("text with a non-character", "rcs.text", "a\uffff", "a\ufffd"),
    ("from blank", "rcs.from", "\t", "Agent"),
    ("12 suggestions", "rcs.suggestions", _replies(12), _replies(11)),
    ("suggestions an object", "rcs.suggestions", {}, []),
    ("suggestion empty", "rcs.suggestions[0]", {}, {"reply": _REPLY}),
    ("suggestion null", "rcs.suggestions[0]", None, {"reply": _REPLY}),
    (
        "suggestion both",
        "rcs.suggestions[0]",
        {"reply": _REPLY, "action": {**_ACTION, "shareLocation": {}}},
        {"action": {**_ACTION, "shareLocation": {}}},
    ),
    ("reply text of 26", "rcs.suggestions[0].reply.text", "á" * 26, "á" * 25),
    ("reply text of 26, decomposed", "rcs.suggestions[0].reply.text", "a\u0301" * 26, "a\u0301" * 25),
    ("reply text empty", "rcs.suggestions[0].reply.text", "", "á"),
    ("reply text missing", "rcs.suggestions[0].reply.text", GONE, "á"),
    ("reply postbackData missing", "rcs.suggestions[0].reply.postbackData", GONE, "x" * 3000),
    ("reply postbackData blank", "rcs.suggestions[0].reply.postbackData", "\n", "0"),
    ("reply unknown key", "rcs.suggestions[0].reply.postback_date", "x", GONE),
    ("action text of 26", f"{_DIAL}.text", "\U0001f600" * 26, "\U0001f600" * 25),
    ("action text missing", f"{_DIAL}.text", GONE, "a"),
    ("action postbackData missing", f"{_DIAL}.postbackData", GONE, "a"),
    ("action fallbackUrl without scheme", f"{_DIAL}.fallbackUrl", "telekom.sk", "http://telekom.sk"),
    ("action of none", f"{_DIAL}.dial", GONE, {"phoneNumber": "+421800123456"}, _DIAL),
    ("action of two", f"{_DIAL}.shareLocation", {}, None, _DIAL),
    ("dial empty", f"{_DIAL}.dial", {}, {"phoneNumber": "0800123456"}, f"{_DIAL}.dial.phoneNumber"),
    ("dial short", f"{_DIAL}.dial.phoneNumber", "112", "+421000000112"),
    ("dial without plus", f"{_DIAL}.dial.phoneNumber", "421800123456", "+421800123456"),
    ("dial national, too long", f"{_DIAL}.dial.phoneNumber", "08001234567", "0800123456"),
    ("no place", _PLACE, {}, {"query": "a", "label": "b"}),
    ("only a label", f"{_PLACE}.latLong", GONE, {"latitude": 0, "longitude": 0}, _PLACE),
    ("place and query", f"{_PLACE}.query", "Telekom", None, _PLACE),
    ("latitude missing", f"{_PLACE}.latLong.latitude", GONE, 0),
    ("longitude null", f"{_PLACE}.latLong.longitude", None, 0),
    ("latitude over 90", f"{_PLACE}.latLong.latitude", 90.0001, 90),
    ("latitude under -90", f"{_PLACE}.latLong.latitude", -90.0001, -90.0),
    ("longitude over 180", f"{_PLACE}.latLong.longitude", 180.0001, 180.0),
    ("longitude under -180", f"{_PLACE}.latLong.longitude", -180.0001, -180),
    ("latitude a string", f"{_PLACE}.latLong.latitude", "48", 48),
    ("latitude a boolean", f"{_PLACE}.latLong.latitude", True, 1),
    ("label blank", f"{_PLACE}.label", " ", "a"),
    ("query blank", f"{_QUERY}.query", "", "Námestie SNP 1"),
    ("shareLocation null", f"{_SHARE}.shareLocation", None, {}, _SHARE),
    ("shareLocation a boolean", f"{_SHARE}.shareLocation", True, {}),
    (
        "shareLocation with a key",
        f"{_SHARE}.shareLocation",
        {"url": _URL},
        {},
        f"{_SHARE}.shareLocation.url",
    ),
    ("openUrl url missing", f"{_OPEN}.url", GONE, _URL),
    ("openUrl url without host", f"{_OPEN}.url", "https://", "https://a"),
    ("openUrl url of another scheme", f"{_OPEN}.url", "javascript:alert(1)", "https://a?x"),
    ("openUrl url with a backslash", f"{_OPEN}.url", "https://a\\b", "https://a/\\b"),
    ("openUrl description blank", f"{_OPEN}.description", "", "a" * 3000),
    ("event title missing", f"{_CALENDAR}.title", GONE, "a"),
    ("event description missing", f"{_CALENDAR}.description", GONE, "a"),
    ("event description blank", f"{_CALENDAR}.description", " ", "a"),
    ("event start missing", f"{_CALENDAR}.startDateTime", GONE, "2026-05-16T11:00:00Z"),
    ("event start local", f"{_CALENDAR}.startDateTime", "2026-05-16 14:00:00", "2026-05-16T14:00:00+02:00"),
    ("event end not a time", f"{_CALENDAR}.endDateTime", "2026-05-16", "2026-05-16T15:00:00.00+02:00"),
    *(
        (f"event end {bad}", f"{_CALENDAR}.endDateTime", bad, good)
        for bad, good in (
            ("2026-05-16T14:00:00+02:00", "2026-05-16T14:00:01+02:00"),
            ("2026-05-16T12:00:00Z", "2026-05-16T12:00:00.000000001Z"),
            ("2026-05-16T14:30:00+03:00", "2026-05-16T13:30:00+01:00"),
            ("2026-05-16T11:59:59.999999999Z", "2026-05-16T12:00:01Z"),
        )
    ),
]
_FILES: list[tuple[Any, ...]] = [
    ("file url missing", "rcs.file.url", GONE, _URL),
    ("file url without scheme", "rcs.file.url", "telekom.sk/a.pdf", "https://telekom.sk/a.pdf"),
    ("file url with a tab", "rcs.file.url", "https://telekom.sk/a\tb", "https://telekom.sk/a%09b"),
    ("file url with a control character", "rcs.file.url", "https://telekom.sk/\x01", "https://telekom.sk/"),
    ("file thumbnailUrl empty", "rcs.file.thumbnailUrl", "", None),
    ("file forceRefresh a number", "rcs.file.forceRefresh", 0, False),
    ("file fileUrl", "rcs.file.fileUrl", _URL, GONE),
]
_SINGLES: list[tuple[Any, ...]] = [
    ("cardOrientation missing", f"{_STANDALONE}.cardOrientation", GONE, "VERTICAL"),
    ("cardOrientation in small letters", f"{_STANDALONE}.cardOrientation", "vertical", "HORIZONTAL"),
    ("alignment unknown", f"{_STANDALONE}.thumbnailImageAlignment", "CENTER", "RIGHT"),
    ("card height unknown", f"{_STANDALONE}.height", "HUGE", "TALL"),
    ("cardContent missing", _CONTENT, GONE, {"title": "a"}),
    ("card of suggestions only", _CONTENT, {"suggestions": _replies(1)}, {"description": "a"}),
    ("card empty", _CONTENT, {}, {"media": _MEDIA}),
    ("title of 201", f"{_CONTENT}.title", "č" * 201, "č" * 200),
    ("title blank", f"{_CONTENT}.title", "", None),
    ("description of 2001", f"{_CONTENT}.description", "x" * 2001, "x" * 2000),
    ("12 suggestions", f"{_CONTENT}.suggestions", _replies(12), _replies(11)),
    ("suggestion empty", f"{_CONTENT}.suggestions", [{}], [], f"{_CONTENT}.suggestions[0]"),
    ("contentInfo missing", f"{_CONTENT}.media.contentInfo", GONE, {"fileUrl": _URL}),
    ("media height missing", f"{_CONTENT}.media.height", GONE, "TALL"),
    ("media height null", f"{_CONTENT}.media.height", None, "SHORT"),
    ("media height unknown", f"{_CONTENT}.media.height", "HUGE", "MEDIUM"),
    ("fileUrl missing", f"{_INFO}.fileUrl", GONE, _URL),
    ("fileUrl without scheme", f"{_INFO}.fileUrl", "//telekom.sk/a", "hTtP://telekom.sk/a"),
    ("thumbnailUrl without scheme", f"{_INFO}.thumbnailUrl", "telekom.sk", _URL),
    ("forceRefresh a string", f"{_INFO}.forceRefresh", "false", False),
    ("contentInfo url", f"{_INFO}.url", _URL, GONE),
]
_CAROUSELS: list[tuple[Any, ...]] = [
    ("cardWidth missing", "rcs.carouselCard.cardWidth", GONE, "SMALL"),
    ("cardWidth LARGE", "rcs.carouselCard.cardWidth", "LARGE", "MEDIUM"),
    ("cardContents missing", _CARDS, GONE, _TWO),
    ("1 card", _CARDS, [_CARD], _TWO),
    ("11 cards", _CARDS, [_CARD] * 11, [_CARD] * 10),
    ("card height missing", f"{_CARDS}[1].media.height", GONE, "TALL"),
    ("card height unknown", f"{_CARDS}[1].media.height", "HUGE", "TALL"),
    ("12 suggestions", f"{_CARDS}[1].suggestions", _replies(12), _replies(11)),
    ("cards with an orientation", "rcs.carouselCard.cardOrientation", "VERTICAL", GONE),
]

CASES: list[Case] = [
    *(_case(TEXT, *rule) for rule in _TOP + _RCS),
    *(_case(FILE, *rule) for rule in _FILES),
    *(_case(CARD, *rule) for rule in _SINGLES),
    *(_case(CAROUSEL, *rule) for rule in _CAROUSELS),
    _case(_SMALL, "SMALL and TALL", f"{_CARDS}[1]", _TALL, _CARD, f"{_CARDS}[1].media.height"),
    _case(
        changed(TEXT, "sms.unicode", GONE),
        "sms of 4 parts, GSM-7",
        "sms.text",
        "x" * 460,
        "x" * 459,
    ),
    _case(
        changed(TEXT, "sms.unicode", False),
        "sms of 4 parts, extension table",
        "sms.text",
        "€" * 229,
        "€" * 228,
    ),
    _case(
        changed(TEXT, "sms.unicode", False),
        "sms of 4 parts, diacritics removed",
        "sms.text",
        "č" * 460,
        "č" * 459,
    ),
]
"""
Every rule, with the message that breaks it and the one that just does not.
"""


def cases_by_name() -> dict[str, Case]:
    """Give the cases by names that are unique."""
    named = {case.name: case for case in CASES}
    assert len(named) == len(CASES), "two cases have the same name"
    return named
