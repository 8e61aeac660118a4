"""
Runs the quick tests on the supported lines of Airflow, and prints a table of what came out.

    python scripts/matrix.py                   the newest line on every Python, the others on the oldest
    python scripts/matrix.py 3.1 3.2/3.12      these lines, or lines on a Python
    python scripts/matrix.py all               every line on every Python

A line is a file constraints/airflow-LINE.txt. Needs uv. Environments and logs are in build/matrix/.
Ends with 1 if a test failed, or a Python is not there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "matrix"
PYTHONS = ["3.11", "3.12", "3.13"]
LINES = sorted(
    (path.stem.removeprefix("airflow-") for path in (ROOT / "constraints").glob("airflow-*.txt")),
    key=lambda line: [int(number) for number in line.split(".")],
)
HEAD = "| Airflow | Python | | passed | failed | skipped | seconds |\n|---|---|---|--:|--:|--:|--:|"


def cells(wanted: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each line of Airflow with a Python to run on."""
    if not wanted:
        wanted = [*LINES[:-1], *(f"{LINES[-1]}/{python}" for python in PYTHONS)]
    if wanted == ["all"]:
        wanted = [f"{line}/{python}" for line in LINES for python in PYTHONS]
    for cell in wanted:
        line, _, python = cell.partition("/")
        if line not in LINES or (python or PYTHONS[0]) not in PYTHONS:
            sys.exit(f"{cell}: there are the lines {', '.join(LINES)} and the Pythons {', '.join(PYTHONS)}")
        yield line, python or PYTHONS[0]


def interpreter(version: str) -> str | None:
    """Give the path of a Python, from the PATH or from pyenv, whose shims run only what is chosen."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python")]
    for python in map(str, filter(None, found)):
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return None


def call(command: list[str], log: IO[str]) -> bool:
    """Run a command; tell whether it went well."""
    environment = {**os.environ, "UV_COMPILE_BYTECODE": "1"}
    # Without byte code Airflow is compiled anew at every start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PATH"] += os.pathsep + str(Path(sys.executable).parent)
    return (
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False).returncode
        == 0
    )


def install(line: str, python: str, venv: Path, log: IO[str]) -> bool:
    """Make an environment with the constraints of a line; tell whether that went well."""
    make = ["uv", "venv", "--quiet", "--allow-existing", "--python", python, str(venv)]
    fill = ["uv", "pip", "install", "--quiet", "--python", str(venv / "bin" / "python")]
    constraints = ["--constraints", f"constraints/airflow-{line}.txt", "--editable", ".[dev]"]
    return call(make, log) and call([*fill, *constraints], log)


def run(line: str, version: str) -> tuple[str, int, int, int]:
    """Run the tests; give the outcome in words, and how many passed, failed and were skipped."""
    if not (python := interpreter(version)):
        return "not there", 0, 0, 0
    venv, results = BUILD / f"{line}-{version}", BUILD / f"{line}-{version}.xml"
    results.unlink(missing_ok=True)
    with (BUILD / f"{line}-{version}.txt").open("w") as log:
        if not install(line, python, venv, log):
            return "not installed", 0, 0, 0
        options = ["-m", "not slow", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
        passed = call([str(venv / "bin" / "python"), "-m", "pytest", *options, f"--junit-xml={results}"], log)
    return "passed" if passed else "failed", *counts(results)


def counts(results: Path) -> tuple[int, int, int]:
    """Read how many tests passed, failed and were skipped; none where pytest did not come to an end."""
    if not results.exists():
        return 0, 0, 0
    suite = ET.parse(results).getroot()[0]  # noqa: S314 - pytest has just written it
    total, failures, errors, skipped = (
        int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
    )
    return total - failures - errors - skipped, failures + errors, skipped


def main() -> int:
    """Run the cells that the command line names; give the exit code."""
    BUILD.mkdir(parents=True, exist_ok=True)
    table, all_passed = [HEAD], True
    for line, python in list(cells(sys.argv[1:])):
        print(f"Airflow {line} on Python {python}: {BUILD.relative_to(ROOT)}/{line}-{python}.txt", flush=True)
        begin = time.monotonic()
        outcome, *numbers = run(line, python)
        row = [line, python, outcome, *map(str, numbers), f"{time.monotonic() - begin:.0f}"]
        table.append(f"| {' | '.join(row)} |")
        all_passed &= outcome == "passed"
    print("", *table, sep="\n")
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main())
