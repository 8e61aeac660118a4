from __future__ import annotations

import html
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_provider_telekom_sms.ui.mount import PREFIX, CampaignsPage
from tests.ledger.conftest import Desk, opened

#: Users of Airflow's simple auth manager, by role.
USERS = {"viewer": "vera", "user": "ursula", "op": "oto", "admin": "ada"}
HOST = "http://airflow.test"

__all__ = ["HOST", "PREFIX", "USERS", "Desk", "Site"]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    yield from opened(request.param, request, tmp_path)


@pytest.fixture
def file_desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    yield from opened("sqlite", request, tmp_path)


@pytest.fixture(scope="session")
def airflow_app() -> Any:
    """Airflow's own API server, with its login, its middlewares and the plugin that puts the page there."""
    os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = ",".join(f"{n}:{r}" for r, n in USERS.items())
    Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from airflow.api_fastapi.app import create_app
        from airflow.utils.db import initdb

        initdb()
        return create_app(apps="core")


def page_of(app: Any) -> CampaignsPage:
    [page] = [route.app for route in app.routes if getattr(route, "path", "") == PREFIX]
    assert isinstance(page, CampaignsPage)
    return page


class Site:
    """The page of a ledger, on Airflow's API server, and its visitors."""

    def __init__(self, app: Any, url: Any) -> None:
        from airflow_provider_telekom_sms.ui.app import build

        self.app, self.url = app, url
        page_of(app)._app = build(lambda: self.url)

    def client(self, role: str | None = "admin") -> TestClient:
        client = TestClient(self.app, base_url=HOST, follow_redirects=False)
        client.headers["accept"] = "text/html"
        if role is not None:
            client.cookies.set("_token", self.token(role))
        return client

    def token(self, role: str) -> str:
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        user = SimpleAuthManagerUser(username=USERS[role], role=role)
        return str(get_auth_manager().generate_jwt(user))

    def get(self, path: str, role: str | None = "admin", **options: Any) -> Any:
        return self.client(role).get(PREFIX + path, **options)

    def hidden(self, path: str, role: str = "admin") -> dict[str, str]:
        """Give what a page's form holds unseen."""
        found = re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', self.get(path, role).text)
        return {name: html.unescape(value) for name, value in found}

    def seal(self, path: str, role: str = "admin") -> str:
        """Give the seal of a page's form."""
        return self.hidden(path, role)["seal"]

    def post(self, path: str, fields: dict[str, Any], role: str = "admin", **headers: str) -> Any:
        """Send a form as a browser does, with what its page holds unseen unless it has a seal."""
        given = {**self.hidden(path, role), **fields} if "seal" not in fields else fields
        return self.client(role).post(PREFIX + path, data=given, headers={"origin": HOST, **headers})


@pytest.fixture
def site(airflow_app: Any, desk: Desk) -> Site:
    return Site(airflow_app, desk.url)


@pytest.fixture
def file_site(airflow_app: Any, file_desk: Desk) -> Site:
    return Site(airflow_app, file_desk.url)


@pytest.fixture
def ledger(desk: Desk) -> Any:
    return desk.ledger
