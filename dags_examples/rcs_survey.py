"""
A question with buttons to a few people: "Budete doma?", Áno or Nie; who has no RCS gets it as an SMS.

What they tap is sent to the callback URL, which is a service of yours.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from airflow_provider_telekom_sms.api import rcs
from airflow_provider_telekom_sms.operators.telekom_sms import TelekomRcsSendOperator

with DAG(
    dag_id="telekom_sms_rcs_survey",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    params={
        "to": Param(["0903123450", "+421 903 123 455", "0903/123 756"], type="array"),
        "replies": Param("https://example.com/replies", type="string"),
    },
    # So that "{{ params.to }}" is a list and not its text.
    render_template_as_native_obj=True,
    doc_md=__doc__,
):
    TelekomRcsSendOperator(
        task_id="ask",
        recipients="{{ params.to }}",
        # What the button says, and what comes back to the callback URL when it is tapped.
        rcs=rcs.text("Zajtra vám doručíme balík. Budete doma?", replies={"Áno": "yes", "Nie": "no"}),
        # Sent where RCS has not arrived after 30 seconds.
        sms="Zajtra vám doručíme balík. Ak nebudete doma, zavolajte 0800 123 456.",
        callback_urls=[{"url": "{{ params.replies }}", "types": ["postback"]}],
        wait_for_delivery=True,
        deferrable=True,
        poll_interval=2,
        delivery_timeout=timedelta(hours=12),
        retries=3,
    )
