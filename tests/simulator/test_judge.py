"""Each deviation that the judge must see, beside the nearest request that it must let pass."""

from __future__ import annotations

import pytest

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN as TOKEN

GOOD = {"to": "421903000000", "text": "Ahoj", "token": TOKEN}


def code(reply):
    return reply["result"]["code"]


@pytest.mark.parametrize(
    ("parameters", "words", "answer"),
    [
        ({"Text": "x"}, ["Text", "unknown parameter"], "OK"),
        ({"from": None}, ["from", "null"], "OK"),
        ({"from": "None"}, ["from", "'None'"], "OK"),
        ({"from": "null"}, ["from", "'null'"], "OK"),
        ({"from": ""}, ["from", "empty"], "OK"),
        ({"from": 903}, ["from", "wrong JSON type"], "OK"),
        ({"text": 5}, ["text", "wrong JSON type"], "OK"),
        ({"text": "\ud83d"}, ["text", "surrogate"], "OK"),
        ({"text": ""}, ["text", "missing"], "TEXT_REQUIRED"),
        ({"text": ["a"]}, ["text", "wrong JSON type"], "TEXT_REQUIRED"),
        ({"text": {"a": 1}}, ["text", "wrong JSON type"], "TEXT_REQUIRED"),
        ({"to": ""}, ["to", "missing"], "RECIPIENT_REQUIRED"),
        ({"to": 421903000000}, ["to", "wrong JSON type"], "OK"),
        ({"to": "903000000"}, ["to", "none of"], "INCORRECT_RECIPIENT_ADDRESS"),
        ({"to": "00421903000000"}, ["to", "none of"], "INCORRECT_RECIPIENT_ADDRESS"),
        ({"to": "421903 000 000"}, ["to", "none of"], "INCORRECT_RECIPIENT_ADDRESS"),
        ({"to": "421903000000\n"}, ["to", "none of"], "INCORRECT_RECIPIENT_ADDRESS"),
        ({"to": "421255555555"}, ["to", "none of"], "INCORRECT_RECIPIENT_ADDRESS"),
        ({"to": "421903000000,421903000005"}, ["to", "none of"], "INCORRECT_RECIPIENT_ADDRESS"),
        ({"to": "४२१९०३००००००"}, ["to", "none of"], "INCORRECT_RECIPIENT_ADDRESS"),
        ({"session_id": "x"}, ["both token and session_id"], "OK"),
        ({"callback": "false"}, ["callback", "'false'"], "OK"),
        ({"unicode": "true"}, ["unicode", "'true'"], "OK"),
        ({"unicode": 0.0}, ["unicode", "0.0"], "OK"),
        ({"priority": 0}, ["priority", "out of range"], "INVALID_PRIORITY_VALUE"),
        ({"priority": 4}, ["priority", "out of range"], "INVALID_PRIORITY_VALUE"),
        ({"priority": True}, ["priority", "not an integer"], "INVALID_PRIORITY_VALUE"),
        ({"priority": "2"}, ["priority", "wrong JSON type"], "OK"),
        ({"validity": 0}, ["validity", "out of range"], "INVALID_VALIDITY_VALUE"),
        ({"validity": 1441}, ["validity", "out of range"], "INVALID_VALIDITY_VALUE"),
        ({"validity": 60.0}, ["validity", "not an integer"], "INVALID_VALIDITY_VALUE"),
        ({"type": "Flash"}, ["type", "'Flash'"], "INVALID_TYPE_VALUE"),
        ({"groupId": "x"}, ["groupId", "not an integer"], "OK"),
        ({"delivery_time": "2026-01-31T08:00:00"}, ["delivery_time", "YYYY"], "INVALID_DELIVERY_TIME"),
        ({"delivery_time": "2026-01-31 08:00"}, ["delivery_time", "YYYY"], "INVALID_DELIVERY_TIME"),
        ({"delivery_time": "2026-01-31 08:00:00+01:00"}, ["delivery_time", "YYYY"], "INVALID_DELIVERY_TIME"),
        ({"delivery_time": "2026-02-30 08:00:00"}, ["delivery_time", "not a date"], "INVALID_DELIVERY_TIME"),
        ({"delivery_time": "2026-03-29 02:30:00"}, ["delivery_time", "not exist"], "INVALID_DELIVERY_TIME"),
        ({"delivery_time": "2026-10-25 02:00:00"}, ["delivery_time", "twice"], "OK"),
        ({"delivery_time": "2026-10-25 02:59:59"}, ["delivery_time", "twice"], "OK"),
    ],
)
def test_deviations_in_json(api, violated, parameters, words, answer):
    assert code(api.json("send_message", {**GOOD, **parameters})) == answer
    violated("send_message (json POST)", *words)


@pytest.mark.parametrize(
    "parameters",
    [
        {"to": "+421903000000"},
        {"to": "0903000000"},
        {"callback": True, "unicode": False},
        {"callback": 1, "unicode": "0"},
        {"callback": 0, "unicode": ""},
        {"priority": 1, "validity": 1},
        {"priority": 3, "validity": 1440, "type": "standard"},
        {"groupId": 1000},
        {"from": "Telekom"},
        {"from": "0903000000"},
        {"delivery_time": "2026-03-29 01:59:59"},
        {"delivery_time": "2026-03-29 03:00:00"},
        {"delivery_time": "2026-10-25 01:59:59"},
        {"delivery_time": "2026-10-25 03:00:00"},
    ],
)
def test_what_the_manual_allows(api, parameters):
    assert code(api.json("send_message", {**GOOD, **parameters})) == "OK"
    assert api.state.violations == []


@pytest.mark.parametrize("missing", ["to", "text"])
def test_missing(api, violated, missing):
    reply = api.json("send_message", {k: v for k, v in GOOD.items() if k != missing})
    assert code(reply) == {"to": "RECIPIENT_REQUIRED", "text": "TEXT_REQUIRED"}[missing]
    violated(missing, "missing")


@pytest.mark.parametrize(
    ("endpoint", "parameters", "answer", "word"),
    [
        ("auth", {}, "AUTHENTICATION_REQUIRED", "missing"),
        ("auth", {"token": TOKEN, "session_id": "x"}, "OK", "unknown parameter"),
        ("check_message", {"token": TOKEN}, "MESSAGE_ID_REQUIRED", "missing"),
        ("check_message", {"token": TOKEN, "message_id": ""}, "MESSAGE_ID_REQUIRED", "missing"),
        ("check_message", {"token": TOKEN, "message_id": "1e5"}, "MESSAGE_NOT_FOUND", "not a message id"),
        ("sms-groups", {"token": TOKEN, "limit": -1}, "OK", "out of range"),
        ("sms-groups", {"token": TOKEN, "start_from": 1}, "OK", "unknown parameter"),
        ("check_phone_number", {"token": TOKEN}, "RECIPIENT_REQUIRED", "missing"),
        (
            "check_phone_number",
            {"token": TOKEN, "phone_number": "x"},
            "INCORRECT_RECIPIENT_ADDRESS",
            "not a phone",
        ),
    ],
)
def test_other_endpoints(api, violated, endpoint, parameters, answer, word):
    assert code(api.json(endpoint, parameters)) == answer
    violated(f"{endpoint} (json POST)", word)


@pytest.mark.parametrize(
    ("wire", "body", "content_type", "words"),
    [
        ("json", b'{"token": ', "application/json", "not parseable"),
        ("json", b"[]", "application/json", "not a JSON object"),
        ("json", b'{"token": NaN}', "application/json", "not parseable"),
        ("json", b"[" * 100_000, "application/json", "not parseable"),
        ("json", b'{"token": "\xe1"}', "application/json", "not UTF-8"),
        ("json", b"", "application/json", "not parseable"),
        ("xml", b"<request><token>", "application/xml", "not parseable"),
        ("xml", b"<request><token>\xe1</token></request>", "application/xml", "not UTF-8"),
        ("xml", b"<!DOCTYPE request><request></request>", "application/xml", "DTD"),
    ],
)
def test_unreadable_bodies(api, violated, wire, body, content_type, words):
    reply = api.raw("POST", f"/{wire}/auth", data=body, headers={"content-type": content_type})
    assert reply.status_code == 200
    assert "AUTHENTICATION_REQUIRED" in reply.text
    violated(f"auth ({wire} POST)", words)


@pytest.mark.parametrize(
    ("wire", "body", "content_type", "words"),
    [
        ("json", '{"token": "%s"}', "text/plain", "content type"),
        ("json", '{"token": "%s"}', "application/xml", "content type"),
        ("json", '{"token": "%s"}', "", "content type"),
        ("json", '{"token": "%s"}', "application/json; charset=cp1250", "charset"),
        ("json", '{"token": "x", "token": "%s"}', "application/json", "given twice"),
        ("xml", "<request><token>%s</token></request>", "application/json", "content type"),
        ("xml", "<query><token>%s</token></query>", "text/xml", "root element"),
        ("xml", '<request a="1"><token>%s</token></request>', "text/xml", "attributes"),
        ("xml", "<request>x<token>%s</token></request>", "text/xml", "text outside"),
        ("xml", "<request><token>%s<b/></token></request>", "text/xml", "nested"),
        (
            "xml",
            '<?xml version="1.0" encoding="ISO-8859-2"?><request><token>%s</token></request>',
            "text/xml",
            "ISO",
        ),
    ],
)
def test_odd_envelopes_that_still_log_in(api, violated, wire, body, content_type, words):
    headers = {"content-type": content_type} if content_type else {}
    reply = api.raw("POST", f"/{wire}/auth", data=(body % TOKEN).encode(), headers=headers)
    assert "session_id" in reply.text
    violated(words)


def test_a_query_string_on_a_post(api, violated):
    api.json("auth", {"token": TOKEN}, params={"token": TOKEN})
    violated("query string")


@pytest.mark.parametrize(("word", "allowed"), [("0", True), ("1", True), ("false", False), ("true", False)])
def test_booleans_in_a_query(api, word, allowed):
    api.state.settings.allow_get = True
    # 71 letters with diacritics: two parts as Unicode, one part with the diacritics removed.
    reply = api.get("json", "send_message", {**GOOD, "text": "č" * 71, "unicode": word}).json()
    assert reply["messages"][0]["parts"] == (1 if word == "0" else 2)
    assert (api.state.violations == []) is allowed


@pytest.mark.parametrize(("word", "parts"), [("0", 1), ("false", 1), ("1", 2), ("true", 2)])
def test_booleans_in_xml(api, word, parts):
    api.xml("send_message", {**GOOD, "text": "č" * 71, "unicode": word})
    assert api.state.messages[0].parts == parts
    assert api.state.violations == []


def test_get_is_forbidden_unless_the_key_allows_it(api, violated):
    assert code(api.get("json", "send_message", GOOD).json()) == "GET_REQUEST_FORBIDDEN"
    assert api.state.messages == []
    violated("send_message (json GET)", "does not allow GET")


def test_a_get_with_a_body(api, violated):
    api.state.settings.allow_get = True
    assert code(api.get("json", "auth", {"token": TOKEN}, data=b"x").json()) == "OK"
    violated("auth (json GET)", "with a body")


def test_a_query_that_is_not_utf8(api, violated):
    api.state.settings.allow_get = True
    assert code(api.raw("GET", "/json/auth?token=%e1").json()) == "AUTHENTICATION_REQUIRED"
    violated("auth (json GET)", "UTF-8")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/json/auth", 405),
        ("HEAD", "/json/auth", 405),
        ("POST", "/json/auth/", 404),
        ("POST", "/auth", 404),
        ("POST", "/json/send", 404),
        ("POST", "/yaml/auth", 404),
    ],
)
def test_wrong_paths_and_methods(api, violated, method, path, status):
    assert api.raw(method, path).status_code == status
    violated(method)


@pytest.mark.parametrize(
    ("sender", "answer"),
    [("Vaša banka", "TEXT_NUMBER_MUST_BE_ALPHANUMERIC"), ("Telekom12345", "TEXT_NUMBER_LENGTH_EXCEED")],
)
def test_sender_limits_of_the_sister_deployment_are_refused_but_no_deviation(api, sender, answer):
    assert code(api.send(**{"from": sender})) == answer
    assert api.state.violations == []
