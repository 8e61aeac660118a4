from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.ledger import planning, schema
from airflow_provider_telekom_sms.ledger.planning import Owner, PlannedRow
from airflow_provider_telekom_sms.ledger.store import Ledger, State

PROCESS = Path(__file__).with_name("process.py")


class Desk:
    """A ledger, and short words for what the tests do with it."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.ledger = Ledger(url)

    @property
    def address(self) -> str:
        return self.url.render_as_string(hide_password=False)

    @property
    def path(self) -> Path:
        assert self.ledger.dialect == "sqlite"
        return Path(str(self.url.database))

    def begin(self, campaign: str = "campaign", slot: str = "slot") -> Owner:
        return planning.begin(self.ledger, campaign, slot)

    def rows(self, first: int, number: int) -> list[PlannedRow]:
        return [
            PlannedRow(row, State.PLANNED, b"%016d" % row, None, f"4219030{row:05d}", f"Ahoj {row}", 1)
            for row in range(first, first + number)
        ]

    def plan(self, owner: Owner, number: int = 3, *, first: int = 1, finish: bool = True) -> int:
        plan_id = planning.begin_plan(self.ledger, owner, "print", "{}", fallback=False)
        for start in range(first, first + number, planning.CHUNK):
            size = min(planning.CHUNK, first + number - start)
            planning.add(self.ledger, owner, plan_id, self.rows(start, size))
        if finish:
            planning.finish_plan(self.ledger, owner, plan_id)
        return plan_id

    def planned(self, number: int = 3, **options: Any) -> Owner:
        owner = self.begin(**options)
        self.plan(owner, number)
        return owner

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Read or write past the package; ``?`` stands for a value."""
        names = [f"v{number}" for number in range(len(values))]
        for name in names:
            statement = statement.replace("?", f":{name}", 1)
        engine = sa.create_engine(self.ledger.engine.url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement), dict(zip(names, values, strict=True)))
            return [tuple(row) for row in result] if result.returns_rows else []

    def states(self) -> dict[int, str]:
        return dict(self.sql("SELECT row, state FROM telekom_sms_message ORDER BY id"))

    def row(self, row: int) -> dict[str, Any]:
        names = [column.name for column in schema.message.columns]
        [values] = self.sql(f"SELECT {', '.join(names)} FROM telekom_sms_message WHERE row = ?", row)
        return dict(zip(names, values, strict=True))


def opened(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Give an empty ledger in one of the databases, and close it afterwards."""
    if database == "sqlite":
        url = URL.create("sqlite", database=str(tmp_path / "ledger.db"))
    else:
        url = request.getfixturevalue("postgres").database()
    desk = Desk(url)
    yield desk
    desk.ledger.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    yield from opened(request.param, request, tmp_path)


@pytest.fixture
def file_desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A ledger in a file, for what only files do."""
    yield from opened("sqlite", request, tmp_path)


@pytest.fixture
def ledger(desk: Desk) -> Ledger:
    return desk.ledger


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The ledgers' clock, in seconds: it goes when it is told to, so a busy machine takes nothing from it."""
    clock = SimpleNamespace(now=time.time())
    monkeypatch.setattr(Ledger, "now", lambda ledger, connection: int(clock.now * 1000))
    return clock


@pytest.fixture
def processes() -> Callable[..., list[Any]]:
    """Run the same job in several processes at once; give what each printed."""

    def run(number: int, *arguments: object, timeout: float = 60) -> list[Any]:
        command = [sys.executable, str(PROCESS), *map(str, arguments)]
        running = [
            subprocess.Popen(
                [*command, str(i)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for i in range(number)
        ]
        try:
            for process in running:
                assert process.stdout
                ready = process.stdout.readline()
                assert ready == b"ready\n", process.communicate()[1].decode()
            for process in running:
                assert process.stdin
                process.stdin.close()  # off they go, all at once
                process.stdin = None
            answers = [process.communicate(timeout=timeout) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
        for process, (_, trouble) in zip(running, answers, strict=True):
            assert process.returncode == 0, trouble.decode()
        return [json.loads(answer) for answer, _ in answers]

    return run


@pytest.fixture
def as_nobody() -> Callable[[Callable[[Path], str]], str]:
    """Run a function on an empty folder in a process whose user may not do everything."""

    def run(function: Callable[[Path], str]) -> str:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            reading, writing = os.pipe()
            if not (child := os.fork()):
                try:
                    if os.getuid() == 0:
                        os.chown(folder, 65534, 65534)
                        os.setgid(65534)
                        os.setuid(65534)
                    os.write(writing, function(folder).encode())
                except BaseException as error:
                    os.write(writing, f"{type(error).__name__}: {error}".encode())
                finally:
                    os._exit(0)
            os.close(writing)
            with os.fdopen(reading) as answer:
                text = answer.read()
            os.waitpid(child, 0)
            return text

    return run
