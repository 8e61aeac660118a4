"""DAGs whose first try kills its own process at one exact point; see test_kills.py."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_provider_telekom_sms.campaign import engine
from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator

ROWS = 300
#: Messages that are recorded before the process kills itself.
RECORDED_BEFORE = 100
_exchange = engine.Engine._exchange


def kill_once(point: str) -> None:
    """End this process as ``kill -9`` does, the first time it comes here."""
    marker = Path(os.environ["KILL_MARKERS"]) / point
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def patched(point: str) -> Any:
    """Give an exchange that kills the process at one point of it."""
    recorded = 0

    def exchange(self: engine.Engine, outcomes: list[Any], want: int) -> Any:
        nonlocal recorded
        if point == "before_record" and outcomes and recorded >= RECORDED_BEFORE:
            kill_once(point)
        result = _exchange(self, outcomes, want)
        recorded += len(outcomes)
        if point == "after_claim" and result.claimed and recorded >= RECORDED_BEFORE:
            kill_once(point)
        if point == "after_record" and outcomes and not result.claimed and recorded >= RECORDED_BEFORE:
            kill_once(point)
        return result

    return exchange


class KilledOperator(TelekomSmsBulkSendOperator):
    """Kills its process at the point that its task is named after."""

    def execute(self, context: Any) -> Any:
        """Send, and die once."""
        engine.Engine._exchange = patched(self.task_id)  # type: ignore[method-assign]
        return super().execute(context)


for number, kill_point in enumerate(("after_claim", "before_record", "after_record"), 1):
    with DAG(f"killed_{kill_point}", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
        KilledOperator(
            task_id=kill_point,
            source=[{"phone": f"090{2 + number}{row:06d}"} for row in range(ROWS)],
            text="Ahoj",
            campaign_id=kill_point,
            report_path=f"{os.environ['KILL_MARKERS']}/{kill_point}.csv",
            on_in_doubt="skip",
            concurrency=8,
            retries=2,
            retry_delay=timedelta(seconds=1),
        )

with DAG("deferred", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    TelekomSmsBulkSendOperator(
        task_id="send",
        source=[{"phone": f"0908{row:06d}"} for row in range(ROWS)],
        text="Ahoj",
        campaign_id="deferred",
        wait_for_delivery=True,
        deferrable=True,
        poll_interval=0.5,
    )
