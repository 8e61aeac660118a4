"""
The text of a campaign: ``Dear {name}, you owe {amount:.2f} € until {day:%d.%m.%Y}.``

The syntax is that of ``str.format``, cut down to names of columns and format specs. Attributes, indexes,
conversions and nested specs are refused: a template comes from people who write texts, and must reach nothing
but the row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

from airflow_provider_telekom_sms.campaign.rows import is_missing
from airflow_provider_telekom_sms.exceptions import InvalidMessageError, SourceError

#: No text has more characters; a width of a thousand million would only fill the memory.
MAX_WIDTH = 999

#: Stands for a letter or a digit that is not shown.
MASK = "•"

_TOKEN = re.compile(r"(?P<text>[^{}]+|\{\{|\}\})|\{(?P<name>[^{}:]*)(?::(?P<spec>[^{}]*))?\}")

_FORBIDDEN_IN_NAMES = {".": "an attribute", "[": "an index", "]": "an index", "!": "a conversion"}

#: The format specs of Python for text and numbers, without the types that no text needs (b, c, n, o, x).
_SPEC = re.compile(
    r"(?:.?[<>=^])?(?P<sign>[-+ ])?z?#?(?P<zero>0)?(?P<width>\d+)?(?P<grouping>[,_])?"
    r"(?:\.(?P<precision>\d+))?(?P<type>[sdfFeEgG%])?",
    re.ASCII | re.DOTALL,
)
#: A date spec has a percent sign and a letter; that keeps "%" alone for percentages. No widths: %1000000d.
_DATE_SPEC = re.compile(r"(?:[^%]|%-?[A-Za-z]|%%)*%-?[A-Za-z](?:[^%]|%-?[A-Za-z]|%%)*", re.DOTALL)

#: 12.5, 12,50, 1 234,50, with blanks of any kind between thousands. No exponents: 1e999999999 is a bomb.
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+|\d+)(?:[.,]\d+)?", re.ASCII)
_BLANKS = re.compile(r"[ \u00a0\u2009\u202f]")
_MAX_DIGITS = 40

_NUMERIC = frozenset("fFeEgG%")

_Format = Callable[[object], str]


class _Field(NamedTuple):
    """Text, and the cell that follows it; ``format`` is None where text is taken as it is."""

    before: str
    name: str
    spec: str
    format: _Format | None


class Template:
    """
    A compiled template.

    :param pieces: the fields, each with the text before it
    :param tail: the text after the last one
    """

    __slots__ = ("_pieces", "_tail", "fields")

    def __init__(self, pieces: list[_Field], tail: str) -> None:
        self._pieces = pieces
        self._tail = tail
        #: Names of the columns that a row must have.
        self.fields = frozenset(piece.name for piece in pieces)

    def fill(self, value: str) -> str:
        """
        Fill in the same for every field.

        :param value: what each field gives
        """
        return "".join(f"{piece.before}{value}" for piece in self._pieces) + self._tail

    def render(self, row: Mapping[str, object]) -> str:
        """
        Fill in a row.

        :param row: cells by column
        :raises InvalidMessageError: when a cell is missing or empty, or does not fit its spec; names the
            column and never quotes the cell
        """
        out = []
        for before, name, spec, format_ in self._pieces:
            value = row.get(name)
            if type(value) is not str:
                value = _text_of(value, name, spec, format_)
            elif format_ is not None:
                value = _text_of(value.strip(), name, spec, format_)
            if not value or value.isspace():
                raise InvalidMessageError(f"column {name!r} is empty")
            out.append(before)
            out.append(value)
        out.append(self._tail)
        return "".join(out)

    def render_masked(self, row: Mapping[str, object]) -> str:
        """
        Fill in a row for people to look at: the fixed text whole, the values masked by :func:`mask_value`.

        :param row: cells by column
        :raises InvalidMessageError: as :meth:`render` does
        """
        out = []
        for piece in self._pieces:
            # Field by field, so that render, which runs for every row, need not know of masks.
            value = Template([piece._replace(before="")], "").render(row)
            out.append(piece.before)
            out.append(mask_value(value))
        out.append(self._tail)
        return "".join(out)


def mask_value(text: str) -> str:
    """
    Hide a value, and show what it looks like: ``Ľubomír 12,50`` is ``Ľ•••••• ••,••``.

    :param text: a rendered value, or a whole text that comes from a column
    :return: its first character, then a bullet for each letter, digit and combining mark
    """
    text = unicodedata.normalize("NFC", text)
    return text[:1] + "".join(
        MASK if unicodedata.category(character)[0] in "LNM" else character for character in text[1:]
    )


def compile_template(text: str) -> Template:
    """
    Compile a template.

    :param text: text with ``{column}`` and ``{column:spec}``; ``{{`` and ``}}`` are braces
    :raises SourceError: when a brace is unbalanced, or a field is more than a column and a spec; says where
    """
    if not isinstance(text, str):
        raise SourceError(f"a template is text, found {type(text).__name__}")
    pieces: list[_Field] = []
    before: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise SourceError(f"template, {_place(text, position)}: {_brace_problem(text, position)}")
        if (literal := match["text"]) is not None:
            before.append(literal[:1] if literal in ("{{", "}}") else literal)
        else:
            name, spec = match["name"], match["spec"] or ""
            if problem := _name_problem(name) or _spec_problem(spec):
                raise SourceError(f"template, {_place(text, position)}: {_shown(match[0])} {problem}")
            pieces.append(_Field("".join(before), name, spec, _formatter(spec)))
            before.clear()
        position = match.end()
    return Template(pieces, "".join(before))


def _shown(field: str) -> str:
    """Show a field; but what is no name and format may be the text itself, and is not quoted."""
    return (
        field if re.fullmatch(r"\{[\w.\[\]!]{0,24}(?::[^\s{}]{0,16})?\}", field) else "what stands in braces"
    )


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"line {line}, column {column}" if "\n" in text else f"column {column}"


def _brace_problem(text: str, position: int) -> str:
    if text[position] == "}":
        return "a closing brace without an opening one; write }} for a brace"
    if re.compile(r"\{[^{}]*:[^{}]*\{").match(text, position):
        return "a format spec cannot hold another field; only {column} and {column:spec} are allowed"
    return "an opening brace that is never closed; a brace itself is written {{, in a DAG {{ '{{' }}"


def _name_problem(name: str) -> str | None:
    if not name.strip() or name.strip().isdigit():
        return "names no column; only {column} and {column:spec} are allowed"
    for sign, meaning in _FORBIDDEN_IN_NAMES.items():
        if sign in name:
            return f"has {meaning}; only {{column}} and {{column:spec}} are allowed"
    return None


def _spec_problem(spec: str) -> str | None:
    if _DATE_SPEC.fullmatch(spec):
        return None
    match = _SPEC.fullmatch(spec)
    if match is None:
        return (
            "has an unknown format spec; allowed are those of numbers and text (.2f) and of dates (%d.%m.%Y)"
        )
    if any(
        len(digits) > 3 and int(digits) > MAX_WIDTH for digits in match.group("width", "precision") if digits
    ):
        return f"is wider than {MAX_WIDTH}"
    return None


def _formatter(spec: str) -> _Format | None:
    """Give what turns a cell into text under a spec, None where there is nothing to do."""
    if not spec:
        return None
    if _DATE_SPEC.fullmatch(spec):
        return lambda value: format(_as_date(value), spec)
    match = _SPEC.fullmatch(spec)
    assert match is not None  # noqa: S101 - _spec_problem has seen to it
    kind = match["type"] or ""
    if kind == "d":
        return lambda value: format(_as_integer(as_number(value)), spec)
    # "," or "+" or a leading zero without a type mean a number as well.
    if kind in _NUMERIC or (kind != "s" and (match["grouping"] or match["sign"] or match["zero"])):
        return lambda value: format(as_number(value), spec)
    return lambda value: format(value, spec)


def _text_of(value: object, name: str, spec: str, format_: _Format | None) -> str:
    if is_missing(value) or (isinstance(value, str) and not value):
        return ""
    try:
        return str(value) if format_ is None else format_(value)
    except Exception:
        # Whatever it was may quote the cell.
        raise InvalidMessageError(f"column {name!r} does not fit the format {spec!r}") from None


def as_number(value: Any) -> Any:
    """Read a number from the text that a CSV file gives; anything but text is taken as it is."""
    if isinstance(value, Decimal) and abs(value.adjusted()) > _MAX_DIGITS:
        raise ValueError("too many digits")
    if not isinstance(value, str):
        return value
    if len(value) > _MAX_DIGITS or not _NUMBER.fullmatch(value):
        raise ValueError("not a number")
    return Decimal(_BLANKS.sub("", value).replace(",", ".").replace("−", "-"))


def _as_integer(value: object) -> object:
    # A column of integers with a gap becomes one of floats in pandas.
    if isinstance(value, float | Decimal) and value == int(value):
        return int(value)
    return value


def _as_date(value: object) -> object:
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    if not isinstance(value, date | time):
        raise TypeError("not a date")
    return value
