"""
A real Airflow with scheduler, triggerer and API server.

A task whose process is killed with SIGKILL is retried; another waits in the triggerer; and nothing that
Airflow keeps on the disk, task logs among it, holds a secret or a phone number.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_telekom_sms.ledger import reporting
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Settings, Simulator
from tests.airflow.running import has_ended, kept, standalone, start, state_of, wait_for_dags

POINTS = ("after_claim", "before_record", "after_record")
ROWS = 300
CONCURRENCY = 8


@pytest.mark.slow
def test_a_killed_task_is_retried_and_sends_only_the_rest(
    sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sim.state.settings = Settings(fate="delivered", latency_ms=5)
    home = tmp_path / "airflow"
    dags = [Path(__file__).with_name("killed_dags.py")]
    with standalone(home, sim, dags, KILL_MARKERS=str(home)) as airflow:
        ids = ["deferred", *(f"killed_{point}" for point in POINTS)]
        wait_for_dags(airflow, ids)
        runs = {dag_id: start(airflow, dag_id) for dag_id in ids}
        for dag_id, run_id in runs.items():
            airflow.wait_until(f"{dag_id} ends", 180, partial(has_ended, airflow, dag_id, run_id))
            assert state_of(airflow, dag_id, run_id) == "success"
            [ti] = airflow.call(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
            assert ti["try_number"] == (1 if dag_id == "deferred" else 2)
        path = f"/api/v2/dags/deferred/dagRuns/{runs['deferred']}/taskInstances/send/xcomEntries/return_value"
        summary = airflow.call(path)["value"]
        assert (summary["accepted"], summary["delivered"]) == (ROWS, ROWS)

    ledger = Ledger(f"sqlite:///{home / 'telekom_sms_ledger.db'}")
    sent = sim.state.messages_per_number()
    assert max(sent.values()) == 1
    lines = []
    for number, point in enumerate(POINTS, 1):
        campaign = reporting.campaign_number(ledger, point)
        counts = reporting.counts(ledger, campaign)
        at_server = {phone for phone in sent if phone.startswith(f"42190{2 + number}")}
        lines.append(
            f"{point}: server {len(at_server)}, ledger accepted {counts.accepted}, in doubt {counts.in_doubt}"
        )
        states = {m.phone: m.state for m in reporting.messages(ledger, campaign)}
        accepted = {phone for phone, state in states.items() if state == "accepted"}
        in_doubt = {phone for phone, state in states.items() if state == "in_doubt"}
        assert len(states) == ROWS
        assert accepted | in_doubt == set(states)
        assert accepted <= at_server <= accepted | in_doubt
        assert len(in_doubt) <= 4 * CONCURRENCY
    with capsys.disabled():
        print("", *lines, sep="\n")
    # Killed right after a claim, what was just claimed had not left; before the record, all of it had.
    assert in_doubt_at(ledger, "after_claim")
    assert in_doubt_at(ledger, "before_record")

    places = kept(home)
    assert sum(place.startswith("logs/") for place in places) >= len(ids)
    assert any(b"TelekomSmsDeliveryTrigger" in content for content in places.values())
    sessions = {request.parameters.get("session_id") for request in sim.state.requests} - {None}
    hidden = re.compile("|".join([re.escape(DEFAULT_TOKEN), *sessions, r"90[3458]000[012]\d\d"]).encode())
    assert sessions
    assert any(hidden.search(path.read_bytes()) for path in home.glob("telekom_sms_ledger*"))
    assert {place: found[0] for place, content in places.items() if (found := hidden.search(content))} == {}


def in_doubt_at(ledger: Ledger, point: str) -> int:
    return reporting.counts(ledger, reporting.campaign_number(ledger, point)).in_doubt
