"""The receiver over real HTTP: who is let in, what is answered, what is bounded, and what the logs hold."""

from __future__ import annotations

import json
import logging
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI

from airflow_provider_telekom_sms.api.delivery import LARGEST_CALLBACK
from airflow_provider_telekom_sms.callbacks import app as receiver
from airflow_provider_telekom_sms.callbacks.app import Receiver
from airflow_provider_telekom_sms.exceptions import LedgerUnavailableError
from airflow_provider_telekom_sms.ledger import sending
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from tests.callbacks.conftest import OLD_SECRET, PREFIX, SECRET
from tests.versions import needs_airflow

DELIVERED = {"delivery": {"status": "DELIVERED"}, "messageId": 100, "type": "dsn"}
WRITTEN = {"addressFrom": "+421903123450", "text": "Jana ide domov", "timestamp": "2026-01-05T08:00:00Z"}


def sent(desk, number=1):
    """Accepted messages 100, 101, …"""
    owner = desk.planned(number)
    claimed = sending.exchange(desk.ledger, owner, [], number).claimed
    outcomes = [Outcome(m.id, State.ACCEPTED, str(100 + n)) for n, m in enumerate(claimed)]
    sending.exchange(desk.ledger, owner, outcomes, 0)


def stored(desk):
    return [
        tuple(row) for row in desk.sql("SELECT kind, message_id, code FROM telekom_sms_callback ORDER BY id")
    ]


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_with_a_secret_it_is_stored_and_applied(desk, serve, secret):
    sent(desk)
    served = serve(desk)
    assert served.ask(DELIVERED, f"{PREFIX}/{secret}") == 200
    assert desk.row(1)["delivery_code"] == "DELIVERED"
    assert served.ask(DELIVERED, f"{PREFIX}/{secret}") == 200
    assert stored(desk) == [("dsn", "100", "DELIVERED")]
    assert served.app.counts == {"stored": 1, "known": 1}


def test_the_older_form(file_desk, serve):
    sent(file_desk)
    query = "?message_id=100&status=4&addressFrom=%2B421903123450&addressTo=0900"
    assert serve(file_desk).ask(None, f"{PREFIX}/{SECRET}{query}", "GET") == 200
    assert file_desk.row(1)["delivery_code"] == "DELIVERED"


WRONG = (
    "/", PREFIX, f"{PREFIX}/", f"{PREFIX}/{SECRET[:-1]}", f"{PREFIX}/{SECRET}x", f"{PREFIX}/{SECRET.upper()}",
    f"{PREFIX}/{SECRET}/", f"{PREFIX}/x/{SECRET}", f"/{SECRET}", f"/other/{SECRET}", f"{PREFIX}/%FF",
    f"{PREFIX}/%00", f"{PREFIX}//{SECRET}", f"{PREFIX}/?{SECRET}", f"{PREFIX}/..%2F{SECRET}",
    "/" + "a" * 5000,
)  # fmt: skip


def test_with_a_wrong_secret_nothing_is_stored(file_desk, serve):
    sent(file_desk)
    served = serve(file_desk)
    asked = [(method, path) for method in ("GET", "POST", "PUT") for path in WRONG]
    answers = {(method, path): served.ask(DELIVERED, path, method) for method, path in asked}
    assert answers == dict.fromkeys(asked, 404)
    assert served.app.counts == {"wrong secret": len(asked)}
    assert served.app._ledger is None, "not even opened"
    assert stored(file_desk) == []


def test_other_methods(file_desk, serve):
    served = serve(file_desk)
    for method in ("HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert served.ask(DELIVERED, method=method) == 405
    assert stored(file_desk) == []


def test_what_cannot_be_read_is_to_come_again(file_desk, serve):
    """A later version may read it."""
    served = serve(file_desk)
    bodies = [b"", b"{}", b"<html>", b"\xff" * 100, b"[" * 60_000]
    assert [served.ask(body) for body in bodies] == [400] * len(bodies)
    assert served.app.counts == {"unreadable": len(bodies)}
    assert served.ask(DELIVERED) == 200


def test_a_large_body_is_not_taken(file_desk, serve):
    served = serve(file_desk)
    large = json.dumps({**DELIVERED, "x": "y" * LARGEST_CALLBACK}).encode()
    assert served.ask(large) == 413
    host, port = served.socket.getsockname()
    with socket.create_connection((host, port), timeout=30) as line:
        # Nobody said how long it would be.
        head = f"POST {PREFIX}/{SECRET} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        line.sendall(head.encode())
        for _ in range(LARGEST_CALLBACK // 4096 + 1):
            line.sendall(b"1000\r\n" + b"y" * 4096 + b"\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413")
    assert served.app.counts == {"too large": 2}
    assert stored(file_desk) == []


def test_a_slow_body_is_given_up(file_desk, serve, monkeypatch):
    monkeypatch.setattr(receiver, "PATIENCE", 0.3)
    served = serve(file_desk)
    with socket.create_connection(served.socket.getsockname(), timeout=30) as line:
        line.sendall(f"POST {PREFIX}/{SECRET} HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{{".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 503")
    assert served.app._at_work == 0


# --- the ledger ---------------------------------------------------------------------------------------------


def test_it_is_answered_when_it_is_on_disk(file_desk, serve):
    sent(file_desk)
    served = serve(file_desk)
    assert served.ask({**DELIVERED, "messageId": 99}) == 200
    busy = sqlite3.connect(file_desk.path, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(served.ask, DELIVERED)
        time.sleep(0.5)
        assert not asking.done()
        busy.execute("COMMIT")
        assert asking.result(20) == 200
    busy.close()
    assert stored(file_desk)[1:] == [("dsn", "100", "DELIVERED")]


def test_what_waits_too_long_is_to_come_again(file_desk, serve, monkeypatch):
    monkeypatch.setattr(receiver, "PATIENCE", 0.3)
    served = serve(file_desk)
    assert served.ask({**DELIVERED, "messageId": 99}) == 200
    busy = sqlite3.connect(file_desk.path, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    assert served.ask(DELIVERED) == 503
    busy.execute("COMMIT")
    busy.close()
    monkeypatch.setattr(receiver, "PATIENCE", 20)
    assert served.ask(DELIVERED) == 200


def test_so_many_at_once_and_no_more(file_desk, serve, monkeypatch):
    monkeypatch.setattr(receiver, "AT_ONCE", 5)
    served = serve(file_desk)
    assert served.ask({**DELIVERED, "messageId": 99}) == 200
    busy = sqlite3.connect(file_desk.path, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(12) as threads:
        asking = [threads.submit(served.ask, {**DELIVERED, "messageId": n}) for n in range(1, 13)]
        while sum(one.done() for one in asking) < 7:
            time.sleep(0.01)
        busy.execute("COMMIT")
        assert sorted(one.result(20) for one in asking) == [200] * 5 + [503] * 7
    busy.close()
    assert len(stored(file_desk)) == 6
    assert served.app.counts["too many at once"] == 7


def test_a_ledger_that_is_away(serve, postgres, caplog):
    from tests.ledger.conftest import Desk
    from tests.postgres import PostgresServer

    server = PostgresServer()
    try:
        desk = Desk(server.database())
        sent(desk)
        served = serve(desk)
        assert served.ask({**DELIVERED, "messageId": 99}) == 200
        server.stop("immediate")
        assert served.ask(DELIVERED) == 503
        server.start()
        assert served.ask(DELIVERED) == 200
        assert desk.row(1)["delivery_code"] == "DELIVERED"
        desk.ledger.close()
        served.app._ledger.close()
    finally:
        server.close()
    assert "ledger-password" not in caplog.text


def test_a_ledger_that_cannot_be_opened_is_tried_again(file_desk, serve):
    answers = [LedgerUnavailableError("away"), RuntimeError("broken")]

    def open_ledger():
        if answers:
            raise answers.pop(0)
        return Ledger(file_desk.url)

    served = serve(app=Receiver([SECRET], open_ledger, prefix=PREFIX))
    assert [served.ask(DELIVERED) for _ in range(3)] == [503, 503, 200]


def test_what_the_database_does_not_take_keeps_nobody_else(desk, serve):
    """All that come meanwhile are stored in one transaction."""
    served = serve(desk)
    assert served.ask({**DELIVERED, "messageId": 99}) == 200
    if desk.ledger.dialect == "sqlite":
        desk.sql("CREATE TRIGGER no BEFORE INSERT ON telekom_sms_callback WHEN NEW.message_id = '7' "
                 "BEGIN SELECT RAISE(ABORT, 'no'); END")  # fmt: skip
    else:
        desk.sql("ALTER TABLE telekom_sms_callback ADD CHECK (message_id <> '7')")
    held = threading.Event()
    served.app._thread.submit(held.wait)
    with ThreadPoolExecutor(10) as threads:
        asking = {n: threads.submit(served.ask, {**DELIVERED, "messageId": n}) for n in range(1, 11)}
        while served.app._at_work < 10:
            time.sleep(0.01)
        held.set()
        assert {n: one.result(20) for n, one in asking.items()} == {
            n: 503 if n == 7 else 200 for n in range(1, 11)
        }
    assert sorted(int(message_id) for _, message_id, _ in stored(desk)) == [1, 2, 3, 4, 5, 6, 8, 9, 10, 99]


def test_it_comes_before_the_outcome_of_the_send(desk, serve):
    """And nobody asks: the receiver looks again by itself."""
    owner = desk.planned(1)
    [message] = sending.exchange(desk.ledger, owner, [], 1).claimed
    served = serve(desk)
    assert served.ask(DELIVERED) == 200
    sending.exchange(desk.ledger, owner, [Outcome(message.id, State.ACCEPTED, "100")], 0)
    end = time.monotonic() + 20
    while desk.row(1)["delivery_code"] is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert desk.row(1)["delivery_code"] == "DELIVERED"


def test_stop_words_are_passed_on(file_desk, serve):
    assert serve(file_desk).ask({**WRITTEN, "text": "stop"}) == 200
    assert file_desk.sql("SELECT phone FROM telekom_sms_opt_out") == [("421903123450",)]


# --- the logs -----------------------------------------------------------------------------------------------

PRIVATE = (SECRET, OLD_SECRET, "903123450", "Jana")


def everything(served, mounted=""):
    path = f"{mounted}/{SECRET}"
    for body in (WRITTEN, DELIVERED, b"{903123450", b"Jana" * LARGEST_CALLBACK):
        served.ask(body, path)
        served.ask(body, f"{mounted}/{SECRET}x")
    served.ask(None, f"{path}?message_id=1&status=4&addressFrom=%2B421903123450&text=Jana", "GET")
    served.ask(None, f"{path}x?text=Jana&addressFrom=421903123450", "GET")
    served.ask(WRITTEN, path, "PUT")


def test_no_log_holds_what_is_private(file_desk, serve, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    served = serve(file_desk, access_log=True)
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    everything(served, PREFIX)
    file_desk.sql("DROP TABLE telekom_sms_opt_out")
    file_desk.sql("ALTER TABLE telekom_sms_callback RENAME TO gone")
    assert served.ask(WRITTEN) == 503
    assert f'"POST {PREFIX}/hidden' in caplog.text, "the access log was looked at"
    assert "could not be stored" in caplog.text
    assert "Callbacks refused: 1 wrong secret" in caplog.text
    for private in PRIVATE:
        assert private not in caplog.text


@needs_airflow("3.2", "it logs the path of every request")
def test_no_log_of_airflows_api_server_holds_what_is_private(file_desk, serve, capfd, caplog):
    import structlog
    from airflow.api_fastapi.common import http_access_log as logs

    app = FastAPI()
    app.mount(PREFIX, Receiver([SECRET], lambda: Ledger(file_desk.url)))
    app.add_middleware(logs.HttpAccessLogMiddleware)
    with structlog.testing.capture_logs() as lines:
        served = serve(app=app, access_log=True)
        everything(served, PREFIX)
        while len(lines) < 11:
            time.sleep(0.01)  # the last is logged after it is answered
    assert {line["path"] for line in lines} == {f"{PREFIX}/hidden"}
    shown = f"{lines} {capfd.readouterr()} {caplog.text}"
    for private in PRIVATE:
        assert private not in shown
    assert ("inbound", None, None) in stored(file_desk)


def test_a_refusal_is_told_once_a_minute(file_desk, serve, caplog):
    served = serve(file_desk)
    for _ in range(50):
        served.ask(DELIVERED, f"{PREFIX}/wrong")
    assert caplog.text.count("Callbacks refused") == 1
    assert served.app.counts == {"wrong secret": 50}
