"""
The judge of v2: reads the body of ``POST /v2/messages`` with the manual in hand.

A violation is ``<path>: <what>``; it never repeats a value, which may be a number or a text.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_telekom_sms.simulator.judge import BRATISLAVA
from airflow_provider_telekom_sms.simulator.text import MAX_PARTS, count_parts

ENDPOINT = "messages"

Check = Callable[[Any, str], Iterator[str]]
"""Takes a value and its path, and gives the violations found in it."""

_NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_URL = re.compile(r"[hH][tT][tT][pP][sS]?://[^\s/?#\\]+(?:[/?#]\S*)?")
_URL_WITHOUT_SCHEME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?(?:[/?#]\S*)?")
_PHONE = re.compile(r"\+421[0-9]{9}")
_PHONE_TO_DIAL = re.compile(r"\+421[0-9]{9}|0[0-9]{9}")
_LOCAL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_EPOCH = datetime(1970, 1, 1)


def violations_of(body: Any) -> list[str]:
    """
    Return every deviation from the manual.

    :param body: the parsed JSON of a request
    """
    return list(_MESSAGE(body, ""))


def read(body: bytes) -> tuple[Any, list[str]]:
    """
    Return what the bytes of a request hold, and every deviation from the manual.

    :param body: the bytes; what cannot be read is None
    """
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice.append("body: a key is given twice in an object")
        return found

    try:
        parsed = json.loads(body.decode(), object_pairs_hook=unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        return None, ["body: not UTF-8"]
    except (ValueError, RecursionError):
        return None, ["body: not JSON"]
    return parsed, twice + violations_of(parsed)


def seconds_of(delivery_time: str) -> float:
    """
    Return a time that was judged valid, in seconds since the epoch.

    :param delivery_time: in one of the three forms
    """
    if _LOCAL_TIME.fullmatch(delivery_time):
        return datetime.fromisoformat(delivery_time).replace(tzinfo=BRATISLAVA).timestamp()
    return _instant(delivery_time) / 10**9


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _given(values: dict[str, Any], names: Iterable[str]) -> list[str]:
    return [name for name in names if values.get(name) is not None]


# The kinds of values.


def _object(
    required: dict[str, Check] | None = None, optional: dict[str, Check] | None = None, *rules: Check
) -> Check:
    """Only the keys named here; then the rules that look at several of them."""
    required = required or {}
    checks = {**required, **(optional or {})}

    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path or 'body'}: not an object"
            return
        for name in value:
            if name not in checks:
                yield f"{_below(path, ascii(name[:32])[1:-1])}: no such parameter"
        for name, look in checks.items():
            if value.get(name) is not None:
                yield from look(value[name], _below(path, name))
            elif name in required:
                yield f"{_below(path, name)}: missing"
        for rule in rules:
            yield from rule(value, path)

    return check


def _array(look: Check, low: int = 1, high: int | None = None, *, unique: bool = False) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path}: not an array"
            return
        if len(value) < low or (high is not None and len(value) > high):
            yield f"{path}: {len(value)} elements instead of {low} to {'any' if high is None else high}"
        for position, element in enumerate(value):
            yield from look(element, f"{path}[{position}]")
            if unique and element in value[:position]:
                yield f"{path}[{position}]: given twice"

    return check


def _string(accepts: Callable[[str], bool], what: str) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{path}: not a string"
        elif _NO_CHARACTER.search(value):
            yield f"{path}: a character that no text can hold"
        elif not accepts(value):
            yield f"{path}: {what}"

    return check


def _words(longest: int | None = None) -> Check:
    def accepts(value: str) -> bool:
        return bool(value.strip()) and (
            longest is None or len(unicodedata.normalize("NFC", value)) <= longest
        )

    return _string(accepts, "blank" if longest is None else f"blank, or longer than {longest}")


def _like(pattern: re.Pattern[str], what: str) -> Check:
    return _string(lambda value: pattern.fullmatch(value) is not None, what)


def _one_of(*words: str) -> Check:
    return _string(lambda value: value in words, f"none of {', '.join(words)}")


def _boolean(value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{path}: not a boolean"


def _integer(low: int, high: int | None = None) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield f"{path}: not an integer"
        elif value < low or (high is not None and value > high):
            yield f"{path}: out of range"

    return check


def _degrees(most: int) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{path}: not a number"
        elif math.isnan(value) or not -most <= value <= most:
            yield f"{path}: out of range"

    return check


# Rules over several keys; what is of a wrong type was told already.


def _exactly_one(*names: str) -> Check:
    def rule(value: Any, path: str) -> Iterator[str]:
        if len(found := _given(value, names)) != 1:
            yield f"{path}: {len(found)} of {', '.join(names)} instead of one"

    return rule


def _at_least_one(*names: str) -> Check:
    def rule(value: Any, path: str) -> Iterator[str]:
        if not _given(value, names):
            yield f"{path}: none of {', '.join(names)}"

    return rule


def _content_for_each_channel(value: Any, path: str) -> Iterator[str]:
    channels = value.get("channels")
    types = [c.get("type") for c in channels if isinstance(c, dict)] if isinstance(channels, list) else []
    for name in ("rcs", "sms"):
        if name in types and value.get(name) is None:
            yield f"{_below(path, name)}: missing, though a channel needs it"


def _each_channel_once(value: Any, path: str) -> Iterator[str]:
    seen: list[Any] = []
    for position, channel in enumerate(value if isinstance(value, list) else []):
        kind = channel.get("type") if isinstance(channel, dict) else None
        if isinstance(kind, str) and kind in seen:
            yield f"{path}[{position}].type: given twice"
        seen.append(kind)


def _at_most_three_parts(value: Any, path: str) -> Iterator[str]:
    text, unicode = value.get("text"), value.get("unicode")
    if isinstance(text, str) and parts_of(text, unicode if isinstance(unicode, bool) else None) > MAX_PARTS:
        yield f"{_below(path, 'text')}: more than {MAX_PARTS} parts"


def _height_unless_horizontal(value: Any, path: str) -> Iterator[str]:
    media = value["cardContent"].get("media") if isinstance(value.get("cardContent"), dict) else None
    if (
        value.get("cardOrientation") != "HORIZONTAL"
        and isinstance(media, dict)
        and media.get("height") is None
    ):
        yield f"{path}.cardContent.media.height: missing"


def _nothing_tall_if_small(value: Any, path: str) -> Iterator[str]:
    cards = value.get("cardContents")
    if value.get("cardWidth") != "SMALL" or not isinstance(cards, list):
        return
    for position, card in enumerate(cards):
        media = card.get("media") if isinstance(card, dict) else None
        if isinstance(media, dict) and media.get("height") == "TALL":
            yield f"{path}.cardContents[{position}].media.height: TALL in a carousel of width SMALL"


def _ends_after_it_starts(value: Any, path: str) -> Iterator[str]:
    moments = [value.get("startDateTime"), value.get("endDateTime")]
    if all(isinstance(moment, str) and _is_rfc_3339(moment) for moment in moments):
        start, end = map(_instant, moments)
        if end <= start:
            yield f"{path}.endDateTime: not after startDateTime"


def parts_of(text: str, unicode: bool | None) -> int:
    """
    Return the number of parts of a text, of which v2 counts the NFC form.

    :param text: the text of the SMS
    :param unicode: ``sms.unicode``
    """
    return count_parts(unicodedata.normalize("NFC", text), unicode)


# Times.


def _calendar(text: str) -> datetime | None:
    year, month, day, hour, minute, second = map(int, re.findall("[0-9]+", text))
    try:
        return datetime(year, month, day, hour, minute, second) if year >= 1970 else None
    except ValueError:
        return None


def _is_rfc_3339(text: str) -> bool:
    found = _RFC_3339.fullmatch(text)
    return found is not None and _calendar(found[1]) is not None


def _is_time(text: str) -> bool:
    if not _LOCAL_TIME.fullmatch(text):
        return _is_rfc_3339(text)
    if (local := _calendar(text)) is None:
        return False
    there_and_back = local.replace(tzinfo=BRATISLAVA).astimezone(UTC).astimezone(BRATISLAVA)
    return there_and_back.replace(tzinfo=None) == local  # else skipped in spring


def _instant(text: str) -> int:
    """Nanoseconds since the epoch; a datetime holds no more than microseconds."""
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ValueError("not a time of RFC 3339")
    seconds = (datetime.fromisoformat(found[1]) - _EPOCH) // timedelta(seconds=1)
    if found[3]:
        offset = int(found[4]) * 3600 + int(found[5]) * 60
        seconds += offset if found[3] == "-" else -offset
    return seconds * 10**9 + int((found[2] or "").ljust(9, "0"))


# The manual's tables, from the inside out.

_WORDS = _words()
_HTTP_URL = _like(_URL, "not an http(s) URL")
_MOMENT = _string(_is_rfc_3339, "not a date and time of RFC 3339")
_HEIGHT = _one_of("SHORT", "MEDIUM", "TALL")

_ACTIONS: dict[str, Check] = {
    "dial": _object({"phoneNumber": _like(_PHONE_TO_DIAL, "neither +421XXXXXXXXX nor 0XXXXXXXXX")}),
    "viewLocation": _object(
        {},
        {
            "latLong": _object({"latitude": _degrees(90), "longitude": _degrees(180)}),
            "query": _WORDS,
            "label": _WORDS,
        },
        _exactly_one("latLong", "query"),
    ),
    "shareLocation": _object(),
    "openUrl": _object({"url": _HTTP_URL}, {"description": _WORDS}),
    "createCalendarEvent": _object(
        {"title": _WORDS, "description": _WORDS, "startDateTime": _MOMENT, "endDateTime": _MOMENT},
        {},
        _ends_after_it_starts,
    ),
}
_BUTTON: dict[str, Check] = {"text": _words(25), "postbackData": _WORDS}
_SUGGESTIONS = _array(
    _object(
        {},
        {
            "reply": _object(_BUTTON),
            "action": _object(_BUTTON, {"fallbackUrl": _HTTP_URL, **_ACTIONS}, _exactly_one(*_ACTIONS)),
        },
        _exactly_one("reply", "action"),
    ),
    low=0,
    high=11,
)

_LOADED: dict[str, Check] = {"thumbnailUrl": _HTTP_URL, "forceRefresh": _boolean}


def _card(media_required: dict[str, Check], media_optional: dict[str, Check]) -> Check:
    content_info = _object({"fileUrl": _HTTP_URL}, _LOADED)
    return _object(
        {},
        {
            "title": _words(200),
            "description": _words(2000),
            "media": _object({"contentInfo": content_info, **media_required}, media_optional),
            "suggestions": _SUGGESTIONS,
        },
        _at_least_one("title", "description", "media"),
    )


_RCS: dict[str, Check] = {
    "text": _WORDS,
    "file": _object({"url": _HTTP_URL}, _LOADED),
    "standaloneCard": _object(
        {
            "cardOrientation": _one_of("VERTICAL", "HORIZONTAL"),
            "cardContent": _card({}, {"height": _HEIGHT}),
        },
        {"thumbnailImageAlignment": _one_of("LEFT", "RIGHT"), "height": _HEIGHT},
        _height_unless_horizontal,
    ),
    "carouselCard": _object(
        {
            "cardWidth": _one_of("SMALL", "MEDIUM"),
            "cardContents": _array(_card({"height": _HEIGHT}, {}), low=2, high=10),
        },
        {},
        _nothing_tall_if_small,
    ),
}


def _channels(value: Any, path: str) -> Iterator[str]:
    channel = _object({"type": _one_of("rcs", "sms")}, {"ttl": _integer(1)})
    yield from _array(channel)(value, path)
    yield from _each_channel_once(value, path)


def _callback_url(value: str) -> bool:
    return _URL.fullmatch(value) is not None or _URL_WITHOUT_SCHEME.fullmatch(value) is not None


_MESSAGE = _object(
    {
        "recipients": _array(
            _object({"phone": _like(_PHONE, "not +421 and nine digits")}, {"externalId": _WORDS})
        ),
        "channels": _channels,
    },
    {
        "deliveryTime": _string(_is_time, "none of the three forms of a date and time that exists"),
        "priority": _integer(1, 3),
        "groupId": _integer(1),
        "callbackUrls": _array(
            _object(
                {
                    "url": _string(_callback_url, "not a URL"),
                    "types": _array(_one_of("dsn", "postback"), unique=True),
                }
            )
        ),
        "sms": _object({"text": _WORDS}, {"from": _WORDS, "unicode": _boolean}, _at_most_three_parts),
        "rcs": _object({}, {**_RCS, "suggestions": _SUGGESTIONS, "from": _WORDS}, _exactly_one(*_RCS)),
    },
    _content_for_each_channel,
)
