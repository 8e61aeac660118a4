"""
A campaign out of a warehouse: a query gives the rows, another one who must not get a message.

Rows are streamed. The query is asked once: a retry goes on from the plan, even if the table has changed. Put
the connection of your database into ``WAREHOUSE``.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator

WAREHOUSE = "warehouse"

with DAG(
    dag_id="telekom_sms_warehouse_campaign",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    doc_md=__doc__,
):
    TelekomSmsBulkSendOperator(
        task_id="send",
        # The number has to be text.
        sql="""
            SELECT id, CAST(phone AS VARCHAR(20)) AS phone, name, amount
            FROM reminders
            WHERE due_on <= '{{ dag_run.run_after.date() }}'
        """,
        sql_conn_id=WAREHOUSE,
        suppression="SELECT phone FROM opted_out",
        text="Dobrý deň {name}, nezabudnite na platbu {amount:.2f} €.",
        # Whatever is run again: one message for each reminder.
        campaign_id="reminders",
        key_column="id",
        send_window="Mo-Sa 08:00-20:00",
        max_messages=10_000,
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
