from __future__ import annotations

import pytest
import requests

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN as TOKEN


def code(reply):
    return reply["result"]["code"]


@pytest.mark.parametrize("keep_alive", ["ping", "send_message"])
def test_a_session_lives_as_long_as_it_is_used(api, keep_alive, later):
    used, idle = api.login(), api.login()
    parameters = {"session_id": used}
    if keep_alive == "send_message":
        parameters |= {"to": "421903000000", "text": "x"}
    for _ in range(4):
        later(300)
        assert code(api.json(keep_alive, parameters)) == "OK"
    assert code(api.json("ping", {"session_id": idle})) == "SESSION_NOT_FOUND"
    later(901)
    assert code(api.json("ping", {"session_id": used})) == "SESSION_NOT_FOUND"
    assert api.state.violations == []


def test_a_key_in_every_request_needs_no_session(api):
    assert code(api.send()) == "OK"
    assert api.state.logins == 0
    assert api.state.violations == []


def test_an_unknown_key(api):
    assert code(api.json("auth", {"token": "x" * 64})) == "API_TOKEN_NOT_FOUND"
    assert code(api.json("sms-groups", {"token": "x" * 64})) == "API_TOKEN_NOT_FOUND"
    assert api.state.logins == 0


def test_several_keys(api):
    api.state.settings.tokens = ["a" * 64, "b" * 64]
    assert code(api.json("auth", {"token": "b" * 64})) == "OK"
    assert code(api.json("auth", {"token": TOKEN})) == "API_TOKEN_NOT_FOUND"


def test_the_cookie_stands_in_for_the_session_but_the_judge_notes_it(api, violated):
    with requests.Session() as browser:
        login = browser.post(f"{api.url}/json/auth", json={"token": TOKEN}, timeout=5)
        (cookie,) = browser.cookies
        assert cookie.value != login.json()["session_id"]
        assert code(browser.post(f"{api.url}/json/sms-groups", json={}, timeout=5).json()) == "OK"
        violated("sms-groups (json POST)", "neither token nor session_id")
        assert code(browser.post(f"{api.url}/json/ping", json={}, timeout=5).json()) == "OK"
        api.state.expire_sessions()
        assert code(browser.post(f"{api.url}/json/ping", json={}, timeout=5).json()) == "SESSION_NOT_FOUND"


def test_nothing_to_authenticate_with(api, violated):
    assert code(api.json("sms-groups", {})) == "AUTHENTICATION_REQUIRED"
    violated("neither token nor session_id")
