"""What goes over API v2: channels, and a content that is the same for all or made of each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_telekom_sms.api.messages import MultichannelMessage, SmsParameters
from airflow_provider_telekom_sms.api.times import v2_delivery_time
from airflow_provider_telekom_sms.campaign.template import Template, compile_template
from airflow_provider_telekom_sms.exceptions import ConfigurationError, InvalidMessageError, SourceError

#: Seconds that RCS has before the SMS is sent instead, as in the manual's examples (manual v2, message).
DEFAULT_TTL = 30
#: The columns of a source whose rows bring their content ready made.
CONTENT, EXTERNAL_ID = "content", "external_id"

#: The parameters of send_message that API v2 does not have.
_ONLY_V1 = ("callback", "validity", "message_type")
#: Stand in for what only a row or a recipient knows, where the rest is checked.
_ANY_CONTENT: dict[str, Any] = {"text": "x"}
_ANY_RECIPIENT = {"phone": "+421900000000"}
_ANY_VALUE: dict[str, Any] = {
    **dict.fromkeys(("url", "fileurl", "thumbnailurl", "fallbackurl"), "https://example.com"),
    "phonenumber": "+421900000000",
    "startdatetime": "2030-01-01T00:00:00Z",
    "enddatetime": "2030-01-01T01:00:00Z",
    "latitude": 0,
    "longitude": 0,
    "cardorientation": "VERTICAL",
    "cardwidth": "MEDIUM",
    "height": "MEDIUM",
    "thumbnailimagealignment": "LEFT",
}
#: What a person reads of a message.
_SHOWN = ("text", "title", "description")
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
        return list(self.check({"sms": _ANY_CONTENT}).warnings) if self.plain else Content(self).warnings

    def check(self, content: Mapping[str, Any]) -> MultichannelMessage:
        """
        Check a message with some content.

        :param content: ``rcs`` and ``sms``
        :raises InvalidMessageError: naming every path that is wrong
        """
        message: dict[str, Any] = {"recipients": [_ANY_RECIPIENT], "channels": self.channels, **content}
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


def channels_of(given: Sequence[Any] | None, rcs: object, sms: object) -> Sequence[Any]:
    """
    Give the channels of a message; where its author named none, RCS first, then the SMS.

    :param given: the manual's ``channels``; a template gives a ttl as text
    """
    if given:
        return [
            {**channel, "ttl": int(channel["ttl"])} if _is_digits(channel, "ttl") else channel
            for channel in given
        ]
    if rcs is None:
        return [{"type": "sms"}]
    return [{"type": "rcs"}] if sms is None else [{"type": "rcs", "ttl": DEFAULT_TTL}, {"type": "sms"}]


def _is_digits(channel: Any, name: str) -> bool:
    value = channel.get(name) if isinstance(channel, Mapping) else None
    return isinstance(value, str) and value.isascii() and value.isdigit()


def with_defaults(part: Any, **defaults: Any) -> Any:
    """
    Give a part of a message with what its author left out.

    :param part: the manual's ``rcs`` or ``sms``; a text is that of an SMS
    :param defaults: by the names of the models, where they are not None
    """
    if isinstance(part, str):
        part = {"text": part}
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
        whole = shared.check(any_of_rows or {"rcs": _ANY_CONTENT, "sms": _ANY_CONTENT})
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
        checked = self._shared.check({**self._constant, **own}).payload()
        return _ENCODE({name: checked[name] for name in own})

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
        return _ENCODE(self.of(text))


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
    if template.fields and key in _ANY_VALUE:
        return lambda row: _ANY_VALUE[key]
    return lambda row: template.fill("1")


def _number(path: str, text: str) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise InvalidMessageError(f"{path}: what the row gives is no number") from None


def _texts(value: Any) -> Iterator[str]:
    """Give what a person reads of a message, in its order."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key in _SHOWN and isinstance(part, str):
                yield part
            else:
                yield from _texts(part)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def written(content: Mapping[str, Any]) -> str:
    """
    Give what the ledger keeps of a content that is ready made.

    :param content: ``rcs`` and ``sms``
    """
    return _ENCODE(content)


def texts_in(text: str) -> Iterator[str]:
    """
    Give the texts that a message is made of.

    :param text: what the ledger keeps of it
    """
    yield from _texts(json.loads(text))
