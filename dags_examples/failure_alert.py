"""
A text when something goes wrong: one an hour at most, however many tasks fail; and one for a missed deadline.

Whoever is on call is named by the Airflow Variable ``on_call``, one number or several with commas, so that no
number stands in the DAG. Deadlines need Airflow 3.2 and a running triggerer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, Param, task

from airflow_provider_telekom_sms.notifications.telekom_sms import TelekomSmsNotifier

ON_CALL = "{{ var.value.get('on_call', '0903 123 450') }}"
# Used twice; what is wrong in it is told when the DAG is parsed.
ALERT = {"to": ON_CALL, "throttle": 3600, "sender": "Airflow"}

with DAG(
    dag_id="telekom_sms_failure_alert",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    params={"broken": Param(True, type="boolean")},
    default_args={"on_failure_callback": TelekomSmsNotifier(**ALERT)},
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=30),
        callback=AsyncCallback(TelekomSmsNotifier, kwargs=ALERT),
    ),
    on_success_callback=TelekomSmsNotifier(ON_CALL, "{{ alert.dag_id }}: všetky tabuľky sú načítané."),
    doc_md=__doc__,
):

    @task
    def load(table: str, params: dict[str, bool] | None = None) -> None:
        """Load a table, or fail as all others do."""
        if params and params["broken"]:
            raise RuntimeError(f"The warehouse is away: {table} cannot be loaded")

    load.expand(table=[f"table_{number}" for number in range(20)])
