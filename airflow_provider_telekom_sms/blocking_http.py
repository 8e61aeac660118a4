"""
``requests``, held to what a send needs: nothing repeated, nothing followed, and an end to every reply.

Apart from ``transport.py`` because these classes need ``requests`` and urllib3 when they are defined, and who
sends asynchronously must not wait for that import.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from airflow_provider_telekom_sms.transport import HEADERS, KEEPALIVE, NeverConnected, ssl_context

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import BaseHTTPResponse

    from airflow_provider_telekom_sms.settings import Settings

#: Connections that are kept; threads beyond them open and close their own.
_POOL_SIZE = 64


def requests_session(settings: Settings) -> requests.Session:
    """
    Give a session of ``requests``; threads may share it.

    :param settings: how to reach the API
    """
    session = _Session()
    # The environment would override proxies and verify, and add credentials from a .netrc file.
    session.trust_env = False
    session.headers.update(HEADERS)
    if settings.auth == "token":
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(ssl_context(settings.verify))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    logging.getLogger("urllib3.connectionpool").addFilter(_hide_query)
    return session


def _hide_query(record: logging.LogRecord) -> bool:
    """Take the query off urllib3's DEBUG records: with GET it holds the key, the number and the text."""
    if isinstance(record.args, tuple):
        record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
    return True


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Know of no redirect; else ``requests`` reads the whole body of one even if it may not follow."""


class _UntilDeadline(RawIOBase):
    """Reads a socket until its time-out has passed once; by itself, it begins anew with every byte."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + (sock.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Reply(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = BufferedReader(_UntilDeadline(sock))


class _HTTPConnection(HTTPConnection):
    """A connection that says whether it was ever made, and is not used again after a long rest."""

    response_class = _Reply
    _used = 0.0

    def connect(self) -> None:
        failure: Exception
        try:
            super().connect()
        except Exception as error:
            failure = error
        else:
            self._used = time.monotonic()
            return
        # urllib3 lets this pass untouched. Its own errors do not tell reliably: one through a proxy that lost
        # its connection after the request left looks like one that was never connected.
        raise NeverConnected(failure)

    def getresponse(self) -> BaseHTTPResponse:  # type: ignore[override]
        reply = super().getresponse()
        self._used = time.monotonic()
        return reply

    @property
    def is_connected(self) -> bool:
        return super().is_connected and time.monotonic() - self._used < KEEPALIVE


class _HTTPSConnection(_HTTPConnection, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Adapter(HTTPAdapter):
    """Takes TLS from one context only; ``requests`` would read the CA bundle for each connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(max_retries=0, pool_maxsize=_POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        pass
