"""Operators that look after the ledger: settle what is in doubt, erase personal data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_telekom_sms.operators.base import LedgerOperator, wrong
from airflow_provider_telekom_sms.operators.errors import not_retried

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

DECISIONS = ("sent", "resend", "drop")


class TelekomSmsSettleOperator(LedgerOperator):
    """
    Says what became of messages in doubt, or what is to become of them.

    Who, when and why is kept in the ledger.

    :param campaign_id: the campaign's id
    :param decision: ``sent`` counts as accepted; ``resend`` leaves it to the next try of any task of the
        campaign, perhaps twice; ``drop`` counts as rejected and is never sent
    :param rows: row numbers of the source, a list or ``"3,7-9"``; None for all that is in doubt
    :param reason: why
    :param ledger_conn_id: Airflow connection of the ledger's database; by default what is configured
    :return: campaign_id, decision, how many were ``settled``, how many are still ``in_doubt``
    """

    template_fields: Sequence[str] = ("campaign_id", "decision", "rows", "reason", "ledger_conn_id")

    def __init__(
        self,
        *,
        campaign_id: str,
        decision: str,
        rows: Iterable[int] | str | None = None,
        reason: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.campaign_id = campaign_id
        self.decision = decision
        self.rows = rows
        self.reason = reason
        # A template that renders to nothing must not settle everything.
        self._everything = rows is None
        if "{{" not in str(decision) and decision not in DECISIONS:
            raise wrong("decision", decision, ", ".join(map(repr, DECISIONS)))

    @not_retried()
    def execute(self, context: Context) -> dict[str, Any]:
        """Settle, all or nothing."""
        from airflow_provider_telekom_sms.ledger import actions, reporting

        ledger, rows = self._ledger(), self._rows()
        settled = actions.settle(
            ledger, self.campaign_id, self.decision, rows=rows, actor=_actor(context), reason=self.reason
        )
        number = reporting.campaign_number(ledger, self.campaign_id)
        left = reporting.counts(ledger, number).in_doubt
        self.log.info(
            "Campaign %s: %d settled as %r, %d in doubt", self.campaign_id, settled, self.decision, left
        )
        return {
            "campaign_id": self.campaign_id,
            "decision": self.decision,
            "settled": settled,
            "in_doubt": left,
        }

    def _rows(self) -> list[int] | None:
        from airflow_provider_telekom_sms.ledger.actions import read_rows

        rows: Any = self.rows
        if rows is None and self._everything:
            return None
        if isinstance(rows, str):
            return read_rows(rows) if rows.strip("[]() ") or not rows.strip() else []
        if isinstance(rows, int) and not isinstance(rows, bool):
            return [rows]
        if isinstance(rows, Iterable) and not isinstance(rows, Mapping):
            return [number for row in rows for number in (read_rows(row) if isinstance(row, str) else [row])]
        raise wrong("rows", type(rows).__name__, "row numbers, or None in the DAG itself for all")


class TelekomSmsPurgeOperator(LedgerOperator):
    """
    Erases the personal data of old messages: numbers, texts, keys, reasons.

    What tells that a message was sent stays, so that nothing is sent twice. What is still to be sent is left.

    :param older_than: how long ago a message last changed at least, timedelta or days
    :param forget: also delete campaigns in which nothing is younger or still to be sent. Warning: what runs
        under their ids again is sent again
    :param ledger_conn_id: Airflow connection of the ledger's database; by default what is configured
    :return: how many ``messages`` were erased, ``campaigns`` deleted, and messages ``left`` as they were
    """

    template_fields: Sequence[str] = ("ledger_conn_id",)

    def __init__(self, *, older_than: timedelta | float, forget: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.older_than = older_than
        self.forget = forget
        self._age()

    def _age(self) -> timedelta:
        age: Any = self.older_than
        try:
            if isinstance(age, int | float) and not isinstance(age, bool):
                age = timedelta(days=age)
        except (ValueError, OverflowError):
            age = None
        if not isinstance(age, timedelta) or age <= timedelta(0):
            raise wrong("older_than", self.older_than, "a timedelta or days, above 0")
        return age

    @not_retried()
    def execute(self, context: Context) -> dict[str, int]:
        """Erase; where it is broken off, the next try goes on."""
        from airflow_provider_telekom_sms.ledger.purging import purge

        age = self._age()
        purged = purge(
            self._ledger(), age, forget=self.forget, actor=_actor(context), reason=f"older than {age}"
        )
        self.log.info(
            "Erased %d messages, deleted %d campaigns, left %d messages that are still to be sent",
            purged.messages,
            purged.campaigns,
            purged.left,
        )
        return asdict(purged)


def _actor(context: Context) -> str:
    """Name the task instance that does it."""
    ti: Any = context["ti"]
    map_index = getattr(ti, "map_index", -1)
    return f"{ti.dag_id}/{ti.task_id}/{ti.run_id}" + (f"/{map_index}" if map_index >= 0 else "")
