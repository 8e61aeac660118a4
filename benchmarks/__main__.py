"""
Measures; prints what was to be reached; writes docs/performance.md.

::

    python -m benchmarks                     all of it, into benchmarks/results.json and docs/
    python -m benchmarks --only planning     some sections; prints, and writes nothing but with --output
    python -m benchmarks --quick             all of it in small, likewise
    python -m benchmarks report [FILE]       what a file holds, into docs/
    python -m benchmarks targets [FILE]      print what a file says of the targets
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.parsing import parsing
from benchmarks.planning import planning
from benchmarks.polling import polling
from benchmarks.process import ROOT
from benchmarks.sending import batches, sending, workers
from benchmarks.server import serve
from benchmarks.suite import Suite
from benchmarks.targets import Results, targets

SECTIONS = {
    "sending": sending,
    "batches": batches,
    "workers": workers,
    "planning": planning,
    "polling": polling,
    "parsing": parsing,
}
PACKAGES = ("apache-airflow", "aiohttp", "requests", "uvloop", "SQLAlchemy")


def machine() -> dict[str, Any]:
    """Tell what it is measured on."""
    cpu = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists() and (
        found := re.search(r"model name\s*: (.+)", info.read_text())
    ):
        cpu = found[1]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def measure(sections: list[str], quick: bool) -> Results:
    """Run sections in one go, with one server."""
    results: Results = {"machine": machine(), "quick": quick}
    with serve() as server, tempfile.TemporaryDirectory(prefix="telekom-sms-benchmark-") as folder:
        suite = Suite(server, Path(folder), quick)
        for name in sections:
            results[name] = SECTIONS[name](suite)
    return results


def main() -> int:
    """Run the command; whether the targets are reached is told, and does not make it fail."""
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["run", "report", "targets"], default="run")
    parser.add_argument("file", nargs="?", type=Path, default=report.RESULTS)
    parser.add_argument("--quick", action="store_true", help="small sizes: seconds instead of minutes")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"some of {', '.join(SECTIONS)}")
    parser.add_argument("--output", type=Path, help="where to write what was measured, as JSON")
    given = parser.parse_args()
    if given.what == "run":
        sections = [name for name in SECTIONS if name in given.only.split(",")]
        results = measure(sections, given.quick)
        whole = len(sections) == len(SECTIONS) and not given.quick
        if output := given.output or (report.RESULTS if whole else None):
            output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    else:
        results, whole = report.load(given.file), given.what == "report"
    print(*targets(results), sep="\n")
    if whole:
        report.write(results)
        print(f"Written: {report.PAGE.relative_to(ROOT)}, {report.PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
