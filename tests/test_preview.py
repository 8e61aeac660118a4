"""The preview shows every object of API v2, whatever stands in it, and fetches and runs nothing."""

from __future__ import annotations

import ast
import re
import sys
from copy import deepcopy
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_telekom_sms import preview
from airflow_provider_telekom_sms.preview import STYLE, Tap, bubble_html, preview_html
from tests.markup import Markup

ACTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "dial": ({"phoneNumber": "+421800123456"}, "Calls +421800123456"),
    "viewLocation": ({"query": "Slovak Telekom store"}, "Searches the map for Slovak Telekom store"),
    "shareLocation": ({}, "Lets the recipient send a location"),
    "openUrl": ({"url": "https://telekom.sk/volania"}, "Opens https://telekom.sk/volania"),
    "createCalendarEvent": (
        {
            "title": "Event name",
            "description": "Event description",
            "startDateTime": "2025-05-16T14:00:00.00+02:00",
            "endDateTime": "2025-05-16T14:30:00.00+02:00",
        },
        "Adds to the calendar: Event name (Event description), "
        "2025-05-16 14:00 UTC+02:00 to 2025-05-16 14:30 UTC+02:00",
    ),
}


def reply(text: str = "Áno", postback: str = "yes") -> dict[str, Any]:
    return {"reply": {"text": text, "postbackData": postback}}


def action(kind: str, text: str = "Ťukni", **more: Any) -> dict[str, Any]:
    return {"action": {"text": text, "postbackData": "tapped", kind: ACTIONS[kind][0], **more}}


def media(height: str | None = "SHORT", url: str = "https://telekom.sk/x/logo.png") -> dict[str, Any]:
    info = {"fileUrl": url, "thumbnailUrl": "https://telekom.sk/x/small.png"}
    return {"contentInfo": info} if height is None else {"height": height, "contentInfo": info}


def card(title: str = "Titulka", **more: Any) -> dict[str, Any]:
    return {"title": title, "description": "Popis", "media": media(), **more}


def standalone(orientation: str = "VERTICAL", **more: Any) -> dict[str, Any]:
    return {"standaloneCard": {"cardOrientation": orientation, "cardContent": card(), **more}}


def carousel(width: str = "MEDIUM", cards: int = 2) -> dict[str, Any]:
    contents = [card(f"Karta {number}") for number in range(cards)]
    return {"carouselCard": {"cardWidth": width, "cardContents": contents}}


def drawn(rcs: Any, **more: Any) -> Markup:
    return Markup(preview_html({"rcs": rcs, **more}))


# Everything in the manual is drawn.


def test_a_text_with_replies() -> None:
    page = drawn({"text": "Prajete si\ndostávať správy?", "suggestions": [reply(), reply("Nie", "no")]})
    assert [e.text for e in page.all(".bubble")] == ["Prajete si\ndostávať správy?"]
    (chips,) = page.all(".chips")
    assert chips.text == "ÁnoNie"
    assert [e.text for e in page.all("code")] == ["yes", "no"]


@pytest.mark.parametrize("kind", ACTIONS)
def test_an_action_says_what_it_does(kind: str) -> None:
    page = drawn({"text": "Dobrý deň", "suggestions": [action(kind)]})
    assert page.all(".chips")[0].text == "Ťukni"
    assert page.all(".suggestion")[0].attributes["title"] == ACTIONS[kind][1]
    assert ACTIONS[kind][1] in page.all(".legend")[0].text


def test_every_kind_of_suggestion_has_an_icon_of_its_own() -> None:
    kinds = [reply(), *map(action, ACTIONS)]
    (chips,) = re.findall('<ul class="chips">(.*?)</ul>', preview_html({"rcs": {"suggestions": kinds}}))
    assert len(set(re.findall(' d="([^"]+)"', chips))) == len(kinds) == 6


def test_a_place_and_a_page_for_phones_that_cannot() -> None:
    point = {"latLong": {"latitude": 49.1625, "longitude": 19.99}, "label": "Chata"}
    place = action("viewLocation", viewLocation=point, fallbackUrl="https://telekom.sk/chata")
    nameless = action("viewLocation", viewLocation={"latLong": point["latLong"]})
    text = drawn({"suggestions": [place, nameless]}).all(".legend")[0].text
    assert (
        "Shows Chata (49.1625, 19.99) on the map; if the phone cannot, opens https://telekom.sk/chata" in text
    )
    assert "Shows 49.1625, 19.99 on the map" in text


def test_where_a_button_leads_is_not_disguised() -> None:
    page = drawn(
        {"suggestions": [action("openUrl", openUrl={"url": "https://evil.example/\u202eks.mokelet"})]}
    )
    assert "Opens https://evil.example/\ufffdks.mokelet" in page.all(".legend")[0].text


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://pdfobject.com/pdf/sample.pdf", "sample.pdf"),
        ("https://pdfobject.com/pdf/zmluva%20o%20dielo.pdf?v=1#x", "zmluva o dielo.pdf"),
        ("https://pdfobject.com/song.mp3", "song.mp3"),
        ("https://pdfobject.com", "pdfobject.com"),
    ],
)
def test_a_file_is_named(url: str, name: str) -> None:
    (file,) = drawn({"file": {"url": url}}).all(".file")
    assert file.text in (f"{name}pdfobject.com", "filepdfobject.com")
    assert file.attributes["title"] == url


def test_a_file_that_is_a_picture_is_an_area() -> None:
    file = {"url": "https://telekom.sk/logo.GIF", "thumbnailUrl": "https://telekom.sk/small.gif"}
    (area,) = drawn({"file": file}).all(".media")
    assert area.text == "logo.GIF"
    assert area.attributes["title"] == "https://telekom.sk/logo.GIF\nthumbnail https://telekom.sk/small.gif"


@pytest.mark.parametrize(("height", "pixels"), [("SHORT", 112), ("MEDIUM", 168), ("TALL", 264)])
def test_the_height_of_media(height: str, pixels: int) -> None:
    (area,) = drawn({"standaloneCard": {"cardContent": card(media=media(height))}}).all(".media")
    assert f"h-{height}" in area.classes
    assert f".h-{height}{{height:{pixels}px}}" in STYLE


@pytest.mark.parametrize(("width", "pixels"), [("SMALL", 120), ("MEDIUM", 232)])
def test_the_width_of_the_cards_of_a_carousel(width: str, pixels: int) -> None:
    page = drawn(carousel(width, cards=10))
    assert len(page.all(f".w-{width}")) == len(page.all(".card")) == 10
    assert f".w-{width}{{width:{pixels}px}}" in STYLE
    assert [e.text for e in page.all("h3")] == [f"Karta {number}" for number in range(10)]
    assert "wide" in page.all(".phone")[0].classes
    assert "10 cards" in page.text


@pytest.mark.parametrize(
    ("alignment", "side"), [("LEFT", "left"), ("RIGHT", "right"), (None, "left"), ("UP", "left")]
)
def test_a_horizontal_card_has_its_thumbnail_at_a_side(alignment: str | None, side: str) -> None:
    (drawing,) = drawn(standalone("HORIZONTAL", thumbnailImageAlignment=alignment)).all(".card")
    assert {"horizontal", side} <= set(drawing.classes)
    assert f".horizontal.{side}" in STYLE or side == "left"


@pytest.mark.parametrize("height", ["TALL", None])
def test_a_horizontal_card_ignores_the_height_of_its_media(height: str | None) -> None:
    (area,) = drawn(standalone("HORIZONTAL", cardContent=card(media=media(height)))).all(".media")
    assert area.classes == ["media", "h-ROW"]


def test_a_vertical_card_ignores_the_alignment() -> None:
    (drawing,) = drawn(standalone("VERTICAL", thumbnailImageAlignment="RIGHT")).all(".card")
    assert drawing.classes == ["card"]


def test_a_card_has_its_words_and_buttons() -> None:
    contents = card(suggestions=[reply("Chcem"), action("dial", "Volať")])
    page = drawn({"standaloneCard": {"cardOrientation": "VERTICAL", "cardContent": contents}})
    assert page.all(".card")[0].text == "logo.pngTitulkaPopisChcemVolať"
    assert page.all(".buttons")[0].text == "ChcemVolať"


def test_suggestions_beside_those_of_a_card_are_ignored_and_it_is_said() -> None:
    rcs = carousel() | {"suggestions": [reply("Mimo")]}
    page = drawn(rcs)
    assert page.all(".chips")[0].text == "Mimo"
    assert "ignored" not in page.text
    rcs["carouselCard"]["cardContents"][1]["suggestions"] = [reply("Vlastné")]
    page = drawn(rcs)
    assert page.all(".chips") == []
    assert "Mimo" not in page.text
    assert "Vlastné" in page.all(".legend")[0].text
    assert "ignored" in page.all(".note")[0].text


# The phones and what is said about them.

SMS = {"text": "Dobrý deň", "from": "Telekom"}
RCS = {"text": "Dobrý deň 🎉", "from": "Agent 007"}


def captions(message: dict[str, Any], **options: Any) -> list[str]:
    return [e.text for e in Markup(preview_html(message, **options)).all("figcaption")]


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (
            [{"type": "rcs", "ttl": 30}, {"type": "sms"}],
            ["RCSSent first", "If RCS is not availableSent as SMS after 30 seconds9 characters"],
        ),
        (
            [{"type": "sms", "ttl": 1}, {"type": "rcs"}],
            ["SMSSent first9 characters", "If SMS is not availableSent as RCS after 1 second"],
        ),
        (
            [{"type": "rcs"}, {"type": "sms", "ttl": 30}],
            ["RCSSent first", "If RCS is not availableSent as SMS when that has failed9 characters"],
        ),
        ([{"type": "sms"}], ["SMS9 characters", "RCSNever sent: channels does not have rcs"]),
        (None, ["RCSSent first", "If RCS is not availableSent as SMS when that has failed9 characters"]),
    ],
)
def test_the_order_of_the_channels(channels: Any, expected: list[str]) -> None:
    assert captions({"channels": channels, "sms": SMS, "rcs": RCS}) == expected


@pytest.mark.parametrize(
    ("sms", "parts", "expected"),
    [
        (SMS, None, "SMS9 characters"),
        (SMS, 1, "SMS1 part, 9 characters"),
        (SMS | {"text": "e\u0301" * 200}, 3, "SMS3 parts, 200 characters"),
        (SMS | {"unicode": False}, 1, "SMS1 part, 9 characters; without its diacritics (unicode: false)"),
        (SMS | {"unicode": True}, 1, "SMS1 part, 9 characters"),
    ],
)
def test_the_size_of_an_sms(sms: dict[str, Any], parts: int | None, expected: str) -> None:
    assert captions({"sms": sms}, sms_parts=parts) == [expected]


def test_a_phone_says_from_whom() -> None:
    page = Markup(preview_html({"sms": SMS, "rcs": RCS}))
    assert [e.text for e in page.all(".bar")] == ["Agent 007RCS", "TelekomSMS"]
    page = Markup(preview_html({"sms": {"text": "x"}, "rcs": {"text": "x"}}))
    assert [e.text for e in page.all(".bar")] == ["Agent of the accountRCS", "Number of the accountSMS"]


# Any text, any value.

NASTY = st.text(
    st.one_of(st.sampled_from("<>\"'&=/;`\r\n\u202e\u2066\0 "), st.characters(codec="utf-8")), max_size=20
)
PAYLOADS = st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=https://evil.example/x>',
        "' onclick='x",
        "</style><style>*{background:url(https://evil.example)}",
        "&lt;b&gt; &amp; &#60;",
        "-->",
        "]]>",
        "\ud800",
        "א\u202eabc",
        "x" * 500,
    ]
)
TEXTS = NASTY | PAYLOADS


def whole(texts: list[str]) -> dict[str, Any]:
    """Return a message with every key of the manual that holds free text, filled from ``texts`` in turn."""
    turn = cycle(texts)

    def some(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v if k in ("type", "cardOrientation") else some(v) for k, v in value.items()}
        if isinstance(value, list):
            return [some(item) for item in value]
        return next(turn) if isinstance(value, str) else value

    suggestions = [reply(), *(action(kind, fallbackUrl="x") for kind in ACTIONS)]
    contents = card(suggestions=suggestions)
    channels = [{"type": "rcs", "ttl": 30}, {"type": "sms"}]
    content = {"text": "x", "from": "x", "suggestions": [reply()], **standalone(cardContent=contents)}
    cards = {"cardWidth": "MEDIUM", "cardContents": [card(suggestions=[reply()]), card()]}
    return {
        "channels": channels,
        "sms": some({"text": "x", "from": "x"}),
        "rcs": some({**content, "carouselCard": cards}),
    }


PLAIN = Markup(preview_html(whole(["x"]))).shape


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_no_text_changes_the_page(texts: list[str]) -> None:
    page = Markup(preview_html(whole(texts)))
    assert page.shape == PLAIN


@given(TEXTS)
def test_a_text_is_shown_as_it_is(text: str) -> None:
    shown = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
    assert Markup(preview_html({"rcs": {"text": text}})).all(".bubble")[0].text == shown


@example("a\rb", "a\r\nb", "c")
@given(TEXTS, TEXTS, TEXTS)
def test_a_suggestion_is_a_form_with_exactly_its_values(text: str, postback: str, field: str) -> None:
    html = bubble_html(
        {"rcs": {"suggestions": [reply(text, postback)]}},
        "rcs",
        tap=Tap("/_simulator/click", {"message_id": field}),
    )
    assert "\r" not in html  # a browser would read a \n
    page = Markup(f"<body>{html}</body>")
    (form,) = page.all("form")
    assert form.attributes == {"method": "post", "action": "/_simulator/click"}
    expected = {"message_id": field, "postbackData": postback, "text": text}
    assert {e.attributes["name"]: e.attributes["value"] for e in page.all("input")} == {
        name: re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", value)
        for name, value in expected.items()
    }
    assert {e.attributes["type"] for e in page.all("input")} == {"hidden"}
    assert len(page.all("button")) == 1


KEYS = sorted(set(re.findall(r'"(\w+)"', Path(preview.__file__).read_text())))
WORDS = sorted({"HORIZONTAL", "VERTICAL", "RIGHT", "SMALL", "MEDIUM", "TALL", "rcs", "sms"})
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | NASTY,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | NASTY, inner, max_size=5)
    ),
    max_leaves=15,
)


@given(ODD, ODD, ODD, st.sampled_from(["text", "file", "standaloneCard", "carouselCard", "suggestions"]))
def test_odd_values_are_drawn_too(channels: Any, odd: Any, odder: Any, key: str) -> None:
    for message in (odd, {"rcs": odd, "sms": odder, "channels": channels}, {"rcs": {key: odd}}):
        Markup(preview_html(message))


def replaced(value: Any, odd: Any) -> list[Any]:
    """Return copies of a value, in each of which another part of it is replaced."""
    inside = []
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []:
        for part in [odd, *replaced(value[key], odd)]:
            copy = deepcopy(value)
            copy[key] = part
            inside.append(copy)
    return inside


@pytest.mark.parametrize("odd", [None, True, 1.5, "x", [], {}, [None], {"x": 1}], ids=repr)
def test_every_part_may_be_odd(odd: Any) -> None:
    variants = replaced(whole(["x"]), odd)
    assert len(variants) > 80
    for message in variants:
        Markup(preview_html(message))


def test_what_is_there_is_shown() -> None:
    page = drawn({"text": 12, "suggestions": {"reply": "áno"}, "standaloneCard": {"cardContent": ["karta"]}})
    assert [e.text for e in page.all(".bubble")] == ["12"]
    assert [e.text for e in page.all(".chips")] == ["áno"]
    assert [e.text for e in page.all(".card")] == ['["karta"]']
    assert "neither an RCS message nor an SMS" in Markup(preview_html({})).text
    assert "without content" in drawn({}).text


# Nothing is fetched, nothing is run.


def test_a_page_fetches_and_runs_nothing() -> None:
    html = preview_html(whole(["https://evil.example/x"]))
    (policy,) = [e.attributes["content"] for e in Markup(html).all("meta") if "http-equiv" in e.attributes]
    assert policy == ("default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'")
    assert not re.search(r"url\(|@import|<script|http", STYLE)
    assert not re.search(r"\bsrc(set)?=|\bon\w+=|style=", re.sub('title="[^"]*"', "", html))


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(preview.__file__).read_text())
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        *(("ink", ground) for ground in ("page", "screen", "bubble")),
        *(("soft", ground) for ground in ("page", "screen", "bubble")),
        *(("accent", ground) for ground in ("page", "screen", "bubble")),
        ("media-ink", "media"),
    ],
)
def test_the_contrast_is_that_of_wcag_aa(theme: int, ink: str, ground: str) -> None:
    colours = dict(re.findall(r"--([\w-]+):(#\w+)", re.findall(r":root\{(.*?)\}", STYLE, re.DOTALL)[theme]))
    light, dark = sorted([luminance(colours[ink]), luminance(colours[ground])], reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
