from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.dom import minidom

import pytest
from pydantic_core import from_json

from airflow_provider_telekom_sms.api.http import Call, Request, Response


@pytest.fixture(scope="session")
def parsed() -> Callable[[Request], dict[str, Any]]:
    """Read a request with parsers other than those of the package."""

    def parse(request: Request) -> dict[str, Any]:
        if request.body is None:
            sent = urlencode(request.query)
            return dict(parse_qsl(sent, keep_blank_values=True, strict_parsing=bool(sent), errors="strict"))
        if request.path.startswith("/json/"):
            return from_json(request.body)
        root = minidom.parseString(request.body).documentElement
        assert root.tagName == "request"
        return {
            element.tagName: "".join(node.data for node in element.childNodes)
            for element in root.childNodes
            if element.nodeType == element.ELEMENT_NODE
        }

    return parse


@pytest.fixture(scope="session")
def answer() -> Callable[..., Any]:
    """Run a call that sends one request, answer it and give what the call returns."""

    def run(call: Call[Any], body: bytes | str, status: int = 200, content_type: str = "text/plain") -> Any:
        assert isinstance(next(call), Request)
        content = body.encode() if isinstance(body, str) else body
        with pytest.raises(StopIteration) as stop:
            call.send(Response(status, {"content-type": content_type}, content))
        return stop.value.value

    return run
