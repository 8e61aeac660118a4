"""A task whose process is killed with SIGKILL, in a real Airflow with a scheduler that retries it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
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

    def call(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode())
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
def standalone(home: Path, sim: Simulator) -> Iterator[Airflow]:
    """Run scheduler, DAG processor, triggerer and API server; end them with all their children."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "killed_dags.py").write_text(Path(__file__).with_name("killed_dags.py").read_text())
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
        "KILL_MARKERS": str(home),
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


def state_of(airflow: Airflow, point: str, run_id: str) -> str:
    return str(airflow.call(f"/api/v2/dags/killed_{point}/dagRuns/{run_id}")["state"])


@pytest.mark.slow
def test_a_killed_task_is_retried_and_sends_only_the_rest(
    sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sim.state.settings = Settings(fate="delivered", latency_ms=5)
    home = tmp_path / "airflow"
    with standalone(home, sim) as airflow:
        ids = [f"killed_{point}" for point in POINTS]
        airflow.wait_until(
            "the DAGs", 90, lambda: {d["dag_id"] for d in airflow.call("/api/v2/dags")["dags"]} >= set(ids)
        )
        runs = {
            point: airflow.call(f"/api/v2/dags/killed_{point}/dagRuns", {"logical_date": None})["dag_run_id"]
            for point in POINTS
        }
        for point, run_id in runs.items():
            airflow.wait_until(
                f"{point} ends", 180, lambda p=point, r=run_id: state_of(airflow, p, r) in ("success", "failed")
            )
            assert state_of(airflow, point, run_id) == "success"
            tries = airflow.call(f"/api/v2/dags/killed_{point}/dagRuns/{run_id}/taskInstances")
            assert [ti["try_number"] for ti in tries["task_instances"]] == [2]

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


def in_doubt_at(ledger: Ledger, point: str) -> int:
    return reporting.counts(ledger, reporting.campaign_number(ledger, point)).in_doubt
