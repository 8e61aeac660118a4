"""
Single values of a message: what each may be, how it is read, and how an error shows what was found.

An error never quotes what may be personal or secret: of a text it tells the length, a phone number is masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from airflow_provider_telekom_sms.api.phone import mask_phone, mask_phones_in
from airflow_provider_telekom_sms.api.text import normalize
from airflow_provider_telekom_sms.api.times import parse_time
from airflow_provider_telekom_sms.exceptions import InvalidMessageError

#: Far beyond what any phone shows, let alone what an SMS takes.
LONGEST_TEXT = 20_000
#: What XML cannot hold is refused in every format: a text must not depend on the connection.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LONGEST_SHOWN = 32
_is_word = re.compile(r"[\w.:-]{0,20}").fullmatch
_is_clock = re.compile(r"[\dTZtz.: +-]*").fullmatch

#: Where in a message, as pydantic writes it, and what is wrong there.
Problem = tuple[tuple[str | int, ...], str]


def shown(value: object) -> str:
    """
    Show what was found, but not what may be the text of a message.

    :param value: anything
    """
    if isinstance(value, str):
        return repr(value) if len(value) <= _LONGEST_SHOWN else f"a text of {len(value)} characters"
    if isinstance(value, datetime):
        return str(value)
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**15):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def shown_word(value: object) -> str:
    """
    Show what was found where a word or a number is expected; of a text with blanks only the length.

    :param value: anything
    """
    if isinstance(value, str) and not _is_word(value):
        return f"a text of {len(value)} characters"
    return mask_phones_in(shown(value))


def shown_text(value: object) -> str:
    """
    Show what was found where a text may stand: of a text the length, of another value the type.

    :param value: anything
    """
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    if value is None or isinstance(value, bool):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _shown_time(value: object) -> str:
    if isinstance(value, str) and _is_clock(value):
        return mask_phones_in(shown(value))
    return shown_word(value)


def read_text(text: object) -> str:
    """
    Give a text in Unicode's composed form (NFC).

    :param text: the text; line feed, carriage return and tab are its only control characters
    :raises InvalidMessageError: for an empty text or a character that no message can hold; never quotes it
    """
    if not isinstance(text, str):
        raise InvalidMessageError(f"found {shown(text)}, allowed are texts")
    if not text.strip():
        raise InvalidMessageError("found nothing but white space, allowed are texts")
    _refuse_control(text)
    if len(text) > LONGEST_TEXT:
        # To compose a text takes time by the square of its length.
        raise InvalidMessageError(f"found {shown_text(text)}, allowed are up to {LONGEST_TEXT}")
    return normalize(text)


def _refuse_control(text: str) -> None:
    if found := _CONTROL.search(text):
        raise InvalidMessageError(
            f"found U+{ord(found[0]):04X} at position {found.start() + 1}, "
            "a character that a message cannot hold"
        )


@dataclass(frozen=True)
class Kind:
    """
    What a value may be, as an annotation of a pydantic field.

    :param allowed: the same in words
    :param read: gives the value as it is sent; raises ValueError, InvalidMessageError for words of its own
    :param shown: shows what was found instead
    """

    allowed: str
    read: Callable[[Any], Any]
    shown: Callable[[object], str] = shown_word

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def _check(self, value: object) -> Any:
        try:
            return self.read(value)
        except InvalidMessageError as error:
            words = str(error)
        except ValueError:
            words = f"found {self.shown(value)}, allowed are {self.allowed}"
        raise refused(words)


class OneOf:
    """One of the values of a ``Literal``, as an annotation of it; 1 is neither True nor 1.0."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        options = get_args(source)

        def read(value: object) -> Any:
            for option in options:
                if isinstance(value, type(option)) and not isinstance(value, bool) and value == option:
                    return option
            raise ValueError

        return Kind(", ".join(map(str, options)), read).__get_pydantic_core_schema__(source, handler)


@dataclass(frozen=True)
class Many:
    """
    A list or tuple, as an annotation of a ``Sequence``; kept as a tuple.

    :param low: the fewest items
    :param high: the most items, None for no limit
    :param distinct: whether a word may stand in it only once
    """

    low: int = 1
    high: int | None = None
    distinct: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        items = handler.generate_schema(tuple[get_args(source)[0], ...])  # type: ignore[misc]  # found at run time
        return core_schema.no_info_wrap_validator_function(self._check, items)

    def _check(self, value: object, handler: Callable[[Any], Any]) -> Any:
        allowed = f"{self.low} and more" if self.high is None else f"{self.low} to {self.high}"
        if not isinstance(value, list | tuple):
            raise refused(f"found {shown_text(value)}, allowed are lists of {allowed}")
        problems: list[Problem] = []
        if len(value) < self.low or (self.high is not None and len(value) > self.high):
            problems.append(((), f"found {len(value)}, allowed are {allowed}"))
        if self.distinct:
            problems += (((i,), f"found {shown_word(value[i])} a second time") for i in repeated(value))
        return validated(handler, value, problems)


def repeated(words: Sequence[object]) -> list[int]:
    """
    Find the words that stood there before.

    :param words: what is no text is passed over
    :return: their positions, counted from 0
    """
    return [i for i, word in enumerate(words) if isinstance(word, str) and word in words[:i]]


def refused(words: str) -> PydanticCustomError:
    """
    Give the error that pydantic collects.

    :param words: what was found and what is allowed
    """
    return PydanticCustomError("message", "{words}", {"words": words})


def validated(handler: Callable[[Any], Any], value: object, problems: Iterable[Problem]) -> Any:
    """
    Let pydantic check a value, and tell what it finds together with what was found beside it.

    :param handler: pydantic's own check
    :param value: the value to check
    :param problems: what was found beside it
    :raises ValidationError: holds our words only, nothing that was given
    """
    result, lines = None, [_line(*problem) for problem in problems]
    try:
        result = handler(value)
    except ValidationError as error:
        lines = [_line(*problem) for problem in problems_of(error)] + lines
    if lines:
        raise ValidationError.from_exception_data("message", lines)
    return result


def _line(where: tuple[str | int, ...], words: str) -> InitErrorDetails:
    return {"type": refused(words), "loc": where, "input": None}


def problems_of(error: ValidationError) -> list[Problem]:
    """
    Read pydantic's error.

    :param error: its words are ours, unless something is missing
    """
    details = error.errors(include_url=False, include_input=False)
    return [(d["loc"], d.get("ctx", {}).get("words", "missing, but required")) for d in details]


def _text(longest: int | None = None) -> Kind:
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError
        text = read_text(value)
        if longest is not None and len(text) > longest:
            raise InvalidMessageError(f"found {shown_text(text)}, allowed are up to {longest}")
        return text

    return Kind("texts", read, shown_text)


def _read_kept(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    read_text(value)
    return value


def _matching(allowed: str, pattern: str, show: Callable[[object], str] = shown_text) -> Kind:
    matches = re.compile(pattern).fullmatch

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError
        _refuse_control(value)
        if not matches(value):
            raise ValueError
        return value

    return Kind(allowed, read, show)


#: Texts that a person reads: composed, and up to so many characters long.
TEXT, TEXT_25, TEXT_200, TEXT_2000 = _text(), _text(25), _text(200), _text(2000)
#: A text that comes back, or is looked up, as it is: not composed.
KEPT = Kind("texts", _read_kept, shown_text)

_HTTP = r"[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#\\]+(?:[/?#]\S*)?"
_BARE = r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?(?:[/?#]\S*)?"
_URLS = "URLs that begin with http:// or https:// and hold no white space"
URL = _matching(_URLS, _HTTP)
CALLBACK_URL = _matching(_URLS, f"{_HTTP}|{_BARE}")
has_scheme = re.compile(_HTTP).fullmatch

_INTERNATIONAL, _NATIONAL = r"\+421[0-9]{9}", "0[0-9]{9}"
_PHONES = "+421 and nine digits without blanks"
PHONE = _matching(_PHONES, _INTERNATIONAL, mask_phone)
DIALLED = _matching(_PHONES, f"{_INTERNATIONAL}|{_NATIONAL}", mask_phone)
is_national = re.compile(_NATIONAL).fullmatch


def _read_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _read_count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError
    return value


FLAG = Kind("true, false", _read_flag)
COUNT = Kind("whole numbers from 1 on", _read_count)


def _degrees(limit: int) -> Kind:
    def read(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not -limit <= value <= limit:
            raise ValueError
        return float(value)

    return Kind(f"numbers from -{limit} to {limit}", read)


LATITUDE, LONGITUDE = _degrees(90), _degrees(180)

_DATE, _CLOCK = r"(\d{4})-(\d\d)-(\d\d)", r"(\d\d):(\d\d):(\d\d)"
_match_local = re.compile(f"{_DATE} {_CLOCK}", re.ASCII).fullmatch
_match_rfc_3339 = re.compile(
    rf"{_DATE}T{_CLOCK}(?:\.(\d{{1,9}}))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
).fullmatch
_FIRST_YEAR = 1970
_EPOCH = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC)


def instant(text: str) -> tuple[timedelta, int]:
    """
    Read a time of RFC 3339, as something that compares with others of its kind.

    :param text: ``YYYY-MM-DDTHH:MM:SS[.fraction]`` and ``Z`` or ``±HH:MM``
    :return: time since 1970 to the second, and nanoseconds
    :raises ValueError: when it is none, or not of the years 1970 to 9999
    """
    match = _match_rfc_3339(text)
    if not match:
        raise ValueError
    *numbers, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    moment = datetime(*map(int, numbers), tzinfo=timezone(-offset if sign == "-" else offset))  # type: ignore[misc, arg-type]  # six
    if moment.year < _FIRST_YEAR:
        raise ValueError
    return moment - _EPOCH, int((fraction or "").ljust(9, "0"))


def _in_bratislava(value: object) -> datetime:
    try:
        return parse_time(value)
    except InvalidMessageError as error:
        raise InvalidMessageError(f"found {_shown_time(value)}, {error}") from None


def _moment(allowed: str, *, local: bool) -> Kind:
    def read(value: object) -> str:
        text = _in_bratislava(value).isoformat() if isinstance(value, datetime) else value
        if not isinstance(text, str):
            raise ValueError
        if local and _match_local(text):
            instant(text.replace(" ", "T") + "Z")
            _in_bratislava(text)
        else:
            instant(text)
        return text

    return Kind(allowed, read, _shown_time)


_RFC_3339 = "a datetime, YYYY-MM-DDTHH:MM:SSZ and YYYY-MM-DDTHH:MM:SS±HH:MM"
MOMENT = _moment(_RFC_3339, local=False)
LOCAL_OR_MOMENT = _moment(f"{_RFC_3339}, YYYY-MM-DD HH:MM:SS (Europe/Bratislava)", local=True)
