"""The key and the session are in no repr, no error and no log; number and text in no log that people see."""

from __future__ import annotations

import asyncio
import logging
import traceback
from urllib.parse import quote

import pytest
import requests

from airflow_provider_telekom_sms.api.http import Request, Response, Session, SessionNeeded
from airflow_provider_telekom_sms.exceptions import TelekomSmsError
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Fault
from airflow_provider_telekom_sms.transport import AsyncTransport, Transport

NUMBER, TEXT = "421903777123", "Tajný kód 4711"
METHODS = pytest.mark.parametrize("method", ["POST", "GET"])


def found(said, secrets):
    """Name the secrets that stand in a text, as such or as a URL spells them."""
    return [secret for secret in secrets if secret in said or quote(secret) in said]


def written(error):
    """Write an error in every way that a log might."""
    chain = "".join(traceback.format_exception(error))
    return f"{error}\n{error!r}\n{error.args}\n{chain}"


def foreign(error):
    """Name the errors of others that are chained to one: what they hold is not ours to know."""
    chained = [error]
    while error := error.__cause__ or error.__context__:
        chained.append(error)
    return [type(e).__name__ for e in chained if not isinstance(e, TelekomSmsError)]


@pytest.fixture
def logged(caplog):
    """Everything that any logger says from now on, from a level up."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "aiohttp", "aiohttp.client", "asyncio", "requests"):
        caplog.set_level(logging.DEBUG, logger=name)

    def since(level):
        format_one = logging.Formatter("%(name)s %(message)s").format
        return "\n".join(format_one(r) + repr(r.args) for r in caplog.records if r.levelno >= level)

    return since


@pytest.fixture
def debugged(monkeypatch):
    """Let asyncio tell all it knows."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


def sessions(sim):
    return {r.parameters["session_id"] for r in sim.state.requests if "session_id" in r.parameters}


@METHODS
@pytest.mark.parametrize("auth", ["session", "token"])
class TestLogsAndErrors:
    @pytest.mark.parametrize(
        "fault",
        [
            None,
            Fault("503"),
            Fault("cut"),
            Fault("drop_before"),
            Fault("hang", seconds=2),
            Fault("429"),
            Fault("redirect", location=f"http://127.0.0.1:1/{DEFAULT_TOKEN}"),
            Fault("error", code="NO_CREDIT", description=f"Key {DEFAULT_TOKEN} has none"),
            Fault("503", endpoint="auth"),
            Fault("drop_before", endpoint="auth"),
        ],
        ids=lambda fault: f"{fault.name}-{fault.endpoint}" if fault else "success",
    )
    def test_a_send(self, sim, settings, client, sending, logged, debugged, fault, method, auth):
        if fault:
            fault.seen = fault.hits = 0
            sim.state.order(fault)
        timeout = 0.7 if fault and fault.name == "hang" else 20
        chosen = settings(sim.url, http_method=method, auth=auth, timeout=timeout)
        outcomes = client.run(chosen, sending(chosen, NUMBER, TEXT), retry_for=0.3)

        hit = fault is not None and (fault.endpoint == "send_message" or auth == "session")
        assert [isinstance(o, TelekomSmsError) for o in outcomes] == [hit]
        secrets = {DEFAULT_TOKEN} | sessions(sim)
        assert len(secrets) == 1 + (auth == "session" and not (fault and fault.endpoint == "auth"))
        for error in filter(lambda o: isinstance(o, Exception), outcomes):
            assert found(written(error), {*secrets, NUMBER, TEXT}) == []
            assert foreign(error) == []
        assert found(logged(logging.DEBUG), secrets) == []
        assert found(logged(logging.INFO), {*secrets, NUMBER, TEXT}) == []
        if client.kind == "sync":
            assert "urllib3" in logged(logging.DEBUG)  # which did speak, then

    @pytest.mark.parametrize("url", ["http://127.0.0.1:{}", "https://127.0.0.1:{}"])
    def test_nobody_there(self, settings, client, sending, logged, debugged, free_port, url, method, auth):
        chosen = settings(url.format(free_port), http_method=method, auth=auth)
        [error] = client.run(chosen, sending(chosen, NUMBER, TEXT), retry_for=0.3)
        assert found(written(error), {DEFAULT_TOKEN, NUMBER, TEXT}) == []
        assert found(logged(logging.DEBUG), {DEFAULT_TOKEN}) == []

    def test_an_untrusted_server(self, raw, certificate, settings, client, sending, logged, method, auth):
        server = raw(lambda sock, request: False, tls=certificate[1])
        chosen = settings(server.url, http_method=method, auth=auth)
        [error] = client.run(chosen, sending(chosen, NUMBER, TEXT))
        assert "verify" in str(error)
        assert found(written(error) + logged(logging.DEBUG), {DEFAULT_TOKEN, NUMBER, TEXT}) == []

    def test_the_hook(self, sim, hook, logged, debugged, method, auth):
        telekom = hook(sim.url, http_method=method, auth=auth)
        telekom.send_message(NUMBER, TEXT)
        asyncio.run(telekom.asend_message(NUMBER, TEXT))
        telekom.test_connection()
        secrets = {DEFAULT_TOKEN} | sessions(sim)
        assert found(logged(logging.DEBUG) + repr(telekom), secrets) == []
        assert found(logged(logging.INFO), {*secrets, NUMBER, TEXT}) == []


def test_reprs(sim, settings, sending):
    for method in ("POST", "GET"):
        chosen = settings(sim.url, http_method=method, proxy="http://u:proxy-secret@127.0.0.1:1")
        session = Session("a-session-id")
        call = sending(chosen, NUMBER, TEXT)({"token": DEFAULT_TOKEN})
        request = next(call)
        shown = [
            chosen,
            session,
            request,
            Response(200, {"set-cookie": "a-session-id"}, DEFAULT_TOKEN.encode()),
            SessionNeeded(),
            Transport(chosen, session),
            AsyncTransport(chosen, session),
            call,
        ]
        said = "".join(f"{thing!r} {thing} {[thing]}" for thing in shown)
        assert found(said, {DEFAULT_TOKEN, "a-session-id", NUMBER, TEXT, "proxy-secret"}) == []
        assert isinstance(request, Request)


class TestControl:
    """The checks above notice a leak."""

    def test_a_log(self, logged):
        logging.getLogger("urllib3.connectionpool.control").debug("GET /x?token=%s", DEFAULT_TOKEN)
        logging.getLogger("aiohttp.client").info("%s", {"text": quote(TEXT)})
        assert found(logged(logging.DEBUG), {DEFAULT_TOKEN}) == [DEFAULT_TOKEN]
        assert found(logged(logging.INFO), {DEFAULT_TOKEN, TEXT}) == [TEXT]

    def test_urllib3_itself(self, sim, logged):
        logger = logging.getLogger("urllib3.connectionpool")
        kept, logger.filters = logger.filters, []
        try:
            requests.get(f"{sim.url}/json/auth", params={"token": DEFAULT_TOKEN}, timeout=5)
        finally:
            logger.filters = kept
        assert found(logged(logging.DEBUG), {DEFAULT_TOKEN}) == [DEFAULT_TOKEN]

    def test_a_chained_error(self, free_port):
        def fail():
            try:
                requests.get(f"http://127.0.0.1:{free_port}/auth", params={"token": DEFAULT_TOKEN}, timeout=5)
            except requests.RequestException:
                raise TelekomSmsError("failed")  # noqa: B904 - this is what must not be done

        with pytest.raises(TelekomSmsError) as caught:
            fail()
        assert found(written(caught.value), {DEFAULT_TOKEN}) == [DEFAULT_TOKEN]
        assert foreign(caught.value) != []
