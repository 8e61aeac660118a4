"""What the plugin puts on Airflow's API server; every process loads it, so that it costs nothing there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

#: Where the page stands on the API server.
PREFIX = "/telekom-sms-campaigns"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class CampaignsPage:
    """The page, built when it is first asked for, which happens on the API server only."""

    def __init__(self) -> None:
        self._app: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        if self._app is None:
            from airflow_provider_telekom_sms.ui.app import build

            self._app = build()
        own = dict(scope)
        # Servers log it, and what somebody looks for may be a number.
        scope["query_string"] = b""
        await self._app(own, receive, send)


def external_view(root: str) -> dict[str, Any]:
    """
    Give the page's place in the navigation (Airflow 3.1 and later).

    :param root: the path under which the API server stands, without a trailing slash
    """
    return {
        # No more fits below the icon.
        "name": "SMS",
        "href": f"{root}{PREFIX}/",
        "destination": "nav",
        "url_route": "telekom-sms",
        "icon": f"{root}{PREFIX}/static/icon.svg",
        "icon_dark_mode": f"{root}{PREFIX}/static/icon-dark.svg",
    }
