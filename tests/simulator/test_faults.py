"""Every fault, on real sockets."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest
import requests

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN as TOKEN
from airflow_provider_telekom_sms.simulator import Fault
from airflow_provider_telekom_sms.simulator.faults import HANDLED

MESSAGE = {"to": "421903000000", "text": "Ahoj", "token": TOKEN}


def code(reply):
    return reply["result"]["code"]


def post(api, wire="json", **options):
    if wire == "xml":
        return api.raw_xml("send_message", MESSAGE, **options)
    return api.raw("POST", "/json/send_message", json=MESSAGE, **options)


@pytest.fixture(autouse=True)
def _fine_before_and_after(api):
    yield
    assert api.state.violations == []
    assert {record.fault for record in api.state.requests} <= {None, *HANDLED}
    api.state.clear_faults()
    assert code(api.send()) == "OK"


@pytest.mark.parametrize(("name", "taken"), [("drop_before", 0), ("drop_after", 1)])
@pytest.mark.parametrize("wire", ["json", "xml"])
def test_drop(api, name, taken, wire):
    api.state.order(Fault(name, times=1))
    with pytest.raises(requests.ConnectionError):
        post(api, wire)
    assert len(api.state.messages) == taken
    assert [record.fault for record in api.state.requests] == [name]
    assert post(api, wire).status_code == 200


def test_hang_takes_the_message_and_answers_late(api, until):
    api.state.order(Fault("hang", times=1, seconds=0.4))
    api.state.order(Fault("hang", times=1))
    began = time.monotonic()
    assert code(post(api).json()) == "OK"
    assert time.monotonic() - began > 0.4
    with pytest.raises(requests.ReadTimeout):
        post(api, timeout=0.1)
    until(lambda: len(api.state.messages) == 2)  # who has given up does not see when


def test_hang_without_taking(api):
    api.state.order(Fault("hang", times=1, seconds=0.1, taken=False))
    with pytest.raises(requests.ConnectionError):
        post(api)
    assert api.state.messages == []


@pytest.mark.parametrize(("ordered", "header"), [(None, None), (7, "7"), (0.5, "0.5"), ("soon", "soon")])
def test_429(api, ordered, header):
    api.state.order(Fault("429", times=1, retry_after=ordered))
    reply = post(api)
    assert (reply.status_code, reply.headers.get("retry-after")) == (429, header)
    assert reply.headers["content-type"].startswith("text/plain")
    assert api.state.messages == []


def test_429_with_a_date(api):
    api.state.order(Fault("429", times=1, retry_after=60, as_date=True))
    before = time.time()
    due = parsedate_to_datetime(post(api).headers["retry-after"]).timestamp()
    assert before + 59 <= due <= time.time() + 60


@pytest.mark.parametrize(("name", "status"), [("503", 503), ("html", 200)])
@pytest.mark.parametrize("taken", [None, False, True])
def test_pages_instead_of_replies(api, name, status, taken):
    api.state.order(Fault(name, times=1, taken=taken))
    reply = post(api)
    assert reply.status_code == status
    assert reply.headers["content-type"].startswith("text/html" if name == "html" else "text/plain")
    assert len(api.state.messages) == bool(taken)


@pytest.mark.parametrize("wire", ["json", "xml"])
def test_cut(api, wire):
    api.state.order(Fault("cut", times=1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        post(api, wire)
    assert len(api.state.messages) == 1


def test_empty(api):
    api.state.order(Fault("empty", times=1))
    reply = post(api)
    assert (reply.status_code, reply.content) == (200, b"")
    assert len(api.state.messages) == 1


def test_huge(api):
    api.state.order(Fault("huge", times=2, megabytes=8))
    assert len(post(api).content) > 8 * 2**20
    with post(api, stream=True) as reply:  # a client that has seen enough
        next(reply.iter_content(1000))
    assert len(api.state.messages) == 2


def test_redirect(api):
    api.state.order(Fault("redirect", times=1, location="/json/other"))
    reply = post(api)
    assert (reply.status_code, reply.headers["location"]) == (302, "/json/other")
    assert api.state.messages == []


def test_expire_kills_the_session_of_the_request(api):
    mine, other = api.login(), api.login()
    api.state.order(Fault("expire", times=1))
    parameters = {"to": "421903000000", "text": "x", "session_id": mine}
    assert code(api.json("send_message", parameters)) == "SESSION_NOT_FOUND"
    assert code(api.json("send_message", parameters)) == "SESSION_NOT_FOUND"
    assert code(api.json("ping", {"session_id": other})) == "OK"
    assert api.state.messages == []


def test_expire_every(api):
    api.state.order(Fault("expire_every", every=3))
    session, codes = api.login(), []
    for _ in range(7):
        reply = api.json("send_message", {"to": "421903000000", "text": "x", "session_id": session})
        codes.append(code(reply))
        if codes[-1] == "SESSION_NOT_FOUND":
            session = api.login()
    assert codes == ["OK", "OK", "SESSION_NOT_FOUND", "OK", "OK", "SESSION_NOT_FOUND", "OK"]
    assert api.state.logins == 3


def test_error_in_the_result(api):
    api.state.order(Fault("error", times=1, code="MONTHLY_LIMIT", description="Mesačný limit"))
    assert post(api).json() == {
        "result": {"status": "error", "description": "Mesačný limit", "code": "MONTHLY_LIMIT"}
    }
    assert api.state.messages == []


def test_error_in_the_message(api):
    api.state.order(Fault("error", times=1, code="BLACKLISTED", description="Nie", level="message"))
    reply = post(api).json()
    assert code(reply) == "OK"
    assert reply["messages"] == [{"status": "error", "code": "BLACKLISTED", "description": "Nie"}]
    assert api.state.messages == []


def test_ip_lasts_until_the_faults_are_cleared(api):
    api.state.order(Fault("ip", after=1))
    assert code(api.send()) == "OK"
    assert code(api.send()) == "IP_NOT_ALLOWED"
    assert code(api.json("auth", {"token": TOKEN})) == "IP_NOT_ALLOWED"


def test_credit_for_two_messages(api):
    api.send()
    api.state.order(Fault("credit", after=2))
    assert [code(api.send()) for _ in range(4)] == ["OK", "OK", "NO_CREDIT", "NO_CREDIT"]
    assert len(api.state.messages) == 3


def test_other_endpoints_can_fail_too(api):
    api.state.order(Fault("503", endpoint="check_message", times=1))
    asked = {"message_id": api.send_id(), "token": TOKEN}
    assert api.raw("POST", "/json/check_message", json=asked).status_code == 503
    api.state.order(Fault("429", endpoint="*", times=1))
    assert api.raw("POST", "/json/sms-groups", json={"token": TOKEN}).status_code == 429


def statuses(api, count, numbers=("421903000000",)):
    replies = (api.send(to=numbers[i % len(numbers)], text=str(i)) for i in range(count))
    return "".join("x" if code(reply) == "E" else "." for reply in replies)


def test_every_kth_and_at(api):
    api.state.order(Fault("error", code="E", every=3, times=2))
    assert statuses(api, 10) == "..x..x...."
    api.state.clear_faults()
    api.state.order(Fault("error", code="E", at=[1, 4]))
    assert statuses(api, 6) == "x..x.."


def test_numbers_in_any_format(api):
    api.state.order(Fault("error", code="E", numbers={"0903000005"}))
    assert statuses(api, 4, numbers=["421903000000", "+421903000005"]) == ".x.x"


def test_a_share_is_repeatable(api):
    runs = []
    for _ in range(2):
        api.state.order(Fault("error", code="E", share=0.5, seed=7))
        runs.append(statuses(api, 40))
        api.state.clear_faults()
    assert runs[0] == runs[1]
    assert 10 < runs[0].count("x") < 30


def test_the_first_of_several_faults_wins(api):
    first = api.state.order(Fault("error", code="E", times=1))
    second = api.state.order(Fault("503"))
    assert statuses(api, 1) == "x"
    assert post(api).status_code == 503
    assert (first.hits, second.hits) == (1, 1)


@pytest.mark.parametrize(
    "order",
    [
        {"name": "flood"},
        {"name": "503", "endpoint": "send"},
        {"name": "429", "taken": True},
        {"name": "expire_every"},
        {"name": "503", "every": 0},
        {"name": "503", "times": "3"},
        {"name": "error", "level": "top"},
        {"name": "error", "level": "message", "endpoint": "*"},
    ],
)
def test_orders_that_mean_nothing(order):
    with pytest.raises(ValueError, match=r"."):
        Fault(**order)
