"""Plans a CSV file into a ledger that is gone afterwards; prints peak memory, seconds and counts as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time

from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, plan_only, scratch_ledger

if __name__ == "__main__":
    spec = CampaignSpec(sys.argv[1], MessageSettings(), text="Dobrý deň, {name}, dlžíte {amount:.2f} €.")
    began, cpu = time.monotonic(), time.process_time()
    with scratch_ledger() as ledger:
        _, counts = plan_only(ledger, Job("campaign", "slot", spec))
    print(
        json.dumps(
            {
                "rows": counts.total,
                "planned": counts.planned,
                "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                "seconds": time.monotonic() - began,
                "cpu": time.process_time() - cpu,
            }
        )
    )
