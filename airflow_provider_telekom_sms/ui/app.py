"""
The page: an application of FastAPI behind Airflow's own login and permissions.

::

    /                     campaigns, newest first           /c/7            one campaign
    /c/7/rows             its messages                      /c/7/doubts     what is in doubt, to be settled
    /c/7/change           pause, resume, cancel             /by-name?id=…   leads to a campaign
    /static/…             style, script, icons

A campaign is known by its number in the ledger: its id may be anything, and may be personal. What is read and
written takes threads of its own, so that a slow ledger never holds up Airflow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, cast

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from sqlalchemy.engine import URL
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as AnyHTTPException

from airflow_provider_telekom_sms.ui.access import Seal, Visitor, visitor_of
from airflow_provider_telekom_sms.ui.desk import Desk
from airflow_provider_telekom_sms.ui.mount import Application, Receive, Scope, Send
from airflow_provider_telekom_sms.ui.source import Source

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not none at all: browsers would no longer say where a form comes from.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def visitor(user: GetUserDep) -> Visitor:
    """Give who asks; refuse whom Airflow does not let see campaigns."""
    if found := visitor_of(user):
        return found
    raise HTTPException(403, "You may not see campaigns. Whoever may see the runs of all DAGs may.")


def campaign_number(number: str) -> int:
    """Read a campaign's number; Python reads none of thousands of digits."""
    if not re.fullmatch(r"\d{1,19}", number, re.ASCII):
        raise HTTPException(404, "There is no such campaign; it may have been purged.")
    return int(number)


Who = Annotated[Visitor, Depends(visitor)]
Number = Annotated[int, Depends(campaign_number)]


def build(find_url: Callable[[], URL] | None = None) -> Application:
    """
    Build the page.

    :param find_url: tells where the ledger is; None for what Airflow's configuration says
    """
    from airflow.api_fastapi.auth.tokens import get_signing_key
    from airflow.providers.common.compat.sdk import conf

    seal = Seal(get_signing_key("api", "secret_key"))
    base_url = conf.get("api", "base_url", fallback="") or ""
    app = application(Desk(Source(find_url or _configured_url), seal, base_url))
    return guarded(cast(Application, app))


def _configured_url() -> URL:
    from airflow_provider_telekom_sms.ledger.location import find_outside_a_task, ledger_url

    return ledger_url(find=find_outside_a_task)


def guarded(app: Application) -> Application:
    """Say with every answer of an application what browsers may do with it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, send_guarded)

    return answer


def application(desk: Desk) -> FastAPI:
    """
    Give the application, as yet without :data:`HEADERS`.

    :param desk: answers
    """
    app = FastAPI(title="Telekom SMS campaigns", openapi_url=None, docs_url=None, redoc_url=None)
    app.add_exception_handler(AnyHTTPException, desk.refuse)

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        return desk.static(name)

    @app.get("/")
    async def campaigns(request: Request, who: Who) -> Response:
        return await desk.answer(request, who, desk.campaigns)

    @app.get("/by-name")
    async def by_name(request: Request, who: Who) -> Response:
        return await desk.answer(request, who, desk.by_name)

    @app.get("/c/{number}")
    async def campaign(request: Request, who: Who, number: Number) -> Response:
        return await desk.answer(request, who, desk.campaign, number)

    @app.get("/c/{number}/rows")
    async def rows(request: Request, who: Who, number: Number) -> Response:
        return await desk.answer(request, who, desk.rows, number)

    @app.get("/c/{number}/doubts")
    async def doubts(request: Request, who: Who, number: Number) -> Response:
        return await desk.answer(request, who, desk.doubts, number)

    @app.post("/c/{number}/doubts")
    async def settle(request: Request, who: Who, number: Number) -> Response:
        return await desk.answer(request, who, desk.settle, number)

    @app.get("/c/{number}/change")
    async def changing(request: Request, who: Who, number: Number) -> Response:
        return await desk.answer(request, who, desk.changing, number)

    @app.post("/c/{number}/change")
    async def change(request: Request, who: Who, number: Number) -> Response:
        return await desk.answer(request, who, desk.change, number)

    return app
