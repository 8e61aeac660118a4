"""
A campaign that a person approves: they see what it would cost, and samples; then four workers send it.

Until somebody answers, under *Required Actions* in Airflow, nothing is sent, and no worker is held. Needs
Airflow 3.1; before 3.3 a triggerer has to run.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param

from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsCampaignPlanOperator,
    TelekomSmsCampaignSendOperator,
)
from airflow_provider_telekom_sms.sensors.telekom_sms import TelekomSmsDeliverySensor

with DAG(
    dag_id="telekom_sms_approved_campaign",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    params={"source": Param(str(Path(__file__).parent / "data" / "faktury.csv"), type="string")},
    doc_md=__doc__,
):
    plan = TelekomSmsCampaignPlanOperator(
        task_id="plan",
        source="{{ params.source }}",
        to_column="telefon",
        text="Dobrý deň {meno}, faktúra {cislo} na {suma:.2f} € je splatná {splatnost}. Ďakujeme.",
        campaign_id="faktury/{{ run_id }}",
        price_per_part=0.045,
        max_price=100,
        retries=3,
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Send the campaign faktury/{{ run_id }}?",
        # Counts, price and masked samples: nothing that the person must not see.
        body=plan.output["description"],
        # No answer within a day is a no. Only some may answer: assigned_users=[{"id": "…", "name": "…"}];
        # tell them: notifiers=[SlackNotifier(…)].
        defaults="Reject",
        response_timeout=timedelta(days=1),
    )
    send = TelekomSmsCampaignSendOperator.partial(
        task_id="send",
        campaign_id=plan.output["campaign_id"],
        retries=3,
        retry_delay=timedelta(minutes=1),
    ).expand(worker=[0, 1, 2, 3])
    delivered = TelekomSmsDeliverySensor(
        task_id="delivered",
        campaign_id=plan.output["campaign_id"],
        min_success_ratio=0.9,
        deferrable=True,
        timeout=timedelta(hours=12).total_seconds(),
    )
    approve >> send >> delivered
