"""Rows from files: CSV, gzipped or not, and parquet, wherever a path or an ``ObjectStoragePath`` leads."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from airflow_provider_telekom_sms.campaign.rows import SLICE, Row, Rows, checked_columns, not_text
from airflow_provider_telekom_sms.exceptions import SourceError

if TYPE_CHECKING:
    from _csv import Reader

SUFFIXES = (".csv", ".csv.gz", ".parquet")

_DELIMITERS = ",;\t|"
_HEAD_BYTES = 4096
#: What tells that a file changed, in the words of one fsspec file system or another. No times of access.
_FACTS = (
    "size",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "ETag",
    "etag",
    "md5Hash",
    "generation",
)
_QUOTED = re.compile(r'"[^"]*"')


class File:
    """
    A file to read rows from.

    :param source: a path, text with or without a scheme, or an object like ``ObjectStoragePath``
    """

    def __init__(self, source: Any) -> None:
        if isinstance(source, str) and "://" in source:
            source = _storage_path(source)
        self.path: Any = Path(source) if isinstance(source, str | os.PathLike) else source
        self.name = str(source)
        if not self.name.lower().endswith(SUFFIXES):
            raise SourceError(f"{self.name}: unknown kind of file; allowed: {', '.join(SUFFIXES)}")

    def open_rows(self, encoding: str, delimiter: str | None, text_columns: Collection[str]) -> Rows:
        """Open the file and read its columns."""
        if self.name.lower().endswith(".parquet"):
            return _open_parquet(self, text_columns)
        return _open_csv(self, encoding, delimiter)

    def open(self) -> IO[bytes]:
        """Open the bytes, unzipped."""
        try:
            file = cast("IO[bytes]", self.path.open("rb"))
        except FileNotFoundError:
            raise SourceError(f"{self.name}: no such file") from None
        except IsADirectoryError:
            raise SourceError(
                f"{self.name} is a directory; allowed: one file, {', '.join(SUFFIXES)}"
            ) from None
        except (OSError, ValueError, ImportError) as error:
            # ValueError and ImportError: a scheme that no installed file system knows.
            raise SourceError(f"{self.name} cannot be read: {_reason(error)}") from error
        if self.name.lower().endswith(".gz"):
            return cast("IO[bytes]", _Unzipped(file))
        return file

    def facts(self) -> list[object]:
        """Tell what changes when the file does, without reading it."""
        try:
            if isinstance(self.path, Path):
                stat = self.path.stat()
                return [self.path.absolute(), stat.st_size, stat.st_mtime_ns]
            info = self.path.fs.info(self.path.path)
        except (OSError, ValueError, ImportError) as error:
            raise SourceError(f"{self.name} cannot be read: {_reason(error)}") from error
        return [self.name, *(f"{key}={info[key]}" for key in _FACTS if key in info)]


def _storage_path(url: str) -> object:
    from airflow.sdk import ObjectStoragePath

    try:
        return ObjectStoragePath(url)
    except ValueError as error:
        raise SourceError(f"{url} cannot be read: {error}") from error


class _Unzipped(gzip.GzipFile):
    """A gzip file that closes the file below as well."""

    def __init__(self, below: IO[bytes]) -> None:
        super().__init__(fileobj=below, mode="rb")
        self._below = below

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._below.close()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def _reading(file: File) -> Iterator[None]:
    """Turn what can go wrong while bytes are read and unzipped into an error that names the file."""
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError):
        # What they say quotes the file.
        raise SourceError(f"{file.name} is not a whole gzip file") from None
    except OSError as error:
        raise SourceError(f"{file.name} cannot be read: {_reason(error)}") from error


# --- CSV --------------------------------------------------------------------------------------------------


def _open_csv(file: File, encoding: str, delimiter: str | None) -> Rows:
    stream = file.open()
    try:
        with _reading(file):
            head = stream.read(_HEAD_BYTES)
            stream.seek(0)
        encoding = _checked_encoding(file, head, encoding)
        text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        lines = _checked_lines(file, text, encoding)
        header = next(lines, "")
        if not header.strip():
            raise SourceError(f"{file.name} is empty; its first line must name the columns")
        reader = _csv_reader(
            file, itertools.chain([header], lines), delimiter or _find_delimiter(file, header)
        )
        with _parsing(file, reader):
            columns = checked_columns([column.strip() for column in next(reader)], file.name)
    except BaseException:
        stream.close()
        raise
    return Rows(file.name, columns, _csv_rows(file, reader, columns), stream.close)


def _checked_encoding(file: File, head: bytes, encoding: str) -> str:
    """Give the encoding to read with; refuse one that the first bytes contradict."""
    try:
        wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    except LookupError:
        raise SourceError(
            f"{file.name}: unknown encoding {encoding!r}; allowed: utf-8-sig, cp1250, …"
        ) from None
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if not wide and head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(f'{file.name} is a UTF-16 file; pass encoding="utf-16"')
    # Without a mark, the ASCII letters of UTF-16 still give it away: every other byte is NUL.
    if not wide and head.count(0) > len(head) // 4:
        order = "be" if head.startswith(b"\0") else "le"
        raise SourceError(f'{file.name} looks like a UTF-16 file; pass encoding="utf-16-{order}"')
    return encoding


def _checked_lines(file: File, text: io.TextIOWrapper, encoding: str) -> Iterator[str]:
    with text, _reading(file):
        try:
            for number, line in enumerate(text, 1):
                if "\0" in line:
                    raise SourceError(f"{file.name}: line {number} holds a NUL byte; this is no CSV file")
                yield line
        except UnicodeDecodeError:
            raise _undecodable(file, encoding) from None


def _undecodable(file: File, encoding: str) -> SourceError:
    """Read the file again, to say where the byte is that its encoding does not have."""
    name = codecs.lookup(encoding).name.removesuffix("-sig")
    if name.startswith(("utf-16", "utf-32")):
        return SourceError(f"{file.name} is not {encoding} as a whole; pass another encoding")
    other = "cp1250" if name == "utf-8" else "utf-8-sig"
    where = ""
    with closing(file.open()) as stream:
        offset = 0
        for number, line in enumerate(stream, 1):
            try:
                line.decode(name)
            except UnicodeDecodeError as error:
                where = f": byte 0x{line[error.start]:02x} at offset {offset + error.start}, line {number}"
                break
            offset += len(line)
    return SourceError(f'{file.name} is not {encoding}{where}; likely {other}: pass encoding="{other}"')


def _find_delimiter(file: File, header: str) -> str:
    bare = _QUOTED.sub("", header)
    counts = {delimiter: bare.count(delimiter) for delimiter in _DELIMITERS}
    most = max(counts.values())
    found = [delimiter for delimiter, times in counts.items() if times == most]
    if most and len(found) > 1:
        raise SourceError(f"{file.name}: the header may be split at {found}; pass delimiter=")
    return found[0]


def _csv_reader(file: File, lines: Iterable[str], delimiter: str) -> Reader:
    try:
        # Strict: a quote that is never closed would swallow the rows after it unnoticed.
        return csv.reader(lines, delimiter=delimiter, strict=True)
    except (TypeError, ValueError) as error:
        raise SourceError(f"{file.name}: bad delimiter {delimiter!r}; allowed: one character") from error


@contextmanager
def _parsing(file: File, reader: Reader) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise SourceError(f"{file.name}, line {reader.line_num}: not valid CSV: {error}") from error


def _csv_rows(file: File, reader: Reader, columns: list[str]) -> Iterator[Row]:
    width = len(columns)
    number = 0
    with _parsing(file, reader):
        for cells in reader:
            if not cells:  # an empty line
                continue
            number += 1
            if len(cells) == width:
                yield Row(number, dict(zip(columns, cells, strict=True)))
            else:
                yield Row(number, {}, f"the row has {len(cells)} fields, the header {width}")


# --- parquet ----------------------------------------------------------------------------------------------


def _open_parquet(file: File, text_columns: Collection[str]) -> Rows:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        extra = "airflow-provider-telekom-sms[parquet]"
        raise SourceError(f"{file.name}: reading parquet needs pyarrow; install {extra}") from None
    stream = file.open()
    try:
        with _reading_parquet(file):
            parquet = ParquetFile(stream)
            schema = parquet.schema_arrow
        columns = checked_columns(schema.names, file.name)
        for column in text_columns:
            if column in columns and _is_numeric(schema.field(column).type):
                raise not_text(file.name, column, schema.field(column).type)
    except BaseException:
        stream.close()
        raise
    return Rows(file.name, columns, _parquet_rows(file, parquet, columns), stream.close)


def _parquet_rows(file: File, parquet: Any, columns: list[str]) -> Iterator[Row]:
    number = 0
    with _reading_parquet(file):
        for batch in parquet.iter_batches(batch_size=SLICE):
            for cells in zip(*map(_arrow_cells, batch.columns), strict=True):
                number += 1
                yield Row(number, dict(zip(columns, cells, strict=True)))


def _arrow_cells(column: Any) -> list[Any]:
    from pyarrow.types import is_floating

    cells: list[Any] = column.to_pylist()
    if is_floating(column.type):
        return [None if cell != cell else cell for cell in cells]  # NaN
    return cells


def _is_numeric(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(is_(kind) for is_ in (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean))


@contextmanager
def _reading_parquet(file: File) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        raise SourceError(
            f"{file.name} is no parquet file, or it is damaged; allowed: {', '.join(SUFFIXES)}"
        ) from error
