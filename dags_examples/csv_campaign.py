"""
A campaign from a CSV file: a text per row, each sent once, and an outcome for every row.

The file's text columns fill the template; a bad row is left out and named in the report. If the task is
killed and retried, it goes on where it stopped.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Param

from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator

with DAG(
    dag_id="telekom_sms_csv_campaign",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    params={
        "source": Param(str(Path(__file__).parent / "data" / "faktury.csv"), type="string"),
        "report": Param("/tmp/telekom_sms_report.csv", type="string"),  # noqa: S108
    },
    doc_md=__doc__,
):
    TelekomSmsBulkSendOperator(
        task_id="send",
        source="{{ params.source }}",
        to_column="telefon",
        text="Dobrý deň {meno}, faktúra {cislo} na {suma:.2f} € je splatná {splatnost}. Ďakujeme.",
        report_path="{{ params.report }}",
        max_messages=10_000,
        wait_for_delivery=True,
        deferrable=True,
        poll_interval=2,
        delivery_timeout=timedelta(hours=12),
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
