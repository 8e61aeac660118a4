"""Goes on once the messages are delivered; the waiting holds no worker."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, task

from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator
from airflow_provider_telekom_sms.sensors.telekom_sms import TelekomSmsDeliverySensor

CAMPAIGN = "pozvanka/{{ run_id }}"

with DAG(
    dag_id="telekom_sms_wait_for_delivery",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    doc_md=__doc__,
):

    @task
    def invited() -> list[dict[str, str]]:
        """Stand for a query of the warehouse."""
        return [
            {"phone": "0903 123 450", "name": "Ľubica"},
            {"phone": "+421 903 123 455", "name": "Šimon"},
            {"phone": "0903/123 456", "name": "Žofia"},
        ]

    @task
    def next_step() -> None:
        """Stand for what may begin once people know."""

    send = TelekomSmsBulkSendOperator(
        task_id="send",
        source=invited(),
        text="{name}, pozývame vás v piatok o 17:00 na otvorenie predajne.",
        campaign_id=CAMPAIGN,
        retries=3,
    )
    delivered = TelekomSmsDeliverySensor(
        task_id="delivered",
        campaign_id=CAMPAIGN,
        min_success_ratio=0.9,
        deferrable=True,
        timeout=timedelta(hours=12).total_seconds(),
    )
    send >> delivered >> next_step()
