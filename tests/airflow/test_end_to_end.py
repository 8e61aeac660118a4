"""
Airflow as where it is taken seriously: four processes, LocalExecutor, PostgreSQL for metadata and ledger.

Its connection is filled in by a browser. ``TELEKOM_SMS_PICTURES=docs/pictures`` writes the docs' pictures.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from airflow_provider_telekom_sms.ledger import reporting
from airflow_provider_telekom_sms.ledger.delivery import WATCHED
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Settings, Simulator, serve
from tests.airflow.running import Apart, answer, apart, has_ended, question, start, state_of, wait_for_dags
from tests.postgres import PostgresServer

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
IDS = {f"telekom_sms_{path.stem}" for path in EXAMPLES.glob("*.py")}
SECRET = "end-to-end-secret"
CHROMIUM = next(
    filter(
        None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    ),
    None,
)
#: So that it starts where there is no display and no network, and as root.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync", "--disable-quic"]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")
WAREHOUSE = """
CREATE TABLE reminders (id int, phone text, name text, amount numeric, due_on date);
CREATE TABLE opted_out (phone text);
INSERT INTO reminders VALUES (1, '0903123450', 'Ľubica', 12.5, '2026-01-01'),
    (2, '0903123460', 'Šimon', 7.1, '2026-01-01'), (3, '0903123470', 'Eva', 3, '2999-01-01');
INSERT INTO opted_out VALUES ('+421 903 123 460');
"""


@dataclass
class Place:
    """Airflow, the API that it sends to, and its ledger."""

    airflow: Apart
    sim: Simulator
    ledger: Ledger
    home: Path

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = self.airflow.call(path)["task_instances"]
        return found

    def states(self, dag_id: str, run_id: str) -> set[str | None]:
        return {ti["state"] for ti in self.task_instances(dag_id, run_id)}

    def end_of(self, dag_id: str, run_id: str, seconds: float = 240) -> str:
        """Wait until a run has ended; give its state."""
        self.airflow.wait_until(f"{dag_id} ends", seconds, partial(has_ended, self.airflow, dag_id, run_id))
        return state_of(self.airflow, dag_id, run_id)

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.airflow.call(path)["value"]


def connection_to(url: Any) -> str:
    """Describe a database as an Airflow connection, in JSON."""
    return json.dumps(
        {
            "conn_type": "postgres", "login": url.username, "password": url.password,
            "host": url.host, "port": url.port, "schema": url.database,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("end-to-end") / "airflow"
    metadata, url, warehouse = (postgres.database() for _ in range(3))
    for statement in filter(str.strip, WAREHOUSE.split(";")):
        postgres.sql(warehouse, statement)
    settings = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.set(
            drivername="postgresql+psycopg2"
        ).render_as_string(hide_password=False),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID": "sms_ledger",
        "AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET": SECRET,
        "AIRFLOW_CONN_SMS_LEDGER": connection_to(url),
        "AIRFLOW_CONN_WAREHOUSE": connection_to(warehouse),
    }
    ledger = Ledger(url)
    with serve() as sim, apart(home, [*EXAMPLES.glob("*.py"), EXAMPLES / "data"], **settings) as airflow:
        wait_for_dags(airflow, IDS)
        yield Place(airflow, sim, ledger, home)
        assert sim.state.violations == []
    ledger.close()


@pytest.fixture(scope="module")
def page() -> Iterator[Page | None]:
    """A page of a browser, where there is one."""
    if CHROMIUM is None:
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("TELEKOM_SMS_PICTURES") or tmp_path_factory.mktemp("pictures")).absolute()


@pytest.fixture(scope="module")
def connected(place: Place, page: Page | None, pictures: Path) -> str:
    """A connection, made as a person makes it; give what Airflow's Test button said."""
    if page is not None:
        return fill_in_the_form(place, page, pictures)
    connection = {"conn_type": "telekom_sms", "host": place.sim.url, "password": DEFAULT_TOKEN}
    place.airflow.call("/api/v2/connections", {"connection_id": "telekom_sms_default", **connection})
    return "no browser"


def fill_in_the_form(place: Place, page: Page, pictures: Path) -> str:
    host, _, port = place.sim.url.rpartition(":")
    page.set_viewport_size({"width": 1000, "height": 860})
    page.goto(f"{place.airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill("telekom_sms_default")
    form.get_by_role("combobox").click()
    page.keyboard.type("telekom")
    page.get_by_role("option", name="Telekom SMS (Slovak Telekom)").click()
    form.locator("input[name=host]").fill(host)
    form.locator("input[name=port]").fill(port)
    form.locator("input[name=password]").fill(DEFAULT_TOKEN)
    page.wait_for_timeout(1000)  # what folds is folded
    page.screenshot(path=pictures / "connection-form.png")
    form.get_by_text("Extra Fields", exact=True).click()
    form.locator("#element_sender").fill("Telekom")
    form.get_by_role("button", name="Save").click()
    page.set_viewport_size({"width": 1000, "height": 430})
    page.get_by_label("Test Connection").click()
    said = page.get_by_text("Logged in at").or_(page.get_by_text("Test Connection Failed"))
    expect(said.first).to_be_visible()
    page.wait_for_timeout(1000)
    page.screenshot(path=pictures / "connection-test.png")
    return said.first.inner_text()


@needs_chromium
def test_the_form_of_the_connection(place: Place, connected: str) -> None:
    assert connected == f"Logged in at {place.sim.url}"
    kept = place.airflow.call("/api/v2/connections/telekom_sms_default")
    assert kept["conn_type"] == "telekom_sms"
    assert kept["password"] == "***"
    extra = json.loads(kept["extra"])
    assert (extra["sender"], extra["wire_format"], extra["timeout"]) == ("Telekom", "json", 30)

    run_id = start(place.airflow, "telekom_sms_one_message", conf={"to": "0905 111 220"})
    assert place.end_of("telekom_sms_one_message", run_id) == "success"
    [message] = [m for m in place.sim.state.messages if m.number == "421905111220"]
    assert message.parameters["from"] == "Telekom"


def test_a_triggerer_that_is_killed_while_it_waits(place: Place, connected: str) -> None:
    """Nothing is delivered before it is dead; another one waits on."""
    dag_id, settings = "telekom_sms_csv_campaign", place.sim.state.settings
    settings.speed = 0.001
    run_id = start(place.airflow, dag_id, conf={"report": str(place.home / "killed.csv")})
    place.airflow.wait_until("deferral", 120, lambda: place.states(dag_id, run_id) == {"deferred"})
    checks = len(place.sim.state.requests)
    place.airflow.wait_until("the first checks", 60, lambda: len(place.sim.state.requests) > checks)

    place.airflow.kill("triggerer")
    settings.speed = 100
    assert place.states(dag_id, run_id) == {"deferred"}
    place.airflow.start("triggerer")

    assert place.end_of(dag_id, run_id) == "success"
    [ti] = place.task_instances(dag_id, run_id)
    assert ti["try_number"] == 1
    summary = place.xcom(dag_id, run_id, "send")
    assert (summary["accepted"], summary["delivered"], summary["undelivered"]) == (112, 108, 4)
    assert (
        reporting.counts(
            place.ledger, reporting.campaign_number(place.ledger, summary["campaign_id"])
        ).in_doubt
        == 0
    )


def approve(place: Place, run_id: str, page: Page | None, pictures: Path) -> None:
    """Let a person look at a campaign, and approve it."""
    dag_id = "telekom_sms_approved_campaign"
    question(place.airflow, dag_id, run_id)
    if page is not None:
        page.set_viewport_size({"width": 1280, "height": 1200})
        page.goto(f"{place.airflow.url}/dags/{dag_id}/runs/{run_id}/tasks/approve/required_actions")
        expect(page.get_by_text("113 messages", exact=True)).to_be_visible()
        page.wait_for_timeout(1000)
        page.screenshot(path=pictures / "approval.png")
    answer(place.airflow, place.airflow.processes["scheduler"].log, dag_id, run_id, "Approve")


def test_every_example(place: Place, connected: str, page: Page | None, pictures: Path) -> None:
    """All of them at once; somebody answers the survey, which starts another one."""
    state, replies = place.sim.state, f"{place.airflow.url}/telekom-sms/{SECRET}"
    state.reset()
    state.settings = Settings(speed=5)
    conf = {
        "telekom_sms_csv_campaign": {"report": str(place.home / "report.csv")},
        "telekom_sms_rcs_carousel": {"report": str(place.home / "rcs.csv")},
        "telekom_sms_rcs_survey": {"replies": replies},
    }
    by_answer = "telekom_sms_answered_survey"
    runs = {
        dag_id: start(place.airflow, dag_id, conf=conf.get(dag_id, {}))
        for dag_id in sorted(IDS - {by_answer})
    }
    approve(place, runs["telekom_sms_approved_campaign"], page, pictures)
    ended = {dag_id: place.end_of(dag_id, run_id) for dag_id, run_id in runs.items()}
    assert ended == dict.fromkeys(runs, "success") | {"telekom_sms_failure_alert": "failed"}

    assert not place.airflow.call(f"/api/v2/dags/{by_answer}/dagRuns")["dag_runs"]
    receipt = place.xcom("telekom_sms_rcs_survey", runs["telekom_sms_rcs_survey"], "ask")[0]
    state.click(receipt["message_id"], "no")
    path = f"/api/v2/dags/{by_answer}/dagRuns"
    [run] = place.airflow.wait_until("a run", 120, lambda: place.airflow.call(path)["dag_runs"])
    assert place.end_of(by_answer, run["dag_run_id"]) == "success"
    number = state.message(receipt["message_id"]).number
    assert any("vyberiete" in m.text for m in state.messages if m.number == number)

    alerts = [m for m in state.messages if m.text.startswith("Failed: ")]
    assert len(alerts) == 1
    campaigns = {name: counts_of(place, name) for name in reporting.campaigns(place.ledger)}
    assert {name: counts.in_doubt for name, counts in campaigns.items() if counts.in_doubt} == {}
    assert WATCHED not in campaigns
    assert Counter(counts.accepted for counts in campaigns.values())[112] >= 2
    if page is not None:
        look(place, page, pictures, runs)


def counts_of(place: Place, campaign: str) -> Any:
    return reporting.counts(place.ledger, reporting.campaign_number(place.ledger, campaign))


def look(place: Place, page: Page, pictures: Path, runs: dict[str, str]) -> None:
    """Look at what Airflow shows of the runs; take the pictures of the docs."""
    page.set_viewport_size({"width": 1440, "height": 660})
    dag_id = "telekom_sms_csv_campaign"
    page.goto(f"{place.airflow.url}/dags/{dag_id}/runs/{runs[dag_id]}/tasks/send")
    expect(page.get_by_text("Delivery of campaign").first).to_be_visible()
    # The page opens inside Airflow's, from its navigation.
    page.get_by_role("link", name="SMS", exact=True).click()
    campaigns = page.frame_locator("iframe")
    expect(campaigns.get_by_text("reminders").first).to_be_visible()
    page.wait_for_timeout(1000)
    page.screenshot(path=pictures / "airflow-campaigns.png")
