"""What all sources of a campaign come down to: numbered rows under named columns, read once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any, NamedTuple, cast

from airflow_provider_telekom_sms.exceptions import SourceError

#: Rows of a DataFrame or parquet file that are turned into Python objects at a time.
SLICE = 10_000

_AS_TEXT = 'dtype={{"{0}": "string"}} in pandas, CAST({0} AS VARCHAR) in SQL'

#: Seven digits or more, however they are grouped: a phone number, not the name of a column.
_LOOKS_LIKE_DATA = re.compile(r"(?:\d\W{0,2}){7}").search

#: Types of which no value is missing.
_NEVER_MISSING = frozenset({str, int, bool})


class Row(NamedTuple):
    """
    One row of a source.

    :param number: 1 for the first row of data
    :param values: cells by column; missing ones (None, NaN, NaT, pd.NA) are None; no cells at all where those
        of a CSV row cannot be matched with the header
    :param problem: why this row cannot be used, None for a good one
    """

    number: int
    values: Mapping[str, Any]
    problem: str | None = None


class Rows:
    """
    The rows of an open source, to be read once.

    :param name: what messages call the source
    :param columns: names of the columns; None where there is no row to tell them
    :param rows: the rows
    :param close: closes what is open
    """

    def __init__(
        self,
        name: str,
        columns: list[str] | None,
        rows: Iterable[Row],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.columns = columns
        self.close = close
        self._rows = rows
        self._required: frozenset[str] = frozenset()

    def require(self, *names: str) -> None:
        """
        Say which columns are needed: a row of dicts that lacks one of them will be marked.

        :param names: names of columns
        :raises SourceError: when the source does not have them all; names the missing ones and the existing
        """
        if self.columns is not None:
            require_columns(self.columns, names, self.name)
        self._required |= set(names)

    def __iter__(self) -> Iterator[Row]:
        with self:
            for row in self._rows:
                if row.problem is None and not self._required <= row.values.keys():
                    missing = ", ".join(repr(name) for name in sorted(self._required - row.values.keys()))
                    yield row._replace(problem=f"the row lacks {missing}")
                else:
                    yield row

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def require_columns(columns: Collection[str], names: Iterable[str], source: str = "the source") -> None:
    """
    Check that a source has the columns that are needed.

    :param columns: those it has
    :param names: those that are needed
    :param source: what the message calls the source
    :raises SourceError: names the missing columns and those that exist
    """
    missing = [name for name in dict.fromkeys(names) if name not in columns]
    if missing:
        if any(map(_LOOKS_LIKE_DATA, columns)):
            # Names of columns that are numbers of people must not be quoted.
            raise SourceError(
                f"{source} has no column {', '.join(repr(name) for name in missing)}; its first line looks "
                "like data: is the line that names the columns missing?"
            )
        existing = ", ".join(repr(column) for column in columns) or "none"
        raise SourceError(
            f"{source} has no column {', '.join(repr(name) for name in missing)}; its columns are: {existing}"
        )


def is_missing(value: object) -> bool:
    """
    Tell whether a cell has no value: None, NaN, NaT or pd.NA.

    :param value: any cell
    """
    if value is None or type(value) in _NEVER_MISSING:
        return value is None
    # By name, since pandas may not be there; pd.NA cannot be compared.
    if type(value).__name__ in ("NaTType", "NAType"):
        return True
    return isinstance(value, Number) and bool(value != value)


def checked_columns(columns: Sequence[object], name: str) -> list[str]:
    """
    Check that columns have names, all of them text and each once.

    :param columns: names of columns
    :param name: what the message calls the source
    :raises SourceError: says which column is wrong
    """
    seen: set[str] = set()
    for number, column in enumerate(columns, 1):
        if not isinstance(column, str):
            raise SourceError(
                f"{name}: names of columns must be text, column {number} is {type(column).__name__}"
            )
        if not column.strip():
            raise SourceError(f"{name}: column {number} has no name")
        if column in seen:
            shown = f"column {number}" if _LOOKS_LIKE_DATA(column) else f"column {column!r}"
            raise SourceError(f"{name}: {shown} is there twice")
        seen.add(column)
    if not columns:
        raise SourceError(f"{name} has no columns")
    return cast("list[str]", list(columns))


def not_text(name: str, column: str, dtype: object) -> SourceError:
    """
    Give the error for a column that has to be text and is not.

    :param name: what the message calls the source
    :param column: name of the column
    :param dtype: type of the column
    """
    return SourceError(
        f"{name}: column {column!r} is {dtype}, which loses leading zeros; read it as text: "
        + _AS_TEXT.format(column)
    )
