"""
Runs the calls of ``api/`` over real sockets: ``requests`` for single calls, aiohttp for many in flight.

The only place that retries. A request is sent again only when it surely never arrived: no connection was
made, or HTTP 429. Neither client may resend or follow a redirect by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode
from urllib.request import getproxies, proxy_bypass

import tenacity

from airflow_provider_telekom_sms import __version__
from airflow_provider_telekom_sms.api import v1
from airflow_provider_telekom_sms.api.http import (
    Call,
    Credential,
    Request,
    Response,
    Session,
    SessionNeeded,
    T,
    in_session,
)
from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    ConnectionLostError,
    NotConnectedError,
    RateLimitedError,
    ReplyTimeoutError,
    TelekomSmsError,
    UnreadableReplyError,
)
from airflow_provider_telekom_sms.pacing import Pace
from airflow_provider_telekom_sms.settings import CONNECT_TIMEOUT, Settings

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

log = logging.getLogger(__name__)

#: Seconds during which a request that surely never arrived is tried again.
RETRY_FOR = 60.0
#: A reply of the API has a few hundred bytes; the longest list of groups some hundred kilobytes.
MAX_REPLY_BYTES = 1 << 20
#: A session lives 15 minutes without use (manual v1, auth); it is refreshed in good time.
PING_AFTER_IDLE = 600.0
#: What both clients send with every request. A reply is too short to be worth packing.
HEADERS = {"User-Agent": f"airflow-provider-telekom-sms/{__version__}", "Accept-Encoding": "identity"}
#: What is read of a reply's headers.
READ_HEADERS = ("content-type", "content-encoding", "retry-after")
#: Below the keep-alive of common servers, so that a connection is rarely found dead when it is used.
KEEPALIVE = 15.0


class NeverConnected(Exception):
    """
    What both clients raise for any trouble in making a connection, and for nothing else.

    :param cause: the trouble
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


def retry_policy(retry_for: float) -> dict[str, Any]:
    """
    Give the one retry policy of the package, for both transports.

    :param retry_for: seconds; no try begins after them
    """

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None) or 0.0
        backoff = min(0.25 * 2.0 ** (state.attempt_number - 1), 10.0)
        # Jitter upwards: many workers that were told the same second must not come back in the same one.
        return float(max(asked, backoff) + random.uniform(0, backoff))  # noqa: S311 not for secrets

    return {
        "retry": tenacity.retry_if_exception_type((NotConnectedError, RateLimitedError)),
        "wait": wait,
        "stop": tenacity.stop_before_delay(retry_for),
        "before_sleep": _log_retry,
        "reraise": True,
    }


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    # Who waits for a server that is not there should know it; the rest is the daily bread of a busy API.
    first_refusal = state.attempt_number == 1 and isinstance(error, NotConnectedError)
    log.log(
        logging.WARNING if first_refusal else logging.DEBUG,
        "Trying again in %.1f s: %s",
        state.upcoming_sleep,
        error,
    )


def parse_retry_after(value: str | None) -> float | None:
    """
    Read a Retry-After header (RFC 9110): seconds or a date.

    :param value: the header, None if there is none
    :return: seconds from now, None where it cannot be read
    """
    if not value:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, float(int(value)))
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _check(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> None:
    # Of many recipients the API may have taken some before it had enough; then it names their messages.
    if status == 429 and b'"messages"' not in body:
        raise RateLimitedError(
            "HTTP 429: too many requests", retry_after=parse_retry_after(headers.get("retry-after"))
        )


def _unpacked(body: bytes, coding: str) -> bytes:
    """
    Unpack a body that was packed although nobody asked for it.

    :raises UnreadableReplyError: for another coding, another content, or a body that would be too long
    """
    if coding in ("", "identity"):
        return body
    if coding in ("gzip", "x-gzip", "deflate"):
        with contextlib.suppress(zlib.error):
            reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            plain = reader.decompress(body, MAX_REPLY_BYTES)
            if reader.eof:
                return plain
    raise UnreadableReplyError("The reply cannot be read: its Content-Encoding does not fit its body")


class _Body(bytearray):
    """The body of a reply while it arrives."""

    def add(self, chunk: bytes) -> None:
        self += chunk
        if len(self) > MAX_REPLY_BYTES:
            raise UnreadableReplyError(f"The reply is longer than {MAX_REPLY_BYTES} bytes")


@lru_cache(maxsize=8)
def ssl_context(verify: bool | str) -> ssl.SSLContext:
    """
    Give the TLS context for a ``verify`` setting; made once, since reading the CA bundle costs 40 ms.

    :param verify: True (the CA bundle of certifi), False, or the path of a CA file or directory
    """
    import certifi

    path = certifi.where() if isinstance(verify, bool) else verify
    try:
        context = (
            ssl.create_default_context(capath=path)
            if Path(path).is_dir()
            else ssl.create_default_context(cafile=path)
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"verify: no CA certificates can be read from {path!r}") from error
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Base:
    """What both transports share: the settings, the session, addresses and errors."""

    def __init__(
        self, settings: Settings, session: Session | None = None, *, retry_for: float = RETRY_FOR
    ) -> None:
        self.settings = settings
        self.session = session or Session()
        self._retry, self._retry_for = retry_policy(retry_for), retry_for
        self._proxy = settings.proxy or self._environment_proxy()
        self._token = settings.token.encode()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.settings.base_url}>"

    def _environment_proxy(self) -> str | None:
        scheme, _, host = self.settings.base_url.partition("://")
        # Resolved once: the clients would look the environment up for every request.
        proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        if not proxy:
            return None
        kind, separator, _ = proxy.partition("://")
        if not separator:
            return f"http://{proxy}"
        if kind not in ("http", "https"):
            raise ConfigurationError(
                f"{scheme.upper()}_PROXY of the environment is a {kind} proxy; allowed: http, https; "
                "set the connection's extra 'proxy', or NO_PROXY"
            )
        return proxy

    def call(self, make: Callable[[Credential], Call[T]]) -> Call[T]:
        """
        Give a call its credential: the shared session, or the key itself with ``auth=token``.

        :param make: makes the call for a credential
        """
        if self.settings.auth == "session":
            return in_session(make, self.session)
        return make({"token": self.settings.token})

    def _pause(self) -> float:
        """Give the seconds to wait for a session: who wore one out together must not come back as one."""
        in_vain = self.session.in_vain
        return random.uniform(0, 0.05 * in_vain) if in_vain > 1 else 0.0  # noqa: S311 not for secrets

    def _url(self, request: Request) -> str:
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        return f"{self.settings.base_url}{request.path}{query}"

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> Response:
        """Make what the calls read; the key goes no further, whatever the API repeats in its descriptions."""
        body = _unpacked(body, headers.get("content-encoding", "").strip().lower())
        return Response(status, headers, body.replace(self._token, b"***") if len(self._token) > 15 else body)

    # No message below quotes the client's own: it may hold the URL, which in GET holds key and text.
    def _failure(self, error: Exception) -> TelekomSmsError:
        if isinstance(error, NeverConnected):
            return self._not_connected(error.cause)
        if isinstance(error, TimeoutError):
            return ReplyTimeoutError(
                f"{self.settings.base_url}: no whole reply in {self.settings.timeout:g} s"
            )
        # Whatever it is, it came after the request may have left.
        return ConnectionLostError(
            f"{self.settings.base_url}: the connection broke after the request left ({_reason(error)})"
        )

    def _not_connected(self, cause: Exception) -> TelekomSmsError:
        for error in _chain(cause):
            # aiohttp has an error of that type too, but without the message.
            if problem := getattr(error, "verify_message", ""):
                return ConfigurationError(
                    f"{self.settings.base_url}: the server's certificate is not trusted ({problem}); "
                    "set the connection's extra 'verify' to the CA file that signed it"
                )
        through = " through the proxy" if self._proxy else ""
        return NotConnectedError(
            f"{self.settings.base_url}: no connection could be made{through} ({_reason(cause)})"
        )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(error: BaseException) -> str:
    """Name an error by what the operating system says of it, which is never a URL, or by its type."""
    said = (cause.strerror for cause in _chain(error) if isinstance(cause, OSError))
    return next(filter(None, said), type(error).__name__)


class Transport(_Base):
    """
    Runs calls one at a time with ``requests``; fit for threads.

    :param settings: how to reach the API
    :param session: the session to share, a new one by default
    :param retry_for: seconds during which a request that never arrived is tried again
    """

    def __init__(
        self, settings: Settings, session: Session | None = None, *, retry_for: float = RETRY_FOR
    ) -> None:
        from airflow_provider_telekom_sms.blocking_http import requests_session

        super().__init__(settings, session, retry_for=retry_for)
        self._http = requests_session(settings)
        self._lock = threading.Lock()
        self._login: Future[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, call: Call[T]) -> T:
        """
        Run a call to its end.

        :param call: a call of ``api/``
        :raises TelekomSmsError: what the call, or the way to the API, raises
        """
        try:
            asked = next(call)
            while True:
                try:
                    answer = self._answer(asked)
                except TelekomSmsError as error:
                    asked = call.throw(error)
                else:
                    asked = call.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _answer(self, asked: Request | SessionNeeded) -> Response | str:
        if isinstance(asked, SessionNeeded):
            return self._session_id()
        return tenacity.Retrying(**self._retry)(self._exchange, asked)

    def _session_id(self) -> str:
        if pause := self._pause():
            time.sleep(pause)
        with self._lock:
            if self.session.id is not None:
                return self.session.id
            # All who wait share one login, and its failure.
            login, begins = self._login or Future(), self._login is None
            self._login = login
        if begins:
            self._log_in(login)
        return login.result()

    def _log_in(self, login: Future[str]) -> None:
        try:
            session_id = self.run(v1.auth(self.settings.wire, self.settings.token))
            self.session.begin(session_id)
        except BaseException as error:
            login.set_exception(error)
        else:
            login.set_result(session_id)
        finally:
            self._login = None

    def _exchange(self, request: Request) -> Response:
        failure: TelekomSmsError
        try:
            return self._send(request)
        except TelekomSmsError:
            raise
        except Exception as error:
            failure = self._failure(_told(error))
        # Raised out here so that the client's own error, which may quote the URL, is not chained to it.
        raise failure

    def _send(self, request: Request) -> Response:
        with self._http.request(
            request.method,
            self._url(request),
            data=request.body,
            headers=dict(request.headers),
            timeout=(CONNECT_TIMEOUT, self.settings.timeout),
            allow_redirects=False,
            stream=True,
            proxies={"http": self._proxy, "https": self._proxy} if self._proxy else None,
        ) as reply:
            headers = {name.lower(): value for name, value in reply.headers.items()}
            body = _Body()
            for chunk in reply.raw.stream(65536, decode_content=False):
                body.add(chunk)
        _check(reply.status_code, headers, body)
        return self._reply(reply.status_code, headers, bytes(body))


def _told(error: Exception) -> Exception:
    """Tell a time-out, for which ``requests`` and urllib3 have classes of their own."""
    import requests
    import urllib3

    late = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)
    return TimeoutError() if late else error


class AsyncTransport(_Base):
    """
    Runs calls side by side on one event loop with aiohttp; use it as an asynchronous context manager.

    :param settings: how to reach the API
    :param session: the session to share, a new one by default
    :param retry_for: seconds during which a request that never arrived is tried again
    :param connections: how many connections may be open at once
    :ivar pace: lets requests leave; transports with one key on one event loop may share one
    """

    def __init__(
        self,
        settings: Settings,
        session: Session | None = None,
        *,
        retry_for: float = RETRY_FOR,
        connections: int = 16,
    ) -> None:
        super().__init__(settings, session, retry_for=retry_for)
        self._connections = connections
        self._login: asyncio.Task[str] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._used = time.monotonic()

    async def __aenter__(self) -> Self:
        # The context is built in a thread: it would block a triggerer's loop.
        context = await asyncio.to_thread(ssl_context, self.settings.verify)
        self._http, self._cookies = _aiohttp_session(self.settings, context), _Cookies()
        # Who waits for a connection waits here, where no time-out can be taken for one of a request.
        self.pace = Pace(self._connections, self._retry_for)
        self._login = self._keeper = None
        if self.settings.auth == "session":
            self._keeper = asyncio.create_task(self._keep_session())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._keeper, self._login) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self._http.close()

    async def log_in(self) -> None:
        """
        Make sure of a session, so that trouble with the key shows before any message is touched.

        :raises TelekomSmsError: what the login raises
        """
        if self.settings.auth == "session":
            await self._session_id()

    def break_off(self) -> None:
        """Try nothing again, and let nothing wait that has not left; what is under way is awaited."""
        self.pace.break_off()

    async def run(self, call: Call[T]) -> T:
        """
        Run a call to its end.

        :param call: a call of ``api/``
        :raises TelekomSmsError: what the call, or the way to the API, raises
        """
        try:
            asked = next(call)
            while True:
                try:
                    answer = await self._answer(asked)
                except TelekomSmsError as error:
                    asked = call.throw(error)
                else:
                    asked = call.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def _answer(self, asked: Request | SessionNeeded) -> Response | str:
        if isinstance(asked, SessionNeeded):
            return await self._session_id()
        try:
            return await self._exchange(asked)
        except (NotConnectedError, RateLimitedError) as first:
            return await self._again(asked, first)

    async def _again(self, request: Request, first: TelekomSmsError) -> Response:
        """Retry; apart, because tenacity costs more than a send and nearly none needs it."""
        failures = iter([first])

        async def exchange() -> Response:
            for failure in failures:
                raise failure
            return await self._exchange(request)

        return await tenacity.AsyncRetrying(**self._retry, sleep=self.pace.sleep)(exchange)

    async def _session_id(self) -> str:
        if pause := self._pause():
            await asyncio.sleep(pause)
        if self.session.id is not None:
            return self.session.id
        # All who wait share one login, and its failure.
        if self._login is None:
            self._login = asyncio.create_task(self._log_in())
            self._login.add_done_callback(self._login_done)
        login = self._login
        try:
            return await asyncio.shield(login)
        except asyncio.CancelledError:
            if login.cancelled():
                self._raise_closed()
            raise

    def _raise_closed(self) -> None:
        """Tell the calls that are still waiting for a login; who is cancelled itself goes on with that."""
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            raise NotConnectedError("The transport was closed before the login was done") from None

    def _login_done(self, task: asyncio.Task[str]) -> None:
        self._login = None
        if not task.cancelled():
            task.exception()  # its waiters raise it; with none left it must not be reported as lost

    async def _log_in(self) -> str:
        session_id = await self.run(v1.auth(self.settings.wire, self.settings.token))
        self.session.begin(session_id)
        return session_id

    async def _keep_session(self) -> None:
        while True:
            await asyncio.sleep(max(PING_AFTER_IDLE / 10, self._used + PING_AFTER_IDLE - time.monotonic()))
            if self.session.id is None or time.monotonic() - self._used < PING_AFTER_IDLE:
                continue
            try:
                await self.run(v1.ping(self.settings.wire, {"session_id": self.session.id}))
            except TelekomSmsError as error:
                log.debug("The session was not refreshed: %s", error)
                self._used = time.monotonic()

    async def _exchange(self, request: Request) -> Response:
        failure: TelekomSmsError
        pace = self.pace
        began = await pace.begin()
        self._used = time.monotonic()
        try:
            reply = await self._send(request)
            pace.answered()
            return reply
        except RateLimitedError as error:
            pace.slow_down(began, error.retry_after)
            raise
        except TelekomSmsError:
            raise
        except Exception as error:
            failure = self._failure(error)
        finally:
            pace.end()
        # Raised out here so that the client's own error, which may quote the URL, is not chained to it.
        raise failure

    async def _send(self, request: Request) -> Response:
        _connected.set(False)
        async with self._http.request(
            request.method,
            _parsed(self._url(request)),
            data=request.body,
            headers={**request.headers, **self._cookies.header},
            proxy=self._proxy,
            allow_redirects=False,
        ) as reply:
            headers = {name: reply.headers[name] for name in READ_HEADERS if name in reply.headers}
            if self.settings.auth == "session" and (given := reply.headers.getall("set-cookie", ())):
                self._cookies.take(given)
            body = _Body()
            async for chunk in reply.content.iter_any():
                body.add(chunk)
        _check(reply.status, headers, body)
        return self._reply(reply.status, headers, bytes(body))


class _Cookies:
    """
    The cookies of one server; what cannot be read or sent back is left out, and never costs a reply.

    aiohttp's own jar looks for them by host, path and age, which cost a tenth of a message.
    """

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        #: The header that sends them back; empty while there are none.
        self.header: dict[str, str] = {}

    def take(self, headers: Iterable[str]) -> None:
        """
        Take what a reply sets and deletes (RFC 6265).

        :param headers: its ``Set-Cookie``
        """
        for header in headers:
            pair, *attributes = header.split(";")
            name, equals, value = (part.strip() for part in pair.partition("="))
            self._held.pop(name, None)
            if name and equals and pair.strip().isprintable() and not _is_over(attributes):
                self._held[name] = value
        cookies = "; ".join(f"{name}={value}" for name, value in self._held.items())
        self.header = {"Cookie": cookies} if cookies else {}


def _is_over(attributes: list[str]) -> bool:
    """Tell whether a cookie's time is over already: so a server deletes it."""
    given = {name.strip().lower(): value.strip() for name, _, value in (a.partition("=") for a in attributes)}
    if re.fullmatch(r"-?\d+", age := given.get("max-age", "")):
        return int(age[:10]) <= 0
    return parse_retry_after(given.get("expires")) == 0.0


@lru_cache(maxsize=8)
def _parsed(url: str) -> URL:
    """Give a URL as aiohttp wants it; with POST it is the same for all messages."""
    from yarl import URL

    return URL(url, encoded=True)


#: Whether the request under way was given a connection; it gets no second one.
_connected: ContextVar[bool] = ContextVar("telekom_sms_connected", default=False)


def _aiohttp_session(settings: Settings, context: ssl.SSLContext) -> aiohttp.ClientSession:
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        async def connect(self, *args: Any, **kwargs: Any) -> Any:
            if _connected.get():
                # aiohttp repeats a GET by itself when it is not answered, and offers no public switch.
                raise aiohttp.ClientConnectionError
            _connected.set(True)
            failure: Exception
            try:
                return await super().connect(*args, **kwargs)
            except Exception as error:
                failure = error
            raise NeverConnected(failure)

    connector = Connector(ssl=context, limit=0, keepalive_timeout=KEEPALIVE)  # no limit: the transport counts
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=CONNECT_TIMEOUT + settings.timeout, connect=CONNECT_TIMEOUT, sock_read=settings.timeout
        ),
        headers=HEADERS,
        auto_decompress=False,
        trust_env=False,
    )
