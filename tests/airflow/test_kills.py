"""
A real Airflow with scheduler, triggerer and API server.

A task whose process is killed with SIGKILL is retried; another waits in the triggerer; and nothing that
Airflow keeps on the disk, task logs among it, holds a secret or a phone number.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_telekom_sms.ledger import reporting
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Settings, Simulator

POINTS = ("after_claim", "before_record", "after_record")
ROWS = 300
CONCURRENCY = 8


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Airflow:
    """A running Airflow, asked over its API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = ""

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def wait_until(self, what: str, seconds: float, done: Any) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if result := done():
                    return result
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.5)
        raise AssertionError(f"{what}: not within {seconds} s")


@contextmanager
def standalone(home: Path, sim: Simulator, dags: Sequence[Path], **settings: str) -> Iterator[Airflow]:
    """
    Run scheduler, DAG processor, triggerer and API server; end them with all their children.

    :param dags: files and folders for its DAG folder
    :param settings: further environment variables
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (home / "dags").mkdir(parents=True)
    for path in dags:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, home / "dags" / path.name)
    connection = {"conn_type": "telekom_sms", "host": sim.url, "password": DEFAULT_TOKEN}
    env = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")} | {
        # standalone starts its parts by the name of the command.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW_CONN_TELEKOM_SMS_DEFAULT": json.dumps(connection),
        **settings,
    }
    with (home / "standalone.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "standalone"],
            env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        airflow = Airflow(url)
        airflow.wait_until("health", 120, lambda: airflow.call("/api/v2/monitor/health"))
        airflow.token = airflow.call("/auth/token")["access_token"]
        yield airflow
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def start(airflow: Airflow, dag_id: str, **run: Any) -> str:
    return str(airflow.call(f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, **run})["dag_run_id"])


def wait_for_dags(airflow: Airflow, ids: Collection[str]) -> None:
    airflow.wait_until(
        "the DAGs", 90, lambda: {d["dag_id"] for d in airflow.call("/api/v2/dags")["dags"]} >= set(ids)
    )


def state_of(airflow: Airflow, dag_id: str, run_id: str) -> str:
    return str(airflow.call(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])


def has_ended(airflow: Airflow, dag_id: str, run_id: str) -> bool:
    return state_of(airflow, dag_id, run_id) in ("success", "failed")


def kept(home: Path) -> dict[str, bytes]:
    """Give all that Airflow keeps: database, task logs, its own log; not the ledger and the reports."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.suffix != ".csv" and not path.name.startswith("telekom_sms_ledger")
    }


@pytest.mark.slow
def test_a_killed_task_is_retried_and_sends_only_the_rest(
    sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sim.state.settings = Settings(fate="delivered", latency_ms=5)
    home = tmp_path / "airflow"
    dags = [Path(__file__).with_name("killed_dags.py")]
    with standalone(home, sim, dags, KILL_MARKERS=str(home)) as airflow:
        ids = ["deferred", *(f"killed_{point}" for point in POINTS)]
        wait_for_dags(airflow, ids)
        runs = {dag_id: start(airflow, dag_id) for dag_id in ids}
        for dag_id, run_id in runs.items():
            airflow.wait_until(f"{dag_id} ends", 180, partial(has_ended, airflow, dag_id, run_id))
            assert state_of(airflow, dag_id, run_id) == "success"
            [ti] = airflow.call(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
            assert ti["try_number"] == (1 if dag_id == "deferred" else 2)
        path = f"/api/v2/dags/deferred/dagRuns/{runs['deferred']}/taskInstances/send/xcomEntries/return_value"
        summary = airflow.call(path)["value"]
        assert (summary["accepted"], summary["delivered"]) == (ROWS, ROWS)

    ledger = Ledger(f"sqlite:///{home / 'telekom_sms_ledger.db'}")
    sent = sim.state.messages_per_number()
    assert max(sent.values()) == 1
    lines = []
    for number, point in enumerate(POINTS, 1):
        campaign = reporting.campaign_number(ledger, point)
        counts = reporting.counts(ledger, campaign)
        at_server = {phone for phone in sent if phone.startswith(f"42190{2 + number}")}
        lines.append(
            f"{point}: server {len(at_server)}, ledger accepted {counts.accepted}, in doubt {counts.in_doubt}"
        )
        states = {m.phone: m.state for m in reporting.messages(ledger, campaign)}
        accepted = {phone for phone, state in states.items() if state == "accepted"}
        in_doubt = {phone for phone, state in states.items() if state == "in_doubt"}
        assert len(states) == ROWS
        assert accepted | in_doubt == set(states)
        assert accepted <= at_server <= accepted | in_doubt
        assert len(in_doubt) <= 4 * CONCURRENCY
    with capsys.disabled():
        print("", *lines, sep="\n")
    # Killed right after a claim, what was just claimed had not left; before the record, all of it had.
    assert in_doubt_at(ledger, "after_claim")
    assert in_doubt_at(ledger, "before_record")

    places = kept(home)
    assert sum(place.startswith("logs/") for place in places) >= len(ids)
    assert any(b"TelekomSmsDeliveryTrigger" in content for content in places.values())
    sessions = {request.parameters.get("session_id") for request in sim.state.requests} - {None}
    hidden = re.compile("|".join([re.escape(DEFAULT_TOKEN), *sessions, r"90[3458]000[012]\d\d"]).encode())
    assert sessions
    assert any(hidden.search(path.read_bytes()) for path in home.glob("telekom_sms_ledger*"))
    assert {place: found[0] for place, content in places.items() if (found := hidden.search(content))} == {}


def in_doubt_at(ledger: Ledger, point: str) -> int:
    return reporting.counts(ledger, reporting.campaign_number(ledger, point)).in_doubt
