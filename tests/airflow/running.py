"""A whole Airflow that runs: scheduler, DAG processor, triggerer and API server, asked over its API."""

from __future__ import annotations

import json
import os
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
from pathlib import Path
from typing import Any

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Simulator

#: What ``airflow standalone`` runs, each by itself.
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")


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

    def log_in(self) -> None:
        """Wait until the API server is there, and become one of its admins."""
        self.wait_until("health", 120, lambda: self.call("/api/v2/monitor/health"))
        self.token = self.call("/auth/token")["access_token"]


def prepare(home: Path, dags: Sequence[Path], **settings: str) -> tuple[str, dict[str, str]]:
    """
    Make the folder of an Airflow; give its URL, and the environment of its processes.

    :param dags: files and folders for its DAG folder
    :param settings: further environment variables
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (home / "dags").mkdir(parents=True)
    for path in dags:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, home / "dags" / path.name)
    return url, {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")} | {
        # standalone starts its parts by the name of the command.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__PORT": str(port),
        **settings,
    }


class Process:
    """A command of Airflow that runs in a process group of its own; what it prints is in a file."""

    def __init__(self, env: dict[str, str], *command: str) -> None:
        self.log = Path(env["AIRFLOW_HOME"]) / f"{command[0]}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """Kill it and all its children."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def end(self) -> None:
        """Tell it and its children to end; kill what does not."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def standalone(home: Path, sim: Simulator, dags: Sequence[Path], **settings: str) -> Iterator[Airflow]:
    """Run ``airflow standalone``, connected to a simulator; see :func:`prepare`."""
    connection = {"conn_type": "telekom_sms", "host": sim.url, "password": DEFAULT_TOKEN}
    url, env = prepare(home, dags, **{"AIRFLOW_CONN_TELEKOM_SMS_DEFAULT": json.dumps(connection), **settings})
    process = Process(env, "standalone")
    try:
        airflow = Airflow(url)
        airflow.log_in()
        yield airflow
    finally:
        process.end()


class Apart(Airflow):
    """An Airflow whose parts are processes of their own, as where it is taken seriously."""

    def __init__(self, url: str, env: dict[str, str]) -> None:
        super().__init__(url)
        self.env = env
        self.processes: dict[str, Process] = {}

    def start(self, part: str) -> None:
        self.processes[part] = Process(self.env, part)

    def kill(self, part: str) -> None:
        self.processes.pop(part).kill()

    def end(self) -> None:
        for process in self.processes.values():
            process.end()


@contextmanager
def apart(home: Path, dags: Sequence[Path], **settings: str) -> Iterator[Apart]:
    """Run Airflow's four parts, without a connection to anything; see :func:`prepare`."""
    url, env = prepare(home, dags, **settings)
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=env, check=True, timeout=180)
    airflow = Apart(url, env)
    try:
        for part in PARTS:
            airflow.start(part)
        airflow.log_in()
        yield airflow
    finally:
        airflow.end()


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


def question(airflow: Airflow, dag_id: str, run_id: str) -> Any:
    """Give what a person is asked, once it is asked."""
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/hitlDetails"

    def asked() -> Any:
        assert state_of(airflow, dag_id, run_id) != "failed"
        return airflow.call(path)["hitl_details"]

    [found] = airflow.wait_until("the request", 120, asked)
    return found


def answer(airflow: Airflow, scheduler: Path, dag_id: str, run_id: str, option: str) -> None:
    """
    Answer what the task ``approve`` asks.

    :param scheduler: what the scheduler prints
    """
    # Airflow 3.3.2 fails a task that is answered before its scheduler has heard that its process ended: it
    # takes the old message for one about the new process. No person is so quick, but machines may be slow.
    key = f"dag_id='{dag_id}', task_id='approve', run_id='{run_id}'"
    ended = f"state success for task instance TaskInstanceKey({key}"
    airflow.wait_until("the end of the process that asked", 120, lambda: ended in scheduler.read_text())
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    airflow.call(path, {"chosen_options": [option]}, "PATCH")


def kept(home: Path) -> dict[str, bytes]:
    """Give all that Airflow keeps: database, task logs, its own log; not the ledger and the reports."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.suffix != ".csv" and not path.name.startswith("telekom_sms_ledger")
    }
