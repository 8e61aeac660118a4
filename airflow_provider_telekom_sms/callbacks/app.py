"""
The receiver: an ASGI application at a URL that only the API knows.

::

    request ─► its secret ─► its body ─► read ─► wait ─► one transaction for all that wait ─► 200

It is answered with 2xx only when it is on disk. Whatever else is answered, the operator calls again, after 5,
15, 30, 60, 720 and 1440 minutes. So a body that cannot be read is answered with 400, too: six more calls cost
nothing, and a day is enough to mend what could not read it.

Nothing that it is called with is logged, and where the server logs paths it finds no secret in them.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

from airflow_provider_telekom_sms import observability
from airflow_provider_telekom_sms.api.delivery import LARGEST_CALLBACK
from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    LedgerError,
    UnreadableReplyError,
)
from airflow_provider_telekom_sms.ledger import callbacks
from airflow_provider_telekom_sms.ledger.callbacks import Received
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.settings import callback_secrets, stop_words

log = logging.getLogger(__name__)

#: Where the plugin stands on the API server.
PREFIX = "/telekom-sms"
#: Requests with the right secret that are answered at once; with the size of a body this bounds the memory.
AT_ONCE = 500
#: Callbacks that are stored in one transaction.
BATCH = 200
#: Seconds that a body may take to come, and then to be stored.
PATIENCE = 20.0
#: Seconds until a ledger that failed is looked at again for callbacks that wait.
PAUSE = 30.0
#: Seconds between two lines of the log about what was refused.
TOLD_EVERY = 60.0

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _Refusal(Exception):
    """An answer other than 200, and what it is counted as."""

    def __init__(self, status: int, counted_as: str) -> None:
        super().__init__(counted_as)
        self.status, self.counted_as = status, counted_as


class Receiver:
    """
    Takes callbacks at ``{prefix}/{secret}``.

    :param secrets: any of these is right
    :param open_ledger: opens the ledger when the first callback comes
    :param prefix: what comes before the secret, where the application is not mounted
    :param stop_words: see :func:`~airflow_provider_telekom_sms.ledger.callbacks.receive`
    """

    def __init__(
        self,
        secrets: Sequence[str],
        open_ledger: Callable[[], Ledger],
        *,
        prefix: str = "",
        stop_words: Sequence[str] = (),
    ) -> None:
        self._secrets = [sha256(secret.encode()).digest() for secret in secrets]
        self._open_ledger, self._prefix, self._stop_words = open_ledger, prefix, stop_words
        self._ledger: Ledger | None = None
        self._thread = ThreadPoolExecutor(1, "telekom-sms-callbacks")
        self._waiting: list[tuple[Received, asyncio.Future[None]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._look_at: float | None = None
        self._at_work = 0
        #: What was answered, by its kind, since the start.
        self.counts: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._tell_at = 0.0

    def __repr__(self) -> str:
        return f"<Receiver {dict(self.counts)}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            return
        query = scope["query_string"]
        is_right = self._has_secret(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        try:
            if not is_right:
                raise _Refusal(404, "wrong secret")
            await self._take(scope, receive, query)
            status = 200
        except _Refusal as refusal:
            status = refusal.status
            self._count(refusal.counted_as)
        await _answer(send, status)

    def _has_secret(self, scope: Scope) -> bool:
        """Tell whether a request has the secret, and take it out of what the server may log."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        head, _, given = path.rpartition("/")
        hashed = sha256(given.encode("utf-8", "replace")).digest()
        # All of them, and all to their ends: the time that it takes tells nothing.
        found = [hmac.compare_digest(hashed, secret) for secret in self._secrets]
        scope["path"] = f"{scope.get('root_path', '')}{self._prefix}/hidden"
        scope["raw_path"], scope["query_string"] = scope["path"].encode(), b""
        return any(found) and head == self._prefix

    async def _take(self, scope: Scope, receive: Receive, query: bytes) -> None:
        if scope["method"] not in ("GET", "POST"):
            raise _Refusal(405, "wrong method")
        if self._at_work >= AT_ONCE:
            raise _Refusal(503, "too many at once")
        self._at_work += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self._store(await _read(scope, receive, query))
        except TimeoutError:
            raise _Refusal(503, "too slow") from None
        finally:
            self._at_work -= 1

    # The ledger's work: one thread, and all that wait in one transaction.

    async def _store(self, received: Received) -> None:
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((received, stored))
        self._wake()
        try:
            await stored
        finally:
            if stored.cancelled():
                # It comes again; kept here, it would fill the memory while the ledger hangs.
                self._waiting = [one for one in self._waiting if not one[1].done()]

    def _wake(self) -> None:
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._write(batch)
                self._look_at = self._look_at or loop.time() + callbacks.FIRST_LOOK / 1000
            elif self._look_at is not None and loop.time() >= self._look_at:
                await self._look()
            else:
                break
        self._worker = None
        if self._look_at is not None:
            loop.call_at(self._look_at, self._wake)

    async def _write(self, batch: list[tuple[Received, asyncio.Future[None]]]) -> None:
        failure: _Refusal | None = None
        try:
            new = await self._in_thread(
                lambda ledger: observability.receive(ledger, [one for one, _ in batch], self._stop_words)
            )
            self.counts["stored"] += new
            self.counts["known"] += len(batch) - new
        except (LedgerError, ConfigurationError) as error:
            if len(batch) > 1 and type(error) is LedgerError:
                # One of them may be what the database does not take.
                for one in batch:
                    await self._write([one])
                return
            log.warning("%d callbacks could not be stored: %s", len(batch), error)
            failure = _Refusal(503, "ledger away")
        except Exception as error:
            # What it says may quote what was to be stored.
            log.error("%d callbacks could not be stored: %s", len(batch), type(error).__name__)
            failure = _Refusal(503, "failed")
        for _, stored in batch:
            if stored.done():
                continue  # nobody waits for it any more
            if failure:
                stored.set_exception(failure)
            else:
                stored.set_result(None)

    async def _look(self) -> None:
        """Look again for the messages of callbacks that came before these were recorded."""
        loop = asyncio.get_running_loop()
        try:
            pause = await self._in_thread(lambda ledger: callbacks.catch_up(ledger, self._stop_words))
        except Exception as error:
            log.warning("Callbacks that wait for their messages were not looked at: %s", type(error).__name__)
            pause = PAUSE
        self._look_at = None if pause is None else loop.time() + pause

    async def _in_thread(self, work: Callable[[Ledger], Any]) -> Any:
        def run() -> Any:
            if self._ledger is None:
                self._ledger = self._open_ledger()
            return work(self._ledger)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _count(self, kind: str) -> None:
        """Count what was refused; now and then a line of the log tells of it."""
        self.counts[kind] += 1
        observability.count("callbacks.refused", tags={"reason": kind.replace(" ", "_")})
        self._told[kind] += 1
        if time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + TOLD_EVERY
            log.warning("Callbacks refused: %s", ", ".join(f"{n} {what}" for what, n in self._told.items()))
            self._told.clear()


async def _read(scope: Scope, receive: Receive, query: bytes) -> Received:
    headers = {name.lower(): value for name, value in scope["headers"]}
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > LARGEST_CALLBACK:
        raise _Refusal(413, "too large")
    body = b"" if scope["method"] == "GET" else await _body(receive)
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
        return Received.read(body, content_type, dict(fields))
    except (UnreadableReplyError, ValueError):
        raise _Refusal(400, "unreadable") from None


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refusal(400, "broken off")
        body += message.get("body", b"")
        if len(body) > LARGEST_CALLBACK:
            raise _Refusal(413, "too large")
        if not message.get("more_body"):
            return bytes(body)


async def _answer(send: Send, status: int) -> None:
    said = {200: b"OK", 404: b"Not Found", 405: b"Method Not Allowed"}.get(status, b"Not taken")
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(said)).encode())]
    if status == 405:
        headers.append((b"allow", b"GET, POST"))
    if status == 503:
        headers.append((b"retry-after", b"60"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": said})


def configured(
    *, prefix: str = "", ledger_conn_id: str | None = None, ledger_path: str | None = None
) -> Receiver | None:
    """
    Give the receiver that ``[telekom_sms]`` in Airflow's configuration asks for; None without a secret.

    :param prefix: see :class:`Receiver`
    :param ledger_conn_id: Airflow connection of the ledger; None for what is configured
    :param ledger_path: path of a ledger's SQLite file, in place of a connection
    :raises ConfigurationError: for a secret that is none
    """
    if not (secrets := callback_secrets()):
        return None

    def open_ledger() -> Ledger:
        from sqlalchemy.engine import URL

        from airflow_provider_telekom_sms.ledger.location import find_outside_a_task, ledger_url

        if ledger_path is not None:
            return Ledger(URL.create("sqlite", database=ledger_path))
        return Ledger(ledger_url(ledger_conn_id, find=find_outside_a_task))

    return Receiver(secrets, open_ledger, prefix=prefix, stop_words=stop_words())
