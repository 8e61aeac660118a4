"""
Short ways to write an RCS message (manual v2, rcs).

::

    from airflow_provider_telekom_sms.api import rcs

    rcs.text("Prídete?", replies=["Áno", "Nie"])
    rcs.single(rcs.card("Faktúra", "Za máj", image=url, buttons=[rcs.link("Zobraziť", page)]))
    rcs.carousel([rcs.card("Prvá", image=url), rcs.card("Druhá", image=url)])

Each gives a model of :mod:`.messages`, which says what is allowed. Where buttons are wanted, a plain text is
a quick reply; what comes back (``postbackData``) is the text of the button unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

from airflow_provider_telekom_sms.api.multichannel import (
    Action,
    CardContent,
    CarouselCard,
    ContentInfo,
    CreateCalendarEvent,
    Dial,
    File,
    LatLong,
    Media,
    OpenUrl,
    Rcs,
    Reply,
    ShareLocation,
    StandaloneCard,
    Suggestion,
    ViewLocation,
)
from airflow_provider_telekom_sms.api.phone import national_form
from airflow_provider_telekom_sms.api.times import parse_time
from airflow_provider_telekom_sms.api.values import shown_text
from airflow_provider_telekom_sms.exceptions import InvalidMessageError

#: Texts of quick replies, the same with what comes back for each, or suggestions; in a list also mixed.
Buttons: TypeAlias = Sequence[str | Suggestion] | Mapping[str, str]


def text(
    text: str,
    *,
    replies: Buttons | None = None,
    suggestions: Buttons | None = None,
    sender: str | None = None,
) -> Rcs:
    """
    Write a text.

    :param text: the text
    :param replies: quick replies: their texts, or a mapping from text to what comes back
    :param suggestions: more buttons, behind the replies
    :param sender: the agent's name
    :raises InvalidMessageError: names every problem at once
    """
    buttons = [*(_suggestions(replies, "replies") or ()), *(_suggestions(suggestions) or ())]
    return Rcs(text=text, suggestions=buttons or None, sender=sender)


def file(
    url: str,
    *,
    thumbnail_url: str | None = None,
    force_refresh: bool | None = None,
    suggestions: Buttons | None = None,
    sender: str | None = None,
) -> Rcs:
    """
    Send a file.

    :param url: where it is, http:// or https://
    :param thumbnail_url: its preview, up to 100 kB
    :param force_refresh: True has both fetched anew
    :param suggestions: buttons below it
    :param sender: the agent's name
    :raises InvalidMessageError: names every problem at once
    """
    content = File(url=url, thumbnail_url=thumbnail_url, force_refresh=force_refresh)
    return Rcs(file=content, suggestions=_suggestions(suggestions), sender=sender)


def card(
    title: str | None = None,
    description: str | None = None,
    *,
    image: str | None = None,
    height: Literal["SHORT", "MEDIUM", "TALL"] | None = "MEDIUM",
    thumbnail_url: str | None = None,
    force_refresh: bool | None = None,
    buttons: Buttons | None = None,
) -> CardContent:
    """
    Make a card, for :func:`single` or :func:`carousel`.

    :param title: up to 200 characters
    :param description: up to 2000 characters
    :param image: where its picture or film is, http:// or https://
    :param height: SHORT, MEDIUM or TALL; a horizontal card has none to choose, None leaves it out
    :param thumbnail_url: a preview of the picture, up to 100 kB
    :param force_refresh: True has both fetched anew
    :param buttons: up to 11
    :raises InvalidMessageError: names every problem at once
    """
    media = None
    if image is not None:
        info = ContentInfo(file_url=image, thumbnail_url=thumbnail_url, force_refresh=force_refresh)
        media = Media(height=height, content_info=info)
    elif thumbnail_url is not None or force_refresh is not None:
        raise InvalidMessageError("image: missing, but required with thumbnail_url and force_refresh")
    return CardContent(
        title=title, description=description, media=media, suggestions=_suggestions(buttons, "buttons")
    )


def single(
    card: CardContent,
    *,
    orientation: Literal["VERTICAL", "HORIZONTAL"] = "VERTICAL",
    image_side: Literal["LEFT", "RIGHT"] | None = None,
    suggestions: Buttons | None = None,
    sender: str | None = None,
) -> Rcs:
    """
    Send one card.

    :param card: what :func:`card` gave
    :param orientation: VERTICAL or HORIZONTAL
    :param image_side: LEFT or RIGHT, where a horizontal card has its picture
    :param suggestions: buttons below it; ignored if the card has its own
    :param sender: the agent's name
    :raises InvalidMessageError: names every problem at once
    """
    standalone = StandaloneCard(
        card_orientation=orientation, thumbnail_image_alignment=image_side, card_content=card
    )
    return Rcs(standalone_card=standalone, suggestions=_suggestions(suggestions), sender=sender)


def carousel(
    cards: Sequence[CardContent],
    *,
    width: Literal["SMALL", "MEDIUM"] = "MEDIUM",
    suggestions: Buttons | None = None,
    sender: str | None = None,
) -> Rcs:
    """
    Send several cards, side by side.

    :param cards: 2 to 10 of what :func:`card` gave; where the width is SMALL, no picture is TALL
    :param width: SMALL or MEDIUM
    :param suggestions: buttons below them; ignored if a card has its own
    :param sender: the agent's name
    :raises InvalidMessageError: names every problem at once
    """
    content = CarouselCard(card_width=width, card_contents=cards)
    return Rcs(carousel_card=content, suggestions=_suggestions(suggestions), sender=sender)


def reply(text: str, postback: str | None = None) -> Suggestion:
    """
    Make a quick reply.

    :param text: what the recipient sees, up to 25 characters
    :param postback: what comes back
    :raises InvalidMessageError: names every problem at once
    """
    return Suggestion(reply=Reply(text=text, postback_data=_postback(text, postback)))


def link(
    text: str,
    url: str,
    *,
    description: str | None = None,
    postback: str | None = None,
    fallback_url: str | None = None,
) -> Suggestion:
    """
    Make a button that opens a page.

    :param text: what the recipient sees, up to 25 characters
    :param url: the page, http:// or https://
    :param description: what the page is about
    :param postback: what comes back
    :param fallback_url: opened by a device that does not know suggestions
    :raises InvalidMessageError: names every problem at once
    """
    return _action(text, postback, fallback_url, open_url=OpenUrl(url=url, description=description))


def call(
    text: str, phone_number: str, *, postback: str | None = None, fallback_url: str | None = None
) -> Suggestion:
    """
    Make a button that opens the telephone.

    :param text: what the recipient sees, up to 25 characters
    :param phone_number: any Slovak number in any usual spelling; sent as ``+421`` and nine digits
    :param postback: what comes back
    :param fallback_url: opened by a device that does not know suggestions
    :raises InvalidMessageError: names every problem at once
    """
    return _action(
        text,
        postback,
        fallback_url,
        dial=Dial(phone_number="+421" + national_form(phone_number).removeprefix("0")),
    )


def show_location(
    text: str,
    query: str | None = None,
    *,
    latitude: float | None = None,
    longitude: float | None = None,
    label: str | None = None,
    postback: str | None = None,
    fallback_url: str | None = None,
) -> Suggestion:
    """
    Make a button that shows a place on the map: what a search finds, or a point.

    :param text: what the recipient sees, up to 25 characters
    :param query: what the map is to search for, an address or a name; on Android only
    :param latitude: of the point, in degrees
    :param longitude: of the point, in degrees
    :param label: the name of the point
    :param postback: what comes back
    :param fallback_url: opened by a device that does not know suggestions
    :raises InvalidMessageError: names every problem at once
    """
    point = None
    if latitude is not None or longitude is not None:
        point = LatLong.check({"latitude": latitude, "longitude": longitude})
    return _action(
        text, postback, fallback_url, view_location=ViewLocation(lat_long=point, query=query, label=label)
    )


def ask_location(text: str, *, postback: str | None = None, fallback_url: str | None = None) -> Suggestion:
    """
    Make a button that asks the recipient for a place.

    :param text: what the recipient sees, up to 25 characters
    :param postback: what comes back
    :param fallback_url: opened by a device that does not know suggestions
    :raises InvalidMessageError: names every problem at once
    """
    return _action(text, postback, fallback_url, share_location=ShareLocation())


def calendar(
    text: str,
    *,
    title: str,
    description: str,
    start: str | datetime,
    end: str | datetime | timedelta,
    postback: str | None = None,
    fallback_url: str | None = None,
) -> Suggestion:
    """
    Make a button that puts an event into the recipient's calendar.

    :param text: what the recipient sees, up to 25 characters
    :param title: the event's title
    :param description: what it is about
    :param start: a datetime (naive is Europe/Bratislava), or RFC 3339
    :param end: the same, or how long it takes
    :param postback: what comes back
    :param fallback_url: opened by a device that does not know suggestions
    :raises InvalidMessageError: names every problem at once
    """
    event = CreateCalendarEvent(
        title=title, description=description, start_date_time=start, end_date_time=_end(start, end)
    )
    return _action(text, postback, fallback_url, create_calendar_event=event)


def _end(start: str | datetime, end: str | datetime | timedelta) -> str | datetime:
    if not isinstance(end, timedelta):
        return end
    try:
        # In UTC: an hour is an hour even in the night when the clocks change.
        return parse_time(start).astimezone(UTC) + end
    except InvalidMessageError:
        return start  # as wrong as the start is
    except OverflowError:
        return str(end)


def _action(text: str, postback: str | None, fallback_url: str | None, **what: Any) -> Suggestion:
    action = Action(text=text, postback_data=_postback(text, postback), fallback_url=fallback_url, **what)
    return Suggestion(action=action)


def _postback(text: str, postback: str | None) -> str:
    return text if postback is None else postback


def _suggestions(buttons: Buttons | None, name: str = "suggestions") -> list[Suggestion] | None:
    if buttons is None:
        return None
    if isinstance(buttons, Mapping):
        return [reply(text, postback) for text, postback in buttons.items()]
    # A text is a sequence of texts, too: a button for each of its letters.
    if not isinstance(buttons, Sequence) or isinstance(buttons, str | bytes):
        raise InvalidMessageError(
            f"{name}: found {shown_text(buttons)}, allowed are lists of texts and suggestions, and mappings"
        )
    return [button if isinstance(button, Suggestion) else reply(button) for button in buttons]
