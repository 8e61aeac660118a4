"""How a fault looks on the wire: responses that no well-behaved server gives."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from airflow_provider_telekom_sms.simulator.faults import Fault

PAGE = "<!DOCTYPE html>\n<html><head><title>Telekom</title></head><body><h1>Údržba</h1></body></html>\n"
_MEGABYTE = b" " * 2**20


def _transport(receive: Receive) -> Any:
    # ASGI cannot abort a connection. Under uvicorn ``receive`` is a method of its request cycle, which has
    # the connection's transport; middleware that wraps ``receive`` would break this.
    return receive.__self__.transport  # type: ignore[attr-defined]


async def _gone(receive: Receive) -> None:
    """Wait until the client has left, so that uvicorn knows that there is nobody to answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Abort(Response):
    """Abort the connection without a byte of reply."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run as an ASGI application."""
        _transport(receive).abort()
        await _gone(receive)


class Late(Response):
    """
    Reply after a long silence, or never if the client leaves before.

    :param inner: the reply
    :param seconds: how long to be silent
    """

    def __init__(self, inner: Response, seconds: float) -> None:
        super().__init__()
        self.inner, self.seconds = inner, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run as an ASGI application."""
        try:
            async with asyncio.timeout(self.seconds):
                await _gone(receive)
        except TimeoutError:
            await self.inner(scope, receive, send)
        except asyncio.CancelledError:
            await Abort()(scope, receive, send)  # the server is ending, and so does the silence


class Cut(Response):
    """
    Announce the whole reply, send half of it, close.

    :param inner: the reply
    """

    def __init__(self, inner: Response) -> None:
        super().__init__()
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run as an ASGI application."""
        status, headers = self.inner.status_code, self.inner.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        half = bytes(self.inner.body[: len(self.inner.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        _transport(receive).close()
        await _gone(receive)


class Huge(Response):
    """
    Reply, and go on with blanks.

    :param inner: the reply
    :param megabytes: how many
    """

    def __init__(self, inner: Response, megabytes: int) -> None:
        super().__init__()
        self.inner, self.megabytes = inner, megabytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run as an ASGI application."""
        headers = [(name, value) for name, value in self.inner.raw_headers if name != b"content-length"]
        status = self.inner.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": self.inner.body, "more_body": True})
        for _ in range(self.megabytes):
            await send({"type": "http.response.body", "body": _MEGABYTE, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def misbehaved(fault: Fault, reply: Response | None) -> Response:
    """
    Return what a fault makes of a reply.

    :param fault: the fault that hits the request
    :param reply: the API's reply; None if the API did not see the request
    """
    match fault.name:
        case "drop_before" | "drop_after":
            return Abort()
        case "hang":
            return Late(reply or Abort(), fault.seconds)
        case "429":
            return PlainTextResponse("Too Many Requests", 429, _retry_after(fault))
        case "503":
            return PlainTextResponse("Service Unavailable", 503)
        case "html":
            return Response(PAGE, media_type="text/html")
        case "redirect":
            return Response(status_code=302, headers={"location": fault.location})
        case "empty":
            return Response(b"")
    if reply is None:
        raise ValueError(f"{fault.name} needs a reply")
    match fault.name:
        case "cut":
            return Cut(reply)
        case "huge":
            return Huge(reply, fault.megabytes)
    return reply  # the other faults are in what the API answers


def _retry_after(fault: Fault) -> dict[str, str]:
    value = fault.retry_after
    if value is None:
        return {}
    if fault.as_date and not isinstance(value, str):
        return {"retry-after": formatdate(time.time() + value, usegmt=True)}
    return {"retry-after": f"{value:g}" if isinstance(value, float) else str(value)}
