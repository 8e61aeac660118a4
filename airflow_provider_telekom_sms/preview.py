"""
What a message of API v2 looks like on a phone, as a page of HTML.

A drawing, not a check: whatever stands in the message is shown, even where the API would refuse it. Nothing
is fetched (media are neutral areas with the name of their file) and nothing can be run or followed.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import unquote

MEDIA_HEIGHTS = {"SHORT": 112, "MEDIUM": 168, "TALL": 264}
"""cardContent.media.height, in DP; a DP is a CSS pixel here."""

CARD_WIDTHS = {"SMALL": 120, "MEDIUM": 232}
"""rcs.carouselCard.cardWidth, in DP."""

_NAMES: dict[str, str] = {"rcs": "RCS", "sms": "SMS"}

# No page can hold these, and no phone shows them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# In what we say of a button they would only disguise where it leads.
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_ICONS = {
    "reply": "M10 8V4l-7 7 7 7v-4c5 0 8 2 11 6-1-7-4-12-11-12z",
    "openUrl": "M14 4h6v6M20 4l-9 9M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5",
    "dial": "M5 4h4l2 5-2.5 1.5a11 11 0 0 0 5 5L15 13l5 2v4a1 1 0 0 1-1 1A15 15 0 0 1 4 5a1 1 0 0 1 1-1z",
    "viewLocation": "M12 21c-4-4-7-7-7-11a7 7 0 0 1 14 0c0 4-3 7-7 11zM12 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
    "shareLocation": "M12 19a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM12 2v3M12 19v3M2 12h3M19 12h3M12 12h.01",
    "createCalendarEvent": "M5 6h14v14H5zM5 10h14M9 3v5M15 3v5M9 14h2",
    "unknown": "M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5v.5",
    "image": "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
    "video": "M4 5h16v14H4zM10 9v6l5-3z",
    "audio": "M9 18V6l10-2v12M9 18a3 3 0 1 1-6 0 3 3 0 0 1 6 0zM19 16a3 3 0 1 1-6 0 3 3 0 0 1 6 0z",
    "file": "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
    "sender": "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 20c1-4 4-5 8-5s7 1 8 5",
}

_FILE_KINDS = {
    "image": {"bmp", "gif", "heic", "jpeg", "jpg", "png", "svg", "webp"},
    "video": {"3gp", "avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm"},
    "audio": {"aac", "amr", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav"},
}


@dataclass(frozen=True)
class Tap:
    """
    Where a tapped suggestion is posted, by a form.

    :param action: the path
    :param fields: hidden fields, beside ``postbackData`` and ``text``
    """

    action: str
    fields: Mapping[str, str]


def preview_html(message: Mapping[str, Any], *, sms_parts: int | None = None) -> str:
    """
    Return a page that shows a message as phones would: its first channel, and beside it each fallback.

    :param message: the message as API v2 takes it; all keys are optional, and none is refused
    :param sms_parts: in how many parts the SMS is sent; None leaves it out
    """
    content = _mapping(message)
    channels = _channels(content)
    figures = [
        _figure(content, channel, heading, note, sms_parts)
        for (channel, _), (heading, note) in zip(channels, _headings(content, channels), strict=True)
    ]
    phones = "".join(figures) or '<p class="note">There is neither an RCS message nor an SMS to show.</p>'
    body = (
        f'<main><h1>Message preview</h1><div class="phones">{phones}</div>{_legend(content, channels)}</main>'
    )
    return document("Message preview", body)


def bubble_html(message: Mapping[str, Any], channel: str, *, tap: Tap | None = None) -> str:
    """
    Return what one message looks like inside a conversation; it needs ``STYLE``.

    :param message: the message as API v2 takes it
    :param channel: rcs or sms: which of its contents is drawn
    :param tap: makes the suggestions clickable; None only draws them
    """
    content = _mapping(message).get(channel)
    if channel == "sms" or not isinstance(content, Mapping):
        text = content.get("text") if isinstance(content, Mapping) else content
        return _text_bubble(text)
    drawn = [draw(content[key], tap) for key, draw in _RCS_CONTENTS.items() if content.get(key) is not None]
    suggestions = _items(content.get("suggestions"))
    own = _cards_with_suggestions(content)
    if suggestions and own:
        drawn.append('<p class="note">Suggestions at the RCS level are ignored: the card has its own.</p>')
    elif suggestions:
        drawn.append(_suggestions(suggestions, "chips", tap))
    return "".join(drawn) or '<p class="note">An RCS message without content.</p>'


def document(title: str, body: str, *, style: str = "", forms: bool = False) -> str:
    """
    Return a whole page, which may fetch and run nothing.

    :param title: its title, as text
    :param body: its body, as HTML
    :param style: more style than ``STYLE``
    :param forms: whether its forms may be sent, to its own server
    """
    target = "self" if forms else "none"
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action '{target}'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="same-origin"><link rel="icon" href="data:,">'
        f"<title>{escaped(title)}</title><style>{STYLE}{style}</style></head>\n<body>{body}</body></html>\n"
    )


def phone_html(name: str, conversation: str, *, label: str = "", wide: bool = False) -> str:
    """
    Return a phone with a conversation on its screen.

    :param name: with whom, as text
    :param conversation: what stands on the screen, as HTML
    :param label: beside the name, as text
    :param wide: whether it may grow with what it shows
    """
    shown = f'<span class="label">{escaped(label)}</span>' if label else ""
    return (
        f'<div class="phone{" wide" if wide else ""}"><div class="bar"><span class="avatar">{_icon("sender")}'
        f'</span><b dir="auto">{escaped(name)}</b>{shown}</div>'
        f'<div class="screen">{conversation}</div></div>'
    )


def escaped(value: Any) -> str:
    """
    Return any JSON value as text that is safe in HTML, in attributes too.

    :param value: a string, shown as it is, or something else, shown as JSON; None is empty
    """
    return escape(_UNPRINTABLE.sub("\ufffd", _text(value))).replace("\r", "&#13;")


# Reading a message of which nothing is certain.


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _cards(rcs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    alone = _mapping(rcs.get("standaloneCard")).get("cardContent")
    several = _items(_mapping(rcs.get("carouselCard")).get("cardContents"))
    return [card for card in [alone, *several] if isinstance(card, Mapping)]


def _cards_with_suggestions(rcs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [card for card in _cards(rcs) if _items(card.get("suggestions"))]


def _channels(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the channels that have something to show, in their order, each with its ttl."""
    ttls: dict[str, Any] = {}
    for channel in map(_mapping, _items(content.get("channels"))):
        ttls.setdefault(_text(channel.get("type")), channel.get("ttl"))
    # What no channel sends comes last.
    order = {**ttls, **{name: None for name in _NAMES if name not in ttls}}
    return [(name, ttl) for name, ttl in order.items() if name in _NAMES and content.get(name) is not None]


# The page around the phones.


def _headings(content: Mapping[str, Any], channels: list[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    asked = [_text(_mapping(channel).get("type")) for channel in _items(content.get("channels"))]
    sent = [(channel, ttl) for channel, ttl in channels if not asked or channel in asked]
    for position, (channel, _) in enumerate(channels):
        name = _NAMES[channel]
        if position >= len(sent):
            yield name, f"Never sent: channels does not have {channel}"
        elif position == 0:
            yield name, "Sent first" if len(sent) > 1 else ""
        else:
            before, ttl = sent[position - 1]
            after = "when that has failed" if ttl is None else f"after {_seconds(ttl)}"
            yield f"If {_NAMES[before]} is not available", f"Sent as {name} {after}"


def _seconds(value: Any) -> str:
    return "1 second" if value == 1 else f"{_text(value)} seconds"


def _figure(content: Mapping[str, Any], channel: str, heading: str, note: str, sms_parts: int | None) -> str:
    part = _mapping(content[channel])
    wide = channel == "rcs" and part.get("carouselCard") is not None
    default = "Agent of the account" if channel == "rcs" else "Number of the account"
    phone = phone_html(
        _text(part.get("from")) or default, bubble_html(content, channel), label=_NAMES[channel], wide=wide
    )
    lines = [note, _size(part, sms_parts)] if channel == "sms" else [note, _carousel_note(part)]
    below = "".join(f"<p>{escaped(line)}</p>" for line in lines if line)
    return f"<figure><figcaption><h2>{heading}</h2>{below}</figcaption>{phone}</figure>"


def _size(sms: Mapping[str, Any], sms_parts: int | None) -> str:
    length = len(unicodedata.normalize("NFC", _text(sms.get("text"))))
    sizes = [] if sms_parts is None else [_counted(sms_parts, "part")]
    stripped = "; without its diacritics (unicode: false)" if sms.get("unicode") is False else ""
    return ", ".join([*sizes, _counted(length, "character")]) + stripped


def _carousel_note(rcs: Mapping[str, Any]) -> str:
    cards = _items(_mapping(rcs.get("carouselCard")).get("cardContents"))
    return f"{_counted(len(cards), 'card')}, swiped sideways on a phone" if cards else ""


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _legend(content: Mapping[str, Any], channels: list[tuple[str, Any]]) -> str:
    rcs = _mapping(content.get("rcs"))
    cards = _cards_with_suggestions(rcs)
    shown = [s for part in cards or [rcs] for s in _items(part.get("suggestions"))]
    if not shown or "rcs" not in dict(channels):
        return ""
    rows = "".join(_legend_row(_button(suggestion)) for suggestion in shown)
    return f'<section class="legend"><h2>What the buttons do</h2><ul>{rows}</ul></section>'


def _legend_row(button: _Button) -> str:
    return (
        f"<li>{_face(button)}<span>{escaped(button.does)}"
        f'<br><small>postbackData <code dir="auto">{escaped(button.postback)}</code></small></span></li>'
    )


# What stands on the screen.


def _icon(name: str) -> str:
    return f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{_ICONS[name]}"/></svg>'


def _text_bubble(value: Any, tap: Tap | None = None) -> str:
    return f'<p class="bubble" dir="auto">{escaped(value)}</p>'


def _file(value: Any, tap: Tap | None) -> str:
    """Draw rcs.file: pictures and films as an area, other files as a line."""
    file = _mapping(value)
    url = file.get("url") if file else value
    kind, name = _file_kind(url)
    if kind in ("image", "video"):
        return f'<div class="card">{_media_area(url, file.get("thumbnailUrl"), "MEDIUM")}</div>'
    return (
        f'<p class="bubble file" title="{escaped(url)}">{_icon(kind)}'
        f'<span><b dir="auto">{escaped(name)}</b><small>{escaped(_host(url))}</small></span></p>'
    )


def _file_kind(url: Any) -> tuple[str, str]:
    """Return the icon and the name of the file behind a URL."""
    path = re.split(r"[?#]", re.sub(r"^[a-zA-Z]+://", "", _text(url)))[0]
    name = unquote(path.rstrip("/").rpartition("/")[2]) or "file"
    ending = name.rpartition(".")[2].lower()
    return next((kind for kind, endings in _FILE_KINDS.items() if ending in endings), "file"), name


def _host(url: Any) -> str:
    return re.split(r"[/?#]", re.sub(r"^[a-zA-Z]+://", "", _text(url)))[0]


def _media_area(url: Any, thumbnail: Any, height: str) -> str:
    kind, name = _file_kind(url)
    title = _text(url) + (f"\nthumbnail {_text(thumbnail)}" if thumbnail is not None else "")
    return (
        f'<div class="media h-{height}" title="{escaped(title)}">{_icon(kind)}'
        f'<small dir="auto">{escaped(name)}</small></div>'
    )


def _media(value: Any, height: str | None = None) -> str:
    if value is None:
        return ""
    media = _mapping(value)
    info = _mapping(media.get("contentInfo"))
    asked = _text(media.get("height"))
    height = height or (asked if asked in MEDIA_HEIGHTS else "MEDIUM")
    return _media_area(info.get("fileUrl"), info.get("thumbnailUrl"), height)


def _standalone_card(value: Any, tap: Tap | None) -> str:
    card = _mapping(value)
    if card.get("cardOrientation") != "HORIZONTAL":
        return f'<article class="card">{_card(card.get("cardContent"), tap)}</article>'
    side = "right" if card.get("thumbnailImageAlignment") == "RIGHT" else "left"
    # In this layout the height of the media is not the author's to choose.
    inside = _card(card.get("cardContent"), tap, "ROW")
    return f'<article class="card horizontal {side}">{inside}</article>'


def _carousel_card(value: Any, tap: Tap | None) -> str:
    carousel = _mapping(value)
    asked = _text(carousel.get("cardWidth"))
    width = asked if asked in CARD_WIDTHS else "MEDIUM"
    cards = "".join(
        f'<li class="card w-{width}">{_card(content, tap)}</li>'
        for content in _items(carousel.get("cardContents"))
    )
    return f'<ul class="carousel" aria-label="Carousel" tabindex="0">{cards}</ul>'


def _card(value: Any, tap: Tap | None, media_height: str | None = None) -> str:
    if not isinstance(value, Mapping):
        return f'<div class="words"><p dir="auto">{escaped(value)}</p></div>'
    title, description = value.get("title"), value.get("description")
    words = f'<h3 dir="auto">{escaped(title)}</h3>' if title is not None else ""
    words += f'<p dir="auto">{escaped(description)}</p>' if description is not None else ""
    suggestions = _items(value.get("suggestions"))
    return (
        _media(value.get("media"), media_height)
        + (f'<div class="words">{words}</div>' if words else "")
        + (_suggestions(suggestions, "buttons", tap) if suggestions else "")
    )


_RCS_CONTENTS = {
    "text": _text_bubble,
    "file": _file,
    "standaloneCard": _standalone_card,
    "carouselCard": _carousel_card,
}


# Suggestions.


@dataclass(frozen=True)
class _Button:
    icon: str
    text: str
    postback: str
    does: str


def _button(suggestion: Any) -> _Button:
    """Say what a suggestion is, whether a reply, an action, or neither."""
    parts = _mapping(suggestion)
    reply, action = parts.get("reply"), parts.get("action")
    words = _mapping(reply if reply is not None else action)
    text = _text(words.get("text", reply if reply is not None else action))
    postback = _text(words.get("postbackData"))
    if reply is not None:
        return _Button("reply", text, postback, "Sends this text back")
    for kind, tell in _ACTIONS.items():
        if words.get(kind) is not None:
            does = tell(_mapping(words[kind]))
            if words.get("fallbackUrl") is not None:
                does += f"; if the phone cannot, opens {_text(words['fallbackUrl'])}"
            return _Button(kind, text, postback, _DIRECTIONS.sub("\ufffd", does))
    return _Button("unknown", text or _text(suggestion), postback, "Neither a reply nor a known action")


def _place(value: Mapping[str, Any]) -> str:
    if value.get("query") is not None:
        return f"Searches the map for {_text(value['query'])}"
    point = _mapping(value.get("latLong"))
    where = f"{_text(point.get('latitude'))}, {_text(point.get('longitude'))}"
    label = _text(value.get("label"))
    return f"Shows {label} ({where}) on the map" if label else f"Shows {where} on the map"


def _event(value: Mapping[str, Any]) -> str:
    title, description = _text(value.get("title")), _text(value.get("description"))
    start, end = _moment(value.get("startDateTime")), _moment(value.get("endDateTime"))
    return f"Adds to the calendar: {title} ({description}), {start} to {end}"


def _moment(value: Any) -> str:
    """Return a time without its T, or whatever else stands there."""
    try:
        return f"{datetime.fromisoformat(_text(value)):%Y-%m-%d %H:%M %Z}"
    except ValueError:
        return _text(value)


_ACTIONS = {
    "dial": lambda value: f"Calls {_text(value.get('phoneNumber'))}",
    "viewLocation": _place,
    "shareLocation": lambda value: "Lets the recipient send a location",
    "openUrl": lambda value: f"Opens {_text(value.get('url'))}",
    "createCalendarEvent": _event,
}


def _suggestions(suggestions: list[Any], style: str, tap: Tap | None) -> str:
    items = "".join(f"<li>{_tappable(_button(suggestion), tap)}</li>" for suggestion in suggestions)
    return f'<ul class="{style}">{items}</ul>'


def _tappable(button: _Button, tap: Tap | None) -> str:
    if tap is None:
        return _face(button)
    values = {**tap.fields, "postbackData": button.postback, "text": button.text}
    fields = "".join(
        f'<input type="hidden" name="{escaped(name)}" value="{escaped(value)}">'
        for name, value in values.items()
    )
    return f'<form method="post" action="{escaped(tap.action)}">{fields}{_face(button, "button")}</form>'


def _face(button: _Button, tag: str = "span") -> str:
    return (
        f'<{tag} class="suggestion" title="{escaped(button.does)}">{_icon(button.icon)}'
        f'<span dir="auto">{escaped(button.text)}</span></{tag}>'
    )


_SIZES = "".join(
    [
        *(f".h-{name}{{height:{height}px}}" for name, height in MEDIA_HEIGHTS.items()),
        *(f".w-{name}{{width:{width}px}}" for name, width in CARD_WIDTHS.items()),
    ]
)

STYLE = (
    """
:root{color-scheme:light dark;--page:#eef0f5;--screen:#fff;--ink:#1a1d24;--soft:#555c6b;--line:#d5d9e2;
--bubble:#edf0f6;--media:#dbe1ee;--media-ink:#465069;--accent:#3548b0;--own:#3548b0;--frame:#1d2028}
@media(prefers-color-scheme:dark){:root{--page:#0e1014;--screen:#191c22;--ink:#e9ebf0;--soft:#a9b0bf;
--line:#3a404d;--bubble:#282d37;--media:#343b4a;--media-ink:#c3cadb;--accent:#b3bfff;--own:#4354bd;
--frame:#3a3f4b}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.45 -apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",system-ui,sans-serif,
"Noto Color Emoji"}
main{max-width:1200px;margin:0 auto;padding:24px 12px 40px}
h1{font-size:22px;line-height:1.2;margin:0 0 20px}h2{font-size:16px;line-height:1.3;margin:0}
h3{font-size:15px;line-height:1.3;margin:0}
p,ul,figure{margin:0;padding:0}ul{list-style:none}small{font-size:12px}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:12px}
p,h1,h2,h3,b,code,span,small,li{overflow-wrap:anywhere;min-width:0}
.icon{width:18px;height:18px;flex:none;fill:none;stroke:currentColor;stroke-width:1.7;stroke-linecap:round;
stroke-linejoin:round}
.note{color:var(--soft);font-size:13px;font-style:italic}
.phones{display:flex;flex-wrap:wrap;gap:32px 40px}
figure{display:flex;flex-direction:column;max-width:100%;min-width:0}
figure .phone{flex:1 0 auto;min-height:380px}
figcaption{min-height:76px;padding:0 10px 12px;color:var(--soft);font-size:13px;max-width:344px}
figcaption h2{color:var(--ink)}
.phone{width:344px;max-width:100%;background:var(--screen);border:8px solid var(--frame);border-radius:34px;
overflow:hidden;box-shadow:0 8px 24px #0002}
.phone.wide{width:fit-content;min-width:min(344px,100%)}
.bar{display:flex;align-items:center;gap:10px;padding:14px 16px 12px;border-bottom:1px solid var(--line)}
.bar b{flex:1;font-size:15px;line-height:1.25}
.avatar{display:grid;place-items:center;width:32px;height:32px;border-radius:50%;background:var(--media);
color:var(--media-ink);flex:none}
.label{font-size:11px;font-weight:600;letter-spacing:.04em;color:var(--soft);border:1px solid var(--line);
border-radius:6px;padding:1px 6px;flex:none}
.screen{display:flex;flex-direction:column;align-items:flex-start;gap:10px;padding:16px 14px 22px;
min-height:120px}
.screen>*{max-width:100%}
.bubble{background:var(--bubble);border-radius:20px 20px 20px 6px;padding:10px 14px;max-width:88%;
white-space:pre-wrap;overflow:hidden}
.file{display:flex;gap:12px;align-items:center;white-space:normal}
.file .icon{width:28px;height:28px;color:var(--accent)}
.file b,.file small{display:block}.file small{color:var(--soft)}
.card{display:flex;flex-direction:column;width:300px;max-width:100%;border:1px solid var(--line);
border-radius:18px;overflow:hidden;background:var(--screen)}
.media{display:flex;flex-direction:column;align-items:center;justify-content:center;gap:6px;padding:8px;
background:var(--media);color:var(--media-ink);text-align:center;overflow:hidden;flex:none}
.media .icon{width:32px;height:32px;stroke-width:1.4}
.media small{max-width:100%;line-height:1.3;display:-webkit-box;-webkit-box-orient:vertical;
-webkit-line-clamp:3;overflow:hidden}
.words{padding:12px 14px;display:grid;gap:4px}.words p{font-size:14px;white-space:pre-wrap}
.words h3{white-space:pre-wrap}
.horizontal{display:grid;grid-template-columns:108px minmax(0,1fr);grid-template-rows:1fr auto;
min-height:128px}
.horizontal.right{grid-template-columns:minmax(0,1fr) 108px}
.horizontal .media{grid-row:1/3;grid-column:1}.horizontal.right .media{grid-column:2}
.horizontal>:not(.media){grid-column:2}.horizontal.right>:not(.media){grid-column:1}
.carousel{display:flex;gap:10px;overflow-x:auto;scrollbar-width:thin;margin:0 -14px;padding:0 14px 4px}
.screen .carousel{max-width:calc(100% + 28px)}
.carousel .card{flex:none;max-width:none}
.buttons{margin-top:auto;border-top:1px solid var(--line)}
.media+.buttons{border-top:0}
.buttons li+li{border-top:1px solid var(--line)}
.suggestion{display:inline-flex;align-items:center;gap:8px;color:var(--accent);font:inherit;font-weight:600;
font-size:14px;line-height:1.25;background:none;border:0;text-align:start}
.buttons .suggestion{padding:10px 14px;width:100%}
.w-SMALL .words,.w-SMALL .suggestion{padding-inline:10px}.w-SMALL .suggestion{font-size:13px}
.chips{display:flex;flex-wrap:wrap;gap:8px}
.chips li{max-width:100%}
.chips .suggestion,.legend .suggestion{border:1px solid var(--accent);border-radius:18px;
padding:6px 14px 6px 10px}
button.suggestion{cursor:pointer}button.suggestion:hover{background:var(--bubble)}
:focus-visible{outline:2px solid var(--accent);outline-offset:-2px}
.legend{margin-top:32px;max-width:728px;background:var(--screen);border:1px solid var(--line);
border-radius:18px;padding:18px 20px 20px}
.legend li{display:grid;grid-template-columns:minmax(0,200px) minmax(0,1fr);gap:4px 16px;align-items:center;
margin-top:14px;font-size:14px}
.legend li>.suggestion{justify-self:start;max-width:100%}
.legend small{color:var(--soft)}
@media(max-width:520px){.legend li{grid-template-columns:minmax(0,1fr)}figcaption{min-height:0}}
@media print{.carousel{flex-wrap:wrap}}
"""
    + _SIZES
)
"""The style of all that is drawn here."""
