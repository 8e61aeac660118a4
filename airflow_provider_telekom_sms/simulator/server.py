"""The simulator on a socket: the application, and a server in a thread or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from airflow_provider_telekom_sms.simulator import control, messages_v2
from airflow_provider_telekom_sms.simulator.callbacks import Callbacks
from airflow_provider_telekom_sms.simulator.endpoints import Answer, Call, answer
from airflow_provider_telekom_sms.simulator.faults import Fault
from airflow_provider_telekom_sms.simulator.judge import ENDPOINTS, WIRES, Incoming, judge
from airflow_provider_telekom_sms.simulator.misbehave import misbehaved
from airflow_provider_telekom_sms.simulator.records import RequestRecord
from airflow_provider_telekom_sms.simulator.replies import MEDIA_TYPES
from airflow_provider_telekom_sms.simulator.state import COOKIE, Settings, State

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
_START_SECONDS = 10.0
_IDLE_SECONDS = 60


@dataclass(frozen=True)
class Simulator:
    """
    A simulator that is listening.

    :param url: its base URL, without a slash at the end
    :param state: its memory, safe to use from any thread
    """

    url: str
    state: State


def build_app(state: State) -> Starlette:
    """
    Return the ASGI application.

    :param state: the simulator's memory
    """

    async def api(request: Request) -> Response:
        wire, endpoint = request.path_params["wire"], request.path_params["endpoint"]
        if wire not in WIRES or endpoint not in ENDPOINTS:
            return await elsewhere(request)
        if request.method not in ("POST", "GET"):
            state.note([f"{endpoint} ({wire} {request.method}) neither POST nor GET"])
            return PlainTextResponse("Method Not Allowed", 405)
        return await _serve_call(state, request, wire, endpoint)

    async def elsewhere(request: Request) -> Response:
        state.note([f"{request.method} {request.url.path} no such path"])
        return PlainTextResponse("Not Found", 404)

    async def messages(request: Request) -> Response:
        if request.method != "POST":
            state.note([f"messages (v2 {request.method}) not POST"])
            return PlainTextResponse("Method Not Allowed", 405)
        return await _serve_v2(state, request)

    async def phones(request: Request) -> Response:
        from airflow_provider_telekom_sms.simulator.page import page

        return HTMLResponse(page(state, str(request.base_url)))

    return Starlette(
        routes=[
            *control.routes(state),
            Route("/", phones, methods=["GET"]),
            Route("/v2/messages", messages, methods=_METHODS),
            Route("/{wire}/{endpoint}", api, methods=_METHODS),
            Route("/{path:path}", elsewhere, methods=_METHODS),
        ]
    )


async def _serve_call(state: State, request: Request, wire: str, endpoint: str) -> Response:
    try:
        body = await request.body()
    except ClientDisconnect:
        return Response()  # half a request is no request, and nobody reads this
    incoming = Incoming(
        wire=wire,
        endpoint=endpoint,
        method=request.method,
        query=request.scope["query_string"],
        content_type=request.headers.get("content-type", ""),
        body=body,
    )
    # Nothing waits between the last byte and the end of _handle: a message is taken even if its sender dies.
    answered, fault = _handle(state, incoming, request)
    return await _reply(state, answered, fault, MEDIA_TYPES[wire])


async def _serve_v2(state: State, request: Request) -> Response:
    try:
        body = await request.body()
    except ClientDisconnect:
        return Response()
    incoming = messages_v2.Incoming(
        key=request.headers.get("x-api-key"),
        content_type=request.headers.get("content-type", ""),
        query=request.scope["query_string"],
        body=body,
        client=request.client.host if request.client else "",
    )
    answered, fault = messages_v2.handle(state, incoming)
    return await _reply(state, answered, fault, MEDIA_TYPES["json"])


async def _reply(state: State, answered: Answer | None, fault: Fault | None, media_type: str) -> Response:
    if answered and state.settings.callback_before_reply:
        await _first_callbacks(state, answered.message_ids)
    if state.settings.latency_ms:
        await asyncio.sleep(state.settings.latency_ms / 1000)
    reply = None
    if answered:
        reply = Response(answered.body, answered.http_status, media_type=media_type)
        if answered.cookie:
            reply.set_cookie(COOKIE, answered.cookie, httponly=True)
    if fault:
        return misbehaved(fault, reply)
    return reply or Response(status_code=500)


async def _first_callbacks(state: State, message_ids: Iterable[int]) -> None:
    messages = filter(None, map(state.message, message_ids))
    waited_for = [m.id for m in messages if m.callback_urls.get("dsn") and m.begins_at_once]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(state.settings.callback_timeout + 1):
            # An event for each message would burden every send, for the sake of one test.
            while not all(map(state.was_called, waited_for)):  # noqa: ASYNC110
                await asyncio.sleep(0.005)


def _handle(state: State, incoming: Incoming, request: Request) -> tuple[Answer | None, Fault | None]:
    verdict = judge(incoming, allow_get=state.settings.allow_get)
    client = request.client.host if request.client else ""
    call = Call(incoming, verdict, client, request.cookies.get(COOKIE))
    to = verdict.values.get("to")
    with state.lock:
        state.note(verdict.violations)
        fault = state.choose_fault(incoming.endpoint, [to] if to else [])
        answered = None if fault and not fault.handled else answer(state, call, fault)
        ids = answered.message_ids if answered else []
        state.record(
            RequestRecord(
                time=time.time(),
                endpoint=incoming.endpoint,
                wire=incoming.wire,
                method=incoming.method,
                parameters=verdict.parameters,
                fault=fault.name if fault else None,
                code=answered.code if answered else None,
                message_id=ids[0] if ids else None,
                message_ids=ids,
            )
        )
    return answered, fault


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, state: State, on_start: Callable[[], None]) -> None:
        config = uvicorn.Config(
            build_app(state),
            access_log=False,
            lifespan="off",
            log_config=None,
            log_level="error",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=_IDLE_SECONDS,
            ws="none",
        )
        super().__init__(config)
        self._on_start = on_start
        self._callbacks = Callbacks(state)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._callbacks.start()
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, the callbacks first."""
        await self._callbacks.stop()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> tuple[socket.socket, str]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    name = f"[{host}]" if ":" in host else host
    return listener, f"http://{name}:{listener.getsockname()[1]}"


def run(settings: Settings, host: str, port: int, on_start: Callable[[str], None]) -> None:
    """
    Serve in the foreground until a signal ends it.

    :param settings: how the simulator behaves
    :param host: the address to listen on
    :param port: the port; 0 chooses one
    :param on_start: called with the URL once it listens
    """
    listener, url = _listen(host, port)
    with listener:
        _Server(State(settings), lambda: on_start(url)).run([listener])


@contextlib.contextmanager
def serve(settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Simulator]:
    """
    Serve in a thread of this process.

    :param settings: how the simulator behaves
    :param host: the address to listen on
    :param port: the port; 0 chooses one
    """
    state, listening = State(settings), threading.Event()
    listener, url = _listen(host, port)
    server = _Server(state, listening.set)
    thread = threading.Thread(target=server.run, args=([listener],), name="telekom-simulator", daemon=True)
    with listener:
        thread.start()
        try:
            if not listening.wait(_START_SECONDS):
                raise RuntimeError("the simulator did not start")
            yield Simulator(url, state)
        finally:
            server.should_exit = True
            thread.join(_START_SECONDS)
