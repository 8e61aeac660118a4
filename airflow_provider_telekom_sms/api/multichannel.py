"""
The message of API v2 (manual v2, ``POST /messages``): every object of the manual, and what it may be.

Names are Python's here and the manual's on the way out; both are understood on the way in. What a value may
be is said in :mod:`.values`, what goes together with what in the ``_rules`` of each object.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias, dataclass_transform

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from airflow_provider_telekom_sms.api import values
from airflow_provider_telekom_sms.api.phone import mask_phone
from airflow_provider_telekom_sms.api.text import MAX_PARTS, count
from airflow_provider_telekom_sms.api.values import Many, OneOf, Problem
from airflow_provider_telekom_sms.exceptions import InvalidMessageError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

#: Problems that one error tells; who has more has one that is everywhere.
MOST_PROBLEMS = 100

#: Strings that say nothing about a person and may be shown; of all the others a repr tells the length.
_OPEN = {
    "card_orientation",
    "card_width",
    "delivery_time",
    "end_date_time",
    "height",
    "start_date_time",
    "thumbnail_image_alignment",
    "type",
    "types",
}


def _manual_name(name: str) -> str:
    return "from" if name == "sender" else to_camel(name)


def _join(path: str, *keys: str | int) -> str:
    for key in keys:
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
    return path


class _Plain(str):
    """A string whose repr is itself."""

    __slots__ = ()

    __repr__ = str.__str__


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
class _Checked(ModelMetaclass):
    """Makes ``Rcs(text="")`` fail in the words of ``Rcs.check``; pydantic's quote what was given."""

    if not TYPE_CHECKING:  # a checker takes the signature from the fields

        def __call__(cls, /, **values):
            try:
                return super().__call__(**values)
            except ValidationError as error:
                refusal = cls._refusal(error, cls._root())
            raise refusal


class MessagePart(BaseModel, metaclass=_Checked):
    """
    What all objects of a message have in common.

    They are frozen and checked however they are made; a wrong one is an
    :class:`~airflow_provider_telekom_sms.exceptions.InvalidMessageError` that names every problem at once.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_manual_name, hide_input_in_errors=True
    )

    def __setattr__(self, name: str, value: Any) -> None:
        # Pydantic's own error would quote the value.
        raise AttributeError(f"{name}: a message is frozen; model_copy(update=…) gives a changed one")

    @classmethod
    def check(cls, value: Mapping[str, Any] | Self, *, path: str | None = None) -> Self:
        """
        Make the object from its JSON value, with the manual's names or Python's.

        :param value: the value, or the object itself
        :param path: where it stands in the message, for the error; by default the name of the object
        :raises InvalidMessageError: names every problem at once, each with its path in the manual's spelling
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            refusal = cls._refusal(error, cls._root() if path is None else path)
        # Out of the handler, as in SmsParameters.check.
        raise refusal

    def payload(self) -> dict[str, Any]:
        """Give the JSON value, as the manual writes it and without what is not given."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def warnings(self) -> list[str]:
        """What is allowed, but will perhaps not do what its author expects; each with its path."""
        return list(self._all_warnings(self._root()))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Give a copy that is checked like any other."""
        names = type(self).model_fields
        changed = {_manual_name(key) if key in names else key: item for key, item in (update or {}).items()}
        return self.check({_manual_name(name): getattr(self, name) for name in names} | changed)

    @classmethod
    def _root(cls) -> str:
        return cls.__name__[0].lower() + cls.__name__[1:]

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        """Find what does not go together; ``given`` is unchecked, by Python's names and without None."""
        return iter(())

    def _hints(self) -> Iterator[Problem]:
        """Find what is to be warned of in the object itself."""
        return iter(())

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: Callable[[Any], Self]) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise values.refused(
                f"found {values.shown_text(value)}, allowed are objects with {cls._allowed()}"
            )
        given, problems = cls._given(value)
        problems += cls._rules(given)
        named = {_manual_name(name): item for name, item in given.items()}
        result: Self = values.validated(handler, named, problems)
        return result

    @classmethod
    def _given(cls, value: Mapping[Any, Any]) -> tuple[dict[str, Any], list[Problem]]:
        by_key = {key: name for name in cls.model_fields for key in (name, _manual_name(name))}
        given: dict[str, Any] = {}
        problems: list[Problem] = []
        for key, item in value.items():
            name = by_key.get(key) if isinstance(key, str) else None
            if name is None:
                problems.append(cls._unknown(key, by_key))
            elif name in given:
                manual = _manual_name(name)
                problems.append(((manual,), f"given twice, as {manual} and as {name}"))
            else:
                given[name] = item
        return {name: item for name, item in given.items() if item is not None}, problems

    @classmethod
    def _unknown(cls, key: object, by_key: Mapping[str, str]) -> Problem:
        words = f"allowed are {cls._allowed()}"
        if not isinstance(key, str) or not key.isidentifier() or repr(key) != values.shown_word(key):
            return (), f"found the key {values.shown_word(key)}, {words}"
        similar = difflib.get_close_matches(key, by_key, 1)
        meant = f" ({_manual_name(by_key[similar[0]])} is meant?)" if similar else ""
        return (key,), f"unknown{meant}, {words}"

    @classmethod
    def _allowed(cls) -> str:
        return ", ".join(map(_manual_name, cls.model_fields)) or "no keys"

    @classmethod
    def _exactly_one(cls, given: Mapping[str, Any], *names: str) -> Iterator[Problem]:
        found = [_manual_name(name) for name in names if name in given]
        if len(found) != 1:
            one_of = ", ".join(map(_manual_name, names))
            yield (), f"found {', '.join(found) or 'none'}, allowed is exactly one of {one_of}"

    @classmethod
    def _refusal(cls, error: ValidationError, path: str) -> InvalidMessageError:
        problems = values.problems_of(error)
        told = [f"{_join(path, *where) or 'message'}: {words}" for where, words in problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            told.append(f"and {len(problems) - MOST_PROBLEMS} more")
        return InvalidMessageError("; ".join(told))

    def _all_warnings(self, path: str) -> Iterator[str]:
        for where, words in self._hints():
            yield f"{_join(path, *where)}: {words}"
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, MessagePart):
                yield from value._all_warnings(_join(path, _manual_name(name)))
            elif isinstance(value, tuple):
                for i, item in enumerate(value):
                    if isinstance(item, MessagePart):
                        yield from item._all_warnings(_join(path, _manual_name(name), i))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, str) and name not in _OPEN:
                hidden = mask_phone(value) if name.startswith("phone") else f"<{len(value)} characters>"
                value = _Plain(hidden)
            elif isinstance(value, float):
                value = _Plain("…")
            if value is not None:
                yield name, value


def _look(value: object, *names: str) -> object:
    """Look into what is not checked yet."""
    for name in names:
        if isinstance(value, MessagePart):
            value = getattr(value, name, None)
        elif isinstance(value, Mapping):
            value = value.get(_manual_name(name), value.get(name))
        else:
            return None
    return value


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


_Text: TypeAlias = Annotated[str, values.TEXT]
_Kept: TypeAlias = Annotated[str, values.KEPT]
_Url: TypeAlias = Annotated[str, values.URL]
_Flag: TypeAlias = Annotated[bool, values.FLAG]
_Count: TypeAlias = Annotated[int, values.COUNT]
_Height: TypeAlias = Annotated[Literal["SHORT", "MEDIUM", "TALL"], OneOf()]


class Reply(MessagePart):
    """
    A quick reply (manual v2, suggestions.reply).

    :param text: what the recipient sees, up to 25 characters
    :param postback_data: what comes back when it is chosen
    """

    text: Annotated[str, values.TEXT_25]
    postback_data: _Kept


class Dial(MessagePart):
    """
    Opens the telephone with a number (manual v2, suggestions.action.dial).

    :param phone_number: ``+421`` and nine digits; ``0`` and nine digits, as an example has it, is warned of
    """

    phone_number: Annotated[str, values.DIALLED]

    def _hints(self) -> Iterator[Problem]:
        if values.is_national(self.phone_number):
            yield (
                ("phoneNumber",),
                "sent as it is, though the manual's rule is +421XXXXXXXXX (only an example has it so)",
            )


class LatLong(MessagePart):
    """
    A place (manual v2, suggestions.action.viewLocation).

    :param latitude: degrees, -90 to 90
    :param longitude: degrees, -180 to 180
    """

    latitude: Annotated[float, values.LATITUDE]
    longitude: Annotated[float, values.LONGITUDE]


class ViewLocation(MessagePart):
    """
    Shows a place on the map: either ``lat_long`` or ``query`` (manual v2, suggestions.action.viewLocation).

    :param lat_long: the place
    :param query: what the map is to search for; on Android only
    :param label: the name of the place
    """

    lat_long: LatLong | None = None
    query: _Kept | None = None
    label: _Kept | None = None

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from cls._exactly_one(given, "lat_long", "query")

    def _hints(self) -> Iterator[Problem]:
        if self.query is not None and self.label is not None:
            yield ("label",), "probably not shown: it names the place of a latLong, and this one has a query"


class ShareLocation(MessagePart):
    """Asks the recipient for a place (manual v2, suggestions.action.shareLocation); has no parameters."""


class OpenUrl(MessagePart):
    """
    Opens a page (manual v2, suggestions.action.openUrl).

    :param url: http:// or https://
    :param description: shown in the manual's example only
    """

    url: _Url
    description: _Text | None = None


class CreateCalendarEvent(MessagePart):
    """
    Puts an event into the calendar (manual v2, suggestions.action.createCalendarEvent).

    :param title: its title
    :param description: what it is about
    :param start_date_time: RFC 3339, or a datetime (naive is Europe/Bratislava), which becomes that
    :param end_date_time: the same, later
    """

    title: _Text
    description: _Text
    start_date_time: Annotated[str | datetime, values.MOMENT]
    end_date_time: Annotated[str | datetime, values.MOMENT]

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        try:
            start, end = (
                values.MOMENT.read(given.get(name)) for name in ("start_date_time", "end_date_time")
            )
        except ValueError:
            return
        if values.instant(end) <= values.instant(start):
            yield ("endDateTime",), f"found {end!r}, allowed are times after startDateTime"


class Action(MessagePart):
    """
    A button that does something; exactly one of the five (manual v2, suggestions.action).

    :param text: what the recipient sees, up to 25 characters
    :param postback_data: what comes back when it is chosen
    :param dial: opens the telephone
    :param view_location: shows a place on the map
    :param share_location: asks the recipient for a place
    :param open_url: opens a page
    :param create_calendar_event: puts an event into the calendar
    :param fallback_url: opened by a device that does not know suggestions
    """

    text: Annotated[str, values.TEXT_25]
    postback_data: _Kept
    dial: Dial | None = None
    view_location: ViewLocation | None = None
    share_location: ShareLocation | None = None
    open_url: OpenUrl | None = None
    create_calendar_event: CreateCalendarEvent | None = None
    fallback_url: _Url | None = None

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from cls._exactly_one(
            given, "dial", "view_location", "share_location", "open_url", "create_calendar_event"
        )


class Suggestion(MessagePart):
    """
    Something to tap: a reply or an action (manual v2, suggestions).

    :param reply: a quick reply
    :param action: a button that does something
    """

    reply: Reply | None = None
    action: Action | None = None

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from cls._exactly_one(given, "reply", "action")


_Suggestions: TypeAlias = Annotated[Sequence[Suggestion], Many(0, 11)]


class ContentInfo(MessagePart):
    """
    The file of a card (manual v2, cardContent.media.contentInfo).

    :param file_url: http:// or https://; a file that is not there sends the message to the next channel
    :param thumbnail_url: its preview, up to 100 kB
    :param force_refresh: True has both fetched anew
    """

    file_url: _Url
    thumbnail_url: _Url | None = None
    force_refresh: _Flag | None = None


class Media(MessagePart):
    """
    The picture or film of a card (manual v2, cardContent.media).

    :param content_info: its file
    :param height: SHORT, MEDIUM or TALL; may be missing in a HORIZONTAL standalone card only
    """

    content_info: ContentInfo
    height: _Height | None = None


class CardContent(MessagePart):
    """
    A card; at least one of title, description and media (manual v2, cardContent).

    :param title: up to 200 characters
    :param description: up to 2000 characters
    :param media: its picture or film
    :param suggestions: up to 11
    """

    title: Annotated[str, values.TEXT_200] | None = None
    description: Annotated[str, values.TEXT_2000] | None = None
    media: Media | None = None
    suggestions: _Suggestions | None = None

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if not {"title", "description", "media"} & given.keys():
            yield (), "found none, needed is at least one of title, description, media"


def _without_height(card: object) -> bool:
    return isinstance(_look(card, "media"), Mapping | Media) and _look(card, "media", "height") is None


_HEIGHT = ("media", "height")


class StandaloneCard(MessagePart):
    """
    A message of one card (manual v2, rcs.standaloneCard).

    :param card_orientation: VERTICAL or HORIZONTAL
    :param card_content: the card
    :param thumbnail_image_alignment: LEFT or RIGHT, where a HORIZONTAL card has its picture
    :param height: shown in the manual's example only
    """

    card_orientation: Annotated[Literal["VERTICAL", "HORIZONTAL"], OneOf()]
    card_content: CardContent
    thumbnail_image_alignment: Annotated[Literal["LEFT", "RIGHT"], OneOf()] | None = None
    height: _Height | None = None

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if given.get("card_orientation") != "HORIZONTAL" and _without_height(given.get("card_content")):
            yield ("cardContent", *_HEIGHT), "missing, but required unless cardOrientation is HORIZONTAL"

    def _hints(self) -> Iterator[Problem]:
        if self.height is not None:
            yield (
                ("height",),
                "probably ignored: only an example of the manual has it, the picture has media.height",
            )
        if _without_height(self.card_content):
            yield (
                ("cardContent", *_HEIGHT),
                "not given: required by the manual's table, ignored in a HORIZONTAL card",
            )


class CarouselCard(MessagePart):
    """
    A message of several cards, side by side (manual v2, rcs.carouselCard).

    :param card_width: SMALL or MEDIUM
    :param card_contents: 2 to 10 cards; where the width is SMALL, no picture is TALL
    """

    card_width: Annotated[Literal["SMALL", "MEDIUM"], OneOf()]
    card_contents: Annotated[Sequence[CardContent], Many(2, 10)]

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        for i, card in enumerate(_items(given.get("card_contents"))):
            if _without_height(card):
                yield ("cardContents", i, *_HEIGHT), "missing, but required"
            elif given.get("card_width") == "SMALL" and _look(card, *_HEIGHT) == "TALL":
                yield (
                    ("cardContents", i, *_HEIGHT),
                    "found 'TALL', allowed are SHORT, MEDIUM where cardWidth is SMALL",
                )


class File(MessagePart):
    """
    A message that is a file (manual v2, rcs.file).

    :param url: http:// or https://; a file that is not there sends the message to the next channel
    :param thumbnail_url: its preview, up to 100 kB
    :param force_refresh: True has both fetched anew
    """

    url: _Url
    thumbnail_url: _Url | None = None
    force_refresh: _Flag | None = None


class Rcs(MessagePart):
    """
    What is sent over RCS; exactly one of the first four (manual v2, rcs).

    :param text: a text
    :param file: a file
    :param standalone_card: a card
    :param carousel_card: several cards
    :param suggestions: up to 11, below the message; ignored where a card has its own
    :param sender: the agent's name (``from``)
    """

    text: _Text | None = None
    file: File | None = None
    standalone_card: StandaloneCard | None = None
    carousel_card: CarouselCard | None = None
    suggestions: _Suggestions | None = None
    sender: _Kept | None = None

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from cls._exactly_one(given, "text", "file", "standalone_card", "carousel_card")

    def _hints(self) -> Iterator[Problem]:
        where = next((where for where, card in self._cards() if card.suggestions), None)
        if self.suggestions and where:
            yield ("suggestions",), f"ignored, because rcs.{where} has its own (manual v2, suggestions)"

    def _cards(self) -> Iterator[tuple[str, CardContent]]:
        if self.standalone_card is not None:
            yield "standaloneCard.cardContent", self.standalone_card.card_content
        if self.carousel_card is not None:
            for i, card in enumerate(self.carousel_card.card_contents):
                yield f"carouselCard.cardContents[{i}]", card

    def preview_html(self) -> str:
        """Draw the message as a page that opens in a browser."""
        from airflow_provider_telekom_sms.preview import preview_html

        return preview_html({"rcs": self.payload()})


class Sms(MessagePart):
    """
    What is sent as a text message (manual v2, sms).

    :param text: the text, up to 3 parts
    :param sender: a number or a name (``from``); by default the account's number
    :param unicode: True is sent as Unicode, False has its diacritics removed; by default as the text needs it
    """

    text: _Text
    sender: _Kept | None = None
    unicode: _Flag | None = None

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        text, unicode = given.get("text"), given.get("unicode")
        if isinstance(text, str) and (unicode is None or isinstance(unicode, bool)):
            parts = count(text, unicode).parts
            if parts > MAX_PARTS:
                yield (
                    ("text",),
                    f"found a text of {len(text)} characters or {parts} parts, allowed are {MAX_PARTS} parts",
                )

    @property
    def parts(self) -> int:
        """How many parts the text is split into and charged as."""
        return count(self.text, self.unicode).parts


class Recipient(MessagePart):
    """
    Who gets the message (manual v2, recipients).

    :param phone: ``+421`` and nine digits
    :param external_id: comes back with the reply and with callbacks
    """

    phone: Annotated[str, values.PHONE]
    external_id: _Kept | None = None


class Channel(MessagePart):
    """
    A way to send the message (manual v2, channels).

    :param type: rcs or sms
    :param ttl: seconds after which the next channel is tried
    """

    type: Annotated[Literal["rcs", "sms"], OneOf()]
    ttl: _Count | None = None


class CallbackUrl(MessagePart):
    """
    What is called when something happens to the message (manual v2, callbackUrls).

    :param url: http:// or https://; without either, as an example has it, is warned of
    :param types: dsn (delivery), postback (a suggestion was tapped)
    """

    url: Annotated[str, values.CALLBACK_URL]
    types: Annotated[Sequence[Annotated[Literal["dsn", "postback"], OneOf()]], Many(distinct=True)]

    def _hints(self) -> Iterator[Problem]:
        if not values.has_scheme(self.url):
            yield (
                ("url",),
                "has no https://, perhaps nothing is called (only an example of the manual has it so)",
            )


class MultichannelMessage(MessagePart):
    """
    A message to one or more recipients over RCS, SMS or one after the other (manual v2, POST /messages).

    :param recipients: who gets it
    :param channels: in the order in which they are tried, each type once
    :param delivery_time: when to send; ``YYYY-MM-DD HH:MM:SS`` (Europe/Bratislava), RFC 3339, or a datetime
        (naive is Europe/Bratislava), which becomes RFC 3339; a past one means now
    :param priority: 1 (low), 2 (standard), 3 (high)
    :param group_id: the cadence group through which it is sent
    :param callback_urls: what is called when something happens to it
    :param sms: required if there is a channel sms
    :param rcs: required if there is a channel rcs
    """

    recipients: Annotated[Sequence[Recipient], Many()]
    channels: Annotated[Sequence[Channel], Many()]
    delivery_time: Annotated[str | datetime, values.LOCAL_OR_MOMENT] | None = None
    priority: Annotated[Literal[1, 2, 3], OneOf()] | None = None
    group_id: _Count | None = None
    callback_urls: Annotated[Sequence[CallbackUrl], Many()] | None = None
    sms: Sms | None = None
    rcs: Rcs | None = None

    _CONTENTS: ClassVar = ("sms", "rcs")

    @classmethod
    def _root(cls) -> str:
        return ""

    @classmethod
    def _rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        types = [_look(channel, "type") for channel in _items(given.get("channels"))]
        for i in values.repeated(types):
            yield (
                ("channels", i, "type"),
                f"found {values.shown_word(types[i])} a second time, allowed is each once",
            )
        for name in cls._CONTENTS:
            if name in types and name not in given:
                yield (name,), f"missing, but required because of channels[{types.index(name)}]"

    def _hints(self) -> Iterator[Problem]:
        types = {channel.type for channel in self.channels}
        for name in self._CONTENTS:
            if getattr(self, name) is not None and name not in types:
                yield (name,), f"never sent, because no channel has the type {name}"

    def preview_html(self) -> str:
        """Draw the message as a page that opens in a browser, without its recipients."""
        from airflow_provider_telekom_sms.preview import preview_html

        content = self.model_dump(
            mode="json", by_alias=True, exclude_none=True, include={"channels", "rcs", "sms"}
        )
        return preview_html(content, sms_parts=self.sms.parts if self.sms else None)
