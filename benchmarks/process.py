"""
A process for every measurement, so that none warms another.

The child makes ready (imports, a few messages to warm up), says so, waits for a word, works, and tells what
it took. The parent may start several and let them go at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Seconds after which a child hangs.
PATIENCE = 900
#: Settings of this machine that would change what is measured: another Airflow, proxies, other authorities.
_FOREIGN = re.compile(r"AIRFLOW|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|SSL_CERT|\w+_proxy$", re.IGNORECASE)

Job = dict[str, Any]
#: What a child gives: what it measures is given by a callable, together with what else it has to tell.
Work = Callable[[], Job | None]


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory_mb(what: str) -> float:
    """Tell resident memory (``VmRSS``) or its peak (``VmHWM``)."""
    with contextlib.suppress(OSError):
        found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) / 1024 if found else 0.0
    # Not Linux: only the peak is known.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1 << 10
    )


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def work(prepare: Callable[[Job], Work]) -> None:
    """
    Be a child: the job is the first argument, as JSON.

    :param prepare: makes ready and gives what is to be measured
    """
    # What anything below prints goes elsewhere, and cannot spoil the answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = prepare(json.loads(sys.argv[1]))
    _forget_peak()
    before = _memory_mb("VmRSS")
    print("ready", file=answers, flush=True)
    sys.stdin.readline()
    cpu, began = _cpu(), time.perf_counter()
    told = run() or {}
    seconds, cpu = time.perf_counter() - began, _cpu() - cpu
    answer = {"seconds": seconds, "cpu": cpu, "before_mb": before, "peak_mb": _memory_mb("VmHWM"), **told}
    print(json.dumps(answer), file=answers, flush=True)


class Child:
    """A child that is ready; ``go`` lets it work, ``result`` waits for what it tells."""

    def __init__(self, module: str, job: Job, log: Path) -> None:
        self._log = log
        environment = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.{module}", json.dumps(job)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, cwd=ROOT,
                env={**environment, **job.get("env", {})},
            )  # fmt: skip
        if self._line() != "ready\n":
            self._fail()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> Job:
        answer = self._line()
        if not answer or self._process.wait(PATIENCE):
            self._fail()
        return dict(json.loads(answer))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _fail(self) -> None:
        self.end()
        raise RuntimeError(f"{self._process.args!r} failed:\n{self._log.read_text()[-4000:]}")


@contextlib.contextmanager
def child(module: str, job: Job) -> Iterator[Child]:
    """Start a child and wait until it is ready."""
    with tempfile.TemporaryDirectory(prefix="telekom-sms-child-") as folder:
        started = Child(module, job, Path(folder) / "log")
        try:
            yield started
        finally:
            started.end()


def run(module: str, job: Job, before: Callable[[], object] = lambda: None) -> Job:
    """
    Run a job to its end.

    :param before: called once the child is ready
    """
    with child(module, job) as started:
        before()
        started.go()
        return started.result()
