"""Plans a CSV file into a ledger that is gone afterwards; prints peak memory, seconds and counts as JSON."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, run_job, scratch_ledger


def peak_kb() -> int:
    """Not getrusage, which counts the parent's memory too until the program is loaded."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


if __name__ == "__main__":
    spec = CampaignSpec(sys.argv[1], MessageSettings(), text="Dobrý deň, {name}, dlžíte {amount:.2f} €.")
    began, cpu = time.monotonic(), time.process_time()
    with scratch_ledger() as ledger:
        counts = run_job(ledger, None, Job("campaign", "slot", spec, sends=False), None).counts  # type: ignore[arg-type]
    print(
        json.dumps(
            {
                "rows": counts.total,
                "planned": counts.planned,
                "peak_kb": peak_kb(),
                "seconds": time.monotonic() - began,
                "cpu": time.process_time() - cpu,
            }
        )
    )
