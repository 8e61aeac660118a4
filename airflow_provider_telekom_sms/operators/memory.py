"""
Which ledger the last try of a task used.

A ledger that was deleted, replaced or restored from an old backup has forgotten messages that were sent. A
try that meets such a one must not send.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from airflow_provider_telekom_sms import version_compat
from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import planning
from airflow_provider_telekom_sms.ledger.planning import Owner
from airflow_provider_telekom_sms.ledger.store import Ledger

KEY = "telekom_sms_ledger"


def remember(context: Any, ledger: Ledger, owner: Owner) -> None:
    """
    Check that the ledger is the one of the task's last try, and no older; remember it for the next.

    In Airflow 3.3 this is kept in the task state store, before that in a Variable of the task instance.

    :param context: the task's context
    :param owner: this try; tokens of a ledger only ever grow
    :raises LedgerError: for another ledger, and for one that has forgotten the last try
    """
    memory = _memory(context, owner)
    if memory is None:
        return
    last = memory.get()
    if isinstance(last, dict):
        if last.get("ledger") != ledger.id:
            raise LedgerError(
                f"The last try of this task used another ledger than {ledger!r}, or that one was deleted and "
                "made anew, and what was sent would be sent again. Let [telekom_sms] ledger_conn_id or "
                "ledger_path name that one again, on every machine, or restore it. A new DAG run would go on "
                "with this one, and send again to everybody it does not know of"
            )
        if not planning.knows(ledger, last["token"], last["began_at"]):
            raise LedgerError(
                f"{ledger!r} has forgotten the last try of this task: it was restored from an older backup, "
                "or its campaign was purged, and what was sent since would be sent again. Restore a newer "
                "backup. A new DAG run would send again to everybody whom this one has forgotten"
            )
    memory.set({"ledger": ledger.id, "token": owner.id, "began_at": owner.began_at})


def _memory(context: Any, owner: Owner) -> _StateStore | _Variable | None:
    # Code that calls execute by itself has no place to remember, and no tries either.
    if version_compat.AIRFLOW_V_3_3_PLUS:
        store = context.get("task_state_store")
        return None if store is None else _StateStore(store)
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return _Variable(owner.slot) if isinstance(context.get("ti"), RuntimeTaskInstance) else None


class _StateStore:
    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self) -> Any:
        return self._store.get(KEY)

    def set(self, value: dict[str, Any]) -> None:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._store.set(KEY, value, retention=NEVER_EXPIRE)


class _Variable:
    def __init__(self, slot: str) -> None:
        self._key = f"{KEY}_{hashlib.sha256(slot.encode()).hexdigest()[:20]}"

    def get(self) -> Any:
        from airflow.sdk import Variable

        return json.loads(Variable.get(self._key, default="null"))

    def set(self, value: dict[str, Any]) -> None:
        from airflow.sdk import Variable

        Variable.set(self._key, json.dumps(value), description="The ledger that a task has sent from")
