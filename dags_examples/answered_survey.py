"""
What people answer starts this DAG: who taps Nie in the survey of ``rcs_survey.py`` gets an SMS with a link.

The answers have to reach the ledger: give the survey's parameter ``replies`` the URL of the receiver, or
leave its ``callback_urls`` out and set ``callback_url`` of the connection. A triggerer has to run.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Asset, AssetWatcher

from airflow_provider_telekom_sms.events import answers
from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator
from airflow_provider_telekom_sms.triggers.events import TelekomSmsEventTrigger

customer_said_no = Asset(
    "telekom_sms_customer_said_no",
    watchers=[
        AssetWatcher(
            name="telekom_sms_customer_said_no",
            trigger=TelekomSmsEventTrigger(
                "postback", campaign_id="telekom_sms_rcs_survey/*", postback_data="no", poll_interval=2
            ),
        )
    ],
)

with DAG(
    dag_id="telekom_sms_answered_survey",
    schedule=[customer_said_no],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    doc_md=__doc__,
):
    TelekomSmsBulkSendOperator(
        task_id="offer_another_day",
        # Those who answered since the last run.
        source=answers,
        to_column="phone",
        # One message for each answer, in whatever run: the campaign is the same for all of them.
        key_column="id",
        campaign_id="telekom_sms_survey/another_day",
        text="Ďakujeme za odpoveď. Iný deň doručenia si vyberiete na https://www.example.com/dorucenie",
        retries=3,
    )
