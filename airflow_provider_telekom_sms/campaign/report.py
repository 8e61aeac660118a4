"""The report: an outcome for every row of a campaign, as CSV or Parquet, in constant memory."""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger import reporting
from airflow_provider_telekom_sms.ledger.store import Ledger

COLUMNS = (
    "row", "key", "phone", "state", "reason", "message_id", "parts", "delivery_status", "delivered_at",
)  # fmt: skip
_PAGE = 5_000
#: A plus or minus before a number is none.
_FORMULA_INSIDE = re.compile(r"(;\s*)(?=[=@+-])")
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d ()/.-]*$)").match


def check_path(path: str) -> None:
    """
    Check that a report can be written there, before anything is sent.

    :param path: a path, or a URL of an object storage
    :raises ConfigurationError: for another suffix than .csv and .parquet, and a folder that cannot be written
    """
    if not path.lower().endswith(tuple(_WRITERS)):
        raise ConfigurationError(f"report_path: found {path!r}, allowed are names that end in .csv, .parquet")
    if path.lower().endswith(".parquet"):
        _require_pyarrow()
    if "://" not in path:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=Path(path).parent).close()
        except OSError as error:
            raise ConfigurationError(f"report_path: {path!r} cannot be written: {error.strerror}") from None


def write_report(ledger: Ledger, campaign_id: int, path: str) -> None:
    """
    Write a campaign's report; a report that is there already is replaced only when the new one is whole.

    :param campaign_id: the campaign's number in the ledger
    :param path: a path, or a URL of an object storage; the suffix tells the format
    """
    check_path(path)
    writer = next(write for suffix, write in _WRITERS.items() if path.lower().endswith(suffix))
    with _opened(path) as file:
        writer(file, _rows(ledger, campaign_id))


def _rows(ledger: Ledger, campaign_id: int) -> Iterator[tuple[Any, ...]]:
    for m in reporting.messages(ledger, campaign_id):
        delivered = None if m.delivered_at is None else datetime.fromtimestamp(m.delivered_at / 1000, UTC)
        yield (
            m.row, m.key, m.phone, m.state, m.reason, m.message_id, m.parts, m.delivery_code,
            None if delivered is None else delivered.isoformat(timespec="seconds"),
        )  # fmt: skip


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if "://" in path:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        with ObjectStoragePath(path).open("wb") as file:  # type: ignore[no-untyped-call]
            yield file
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # For its owner only, as it holds whole numbers, and under a name that no other try is writing to.
    descriptor, part = tempfile.mkstemp(".part", f".{target.name}.", target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(part).replace(target)
    finally:
        Path(part).unlink(missing_ok=True)


def _write_csv(file: IO[bytes], rows: Iterable[tuple[Any, ...]]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    text.detach()


def _harmless(cell: Any) -> Any:
    """Keep a spreadsheet from taking what came with a source for a formula."""
    if not isinstance(cell, str):
        return cell
    mark = "'" if _FORMULA(cell) else ""
    # Where the separator of lists is another, a spreadsheet begins a cell of its own there.
    return mark + _FORMULA_INSIDE.sub(r"\1'", cell)


def _require_pyarrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigurationError(
            "report_path: Parquet needs pyarrow; install airflow-provider-telekom-sms[parquet]"
        )


def _write_parquet(file: IO[bytes], rows: Iterable[tuple[Any, ...]]) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    numbers = {"row": pa.int64(), "parts": pa.int32()}
    schema = pa.schema([(name, numbers.get(name, pa.string())) for name in COLUMNS])
    with ParquetWriter(file, schema) as writer:
        pages = iter(rows)
        while page := list(itertools.islice(pages, _PAGE)):
            columns = [
                pa.array(cells, field.type)
                for cells, field in zip(zip(*page, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.table(columns, schema=schema))


_WRITERS: dict[str, Callable[[IO[bytes], Iterable[tuple[Any, ...]]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
