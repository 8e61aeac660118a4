from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.callbacks.app import Receiver
from airflow_provider_telekom_sms.ledger.store import Ledger
from tests.ledger.conftest import Desk, opened

SECRET, OLD_SECRET = "a-secret-that-nobody-guesses", "the-secret-of-last-year"
PREFIX = "/telekom-sms"

__all__ = ["OLD_SECRET", "PREFIX", "SECRET", "Desk"]


class Served:
    """An ASGI application under uvicorn on loopback, in a thread."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.app = app
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.host = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            **{"lifespan": "off", "log_level": "info", "access_log": False, "log_config": None, **options},
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.socket]))

    @property
    def url(self) -> str:
        return f"{self.host}{PREFIX}/{SECRET}"

    def ask(
        self, body: Any = None, path: str = f"{PREFIX}/{SECRET}", method: str = "POST", **headers: str
    ) -> int:
        """Give the HTTP status of an answer."""
        import http.client

        if not isinstance(body, bytes | None):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host.partition("//")[2], timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            reply.read()
            return reply.status

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.socket.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    yield from opened(request.param, request, tmp_path)


@pytest.fixture
def file_desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    yield from opened("sqlite", request, tmp_path)


@pytest.fixture
def serve() -> Iterator[Any]:
    """Serve a receiver of a desk's ledger, or any application."""
    running: list[Served] = []

    def start(desk: Desk | None = None, app: Any = None, **options: Any) -> Served:
        if app is None:
            assert desk
            app = Receiver([SECRET, OLD_SECRET], lambda: Ledger(desk.url), prefix=PREFIX, stop_words=["STOP"])
        running.append(Served(app, **options))
        return running[-1]

    yield start
    for served in running:
        served.close()


class Process:
    """The receiver as people run it alone."""

    def __init__(self, url: URL, home: str, **given: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": home,
            "AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET": SECRET,
            "AIRFLOW_CONN_LEDGER": url.render_as_string(hide_password=False),
            **given,
        }
        sqlite = url.get_backend_name() == "sqlite"
        self.ledger = ["--ledger-path", str(url.database)] if sqlite else ["--ledger-conn-id", "ledger"]
        self.start()

    def command(self) -> list[str]:
        module = "airflow_provider_telekom_sms.callbacks"
        return [sys.executable, "-m", module, "--port", str(self.port), *self.ledger]

    def start(self) -> None:
        # To a file: a server that is not read from would stand still once the pipe is full.
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed when it is killed
        self.process = subprocess.Popen(
            self.command(), env=self.environment, stdout=self.output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PREFIX}/{SECRET}"

    def printed(self) -> str:
        self.output.seek(0)
        return self.output.read()

    def wait(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            assert self.process.poll() is None, self.printed()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.05)
        raise AssertionError("it never listened")

    def kill(self) -> str:
        """Kill it with all its children; give what it has printed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        printed = self.printed()
        self.output.close()
        return printed

    def memory(self) -> int:
        """Give the most memory that it ever had, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) // 1024


class ApiServer(Process):
    """The receiver as a plugin of Airflow's API server."""

    def __init__(self, url: URL, home: str) -> None:
        given = {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(migrate, env={**os.environ, **given}, check=True, capture_output=True, timeout=120)
        super().__init__(url, home, **given, AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID="ledger")

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "airflow",
            "api-server",
            "--port",
            str(self.port),
            "--host",
            "127.0.0.1",
        ]


@pytest.fixture
def process(tmp_path: Any) -> Iterator[Any]:
    running: list[Process] = []

    def start(desk: Desk, kind: type[Process] = Process) -> Process:
        running.append(kind(desk.url, str(tmp_path / "airflow")))
        running[-1].wait()
        return running[-1]

    yield start
    for one in running:
        one.kill()
