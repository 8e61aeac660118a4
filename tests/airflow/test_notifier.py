"""The notifier: real DAG runs, deadlines and processes, and all that must not keep an alert from going."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow.sdk
import pytest
from airflow.sdk import DAG, BaseNotifier, task
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from airflow_provider_telekom_sms.api.phone import mask_phone, parse_mobile
from airflow_provider_telekom_sms.api.text import GSM_7, MAX_PARTS, count
from airflow_provider_telekom_sms.exceptions import ConfigurationError, InvalidMessageError
from airflow_provider_telekom_sms.get_provider_info import get_provider_info
from airflow_provider_telekom_sms.ledger.location import open_ledger
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.notifications import telekom_sms
from airflow_provider_telekom_sms.notifications.alert import SHORTEST, Alert, fit
from airflow_provider_telekom_sms.notifications.telekom_sms import TelekomSmsNotifier
from airflow_provider_telekom_sms.simulator import Fault, Simulator
from tests.airflow.running import has_ended, kept, standalone, start, wait_for_dags
from tests.airflow.test_canaries import database, leaks, logged
from tests.at_once import at_once
from tests.postgres import PostgresServer
from tests.versions import RUNNING, needs_airflow, run_sync_callback, store_dag

#: Not all of it is known to type checkers.
SDK: Any = airflow.sdk

ONE, TWO = "0903 000 010", "+421 904 000 020"
LINK = "https://airflow.firma.sk/dags/daily/runs/scheduled__2026-11-22T03%3A00%3A00%2B00%3A00"
LOG = f"{LINK}/tasks/load?try_number=2"
ALERT = Alert("daily", "scheduled__2026-11-22T03:00:00+00:00", "load", None, 2, link=LOG, run_link=LINK)


@pytest.fixture
def failed() -> dict[str, Any]:
    """The context of a failed task, as far as a template might ask."""
    ti = SimpleNamespace(
        dag_id="daily", task_id="load", run_id=ALERT.run_id, try_number=2, map_index=-1, state="failed",
        log_url=LOG,
    )  # fmt: skip
    return {"ti": ti, "task_instance": ti, "run_id": ti.run_id, "exception": ValueError("nie")}


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up in a second."""
    monkeypatch.setattr(telekom_sms, "RETRY_FOR", 0.2)
    monkeypatch.setattr(telekom_sms, "SENDING", 1.0)
    monkeypatch.setattr(telekom_sms, "LEDGER_PATIENCE", 1.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=time.time())
    monkeypatch.setattr(Ledger, "now", lambda ledger, connection: int(clock.now * 1000))
    return clock


def texts(sim: Simulator) -> list[str]:
    return [message.text for message in sim.state.messages]


def made_up(ending: str = "0") -> str:
    """Make a number up: this file itself stands in Airflow's database, as the source of its DAGs."""
    return f"0903 {secrets.randbelow(10**3):03d} {secrets.randbelow(100):02d}{ending}"


def spellings(*numbers: str) -> dict[str, bytes]:
    """Give patterns of numbers, however they are written."""
    return {number: r"\D?".join(re.sub(r"\D", "", number)[1:]).encode() for number in numbers}


def send(notifier: TelekomSmsNotifier, context: Any) -> None:
    """Notify as Airflow does: of a task or a run, or in the triggerer."""
    if secrets.randbelow(2):
        notifier(context)
    else:
        asyncio.run(notifier.async_notify(context))


@task
def breaks() -> None:
    raise RuntimeError("Nie je to tam")


class TestRuns:
    def test_a_failing_task_sends_one_text(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        with DAG("alert_fail", schedule=None, default_args={"retries": 0}) as dag:
            breaks.override(on_failure_callback=TelekomSmsNotifier(ONE))()
        run = run_dag(dag)

        assert (run.state, run.states) == ("failed", {"breaks": "failed"})
        [message] = sim.state.messages
        assert message.number == "421903000010"
        assert message.text.startswith("Failed: alert_fail.breaks (try 1) http")
        link = message.text.split()[-1]
        assert re.fullmatch(r"http://\S+/dags/alert_fail/runs/manual__\S+/tasks/breaks\?try_number=1", link)
        assert count(message.text).parts == 1

    def test_every_kind_of_callback(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        def broken(context: Any) -> None:
            raise RuntimeError("mine")

        text = (
            "{{ alert.dag_id }} {{ alert.task_id }} {{ alert.state }} {{ alert.try_number }} {{ params.who }}"
        )
        notifier = TelekomSmsNotifier([ONE, TWO], text)
        every = {f"on_{kind}_callback": [broken, notifier] for kind in ("success", "retry", "failure")}
        with DAG(
            "alert_kinds",
            schedule=None,
            params={"who": "Žofia"},
            on_failure_callback=[broken, notifier],
            default_args={**every, "retries": 1, "retry_delay": timedelta(0)},
        ) as dag:

            @task
            def works() -> None:
                pass

            breaks()
            works()
        run = run_dag(dag)

        assert run.states == {"breaks": "failed", "works": "success"}
        sent = Counter(texts(sim))
        # The run's own callback comes last; its context is that of its last task.
        assert sent == {
            f"alert_kinds {what} Žofia": 2
            for what in ("breaks up_for_retry 1", "breaks failed 2", "works success 1", "None failed None")
        }
        assert all(message.parameters["unicode"] in (False, "false", 0) for message in sim.state.messages)

    def test_a_run_that_succeeds(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        with DAG("alert_success", schedule=None, on_success_callback=TelekomSmsNotifier(ONE)) as dag:

            @task
            def works() -> None:
                pass

            works()
        assert run_dag(dag).state == "success"
        [text] = texts(sim)
        assert text.startswith("Succeeded: alert_success")

    def test_many_tasks_send_one_text(
        self, sim: Simulator, run_dag: Callable[..., Any], clock: SimpleNamespace
    ) -> None:
        notifier = TelekomSmsNotifier(ONE, throttle=3600)
        with DAG("alert_storm", schedule=None, default_args={"on_failure_callback": notifier}) as dag:

            @task
            def one_of_many(number: int) -> None:
                raise RuntimeError

            one_of_many.expand(number=list(range(60)))
        run = run_dag(dag)

        assert Counter(run.states.values()) == {"failed": 60}
        assert len(sim.state.messages) == 1
        clock.now += 3600
        notifier({"dag": SimpleNamespace(dag_id="alert_storm"), "run_id": "next", "reason": "task_failure"})
        _, later = texts(sim)
        assert "(+59 more) http" in later

    def test_nothing_leaks(
        self,
        sim: Simulator,
        run_dag: Callable[..., Any],
        connect: Callable[..., None],
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level("INFO")
        good, quoted, word = made_up(), made_up("6"), f"tajné{secrets.token_hex(6)}"
        sim.state.order(
            Fault("error", endpoint="send_message", numbers=parse_mobile(quoted), level="message",
                  code="BLACKLISTED", description=f"Číslo {quoted} (+{parse_mobile(quoted)}) nechce"),
        )  # fmt: skip
        with pytest.warns(UserWarning, match=r"to: phone number ••••"):
            literal = TelekomSmsNotifier([good, quoted, good[:-2]], word, throttle=60)
        templated = TelekomSmsNotifier("{{ number }}", "{{ text }}{{ nothing.at.all }}")
        broken = TelekomSmsNotifier(
            "{{ number }}", "{{ text }}{{ 1 // 0 }}{{ text | wrong }}", sender="{{ text }}" * 9
        )
        with DAG(
            "alert_canaries",
            schedule=None,
            user_defined_macros={"number": f"{good}, {quoted}, x{good}", "text": word},
            on_failure_callback=[literal, templated, broken],
            default_args={"on_failure_callback": [literal, templated, broken]},
        ) as dag:
            breaks()
            breaks.partial().expand_kwargs([{}, {}])
        run_dag(dag)

        assert word in texts(sim)
        assert f"{word}?" in texts(sim)
        logs = logged(caplog, capfd)
        assert f"The alert to {mask_phone(quoted)}: rejected, BLACKLISTED: " in logs["log records"].decode()
        patterns = {"text": word.encode(), **spellings(good, quoted)}
        shown = "".join(f"{one!r} {one} {one.to} {one.text}" for one in (literal, templated))
        assert b"alert_canaries" in database()
        assert leaks(patterns, logs | {"repr": shown.encode(), "database": database()}) == []


def missed(dag: Any, callback: Any) -> Any:
    """Begin a run that misses its deadline, and do what the scheduler then does; give what it stores."""
    from airflow.models.deadline import Deadline
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    long_ago = SDK.DeadlineReference.FIXED_DATETIME(datetime(2026, 11, 22, 3, 0, tzinfo=UTC))
    dag.deadline = [SDK.DeadlineAlert(long_ago, timedelta(minutes=30), callback)]
    store_dag(dag)
    with create_session() as session:
        stored: Any = SerializedDagModel.get_dag(dag.dag_id, session=session)
        stored.create_dagrun(
            run_id="late", run_after=datetime.now(UTC), run_type=DagRunType.MANUAL, state="running",
            triggered_by=DagRunTriggeredByType.TEST, session=session,
        )  # fmt: skip
    with create_session() as session:
        [deadline] = session.query(Deadline).filter(Deadline.dagrun.has(dag_id=dag.dag_id))
        deadline.handle_miss(session)
        session.flush()
        # 3.2 stores no context; its scheduler hands over what it has made.
        if Version("3.3") <= RUNNING:
            session.refresh(deadline)
        trigger = getattr(deadline.callback, "trigger", None)
        return trigger.encrypted_kwargs if trigger else deadline.callback.data


@needs_airflow("3.2", "deadlines in airflow.sdk")
@pytest.mark.usefixtures("airflow_db")
class TestDeadlines:
    #: As DAG authors write it, Airflow stores it, and gives it back to the notifier.
    KWARGS = {"to": "{{ var.value.on_call }}", "throttle": timedelta(hours=1), "max_parts": 2}

    @pytest.fixture(autouse=True)
    def _on_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers = [made_up(), made_up()]
        monkeypatch.setenv("AIRFLOW_VAR_ON_CALL", ", ".join(self.numbers))

    def in_triggerer(self, encrypted: str) -> list[Any]:
        """What the triggerer does with a row, and the events that it would report."""
        from airflow.models.trigger import Trigger
        from airflow.serialization import decoders
        from airflow.triggers.callback import CallbackTrigger

        stored = Trigger._decrypt_kwargs(encrypted)
        decode: Any = decoders.smart_decode_trigger_kwargs
        trigger = CallbackTrigger(**{key: decode(value) for key, value in stored.items()})

        async def run() -> list[Any]:
            return [event.payload async for event in trigger.run()]

        return asyncio.run(run())

    def check(self, sim: Simulator, dag_id: str) -> None:
        assert sim.state.messages_per_number() == dict.fromkeys(map(parse_mobile, self.numbers), 1)
        # Four o'clock in the morning, by the clock on the wall.
        start = f"Deadline missed (22.11. 04:30): {dag_id}, run late http"
        assert all(
            text.startswith(start) and text.endswith(f"/dags/{dag_id}/runs/late") for text in texts(sim)
        )

    def test_in_the_triggerer(self, sim: Simulator) -> None:
        with DAG("deadline_async", schedule=None) as dag:
            breaks()
        encrypted = missed(dag, SDK.AsyncCallback(TelekomSmsNotifier, self.KWARGS))
        running, done = self.in_triggerer(encrypted)
        assert (str(running["state"]), str(done["state"]), done["body"]) == ("running", "success", None)
        self.check(sim, "deadline_async")
        # As after a restart of the triggerer in the worst moment.
        self.in_triggerer(encrypted)
        self.check(sim, "deadline_async")
        assert leaks(spellings(*self.numbers), {"database": database()}) == []

    def test_in_an_executor(self, sim: Simulator) -> None:
        with DAG("deadline_sync", schedule=None) as dag:
            breaks()
        data = missed(dag, SDK.SyncCallback(TelekomSmsNotifier, self.KWARGS))
        assert run_sync_callback(data) == (True, None)
        self.check(sim, "deadline_sync")

    def test_a_template_that_finds_nothing_there(self, sim: Simulator) -> None:
        with DAG("deadline_template", schedule=None) as dag:
            breaks()
        text = "{{ dag.dag_id }} {{ ti.xcom_pull('x')[0] }} {{ alert.dag_id }} {{ run_id }} {{ alert.link }}"
        self.in_triggerer(missed(dag, SDK.AsyncCallback(TelekomSmsNotifier, {"to": ONE, "text": text})))
        [sent] = texts(sim)
        assert re.fullmatch(r"\? \? deadline_template late http\S+/dags/deadline_template/runs/late", sent)

    def test_a_mistake_in_its_arguments_is_no_reason_not_to_send(
        self, sim: Simulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        with DAG("deadline_mistake", schedule=None) as dag:
            breaks()
        kwargs = {"to": [ONE, "12"], "text": "{{ nie", "throttle": "often"}
        caplog.set_level("INFO")
        _, done = self.in_triggerer(missed(dag, SDK.AsyncCallback(TelekomSmsNotifier, kwargs)))
        assert str(done["state"]) == "success"
        assert len(sim.state.messages) == 1
        assert "without its throttle: throttle: found 'often'" in caplog.text
        assert leaks(spellings(ONE), {"log": caplog.text.encode()}) == []


#: Tasks that fail side by side, a run that fails, and deadlines that are missed while it goes on.
REAL_DAGS = """
import os, signal, time
from datetime import datetime, timedelta
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback, task
from airflow_provider_telekom_sms.notifications.telekom_sms import TelekomSmsNotifier

TO = "{{ var.value.on_call }}"

def late(callback):
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=2), callback)

with DAG(
    "storm", schedule=None, on_failure_callback=TelekomSmsNotifier(TO, "run {{ alert.reason }}"),
    default_args={"on_failure_callback": TelekomSmsNotifier(TO, "task {{ alert.state }}", throttle=3600)},
):
    @task
    def fails(number):
        if not number:
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError
    fails.expand(number=list(range(int(os.environ.get("TELEKOM_SMS_ALERT_TASKS", "60")))))

for name, kind in {"in_triggerer": AsyncCallback, "in_executor": SyncCallback}.items():
    callback = kind(TelekomSmsNotifier, {"to": TO, "text": "{{ alert.dag_id }} {{ alert.state }}"})
    with DAG(name, schedule=None, deadline=late(callback)):
        @task
        def takes_long():
            time.sleep(8)
        takes_long()
"""


@needs_airflow("3.2", "deadlines in airflow.sdk")
@pytest.mark.slow
def test_in_a_real_airflow(sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Workers, DAG processor, triggerer and executor each send what is theirs, exactly once."""
    number, home, file = made_up(), tmp_path / "airflow", tmp_path / "real_dags.py"
    file.write_text(REAL_DAGS)
    began = time.monotonic()
    with standalone(home, sim, [file], AIRFLOW_VAR_ON_CALL=number, AIRFLOW__CORE__PARALLELISM="8") as airflow:
        wait_for_dags(airflow, ["storm", "in_triggerer", "in_executor"])
        runs = {dag_id: start(airflow, dag_id) for dag_id in ("in_triggerer", "in_executor", "storm")}
        for dag_id, run_id in runs.items():
            airflow.wait_until(
                dag_id, 300, lambda dag_id=dag_id, run_id=run_id: has_ended(airflow, dag_id, run_id)
            )
        airflow.wait_until("all texts", 60, lambda: len(sim.state.messages) >= 4)
        time.sleep(5)  # for a text too many
    assert Counter(texts(sim)) == {
        "task failed": 1,
        "run task_failure": 1,
        "in_triggerer missed_deadline": 1,
        "in_executor missed_deadline": 1,
    }
    assert leaks(spellings(number), kept(home)) == []
    with capsys.disabled():
        print(f"\nFailing tasks, a failing run and two deadlines: 4 texts, {time.monotonic() - began:.0f} s")


class TestThrottle:
    def test_the_same_alert(self, sim: Simulator, failed: Any, clock: SimpleNamespace) -> None:
        hourly = TelekomSmsNotifier(ONE, throttle=timedelta(hours=1))
        for _ in range(3):
            send(hourly, failed)
        assert len(sim.state.messages) == 1
        # Others are others: of another DAG, of another kind, for somebody else.
        send(hourly, {**failed, "ti": SimpleNamespace(**{**vars(failed["ti"]), "dag_id": "other"})})
        send(hourly, {**failed, "reason": "success"})
        send(TelekomSmsNotifier(TWO, throttle=60), failed)
        assert len(sim.state.messages) == 4
        clock.now += 3600
        send(hourly, failed)
        assert "(+2 more)" in texts(sim)[-1]

    def test_a_key_of_ones_own(self, sim: Simulator, failed: Any) -> None:
        for who in (ONE, TWO):
            send(TelekomSmsNotifier(who, throttle=60, throttle_key="{{ ti.task_id }}"), failed)
        other = SimpleNamespace(**{**vars(failed["ti"]), "task_id": "other"})
        send(TelekomSmsNotifier(ONE, throttle=60, throttle_key="{{ ti.task_id }}"), {**failed, "ti": other})
        assert len(sim.state.messages) == 2

    def test_what_was_not_sent_is_given_back(
        self, sim: Simulator, failed: Any, connect: Callable[..., None], asleep: None
    ) -> None:
        notifier = TelekomSmsNotifier([ONE, TWO], throttle=3600)
        connect(password="wrong" * 10)
        send(notifier, failed)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        connect(host=nobody)
        send(notifier, failed)
        connect()
        send(notifier, failed)
        assert len(sim.state.messages) == 2
        assert all("(+2 more)" in text for text in texts(sim))
        send(notifier, failed)
        assert len(sim.state.messages) == 2

    def test_what_may_have_been_sent_is_not(self, sim: Simulator, failed: Any) -> None:
        sim.state.order(Fault("drop_before", endpoint="send_message", times=1))
        for _ in range(2):
            send(TelekomSmsNotifier(ONE, throttle=3600), failed)
        assert sim.state.messages == []

    def test_what_one_of_them_has_got_is_not(self, sim: Simulator, failed: Any, asleep: None) -> None:
        sim.state.order(Fault("429", endpoint="send_message", numbers="421904000020", retry_after=60))
        for _ in range(2):
            send(TelekomSmsNotifier([ONE, TWO], throttle=3600), failed)
        assert sim.state.messages_per_number() == {"421903000010": 1}

    @pytest.mark.parametrize("trouble", ["no file", "locked", "no connection"])
    def test_without_a_ledger_it_is_sent(
        self,
        sim: Simulator,
        failed: Any,
        trouble: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        asleep: None,
    ) -> None:
        conn_id = None
        if trouble == "no file":
            monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", str(tmp_path / "gone" / "ledger.db"))
        elif trouble == "locked":
            open_ledger()
        else:
            conn_id = "nowhere"
        with sqlite3.connect(tmp_path / "other.db" if conn_id else tmp_path / "ledger.db") as holder:
            holder.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                TelekomSmsNotifier(ONE, throttle=60, ledger_conn_id=conn_id)(failed)
        assert len(sim.state.messages) == 2
        assert caplog.text.count("The alert is sent without its throttle") == 2

    def test_no_throttle_needs_no_ledger(self, sim: Simulator, failed: Any, tmp_path: Path) -> None:
        send(TelekomSmsNotifier(ONE), failed)
        assert len(sim.state.messages) == 1
        assert not (tmp_path / "ledger.db").exists()

    def test_processes_that_fail_at_once(self, sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
        # It has not a connection for each at once.
        server = PostgresServer(max_connections=12)
        url = server.database()
        connection = {"conn_type": "postgres", "host": url.host, "port": url.port, "schema": url.database}
        connection |= {"login": url.username, "password": url.password}
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID", "ledger")
        try:
            at_once(
                30, f"{__name__}:fails_once", preload="airflow_provider_telekom_sms.transport aiohttp psycopg"
            )
            rows = server.sql(url, "SELECT held_back FROM telekom_sms_throttle")
        finally:
            server.close()
        assert len(sim.state.messages) == 1
        assert rows == [(29,)]


def fails_once() -> Callable[[], None]:
    """Be ready to fail, in a process of its own."""
    telekom_sms.LEDGER_PATIENCE = 60  # a busy machine is not what is tested
    context = {"dag": SimpleNamespace(dag_id="dag"), "run_id": "run"}
    return lambda: TelekomSmsNotifier(ONE, throttle=3600)(context)


class TestHarmless:
    @pytest.mark.parametrize(
        "context",
        [{}, {"dag": None, "ti": None}, {"deadline": {}}, {"dag_run": {"dag_id": "x"}}, {"ti": object()}],
    )
    def test_any_context_will_do(self, sim: Simulator, context: Any) -> None:
        send(TelekomSmsNotifier(ONE), context)
        [text] = texts(sim)
        assert text.startswith(("Failed: ", "Deadline missed: "))

    @pytest.mark.parametrize(
        ("text", "sent"),
        [
            ("{{ ti.nothing.at.all }} x", "? x"),
            ("{{ 1 // 0 }}", None),
            ("{{ exception }}", "nie"),
            ("{{ ti | wrong }}", None),
            ("  ", None),
            ("🔥", None),
            ("{{ '\\x1b[31m' }}x", "[31mx"),
        ],
    )
    def test_no_text_keeps_it_from_going(
        self, sim: Simulator, failed: Any, text: str, sent: str | None
    ) -> None:
        send(TelekomSmsNotifier(ONE, text), failed)
        assert [sent or fit(ALERT.text, ALERT, max_parts=1, unicode=False)] == texts(sim)

    def test_who_can_be_reached_is(
        self, sim: Simulator, failed: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        sim.state.order(Fault("503", endpoint="send_message", numbers="421904000020"))
        given = ["{{ 1 // 0 }}", "{{ to }}", "{{ [two, '0905 000 030'] }}", ONE, "421903000010"]
        send(TelekomSmsNotifier(given), {**failed, "to": "12", "two": TWO})
        assert sorted(message.number for message in sim.state.messages) == ["421903000010", "421905000030"]
        levels = Counter(r.levelname for r in caplog.records if "notif" in r.name)
        # Of the two that are none, and of the one that was refused.
        assert (levels["WARNING"], levels["ERROR"]) == (2, 1)
        assert not re.search(r"9\d\d ?000 ?0\d0", caplog.text)

    @pytest.mark.parametrize(
        "settings", [{"password": "wrong" * 10}, {"colour": "magenta"}, {"verify": "/nowhere"}]
    )
    def test_a_connection_that_cannot_be_used(
        self, sim: Simulator, failed: Any, connect: Callable[..., None], settings: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        connect(**settings)
        send(TelekomSmsNotifier(ONE), failed)
        assert [record.levelname for record in caplog.records if "notif" in record.name] == ["ERROR"]

    def test_no_connection(self, sim: Simulator, failed: Any, caplog: pytest.LogCaptureFixture) -> None:
        send(TelekomSmsNotifier(ONE, telekom_sms_conn_id="nowhere"), failed)
        assert "The alert was not sent: AirflowNotFoundException" in caplog.text

    @pytest.mark.parametrize("is_async", [False, True])
    def test_an_api_that_hangs_holds_nobody_up(
        self, sim: Simulator, failed: Any, connect: Callable[..., None], asleep: None, is_async: bool,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        connect(timeout=30)
        sim.state.order(Fault("hang", endpoint="send_message", seconds=20))
        notifier = TelekomSmsNotifier(ONE, throttle=60)
        began = time.monotonic()
        asyncio.run(notifier.async_notify(failed)) if is_async else notifier(failed)
        assert time.monotonic() - began < 5
        assert "unknown, not done in 1 s" in caplog.text
        sim.state.clear_faults()

    def test_the_worst_case_is_known(self) -> None:
        assert telekom_sms.LEDGER_PATIENCE + telekom_sms.SENDING + telekom_sms.GIVE_BACK < 20
        assert max(telekom_sms.RETRY_FOR, telekom_sms.REPLY) < telekom_sms.SENDING

    def test_what_cannot_be_broken_off_is_left_behind(self) -> None:
        async def stuck() -> None:
            time.sleep(2)  # noqa: ASYNC251 as a system that looks up a name

        began = time.monotonic()
        with pytest.raises(TimeoutError):
            telekom_sms._run(stuck(), 0.2)
        assert time.monotonic() - began < 1.5

    def test_the_triggerers_loop_goes_on(
        self, sim: Simulator, failed: Any, tmp_path: Path, asleep: None
    ) -> None:
        open_ledger()
        slow = threading.Event()

        def text(_: Any) -> str:
            time.sleep(0.5)
            slow.set()
            return "pomaly"

        async def run() -> float:
            notifier: Any = TelekomSmsNotifier(ONE, "{{ text(1) }}", throttle=60)
            notifying = asyncio.create_task(notifier.async_notify({**failed, "text": text}))
            longest = 0.0
            while not notifying.done():
                began = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - began)
            holder.rollback()  # so that the thread which waits for it ends, too
            return longest

        with sqlite3.connect(tmp_path / "ledger.db") as holder:
            holder.execute("BEGIN IMMEDIATE")
            longest = asyncio.run(run())
        assert slow.is_set()
        assert texts(sim) == ["pomaly"]
        assert longest < 0.4

    def test_it_may_be_called_within_a_loop(self, sim: Simulator, failed: Any) -> None:
        async def run() -> None:
            TelekomSmsNotifier(ONE)(failed)

        asyncio.run(run())
        assert len(sim.state.messages) == 1

    def test_one_notifier_serves_many(self, sim: Simulator, failed: Any) -> None:
        notifier = TelekomSmsNotifier("{{ who }}", "{{ who }}")
        for who in (ONE, TWO):
            context = {**failed, "who": who}
            send(notifier, context)
            assert "text" not in context
        assert texts(sim) == [ONE, TWO]


class TestParsing:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"to": "12345"}, "phone number ••••"),
            ({"to": ["12345", "x"]}, "phone number ••••"),
            ({"to": []}, "to: found no number"),
            ({"to": " "}, "to: found no number"),
            ({"to": None}, "phone number is empty"),
            ({"to": 421903000010}, "is not text but int"),
            ({"text": 5}, "text: found int"),
            ({"text": "{{ tajne } }"}, "text: "),
            ({"throttle_key": "{% if %}"}, "throttle_key: "),
            ({"throttle": 0}, "throttle: found 0"),
            ({"throttle": True}, "throttle: found True"),
            ({"throttle": "60"}, "throttle: found '60'"),
            ({"throttle": float("nan")}, "throttle: found nan"),
            ({"throttle": timedelta(days=32)}, "up to 31 days"),
            ({"max_parts": 4}, "max_parts: found 4"),
            ({"max_parts": True}, "max_parts: found True"),
            ({"priority": 4}, "priority: found 4"),
            ({"validity": 0}, "validity: found 0"),
            ({"unicode": "maybe"}, "unicode: found"),
            ({"message_type": "loud"}, "message_type: found"),
        ],
    )
    def test_a_mistake_is_told(self, options: Any, told: str) -> None:
        with pytest.raises((InvalidMessageError, ConfigurationError)) as caught:
            TelekomSmsNotifier(**{"to": ONE, **options})
        assert told in str(caught.value)
        assert "12345" not in str(caught.value)
        assert "tajne" not in "".join(map(str, (caught.value, caught.value.__context__)))

    def test_an_unknown_parameter(self) -> None:
        with pytest.raises(TypeError):
            TelekomSmsNotifier(ONE, throtle=60)

    @pytest.mark.parametrize(
        "to", [ONE, [ONE, TWO], (ONE,), f"{ONE};{TWO}", "{{ var.value.x }}", ["{{ x }}", ONE]]
    )
    def test_what_is_right(self, to: Any) -> None:
        notifier = TelekomSmsNotifier(
            to, "{{ anything | at_all }}", throttle=timedelta(minutes=5), priority=3
        )
        assert isinstance(notifier, BaseNotifier)
        assert "903 000" not in repr(notifier)
        assert notifier.to == to

    def test_airflow_knows_it(self) -> None:
        from airflow.providers_manager import ProvidersManager

        [name] = get_provider_info()["notifications"]
        assert name == f"{TelekomSmsNotifier.__module__}.{TelekomSmsNotifier.__qualname__}"
        manager: Any = ProvidersManager
        assert name in manager().notification


class TestFit:
    def test_a_short_text_stays(self) -> None:
        assert fit("Zlyhalo to", ALERT, max_parts=1, unicode=False) == "Zlyhalo to"
        assert fit(f"See {LOG} now", ALERT, max_parts=3, unicode=False) == f"See {LOG} now"

    def test_a_long_text_is_cut_before_its_link(self) -> None:
        short = fit(f"{'slovo ' * 50} {LOG}", ALERT, max_parts=1, unicode=False)
        assert re.fullmatch(r"(slovo )+slo?v?o?\.\.\. " + re.escape(LOG), short)
        assert count(short)[:3] == (GSM_7, 1, 160)
        # Wherever it stands, and whatever other links there are.
        text = f"{LOG} {'slovo ' * 50} https://wiki.firma.sk/x"
        assert fit(text, ALERT, max_parts=1, unicode=False).endswith(f"... {LOG}")
        assert fit("slovo " * 50 + "https://a.sk/b.", ALERT, max_parts=1, unicode=False).endswith(
            " https://a.sk/b"
        )

    def test_a_link_that_is_too_long_gives_way(self) -> None:
        long = Alert("daily", "r", "load", link=LINK + "/tasks/" + "x" * 60, run_link=LINK)
        assert fit(long.text, long, max_parts=1, unicode=False).endswith(f" {LINK}")
        longest = Alert("daily", "r", "load", link=LINK + "x" * 160, run_link=LINK + "y" * 100)
        assert fit(longest.text, longest, max_parts=1, unicode=False) == "Failed: daily.load, run r"
        assert fit(longest.text, longest, max_parts=2, unicode=False).endswith("x")

    @pytest.mark.parametrize(
        ("text", "sent"),
        [
            ("🔥 Dáta – „áno“… ¼ № 5", 'Dáta - "áno"... 1/4 No 5'),
            ("Привет", "??????"),
            ("čšťžý äé €", "čšťžý äé €"),
        ],
    )
    def test_what_would_cost_more_is_replaced(self, text: str, sent: str) -> None:
        assert fit(text, ALERT, max_parts=1, unicode=False) == sent
        assert count(sent, False).encoding == GSM_7
        assert fit(text, ALERT, max_parts=1, unicode=None) == text

    @given(
        st.text(max_size=700),
        st.sampled_from(["", LOG, LINK, "https://x.sk/" + "y" * 200]),
        st.text(max_size=100),
        st.integers(1, MAX_PARTS),
        st.sampled_from([False, None, True]),
        st.sampled_from(["", " (+199 more)"]),
    )
    def test_it_always_fits(
        self, text: str, link: str, after: str, parts: int, unicode: bool | None, note: str
    ) -> None:
        fitted = fit(f"{text} {link} {after}", ALERT, max_parts=parts, unicode=unicode, note=note)
        assert count(fitted, unicode).parts <= parts
        assert unicode is not False or count(fitted, False).encoding == GSM_7
        assert note in fitted
        # A link is whole or not there.
        if unicode is None and link in (LOG, LINK) and "http" in fitted and "http" not in text + after:
            assert LINK in fitted
        if link == LOG and parts == MAX_PARTS and unicode is False:
            assert LOG in fitted
            assert len(fitted) >= SHORTEST
