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
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self
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
from airflow_provider_telekom_sms.settings import CONNECT_TIMEOUT, Settings

if TYPE_CHECKING:
    import aiohttp
    import requests

log = logging.getLogger(__name__)

#: Seconds during which a request that surely never arrived is tried again.
RETRY_FOR = 60.0
#: A reply of the API has a few hundred bytes; the longest list of groups some hundred kilobytes.
MAX_REPLY_BYTES = 1 << 20
#: A session lives 15 minutes without use (manual v1, auth); it is refreshed in good time.
PING_AFTER_IDLE = 600.0
USER_AGENT = f"airflow-provider-telekom-sms/{__version__}"
#: Below the keep-alive of common servers, so that a connection is rarely found dead when it is used.
KEEPALIVE = 15.0


@dataclass
class Session:
    """The session id that all calls with one key share, and what is told when a new one comes."""

    id: str | None = None
    on_login: Callable[[str], None] = lambda _: None
    logins: int = 0

    def __repr__(self) -> str:
        return f"<Session {'open' if self.id else 'none'}>"

    def begin(self, session_id: str) -> None:
        self.on_login(session_id)
        self.id = session_id
        self.logins += 1


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
    log.debug("Trying again in %.1f s: %s", state.upcoming_sleep, error)


def parse_retry_after(value: str | None) -> float | None:
    """
    Read a Retry-After header (RFC 9110): seconds or a date.

    :param value: the header, None if there is none
    :return: seconds from now, None where it cannot be read
    """
    if not value:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(int(value)))
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _check(status: int, headers: Mapping[str, str]) -> None:
    if status == 429:
        raise RateLimitedError(
            "HTTP 429: too many requests", retry_after=parse_retry_after(headers.get("retry-after"))
        )


def _too_long() -> NoReturn:
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
        self._retry = retry_policy(retry_for)
        self._proxy = settings.proxy or self._environment_proxy()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.settings.base_url}>"

    def _environment_proxy(self) -> str | None:
        scheme, _, host = self.settings.base_url.partition("://")
        # Resolved once: the clients would look the environment up for every request.
        return None if proxy_bypass(host) else getproxies().get(scheme)

    def call(self, make: Callable[[Credential], Call[T]]) -> Call[T]:
        """
        Give a call its credential: the shared session, or the key itself with ``auth=token``.

        :param make: makes the call for a credential
        """
        return in_session(make) if self.settings.auth == "session" else make({"token": self.settings.token})

    def _url(self, request: Request) -> str:
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        return f"{self.settings.base_url}{request.path}{query}"

    # No message below quotes the client's own: it may hold the URL, which in GET holds key and text.
    def _not_connected(self, error: BaseException) -> TelekomSmsError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"{self.settings.base_url}: the server's certificate is not trusted "
                f"({error.verify_message}); "
                "set the connection's extra 'verify' to the CA file that signed it"
            )
        return NotConnectedError(f"{self.settings.base_url}: no connection could be made ({_kind(error)})")

    def _lost(self, error: BaseException) -> TelekomSmsError:
        return ConnectionLostError(
            f"{self.settings.base_url}: the connection broke after the request left ({_kind(error)})"
        )

    def _timed_out(self) -> TelekomSmsError:
        return ReplyTimeoutError(f"{self.settings.base_url}: no whole reply in {self.settings.timeout:g} s")


def _kind(error: BaseException) -> str:
    return type(error).__name__


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
        super().__init__(settings, session, retry_for=retry_for)
        self._http = _requests_session(settings)
        self._login = threading.Lock()

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
            return self._session_id(asked.refused)
        return tenacity.Retrying(**self._retry)(self._exchange, asked)

    def _session_id(self, refused: str | None) -> str:
        with self._login:
            if self.session.id is None or self.session.id == refused:
                self.session.begin(self.run(v1.auth(self.settings.wire, self.settings.token)))
            return str(self.session.id)

    def _exchange(self, request: Request) -> Response:
        failure: TelekomSmsError
        try:
            return self._send(request)
        except TelekomSmsError:
            raise
        except Exception as error:
            failure = self._classify(error)
        # Raised out here so that the client's own error, which may quote the URL, is not chained to it.
        raise failure

    def _send(self, request: Request) -> Response:
        deadline = time.monotonic() + CONNECT_TIMEOUT + self.settings.timeout
        with self._http.request(
            request.method,
            self._url(request),
            data=request.body,
            headers=dict(request.headers),
            timeout=(CONNECT_TIMEOUT, self.settings.timeout),
            allow_redirects=False,
            stream=True,
            verify=bool(self.settings.verify),
            proxies={"http": self._proxy, "https": self._proxy} if self._proxy else None,
        ) as reply:
            headers = {name.lower(): value for name, value in reply.headers.items()}
            _check(reply.status_code, headers)
            body = bytearray()
            for chunk in reply.iter_content(65536):
                body += chunk
                if len(body) > MAX_REPLY_BYTES:
                    _too_long()
                if time.monotonic() > deadline:
                    raise self._timed_out()
            return Response(reply.status_code, headers, bytes(body))

    def _classify(self, error: Exception) -> TelekomSmsError:
        import requests
        from urllib3 import exceptions as urllib3

        cause: Any = error.args[0] if error.args else error
        reason = getattr(cause, "reason", None)
        if isinstance(reason, urllib3.SSLError) and reason.args:
            reason = reason.args[0]
        # A ProxyError means that the proxy itself was never reached.
        never = (
            urllib3.NewConnectionError,
            urllib3.ConnectTimeoutError,
            urllib3.ProxyError,
            ssl.SSLCertVerificationError,
        )
        if isinstance(reason, never):
            return self._not_connected(reason)
        if isinstance(error, requests.exceptions.Timeout) or isinstance(cause, urllib3.ReadTimeoutError):
            return self._timed_out()
        if isinstance(error, requests.exceptions.ContentDecodingError):
            return UnreadableReplyError("The reply's Content-Encoding does not match its body")
        if isinstance(error, requests.exceptions.RequestException | OSError | urllib3.HTTPError):
            return self._lost(error)
        raise error


def _requests_session(settings: Settings) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        """Takes TLS from one context only; ``requests`` would read the CA bundle for each connection."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=ssl_context(settings.verify), **kwargs)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, ssl_context=ssl_context(settings.verify), **kwargs)

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
            host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
            return host, {}

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            pass

    session = requests.Session()
    # The environment would override proxies and verify, and add credentials from a .netrc file.
    session.trust_env = False
    session.headers["User-Agent"] = USER_AGENT
    adapter = Adapter(max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    logging.getLogger("urllib3.connectionpool").addFilter(_hide_query)
    return session


def _hide_query(record: logging.LogRecord) -> bool:
    """Take the query off urllib3's DEBUG records: with GET it holds the key, the number and the text."""
    if isinstance(record.args, tuple):
        record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
    return True


class AsyncTransport(_Base):
    """
    Runs calls side by side on one event loop with aiohttp; use it as an asynchronous context manager.

    :param settings: how to reach the API
    :param session: the session to share, a new one by default
    :param retry_for: seconds during which a request that never arrived is tried again
    :param connections: how many connections may be open at once
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
        self._http = _aiohttp_session(self.settings, context, self._connections)
        if self.settings.auth == "session":
            self._keeper = asyncio.create_task(self._keep_session())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._keeper, self._login):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, TelekomSmsError):
                    await task
        await self._http.close()

    async def log_in(self) -> None:
        """
        Make sure of a session, so that trouble with the key shows before any message is touched.

        :raises TelekomSmsError: what the login raises
        """
        if self.settings.auth == "session":
            await self._session_id(None)

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
            return await self._session_id(asked.refused)
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

        return await tenacity.AsyncRetrying(**self._retry)(exchange)

    async def _session_id(self, refused: str | None) -> str:
        current = self.session.id
        if current is not None and current != refused:
            return current
        # All who wait share one login, and its failure.
        if self._login is None:
            self._login = asyncio.create_task(self._log_in())
            self._login.add_done_callback(self._login_done)
        return await asyncio.shield(self._login)

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
            await asyncio.sleep(max(1.0, self._used + PING_AFTER_IDLE - time.monotonic()))
            if self.session.id is None or time.monotonic() - self._used < PING_AFTER_IDLE:
                continue
            try:
                await self.run(v1.ping(self.settings.wire, {"session_id": self.session.id}))
            except TelekomSmsError as error:
                log.debug("The session was not refreshed: %s", error)
                self._used = time.monotonic()

    async def _exchange(self, request: Request) -> Response:
        self._used = time.monotonic()
        failure: TelekomSmsError
        try:
            return await self._send(request)
        except TelekomSmsError:
            raise
        except Exception as error:
            failure = self._classify(error)
        # Raised out here so that the client's own error, which may quote the URL, is not chained to it.
        raise failure

    async def _send(self, request: Request) -> Response:
        from yarl import URL

        async with self._http.request(
            request.method,
            URL(self._url(request), encoded=True),
            data=request.body,
            headers=request.headers,
            proxy=self._proxy,
            allow_redirects=False,
        ) as reply:
            headers = {name.lower(): value for name, value in reply.headers.items()}
            _check(reply.status, headers)
            body = bytearray()
            async for chunk in reply.content.iter_any():
                body += chunk
                if len(body) > MAX_REPLY_BYTES:
                    _too_long()
            return Response(reply.status, headers, bytes(body))

    def _classify(self, error: Exception) -> TelekomSmsError:
        import aiohttp

        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return self._not_connected(error.certificate_error)
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return self._not_connected(error)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return self._not_connected(error)
        if isinstance(error, TimeoutError):
            return self._timed_out()
        if isinstance(error, aiohttp.ClientError | OSError):
            return self._lost(error)
        raise error


def _aiohttp_session(settings: Settings, context: ssl.SSLContext, connections: int) -> aiohttp.ClientSession:
    import aiohttp

    connector = aiohttp.TCPConnector(
        ssl=context,
        limit=connections,
        keepalive_timeout=KEEPALIVE,
        # aiohttp repeats a GET by itself when a kept connection turns out dead, and offers no public switch.
        force_close=settings.wire.http_method == "GET",
    )
    jar = (
        aiohttp.DummyCookieJar()
        if settings.auth == "token"
        else aiohttp.CookieJar(unsafe=True)  # a host given as an IP address has cookies too
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=jar,
        timeout=aiohttp.ClientTimeout(
            total=CONNECT_TIMEOUT + settings.timeout,
            sock_connect=CONNECT_TIMEOUT,
            sock_read=settings.timeout,
        ),
        headers={"User-Agent": USER_AGENT},
        trust_env=False,
    )
