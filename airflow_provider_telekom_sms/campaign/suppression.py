"""
Numbers that must not get a message, above all those of people who opted out.

They come from a list, from any source that a campaign takes, or from a query. What cannot be read must not
let everybody through unnoticed: a wrong column, a missing header or numbers that are no text are errors.
"""

from __future__ import annotations

import itertools
import logging
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

from airflow_provider_telekom_sms.api.phone import parse_mobile
from airflow_provider_telekom_sms.campaign.files import SUFFIXES
from airflow_provider_telekom_sms.campaign.query import Query, is_query
from airflow_provider_telekom_sms.campaign.rows import Row, Rows, is_missing
from airflow_provider_telekom_sms.campaign.sources import is_file, is_frame, open_rows
from airflow_provider_telekom_sms.exceptions import InvalidPhoneNumberError, SourceError

log = logging.getLogger(__name__)

#: Unusable entries that an error or the log names by their rows.
SHOWN = 5
#: An entry with fewer digits was never a mobile number.
ENOUGH_DIGITS = 6

_ALLOWED = (
    "a list of numbers, a path (.csv, .csv.gz, .parquet), SQL (SELECT …), a DataFrame, a list of dicts "
    "or a callable of these"
)


class Suppression:
    """
    A set of numbers, eight bytes each.

    :param numbers: of twelve digits, in any order, also more than once
    """

    def __init__(self, numbers: array[int] | None = None) -> None:
        self._numbers = _sorted(numbers) if numbers else array("Q")

    def __contains__(self, phone: str) -> bool:
        # Any other spelling would not be found, and whoever opted out would get a message.
        if len(phone) != 12 or not phone.isdecimal():
            raise ValueError("only numbers as parse_mobile gives them can be looked up")
        number = int(phone)
        place = bisect_left(self._numbers, number)
        return place < len(self._numbers) and self._numbers[place] == number

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"<Suppression of {len(self)} numbers>"


@dataclass(frozen=True)
class SuppressionList:
    """
    Where the numbers stand that must not get a message; see :func:`load_suppression`.

    :param given: a list, a path, SQL, or what else a source can be
    :param column: column that holds the numbers, where there are several
    :param conn_id: Airflow connection that SQL is run over
    """

    given: Any
    column: str = "phone"
    conn_id: str | None = None
    encoding: str = "utf-8-sig"
    delimiter: str | None = None

    def __repr__(self) -> str:
        return f"<SuppressionList {type(self.given).__name__}>"

    def load(self) -> Suppression:
        """Read them; raises what :func:`load_suppression` does."""
        found = load_suppression(
            self.given,
            column=self.column,
            conn_id=self.conn_id,
            encoding=self.encoding,
            delimiter=self.delimiter,
        )
        if found:
            log.info("Suppressed numbers: %d", len(found))
        else:
            log.warning("suppression: it is empty, and holds back no message")
        return found


def load_suppression(
    given: object,
    *,
    column: str,
    conn_id: str | None,
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
    encoding: str = "utf-8-sig",
    delimiter: str | None = None,
) -> Suppression:
    """
    Read the numbers that must not get a message; they are normalised as those of recipients are.

    Blank entries are ignored. Entries that are no Slovak mobile number are nobody's whom a campaign could
    reach: the log warns of them. What looks like a damaged number may be somebody's, and is an error.

    :param given: a list of numbers, SQL that begins with SELECT or WITH, or what :func:`~.sources.open_rows`
        takes
    :param column: column that holds the numbers; not needed where there is only one
    :param conn_id: Airflow connection that SQL is run over
    :param parameters: values for the placeholders of SQL
    :param encoding: of CSV files
    :param delimiter: of CSV files
    :raises SourceError: when it cannot be read, when entries are no text, or when none is a mobile number
    """
    if callable(given) and not is_file(given):
        given = given()
    if isinstance(given, str):
        given = _checked_text(given, conn_id, parameters)
    rows, column = _open(given, column, encoding, delimiter)
    with rows:
        return Suppression(_read(rows, column))


def _checked_text(text: str, conn_id: str | None, parameters: Any) -> str | Query:
    if is_query(text):
        if not conn_id:
            raise SourceError(
                "suppression: SQL needs a connection; set sql_conn_id to an Airflow connection to run it over"
            )
        return Query(text, conn_id, parameters)
    if not text.lower().endswith(SUFFIXES):
        # Not quoted: it may be a number.
        raise SourceError(f"suppression: found text that is neither a path nor SQL; allowed: {_ALLOWED}")
    return text


def _open(given: object, column: str, encoding: str, delimiter: str | None) -> tuple[Rows, str]:
    """Open what holds the entries, and find their column."""
    if not (is_file(given) or is_frame(given) or isinstance(given, Query)):
        kind = type(given).__name__
        if not isinstance(given, Iterable) or isinstance(given, bytes | Mapping):
            raise SourceError(f"suppression: it cannot be {kind}; allowed: {_ALLOWED}")
        items = iter(given)
        start = list(itertools.islice(items, 1))
        whole = itertools.chain(start, items)
        # Numbers themselves, or rows that hold them?
        if all(isinstance(first, str | bytes | Number) or is_missing(first) for first in start):
            bare = (Row(number, {column: entry}) for number, entry in enumerate(whole, 1))
            return Rows(kind, [column], bare), column
        given = given if isinstance(given, Sequence) else whole
    rows = open_rows(given, encoding=encoding, delimiter=delimiter)
    try:
        column = _only_column(rows) or column
        rows.require(column)
    except BaseException:
        rows.close()
        raise
    return rows, column


def _only_column(rows: Rows) -> str | None:
    if rows.columns is None or len(rows.columns) > 1:
        return None
    only = rows.columns[0]
    if sum(map(str.isdecimal, only)) >= 9:
        # Taken for a name, the first number of the list would be lost.
        raise SourceError(
            f"suppression: {rows.name}: its only column is named like a phone number; "
            "is the line that names the column missing?"
        )
    return only


def _read(rows: Rows, column: str) -> array[int]:
    name = f"suppression: {rows.name}, column {column!r}"
    numbers = array("Q")
    bad = 0
    shown: list[int] = []
    for row in rows:
        if row.problem is None:
            entry = row.values[column]
            if is_missing(entry) or (isinstance(entry, str) and not entry.strip()):
                continue
            if not isinstance(entry, str):
                # It may well be somebody's number, without its zero: no warning, nobody would be spared.
                raise SourceError(
                    f"{name}, row {row.number}: found {type(entry).__name__}, allowed is text; "
                    'read numbers as text: dtype="string" in pandas, CAST(… AS VARCHAR) in SQL'
                )
            try:
                numbers.append(int(parse_mobile(entry)))
                continue
            except InvalidPhoneNumberError:
                if _may_be_somebodys(entry):
                    raise SourceError(
                        f"{name}, row {row.number}: found what is no phone number and may have been one; "
                        "mend it or take it out, or somebody who opted out may get a message"
                    ) from None
        bad += 1
        if bad <= SHOWN:
            shown.append(row.number)
    where = ", ".join(map(str, shown)) + (", …" if bad > SHOWN else "")
    if bad and not numbers:
        raise SourceError(
            f"{name}: of {bad} entries none is a Slovak mobile number (rows {where}); is it the right column?"
        )
    if bad:
        log.warning(
            "%s: %d of %d entries are no Slovak mobile number and hold back no message: rows %s",
            name, bad, bad + len(numbers), where,
        )  # fmt: skip
    return numbers


def _may_be_somebodys(entry: str) -> bool:
    """Tell a mobile number that was damaged, as by a spreadsheet, from a landline or a foreign one."""
    from phonenumbers import NumberParseException, PhoneNumberType, is_valid_number, number_type, parse

    if sum(map(str.isdecimal, entry)) < ENOUGH_DIGITS:
        return False
    try:
        number = parse(entry[:100], "SK")
    except NumberParseException:
        return True
    slovak_mobile = number.country_code == 421 and number_type(number) == PhoneNumberType.MOBILE
    return slovak_mobile or not is_valid_number(number)


def _sorted(numbers: array[int]) -> array[int]:
    """Sort and drop doubles; as Python's own integers, millions would take a lot of memory for a moment."""
    import numpy as np

    found = array("Q")
    found.frombytes(np.unique(np.frombuffer(numbers, dtype=np.uint64)).tobytes())
    return found
