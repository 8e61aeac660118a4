"""Asset events: the trigger by itself, as Airflow 3.3 drives it, and in a real Airflow that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_telekom_sms.events import answers, finished_campaigns
from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger import callbacks
from airflow_provider_telekom_sms.ledger.callbacks import Received
from airflow_provider_telekom_sms.ledger.location import open_ledger
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator
from airflow_provider_telekom_sms.simulator import Settings, Simulator
from airflow_provider_telekom_sms.triggers import events as trigger_module
from airflow_provider_telekom_sms.triggers.events import TelekomSmsEventTrigger
from tests.airflow.running import standalone, start, wait_for_dags
from tests.versions import dag_serialization, needs_airflow

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
PATH = "airflow_provider_telekom_sms.triggers.events.TelekomSmsEventTrigger"
SECRET = "a-secret-that-nobody-guesses"
PHONE = "421903000001"


def tap(data: str, number: int = 1) -> None:
    told = {
        "type": "postback", "messageId": number, "postback": {"data": data, "text": data},
        "addressFrom": f"+{int(PHONE) + number - 1}",
    }  # fmt: skip
    received = Received.read(json.dumps(told).encode(), "application/json", {})
    callbacks.receive(open_ledger(), [received])


def make(**options: Any) -> TelekomSmsEventTrigger:
    """Make a trigger as the triggerer does, from what Airflow stores of it."""
    path, stored = TelekomSmsEventTrigger(
        **{"kind": "postback", "poll_interval": 0.05, **options}
    ).serialize()
    made = import_string(path)(**json.loads(json.dumps(stored)))
    assert isinstance(made, TelekomSmsEventTrigger)
    return made


async def reading(function: Callable[..., Any], *given: Any) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(function, *given), 20)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(done):  # noqa: ASYNC110 it happens in a database
            await asyncio.sleep(0.02)


def confirmed() -> list[bool]:
    with open_ledger().reading() as connection:
        found = connection.exec_driver_sql("SELECT confirmed_at FROM telekom_sms_event_batch ORDER BY id")
        return [at is not None for (at,) in found]


def run_of(run_id: str, *payloads: Any, dag_id: str = "dag") -> dict[str, Any]:
    """Make the context of a DAG run that events have started, as far as it is read."""
    found = [SimpleNamespace(extra={"from_trigger": True, "payload": payload}) for payload in payloads]
    ti = SimpleNamespace(dag_id=dag_id, run_id=run_id, task_id="task", try_number=1, map_index=-1)
    return {"ti": ti, "task_instance": ti, "run_id": run_id, "triggering_asset_events": {"asset": found}}


# --- what Airflow stores ------------------------------------------------------------------------------------


def test_serialized_form_is_plain_json_and_round_trips() -> None:
    given = {
        "kind": ["inbound", "postback"],
        "campaign_id": ["spring/*"],
        "postback_data": ["NO", "YES"],
        "text": ["áno*"],
        "name": "mine",
        "ledger_conn_id": "other_ledger",
        "poll_interval": 3.0,
        "batch_size": 10,
        "since": "beginning",
    }
    path, stored = TelekomSmsEventTrigger(**given).serialize()
    assert path == PATH
    assert json.loads(json.dumps(stored)) == given
    assert TelekomSmsEventTrigger(**stored).serialize() == (path, given)
    assert BaseEventTrigger.hash(path, stored) == BaseEventTrigger.hash(*make(**stored).serialize())


@pytest.mark.parametrize(
    "wrong", [{"poll_interval": 0}, {"batch_size": True}, {"batch_size": 10**6}, {"kind": "x"}]
)
def test_what_is_wrong_is_named_when_the_dag_is_parsed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}: found"):
        TelekomSmsEventTrigger(**{"kind": "postback", **wrong})


def test_a_watched_asset_survives_serialization(airflow_db: None) -> None:
    from airflow.sdk import DAG, Asset, AssetWatcher

    trigger = TelekomSmsEventTrigger("postback", postback_data="YES")
    asset = Asset("said_yes", watchers=[AssetWatcher(name="said_yes", trigger=trigger)])
    stored = json.dumps(dag_serialization().serialize_dag(DAG("follow_up", schedule=[asset])))
    assert PATH in stored
    [found] = dag_serialization().deserialize_dag(json.loads(stored)).timetable.asset_condition.iter_assets()
    [watcher] = found[1].watchers
    assert watcher.trigger["kwargs"]["postback_data"] == ["YES"]


# --- the trigger by itself ----------------------------------------------------------------------------------


async def test_it_yields_batches_and_confirms_them_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it goes before Airflow 3.3, which never says what it has stored."""
    monkeypatch.setattr(trigger_module, "STORED", 0.3)
    events = make(since="beginning").run()
    await reading(tap, "YES")
    first = await asyncio.wait_for(anext(events), 20)
    assert isinstance(first, TriggerEvent)
    assert first.payload["count"] == 1
    assert await reading(confirmed) == [False]
    next_one = asyncio.ensure_future(anext(events))
    await until(lambda: confirmed() == [True])
    await reading(tap, "NO")
    assert (await asyncio.wait_for(next_one, 20)).payload["batch"] > first.payload["batch"]
    await events.aclose()  # type: ignore[attr-defined]


async def test_after_a_kill_the_same_event_comes_again() -> None:
    await reading(tap, "YES")
    given = []
    for _ in range(3):
        events = make(since="beginning").run()
        given.append((await asyncio.wait_for(anext(events), 20)).payload)
        await events.aclose()  # type: ignore[attr-defined]
    assert given[0] == given[1] == given[2]


async def test_a_ledger_that_is_away_only_delays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", str(tmp_path / "missing" / "ledger.db"))
    events = make(since="beginning").run()
    waiting = asyncio.ensure_future(anext(events))
    await until(lambda: "The ledger could not be looked into" in caplog.text)
    (tmp_path / "missing").mkdir()
    await reading(tap, "YES")
    assert (await asyncio.wait_for(waiting, 20)).payload["count"] == 1
    await events.aclose()  # type: ignore[attr-defined]


async def test_the_ledger_is_never_touched_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    threads = set()
    original = Ledger.reading

    def noted(ledger: Ledger) -> Any:
        threads.add(threading.current_thread())
        return original(ledger)

    monkeypatch.setattr(Ledger, "reading", noted)
    await reading(tap, "YES")
    events = make(kind=["postback", "campaign_sent"], since="beginning").run()
    await asyncio.wait_for(anext(events), 20)
    await events.aclose()  # type: ignore[attr-defined]
    assert threads
    assert threading.main_thread() not in threads


# --- as Airflow 3.3 drives it -------------------------------------------------------------------------------


class Runner:
    """Drives triggers as the triggerer's runner does; says that an event is stored when it is told to."""

    def __init__(self, **options: Any) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        self.manager = SharedStreamManager(**options)
        self.seqs: list[int] = []
        self.events: list[Any] = []
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, trigger: TelekomSmsEventTrigger) -> None:
        self.tasks.append(asyncio.create_task(self.run(len(self.tasks), trigger)))

    async def run(self, number: int, trigger: TelekomSmsEventTrigger) -> None:
        key = trigger.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                seq = self.manager.bind_pending_event(trigger_id=number, key=key)
                assert seq is not None
                self.seqs.append(seq)
                self.events.append(event.payload)
        finally:
            await self.manager.unsubscribe(number, key)

    async def wait(self, number: int) -> list[Any]:
        await until(lambda: len(self.events) >= number)
        return self.events

    async def kill(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


needs_3_3 = needs_airflow("3.3", "it says what it has stored of events")


@needs_3_3
async def test_a_batch_is_confirmed_once_airflow_has_stored_its_event() -> None:
    runner = Runner()
    runner.start(make(since="beginning"))
    await reading(tap, "YES")
    await runner.wait(1)
    await asyncio.sleep(0.3)
    assert (len(runner.events), await reading(confirmed)) == (1, [False])
    runner.manager.confirm_persisted(runner.seqs)
    await until(lambda: confirmed() == [True])
    await runner.kill()
    again = Runner()
    again.start(make(since="beginning"))
    await reading(tap, "NO")
    assert [event["batch"] for event in await again.wait(1)] == [runner.events[0]["batch"] + 1]
    await again.kill()


@needs_3_3
async def test_killed_before_it_was_stored_the_same_event_comes_again() -> None:
    await reading(tap, "YES")
    runners = [Runner(), Runner()]
    for runner in runners:
        runner.start(make(since="beginning"))
        await runner.wait(1)
        await runner.kill()
    assert runners[0].events == runners[1].events
    assert await reading(confirmed) == [False]


@needs_3_3
async def test_an_event_that_could_not_be_stored_is_not_confirmed() -> None:
    runner = Runner(ack_timeout=0.5)
    runner.start(make(since="beginning"))
    await reading(tap, "YES")
    await runner.wait(1)
    [outcome] = await asyncio.wait_for(asyncio.gather(*runner.tasks, return_exceptions=True), 20)
    assert type(outcome).__name__ == "AckTimeout"
    assert await reading(confirmed) == [False]


@needs_3_3
async def test_what_was_never_stored_is_handed_over_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_module, "AGAIN", 0.5)
    runner = Runner(ack_timeout=60)
    runner.start(make(since="beginning"))
    await reading(tap, "YES")
    first, second = (await runner.wait(2))[:2]
    assert first == second
    await runner.kill()


@needs_3_3
async def test_a_confirmation_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_telekom_sms.exceptions import LedgerUnavailableError
    from airflow_provider_telekom_sms.ledger import events

    def away(*_: Any) -> None:
        raise LedgerUnavailableError("away")

    with monkeypatch.context() as broken:
        broken.setattr(events, "confirm", away)
        runner = Runner()
        runner.start(make(since="beginning"))
        await reading(tap, "YES")
        await runner.wait(1)
        runner.manager.confirm_persisted(runner.seqs)
        await reading(tap, "NO")
        await runner.wait(2)
    runner.manager.confirm_persisted(runner.seqs)
    await until(lambda: confirmed() == [False, True])
    await runner.kill()


@needs_3_3
async def test_two_triggerers_at_once_make_one_batch_of_one_answer() -> None:
    runners = [Runner(), Runner()]
    for runner in runners:
        runner.start(make(since="beginning"))
    for number in range(1, 31):
        await reading(tap, "YES", number)
    await until(lambda: sum({e["batch"]: e["count"] for r in runners for e in r.events}.values()) == 30)
    for runner in runners:
        await runner.kill()
    told = [event for runner in runners for event in runner.events]
    rows = await reading(lambda: list(answers(run_of("run", *told))))
    assert sorted(row["message_id"] for row in rows) == sorted(map(str, range(1, 31)))


# --- what a DAG does with it --------------------------------------------------------------------------------


def event(**options: Any) -> Any:
    """Give the payload of the next event of a trigger."""

    async def first() -> Any:
        events = make(since="beginning", **options).run()
        try:
            return (await asyncio.wait_for(anext(events), 20)).payload
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    return json.loads(json.dumps(asyncio.run(first())))


def test_answers_of_a_run() -> None:
    tap("YES", 1)
    tap("NO", 2)
    payload = event()
    context = run_of("run 1", payload, {"of": "another trigger"}, None)
    assert [row["phone"] for row in answers(context)] == [PHONE, f"{int(PHONE) + 1}"]
    assert [row["postback_data"] for row in answers(context)] == ["YES", "NO"]
    assert list(answers(run_of("run 2", payload, payload))) == []
    assert len(list(answers(run_of("run 2", payload, dag_id="other")))) == 2
    assert list(finished_campaigns(context)) == []
    assert list(answers({**context, "triggering_asset_events": {}})) == []


def test_the_event_has_no_number(sim: Simulator) -> None:
    tap("YES")
    assert "9030" not in json.dumps(event())


def test_another_ledger_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tap("YES")
    payload = event()
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_PATH", str(tmp_path / "another.db"))
    with pytest.raises(ConfigurationError, match="ledger_conn_id"):
        answers(run_of("run", payload))


def test_finished_campaigns_of_a_run(context: Callable[..., Any], sim: Simulator) -> None:
    rows = [{"phone": "0903000010"}, {"phone": "0903000010"}]
    operator = TelekomSmsBulkSendOperator(task_id="t", source=rows, text="Ahoj", campaign_id="jar")
    operator.execute(context())
    payload = event(kind="campaign_sent")
    assert payload["campaigns"] == {"jar": 2}
    expected = {
        "campaign_id": "jar", "kind": "campaign_sent", "total": 2, "accepted": 1, "duplicate": 1,
        "delivery": {"": 1},
    }  # fmt: skip
    assert list(finished_campaigns(run_of("run", payload))) == [expected]


def test_each_who_answered_gets_one_message(sim: Simulator) -> None:
    """Told twice by Airflow, in two runs, with a retry; by the ledger's key alone it would be one as well."""
    for number in (1, 2, 3):
        tap("YES", number)
    payload = event()

    def follow_up(run_id: str, dag_id: str = "dag") -> Any:
        given = run_of(run_id, payload, dag_id=dag_id)
        operator = TelekomSmsBulkSendOperator(
            task_id="follow_up", source=partial(answers, given), to_column="phone", key_column="id",
            campaign_id="follow up", text="Ďakujeme",
        )  # fmt: skip
        return operator.execute(given)

    assert follow_up("run 1")["accepted"] == 3
    assert follow_up("run 1")["accepted"] == 3
    assert follow_up("run 2")["total"] == 3
    assert follow_up("run 1", "other dag")["duplicate"] == 3
    assert sim.state.messages_per_number() == {f"{int(PHONE) + n}": 1 for n in range(3)}


# --- common.messaging ---------------------------------------------------------------------------------------


def test_the_queue_is_known_and_harmless_without_common_messaging() -> None:
    from airflow.providers_manager import ProvidersManager

    [name] = [n for n in ProvidersManager().queue_class_names if "telekom_sms" in n]
    provider = import_string(name)()
    assert provider.queue_matches("telekom-sms://postback")
    assert not provider.queue_matches("kafka://telekom-sms")
    assert provider.trigger_kwargs("telekom-sms://postback") == {"kind": "postback"}
    assert provider.trigger_class() is TelekomSmsEventTrigger


def test_as_a_message_queue() -> None:
    from airflow.providers.common.messaging.triggers import msg_queue

    wanted = TelekomSmsEventTrigger("postback", postback_data="YES")
    trigger = msg_queue.MessageQueueTrigger(scheme="telekom-sms", kind="postback", postback_data="YES")
    assert trigger.serialize() == wanted.serialize()
    with pytest.warns(Warning, match="deprecated"):
        older = msg_queue.MessageQueueTrigger(queue="telekom-sms://postback", postback_data="YES")
    assert older.serialize() == wanted.serialize()


# --- a real Airflow -----------------------------------------------------------------------------------------


class Triggerer:
    """The triggerer of a standalone Airflow, which can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self._home = f"AIRFLOW_HOME={home}".encode()
        [self._first, *_] = self._alive()
        place = Path(f"/proc/{self._first}/environ").read_bytes().split(b"\0")
        self._environment = dict(one.decode().split("=", 1) for one in place if b"=" in one)
        self._own: subprocess.Popen[bytes] | None = None

    def _alive(self) -> Iterator[int]:
        for place in Path("/proc").glob("[0-9]*"):
            try:
                mine = self._home in (place / "environ").read_bytes().split(b"\0")
                if mine and b"triggerer" in (place / "cmdline").read_bytes():
                    yield int(place.name)
            except OSError:
                continue

    def kill(self) -> None:
        while pids := list(self._alive()):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._own:
                self._own.wait(10)
            time.sleep(0.2)

    def start(self) -> None:
        self._own = subprocess.Popen(
            [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"], env=self._environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


@pytest.mark.slow
def test_each_answer_acts_once_whatever_becomes_of_the_triggerer(
    sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Answers of a survey, each called back twice, start runs that answer; the triggerer is killed three times.

    Once idle, and answers come while it is down; once while they come; and once its confirmations are lost,
    and Airflow is told of everything again.
    """
    sim.state.settings = Settings(fate="delivered", rcs="all", speed=100, callback_duplicates=1)
    home = tmp_path / "airflow"
    numbers = [f"0903{n:06d}" for n in range(100, 140)]
    dags = [EXAMPLES / f"{name}.py" for name in ("rcs_survey", "answered_survey")]
    quick = {
        "AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET": SECRET,
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
    }
    survey, follow_up = "telekom_sms_rcs_survey", "telekom_sms_answered_survey"
    with standalone(home, sim, dags, **quick) as airflow:
        wait_for_dags(airflow, [survey, follow_up])
        ledger = Ledger(f"sqlite:///{home / 'telekom_sms_ledger.db'}")

        def count(query: str) -> int:
            with ledger.reading() as connection:
                return int(connection.exec_driver_sql(query).scalar() or 0)

        airflow.wait_until("the watcher", 60, lambda: count("SELECT COUNT(*) FROM telekom_sms_event_watcher"))
        conf = {"to": numbers, "replies": f"{airflow.url}/telekom-sms/{SECRET}"}
        start(airflow, survey, conf=conf)
        airflow.wait_until("the survey", 60, lambda: len(sim.state.messages) == 40)
        asked = [message.id for message in sim.state.messages]

        def say_no(first: int, last: int) -> None:
            for message_id in asked[first:last]:
                sim.state.click(message_id, "no")

        def answered(number: int) -> None:
            airflow.wait_until(f"{number} texts", 120, lambda: len(sim.state.messages) >= 40 + number)

        triggerer = Triggerer(home)
        try:
            say_no(0, 10)
            sim.state.click(asked[39], "yes")
            answered(10)
            triggerer.kill()
            say_no(10, 20)
            airflow.wait_until(
                "20 in the ledger",
                30,
                lambda: count("SELECT COUNT(*) FROM telekom_sms_callback WHERE kind <> 'dsn'") == 21,
            )
            assert len(sim.state.messages) == 50
            triggerer.start()
            answered(20)
            for n in range(20, 30):
                say_no(n, n + 1)
                time.sleep(0.4)
                if n == 25:
                    triggerer.kill()
            triggerer.start()
            answered(30)
            triggerer.kill()
            batches = count("SELECT COUNT(*) FROM telekom_sms_event_batch")
            with ledger.transaction() as connection:
                connection.exec_driver_sql("UPDATE telekom_sms_event_batch SET confirmed_at = NULL")
            triggerer.start()
            say_no(30, 35)
            answered(35)
            airflow.wait_until(
                "confirmations", 60,
                lambda: not count("SELECT COUNT(*) FROM telekom_sms_event_batch WHERE confirmed_at IS NULL"),
            )  # fmt: skip
            told = airflow.call("/api/v2/assets/events?limit=100")["asset_events"]
            runs = lambda: airflow.call(f"/api/v2/dags/{follow_up}/dagRuns?limit=100")["dag_runs"]  # noqa: E731
            airflow.wait_until("all runs", 120, lambda: {run["state"] for run in runs()} == {"success"})
            time.sleep(3)
            states = Counter(run["state"] for run in runs())
        finally:
            triggerer.kill()
        taken = count(
            "SELECT COUNT(*) FROM telekom_sms_event_taken t JOIN telekom_sms_event_answer a USING (batch_id)"
        )
        different = count(
            "SELECT COUNT(DISTINCT a.callback_id) FROM telekom_sms_event_taken t "
            "JOIN telekom_sms_event_answer a USING (batch_id) WHERE t.dag_id = 'telekom_sms_answered_survey'"
        )
    payloads = [event["extra"]["payload"] for event in told]
    with capsys.disabled():
        print(f"\n{batches}+ batches, {len(told)} asset events, runs {dict(states)}, {taken} answers taken")
    # Airflow was told again of what it had stored already.
    assert len(payloads) >= batches * 2
    assert max(Counter(payload["batch"] for payload in payloads).values()) >= 2
    assert not any("9030" in json.dumps(payload["campaigns"]) for payload in payloads)
    assert (taken, different) == (35, 35)
    per_number = Counter(message.number for message in sim.state.messages)
    assert per_number == {f"421{n[1:]}": 2 if i < 35 else 1 for i, n in enumerate(numbers)}
    ledger.close()
