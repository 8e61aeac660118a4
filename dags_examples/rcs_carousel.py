"""
A campaign of cards to swipe through, from a CSV file; who has no RCS gets an SMS with their name in it.

The cards are the same for all, but the SMS is not, so each row is a request of its own. Without the name in
it the rows of one city would travel together, up to a hundred in a request.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Param

from airflow_provider_telekom_sms.api import rcs
from airflow_provider_telekom_sms.api.messages import CardContent
from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator

SHOP = "https://www.example.com"
OFFERS = [
    ("Telefóny", "Novinky už od 1 € k paušálu", "telefony"),
    ("Televízory", "Tento týždeň o 20 % lacnejšie", "televizory"),
    ("Slúchadlá", "Druhé za polovicu", "sluchadla"),
]


def offer(title: str, description: str, page: str) -> CardContent:
    """Make a card with a picture, and a button that opens its page."""
    button = rcs.link("Pozrieť", f"{SHOP}/{page}")
    return rcs.card(title, description, image=f"{SHOP}/{page}.jpg", buttons=[button])


with DAG(
    dag_id="telekom_sms_rcs_carousel",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    params={
        "source": Param(str(Path(__file__).parent / "data" / "zakaznici.csv"), type="string"),
        "report": Param("/tmp/telekom_sms_rcs_report.csv", type="string"),  # noqa: S108
    },
    doc_md=__doc__,
):
    TelekomSmsBulkSendOperator(
        task_id="send",
        source="{{ params.source }}",
        to_column="telefon",
        rcs=rcs.carousel([offer(*about) for about in OFFERS]),
        sms="{meno}, v predajni {mesto} máme týždeň zliav: " + SHOP,
        report_path="{{ params.report }}",
        max_messages=10_000,
        wait_for_delivery=True,
        deferrable=True,
        poll_interval=2,
        delivery_timeout=timedelta(hours=12),
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
