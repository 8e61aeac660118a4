"""What every section needs: the server, files, ledgers, and runs whose messages are counted at the server."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import process, rows
from benchmarks.clients import RIVALS, WARM
from benchmarks.process import Job
from benchmarks.server import Server


@dataclass
class Suite:
    """
    One run of all benchmarks.

    :param folder: where files and ledgers go; a real disk, for the ledger is durable
    :param quick: small sizes, to see that all of it works
    """

    server: Server
    folder: Path
    quick: bool = False
    _ledgers: itertools.count[int] = field(default_factory=itertools.count)
    _began: float = field(default_factory=time.monotonic)

    @property
    def rounds(self) -> int:
        """How often everything is measured, one after the other; medians count."""
        return 1 if self.quick else 3

    def say(self, what: str) -> None:
        """Tell a person how far it is."""
        print(f"{time.monotonic() - self._began:4.0f} s  {what}", flush=True)

    def csv(self, number: int) -> str:
        """Give a campaign of so many rows."""
        path = self.folder / f"{number}.csv"
        return str(path if path.exists() else rows.write_csv(path, number))

    def job(self, variant: str, *, scheme: str = "http", wire: str = "json", **more: Any) -> Job:
        """Describe a run; its ledger is a new one."""
        ledger = self.folder / f"ledger-{next(self._ledgers)}.db"
        return {
            "variant": variant,
            "url": self.server.urls[scheme],
            "ca": self.server.ca,
            "wire": wire,
            "warm_path": self.csv(WARM),
            "ledger": str(ledger),
            "home": str(self.folder / "airflow"),
            **more,
        }

    def send(self, job: Job, latency_ms: float = 0) -> Job:
        """
        Run a job that sends, and count at the server.

        :raises RuntimeError: where not every row arrived exactly once
        """
        module = "clients" if job["variant"] in (*RIVALS, "limit") else "provider"
        measured = process.run(module, job, lambda: self.server.reset(latency_ms))
        counted = self.server.counts()
        self.forget(job)
        there = 0 if job["variant"] == "hollow" else job["rows"]
        if (counted["messages"], counted["repeated"], measured["sent"]) != (there, 0, job["rows"]):
            raise RuntimeError(f"{job['variant']}: {job['rows']} to send, told {measured}, counted {counted}")
        return {"rows": job["rows"], **measured, **counted}

    @staticmethod
    def forget(job: Job) -> None:
        """Delete a job's ledger."""
        if isinstance(job["ledger"], str):
            for file in Path(job["ledger"]).parent.glob(f"{Path(job['ledger']).name}*"):
                file.unlink()
