"""What a DAG does with the asset events of a TelekomSmsEventTrigger: it takes what they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provider_telekom_sms.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow_provider_telekom_sms.ledger.store import Ledger


def answers(context: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """
    Take the answers that started this DAG run, each once for each DAG.

    A retry, and every other task of the run, gets the same ones; no other run of the DAG gets them, even if
    Airflow tells it of the same event. They stream from the ledger. Give the function itself as ``source`` of
    a ``TelekomSmsBulkSendOperator``, or call it in a task. It gives personal data: do not return that.

    :param context: of the task; by default that of the task that runs
    :return: dicts with ``id`` (of the callback: it rises, and no other ever has it), ``kind``, ``phone``,
        ``text``, ``postback_data``, ``message_id``, ``external_id``, ``received_at``; and of the message that
        was answered, where it is known, ``campaign_id``, ``row`` and ``key``
    :raises ConfigurationError: when the worker sees another ledger than the triggerer
    :raises LedgerError: when the ledger cannot be reached
    """
    from airflow_provider_telekom_sms.ledger import events

    return chain.from_iterable([events.answers(ledger, batches) for ledger, batches in _taken(context)])


def finished_campaigns(context: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """
    Take the finished campaigns that started this DAG run, each once for each DAG, as :func:`answers` does.

    :param context: of the task; by default that of the task that runs
    :return: dicts with ``campaign_id``, ``kind``, ``total``, the counts of the states there are, and
        ``delivery``: the accepted ones by delivery status, as they were when it was finished
    :raises ConfigurationError: when the worker sees another ledger than the triggerer
    :raises LedgerError: when the ledger cannot be reached
    """
    from airflow_provider_telekom_sms.ledger import events

    return chain.from_iterable([events.campaigns(ledger, batches) for ledger, batches in _taken(context)])


def _taken(context: Mapping[str, Any] | None) -> list[tuple[Ledger, list[int]]]:
    """Take the batches of this run's asset events, by the ledger they are in."""
    from airflow_provider_telekom_sms.ledger import events
    from airflow_provider_telekom_sms.ledger.location import open_ledger

    if context is None:
        from airflow.sdk import get_current_context

        context = get_current_context()
    told: dict[tuple[str | None, str], set[int]] = defaultdict(set)
    for of_asset in (context.get("triggering_asset_events") or {}).values():
        for event in of_asset:
            payload = (event.extra or {}).get("payload")
            if isinstance(payload, dict) and {"ledger", "batch"} <= payload.keys():
                told[payload.get("ledger_conn_id"), payload["ledger"]].add(int(payload["batch"]))
    taken = []
    for (conn_id, ledger_id), batches in told.items():
        ledger = open_ledger(conn_id)
        if ledger.id != ledger_id:
            raise ConfigurationError(
                "The worker sees another ledger than the triggerer; set [telekom_sms] ledger_conn_id, or "
                "ledger_path to a file that both reach"
            )
        ti = context["ti"]
        taken.append((ledger, events.take(ledger, batches, ti.dag_id, ti.run_id)))
    return taken
