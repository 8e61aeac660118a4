"""What a person reads before a campaign is sent: how many messages, what they cost and why, some texts."""

from __future__ import annotations

from typing import Any

from airflow_provider_telekom_sms.campaign.costs import in_words, priced
from airflow_provider_telekom_sms.campaign.plan import REACHED_BEFORE, SHOWN
from airflow_provider_telekom_sms.ledger import planning, reporting
from airflow_provider_telekom_sms.ledger.store import Ledger


def summarize(ledger: Ledger, campaign_id: str, plan_id: int, price_per_part: float | None) -> dict[str, Any]:
    """
    Sum up a plan as JSON; no number is whole, and of texts only what is the same for all.

    :param campaign_id: the campaign's id as the user knows it
    :param price_per_part: price of one SMS part; None where none is set
    """
    number = reporting.campaign_number(ledger, campaign_id)
    counts = reporting.counts(ledger, number, plan_id)
    by_parts = priced(reporting.messages_by_parts(ledger, plan_id), price_per_part)
    summary: dict[str, Any] = {
        "campaign_id": campaign_id,
        "total": counts.total,
        "messages": counts.total - counts.invalid - counts.duplicate - counts.suppressed,
        "parts": counts.parts,
        "invalid": counts.invalid,
        "duplicate": counts.duplicate,
        "suppressed": counts.suppressed,
        "reached_before": reporting.reached_before(ledger, plan_id),
        "by_parts": by_parts,
        "invalid_rows": [
            {"row": row, "reason": reason} for row, reason in reporting.invalid_rows(ledger, plan_id, SHOWN)
        ],
        **planning.summary_of(ledger, plan_id),
    }
    if price_per_part is not None:
        summary["price"] = round(sum(row["price"] for row in by_parts), 6)
    return summary


def describe_plan(summary: dict[str, Any]) -> str:
    """
    Say in Markdown what :func:`summarize` gave.

    :param summary: what it gave
    """
    price = f", price **{summary['price']:.2f}**" if "price" in summary else ""
    lines = [
        f"Campaign `{_plain(summary['campaign_id'])}`: **{summary['messages']} messages**, "
        f"{summary['parts']} parts{price}",
        "",
        f"Of {summary['total']} rows: {summary['invalid']} invalid, {summary['duplicate']} duplicate, "
        f"{summary['suppressed']} suppressed.",
    ]
    if summary["reached_before"]:
        lines += ["", f"**{REACHED_BEFORE.format(summary['reached_before'], summary['messages'])}.**"]
    given = {**summary.get("parameters", {})}
    given |= {name: summary.get(name) for name in ("send_window", "channels")}
    if shown := [f"{name} {value}" for name, value in given.items() if value is not None]:
        lines += ["", f"With {', '.join(shown)}."]
    lines += _table(summary["by_parts"])
    if costs := in_words(summary["costs"]) if "costs" in summary else []:
        lines += ["", "What costs more than it has to:", "", *(f"- {line}" for line in costs)]
    if summary["invalid_rows"]:
        more = " (the first)" if summary["invalid"] > len(summary["invalid_rows"]) else ""
        lines += ["", f"Invalid rows{more}:", ""]
        lines += [f"- row {found['row']}: {found['reason']}" for found in summary["invalid_rows"]]
    if samples := summary.get("samples"):
        lines += ["", "Samples, with what comes from the rows masked:", ""]
        lines += [f"- row {one['row']}, to {one['to']}: {' '.join(one['text'].split())}" for one in samples]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Keep a campaign's id from breaking out of its place."""
    return " ".join(text.replace("`", "'").split())


def _table(by_parts: list[dict[str, Any]]) -> list[str]:
    if not by_parts:
        return []
    priced_rows = "price" in by_parts[0]
    lines = ["", "| parts | messages |" + " price |" * priced_rows, "|--:|--:|" + "--:|" * priced_rows]
    for row in by_parts:
        price = f" {row['price']:.2f} |" if priced_rows else ""
        lines.append(f"| {row['parts']} | {row['messages']} |{price}")
    return lines
