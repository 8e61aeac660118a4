"""
Rows of a campaign, one at a time, from whatever holds them.

A source is a DataFrame, a list of dicts, a file (``.csv``, ``.csv.gz``, ``.parquet``; a path or an
``ObjectStoragePath``), a :class:`~.query.Query` of the warehouse, or a callable that gives one of these or an
iterator of them. Rows stream: memory does not grow with the campaign, unless the source itself lies in
memory.

What is wrong with the source as a whole (encoding, columns, not a parquet file) is a :class:`SourceError`, at
once or when the place is reached. What is wrong with a single row marks that row. Neither quotes a value.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from airflow_provider_telekom_sms.campaign.files import SUFFIXES, File
from airflow_provider_telekom_sms.campaign.query import Query
from airflow_provider_telekom_sms.campaign.rows import (
    SLICE,
    Row,
    Rows,
    checked_columns,
    is_missing,
    not_text,
    require_columns,
)
from airflow_provider_telekom_sms.exceptions import SourceError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Query",
    "Row",
    "Rows",
    "fingerprint",
    "is_file",
    "is_frame",
    "is_missing",
    "open_rows",
    "require_columns",
]

_ALLOWED = (
    "a DataFrame, a list of dicts, a path (.csv, .csv.gz, .parquet), a Query, "
    "an iterator or a callable of these"
)


def open_rows(
    source: object,
    *,
    encoding: str = "utf-8-sig",
    delimiter: str | None = None,
    text_columns: Collection[str] = (),
) -> Rows:
    """
    Open a source and read its columns, but no rows yet (of an iterator the first one, of a Query some).

    :param source: see the module's docstring; text with ``://`` is opened as an ``ObjectStoragePath``
    :param encoding: of CSV files; a byte order mark of UTF-8 overrides it
    :param delimiter: of CSV files; None finds it out from the header: comma, semicolon, tab or ``|``
    :param text_columns: columns that have to be text, above all that of the phone numbers; their type is
        checked where there is one (DataFrame, parquet, of a Query in its first value)
    :raises SourceError: when the source cannot be used; names it and what is allowed
    """
    name = _describe(source)
    if callable(source) and not is_file(source):
        source = source()
        if callable(source) and not is_file(source):
            raise SourceError(f"{name} gave another callable; allowed: {_ALLOWED}")
        if isinstance(source, str) and not source.lower().endswith(SUFFIXES):
            # It may hold rows, so it must not be quoted.
            raise SourceError(f"{name} gave text that is no path; allowed: {_ALLOWED}")
    if is_file(source):
        return File(source).open_rows(encoding, delimiter, text_columns)
    if isinstance(source, Query):
        return source.open_rows(text_columns)
    if is_frame(source):
        if not len(source) and not len(source.columns):  # DataFrame([]): like an empty list
            return Rows(name, None, ())
        columns = _frame_columns(source, name, text_columns)
        return Rows(name, columns, _numbered(_frame_values(source, columns)))
    if isinstance(source, Iterable) and not isinstance(source, str | bytes | Mapping):
        return _open_items(source, name, text_columns)
    raise SourceError(f"{name}: a source cannot be {type(source).__name__}; allowed: {_ALLOWED}")


def fingerprint(source: object) -> str:
    """
    Give a short digest that tells whether a source changed between two tries; no warehouse is asked.

    Files by path, size and time of change, DataFrames and lists by content, callables by name (and by what
    ``facts()`` gives, if they have it), queries by SQL, connection and parameters. Of an iterator nothing can
    be told without using it up: all have the same digest.

    :param source: as for :func:`open_rows`
    :raises SourceError: when the source is a file that is not there
    """
    digest = hashlib.sha256()
    facts: Iterable[object] = ()
    if is_file(source):
        kind, facts = "file", File(source).facts()
    elif isinstance(source, Query):
        kind, facts = "query", source.facts()
    elif is_frame(source):
        kind, facts = "frame", _frame_facts(source)
    elif callable(source):
        kind, facts = "callable", [_qualified_name(source), *getattr(source, "facts", list)()]
    elif isinstance(source, Sequence) and not isinstance(source, str | bytes):
        kind, facts = "list", (_stable_text(row) for row in source)
    else:
        kind = "iterator"
    for fact in facts:
        digest.update(fact if isinstance(fact, bytes) else str(fact).encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return f"{kind}:{digest.hexdigest()[:16]}"


# --- what a source is -------------------------------------------------------------------------------------


def is_frame(source: object) -> TypeGuard[pd.DataFrame]:
    """
    Tell whether a source is a DataFrame.

    :param source: any
    """
    # Who has a DataFrame has imported pandas; importing it here would take a second from everybody else.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(source, pandas.DataFrame)


def is_file(source: object) -> bool:
    """
    Tell whether a source is a path: text, or an object like ``ObjectStoragePath``.

    :param source: any
    """
    # ObjectStoragePath is no os.PathLike.
    return isinstance(source, str | os.PathLike) or (hasattr(source, "open") and hasattr(source, "suffix"))


def _describe(source: object) -> str:
    if is_file(source):
        return str(source)
    return f"callable {_qualified_name(source)}" if callable(source) else type(source).__name__


def _qualified_name(source: object) -> str:
    if isinstance(source, functools.partial):
        return _qualified_name(source.func)
    named = source if hasattr(source, "__qualname__") else type(source)
    # Airflow loads a DAG file as unusual_prefix_<digest of its path>_<name>; a new bundle, another path.
    module = re.sub(r"^unusual_prefix_[0-9a-f]+_", "", str(named.__module__))
    return f"{module}.{named.__qualname__}"


def _stable_text(row: object) -> str:
    try:
        return json.dumps(row, sort_keys=True, default=str)
    except TypeError:
        # Keys that cannot be sorted; open_rows says what is wrong with them.
        return str(row)


# --- rows in memory ---------------------------------------------------------------------------------------


def _numbered(values: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    return (Row(number, row) for number, row in enumerate(values, 1))


def _open_items(items: Iterable[object], name: str, text_columns: Collection[str]) -> Rows:
    """Open an iterator of dicts, of lists of dicts or of DataFrames; its first row tells the columns."""
    rows = _flatten(items, name, text_columns)
    first = next(rows, None)
    if first is None:
        return Rows(name, None, ())
    columns = checked_columns(list(first), name)
    close = getattr(items, "close", None)  # of a generator
    return Rows(name, columns, _numbered(itertools.chain([first], rows)), close or (lambda: None))


def _flatten(items: Iterable[object], name: str, text_columns: Collection[str]) -> Iterator[dict[str, Any]]:
    frame_columns: list[str] = []
    for number, item in enumerate(items, 1):
        if isinstance(item, Mapping):
            yield _clean(item, name, number)
        elif is_frame(item):
            if not len(item):
                continue
            columns = _frame_columns(item, f"{name}, item {number}", text_columns)
            frame_columns = frame_columns or columns
            # One column less in a later chunk would make all its rows bad, and that is no fault of the rows.
            require_columns(columns, frame_columns, f"{name}, item {number}")
            yield from _frame_values(item, columns)
        elif isinstance(item, list | tuple):
            yield from _flatten(item, f"{name}, item {number}", text_columns)
        else:
            raise SourceError(f"{name}, item {number}: a row cannot be {type(item).__name__}; use a dict")


def _clean(row: Mapping[Any, Any], name: str, number: int) -> dict[str, Any]:
    for column in row:
        if not isinstance(column, str):
            kind = type(column).__name__
            raise SourceError(f"{name}, item {number}: names of columns must be text, found {kind}")
    return {column: None if is_missing(value) else value for column, value in row.items()}


# --- DataFrames -------------------------------------------------------------------------------------------


def _frame_columns(frame: pd.DataFrame, name: str, text_columns: Collection[str]) -> list[str]:
    from pandas.api.types import is_numeric_dtype

    columns = checked_columns(list(frame.columns), name)
    for column in text_columns:
        # A frame without rows has whatever types its maker fell back to.
        if column in columns and len(frame) and is_numeric_dtype(frame[column].dtype):
            raise not_text(name, column, frame[column].dtype)
    return columns


def _frame_values(frame: pd.DataFrame, columns: list[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(frame), SLICE):
        part = frame.iloc[start : start + SLICE]
        cells = zip(*[_frame_cells(part[column]) for column in columns], strict=True)
        for row in cells:
            yield dict(zip(columns, row, strict=True))


def _frame_cells(series: pd.Series[Any]) -> list[Any]:
    missing = series.isna()
    cells = series.tolist()
    if not missing.any():
        return cells
    return [None if gone else cell for cell, gone in zip(cells, missing.tolist(), strict=True)]


def _frame_facts(frame: pd.DataFrame) -> list[str | bytes]:
    from pandas.util import hash_pandas_object

    facts: list[str | bytes] = [f"{column} {dtype}" for column, dtype in frame.dtypes.items()]
    try:
        return [*facts, hash_pandas_object(frame, index=False).to_numpy().tobytes()]
    except TypeError:  # cells that cannot be hashed, such as lists
        return [*facts, *(_stable_text(row) for row in _frame_values(frame, list(frame.columns)))]
