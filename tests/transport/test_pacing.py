"""How many requests are under way: fewer after HTTP 429, then more again."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from airflow_provider_telekom_sms.api import v1
from airflow_provider_telekom_sms.api.messages import SmsParameters
from airflow_provider_telekom_sms.api.results import Receipt
from airflow_provider_telekom_sms.exceptions import Fate, RateLimitedError, TelekomSmsError
from airflow_provider_telekom_sms.pacing import Pace
from airflow_provider_telekom_sms.simulator import Fault, Settings
from airflow_provider_telekom_sms.transport import AsyncTransport


async def begun(pace: Pace) -> bool:
    """Tell whether one more may leave at once."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(pace.begin(), 0.01)
        return True
    return False


async def room(pace: Pace) -> int:
    """Give how many more may leave at once."""
    number = 0
    while await begun(pace):
        number += 1
    for _ in range(number):
        pace.end()
    return number


async def test_half_as_many_after_each_round() -> None:
    pace = Pace(16, 60)
    began = [await pace.begin() for _ in range(16)]
    for one in began:
        pace.slow_down(one, None)
        pace.end()
    assert pace.allowed == await room(pace) == 8
    for expected in (4, 2, 1, 1):
        pace.slow_down(await pace.begin(), None)
        pace.end()
        assert pace.allowed == await room(pace) == expected


async def test_one_more_for_every_round_that_is_answered() -> None:
    pace = Pace(4, 60)
    for _ in range(2):
        pace.slow_down(await pace.begin(), None)
        pace.end()
    assert pace.allowed == 1
    for answers, expected in ((1, 2), (1, 2), (1, 3), (2, 3), (1, 4), (99, 4)):
        for _ in range(answers):
            await pace.begin()
            pace.answered()
            pace.end()
        assert pace.allowed == expected
    assert await room(pace) == 4


async def test_nothing_leaves_before_the_time_that_is_asked_for() -> None:
    pace = Pace(8, 60)
    pace.slow_down(await pace.begin(), 0.3)
    asked = time.monotonic()
    waiting = [asyncio.create_task(pace.begin()) for _ in range(6)]
    done, _ = await asyncio.wait(waiting, timeout=0.25)
    assert not done
    await asyncio.wait(waiting, timeout=2, return_when=asyncio.FIRST_COMPLETED)
    assert time.monotonic() - asked >= 0.3
    for task in waiting:
        task.cancel()


async def test_who_would_wait_too_long_is_refused() -> None:
    pace = Pace(8, 5)
    pace.slow_down(await pace.begin(), 3600)
    pace.end()
    with pytest.raises(RateLimitedError) as caught:
        await pace.begin()
    assert caught.value.fate is Fate.NOT_SENT
    assert 3590 < caught.value.retry_after <= 3600


@pytest.mark.parametrize("waits_for", ["a turn", "the time"])
async def test_who_is_cancelled_leaves_its_turn_to_others(waits_for: str) -> None:
    pace = Pace(2, 60)
    first = await pace.begin()
    if waits_for == "the time":
        pace.slow_down(first, 0.2)
    else:
        await pace.begin()
    waiting = [asyncio.create_task(pace.begin()) for _ in range(3)]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    pace.end()
    if waits_for == "a turn":
        pace.end()
    await asyncio.sleep(0.35)
    assert await room(pace) == pace.allowed


async def send(transport: AsyncTransport, number: int) -> object:
    def call(credential):
        to, text = f"4219030{number:05d}", "Ahoj"
        return v1.send_message(transport.settings.wire, credential, to, text, SmsParameters())

    try:
        return await transport.run(transport.call(call))
    except TelekomSmsError as error:
        return error


async def test_it_finds_the_speed_that_the_api_allows(sim, settings) -> None:
    """Each try that is refused costs the API something, too."""
    fault = sim.state.order(Fault("429", per_second=200))
    sim.state.settings = Settings(latency_ms=20, fate="delivered")
    numbers = iter(range(1000))
    began = time.monotonic()
    async with AsyncTransport(settings(sim.url, auth="token"), connections=64) as transport:

        async def work() -> list[object]:
            return [await send(transport, number) for number in numbers]

        results = [one for part in await asyncio.gather(*(work() for _ in range(64))) for one in part]
    seconds = time.monotonic() - began
    print(f"1000 messages at 200/s in {seconds:.1f} s, {fault.hits} times refused")
    assert [one for one in results if not isinstance(one, Receipt)] == []
    assert len(sim.state.messages) == 1000
    assert fault.hits < 300  # without this they are 450
    assert seconds < 15


async def test_what_waits_for_another_try_can_be_broken_off(sim, settings) -> None:
    sim.state.order(Fault("429", retry_after=30))
    async with AsyncTransport(settings(sim.url, auth="token"), connections=2) as transport:
        tasks = [asyncio.create_task(send(transport, number)) for number in range(6)]
        while len(sim.state.requests) < 2:
            await asyncio.wait(tasks, timeout=0.01)
        began = time.monotonic()
        transport.break_off()
        results = await asyncio.gather(*tasks)
    assert time.monotonic() - began < 5
    assert {one.fate for one in results} == {Fate.NOT_SENT}
    assert sim.state.messages == []
