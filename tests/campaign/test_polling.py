from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter

import pytest

from airflow_provider_telekom_sms.api.delivery import FINAL_FAILURE, DeliveryCode
from airflow_provider_telekom_sms.campaign import polling
from airflow_provider_telekom_sms.campaign.polling import Criteria, Watcher, judge
from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    IpNotAllowedError,
    UnreadableReplyError,
)
from airflow_provider_telekom_sms.ledger import delivery
from airflow_provider_telekom_sms.ledger.delivery import Progress, Scope, Waiting
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.simulator import Fault
from airflow_provider_telekom_sms.transport import AsyncTransport

NOW = 1_800_000_000_000
MINUTE = 60_000
CAMPAIGN = Scope("campaign")

# --- judge -------------------------------------------------------------------------------------------------


def waiting(code=None, *, fallback=False, trouble=None, age=0.0):
    """A message that was accepted some seconds ago and whose trouble began some minutes ago."""
    since = None if trouble is None else NOW - int(trouble * MINUTE)
    return Waiting(7, "100", code, NOW - int(age * 1000), since, fallback)


NEVER_FINAL = ["UNSENT", "SCHEDULED", "IN_GROUP", "QUEUED", "PROCESSING", "SENDING", "SENT", "SOMETHING_NEW"]
FAILURES = sorted(FINAL_FAILURE)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("code", NEVER_FINAL)
def test_on_the_way(code, fallback):
    check = judge(waiting("ERROR", fallback=fallback, trouble=59), code, None, NOW, 10)
    assert not check.is_final
    assert check.trouble_since is None, "an error that went away is forgotten"
    assert check.next_check_at == NOW + 10_000


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("code", ["DELIVERED", "READ", "UNKNOWN"])
def test_the_end(code, fallback):
    check = judge(waiting(fallback=fallback), code, NOW - 5, NOW, 10)
    assert (check.code, check.delivered_at, check.is_final, check.next_check_at) == (
        code,
        NOW - 5,
        True,
        None,
    )


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure_is_final_at_once_without_a_fallback(code):
    assert judge(waiting(), code, None, NOW, 10).is_final


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure_is_final_with_a_fallback_once_that_had_its_time(code):
    first = judge(waiting(fallback=True), code, None, NOW, 10)
    assert not first.is_final
    assert first.trouble_since == NOW
    assert not judge(waiting(code, fallback=True, trouble=29.9), code, None, NOW, 10).is_final
    assert judge(waiting(code, fallback=True, trouble=30), code, None, NOW, 10).is_final
    another = FAILURES[(FAILURES.index(code) + 1) % len(FAILURES)]
    assert judge(waiting(another, fallback=True, trouble=30), code, None, NOW, 10).is_final


@pytest.mark.parametrize(
    ("minutes", "final"), [(None, False), (0, False), (59.9, False), (60, True), (600, True)]
)
def test_an_error_is_final_after_an_hour(minutes, final):
    check = judge(waiting("ERROR" if minutes is not None else None, trouble=minutes), "ERROR", None, NOW, 10)
    assert check.is_final is final
    assert check.trouble_since == NOW - int((minutes or 0) * MINUTE)


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure_after_an_error_has_its_own_time(code):
    check = judge(waiting("ERROR", fallback=True, trouble=59), code, None, NOW, 10)
    assert not check.is_final
    assert check.trouble_since == NOW


@pytest.mark.parametrize(("seconds", "final"), [(0, False), (59, False), (60, True)])
def test_an_id_that_the_api_does_not_know(seconds, final):
    before = waiting(polling.NOT_FOUND, trouble=seconds / 60)
    assert judge(before, polling.NOT_FOUND, None, NOW, 10).is_final is final
    assert not judge(waiting("SENT"), polling.NOT_FOUND, None, NOW, 10).is_final


def test_every_code_is_judged():
    shown = {*NEVER_FINAL, "DELIVERED", "READ", "UNKNOWN", "ERROR", *FAILURES}
    assert set(DeliveryCode.__members__) <= shown


@pytest.mark.parametrize(
    ("age", "interval", "pause"),
    [
        (0, 10, 10),
        (39, 10, 10),
        (80, 10, 20),
        (2_000, 10, 500),
        (10**6, 10, 600),
        (0, 900, 900),
        (10**6, 900, 900),
    ],
)
def test_the_interval_rises_with_age(age, interval, pause):
    assert judge(waiting(age=age), "SENT", None, NOW, interval).next_check_at == NOW + pause * 1000


# --- verdicts ----------------------------------------------------------------------------------------------


def progress(unsent=0, *, final=None, open=None):
    final, open = final or {}, open or {}
    by_code = Counter(final) + Counter(open)
    return Progress(sum(by_code.values()), unsent, dict(by_code), dict(final))


VERDICTS = [
    # nothing to wait for
    ({}, progress(), "success"),
    ({"wait_for_all": True}, progress(), "success"),
    # all
    ({}, progress(final={"DELIVERED": 2, "READ": 1}), "success"),
    ({}, progress(final={"DELIVERED": 2}, open={"SENT": 1}), None),
    ({}, progress(final={"DELIVERED": 2, "EXPIRED": 1}), "failure"),
    ({}, progress(final={"DELIVERED": 1, "EXPIRED": 1}, open={"SENT": 8}), "failure"),
    # an error that is not final yet, and one that is
    ({}, progress(final={"DELIVERED": 1}, open={"ERROR": 1}), None),
    ({}, progress(final={"DELIVERED": 1, "ERROR": 1}), "failure"),
    # a share
    ({"min_success_ratio": 0.5}, progress(final={"DELIVERED": 5}, open={"SENT": 5}), "success"),
    ({"min_success_ratio": 0.5}, progress(final={"DELIVERED": 4}, open={"SENT": 6}), None),
    ({"min_success_ratio": 0.5}, progress(final={"EXPIRED": 5}, open={"SENT": 5}), None),
    ({"min_success_ratio": 0.5}, progress(final={"EXPIRED": 6}, open={"SENT": 4}), "failure"),
    ({"min_success_ratio": 0.3}, progress(final={"DELIVERED": 3, "EXPIRED": 7}), "success"),
    ({"min_success_ratio": 0.95}, progress(final={"DELIVERED": 19, "EXPIRED": 1}), "success"),
    ({"min_success_ratio": 0.95}, progress(final={"DELIVERED": 18, "EXPIRED": 2}), "failure"),
    ({"min_success_ratio": 0.0}, progress(final={"EXPIRED": 3}), "success"),
    # UNKNOWN
    ({}, progress(final={"UNKNOWN": 1}), "failure"),
    ({"unknown": "success"}, progress(final={"UNKNOWN": 1}), "success"),
    # what counts as delivered
    ({"success_statuses": ["READ"]}, progress(final={"DELIVERED": 1}), "failure"),
    ({"success_statuses": ["READ"]}, progress(final={"READ": 1}), "success"),
    ({"success_statuses": ["SENT", "DELIVERED"]}, progress(open={"SENT": 2}), "success"),
    # messages still to be sent
    ({}, progress(1, final={"DELIVERED": 9}), None),
    ({"min_success_ratio": 0.5}, progress(1, final={"DELIVERED": 9}), None),
    ({"min_success_ratio": 0.5}, progress(1, final={"EXPIRED": 9}), "failure"),
    ({"wait_for_all": True}, progress(1, final={"EXPIRED": 9}), None),
    # wait_for_all
    ({"wait_for_all": True}, progress(final={"EXPIRED": 5}, open={"SENT": 1}), None),
    ({"wait_for_all": True}, progress(final={"EXPIRED": 6}), "failure"),
    ({"wait_for_all": True, "min_success_ratio": 0}, progress(final={"EXPIRED": 5}, open={"SENT": 1}), None),
]  # fmt: skip


@pytest.mark.parametrize(("options", "found", "verdict"), VERDICTS)
def test_verdicts(options, found, verdict):
    assert Criteria.check(**options).verdict(found) == verdict


@pytest.mark.parametrize("total", [1, 3, 7, 10, 30, 100, 999])
def test_a_share_is_not_a_matter_of_rounding(total):
    for number in range(total + 1):
        found = progress(final={"DELIVERED": number, "EXPIRED": total - number})
        assert Criteria.check(min_success_ratio=number / total).verdict(found) == "success"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"success_statuses": "DELIVERED"}, "success_statuses"),
        ({"success_statuses": ["GONE"]}, "GONE"),
        ({"unknown": "maybe"}, "unknown"),
        ({"min_success_ratio": 1.1}, "min_success_ratio"),
        ({"min_success_ratio": True}, "min_success_ratio"),
        ({"min_success_ratio": "0.5"}, "min_success_ratio"),
    ],
)
def test_criteria_that_mean_nothing(options, named):
    with pytest.raises(ConfigurationError, match=named):
        Criteria.check(**options)


# --- the watcher against the simulator ----------------------------------------------------------------------


@pytest.fixture
def sent(bench):
    """Send to numbers whose last digits choose their fates."""

    def send(number):
        bench.sim.state.settings.fate = None
        bench.run(number, concurrency=32)
        return number

    return send


async def watch(bench, criteria=None, *, scope=CAMPAIGN, interval=0.2, seconds=20.0, concurrency=10):
    async with bench.hook.async_transport(connections=concurrency) as transport:
        watcher = Watcher(bench.ledger, transport, scope, interval=interval, concurrency=concurrency)
        return await watcher.wait(criteria or Criteria(wait_for_all=True), time.time() + seconds)


def expected(bench, messages):
    """What the simulator says of each message by now."""
    now, speed = time.time(), bench.sim.state.settings.speed
    return {str(message.id): message.status(now, speed)[0] for message in messages}


async def test_mixed_fates(bench, sent):
    await asyncio.to_thread(sent, 1000)
    bench.sim.state.settings.speed = 1000
    async with bench.hook.async_transport(connections=10) as transport:
        await Watcher(bench.ledger, transport, CAMPAIGN, interval=0.2).check_due()  # however long it takes
    verdict, found = await watch(bench, seconds=0.3)
    told = {row.message_id: row.delivery_code for row in bench.messages() if row.state == "accepted"}
    print(f"{verdict}: {found.by_code}")
    assert told == expected(bench, bench.sim.state.messages)
    # 93 is SENT for ever, 94 ERROR for ever: all else is final.
    assert verdict is None
    assert found.total == 990
    assert sum(found.final_by_code.values()) == 970
    assert set(found.by_code) == {
        "DELIVERED", "READ", "UNDELIVERABLE", "EXPIRED", "DENIED", "UNKNOWN", "DELETED", "SENT", "ERROR",
    }  # fmt: skip
    delivered = [row for row in bench.messages() if row.delivery_code in ("DELIVERED", "READ")]
    assert all(abs(row.delivered_at / 1000 - time.time()) < 60 for row in delivered)


async def test_all_are_delivered(bench):
    await asyncio.to_thread(bench.run, 200)
    bench.sim.state.settings.speed = 1000
    verdict, found = await watch(bench, Criteria())
    assert (verdict, found.by_code) == ("success", {"DELIVERED": 200})
    asked = Counter(request.endpoint for request in bench.sim.state.requests)
    assert asked["check_message"] <= 400


async def test_it_ends_as_soon_as_it_can_no_longer_succeed(bench):
    bench.sim.state.settings.fate = "stuck"
    await asyncio.to_thread(bench.run, 50)
    bench.sim.state.set_status(bench.sim.state.messages[7].id, "DENIED")
    began = time.monotonic()
    verdict, _ = await watch(bench, Criteria())
    assert verdict == "failure"
    assert time.monotonic() - began < 10  # of 20 s
    verdict, _ = await watch(bench, Criteria(min_success_ratio=0.5), seconds=0.3)
    assert verdict is None


async def test_a_deadline_is_kept(bench):
    bench.sim.state.settings.fate = "stuck"
    await asyncio.to_thread(bench.run, 20)
    began = time.monotonic()
    verdict, found = await watch(bench, seconds=0.7, interval=20)
    assert verdict is None
    assert 0.6 < time.monotonic() - began < 10
    assert found.total == 20


@pytest.mark.parametrize("fault", [Fault("hang", endpoint="check_message"), None], ids=["hangs", "is gone"])
async def test_a_deadline_is_kept_where_nothing_answers(bench, fault):
    await asyncio.to_thread(bench.run, 700)
    if fault:
        bench.sim.state.order(fault)
    else:
        bench.hook.url = "http://127.0.0.1:9"
    began = time.monotonic()
    verdict, found = await watch(bench, seconds=0.7)
    assert verdict is None
    assert found.by_code == {"": 700}
    assert time.monotonic() - began < 8  # one check is given up after 10 s, or tried again for 20 s
    assert len(asyncio.all_tasks()) == 1, "a check was left running"


@pytest.mark.parametrize("name", ["503", "drop_after", "html", "cut"])
async def test_failed_checks_are_survived(bench, name):
    await asyncio.to_thread(bench.run, 100)
    bench.sim.state.settings.speed = 1000
    fault = bench.sim.state.order(Fault(name, endpoint="check_message", share=0.5, seed=2, times=60))
    verdict, found = await watch(bench)
    assert (verdict, found.by_code) == ("success", {"DELIVERED": 100})
    assert fault.hits == 60


async def test_checks_that_always_fail_keep_nobody_else_waiting(bench, monkeypatch):
    """They come first, as they wait the longest."""
    monkeypatch.setattr(polling, "BATCH", 10)
    await asyncio.to_thread(bench.run, 60)
    bench.sim.state.settings.speed = 1000
    ids = sorted(message.id for message in bench.sim.state.messages)[:20]
    asked = polling.Watcher._ask

    async def ask(self, one, now):
        if int(one.message_id) in ids:
            raise UnreadableReplyError("unreadable")
        return await asked(self, one, now)

    monkeypatch.setattr(polling.Watcher, "_ask", ask)
    verdict, found = await asyncio.wait_for(watch(bench, Criteria(min_success_ratio=2 / 3)), 40)
    assert (verdict, found.by_code) == ("success", {"": 20, "DELIVERED": 40})


async def test_a_round_ends_though_messages_fall_due_again_meanwhile(bench, monkeypatch):
    monkeypatch.setattr(polling, "BATCH", 10)
    bench.sim.state.settings.fate = "stuck"
    await asyncio.to_thread(bench.run, 60)
    async with bench.hook.async_transport() as transport:
        watcher = Watcher(bench.ledger, transport, CAMPAIGN, interval=0.001)
        found = await asyncio.wait_for(watcher.check_due(), 30)
    assert sum(found.by_code.values()) == 60
    asked = [r for r in bench.sim.state.requests if r.endpoint == "check_message"]
    assert len(asked) == 60


async def test_a_dead_network_is_survived(bench):
    await asyncio.to_thread(bench.run, 30)
    bench.sim.state.settings.speed = 1000
    url, bench.hook.url, bench.hook.retry_for = bench.hook.url, "http://127.0.0.1:9", 0.1
    verdict, found = await watch(bench, seconds=1)
    assert (verdict, found.by_code) == (None, {"": 30})
    bench.hook.url = url
    assert (await watch(bench))[0] == "success"


async def test_a_refused_key_ends_it(bench):
    await asyncio.to_thread(bench.run, 30)
    bench.sim.state.settings.deny_ip = True
    with pytest.raises(IpNotAllowedError):
        await watch(bench)
    assert len(asyncio.all_tasks()) == 1


async def test_what_was_told_before_the_key_was_refused_is_kept(bench):
    await asyncio.to_thread(bench.run, 30)
    bench.sim.state.settings.speed = 1000
    bench.sim.state.order(Fault("error", endpoint="check_message", at={20}, code="IP_NOT_ALLOWED"))
    with pytest.raises(IpNotAllowedError):
        await watch(bench, concurrency=1)
    assert Counter(row.delivery_code for row in bench.messages()) == {"DELIVERED": 19, None: 11}


async def test_an_id_that_nobody_knows(bench, monkeypatch):
    monkeypatch.setattr(polling, "NOT_FOUND_GRACE", 0.5)
    delivery.watch(bench.ledger, ["1", "2"])
    verdict, found = await watch(bench, Criteria(), scope=Scope(message_ids=("1", "2")))
    assert (verdict, found.by_code) == ("failure", {polling.NOT_FOUND: 2})


async def test_intervals_rise(bench):
    bench.sim.state.settings.fate = "stuck"
    await asyncio.to_thread(bench.run, 3)
    with bench.ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE telekom_sms_message SET state_at = state_at - 40000 WHERE row = 1")
    await watch(bench, seconds=2.5, interval=0.2)
    asked = Counter(
        r.parameters["message_id"] for r in bench.sim.state.requests if r.endpoint == "check_message"
    )
    assert sorted(asked.values())[0] == 1, "40 s old: again after 10 s"
    assert min(sorted(asked.values())[1:]) >= 3


async def test_many_campaigns_do_not_crowd_the_loop(bench, monkeypatch):
    await asyncio.to_thread(bench.run, 400, concurrency=32)
    bench.sim.state.settings.speed, bench.sim.state.settings.latency_ms = 1000, 30
    ids = tuple(row.message_id for row in bench.messages())
    in_flight, most = 0, 0
    send = AsyncTransport._send

    async def flying(self, request):
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            return await send(self, request)
        finally:
            in_flight -= 1

    monkeypatch.setattr(AsyncTransport, "_send", flying)
    scopes = [Scope(message_ids=ids[first : first + 50]) for first in range(0, 400, 50)]
    found = await asyncio.gather(*(watch(bench, scope=scope) for scope in scopes))
    assert [progress.total for _, progress in found] == [50] * 8
    assert 10 < most <= polling.IN_FLIGHT
    # What they shared is not kept, nor is the key in it; other tests' may be, among what they froze.
    gc.collect()
    assert not [loop for loop, _ in polling._paces if loop is asyncio.get_running_loop()]


async def test_a_ledger_that_hangs_holds_up_nobody_elses_wait(bench, tmp_path, monkeypatch):
    await asyncio.to_thread(bench.run, 20, concurrency=16)
    bench.sim.state.settings.speed = 1000
    hanging, released = Ledger(f"sqlite:///{tmp_path / 'hanging.db'}"), threading.Event()
    due = delivery.due

    def late(ledger, *args):
        if ledger is hanging:
            released.wait(30)
        return due(ledger, *args)

    monkeypatch.setattr(delivery, "due", late)
    async with bench.hook.async_transport() as transport:
        stuck = [
            asyncio.create_task(Watcher(hanging, transport, CAMPAIGN, interval=1).check_due())
            for _ in range(2 * polling.LEDGER_THREADS)
        ]
        await asyncio.sleep(0.2)
        verdict, _ = await asyncio.wait_for(watch(bench), 10)
        released.set()
        await asyncio.gather(*stuck, return_exceptions=True)
    assert verdict == "success"


async def test_the_loop_is_never_blocked(bench, far, monkeypatch):
    """
    By work: what a busy machine takes away is not counted. The ledger, which may wait, works elsewhere.

    And by the best of several rounds: Python may import or collect garbage in any.
    """
    number, part = 2000, 500
    bench.hook.url = far.url
    await asyncio.to_thread(bench.run, number, concurrency=32)
    far.ask("POST", "settings", {"speed": 1000})
    ids = tuple(row.message_id for row in bench.messages())
    threads, works = set(), []
    transaction, reading = Ledger.transaction, Ledger.reading
    for name, original in (("transaction", transaction), ("reading", reading)):

        def noted(self, original=original):
            threads.add(threading.current_thread())
            return original(self)

        monkeypatch.setattr(Ledger, name, noted)

    async def heart(beats):
        while True:
            before, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            beats.append((time.thread_time() - worked, time.perf_counter() - before))

    async with bench.hook.async_transport(connections=10) as transport:
        for first in range(0, number, part):
            scope, beats = Scope(message_ids=ids[first : first + part]), []
            beating = asyncio.create_task(heart(beats))
            await asyncio.sleep(0)  # it begins
            began = time.perf_counter()
            found = await Watcher(bench.ledger, transport, scope, interval=1).check_due()
            seconds = time.perf_counter() - began
            beating.cancel()
            work, clock = (max(beat) * 1000 for beat in zip(*beats, strict=True))
            print(f"{part} checks in {seconds:.2f} s ({part / seconds:.0f}/s), between two turns of the loop "
                  f"at most {work:.0f} ms of work, {clock:.0f} ms by the clock")  # fmt: skip
            assert found.by_code == {"DELIVERED": part}
            works.append(work)
    assert min(works) < 50
    assert threads
    assert threading.current_thread() not in threads


@pytest.mark.parametrize(
    ("progress", "verdict"),
    [
        (Progress(0, 0, planning=True), None),
        (Progress(0, 0), "success"),
        (Progress(0, 0, unaccepted=5), "failure"),
        (Progress(1, 0, {"DELIVERED": 1}, {"DELIVERED": 1}, unaccepted=1), "failure"),
        (Progress(1, 0, {"DELIVERED": 1}, {"DELIVERED": 1}, planning=True), None),
    ],
)
def test_what_was_never_accepted_is_not_delivered(progress, verdict):
    assert Criteria().verdict(progress) == verdict
    assert Criteria(min_success_ratio=0.5, wait_for_all=True).verdict(progress) == (
        "success" if progress.total and not progress.planning else verdict
    )
