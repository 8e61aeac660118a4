"""Campaigns for the pictures of their page: a ledger that looks the same each time, and the page of it."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn
from sqlalchemy.engine import URL
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.store import Ledger

#: Monday, 5 January 2026, 11:20 in Bratislava.
NOW = 1_767_608_400_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

PRICE = 0.049
SAMPLES = [
    {"row": 1, "to": "+4219••••4821", "parts": 1, "text": "Dobrý deň, •••, pripomíname termín •••• o ••••. "
     "Nevyhovuje? Odpovedzte STOP."},
]  # fmt: skip


class Painter:
    """Writes campaigns into an empty ledger, past all that usually does."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._chance = ledger, random.Random(7)  # noqa: S311 nothing is to be kept secret

    def campaign(
        self, name: str, began: int, counts: dict[str, int], *, state: str = "active", alive: bool = False,
        spread: int = 12 * MINUTE, priced: bool = True, callbacks: int = 0,
    ) -> None:  # fmt: skip
        """
        Write a campaign.

        :param counts: messages by what became of them: a state, or the status of an accepted one
        :param spread: how long it took to send it, milliseconds
        """
        summary: dict[str, Any] = {"samples": SAMPLES, "send_window": "Mon-Fri 08:00-19:00"}
        summary |= {"price_per_part": PRICE} if priced else {}
        task = f"{name.split('/')[0]}/send/scheduled__2026-01-05T07:00:00+00:00"
        with self._ledger.transaction() as connection:
            number = self._insert(
                connection, schema.campaign,
                name_hash=schema.name_hash(name), name=name, state=state, created_at=began,
            )  # fmt: skip
            owner = self._insert(
                connection, schema.owner, campaign_id=number, slot=task, started_at=began,
                lease_until=NOW + DAY, ended_at=None if alive else began + spread,
            )  # fmt: skip
            plan = self._insert(
                connection, schema.plan, campaign_id=number, owner_id=owner, slot=task, fingerprint="",
                state="ready", fallback=False, parameters="{}", summary=json.dumps(summary), created_at=began,
            )  # fmt: skip
            rows = self._rows(counts, began, spread)
            same = {"campaign_id": number, "plan_id": plan, "owner_id": owner}
            connection.execute(schema.message.insert(), [{**same, **row} for row in rows])
            self._callbacks(connection, number, callbacks, began)

    def _insert(self, connection: sa.Connection, table: sa.Table, **values: Any) -> int:
        return int(connection.scalar(table.insert().values(values).returning(table.c.id)) or 0)

    def _rows(self, counts: dict[str, int], began: int, spread: int) -> Iterator[dict[str, Any]]:
        kinds = [kind for kind, number in counts.items() for _ in range(number)]
        unsent = [kind for kind in kinds if kind == "planned"]
        sent = [kind for kind in kinds if kind != "planned"]
        self._chance.shuffle(sent)
        for row, kind in enumerate([*sent, *unsent], 1):
            yield self._row(row, kind, began + 20_000 + int(spread * row / len(kinds)))

    def _row(self, row: int, kind: str, at: int) -> dict[str, Any]:
        phone = f"4219{self._chance.randrange(10**8):08d}"
        values: dict[str, Any] = {
            "row": row, "phone": phone, "parts": self._chance.choice([1, 1, 1, 2]), "state": kind,
            "state_at": at, "reason": None, "message_id": None, "delivery_code": None, "delivered_at": None,
            "is_final": False, "key": None, "key_hash": row.to_bytes(16, "big"), "text": None,
        }  # fmt: skip
        if kind in ("planned", "in_doubt"):
            values["text"] = "Dobrý deň"
        if kind == "planned":
            values["state_at"] = None
        elif kind in REASONS:
            values["reason"] = self._chance.choice(REASONS[kind]).format(phone[-4:])
        elif kind.isupper():
            arrived = kind in ("DELIVERED", "READ")
            late = int(self._chance.expovariate(1 / (2 * MINUTE)))
            values |= {
                "state": "accepted", "message_id": str(88_410_000 + row),
                "delivery_code": None if kind == "NEW" else kind,
                "is_final": kind not in ("NEW", "SENT", "QUEUED"),
                "delivered_at": at + late * (NOW - at) // (NOW - at + late) if arrived else None,
            }  # fmt: skip
        return values

    def _callbacks(self, connection: sa.Connection, number: int, many: int, began: int) -> None:
        for n in range(many):
            written = n % 9 == 0
            phone = f"4219{n:08d}"
            values = {
                "received_at": began + n * 1000, "kind": "inbound" if written else "postback",
                "hash": f"{number}-{n}".rjust(16).encode(), "phone": phone, "campaign_id": number,
                "payload": "{}", "text": "STOP" if written else None,
                "postback_data": None if written else ["confirm", "confirm", "change_term"][n % 3],
            }  # fmt: skip
            connection.execute(schema.callback.insert().values(values))
            if n % 27 == 0:
                connection.execute(schema.opt_out.insert().values(phone=phone, at=began))

    def action(self, campaign: str, at: int, action: str, actor: str, reason: str) -> None:
        """Write what somebody did."""
        values = {"at": at, "campaign": campaign, "action": action, "actor": actor, "reason": reason}
        with self._ledger.transaction() as connection:
            connection.execute(schema.action.insert().values(values))


REASONS = {
    "rejected": [
        "WRONG_PHONE_NUMBER: Phone number is wrong", "WRONG_PHONE_NUMBER: Phone number is wrong",
        "BLACKLISTED: Recipient is on the black list",
    ],
    "in_doubt": ["no reply within 30 s", "its sender ended before the outcome was recorded"],
    "invalid": ["phone number ••••{0} is a landline", "phone number ••••{0} has too few digits"],
    "duplicate": ["row 17 is the same"],
    "suppressed": ["the number is on the suppression list"],
}  # fmt: skip


def paint(ledger: Ledger) -> None:
    """Write campaigns into an empty ledger."""
    painter = Painter(ledger)
    painter.campaign(
        "winter-sale/2025-12-18", NOW - 18 * DAY, {"DELIVERED": 2_911, "READ": 640, "UNDELIVERABLE": 88,
        "EXPIRED": 61, "UNKNOWN": 12, "suppressed": 204}, spread=6 * MINUTE,
    )  # fmt: skip
    painter.campaign(
        "invoices/2025-12-29", NOW - 7 * DAY, {"DELIVERED": 1_804, "UNDELIVERABLE": 7, "rejected": 2}
    )
    painter.campaign(
        "price-change/2026-01", NOW - 2 * DAY, {"DELIVERED": 412, "planned": 2_903}, state="cancelled"
    )
    painter.campaign("outage/BA-Ruzinov", NOW - 26 * HOUR, {"DELIVERED": 318, "READ": 77, "EXPIRED": 4})
    painter.campaign("survey/2026-01-04", NOW - 20 * HOUR, {"DELIVERED": 150, "planned": 850}, state="paused")
    painter.campaign(
        "on_call/notify/manual__2026-01-05T06:12:09+00:00", NOW - 4 * HOUR, {"DELIVERED": 1}, priced=False
    )
    painter.campaign(
        "reminders/2026-01-05", NOW - 95 * MINUTE,
        {"DELIVERED": 8_137, "READ": 1_942, "SENT": 604, "QUEUED": 210, "NEW": 96, "UNDELIVERABLE": 143,
         "EXPIRED": 58, "DENIED": 9, "UNKNOWN": 16, "rejected": 74, "in_doubt": 6, "planned": 1_160,
         "invalid": 31, "duplicate": 118, "suppressed": 42},
        alive=True, spread=103 * MINUTE, callbacks=640,
    )  # fmt: skip
    painter.campaign(
        "deliveries/2026-01-05", NOW - 12 * MINUTE, {"DELIVERED": 96, "SENT": 44, "planned": 360}, alive=True,
        spread=10 * MINUTE,
    )  # fmt: skip
    painter.action("reminders/2026-01-05", NOW - 61 * MINUTE, "pause", "jana.novakova", "typo in the text?")
    painter.action("reminders/2026-01-05", NOW - 55 * MINUTE, "resume", "jana.novakova", "the text is right")
    painter.action("price-change/2026-01", NOW - 2 * DAY + HOUR, "cancel", "peter.kral", "wrong price list")


PHONES = """<!DOCTYPE html><title>On a phone</title><style>
body{{margin:0;background:{page};display:flex;gap:28px;padding:28px;align-items:flex-start}}
iframe{{width:360px;height:740px;border:9px solid {frame};border-radius:34px;background:{page}}}</style>
<iframe src="/telekom-sms-campaigns/"></iframe><iframe src="/telekom-sms-campaigns/c/7"></iframe>
<iframe src="/telekom-sms-campaigns/c/7/doubts"></iframe>"""


@contextmanager
def campaigns_page(folder: Path) -> Iterator[str]:
    """
    Serve the page on loopback, for somebody who may do everything.

    :param folder: where the ledger is made
    """
    from airflow_provider_telekom_sms.ui.access import Seal, Visitor
    from airflow_provider_telekom_sms.ui.app import application, guarded, visitor
    from airflow_provider_telekom_sms.ui.desk import Desk
    from airflow_provider_telekom_sms.ui.source import Source

    url = URL.create("sqlite", database=str(folder / "ledger.db"))
    ledger = Ledger(url)
    paint(ledger)
    ledger.close()
    Ledger.now = lambda self, connection: NOW  # type: ignore[method-assign]
    app = application(Desk(Source(lambda: url), Seal("pictures"), ""))
    app.dependency_overrides[visitor] = lambda: Visitor("admin", "jana.novakova", True, True)

    def phones(request: Request) -> HTMLResponse:
        dark = "dark" in request.query_params
        return HTMLResponse(
            PHONES.format(page="#0b0c0f" if dark else "#e7eaf0", frame="#3a3f4b" if dark else "#1d2028")
        )

    mounted = [Route("/phones", phones), Mount("/telekom-sms-campaigns", guarded(app))]  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(Starlette(routes=mounted), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
