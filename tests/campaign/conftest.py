from __future__ import annotations

import contextlib
import json
import queue
import socket
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
from sqlalchemy.engine import URL, make_url

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
        if not {"text", "text_column"} & options.keys() and settings.content is None:
            options["text"] = "Ahoj {name}"
        return CampaignSpec(source, settings, **options)

    def rows(self, number: int, first: int = 0) -> list[dict[str, str]]:
        return [{"phone": f"09031{row:05d}", "name": f"č. {row}"} for row in range(first, first + number)]

    def run(self, source: Any, *, slot: str = "slot", campaign: str = "campaign", **options: Any) -> Result:
        """Run one try; options are those of the job, the rest those of the spec."""
        names = ("concurrency", "batch_size", "rate_limit", "own_plan_only", "on_in_doubt", "on_rejected")
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
    """Forks processes that run one try each, side by side; see sender.py."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SENDER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.ended: dict[int, dict[str, Any]] = {}
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)

    def start(self, **job: Any) -> int:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job) + "\n")
        while "signal" in (line := self._line()):
            self.ended[line["pid"]] = line
        return int(line["pid"])

    def wait(self, child: int) -> dict[str, Any]:
        """Wait for the end of one: how it ended, and what it told."""
        while child not in self.ended:
            line = self._line()
            self.ended[line["pid"]] = line
        return self.ended.pop(child)

    def _line(self) -> dict[str, Any]:
        return dict(json.loads(self.lines.get(timeout=90)))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


# --- a way that breaks --------------------------------------------------------------------------------------


class Proxy:
    """
    A TCP proxy on loopback: connections are refused while it is shut, and cut when it is told to.

    :param meddle: told what a client is about to say, and how to send it on and to hang up; true where it has
        done all that is to be done
    """

    def __init__(self, url: URL | str, meddle: Callable[[Link, bytes], bool] | None = None) -> None:
        target = make_url(url)
        self.target, self.meddle = (target.host, target.port), meddle
        self.port, self.links = 0, set[Link]()
        self.open()

    def open(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, args=(self.listener,), daemon=True).start()

    def shut(self) -> None:
        # Who is connected already is let in.
        self.listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._let_in(self.listener.accept()[0])
        # Closing alone does not wake who waits for the next connection.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.shut()
        for link in list(self.links):
            link.hang_up()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError:
                return
            self._let_in(client)

    def _let_in(self, client: socket.socket) -> None:
        client.setblocking(True)
        link = Link(self, client)
        self.links.add(link)
        threading.Thread(target=link.run, daemon=True).start()


class Link:
    """One connection through a proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, socket.socket()
        for end in (self.client, self.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        #: Set when what the server says is no longer passed on, and when it has said something since.
        self.deaf, self.heard = threading.Event(), threading.Event()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            self.server.connect(self.proxy.target)
            back = threading.Thread(target=self.back, daemon=True)
            back.start()
            self.forth()
            back.join()
        self.hang_up()
        self.client.close()
        self.server.close()

    def forth(self) -> None:
        with contextlib.suppress(OSError):
            while said := self.client.recv(65536):
                if self.proxy.meddle is None or not self.proxy.meddle(self, said):
                    self.server.sendall(said)
        self.hang_up()

    def back(self) -> None:
        with contextlib.suppress(OSError):
            while said := self.server.recv(65536):
                if self.deaf.is_set():
                    self.heard.set()
                else:
                    self.client.sendall(said)
        self.hang_up()

    def hang_up(self, *ends: socket.socket) -> None:
        for end in ends or (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if not ends:
            self.proxy.links.discard(self)


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    made: list[Proxy] = []

    def make(*arguments: Any) -> Proxy:
        made.append(Proxy(*arguments))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    def wait(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it never came to pass"
            time.sleep(0.002)
        return found

    return wait
