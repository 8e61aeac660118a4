"""The operators that look after the ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.exceptions import ConfigurationError, LedgerError
from airflow_provider_telekom_sms.ledger import actions, planning, sending
from airflow_provider_telekom_sms.ledger.location import open_ledger
from airflow_provider_telekom_sms.ledger.planning import PlannedRow
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from airflow_provider_telekom_sms.operators.ledger import TelekomSmsPurgeOperator, TelekomSmsSettleOperator


def doubtful(ledger: Ledger, campaign: str = "jar", number: int = 4) -> Ledger:
    """Leave rows 1 to ``number`` in doubt."""
    owner = planning.begin(ledger, campaign, "slot")
    plan = planning.begin_plan(ledger, owner, "print", "{}", fallback=False)
    rows = [
        PlannedRow(row, State.PLANNED, b"%016d" % row, None, f"42190300000{row}", "Ahoj", 1)
        for row in range(1, number + 1)
    ]
    planning.add(ledger, owner, plan, rows)
    planning.finish_plan(ledger, owner, plan)
    claimed = sending.exchange(ledger, owner, [], number).claimed
    sending.exchange(ledger, owner, [Outcome(m.id, State.IN_DOUBT) for m in claimed], 0)
    planning.end(ledger, owner)
    return ledger


def left(ledger: Ledger, campaign: str = "jar") -> list[int]:
    return [doubt.row for doubt in actions.in_doubt(ledger, campaign)]


def settle(**options: Any) -> TelekomSmsSettleOperator:
    return TelekomSmsSettleOperator(
        **{"task_id": "settle", "campaign_id": "jar", "decision": "drop", "reason": "too late", **options}
    )


def test_settle(context: Callable[..., Any]) -> None:
    ledger = doubtful(open_ledger())
    told = settle(rows=[1, 3]).execute(context())
    assert told == {"campaign_id": "jar", "decision": "drop", "settled": 2, "in_doubt": 2}
    assert left(ledger) == [2, 4]
    assert {(a.actor, a.reason, a.action) for a in actions.history(ledger, "jar")} == {
        ("dag/task/run", "too late", "settle: drop")
    }
    assert settle(decision="resend").execute(context(map_index=3))["settled"] == 2
    assert left(ledger) == []
    assert actions.history(ledger, "jar")[-1].actor == "dag/task/run/3"


@pytest.mark.parametrize(
    ("rows", "settled"),
    [
        ("2,3-4", [2, 3, 4]),
        (["1", 2], [1, 2]),
        ("[1, 2]", [1, 2]),
        (3, [3]),
        ([], []),
        ("[]", []),
        ((4,), [4]),
    ],
    ids=repr,
)
def test_rows(context: Callable[..., Any], rows: Any, settled: list[int]) -> None:
    ledger = doubtful(open_ledger())
    assert settle(rows=rows).execute(context())["settled"] == len(settled)
    assert left(ledger) == [row for row in (1, 2, 3, 4) if row not in settled]


@pytest.mark.parametrize("nothing", ["", "None", " ", None, {}], ids=repr)
def test_a_template_that_gives_nothing_does_not_settle_everything(
    context: Callable[..., Any], nothing: Any
) -> None:
    ledger = doubtful(open_ledger())
    operator = settle(rows="{{ rows }}")
    operator.rows = nothing  # as it is rendered, natively or not
    with pytest.raises(AirflowFailException, match=r"^rows: found"):
        operator.execute(context())
    assert left(ledger) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"reason": ""}, "reason: found nothing"),
        ({"rows": "x"}, "rows: found 'x'"),
        ({"rows": 1.5}, "rows: found 'float'"),
        ({"rows": [1.5]}, "rows"),
        ({"rows": True}, "rows: found 'bool'"),
    ],
    ids=str,
)
def test_what_another_try_would_not_mend(
    context: Callable[..., Any], options: dict[str, Any], named: str
) -> None:
    ledger = doubtful(open_ledger())
    with pytest.raises(AirflowFailException, match=named):
        settle(**options).execute(context())
    assert left(ledger) == [1, 2, 3, 4]


def test_a_decision_that_is_none(context: Callable[..., Any]) -> None:
    with pytest.raises(
        ConfigurationError, match="decision: found 'forget', allowed: 'sent', 'resend', 'drop'"
    ):
        settle(decision="forget")
    doubtful(open_ledger())
    operator = settle(decision="{{ decision }}")
    operator.render_template_fields({"decision": "forget"})
    with pytest.raises(AirflowFailException, match="decision: found 'forget'"):
        operator.execute(context())


def test_what_is_not_there(context: Callable[..., Any]) -> None:
    with pytest.raises(LedgerError, match="no campaign 'jar'"):
        settle().execute(context())
    ledger = doubtful(open_ledger())
    with pytest.raises(LedgerError, match="9 is not there"):
        settle(rows=[1, 9]).execute(context())
    assert left(ledger) == [1, 2, 3, 4]


def test_another_ledger(context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = str(tmp_path / "other.db")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "sqlite", "host": path}))
    here, there = doubtful(open_ledger()), doubtful(Ledger(URL.create("sqlite", database=path)))
    operator = settle(ledger_conn_id="{{ conn }}")
    operator.render_template_fields({"conn": "other"})
    assert operator.execute(context())["settled"] == 4
    assert (left(here), left(there)) == ([1, 2, 3, 4], [])
    actions.cancel(there, "jar", actor="Jana", reason="for good")
    there.close()
    purge = TelekomSmsPurgeOperator(
        task_id="purge", older_than=timedelta(milliseconds=1), ledger_conn_id="other"
    )
    assert purge.execute(context()) == {"messages": 4, "campaigns": 0, "left": 0, "callbacks": 0}
    assert [doubt.phone for doubt in actions.in_doubt(here, "jar")] == [
        f"42190300000{n}" for n in (1, 2, 3, 4)
    ]


def test_purge(context: Callable[..., Any]) -> None:
    ledger = doubtful(open_ledger())
    assert TelekomSmsPurgeOperator(task_id="purge", older_than=1).execute(context())["messages"] == 0
    old = TelekomSmsPurgeOperator(task_id="purge", older_than=1e-9)
    assert old.execute(context()) == {"messages": 4, "campaigns": 0, "left": 0, "callbacks": 0}
    [action] = actions.history(ledger, "jar")
    assert (action.action, action.actor, action.reason) == (
        "purge",
        "dag/task/run",
        "older than 0:00:00.000086",
    )
    forget = TelekomSmsPurgeOperator(task_id="purge", older_than=1e-9, forget=True)
    assert forget.execute(context()) == {"messages": 4, "campaigns": 1, "left": 0, "callbacks": 0}


@pytest.mark.parametrize(
    "wrong", [0, -1, True, "90", None, timedelta(0), float("nan"), float("inf"), 1e12], ids=repr
)
def test_an_age_that_is_none(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="older_than: found"):
        TelekomSmsPurgeOperator(task_id="purge", older_than=wrong)


def test_in_a_dag(run_dag: Callable[..., Any]) -> None:
    ledger = doubtful(open_ledger())
    doubtful(ledger, "none")
    with DAG("keeping", schedule=None, params={"why": "asked the operator"}) as dag:

        @task
        def rows() -> list[int]:
            return [1, 2]

        @task
        def nothing() -> None:
            return None

        given = settle(task_id="given", decision="{{ 'sent' }}", rows=rows(), reason="{{ params.why }}")
        TelekomSmsSettleOperator.partial(task_id="mapped", campaign_id="jar", reason="mapped").expand_kwargs(
            [{"rows": [3], "decision": "drop"}, {"rows": "4", "decision": "resend"}]
        )
        settle(task_id="refused", campaign_id="none", rows=nothing(), retries=2)
        given >> TelekomSmsPurgeOperator(task_id="purge", older_than=90)
    run = run_dag(dag)
    assert run.states["given"] == "success"
    assert run.xcom("given")["settled"] == 2
    assert run.xcom("purge") == {"messages": 0, "campaigns": 0, "left": 0, "callbacks": 0}
    assert [run.xcom("mapped", index)["settled"] for index in (0, 1)] == [1, 1]
    # Airflow does not try again what only the author of the DAG can mend.
    assert (run.states["refused"], run.tries["refused"]) == ("failed", 1)
    assert left(ledger, "none") == [1, 2, 3, 4]
    assert left(ledger) == []
    who = {(a.row, a.action, a.actor, a.reason) for a in actions.history(ledger, "jar")}
    assert who == {
        (1, "settle: sent", f"keeping/given/{run.run_id}", "asked the operator"),
        (2, "settle: sent", f"keeping/given/{run.run_id}", "asked the operator"),
        (3, "settle: drop", f"keeping/mapped/{run.run_id}/0", "mapped"),
        (4, "settle: resend", f"keeping/mapped/{run.run_id}/1", "mapped"),
    }


def test_a_dag_file_imports_nothing_heavy() -> None:
    code = (
        "import sys, airflow_provider_telekom_sms.operators.ledger as o;"
        "o.TelekomSmsPurgeOperator(task_id='p', older_than=90);"
        "o.TelekomSmsSettleOperator(task_id='s', campaign_id='c', decision='drop', reason='r');"
        "print(sorted(m for m in sys.modules if m.startswith('airflow_provider_telekom_sms.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = done.stdout.splitlines()[-1]
    for name in ("ledger.store", "ledger.actions", "ledger.purging", "campaign", "transport"):
        assert f"'airflow_provider_telekom_sms.{name}" not in loaded
