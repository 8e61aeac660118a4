"""Campaigns in two halves: a plan that a person reads, and workers that drain it side by side."""

from __future__ import annotations

import csv
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG

from airflow_provider_telekom_sms import version_compat
from airflow_provider_telekom_sms.campaign import engine
from airflow_provider_telekom_sms.exceptions import (
    CampaignBusyError,
    ConfigurationError,
    IpNotAllowedError,
    LedgerError,
    RateLimitedError,
    SourceUnavailableError,
    TelekomSmsError,
)
from airflow_provider_telekom_sms.ledger import planning, reporting, schema, sending
from airflow_provider_telekom_sms.ledger.location import open_ledger
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import State
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsBulkSendOperator,
    TelekomSmsCampaignPlanOperator,
    TelekomSmsCampaignSendOperator,
    TelekomSmsSendOperator,
)
from airflow_provider_telekom_sms.simulator import Fault, Simulator
from tests.postgres import PostgresServer
from tests.versions import needs_airflow

ROWS = [
    {"phone": "0903 100 010", "name": "Ján", "amount": "12,50"},
    {"phone": "0903 100 020", "name": "Ľubica", "amount": "7,10"},
    {"phone": "0903 100 020", "name": "Ľubica", "amount": "7,10"},
    {"phone": "nie je číslo", "name": "Eva", "amount": "1"},
    {"phone": "0903 100 030", "name": "„Eva“ " + "x" * 60, "amount": "1"},
    {"phone": "0903 100 040", "name": "Odhlásený", "amount": "1"},
]
TEXT = "Dobry den {name}, zaplatte {amount:.2f}"
Context = Callable[..., dict[str, Any]]


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger in a file, then one in PostgreSQL."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.database()
        connection = {"conn_type": "postgres", "host": url.host, "port": url.port, "schema": url.database}
        connection |= {"login": url.username, "password": url.password}
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID", "ledger")
    return str(request.param)


def many(count: int) -> list[dict[str, str]]:
    return [{"phone": f"0904{number:05d}0", "name": str(number)} for number in range(count)]


def plan(**options: Any) -> TelekomSmsCampaignPlanOperator:
    return TelekomSmsCampaignPlanOperator(**{"task_id": "plan", "campaign_id": "campaign", **options})


def send(**options: Any) -> TelekomSmsCampaignSendOperator:
    return TelekomSmsCampaignSendOperator(**{"task_id": "send", "campaign_id": "campaign", **options})


def bulk(**options: Any) -> TelekomSmsBulkSendOperator:
    return TelekomSmsBulkSendOperator(
        **{"task_id": "bulk", "campaign_id": "campaign", "text": "Ahoj {name}", **options}
    )


def fails(sim: Simulator, name: str, **options: Any) -> None:
    sim.state.order(Fault(name=name, endpoint="send_message", **options))


def counts() -> reporting.Counts:
    ledger = open_ledger()
    return reporting.counts(ledger, reporting.campaign_number(ledger, "campaign"))


class TestPlan:
    def test_what_a_person_reads(self, sim: Simulator, context: Context, where: str) -> None:
        operator = plan(source=ROWS, text=TEXT, price_per_part=0.05, suppression=["+421 903 100 040"])
        summary = operator.execute(context())
        assert json.loads(json.dumps(summary)) == summary
        expected = {
            "campaign_id": "campaign", "total": 6, "messages": 3, "parts": 4, "invalid": 1,
            "duplicate": 1, "suppressed": 1, "price": 0.2,
        }  # fmt: skip
        assert {name: summary[name] for name in expected} == expected
        assert summary["by_parts"] == [
            {"parts": 1, "messages": 2, "price": 0.1},
            {"parts": 2, "messages": 1, "price": 0.1},
        ]
        first, *_ = summary["description"].splitlines()
        assert first == "Campaign `campaign`: **3 messages**, 4 parts, price **0.20**"
        assert "| 2 | 1 | 0.10 |" in summary["description"]
        assert sim.state.requests == []

    def test_it_shows_nobody(
        self, sim: Simulator, context: Context, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level("DEBUG"):
            summary = json.dumps(plan(source=ROWS, text=TEXT).execute(context()), ensure_ascii=False)
        for secret in ("903100", "903 100", "Ľubica", "Ján", "12.50", "Odhlásený"):
            assert secret not in summary
            assert secret not in caplog.text
        assert "Dobry den J••, zaplatte 1•.••" in summary
        assert "+4219••••0010" in summary
        assert "row 5: 1 part becomes 2" in summary
        assert "row 5: 1 part becomes 2" in caplog.text

    def test_it_reads_the_same_in_the_next_try(self, sim: Simulator, context: Context) -> None:
        first = plan(source=ROWS, text=TEXT).execute(context())
        assert plan(source=ROWS, text=TEXT).execute(context(try_number=2)) == first

    def test_changed_and_not_sent_it_is_planned_anew(self, sim: Simulator, context: Context) -> None:
        plan(source=ROWS, text=TEXT).execute(context())
        summary = plan(source=ROWS[:1], text="Iny text {name}").execute(context())
        assert (summary["total"], summary["messages"]) == (1, 1)
        send().execute(context("send"))
        assert [message.text for message in sim.state.messages] == ["Iny text Ján"]

    def test_changed_and_sent_it_is_refused(self, sim: Simulator, context: Context) -> None:
        plan(source=ROWS, text=TEXT).execute(context())
        send().execute(context("send"))
        with pytest.raises(AirflowFailException, match="changed since the campaign was planned"):
            plan(source=ROWS, text="Iny text {name}").execute(context())
        assert len(sim.state.messages) == 4

    def test_a_refused_plan_leaves_a_report_and_nothing_else(
        self, sim: Simulator, context: Context, tmp_path: Path
    ) -> None:
        report = tmp_path / "report.csv"
        with pytest.raises(AirflowFailException, match="on_invalid='fail'"):
            plan(source=ROWS, text=TEXT, on_invalid="fail", report_path=str(report)).execute(context())
        with report.open(newline="") as file:
            assert [row["state"] for row in csv.DictReader(file)].count("invalid") == 1
        assert counts().total == 0
        with pytest.raises(AirflowFailException, match="has no plan"):
            send().execute(context("send"))

    def test_a_source_that_breaks_leaves_nothing(self, sim: Simulator, context: Context) -> None:
        def rows() -> Iterator[dict[str, str]]:
            yield from many(2500)
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            plan(source=rows, text="Ahoj {name}").execute(context())
        assert counts().total == 0

    def test_another_key_is_refused(self, sim: Simulator, context: Context) -> None:
        """What was sent by number and text would be sent again by key."""
        bulk(source=many(3)).execute(context())
        with pytest.raises(AirflowFailException, match=r"key_column: found 'name'.* planned with None"):
            bulk(source=many(3), key_column="name").execute(context(run_id="another"))
        assert len(sim.state.messages) == 3

    def test_a_text_that_the_api_would_refuse_is_invalid(self, sim: Simulator, context: Context) -> None:
        rows = [{"phone": "0903100010", "text": "x" * 459}, {"phone": "0903100020", "text": "x" * 460}]
        summary = plan(source=rows, text_column="text").execute(context())
        assert summary["messages"] == 1
        [invalid] = summary["invalid_rows"]
        assert invalid == {"row": 2, "reason": "the text takes 4 parts, the API takes at most 3"}


class TestWorkers:
    def test_mapped_workers_drain_one_campaign(
        self, sim: Simulator, run_dag: Callable[..., Any], where: str
    ) -> None:
        with DAG(f"workers_{where}", schedule=None) as dag:
            planned = plan(source=many(200), text="Ahoj {name}", campaign_id=None)
            TelekomSmsCampaignSendOperator.partial(
                task_id="send", campaign_id=planned.output["campaign_id"], concurrency=4
            ).expand(worker=[0, 1, 2, 3])
        run = run_dag(dag)
        assert run.state == "success", run.states
        assert sim.state.messages_per_number().keys() == {f"4219040{n:04d}0" for n in range(200)}
        assert set(sim.state.messages_per_number().values()) == {1}
        assert run.xcom("send", 3)["accepted"] == 200

    def test_side_by_side_each_row_goes_to_one(self, sim: Simulator, context: Context, where: str) -> None:
        sim.state.settings.latency_ms = 5
        plan(source=many(400), text="Ahoj {name}").execute(context())

        def work(worker: int) -> dict[str, Any]:
            return send(concurrency=4).execute(context("send", map_index=worker))

        with ThreadPoolExecutor(4) as pool:
            summaries = list(pool.map(work, range(4)))
        assert set(sim.state.messages_per_number().values()) == {1}
        assert len(sim.state.messages) == 400
        assert max(summary["accepted"] for summary in summaries) == 400
        ledger = open_ledger()
        with ledger.reading() as connection:
            owners = connection.exec_driver_sql(
                "SELECT owner_id, count(*) FROM telekom_sms_message GROUP BY owner_id"
            ).all()
        assert len(owners) == 4
        assert all(number > 20 for _, number in owners)

    def test_a_worker_that_comes_late_ends_at_once(self, sim: Simulator, context: Context) -> None:
        plan(source=many(5), text="Ahoj {name}").execute(context())
        send().execute(context("send", map_index=0))
        asked = len(sim.state.requests)
        assert send().execute(context("send", map_index=1))["accepted"] == 5
        assert len(sim.state.requests) == asked

    def test_the_last_gives_the_verdict(self, sim: Simulator, context: Context, tmp_path: Path) -> None:
        """Whoever ends while another is at work says nothing of what is in doubt or rejected."""
        plan(source=many(5), text="Ahoj {name}").execute(context())
        ledger = open_ledger()
        sibling = planning.begin(ledger, "campaign", "sibling")
        [claimed] = sending.exchange(ledger, sibling, [], 1).claimed
        fails(sim, "drop_after", times=1)
        report = tmp_path / "report.csv"
        options = {"fail_on": "any", "report_path": str(report)}
        summary = send(**options).execute(context("send", map_index=0))
        assert (summary["accepted"], summary["in_doubt"], summary["claimed"]) == (3, 1, 1)
        assert not report.exists()
        sending.exchange(ledger, sibling, [Outcome(claimed.id, State.REJECTED, reason="NO")], 0)
        planning.end(ledger, sibling)
        with pytest.raises(AirflowFailException, match="1 messages are in doubt"):
            send(**options).execute(context("send", map_index=1))
        assert report.exists()
        with pytest.raises(AirflowFailException, match=r"1 messages .* were rejected"):
            send(**options, on_in_doubt="skip").execute(context("send", map_index=2))

    def test_who_has_planned_answers_for_what_he_left_in_doubt(
        self, sim: Simulator, context: Context
    ) -> None:
        """Another run that is at work, or was killed a moment ago, must not swallow it."""
        ledger = open_ledger()
        planning.begin(ledger, "campaign", "another run")
        fails(sim, "drop_after", times=1)
        with pytest.raises(AirflowFailException, match="1 messages are in doubt"):
            bulk(source=many(5)).execute(context())

    def test_what_a_dead_sibling_had_claimed_is_in_the_verdict(
        self, sim: Simulator, context: Context, where: str
    ) -> None:
        """Nobody may ever come back to say so."""
        plan(source=many(5), text="Ahoj {name}").execute(context())
        ledger = open_ledger()
        dead = planning.begin(ledger, "campaign", "dead")
        assert len(sending.exchange(ledger, dead, [], 3).claimed) == 3
        with ledger.transaction() as connection:
            connection.execute(
                schema.owner.update().where(schema.owner.c.id == dead.id).values(lease_until=1)
            )
        with pytest.raises(AirflowFailException, match="3 messages are in doubt"):
            send().execute(context("send"))

    def test_what_an_earlier_try_left_in_doubt_is_not_forgotten(
        self, sim: Simulator, context: Context
    ) -> None:
        fails(sim, "drop_after", times=1)
        with pytest.raises(AirflowFailException, match="1 messages are in doubt"):
            bulk(source=many(5)).execute(context())
        planning.begin(open_ledger(), "campaign", "another run")
        with pytest.raises(AirflowFailException, match="1 messages are in doubt"):
            bulk(source=many(5)).execute(context(try_number=2))

    def test_what_a_sibling_at_work_left_in_doubt_is_not_resent(
        self, sim: Simulator, context: Context, where: str
    ) -> None:
        plan(source=many(3), text="Ahoj {name}").execute(context())
        ledger = open_ledger()
        sibling = planning.begin(ledger, "campaign", "sibling")
        [claimed] = sending.exchange(ledger, sibling, [], 1).claimed
        sending.exchange(ledger, sibling, [Outcome(claimed.id, State.IN_DOUBT)], 0)
        assert send(on_in_doubt="resend").execute(context("send"))["in_doubt"] == 1
        planning.end(ledger, sibling)
        assert send(on_in_doubt="resend").execute(context("send", try_number=2))["in_doubt"] == 0
        assert len(sim.state.messages) == 3

    def test_a_half_made_plan_of_another_is_not_waited_for(self, sim: Simulator, context: Context) -> None:
        plan(source=many(3), text="Ahoj {name}").execute(context())
        ledger = open_ledger()
        other = planning.begin(ledger, "campaign", "other")
        plan_id = planning.begin_plan(ledger, other, "", "{}", fallback=False)
        row = planning.PlannedRow(1, State.PLANNED, b"1" * 16, None, "421903100010", "Ahoj", 1)
        planning.add(ledger, other, plan_id, [row])
        assert send().execute(context("send"))["accepted"] == 3
        assert sim.state.logins == 1

    def test_what_another_gives_back_is_sent(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan(source=many(5), text="Ahoj {name}").execute(context())
        ledger = open_ledger()
        sibling = planning.begin(ledger, "campaign", "sibling")
        claimed = sending.exchange(ledger, sibling, [], 2).claimed
        run = engine.Engine.run

        async def slow(self: engine.Engine) -> Any:
            drained = await run(self)
            back = [Outcome(message.id, State.PLANNED) for message in claimed]
            sending.exchange(ledger, sibling, back, 0)
            return drained

        monkeypatch.setattr(engine.Engine, "run", slow)
        assert send().execute(context("send"))["accepted"] == 5

    @pytest.mark.parametrize(
        ("prepare", "message"),
        [
            (lambda context: None, "holds no campaign 'campaign'"),
            (lambda context: planning.begin(open_ledger(), "campaign", "x"), "has no plan"),
        ],
    )
    def test_without_a_plan(
        self, sim: Simulator, context: Context, prepare: Callable[..., Any], message: str
    ) -> None:
        prepare(context)
        with pytest.raises((LedgerError, AirflowFailException), match=message):
            send().execute(context("send"))

    def test_a_half_made_plan_is_not_sent(self, sim: Simulator, context: Context) -> None:
        ledger = open_ledger()
        owner = planning.begin(ledger, "campaign", "x")
        plan_id = planning.begin_plan(ledger, owner, "", "{}", fallback=False)
        row = planning.PlannedRow(1, State.PLANNED, b"1" * 16, None, "421903100010", "Ahoj", 1)
        planning.add(ledger, owner, plan_id, [row])
        with pytest.raises(CampaignBusyError, match="still being planned"):
            send().execute(context("send"))
        assert sim.state.requests == []

    def test_only_the_last_waits_for_delivery(self, sim: Simulator, context: Context) -> None:
        plan(source=many(3), text="Ahoj {name}").execute(context())
        sibling = planning.begin(open_ledger(), "campaign", "sibling")
        options = {"wait_for_delivery": True, "poll_interval": 0.05}
        assert "delivered" not in send(**options).execute(context("send", map_index=0))
        planning.end(open_ledger(), sibling)
        assert send(**options).execute(context("send", map_index=1))["delivered"] == 3

    def test_an_empty_campaign_id_is_refused(self, sim: Simulator, context: Context) -> None:
        with pytest.raises(AirflowFailException, match="campaign_id: found ''"):
            send(campaign_id="").execute(context("send"))


class TestWithoutAWorker:
    def test_a_slow_rate_defers_between_messages(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "LONG_WAIT", 0.2)
        operator = bulk(source=many(3), rate_limit=0.5, deferrable=True, concurrency=2)
        waits = []
        for _ in range(2):
            with pytest.raises(TaskDeferred) as deferred:
                operator.execute_later(context())
            assert deferred.value.method_name == "execute_later"
            waits.append((deferred.value.trigger.moment - datetime.now(UTC)).total_seconds())
            time.sleep(max(0, waits[-1]))
        assert operator.execute_later(context())["accepted"] == 3
        assert all(0 < wait <= 2.1 for wait in waits)
        moments = sorted(message.taken_at for message in sim.state.messages)
        assert len(moments) == 3
        assert moments[2] - moments[0] > 3.7

    def test_who_was_told_to_stop_does_not_wait(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "LONG_WAIT", 0.2)
        operator = bulk(source=many(3), rate_limit=0.5, deferrable=True, concurrency=1)
        over_v1 = engine.Engine._over_v1

        async def killed(self: engine.Engine, *arguments: Any) -> Any:
            operator.on_kill()
            return await over_v1(self, *arguments)

        monkeypatch.setattr(engine.Engine, "_over_v1", killed)
        with pytest.raises(TelekomSmsError, match="not at its end: killed; 2 planned"):
            operator.execute(context())

    def test_a_refused_key_is_told_and_not_waited_for(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "LONG_WAIT", 0.2)
        fails(sim, "ip")
        with pytest.raises(IpNotAllowedError):
            bulk(source=many(3), rate_limit=0.5, deferrable=True, concurrency=1).execute(context())

    def test_without_deferring_it_waits_in_the_worker(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "LONG_WAIT", 0.2)
        assert bulk(source=many(3), rate_limit=2).execute(context())["accepted"] == 3

    def test_a_paused_campaign_is_waited_for(self, sim: Simulator, context: Context) -> None:
        plan(source=many(3), text="Ahoj {name}").execute(context())
        ledger = open_ledger()
        with ledger.transaction() as connection:
            connection.execute(schema.campaign.update().values(state="paused"))
        with pytest.raises(TaskDeferred) as deferred:
            send(deferrable=True).execute(context("send"))
        assert deferred.value.method_name == "execute_later"
        with pytest.raises(TelekomSmsError, match="paused; 3 planned"):
            send().execute(context("send"))
        assert sim.state.messages == []

    @pytest.mark.usefixtures("impatient")
    def test_too_many_requests_are_waited_out(self, sim: Simulator, context: Context) -> None:
        fails(sim, "429", after=2)
        with pytest.raises(TaskDeferred):
            bulk(source=many(9), deferrable=True, concurrency=1).execute(context())
        sim.state.clear_faults()
        assert bulk(source=many(9), deferrable=True).execute(context())["accepted"] == 9

    @pytest.mark.usefixtures("impatient")
    def test_an_api_that_takes_nothing_is_no_reason_to_wait(self, sim: Simulator, context: Context) -> None:
        fails(sim, "429")
        with pytest.raises(RateLimitedError):
            bulk(source=many(9), deferrable=True, concurrency=1).execute(context())


class Store:
    """The task state store, as far as it is used."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.kept.get(key, default)

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        assert retention == timedelta.max
        self.kept[key] = json.loads(json.dumps(value))


class TestMemory:
    @pytest.fixture
    def remembering(self, context: Context) -> Context:
        store = Store()
        return lambda *args, **options: {**context(*args, **options), "task_state_store": store}

    def test_the_same_ledger_goes_on(self, sim: Simulator, remembering: Context) -> None:
        for _ in range(3):
            assert bulk(source=many(3)).execute(remembering())["accepted"] == 3

    @needs_airflow("3.3", "a task state store")
    def test_another_ledger_is_refused(
        self, sim: Simulator, remembering: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        bulk(source=many(3)).execute(remembering())
        monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", str(tmp_path / "another.db"))
        with pytest.raises(LedgerError, match=r"used another ledger.*\[telekom_sms\] ledger_conn_id"):
            bulk(source=many(3)).execute(remembering(try_number=2))
        assert len(sim.state.messages) == 3

    @needs_airflow("3.3", "a task state store")
    def test_a_ledger_restored_from_an_old_backup_is_refused(
        self, sim: Simulator, remembering: Context, context: Context, tmp_path: Path
    ) -> None:
        bulk(source=many(1), campaign_id="before").execute(remembering("before"))
        ledger = open_ledger()
        with (
            sqlite3.connect(tmp_path / "ledger.db") as whole,
            sqlite3.connect(tmp_path / "backup.db") as backup,
        ):
            whole.backup(backup)
        bulk(source=many(3)).execute(remembering())
        ledger.close()
        for path in tmp_path.glob("ledger.db*"):
            path.unlink()
        (tmp_path / "backup.db").rename(tmp_path / "ledger.db")
        sent = len(sim.state.messages)
        # However often it is tried, and whoever has tried something else in between.
        bulk(source=many(1), campaign_id="between").execute(context("between"))
        report = tmp_path / "report.csv"
        report.write_text("what the first try wrote")
        for number in (2, 3, 4):
            with pytest.raises(LedgerError, match="restored from an older backup"):
                bulk(source=many(3), report_path=str(report)).execute(remembering(try_number=number))
        assert len(sim.state.messages) == sent + 1
        assert report.read_text() == "what the first try wrote"

    @needs_airflow("3.3", "a task state store")
    def test_a_file_that_was_deleted_is_not_written_on(
        self, sim: Simulator, remembering: Context, tmp_path: Path
    ) -> None:
        """A process that has it open still could, and nobody would ever read it."""
        bulk(source=many(3)).execute(remembering())
        for path in tmp_path.glob("ledger.db*"):
            path.unlink()
        with pytest.raises(LedgerError, match="deleted and made anew"):
            bulk(source=many(3)).execute(remembering(try_number=2))
        assert len(sim.state.messages) == 3

    def test_what_another_task_remembers_is_no_matter(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for number in range(2):
            monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", str(tmp_path / f"{number}.db"))
            TelekomSmsSendOperator(task_id="send", to="0903100010", text="Ahoj").execute(
                {**context(run_id=f"run {number}"), "task_state_store": Store()}
            )

    @pytest.mark.parametrize(
        "newer",
        [pytest.param(True, marks=needs_airflow("3.3", "a task state store")), False],
        ids=["task state store", "variable"],
    )
    def test_in_airflow(
        self,
        sim: Simulator,
        run_dag: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        newer: bool,
    ) -> None:
        """The first try fails once it has begun; the second finds another ledger."""
        monkeypatch.setattr(version_compat, "AIRFLOW_V_3_3_PLUS", newer)

        def rows() -> list[dict[str, str]]:
            if not (tmp_path / "moved").exists():
                (tmp_path / "moved").touch()
                monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", str(tmp_path / "another.db"))
                raise OSError("the first try fails")
            return many(3)

        with DAG(f"moved_{'store' if newer else 'variable'}", schedule=None) as dag:
            bulk(source=rows, retries=1)
        run = run_dag(dag)
        assert run.states == {"bulk": "failed"}
        assert run.tries == {"bulk": 2}
        assert sim.state.messages == []


class TestIds:
    @pytest.mark.parametrize("campaign_id", ["x" * 300, "a/b c+d", "kampaň „leto“ %20", "-", " ", "'; --"])
    def test_any_campaign_id_will_do(
        self, sim: Simulator, context: Context, where: str, campaign_id: str
    ) -> None:
        for _ in range(2):
            summary = bulk(source=many(2), campaign_id=campaign_id).execute(context())
            assert (summary["campaign_id"], summary["accepted"]) == (campaign_id, 2)
        assert len(sim.state.messages) == 2

    def test_a_run_id_with_blanks_and_plus(self, sim: Simulator, context: Context, where: str) -> None:
        run_id = "manual__2026-01-05T09:00:00+00:00 again"
        for _ in range(2):
            summary = bulk(source=many(2), campaign_id=None).execute(context(run_id=run_id))
            assert summary["campaign_id"] == f"dag/task/{run_id}"
        assert len(sim.state.messages) == 2


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "source, sql: found 'neither'"),
            ({"source": [], "sql": "SELECT 1", "sql_conn_id": "x"}, "source, sql: found 'both'"),
            ({"sql": "SELECT 1"}, "sql_conn_id: found None"),
            ({"source": [], "max_price": 5}, "price_per_part: found None"),
        ],
    )
    def test_what_no_run_can_use_is_told_by_the_parser(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            plan(text="Ahoj", **options)

    def test_a_window_that_cannot_be_read_sends_nothing(self, sim: Simulator, context: Context) -> None:
        with pytest.raises(AirflowFailException, match="send_window: found '8 to 20'"):
            bulk(source=many(1), send_window="8 to 20").execute(context())
        assert sim.state.requests == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("price_per_part", -1), ("price_per_part", float("nan")), ("price_per_part", "0,05"),
            ("max_price", float("inf")), ("max_messages", -1), ("rate_limit", float("inf")),
        ],
    )  # fmt: skip
    def test_guards_that_would_never_speak(self, name: str, value: Any) -> None:
        with pytest.raises(ConfigurationError, match=f"{name}: found"):
            bulk(source=[], **{"price_per_part": 1, name: value})

    def test_a_campaign_id_that_is_a_number(self, sim: Simulator, context: Context) -> None:
        assert bulk(source=many(1), campaign_id=20260105).execute(context())["campaign_id"] == "20260105"

    @pytest.mark.parametrize("campaign_id", ["a\0b", "a\ud800b"])
    def test_a_campaign_id_that_no_database_holds(
        self, sim: Simulator, context: Context, campaign_id: str
    ) -> None:
        with pytest.raises(AirflowFailException, match="campaign_id: found"):
            bulk(source=many(1), campaign_id=campaign_id).execute(context())

    def test_a_report_that_cannot_be_written_is_told_before_anything_is_sent(
        self, sim: Simulator, context: Context, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(AirflowFailException, match=r"report_path: .* cannot be written"):
            bulk(source=many(1), report_path=str(tmp_path / "file" / "r.csv")).execute(context())
        assert sim.state.requests == []

    def test_a_report_that_fails_hides_no_verdict(
        self, sim: Simulator, context: Context, tmp_path: Path
    ) -> None:
        (tmp_path / "r.csv").mkdir()
        with pytest.raises(TelekomSmsError, match=r"All was sent, but report_path .*: IsADirectoryError"):
            bulk(source=many(1), report_path=str(tmp_path / "r.csv")).execute(context())
        fails(sim, "drop_after", times=1)
        with pytest.raises(AirflowFailException, match="1 messages are in doubt"):
            bulk(source=many(2), campaign_id="c", report_path=str(tmp_path / "r.csv")).execute(context("b"))

    def test_why_messages_were_rejected_is_told(
        self, sim: Simulator, context: Context, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fails(sim, "error", code="NEJAKA_CHYBA", description="Popis", times=1)
        bulk(source=many(3)).execute(context())
        assert "Rejected: 1 with NEJAKA_CHYBA: Popis" in capsys.readouterr().out

    def test_templates_in_the_parameters_of_a_query(
        self, sim: Simulator, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with sqlite3.connect(tmp_path / "crm.db") as crm:
            crm.execute("CREATE TABLE people (phone TEXT, name TEXT, day TEXT)")
            crm.execute("INSERT INTO people VALUES ('0903100010', 'Ján', 'x-1')")
        connection = {"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}
        monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
        with DAG("parameters", schedule=None, params={"day": "x-1"}) as dag:
            bulk(
                sql="SELECT * FROM people WHERE day = :day",
                sql_conn_id="crm",
                sql_parameters={"day": "{{ params.day }}"},
            )
        assert run_dag(dag).xcom("bulk")["accepted"] == 1

    def test_a_warehouse_that_is_away_is_tried_again(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": 1,
            "login": "a",
            "password": "bbbbbb",
        }
        monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps(connection))
        with pytest.raises(SourceUnavailableError, match="cannot connect"):
            bulk(sql="SELECT 1", sql_conn_id="away").execute(context())

    def test_a_query_from_a_file(
        self,
        sim: Simulator,
        run_dag: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
        postgres: PostgresServer,
        tmp_path: Path,
    ) -> None:
        url = postgres.database()
        for statement in (
            "CREATE TABLE people (phone text, name text, due date)",
            "CREATE TABLE optout (phone text)",
            "INSERT INTO people SELECT '0904' || lpad(n::text, 5, '0') || '0', 'č. ' || n, '2026-01-05' "
            "FROM generate_series(1, 30) n",
            "INSERT INTO optout VALUES ('+421904000010')",
        ):
            postgres.sql(url, statement)
        connection = {"conn_type": "postgres", "host": url.host, "port": url.port, "schema": url.database}
        connection |= {"login": url.username, "password": url.password}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
        (tmp_path / "people.sql").write_text(
            "SELECT * FROM people WHERE due = %(due)s AND name <> '{{ params.but }}'"
        )
        (tmp_path / "optout.sql").write_text("SELECT phone FROM optout")
        with DAG("query", schedule=None, template_searchpath=str(tmp_path), params={"but": "č. 2"}) as dag:
            bulk(
                sql="people.sql",
                sql_conn_id="warehouse",
                sql_parameters={"due": "2026-01-05"},
                suppression="optout.sql",
                text="Ahoj {name}, {due:%d.%m.%Y}",
            )
        run = run_dag(dag)
        summary = run.xcom("bulk")
        assert (summary["total"], summary["accepted"], summary["suppressed"]) == (29, 28, 1)
        assert "Ahoj č. 7, 05.01.2026" in {message.text for message in sim.state.messages}

    def test_a_query_that_fails_half_way_leaves_nothing(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
    ) -> None:
        url = postgres.database()
        connection = {"conn_type": "postgres", "host": url.host, "port": url.port, "schema": url.database}
        connection |= {"login": url.username, "password": url.password}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
        sql = "SELECT '0904' || lpad(n::text, 5, '0') || '0' AS phone, 1 / (30000 - n) AS name FROM {}"
        operator = bulk(
            sql=sql.format("generate_series(1, 40000) n"), sql_conn_id="warehouse", text="Ahoj {name}"
        )
        with pytest.raises(AirflowFailException, match="division by zero"):
            operator.execute(context())
        assert counts().total == 0
        assert sim.state.requests == []


class TestGuards:
    def test_who_opted_out_between_two_tries_gets_nothing(
        self, sim: Simulator, context: Context, where: str
    ) -> None:
        fails(sim, "ip", after=3)
        with pytest.raises(TelekomSmsError):
            bulk(source=many(9), concurrency=1).execute(context())
        sim.state.clear_faults()
        sent = len(sim.state.messages)
        late = [row["phone"] for row in many(9)[-2:]]
        summary = bulk(source=many(9), suppression=late).execute(context(try_number=2))
        assert (summary["accepted"], summary["suppressed"]) == (7, 2)
        assert 0 < sent < 7
        assert {f"421{phone[1:]}" for phone in late}.isdisjoint(sim.state.messages_per_number())

    def test_nor_who_opted_out_before_it_is_sent_again(
        self, sim: Simulator, context: Context, where: str
    ) -> None:
        fails(sim, "drop_after", times=1)
        with pytest.raises(AirflowFailException, match="1 messages are in doubt"):
            bulk(source=many(1)).execute(context())
        again = bulk(source=many(1), on_in_doubt="resend", suppression=[many(1)[0]["phone"]])
        summary = again.execute(context(try_number=2))
        assert (summary["accepted"], summary["suppressed"], summary["in_doubt"]) == (0, 1, 0)
        assert len(sim.state.messages) == 1
        # It may have been sent, so that another run must not send it either.
        assert bulk(source=many(1)).execute(context(run_id="another"))["duplicate"] == 1

    def test_nor_what_another_gives_back_after_the_list_was_read(
        self, sim: Simulator, context: Context, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        plan(source=many(3), text="Ahoj {name}").execute(context())
        ledger = open_ledger()
        sibling = planning.begin(ledger, "campaign", "sibling")
        [claimed] = sending.exchange(ledger, sibling, [], 1).claimed
        read = engine.Engine._read_settings

        def gives_back(self: engine.Engine) -> None:
            sending.exchange(ledger, sibling, [Outcome(claimed.id, State.PLANNED)], 0)
            read(self)

        monkeypatch.setattr(engine.Engine, "_read_settings", gives_back)
        summary = send(suppression=[claimed.phone]).execute(context("send"))
        assert (summary["accepted"], summary["suppressed"], summary["planned"]) == (2, 1, 0)
        assert claimed.phone not in sim.state.messages_per_number()
        [text] = [m.text for m in reporting.messages(ledger, sibling.campaign_id) if m.state == "suppressed"]
        assert text is None

    def test_who_got_another_text_before_is_told(
        self, sim: Simulator, context: Context, caplog: pytest.LogCaptureFixture, where: str
    ) -> None:
        bulk(source=many(3), text="Ahoj {name}, s chybov").execute(context())
        summary = plan(source=many(4), text="Ahoj {name}, bez chyby").execute(context("again"))
        assert (summary["messages"], summary["reached_before"]) == (4, 3)
        assert "**3 of 4 numbers have got another text in this campaign already" in summary["description"]
        assert "3 of 4 numbers have got another text" in caplog.text

    def test_a_plan_that_a_guard_refuses_later_is_not_sent(self, sim: Simulator, context: Context) -> None:
        plan(source=many(3), text="Ahoj {name}").execute(context())
        with pytest.raises(AirflowFailException, match="max_messages: found 3"):
            plan(source=many(3), text="Ahoj {name}", max_messages=2).execute(context(try_number=2))
        with pytest.raises((AirflowFailException, LedgerError), match=r"has no plan|still being planned"):
            send().execute(context("send"))
        assert sim.state.messages == []

    def test_a_time_that_no_window_can_reach_puts_nothing_in_doubt(
        self, sim: Simulator, context: Context
    ) -> None:
        operator = bulk(source=many(3), send_window="08:00-08:01", delivery_time="9999-12-31 23:00:00")
        with pytest.raises(Exception, match=r"."):
            operator.execute(context())
        assert (counts().planned, counts().in_doubt) == (3, 0)

    def test_outside_the_window_the_operator_waits(self, sim: Simulator, context: Context) -> None:
        """Not a worker: the message is handed over with the next allowed time."""
        now = datetime.now(UTC)
        closed = now + timedelta(hours=2)
        window = f"{closed:%H}:00-{closed + timedelta(hours=1):%H}:00"
        if closed.hour == 23 or now.hour == 22:
            window = "05:00-06:00"
        from airflow_provider_telekom_sms.campaign.window import SendWindow

        summary = bulk(source=many(2), send_window=window).execute(context())
        assert summary["accepted"] == 2
        opening = SendWindow.parse(window).next_allowed(now)
        assert {message.starts_at for message in sim.state.messages} == {opening.timestamp()}
        assert opening > now
        ledger = open_ledger()
        [first, _] = reporting.messages(ledger, reporting.campaign_number(ledger, "campaign"))
        assert first.next_check_at == int(opening.timestamp() * 1000)

    def test_inside_the_window_it_goes_at_once(self, sim: Simulator, context: Context) -> None:
        bulk(source=many(2), send_window="00:00-24:00").execute(context())
        assert [r.parameters.get("delivery_time") for r in sim.state.requests if "text" in r.parameters] == [
            None,
            None,
        ]
