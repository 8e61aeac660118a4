"""
The API on loopback, as fast as Python can: a bare protocol on uvloop, in one process of its own.

It answers what the manuals show, at once or after a given time, and counts what it was sent; it checks
nothing. What it can take at most is measured in the same run, by :func:`benchmarks.clients.limit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import itertools
import json
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY = "benchmark-key-".ljust(64, "0")
SESSION = "a1da7970-5464-11e4-867e-9d647178712c"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TO = re.compile(rb"<to>([^<]*)")
_ID = re.compile(rb'message_id"?[:>] *"?([\w-]+)')


class State:
    """What was asked of the server since it was last reset."""

    def __init__(self) -> None:
        self.ids = itertools.count(100_000_001)
        self.reset(0.0)

    def reset(self, latency: float) -> None:
        self.latency = latency
        self.messages = self.repeated = self.requests = self.checks = 0
        self.first = self.last = 0.0
        self.numbers: set[str] = set()
        self.cpu = time.process_time()

    def take(self, number: str) -> int:
        """Count a message; give its id."""
        self.messages += 1
        if number in self.numbers:
            self.repeated += 1
        self.numbers.add(number)
        self.last = time.perf_counter()
        self.first = self.first or self.last
        return next(self.ids)

    def counts(self) -> dict[str, Any]:
        """Tell what was counted; ``span`` are the seconds from the first message to the last."""
        return {
            "messages": self.messages,
            "repeated": self.repeated,
            "requests": self.requests,
            "checks": self.checks,
            "span": self.last - self.first,
            "server_cpu": time.process_time() - self.cpu,
        }


STATE = State()
_OK = b'{"result":{"status":"success","description":"","code":"OK"}'
_XML = (
    b'<?xml version="1.0" encoding="UTF-8"?><response>'
    b"<result><status>success</status><description></description><code>OK</code></result>%b</response>"
)


def _send_json(body: bytes) -> bytes:
    number = STATE.take(json.loads(body)["to"])
    return _OK + (
        b',"message_count":1,"messages":[{"status":"success","code":"OK","description":"",'
        b'"message_id":%d,"parts":2}]}' % number
    )


def _send_xml(body: bytes) -> bytes:
    found = _TO.search(body)
    number = STATE.take(found[1].decode() if found else "")
    message = b'<message id="%d"><status>success</status><code>OK</code><description></description></message>'
    return _XML % (b'<messages count="1">' + message % number + b"</messages>")


def _send_v2(body: bytes) -> bytes:
    taken = [
        {"messageId": STATE.take(one["phone"]), "externalId": one.get("externalId")}
        for one in json.loads(body)["recipients"]
    ]
    return json.dumps({"messages": taken}).encode()


def _check(body: bytes) -> bytes:
    STATE.checks += 1
    found = _ID.search(body)
    told = b',"message_id":"%b","status":"Delivered","code":"DELIVERED","deliveryDateTime":"%b"}'
    return _OK + told % (found[1] if found else b"", b"2026-01-05 09:00:00")


_SESSION_ID = SESSION.encode()
ENDPOINTS: dict[bytes, Callable[[bytes], bytes]] = {
    b"/json/auth": lambda body: _OK + b',"session_id":"' + _SESSION_ID + b'"}',
    b"/json/ping": lambda body: _OK + b"}",
    b"/json/send_message": _send_json,
    b"/json/check_message": _check,
    b"/xml/auth": lambda body: _XML % (b"<session_id>" + _SESSION_ID + b"</session_id>"),
    b"/xml/ping": lambda body: _XML % b"",
    b"/xml/send_message": _send_xml,
    b"/v2/messages": _send_v2,
}


def _control(path: bytes) -> bytes:
    name, _, latency = path.rpartition(b"/")[2].partition(b"?")
    if name == b"reset":
        STATE.reset(float(latency))
    return json.dumps(STATE.counts()).encode()


class Connection(asyncio.Protocol):
    """One connection: requests in, replies out, kept alive."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.unread = transport, b""
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while (end := self.unread.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self.unread, 0, end + 2)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self.unread) < whole:
                return
            path = self.unread[: self.unread.index(b"\r")].split(b" ")[1]
            body, self.unread = self.unread[end + 4 : whole], self.unread[whole:]
            self.answer(path, body)

    def answer(self, path: bytes, body: bytes) -> None:
        endpoint = ENDPOINTS.get(path)
        if endpoint is None:
            self.reply(_control(path), b"")
            return
        STATE.requests += 1
        # The manual: the session is also stored in a cookie.
        cookie = b"set-cookie: session=" + _SESSION_ID + b"; Path=/\r\n" if path.endswith(b"auth") else b""
        answer = endpoint(body)
        if STATE.latency:
            self.loop.call_later(STATE.latency, self.reply, answer, cookie)
        else:
            self.reply(answer, cookie)

    def reply(self, body: bytes, cookie: bytes) -> None:
        kind = b"xml" if body.startswith(b"<") else b"json"
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/%b; charset=utf-8\r\n%bcontent-length: %d\r\n\r\n"
        )
        if not self.transport.is_closing():
            self.transport.write(head % (kind, cookie, len(body)) + body)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """
    Make a certificate for loopback that signs itself.

    :return: certificate with key, and what a client on a real machine trusts: all the usual authorities, and
        this one; reading that many is a cost of its own
    """
    import certifi
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "benchmark")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (own := folder / "server.pem").write_bytes(private + public)
    (trusted := folder / "trusted.pem").write_bytes(Path(certifi.where()).read_bytes() + public)
    return own, trusted


async def listen(folder: Path) -> None:
    """Listen over HTTP and HTTPS until the process is ended; print where, as a line of JSON."""
    own, trusted = make_certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own)
    loop = asyncio.get_running_loop()
    where = {"ca": str(trusted)}
    for scheme, tls in (("http", None), ("https", context)):
        server = await loop.create_server(Connection, "127.0.0.1", 0, ssl=tls, backlog=1024)
        where[scheme] = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(json.dumps(where), flush=True)
    await asyncio.Event().wait()


@dataclass(frozen=True)
class Server:
    """
    A server that runs.

    :param urls: base URL by scheme
    :param ca: file of the authorities that a client trusts
    """

    urls: dict[str, str]
    ca: str

    def reset(self, latency_ms: float = 0) -> None:
        """Forget all counts; answer so much later from now on."""
        self._ask(f"reset?{latency_ms / 1000}")

    def counts(self) -> dict[str, Any]:
        """Tell what came in since the last reset."""
        return self._ask("counts")

    def _ask(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.urls['http']}/benchmark/{what}", timeout=30) as reply:
            return dict(json.load(reply))


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """Run a server in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="telekom-sms-server-") as folder:
        command = [sys.executable, "-m", "benchmarks.server", folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            where = json.loads(process.stdout.readline())
            yield Server(where, where.pop("ca"))
        finally:
            process.terminate()
            process.wait(10)


if __name__ == "__main__":
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(listen(Path(sys.argv[1])))
