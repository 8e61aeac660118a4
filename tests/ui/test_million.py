"""
The page of a campaign of a million messages in PostgreSQL, on Airflow's API server as people start it.

With Chromium on the PATH it is looked at, too, alone and in Airflow's UI; TELEKOM_SMS_PICTURES names the
folder for the pictures.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.ledger import overview, planning, sending
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from airflow_provider_telekom_sms.ui.mount import PREFIX
from tests.callbacks.conftest import ApiServer
from tests.postgres import PostgresServer

MESSAGES = 1_000_000
REQUESTS = 40
#: Seconds that the first page after the warm-up may take.
LONGEST = 0.5
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

FILL = Path(__file__).with_name("million.sql").read_text()


class Million:
    """A ledger with a campaign of a million messages, and a thousand small ones."""

    def __init__(self, postgres: PostgresServer) -> None:
        self.url: URL = postgres.database()
        self.ledger = Ledger(self.url)
        self.owner = planning.begin(self.ledger, "price-change/2026", "task")
        plan = planning.begin_plan(self.ledger, self.owner, "print", "{}", fallback=False)
        planning.finish_plan(self.ledger, self.owner, plan, {"price_per_part": 0.049})
        for statement in FILL.split(";\n"):
            if statement.strip():
                postgres.sql(self.url, statement)

    @contextmanager
    def being_sent(self) -> Iterator[list[int]]:
        """Send the rest of it meanwhile, as a task does; give what was sent in each exchange."""
        sent: list[int] = []
        done = threading.Event()

        def send() -> None:
            outcomes: list[Outcome] = []
            while not done.is_set():
                claimed = sending.exchange(self.ledger, self.owner, outcomes, 50).claimed
                outcomes = [Outcome(m.id, State.ACCEPTED, message_id=f"x{m.id}", parts=1) for m in claimed]
                sent.append(len(claimed))
                time.sleep(0.1)
            sending.exchange(self.ledger, self.owner, outcomes, 0)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield sent
        finally:
            done.set()
            thread.join()


@pytest.fixture(scope="module")
def million(postgres: PostgresServer) -> Iterator[Million]:
    found = Million(postgres)
    yield found
    found.ledger.close()


class Server(ApiServer):
    """Airflow's API server with the page."""

    def __init__(self, url: URL, home: str, **settings: str) -> None:
        before = dict(os.environ)
        os.environ.update(settings)
        try:
            super().__init__(url, home)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"Accept": "text/html", **headers})
        reply = connection.getresponse()
        answer = reply.status, reply.read().decode(), reply.headers
        connection.close()
        return answer

    def seconds(self, path: str, requests: int = REQUESTS) -> list[float]:
        """Ask for a page again and again; give how long each took."""
        took = []
        for _ in range(requests):
            began = time.perf_counter()
            assert self.ask(path)[0] == 200
            took.append(time.perf_counter() - began)
        return took

    def until_counted(self, path: str) -> None:
        end = time.monotonic() + 120
        while 'http-equiv="refresh"' in self.ask(path)[1]:
            assert time.monotonic() < end
            time.sleep(0.2)


@pytest.fixture
def server(million: Million, tmp_path: Path) -> Iterator[Any]:
    running: list[Server] = []

    def start(**settings: str) -> Server:
        running.append(Server(million.url, str(tmp_path / "airflow"), **settings))
        running[-1].wait()
        end = time.monotonic() + 90
        while running[-1].ask("/api/v2/monitor/health", Accept="application/json")[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.3)
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.mark.slow
def test_a_million_messages_are_counted_rightly(million: Million, postgres: PostgresServer) -> None:
    figures = overview.figures(million.ledger, 1)
    states = postgres.sql(
        million.url, "SELECT state, count(*) FROM telekom_sms_message WHERE campaign_id = 1 GROUP BY state"
    )
    assert dict(figures.by_state) == {state: int(number) for state, number in states}
    assert figures.total == MESSAGES
    campaign = overview.campaign(million.ledger, 1)
    assert campaign is not None
    details = overview.details(million.ledger, campaign, figures)
    assert details.timeline is not None
    assert sum(details.timeline.sent) == figures.accepted
    assert sum(details.timeline.delivered) == figures.arrived
    assert details.invalid == [("phone number … is wrong", figures.of("invalid"))]
    print(f"\ncounted in {figures.took:.2f} s, details in {details.took:.2f} s")


@pytest.mark.slow
def test_a_million_messages_are_shown_at_once(
    million: Million, server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = server(AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True")
    trivial, page = f"{PREFIX}/?q=nothing-is-called-so", f"{PREFIX}/c/1"
    began = time.perf_counter()
    assert airflow.ask(page)[0] == 200
    cold = time.perf_counter() - began
    airflow.until_counted(page)
    airflow.until_counted(f"{PREFIX}/")
    airflow.seconds(trivial, 10)
    pages = {
        "campaign": page,
        "campaigns, 50 of 1,001": f"{PREFIX}/",
        "rows": f"{page}/rows",
        "rows, rejected": f"{page}/rows?show=rejected",
        "rows, expired": f"{page}/rows?show=EXPIRED",
        "rows, to be sent": f"{page}/rows?show=planned",
        "rows from the middle": f"{page}/rows?after=1.500000.1",
        "in doubt": f"{page}/doubts",
    }
    lines = [f"cold, from the start of the server: {cold * 1000:.0f} ms"]
    with million.being_sent() as sent:
        time.sleep(15)  # so that what was counted is old
        began = time.perf_counter()
        assert airflow.ask(page)[0] == 200
        first = time.perf_counter() - began
        base = statistics.median(airflow.seconds(trivial))
        lines.append(
            f"trivial page {base * 1000:.1f} ms; first response after the warm-up {first * 1000:.0f} ms"
        )
        for name, path in pages.items():
            took = airflow.seconds(path)
            median, worst = statistics.median(took), max(took)
            ratio = f"{median / base:.1f} x trivial"
            lines.append(f"{name}: median {median * 1000:.1f} ms, {ratio}, worst {worst * 1000:.0f} ms")
            assert worst < 2 * LONGEST, name
            assert median < LONGEST, name
    lines.append(f"meanwhile {sum(sent)} messages were sent")
    with capsys.disabled():
        print("", *lines, sep="\n")
    assert first < LONGEST
    assert sum(sent) > 500


@pytest.mark.slow
def test_the_page_in_a_browser(
    million: Million, server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = server(AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True")
    page = f"{PREFIX}/c/1"
    airflow.until_counted(page)
    airflow.until_counted(f"{PREFIX}/")
    plugins = json.loads(airflow.ask("/api/v2/plugins", Accept="application/json")[1])["plugins"]
    [plugin] = [one for one in plugins if one["name"] == "telekom_sms"]
    [view] = plugin["external_views"]
    assert airflow.ask(view["href"])[0] == 200
    assert airflow.ask(view["icon"])[0] == 200
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        with capsys.disabled():
            print(f"\nNo pictures were taken: none of {', '.join(BROWSERS)} is on the PATH")
        return
    folder = Path(os.environ.get("TELEKOM_SMS_PICTURES") or tmp_path / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in {
        "campaigns": f"{PREFIX}/", "campaign": page, "doubts": f"{page}/doubts",
        "in-airflow": f"/plugin/{view['url_route']}",
    }.items():  # fmt: skip
        picture = folder / f"{name}.png"
        shoot(browser, f"http://127.0.0.1:{airflow.port}{path}", picture)
        assert picture.stat().st_size > 20_000
    with capsys.disabled():
        print(f"\npictures are in {folder}")


def shoot(browser: str, url: str, picture: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="telekom-sms-pictures-") as profile:
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-quic", "--hide-scrollbars",
            "--window-size=1200,900", "--virtual-time-budget=8000", f"--user-data-dir={profile}",
            f"--screenshot={picture}",
        ]  # fmt: skip
        subprocess.run([browser, *options, url], check=True, capture_output=True, timeout=120)


@pytest.mark.slow
def test_nobody_gets_in_without_a_login(million: Million, server: Any, tmp_path: Path) -> None:
    """With passwords, as Airflow asks for them."""
    users = "vera:viewer,oto:op"
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({"vera": "heslo-very", "oto": "heslo-ota"}))
    airflow = server(
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="False",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=users,
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=str(passwords),
    )
    status, text, headers = airflow.ask(f"{PREFIX}/c/1?numbers=1")
    assert (status, "price-change" in text) == (302, False)
    assert headers["location"] == "/api/v2/auth/login?next=%2Ftelekom-sms-campaigns%2Fc%2F1"
    login = airflow.ask(headers["location"])[2]["location"]
    assert "/auth/login?next=" in login
    cookies = {}
    for name, password in (("vera", "heslo-very"), ("oto", "heslo-ota")):
        body = json.dumps({"username": name, "password": password})
        given = airflow.ask("/auth/token", "POST", body, **{"Content-Type": "application/json"})
        assert given[0] == 201
        cookies[name] = f"_token={json.loads(given[1])['access_token']}"
    for name, sees in (("vera", False), ("oto", True)):
        status, text, _ = airflow.ask(f"{PREFIX}/c/1/rows?numbers=1&show=421903123456", Cookie=cookies[name])
        assert (status, "+421 900 000 001" in text) == (200, sees)
    assert (
        airflow.ask(f"{PREFIX}/c/1/change", "POST", "change=pause&reason=x", Cookie=cookies["vera"])[0] == 403
    )
    printed = airflow.printed()
    for hidden in ("421903123456", "421900000001", "numbers=1", "heslo"):
        assert hidden not in printed
    assert f"{PREFIX}/c/1/rows" in printed
