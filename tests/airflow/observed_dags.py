"""DAGs whose metrics and lineage are looked at: ``python observed_dags.py`` runs them as a test would."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsBulkSendOperator,
    TelekomSmsCampaignPlanOperator,
    TelekomSmsCampaignSendOperator,
    TelekomSmsSendOperator,
)

FOLDER = Path(os.environ["AIRFLOW_HOME"])
#: Numbers and texts that must be found nowhere; made up by who runs this.
CANARIES: dict[str, Any] = json.loads(os.environ.get("CANARIES", "{}"))

with DAG("observed", schedule=None) as observed:
    plan = TelekomSmsCampaignPlanOperator(
        task_id="plan",
        source=str(FOLDER / "rows.csv"),
        text="{text}",
        suppression=f"SELECT phone FROM opted_out WHERE phone <> '{CANARIES.get('number')}'",
        sql_conn_id="warehouse",
    )
    TelekomSmsCampaignSendOperator.partial(
        task_id="send",
        campaign_id=plan.output["campaign_id"],
        report_path=str(FOLDER / "report.csv"),
        wait_for_delivery=True,
        poll_interval=0.05,
    ).expand(worker=[0])
    TelekomSmsBulkSendOperator(
        task_id="bulk",
        sql=f"SELECT phone, text FROM people WHERE phone <> '{CANARIES.get('number')}'",
        sql_conn_id="warehouse",
        text="Ahoj {text}",
        campaign_id="observed/{{ ds }}",
        wait_for_delivery=True,
        deferrable=True,
        poll_interval=0.05,
    )
    TelekomSmsBulkSendOperator(
        task_id="rejected",
        source=[{"phone": CANARIES.get("rejected"), "text": CANARIES.get("text")}],
        text="{text}",
        fail_on="any",
    )
    TelekomSmsSendOperator(task_id="single", to=CANARIES.get("number", ""), text=CANARIES.get("text", ""))


def main() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    from tests.versions import store_dag

    DagBundlesManager().sync_bundles_to_db()
    store_dag(observed)
    states = {ti.task_id: str(ti.state) for ti in observed.test().get_task_instances()}
    print("STATES", json.dumps(states), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
