"""Parsing a DAG file: what importing the operators adds to importing Airflow."""

from __future__ import annotations

from benchmarks import process
from benchmarks.process import Job, Work, work
from benchmarks.suite import Suite


def prepare(job: Job) -> Work:
    """Import nothing before it is measured."""

    def bare() -> None:
        from airflow.sdk import DAG, BaseOperator  # noqa: F401

    def ours() -> None:
        bare()
        from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator  # noqa: F401

    return {"bare": bare, "ours": ours}[job["variant"]]


def parsing(suite: Suite) -> dict[str, list[float]]:
    """Import both, taking turns; the first turn compiles and does not count."""
    found: dict[str, list[float]] = {"bare": [], "ours": []}
    for turn in range(4 if suite.quick else 8):
        for name, seconds in found.items():
            job = suite.job(name, env={"AIRFLOW_HOME": str(suite.folder / "airflow")})
            measured = process.run("parsing", job)
            if turn:
                seconds.append(measured["seconds"])
    suite.say("parsing")
    return found


if __name__ == "__main__":
    work(prepare)
