"""Ledgers of any content, written past the package, and what they hold."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import strategies as st

from airflow_provider_telekom_sms.ledger import schema
from airflow_provider_telekom_sms.ledger.store import Ledger, State

#: When all of it happened, milliseconds since 1970 UTC.
BEGAN = 1_767_600_000_000
CODES = (
    None, "QUEUED", "SENT", "ERROR", "UNKNOWN", "EXPIRED", "DELETED", "UNDELIVERABLE", "DENIED", "DELIVERED",
    "READ", "NEW_ONE",
)  # fmt: skip
ALWAYS_FINAL = {"UNKNOWN", "DELIVERED", "READ"}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A message as it may stand in a ledger."""
    state = draw(st.sampled_from(State))
    accepted = state == State.ACCEPTED
    code = draw(st.sampled_from(CODES)) if accepted else None
    may_be_final = code in ALWAYS_FINAL | {"ERROR", "EXPIRED", "DELETED", "UNDELIVERABLE", "DENIED"}
    late = draw(st.integers(0, 5 * 86_400_000))
    return {
        "campaign": draw(st.integers(0, 2)),
        "plan": draw(st.integers(0, 1)),
        "row": draw(st.integers(1, 9)),
        "parts": draw(st.none() | st.integers(0, 4)),
        "state": state.value,
        "reason": draw(
            st.sampled_from([None, "no", "wrong number 421903000111", "wrong number 0903 000 222"])
        ),
        "state_at": None if state == State.PLANNED else BEGAN + draw(st.integers(0, 86_400_000)),
        "delivery_code": code,
        "is_final": code in ALWAYS_FINAL or (may_be_final and draw(st.booleans())),
        "delivered_at": BEGAN + late if code in ("DELIVERED", "READ") else None,
        "phone": "421903000111",
    }


def write(ledger: Ledger, found: list[dict[str, Any]]) -> None:
    """Write three campaigns of two plans each, and these messages."""
    with ledger.transaction() as connection:
        for table in ("message", "plan", "owner", "campaign", "callback", "action"):
            connection.execute(getattr(schema, table).delete())
        for n in range(3):
            name = f"campaign {n}"
            campaign = {"id": n + 1, "name": name, "name_hash": schema.name_hash(name), "created_at": BEGAN}
            connection.execute(schema.campaign.insert().values(**campaign, state="active"))
            for m in range(2):
                summary = json.dumps({"price_per_part": (m + 1) / 10})
                plan = {"id": 10 * (n + 1) + m, "campaign_id": n + 1, "owner_id": 0, "slot": f"slot {m}"}
                plan |= {"fingerprint": "", "state": "ready", "fallback": False, "parameters": "{}"}
                connection.execute(schema.plan.insert().values(**plan, summary=summary, created_at=BEGAN))
        rows = [
            {
                **{name: value for name, value in one.items() if name not in ("campaign", "plan")},
                "id": number,
                "campaign_id": one["campaign"] + 1,
                "plan_id": 10 * (one["campaign"] + 1) + one["plan"],
                "message_id": f"m{number}" if one["state"] == State.ACCEPTED else None,
            }
            for number, one in enumerate(found, 1)
        ]
        if rows:
            connection.execute(schema.message.insert(), rows)


def counted(found: list[dict[str, Any]], campaign: int) -> dict[str, int]:
    """Count in Python what the ledger counts in SQL."""
    mine = [one for one in found if one["campaign"] == campaign]
    states = Counter(one["state"] for one in mine)
    accepted = [one for one in mine if one["state"] == "accepted"]
    final = Counter(one["delivery_code"] for one in accepted if one["is_final"])
    arrived = sum(one["delivery_code"] in ("DELIVERED", "READ") for one in accepted)
    undelivered = sum(number for code, number in final.items() if code not in ALWAYS_FINAL)
    return {
        "total": len(mine),
        "messages": len(mine) - states["invalid"] - states["duplicate"] - states["suppressed"],
        "unsent": states["planned"] + states["claimed"],
        "accepted": len(accepted),
        "arrived": arrived,
        "read": final["READ"],
        "undelivered": undelivered,
        "failed": undelivered + states["rejected"],
        "unknown": final["UNKNOWN"],
        "on_the_way": len(accepted) - arrived - undelivered - final["UNKNOWN"],
    }
