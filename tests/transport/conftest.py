from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_telekom_sms import transport as transport_module
from airflow_provider_telekom_sms.api import v1
from airflow_provider_telekom_sms.api.messages import SmsParameters
from airflow_provider_telekom_sms.exceptions import TelekomSmsError
from airflow_provider_telekom_sms.settings import Settings
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Simulator, serve
from airflow_provider_telekom_sms.simulator import Settings as Behaviour
from airflow_provider_telekom_sms.transport import AsyncTransport, Transport

OK = {"status": "success", "description": "", "code": "OK"}
SENT = {
    "result": OK,
    "message_count": 1,
    "messages": [{"status": "success", "code": "OK", "description": "", "message_id": 7, "parts": 1}],
}
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Simulator]:
    with serve() as simulator:
        yield simulator


@pytest.fixture
def sim(_simulator: Simulator) -> Simulator:
    """A fresh simulator: GET allowed, every number good, delivery slow."""
    _simulator.state.reset()
    _simulator.state.settings = Behaviour(allow_get=True, fate="delivered", speed=0.01)
    return _simulator


@pytest.fixture(scope="session")
def settings() -> Callable[..., Settings]:
    """Settings for a URL, read as a connection's are."""

    def make(url: str, *, key: str = DEFAULT_TOKEN, **extra: Any) -> Settings:
        return Settings.parse("telekom_sms_default", password=key, host=url, extra=extra)

    return make


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the connection ``telekom_sms_default`` through the environment."""

    def make(url: str | None, *, key: str = DEFAULT_TOKEN, **extra: Any) -> None:
        described = {"conn_type": "telekom_sms", "host": url, "password": key, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_TELEKOM_SMS_DEFAULT", json.dumps(described))

    return make


@pytest.fixture
def hook(connection: Callable[..., None]) -> Callable[..., Any]:
    """A hook for a URL, through the real connection of Airflow."""

    def make(url: str | None, **options: Any) -> Any:
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook

        connection(url, **options)
        return TelekomSmsHook()

    return make


class Client:
    """One of the two transports; what it is told to run, it runs one after the other."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(self, settings: Settings, *calls: Callable[..., Any], retry_for: float = 0.0) -> list[Any]:
        """Run calls over one transport; each gives its result, or the error of the package it raised."""
        if self.kind == "async":
            return asyncio.run(self._arun(settings, calls, retry_for))
        outcomes = []
        with Transport(settings, retry_for=retry_for) as transport:
            for call in calls:
                try:
                    outcomes.append(transport.run(transport.call(call)))
                except TelekomSmsError as error:
                    outcomes.append(error)
        return outcomes

    async def _arun(self, settings: Settings, calls: tuple[Any, ...], retry_for: float) -> list[Any]:
        outcomes = []
        async with AsyncTransport(settings, retry_for=retry_for) as transport:
            for call in calls:
                try:
                    outcomes.append(await transport.run(transport.call(call)))
                except TelekomSmsError as error:
                    outcomes.append(error)
        return outcomes

    def send(self, settings: Settings, times: int = 1, retry_for: float = 0.0) -> list[Any]:
        return self.run(settings, *[sending(settings)] * times, retry_for=retry_for)

    def send_one(self, settings: Settings, retry_for: float = 0.0) -> Any:
        return self.send(settings, 1, retry_for)[0]


def sending(settings: Settings, to: str = "421903123456", text: str = "Ahoj") -> Callable[[Any], Any]:
    return lambda credential: v1.send_message(settings.wire, credential, to, text, SmsParameters())


@pytest.fixture(name="sending", scope="session")
def _sending() -> Callable[..., Any]:
    return sending


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second to connect instead of five."""
    monkeypatch.setattr(transport_module, "CONNECT_TIMEOUT", 0.5)


class RawServer:
    """
    A server whose every byte is the test's; ``handle(sock, request)`` says True to go on reading.

    ``requests`` are the whole requests read, ``connections`` the connections taken.
    """

    def __init__(self, handle: Callable[[socket.socket, bytes], Any], port: int = 0, tls: Any = None) -> None:
        self.handle, self.tls = handle, tls
        self.requests: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._open.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            stack.enter_context(sock)
            if self.tls:
                sock = stack.enter_context(self.tls.wrap_socket(sock, server_side=True))
                self._open.append(sock)
            while request := self.read(sock):
                self.requests.append(request)
                if not self.handle(sock, request):
                    return

    @staticmethod
    def read(sock: socket.socket) -> bytes:
        """Read one whole request, or what came before the end."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (chunk := sock.recv(65536)):
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while lengths and len(body) < int(lengths[0]):
            body += sock.recv(65536)
        return head + b"\r\n\r\n" + body

    def count(self, path: str) -> int:
        """How many requests asked for this path."""
        return sum(path.encode() in request.split(b"\r\n")[0] for request in self.requests)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def raw() -> Iterator[Callable[..., RawServer]]:
    """Make raw servers, and end them."""
    with contextlib.ExitStack() as stack:

        def make(handle: Callable[[socket.socket, bytes], Any], **options: Any) -> RawServer:
            server = RawServer(handle, **options)
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture(scope="session")
def reply() -> Callable[..., bytes]:
    """The bytes of an HTTP reply; without a body that of a message that was taken."""

    def make(body: bytes | None = None, status: str = "200 OK", **headers: str) -> bytes:
        content = json.dumps(SENT).encode() if body is None else body
        fields = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        return "\r\n".join(lines).encode() + content

    return make


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1, and a server's context that shows it."""
    folder = tmp_path_factory.mktemp("tls")
    ca, key = folder / "ca.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(ca)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    return ca, context
