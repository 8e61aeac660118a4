"""
Erases numbers and texts from the ledger once they are old; what was sent stays known and is not sent twice.

The report of a campaign is a file of yours: delete it yourself.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_telekom_sms.operators.ledger import TelekomSmsPurgeOperator

with DAG(
    dag_id="telekom_sms_personal_data",
    schedule="@weekly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    doc_md=__doc__,
):
    TelekomSmsPurgeOperator(task_id="purge", older_than=timedelta(days=90), retries=3)
