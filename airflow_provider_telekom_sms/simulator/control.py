"""
The simulator's own pages, for when it runs as a process; all JSON, under ``/_simulator/``.

=========================  ==================================================================================
GET  messages              every message taken; ``?number=4219…`` for one number
GET  requests              the requests received
GET  callbacks             the attempts to call a URL
GET  violations            the deviations from the manual
GET  summary               the counts
GET  faults                the faults on order
POST faults                order one (the options of ``faults.Fault``), or a list of them
DELETE faults              cancel all
POST reset                 forget everything but the settings
POST status                ``{"message_id": …, "code": …}`` or ``{"message_id": …, "fate": …}``
POST settings              change any of ``CHANGEABLE``
POST click                 ``{"message_id": …, "postbackData": …, "text": …}``; or a form of these, which is
                           led back to the page of phones
POST inbound               ``{"number": …, "text": …}``, ``channel`` if it is not sms
=========================  ==================================================================================
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from airflow_provider_telekom_sms.simulator.faults import from_json
from airflow_provider_telekom_sms.simulator.state import State


def _as_it_is(value: Any) -> Any:
    return value


CHANGEABLE: dict[str, Callable[[Any], Any]] = {
    "speed": float,
    "latency_ms": float,
    "session_seconds": float,
    "allow_get": bool,
    "deny_ip": bool,
    "fate": _as_it_is,
    "v2_reply": str,
    "rcs": str,
    "fallback_gap": float,
    "callback_url": _as_it_is,
    "inbound_url": _as_it_is,
    "callback_hosts": list,
    "callback_speed": float,
    "callback_timeout": float,
    "callback_duplicates": int,
    "callback_shuffle": bool,
    "callback_before_reply": bool,
    "callback_trailing_comma": bool,
    "postback_shape": str,
}
"""The settings that can be changed from outside, and how their values are read."""


def routes(state: State) -> list[Route]:
    """
    Return the routes of the simulator's own pages.

    :param state: the simulator's memory
    """

    def page(path: str, method: str, action: Callable[[Request, Any], Any]) -> Route:
        return Route(f"/_simulator/{path}", _page(action), methods=[method])

    return [
        page("messages", "GET", lambda request, _: _messages(state, request.query_params.get("number"))),
        page("requests", "GET", lambda _request, _: [asdict(record) for record in state.requests]),
        page("callbacks", "GET", lambda _request, _: [asdict(record) for record in state.callbacks]),
        page("violations", "GET", lambda _request, _: state.violations),
        page("summary", "GET", lambda _request, _: state.summary()),
        page("faults", "GET", lambda _request, _: _faults(state)),
        page("faults", "POST", lambda _request, orders: _order(state, orders)),
        page("faults", "DELETE", lambda _request, _: state.clear_faults()),
        page("reset", "POST", lambda _request, _: state.reset()),
        page("status", "POST", lambda _request, wanted: _set_status(state, wanted)),
        page("settings", "POST", lambda _request, wanted: _change(state, wanted)),
        page("click", "POST", lambda _request, wanted: _click(state, wanted)),
        page("inbound", "POST", lambda _request, wanted: state.inbound(**wanted)),
    ]


def _page(action: Callable[[Request, Any], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        try:
            body = (await request.body()).decode()
            # curl and urllib call JSON a form, too.
            if form and body and not body.lstrip().startswith(("{", "[")):
                action(request, dict(parse_qsl(body, keep_blank_values=True)))
                return RedirectResponse("/", 303)
            shown, status = action(request, json.loads(body) if body else {}), 200
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as exc:
            shown, status = {"error": f"{type(exc).__name__}: {exc}"}, 400
        # ASCII, since a text may hold half a surrogate pair, which UTF-8 cannot.
        return Response(json.dumps(shown), status, media_type="application/json")

    return page


def _messages(state: State, number: str | None) -> list[dict[str, Any]]:
    now, speed = time.time(), state.settings.speed
    return [message.shown(now, speed) for message in state.messages if number in (None, message.number)]


def _faults(state: State) -> list[dict[str, Any]]:
    return [fault.shown() for fault in state.faults]


def _order(state: State, orders: Any) -> list[dict[str, Any]]:
    for fault in [from_json(order) for order in (orders if isinstance(orders, list) else [orders])]:
        state.order(fault)
    return _faults(state)


def _set_status(state: State, wanted: dict[str, Any]) -> None:
    if "fate" in wanted:
        state.set_fate(wanted["message_id"], wanted["fate"])
    else:
        state.set_status(wanted["message_id"], wanted["code"])


def _click(state: State, wanted: dict[str, Any]) -> dict[str, Any]:
    return state.click(wanted["message_id"], wanted["postbackData"], wanted.get("text"))


def _change(state: State, wanted: dict[str, Any]) -> dict[str, Any]:
    if unknown := set(wanted) - set(CHANGEABLE):
        raise ValueError(f"cannot change {', '.join(sorted(unknown))}; only {', '.join(CHANGEABLE)}")
    values = {name: CHANGEABLE[name](value) for name, value in wanted.items()}
    replace(state.settings, **values)  # raises before anything is changed
    for name, value in values.items():
        setattr(state.settings, name, value)
    return {name: getattr(state.settings, name) for name in CHANGEABLE}
