"""
A card for each appointment of a CSV file: confirm or cancel it, put it into the calendar, see where it is.

What a button does comes from the columns of the row, so the card is a dict as the manual spells it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from airflow.sdk import DAG, Param

from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator

CARD = {
    "title": "{sluzba}",
    "description": "{meno}, tešíme sa na vás {zaciatok:%d.%m.%Y o %H:%M}, {adresa}.",
    "suggestions": [
        # With the number of the appointment, so that the receiver of the replies knows which is meant.
        {"reply": {"text": "Potvrdiť", "postbackData": "confirm {cislo}"}},
        {"reply": {"text": "Zrušiť", "postbackData": "cancel {cislo}"}},
        {
            "action": {
                "text": "Do kalendára",
                "postbackData": "calendar {cislo}",
                "createCalendarEvent": {
                    "title": "{sluzba}",
                    "description": "{adresa}",
                    "startDateTime": "{zaciatok}",
                    "endDateTime": "{koniec}",
                },
            }
        },
        {
            "action": {
                "text": "Kde to je",
                "postbackData": "map {cislo}",
                "viewLocation": {
                    "latLong": {"latitude": "{sirka}", "longitude": "{dlzka}"},
                    "label": "{adresa}",
                },
            }
        },
    ],
}

with DAG(
    dag_id="telekom_sms_rcs_appointment",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["telekom_sms"],
    params={
        "source": Param(str(Path(__file__).parent / "data" / "terminy.csv"), type="string"),
        "replies": Param("https://example.com/replies", type="string"),
    },
    doc_md=__doc__,
):
    TelekomSmsBulkSendOperator(
        task_id="remind",
        source="{{ params.source }}",
        to_column="telefon",
        # One message for each appointment, even if its card is changed and the same campaign runs again.
        key_column="cislo",
        rcs={"standaloneCard": {"cardOrientation": "VERTICAL", "cardContent": CARD}},
        sms="{meno}, čakáme vás {zaciatok:%d.%m.%Y o %H:%M}, {adresa}. Zrušiť: 0800 123 456",
        callback_urls=[{"url": "{{ params.replies }}", "types": ["postback"]}],
        retries=3,
    )
