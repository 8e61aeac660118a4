"""Any valid message of API v2, in the manual's spelling. Nothing here imports the package."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

_BRATISLAVA = ZoneInfo("Europe/Bratislava")
_CHARACTERS = st.characters(
    exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"
) | st.sampled_from("\n\r\táčľ€")
_ASCII = st.characters(codec="ascii", categories=["L", "N"])

Json = st.SearchStrategy[dict[str, Any]]


def texts(longest: int = 50) -> st.SearchStrategy[str]:
    """Texts that are not blank and, composed, no longer than this."""

    def fits(text: str) -> bool:
        return bool(text.strip()) and len(unicodedata.normalize("NFC", text)) <= longest

    return st.text(_CHARACTERS, min_size=1, max_size=min(longest, 50)).filter(fits)


def objects(required: dict[str, Any], **optional: Any) -> Json:
    """JSON objects; a key that is optional may be there, missing or null."""
    return st.fixed_dictionaries(
        required, optional={name: st.none() | value for name, value in optional.items()}
    )


_PHONES = st.from_regex(r"\A\+421[0-9]{9}\Z")
_DIALLED = _PHONES | st.from_regex(r"\A0[0-9]{9}\Z")
_REST = st.sampled_from(["", "/", "/a/č.png?x=1#y", "?a=%20", "#"])
_HOSTS = st.lists(st.text(_ASCII, min_size=1, max_size=9), min_size=2, max_size=4).map(".".join)
_SCHEMES = st.sampled_from(["http://", "https://", "HTTPS://"])
URLS = st.builds("{}{}{}".format, _SCHEMES, _HOSTS, _REST)
_CALLBACKS = URLS | st.builds("{}{}{}".format, _HOSTS, st.sampled_from(["", ":8080"]), _REST)

_CLOCK = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30))
_OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))


def _rfc_3339(moment: datetime, offset: timedelta | None, fraction: str) -> str:
    if offset is None:
        return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
    sign, minutes = "-" if offset < timedelta(0) else "+", int(abs(offset).total_seconds()) // 60
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{sign}{minutes // 60:02}:{minutes % 60:02}"


def _exists(moment: datetime) -> bool:
    local = moment.replace(tzinfo=_BRATISLAVA)
    return local.astimezone(UTC).astimezone(_BRATISLAVA).replace(tzinfo=None) == moment


_FRACTIONS = st.just("") | st.from_regex(r"\A\.[0-9]{1,9}\Z")
MOMENTS = st.builds(_rfc_3339, _CLOCK, st.none() | _OFFSETS, _FRACTIONS)
_LOCAL = _CLOCK.filter(_exists).map(lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}")


@st.composite
def _events(draw: st.DrawFn) -> dict[str, Any]:
    start, end = sorted(
        draw(st.tuples(_CLOCK, _CLOCK).filter(lambda two: abs(two[0] - two[1]) > timedelta(1)))
    )
    offset = draw(st.none() | _OFFSETS)
    times = {
        "startDateTime": _rfc_3339(start, offset, draw(_FRACTIONS)),
        "endDateTime": _rfc_3339(end, offset, ""),
    }
    return {"title": draw(texts()), "description": draw(texts()), **times}


_LAT_LONG = objects(
    {
        "latitude": st.floats(-90, 90) | st.integers(-90, 90),
        "longitude": st.floats(-180, 180) | st.integers(-180, 180),
    }
)
_PLACES = objects({"latLong": _LAT_LONG}, label=texts()) | objects({"query": texts()}, label=texts())
_DOES: dict[str, Any] = {
    "dial": objects({"phoneNumber": _DIALLED}),
    "viewLocation": _PLACES,
    "shareLocation": st.just({}),
    "openUrl": objects({"url": URLS}, description=texts()),
    "createCalendarEvent": _events(),
}
_BUTTON: dict[str, Any] = {"text": texts(25), "postbackData": texts()}
_ACTIONS = st.one_of(*(objects({**_BUTTON, name: does}, fallbackUrl=URLS) for name, does in _DOES.items()))
_SUGGESTION = objects({"reply": objects(_BUTTON)}) | objects({"action": _ACTIONS})
_SUGGESTIONS = st.lists(_SUGGESTION, max_size=3) | st.lists(
    objects({"reply": objects(_BUTTON)}), min_size=11, max_size=11
)

_LOADED: dict[str, Any] = {"thumbnailUrl": URLS, "forceRefresh": st.booleans()}


def _media(height: dict[str, Any]) -> Json:
    return objects({"contentInfo": objects({"fileUrl": URLS}, **_LOADED), **height})


def _cards(media: Json) -> Json:
    rest = {"description": texts(2000), "suggestions": _SUGGESTIONS}
    return objects({"title": texts(200)}, media=media, **rest) | objects({"media": media}, **rest)


_ANY_HEIGHT = st.sampled_from(["SHORT", "MEDIUM", "TALL"])
_HIGH = _cards(_media({"height": _ANY_HEIGHT}))
_NOT_TALL = _cards(_media({"height": st.sampled_from(["SHORT", "MEDIUM"])}))
_PLACING: dict[str, Any] = {
    "thumbnailImageAlignment": st.sampled_from(["LEFT", "RIGHT"]),
    "height": _ANY_HEIGHT,
}
_STANDALONE = objects(
    {"cardOrientation": st.sampled_from(["VERTICAL", "HORIZONTAL"]), "cardContent": _HIGH}, **_PLACING
) | objects({"cardOrientation": st.just("HORIZONTAL"), "cardContent": _cards(_media({}))}, **_PLACING)


def _carousels(width: str, cards: Json) -> Json:
    return objects({"cardWidth": st.just(width), "cardContents": st.lists(cards, min_size=2, max_size=10)})


_CONTENTS: dict[str, Any] = {
    "text": texts(),
    "file": objects({"url": URLS}, **_LOADED),
    "standaloneCard": _STANDALONE,
    "carouselCard": _carousels("MEDIUM", _HIGH) | _carousels("SMALL", _NOT_TALL),
}
RCS: Json = st.one_of(
    *(
        objects({name: content}, **{"suggestions": _SUGGESTIONS, "from": texts()})
        for name, content in _CONTENTS.items()
    )
)
#: 50 characters are two parts at most, whatever they are.
SMS: Json = objects(
    {"text": texts() | st.text(_ASCII, min_size=1, max_size=459)},
    **{"from": texts(), "unicode": st.just(False) | st.none()},
) | objects({"text": texts(), "unicode": st.booleans()})

_CHANNEL_TYPES = st.lists(st.sampled_from(["rcs", "sms"]), min_size=1, unique=True)
_TTL = st.none() | st.integers(1)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Any valid message, as a JSON value."""
    types = draw(_CHANNEL_TYPES)
    content = {"rcs": RCS, "sms": SMS}
    needed = {name: content[name] for name in types}
    optional: dict[str, Any] = {name: content[name] for name in content if name not in types}
    return draw(
        objects(
            {
                "recipients": st.lists(
                    objects({"phone": _PHONES}, externalId=texts()), min_size=1, max_size=3
                ),
                "channels": st.tuples(*(objects({"type": st.just(name)}, ttl=_TTL) for name in types)).map(
                    list
                ),
                **needed,
            },
            deliveryTime=MOMENTS | _LOCAL,
            priority=st.sampled_from([1, 2, 3]),
            groupId=st.integers(1),
            callbackUrls=st.lists(
                objects(
                    {
                        "url": _CALLBACKS,
                        "types": st.lists(st.sampled_from(["dsn", "postback"]), min_size=1, unique=True),
                    }
                ),
                min_size=1,
                max_size=2,
            ),
            **optional,
        )
    )
