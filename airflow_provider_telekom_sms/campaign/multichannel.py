"""What goes over API v2: channels, and a content that is the same for all or made of each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_telekom_sms.api.messages import MultichannelMessage, SmsParameters
from airflow_provider_telekom_sms.api.times import v2_delivery_time
from airflow_provider_telekom_sms.campaign.template import Template, as_number, compile_template
from airflow_provider_telekom_sms.exceptions import ConfigurationError, InvalidMessageError, SourceError

#: Seconds that RCS has before the SMS is sent instead, as in the manual's examples (manual v2, message).
DEFAULT_TTL = 30
#: The columns of a source whose rows bring their content ready made.
CONTENT, EXTERNAL_ID = "content", "external_id"

#: What to do about a template that gives text where an object is wanted.
AS_OBJECT = "give the task's output itself, or set render_template_as_native_obj=True on the DAG"
#: The parameters of send_message that API v2 does not have.
_ONLY_V1 = ("callback", "validity", "message_type")
#: Stand in for what only a row or a recipient knows, where the rest is checked.
ANY_CONTENT: dict[str, Any] = {"text": "x"}
ANY_RECIPIENT = {"phone": "+421903000000"}
_ANY_VALUE: dict[str, Any] = {
    **dict.fromkeys(("url", "fileurl", "thumbnailurl", "fallbackurl"), "https://example.com"),
    "phonenumber": "+421903000000",
    "startdatetime": "1970-01-01T00:00:00Z",
    "enddatetime": "9999-12-31T00:00:00Z",
    "latitude": 0,
    "longitude": 0,
    "cardorientation": "HORIZONTAL",
    "cardwidth": "MEDIUM",
    "height": "MEDIUM",
    "thumbnailimagealignment": "LEFT",
}
#: What a person reads of a message.
_SHOWN = ("text", "title", "description")
_PRIVATE = (*_SHOWN, "postbackData", "label", "query")
#: Numbers for the API, though a template gives text (manual v2, suggestions.action.viewLocation).
_NUMBERS = ("latitude", "longitude")
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


@dataclass(frozen=True)
class Multichannel:
    """
    What all messages of a plan have in common over API v2; kept in the ledger as JSON.

    :param channels: the manual's ``channels``
    :param callback_urls: the manual's ``callbackUrls``
    :param rcs: the manual's ``rcs`` with ``{column}`` in its texts; None where there is none, or where every
        row brings its own
    :param sms: the manual's ``sms`` likewise
    :param plain: the text of a message is that of its SMS; else it is JSON of what it does not share with all
    """

    channels: Sequence[Mapping[str, Any]]
    callback_urls: Sequence[Mapping[str, Any]] | None = None
    rcs: Mapping[str, Any] | None = None
    sms: Mapping[str, Any] | None = None
    plain: bool = False

    def __repr__(self) -> str:
        # Texts and callback URLs are nobody's business.
        return f"<Multichannel {self.in_words()}>"

    def as_dict(self) -> dict[str, Any]:
        """Give what makes an equal one."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def fallback(self) -> bool:
        """Whether a failed delivery may still be mended by another channel."""
        return len(self.channels) > 1

    @property
    def ttl(self) -> int:
        """Seconds that the channels before the last one have."""
        return sum(channel.get("ttl") or 0 for channel in self.channels[:-1])

    def warnings(self) -> list[str]:
        """
        Check what all messages have in common, and give what its author should know.

        :raises InvalidMessageError: naming every path that is wrong
        :raises SourceError: for a template that cannot be used
        """
        return list(self.check({"sms": ANY_CONTENT}).warnings) if self.plain else Content(self).warnings

    def check(self, content: Mapping[str, Any]) -> MultichannelMessage:
        """
        Check a message with some content.

        :param content: ``rcs`` and ``sms``
        :raises InvalidMessageError: naming every path that is wrong
        """
        message: dict[str, Any] = {"recipients": [ANY_RECIPIENT], "channels": self.channels, **content}
        if self.callback_urls is not None:
            message["callbackUrls"] = self.callback_urls
        return MultichannelMessage.check(message)

    def in_words(self) -> str:
        """Name the channels in their order: ``rcs for 30 s, then sms``."""
        named = (
            f"{channel['type']} for {channel['ttl']} s" if channel.get("ttl") else str(channel["type"])
            for channel in self.channels
        )
        return ", then ".join(named)

    def body(
        self, content: Mapping[str, Any], parameters: SmsParameters, recipients: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """
        Give the body of a request (manual v2, Parameter Descriptions).

        :param content: ``rcs`` and ``sms``
        :param parameters: of these ``delivery_time``, ``priority`` and ``group_id``
        :param recipients: the manual's ``recipients``
        """
        moment = parameters.delivery_time
        given = {
            "recipients": recipients,
            "channels": self.channels,
            "deliveryTime": v2_delivery_time(moment) if moment else None,
            "priority": parameters.priority,
            "groupId": parameters.group_id,
            "callbackUrls": self.callback_urls,
            **content,
        }
        return {name: value for name, value in given.items() if value is not None}


def check_parameters(parameters: SmsParameters, prefer_rcs: bool) -> None:
    """
    Check that API v2 has the parameters that are given.

    :raises ConfigurationError: naming those it has not
    """
    given = [name for name in _ONLY_V1 if getattr(parameters, name) is not None]
    if given := [*given, *(["prefer_rcs"] if prefer_rcs else [])]:
        raise ConfigurationError(
            f"{', '.join(given)}: found with API v2, which has no such parameter; the order of channels "
            "says what is tried first, a channel's ttl for how long, and callback_urls who is told"
        )


def channels_of(given: Any, rcs: object, sms: object) -> Any:
    """
    Give the channels of a message; where its author named none, RCS first, then the SMS.

    :param given: the manual's ``channels``; a template gives a ttl as text
    """
    if isinstance(given, list | tuple) and given:
        return [
            {**channel, "ttl": int(channel["ttl"])} if _has_ttl_as_text(channel) else channel
            for channel in given
        ]
    if given is not None and given != "" and not isinstance(given, list | tuple):
        return given  # refused with its path, like all else
    if rcs is None:
        return [{"type": "sms"}]
    return [{"type": "rcs"}] if sms is None else [{"type": "rcs", "ttl": DEFAULT_TTL}, {"type": "sms"}]


def _has_ttl_as_text(channel: Any) -> bool:
    ttl = channel.get("ttl") if isinstance(channel, Mapping) else None
    return isinstance(ttl, str) and ttl.isascii() and ttl.isdigit() and len(ttl) < 10


def sms_of(given: Any) -> Any:
    """
    Give the manual's ``sms``.

    :param given: the same, or its text; what a template gives for nothing is nothing
    :raises InvalidMessageError: for a dict that a template turned into text
    """
    if not isinstance(given, str):
        return given
    if given in ("", "None"):
        return None
    if given.lstrip().startswith(("{'", '{"')):
        raise InvalidMessageError(f"sms: found an object that a template turned into text; {AS_OBJECT}")
    return {"text": given}


def rcs_of(given: Any) -> Any:
    """
    Give the manual's ``rcs``.

    :param given: the same
    :raises InvalidMessageError: for a text, which is what a template makes of a dict
    """
    if isinstance(given, str):
        raise InvalidMessageError(
            f"rcs: found a text, allowed are objects, {{'text': …}} for one; if it is a template: {AS_OBJECT}"
        )
    return given


def with_defaults(part: Any, **defaults: Any) -> Any:
    """
    Give a part of a message with what its author left out.

    :param part: the manual's ``rcs`` or ``sms``
    :param defaults: by the names of the models, where they are not None
    """
    if not isinstance(part, Mapping):
        return part
    spelled = {"sender": "from"}
    missing = {
        spelled.get(name, name): value
        for name, value in defaults.items()
        if value is not None and name not in part and spelled.get(name) not in part
    }
    return {**missing, **part}


class Content:
    """
    Gives the content of each message.

    :param shared: what all messages have in common
    :raises InvalidMessageError: where that alone is wrong already; names every path, found and allowed
    :raises SourceError: for a template that cannot be used
    """

    def __init__(self, shared: Multichannel) -> None:
        self._shared = shared
        given = {name: part for name, part in (("rcs", shared.rcs), ("sms", shared.sms)) if part is not None}
        parts = {name: _Part(name, part) for name, part in given.items()}
        self._from_row = {name: part for name, part in parts.items() if part.fields}
        #: Every row brings its content ready made.
        self.ready_made = not given
        #: Names of the columns that a row must have.
        self.columns = frozenset(field for part in self._from_row.values() for field in part.fields)
        if self.ready_made:
            self.columns = frozenset([CONTENT])
        any_of_rows = {name: part.example({}) for name, part in parts.items()}
        whole = shared.check(any_of_rows or {"rcs": ANY_CONTENT, "sms": ANY_CONTENT})
        #: What the author should know of the part that all have in common.
        self.warnings = [] if self.ready_made else list(whole.warnings)
        constant = given.keys() - self._from_row.keys()
        self._constant = {name: part for name, part in whole.payload().items() if name in constant}

    def render(self, row: Mapping[str, Any]) -> str:
        """
        Give what the ledger keeps of a row's content.

        :param row: cells by column
        :raises InvalidMessageError: naming every path that is wrong
        """
        if self.ready_made:
            return str(row[CONTENT])
        own = {name: part.render(row) for name, part in self._from_row.items()}
        if not own:
            return _ENCODE({})
        try:
            checked = self._shared.check({**self._constant, **own}).payload()
        except InvalidMessageError as error:
            words = str(error)
            for column in self.columns:
                # A cell in the wrong place may be anything.
                words = words.replace(repr(str(row.get(column))), "a cell")
        else:
            return _ENCODE({name: checked[name] for name in own})
        raise InvalidMessageError(words)

    def masked(self, row: Mapping[str, Any]) -> str:
        """Give the texts of a row for others to see: what comes from its columns is masked."""
        own = {name: part.masked(row) for name, part in self._from_row.items()}
        return " | ".join(_texts({**self._constant, **own}))

    def of(self, text: str) -> dict[str, Any]:
        """
        Give the content of a message.

        :param text: what the ledger keeps of it
        """
        return {**self._constant, **json.loads(text)}

    def sms_text(self, text: str) -> str | None:
        """Give the text of a message's SMS; None where it has none."""
        sms = self.of(text).get("sms")
        return None if sms is None else str(sms["text"])

    def identity(self, text: str) -> str:
        """Give what makes the content what it is, whoever made it of what."""
        return identity_of(self.of(text))


class _Part:
    """A part of a message whose texts are templates over a row's columns."""

    def __init__(self, path: str, part: Any) -> None:
        fields: set[str] = set()
        #: Makes the part of a row; ``masked`` for others to see, ``example`` of no row.
        self.render = _compile(path, part, _rendered, fields)
        self.masked = _compile(path, part, lambda path, template: template.render_masked, fields)
        self.example = _compile(path, part, _example, fields)
        self.fields = frozenset(fields)


_Made = Callable[[Mapping[str, Any]], Any]


def _compile(path: str, value: Any, how: Callable[[str, Template], _Made], fields: set[str]) -> _Made:
    """Give what makes a value of a row; the names of the columns it needs go into ``fields``."""
    if isinstance(value, Mapping):
        parts = {key: _compile(f"{path}.{key}", part, how, fields) for key, part in value.items()}
        return lambda row: {key: part(row) for key, part in parts.items()}
    if isinstance(value, list | tuple):
        items = [_compile(f"{path}[{index}]", item, how, fields) for index, item in enumerate(value)]
        return lambda row: [item(row) for item in items]
    if not isinstance(value, str):
        return lambda row: value
    try:
        template = compile_template(value)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    fields |= template.fields
    return how(path, template)


def _rendered(path: str, template: Template) -> _Made:
    if template.fields and path.endswith(_NUMBERS):
        return lambda row: _number(path, template.render(row))
    return template.render


def _example(path: str, template: Template) -> _Made:
    key = path.rpartition(".")[2].replace("_", "").lower()
    filled = template.fill("1")
    # A URL that begins with text of its own can be checked so far.
    begun = key.endswith("url") and not filled.startswith("1")
    given = _ANY_VALUE[key] if template.fields and key in _ANY_VALUE and not begun else filled
    return lambda row: given


def _number(path: str, text: str) -> float:
    try:
        return float(as_number(text.strip()))
    except ValueError:
        raise InvalidMessageError(f"{path}: what the row gives is no number") from None


def _texts(value: Any, keys: Collection[str] = _SHOWN) -> Iterator[str]:
    """Give what a person reads of a message, in its order."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key in keys and isinstance(part, str):
                yield part
            else:
                yield from _texts(part, keys)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, keys)


def identity_of(content: Mapping[str, Any]) -> str:
    """
    Give what makes a content what it is: neither its sender nor its encoding, as over API v1.

    :param content: ``rcs`` and ``sms``
    """
    return _ENCODE(
        {
            name: {key: value for key, value in part.items() if key not in ("from", "unicode")}
            for name, part in content.items()
        }
    )


def written(content: Mapping[str, Any]) -> str:
    """
    Give what the ledger keeps of a content that is ready made.

    :param content: ``rcs`` and ``sms``
    """
    return _ENCODE(content)


def private_in(value: Any) -> Iterator[str]:
    """
    Give what must not be repeated of a content: its texts, and what may be told of a recipient.

    :param value: ``rcs`` and ``sms``
    """
    yield from _texts(value, _PRIVATE)
