"""The trigger, run by itself."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import TriggerEvent

from airflow_provider_telekom_sms.ledger import delivery
from airflow_provider_telekom_sms.ledger.location import open_ledger
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator
from airflow_provider_telekom_sms.simulator import Fault, Simulator
from airflow_provider_telekom_sms.triggers.telekom_sms import TelekomSmsDeliveryTrigger

DELIVERED, UNDELIVERABLE, STUCK = "0903000010", "0903000031", "0903000093"


@pytest.fixture
def sent(context: Callable[..., Any], sim: Simulator) -> Callable[..., list[str]]:
    """Send to numbers within a campaign, and give the ids."""

    def send_to(*numbers: str, campaign: str = "jar") -> list[str]:
        rows = [{"phone": number} for number in numbers]
        operator = TelekomSmsBulkSendOperator(task_id="sent", source=rows, text="Ahoj", campaign_id=campaign)
        operator.execute(context(campaign))
        return [str(message.id) for message in sim.state.messages]

    return send_to


async def fire(**options: Any) -> Any:
    """Run a trigger as the triggerer does, from what Airflow stores of it."""
    path, stored = TelekomSmsDeliveryTrigger(poll_interval=0.05, **options).serialize()
    trigger = import_string(path)(**json.loads(json.dumps(stored)))
    events = [event async for event in trigger.run()]
    await trigger.cleanup()
    assert len(events) == 1
    assert isinstance(events[0], TriggerEvent)
    return json.loads(json.dumps(events[0].payload))


def test_serialized_form_is_plain_json_and_round_trips() -> None:
    given = {
        "telekom_sms_conn_id": "other",
        "campaign_id": None,
        "message_ids": ["1", "2"],
        "ledger_id": "abc",
        "ledger_conn_id": "other_ledger",
        "success_statuses": ["READ"],
        "unknown": "success",
        "min_success_ratio": 0.5,
        "wait_for_all": True,
        "poll_interval": 3.0,
        "deadline": 1_800_000_000.5,
    }
    path, stored = TelekomSmsDeliveryTrigger(**given).serialize()
    assert path == "airflow_provider_telekom_sms.triggers.telekom_sms.TelekomSmsDeliveryTrigger"
    assert json.loads(json.dumps(stored)) == given
    assert TelekomSmsDeliveryTrigger(**stored).serialize() == (path, given)


async def test_by_campaign_and_by_ids(sent: Callable[..., list[str]]) -> None:
    ids = await asyncio.to_thread(sent, DELIVERED, "0903000098")
    assert (await fire(campaign_id="jar"))["status"] == "success"
    event = await fire(message_ids=ids, wait_for_all=True)
    assert event == {"status": "success", "delivery": {"DELIVERED": 1, "READ": 1}} or event == {
        "status": "success",
        "delivery": {"DELIVERED": 2},
    }


async def test_failure_and_time_out(sent: Callable[..., list[str]]) -> None:
    await asyncio.to_thread(sent, UNDELIVERABLE)
    await asyncio.to_thread(sent, STUCK, campaign="leto")
    assert await fire(campaign_id="jar") == {"status": "failure", "delivery": {"UNDELIVERABLE": 1}}
    assert await fire(campaign_id="leto", deadline=time.time() + 1.5) == {
        "status": "timeout",
        "delivery": {"SENT": 1},
    }


async def test_another_ledger_is_an_error_with_advice(sent: Callable[..., list[str]]) -> None:
    await asyncio.to_thread(sent, DELIVERED)
    ledger = await asyncio.to_thread(open_ledger)
    assert (await fire(campaign_id="jar", ledger_id=ledger.id))["status"] == "success"
    event = await fire(campaign_id="jar", ledger_id="another")
    assert event["status"] == "error"
    assert "ledger_conn_id" in event["message"]


@pytest.mark.parametrize(
    ("trouble", "message"),
    [("campaign", "no campaign 'leto'"), ("key", "API_TOKEN_NOT_FOUND"), ("extra", "'colour' is unknown")],
)
async def test_errors_become_events(
    sent: Callable[..., list[str]], connect: Callable[..., None], trouble: str, message: str
) -> None:
    await asyncio.to_thread(sent, DELIVERED)
    if trouble == "key":
        connect(password="wrong" * 10)
    if trouble == "extra":
        connect(colour="magenta")
    event = await fire(campaign_id="leto" if trouble == "campaign" else "jar")
    assert event["status"] == "error"
    assert message in event["message"]


async def test_a_faulty_network_only_delays(sim: Simulator, sent: Callable[..., list[str]]) -> None:
    await asyncio.to_thread(sent, DELIVERED)
    for name in ("503", "html", "cut"):
        sim.state.order(Fault(name=name, endpoint="check_message", times=1))
    assert (await fire(campaign_id="jar"))["status"] == "success"


async def test_several_side_by_side_do_not_block_the_loop(
    sim: Simulator, sent: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the best of several rounds: a busy machine takes its time from any, what blocks is in each."""
    sim.state.settings.speed = 4
    threads = set()

    def noting(original: Callable[[Ledger], Any]) -> Callable[[Ledger], Any]:
        def noted(ledger: Ledger) -> Any:
            threads.add(threading.current_thread())
            return original(ledger)

        return noted

    # Beside the clock, for a statement to SQLite is too quick for it.
    monkeypatch.setattr(Ledger, "transaction", noting(Ledger.transaction))
    monkeypatch.setattr(Ledger, "reading", noting(Ledger.reading))

    async def longest_pause(name: str) -> float:
        for number in range(5):
            await asyncio.to_thread(sent, f"0903{name}{number}010", campaign=f"c{name}{number}")
        longest = 0.0

        async def heartbeat() -> None:
            nonlocal longest
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.01)
                longest = max(longest, time.perf_counter() - before - 0.01)

        beating = asyncio.create_task(heartbeat())
        events = await asyncio.gather(*(fire(campaign_id=f"c{name}{number}") for number in range(5)))
        beating.cancel()
        assert [event["status"] for event in events] == ["success"] * 5
        return longest

    pauses: list[float] = []  # the first is long: things are imported
    while len(pauses) < 10 and min(pauses, default=1.0) >= 0.2:  # s, of which Airflow warns
        pauses.append(await longest_pause(f"{len(pauses):02}"))
    print(f"the loop paused for at most {pauses} s")
    assert min(pauses) < 0.2
    assert threads
    assert threading.current_thread() not in threads


async def test_a_cancelled_trigger_leaves_nothing_behind(sent: Callable[..., list[str]]) -> None:
    await asyncio.to_thread(sent, STUCK)
    trigger = TelekomSmsDeliveryTrigger(campaign_id="jar", poll_interval=0.05)
    before = asyncio.all_tasks()
    gc.collect()  # what others left behind

    async def run() -> None:
        async for _ in trigger.run():
            raise AssertionError("fired")

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        task = asyncio.create_task(run())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await trigger.cleanup()
        await asyncio.sleep(0.05)
        gc.collect()
    assert asyncio.all_tasks() == before
    assert [str(w.message) for w in warned if issubclass(w.category, ResourceWarning)] == []


async def test_what_is_learnt_stands_in_the_ledger(sim: Simulator, sent: Callable[..., list[str]]) -> None:
    await asyncio.to_thread(sent, DELIVERED)
    await fire(campaign_id="jar")
    asked = len(sim.state.requests)
    ledger = await asyncio.to_thread(open_ledger)
    progress = await asyncio.to_thread(delivery.progress, ledger, delivery.Scope("jar"))
    assert progress.final_by_code == {"DELIVERED": 1}
    assert (await fire(campaign_id="jar"))["status"] == "success"
    # Decided: nothing is asked, but for a log-in at most.
    assert {r.endpoint for r in sim.state.requests[asked:]} <= {"auth"}


async def test_it_never_sends(sim: Simulator, sent: Callable[..., list[str]]) -> None:
    ids = await asyncio.to_thread(sent, DELIVERED, STUCK)
    await asyncio.gather(*(fire(message_ids=ids, deadline=time.time() + 0.2) for _ in range(2)))
    assert len(sim.state.messages) == 2
    await asyncio.to_thread(sim.state.reset)
