"""What is filled in on the page, and what is done with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

from airflow_provider_telekom_sms.exceptions import ConfigurationError, LedgerError
from airflow_provider_telekom_sms.ledger import actions, overview
from airflow_provider_telekom_sms.ledger.overview import Campaign
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.ui import shown

#: Bytes of a form; a page has few rows to choose.
LARGEST_FORM = 100_000
#: Characters of a reason.
LONGEST_REASON = 400

_SETTLED = {
    "sent": "{} counted as accepted, and never sent again.",
    "resend": "{} will be sent again by the next try of a task of the campaign.",
    "drop": "{} counted as rejected, and never sent.",
}
_CHANGED = {
    "pause": "The campaign is paused. What is in flight is awaited and recorded.",
    "resume": "The campaign is resumed. The next look or try of its tasks goes on.",
    "cancel": "The campaign is cancelled. What was not sent by now never will be.",
}
_CHANGES = {"pause": actions.pause, "resume": actions.resume, "cancel": actions.cancel}


@dataclass(frozen=True)
class Form:
    """What was filled in; a field that was left out is empty."""

    fields: Mapping[str, list[str]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, [""])[-1].strip()

    @property
    def rows(self) -> list[int]:
        """Numbers in the ledger of the messages that were chosen."""
        given = self.fields.get("row", [])
        return [int(one) for one in given if re.fullmatch(r"\d{1,18}", one, re.ASCII)]


async def read(request: Request) -> Form:
    """
    Read a form.

    :raises HTTPException: for one that is too large, or cannot be read
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, "The form is too large. Nothing was changed.")
    fields: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=500):
            fields.setdefault(name, []).append(value)
    except ValueError:
        raise HTTPException(400, "The form cannot be read. Nothing was changed.") from None
    return Form(fields)


def settle(ledger: Ledger, campaign: Campaign, form: Form, actor: str) -> str:
    """
    Settle what a form says.

    :param actor: who does it
    :return: what was done, for :func:`in_words`
    :raises TelekomSmsError: when it cannot be done, with a sentence for people
    """
    decision, reason = form["decision"], _reason(form)
    actions.said(actor, reason)
    if decision not in actions.DECISIONS:
        raise ConfigurationError("Say what became of the messages, or what is to become of them")
    if form["which"] != "all":
        return f"{decision}-{_settle_chosen(ledger, campaign, form, actor)}"
    if form["message_id"]:
        raise ConfigurationError("A message id goes with a single message: choose it. Nothing was changed")
    settled = actions.settle(
        ledger, campaign.name, decision, seen=form["expected"], actor=actor, reason=reason
    )
    return f"{decision}-{settled}"


def _reason(form: Form) -> str:
    if len(form["reason"]) > LONGEST_REASON:
        raise ConfigurationError(f"Say why in {LONGEST_REASON} characters. Nothing was changed")
    return form["reason"]


def _settle_chosen(ledger: Ledger, campaign: Campaign, form: Form, actor: str) -> int:
    if not form.rows:
        raise ConfigurationError("Choose at least one message")
    message_id = form["message_id"] or None
    if message_id is not None and len(form.rows) != 1:
        raise ConfigurationError("A message id goes with a single message. Nothing was changed")
    settled = 0
    for plan, rows in overview.places(ledger, campaign.number, form.rows).items():
        try:
            settled += actions.settle(
                ledger, campaign.name, form["decision"], rows=rows, plan=plan, message_id=message_id,
                actor=actor, reason=form["reason"],
            )  # fmt: skip
        except LedgerError as error:
            if settled:
                raise LedgerError(f"{shown.many(settled, 'message')} settled, and then: {error}") from None
            raise
    return settled


def change(ledger: Ledger, campaign: Campaign, form: Form, actor: str) -> str:
    """
    Pause, resume or cancel a campaign, as a form says.

    :param actor: who does it
    :return: what was done, for :func:`in_words`
    :raises TelekomSmsError: when it cannot be done, with a sentence for people
    """
    act = _CHANGES.get(form["change"])
    if act is None:
        raise ConfigurationError("Say what is to be done")
    act(ledger, campaign.name, actor=actor, reason=_reason(form))
    return form["change"]


def in_words(done: str) -> str:
    """
    Say what was done.

    :param done: what :func:`settle` or :func:`change` gave; anything else says nothing
    """
    name, _, number = done.partition("-")
    if name in _SETTLED and number.isascii() and number.isdigit() and len(number) < 10:
        return _SETTLED[name].format(shown.many(int(number), "message"))
    return _CHANGED.get(done, "")
