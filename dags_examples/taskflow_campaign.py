"""
A campaign out of Python: a function returns rows, ``@task.telekom_sms`` sends a text for each.

The rows go from the function into the ledger, and never through XCom, which Airflow keeps and shows. The
function may return a DataFrame, too, or give rows one by one with ``yield``. It is called once: a retry sends
what the plan still holds.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Param, task

with DAG(
    dag_id="telekom_sms_taskflow_campaign",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    params={
        "source": Param(str(Path(__file__).parent / "data" / "faktury.csv"), type="string"),
        "from_euro": Param(50, type="number", description="Only who owes as much is reminded"),
    },
    doc_md=__doc__,
):

    @task.telekom_sms(
        to_column="telefon",
        text="Dobrý deň {meno}, faktúra {cislo} na {suma:.2f} € je splatná {splatnost}. Ďakujeme.",
        campaign_id="dlznici/{{ run_id }}",
        wait_for_delivery=True,
        deferrable=True,
        poll_interval=2,
        delivery_timeout=timedelta(hours=12),
        multiple_outputs=True,
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
    def remind(source: str, from_euro: str) -> Iterator[dict[str, str]]:
        """Stand for what only Python can find out."""
        with Path(source).open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file, delimiter=";"):
                if row["suma"] and float(row["suma"].replace(",", ".")) >= float(from_euro):
                    yield row

    @task
    def next_step(delivered: int, accepted: int) -> str:
        """Use the counts: each of them is an XCom of its own, and none holds a number or a text."""
        return f"{delivered} of {accepted} delivered"

    reminded = remind("{{ params.source }}", "{{ params.from_euro }}")
    next_step(reminded["delivered"], reminded["accepted"])
