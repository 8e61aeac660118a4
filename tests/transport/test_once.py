"""Neither client sends anything twice, or anywhere else, by itself."""

from __future__ import annotations

import socket
import struct

import pytest

from airflow_provider_telekom_sms.exceptions import ConnectionLostError, Fate, UnreadableReplyError

METHODS = pytest.mark.parametrize("method", ["POST", "GET"])


def reset(sock):
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@METHODS
@pytest.mark.parametrize("ending", ["fin", "rst"])
def test_dropped_after_the_request_was_read(raw, reply, settings, client, method, ending):
    def handle(sock, request):
        if len(server.requests) == 1:
            sock.sendall(reply())
            return True
        if ending == "rst":
            reset(sock)
        return False

    server = raw(handle)
    first, second = client.send(settings(server.url, auth="token", http_method=method), 2, retry_for=5)

    assert first.status == "success"
    assert isinstance(second, ConnectionLostError)
    assert second.fate is Fate.UNKNOWN
    assert len(server.requests) == 2
    assert server.connections == 1  # it was the kept connection that broke


@METHODS
def test_dropped_before_the_request_was_read(raw, reply, settings, client, method):
    def handle(sock, request):
        sock.sendall(reply())
        sock.recv(1, socket.MSG_PEEK)  # the second request is here, and is never read
        reset(sock)
        return False

    server = raw(handle)
    first, second = client.send(settings(server.url, auth="token", http_method=method), 2, retry_for=5)

    assert first.status == "success"
    assert isinstance(second, ConnectionLostError)
    assert second.fate is Fate.UNKNOWN
    assert (server.connections, len(server.requests)) == (1, 1)


@METHODS
def test_dropped_on_a_new_connection(raw, settings, client, method):
    server = raw(lambda sock, request: False)
    error = client.send_one(settings(server.url, auth="token", http_method=method), retry_for=5)
    assert isinstance(error, ConnectionLostError)
    assert (server.connections, len(server.requests)) == (1, 1)


@METHODS
def test_closed_while_nobody_looked(raw, reply, settings, client, method):
    """A kept connection that the server ended in between is noticed before anything is sent over it."""

    def handle(sock, request):
        sock.sendall(reply())
        return False

    server = raw(handle)
    outcomes = client.send(settings(server.url, auth="token", http_method=method), 3)
    seen = len(server.requests)
    taken = [o for o in outcomes if not isinstance(o, Exception)]
    lost = [o for o in outcomes if isinstance(o, ConnectionLostError)]
    assert len(taken) + len(lost) == 3
    assert len(taken) <= seen <= 3


@METHODS
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 T", "308 P"])
@pytest.mark.parametrize("location", ["/elsewhere", "http://["])
def test_no_redirect_is_followed(raw, reply, settings, client, method, status, location):
    server = raw(lambda sock, request: sock.sendall(reply(b"", status, Location=location)) is None)
    error = client.send_one(settings(server.url, auth="token", http_method=method), retry_for=5)
    assert isinstance(error, UnreadableReplyError)
    assert error.fate is Fate.UNKNOWN
    assert len(server.requests) == 1
