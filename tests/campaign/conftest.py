from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, Result, run_job
from airflow_provider_telekom_sms.ledger import reporting
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.settings import Settings as Connection
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Settings, Simulator, serve
from airflow_provider_telekom_sms.transport import AsyncTransport

SENDER = Path(__file__).with_name("sender.py")


@dataclass
class Hook:
    """What a campaign needs of the hook, without Airflow."""

    url: str
    timeout: float = 10.0
    retry_for: float = 20.0
    rate_limit: float | None = None
    opened: int = 0
    transport: Callable[..., AsyncTransport] = AsyncTransport

    @contextlib.asynccontextmanager
    async def async_transport(self, *, connections: int = 16) -> AsyncIterator[AsyncTransport]:
        settings = Connection(DEFAULT_TOKEN, self.url, timeout=self.timeout, rate_limit=self.rate_limit)
        self.opened = connections
        async with self.transport(settings, connections=connections, retry_for=self.retry_for) as transport:
            yield transport


@dataclass
class Bench:
    """A ledger, a simulator, and short words for what the tests do with them."""

    sim: Simulator
    ledger: Ledger
    hook: Hook
    stop: threading.Event = field(default_factory=threading.Event)

    def spec(self, source: Any, **options: Any) -> CampaignSpec:
        settings = options.pop("settings", None) or MessageSettings()
        if "text" not in options and "text_column" not in options:
            options["text"] = "Ahoj {name}"
        return CampaignSpec(source, settings, **options)

    def rows(self, number: int, first: int = 0) -> list[dict[str, str]]:
        return [{"phone": f"09031{row:05d}", "name": f"č. {row}"} for row in range(first, first + number)]

    def run(self, source: Any, *, slot: str = "slot", campaign: str = "campaign", **options: Any) -> Result:
        """Run one try; options are those of the job, the rest those of the spec."""
        names = ("concurrency", "rate_limit", "own_plan_only", "on_in_doubt", "on_rejected")
        job = {name: options.pop(name) for name in names if name in options}
        if isinstance(source, int):
            source = self.rows(source)
        return run_job(
            self.ledger, self.hook, Job(campaign, slot, self.spec(source, **options), **job), self.stop
        )

    def messages(self, campaign: str = "campaign") -> list[Any]:
        number = reporting.campaign_number(self.ledger, campaign)
        return list(reporting.messages(self.ledger, number))

    def states(self) -> Counter[str]:
        return Counter(message.state for message in self.messages())

    def doubles(self) -> dict[str, int]:
        return {n: count for n, count in self.sim.state.messages_per_number().items() if count > 1}

    def agree(self) -> None:
        """Ledger and server agree on every row; only what is in doubt may stand either way."""
        taken = {str(message.id): message for message in self.sim.state.messages}
        per_number = self.sim.state.messages_per_number()
        assert self.doubles() == {}
        for row in self.messages():
            if row.state == "accepted":
                assert taken[row.message_id].number == row.phone
                assert row.text is None
            elif row.state in ("planned", "rejected"):
                assert row.phone not in per_number, row
            else:
                assert row.state == "in_doubt", row


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Simulator]:
    with serve() as simulator:
        yield simulator


@pytest.fixture
def sim(_simulator: Simulator) -> Simulator:
    _simulator.state.settings = Settings(fate="delivered")
    _simulator.state.reset()
    return _simulator


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(URL.create("sqlite", database=str(tmp_path / "ledger.db")))
    yield ledger
    ledger.close()


@pytest.fixture
def bench(sim: Simulator, ledger: Ledger) -> Bench:
    return Bench(sim, ledger, Hook(sim.url))


# --- processes that are killed ------------------------------------------------------------------------------


class FarSimulator:
    """The simulator in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "airflow_provider_telekom_sms.simulator", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().split()[-1]

    def ask(self, method: str, page: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_simulator/{page}", data, method=method)
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.load(reply)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def _far_simulator() -> Iterator[FarSimulator]:
    simulator = FarSimulator()
    yield simulator
    simulator.close()


@pytest.fixture
def far(_far_simulator: FarSimulator) -> FarSimulator:
    _far_simulator.ask("POST", "reset", {})
    _far_simulator.ask("DELETE", "faults")
    _far_simulator.ask("POST", "settings", {"fate": "delivered", "latency_ms": 0, "speed": 1})
    return _far_simulator


class Nursery:
    """Forks processes that run one try each; see sender.py."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SENDER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self, **job: Any) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        return int(self._line()["pid"])

    def wait(self) -> dict[str, Any]:
        """Wait for the end of the last one: how it ended, and what it told."""
        return self._line()

    def _line(self, timeout: float = 60.0) -> dict[str, Any]:
        assert self.process.stdout
        readable, _, _ = select.select([self.process.stdout], [], [], timeout)
        assert readable, "the process hangs"
        return dict(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    def wait(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it never came to pass"
            time.sleep(0.002)
        return found

    return wait
