from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
import requests

from airflow_provider_telekom_sms.simulator import (
    DEFAULT_TOKEN,
    Settings,
    Simulator,
    State,
    endpoints,
    serve,
    state,
)


@dataclass
class Api:
    """The plainest client there is: what the manual prints, and nothing that repairs a mistake."""

    url: str
    state: State
    timeout: float = 30.0

    def raw(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"timeout": self.timeout, "allow_redirects": False, **options}
        return requests.request(method, self.url + path, **options)

    def json(self, endpoint: str, parameters: Any, **options: Any) -> dict[str, Any]:
        return self.raw("POST", f"/json/{endpoint}", json=parameters, **options).json()

    def xml(self, endpoint: str, parameters: dict[str, Any], **options: Any) -> ElementTree.Element:
        return ElementTree.fromstring(self.raw_xml(endpoint, parameters, **options).content)

    def raw_xml(self, endpoint: str, parameters: dict[str, Any], **options: Any) -> requests.Response:
        fields = "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in parameters.items())
        body = f'<?xml version="1.0" encoding="UTF-8" ?>\n<request>{fields}</request>'
        headers = {"content-type": "application/xml"}
        return self.raw("POST", f"/xml/{endpoint}", data=body.encode(), headers=headers, **options)

    def get(self, wire: str, endpoint: str, parameters: dict[str, Any], **options: Any) -> requests.Response:
        return self.raw("GET", f"/{wire}/{endpoint}", params=parameters, **options)

    def v2(self, body: Any, **options: Any) -> requests.Response:
        options = {"headers": {"X-API-KEY": DEFAULT_TOKEN}, **options}
        return self.raw("POST", "/v2/messages", json=body, **options)

    def login(self) -> str:
        return self.json("auth", {"token": DEFAULT_TOKEN})["session_id"]

    def send(self, to: str = "421903000000", text: str = "Ahoj", **parameters: Any) -> dict[str, Any]:
        return self.json("send_message", {"to": to, "text": text, "token": DEFAULT_TOKEN, **parameters})

    def send_id(self, *args: Any, **parameters: Any) -> int:
        return self.send(*args, **parameters)["messages"][0]["message_id"]

    def status(self, message_id: int) -> str:
        return self.json("check_message", {"message_id": message_id, "token": DEFAULT_TOKEN})["code"]


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Simulator]:
    with serve() as simulator:
        yield simulator


@pytest.fixture
def api(_simulator: Simulator) -> Api:
    _simulator.state.reset()
    _simulator.state.settings = Settings()
    return Api(_simulator.url, _simulator.state)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass for the simulator, at once."""
    passed = 0.0

    def go(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    clock = SimpleNamespace(time=lambda: time.time() + passed, monotonic=lambda: time.monotonic() + passed)
    for module in (state, endpoints):
        monkeypatch.setattr(module, "time", clock)
    return go


@pytest.fixture
def violated(api: Api) -> Callable[..., None]:
    """Assert that exactly one violation was noted, and what it says."""

    def check(*words: str) -> None:
        assert len(api.state.violations) == 1, api.state.violations
        for word in words:
            assert word in api.state.violations[0]

    return check


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """Wait for what takes a moment, more of them on a busy machine."""

    def wait(condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, "it never came to pass"
            time.sleep(0.01)

    return wait
