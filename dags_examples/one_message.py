"""One message to one number, or a few: a retry does not send it again."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsSendOperator

with DAG(
    dag_id="telekom_sms_one_message",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    params={"to": Param("0903123450", type="string")},
    doc_md=__doc__,
):
    TelekomSmsSendOperator(
        task_id="send",
        to="{{ params.to }}",
        text="Nočný import dát {{ dag_run.run_after.date() }} dobehol v poriadku.",
        retries=2,
    )
