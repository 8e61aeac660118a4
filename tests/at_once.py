"""Runs a function in many processes at once: forks of one that has no threads, as pytest's has."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def at_once(number: int, function: str, *arguments: str, preload: str = "") -> list[Any]:
    """
    Give the results of one piece of work in each process.

    :param function: a ``module:function`` that prepares the work and returns it
    :param preload: modules that the processes have loaded already
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.at_once", str(number), preload, function, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def _main(number: int, preload: str, function: str, *arguments: str) -> None:
    for needed in preload.split():
        importlib.import_module(needed)
    module, _, name = function.partition(":")
    call = getattr(importlib.import_module(module), name)
    fork = multiprocessing.get_context("fork")
    start, answers = fork.Barrier(number), fork.SimpleQueue()

    def run() -> None:
        work = call(*arguments)
        start.wait()
        answers.put(work())

    processes = [fork.Process(target=run) for _ in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    codes = {process.exitcode for process in processes}
    assert codes == {0}, codes
    print(json.dumps([answers.get() for _ in processes]))


if __name__ == "__main__":
    _main(int(sys.argv[1]), *sys.argv[2:])
