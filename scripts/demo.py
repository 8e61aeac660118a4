"""
Runs the example campaign in a real Airflow, against a Telekom API on this machine, and shows what came of it.

Leaves nothing behind but the report; can be run again and again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "demo-report.csv"
DAG_ID = "telekom_sms_csv_campaign"
KEY = "demo-key-".ljust(64, "0")
#: Lines of the run's log that are worth seeing here.
SHOWN = re.compile(
    r"\[airflow(\.task\.operators\.airflow)?_provider_telekom_sms"
    r"|Task failed|Pausing task|Traceback|Error:|DagRun Finished"
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def simulator() -> Iterator[str]:
    """Run the Telekom API of this machine; give its URL."""
    command = [sys.executable, "-m", "airflow_provider_telekom_sms.simulator", "--port", "0"]
    command += ["--token", KEY, "--speed", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(10)


def environment(home: Path, url: str) -> dict[str, str]:
    """Give an Airflow of its own, with a connection to the simulator."""
    connection = {"conn_type": "telekom_sms", "password": KEY, "host": url, "extra": {"rate_limit": 20}}
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW") and k != "PYTHONDONTWRITEBYTECODE"
    }
    return kept | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags_examples"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_TELEKOM_SMS_DEFAULT": json.dumps(connection),
        "NO_COLOR": "1",
    }


def airflow(env: dict[str, str], log: Path, *arguments: str, show: bool = False) -> int:
    """Run Airflow's command; keep what it prints in a log, and show what is worth seeing."""
    command = [sys.executable, "-m", "airflow", *arguments]
    with log.open("a") as file:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=env["AIRFLOW_HOME"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            plain = COLOUR.sub("", line).rstrip()
            if show and SHOWN.search(plain):
                print("   ", shorten(plain))
        return process.wait()


def shorten(line: str) -> str:
    """Drop what a reader of the demo does not need: the source of each line of the log."""
    return re.sub(r"\s+\[(airflow|task)[\w.]*\] .*$|, logical_date=.*$", "", line)


def outcome(home: Path) -> dict[str, int]:
    """Read from the ledger what became of the campaign."""
    from airflow_provider_telekom_sms.ledger import delivery, reporting
    from airflow_provider_telekom_sms.ledger.location import FILE
    from airflow_provider_telekom_sms.ledger.store import Ledger

    ledger = Ledger(f"sqlite:///{home / FILE}")
    [name] = reporting.campaigns(ledger)
    counts = reporting.counts(ledger, reporting.campaign_number(ledger, name))
    by_code = delivery.progress(ledger, delivery.Scope(name)).by_code
    return {
        "rows in the file": counts.total,
        "planned": counts.total - counts.invalid - counts.duplicate - counts.suppressed,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "invalid": counts.invalid,
        "duplicate": counts.duplicate,
        "in doubt": counts.in_doubt,
        **{code.lower(): number for code, number in sorted(by_code.items())},
    }


def main() -> int:
    """Run the demo; exit with 0 when the campaign ended well."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="telekom-sms-demo-") as folder, simulator() as url:
        home, log = Path(folder), Path(folder) / "demo.log"
        env = environment(home, url)
        print(f"1. A Telekom API listens on {url}; this stands in for the real one.")
        print("2. Airflow makes its metadata database.")
        failed = airflow(env, log, "db", "migrate")
        print(f"3. Airflow runs the DAG {DAG_ID} (dags_examples/csv_campaign.py):")
        conf = json.dumps({"report": str(REPORT)})
        failed = failed or airflow(env, log, "dags", "test", DAG_ID, "--conf", conf, show=True)
        if failed:
            print(log.read_text()[-5000:], f"The demo failed with exit status {failed}", sep="\n")
            return 1
        with urllib.request.urlopen(f"{url}/_simulator/summary") as reply:  # noqa: S310 our own URL
            server = json.load(reply)
        print("\n4. What became of the campaign:\n")
        for name, number in outcome(home).items():
            print(f"   {name:<20}{number:>6}")
        print(f"\n   At the server: {server['messages']} messages to {server['numbers']} numbers, ", end="")
        print(f"{len(server['repeated_numbers'])} numbers with more than one,")
        print(f"   {server['violations']} violations of the manual.")
    print(f"   Row by row: {REPORT.relative_to(ROOT)}")
    print(f"\nDone in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
