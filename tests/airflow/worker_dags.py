"""DAGs of four workers that drain one campaign, and of which one is killed; see test_workers.py."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsCampaignPlanOperator,
    TelekomSmsCampaignSendOperator,
)

#: Four workers, and the one who is going to kill one of them.
PRESENT = 5
CONCURRENCY = {"workers_4": 4, "workers_8": 8, "workers_32": 32, "workers_fail": 8}


class MeetingOperator(TelekomSmsCampaignSendOperator):
    """Begins to send when all are there; otherwise the first would be done before the last has started."""

    def execute(self, context: Any) -> Any:
        """Wait for the others, and send."""
        place = Path(os.environ["MEETINGS"]) / context["run_id"]
        place.mkdir(exist_ok=True)
        (place / str(context["ti"].map_index)).touch()
        deadline = time.monotonic() + 120
        while len(list(place.iterdir())) < PRESENT:
            assert time.monotonic() < deadline, "not all have come"
            time.sleep(0.02)
        return super().execute(context)


for name, concurrency in CONCURRENCY.items():
    with DAG(name, schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
        plan = TelekomSmsCampaignPlanOperator(
            task_id="plan",
            source="{{ dag_run.conf['source'] }}",
            text="Ahoj",
            campaign_id="{{ run_id }}",
        )
        MeetingOperator.partial(
            task_id="send",
            campaign_id=plan.output["campaign_id"],
            concurrency=concurrency,
            on_in_doubt="fail" if name == "workers_fail" else "skip",
            retries=3,
            retry_delay=timedelta(seconds=1),
        ).expand(worker=[0, 1, 2, 3])
