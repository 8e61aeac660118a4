"""Ten thousand callbacks in disorder, and a receiver that is killed under them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import pytest

from airflow_provider_telekom_sms.ledger import callbacks, sending
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import State
from tests.callbacks.conftest import SECRET, ApiServer, Process

CONNECTIONS = 50
#: What the API may tell of a message, in the order in which it does.
COURSES = [
    ["QUEUED", "SENDING", "SENT", "DELIVERED"],
    ["QUEUED", "SENDING", "SENT", "DELIVERED", "READ"],
    ["QUEUED", "SENDING", "ERROR", "SENDING", "SENT", "DELIVERED"],
    ["QUEUED", "SENDING", "SENT"],
    ["QUEUED", "SENDING", "SENT", "UNDELIVERABLE"],
    ["QUEUED", "SENDING", "EXPIRED", "QUEUED", "SENT", "DELIVERED"],
    ["QUEUED", "SENDING", "SENT", "UNKNOWN"],
    ["QUEUED", "DENIED"],
]
#: By hand, from the manual and the field notes: of two reports the later here is believed.
ENDS = ["UNKNOWN", "EXPIRED", "UNDELIVERABLE", "DENIED", "DELIVERED", "READ"]
RANKS = ["QUEUED", "SENDING", "ERROR", "SENT", *ENDS]
MALFORMED = [
    b"",
    b"{",
    b"not json",
    b'{"type":"dsn"}',
    b'{"messageId":,}',
    b"\xff\xfe",
    b"[]",
    b'{"status":"SENT"}',
]


@dataclass
class Storm:
    """
    What is to be sent, and what is to come of it.

    :param expected: by row: state, message id, delivery code, whether that is final
    """

    bodies: list[bytes] = field(default_factory=list)
    distinct: int = 0
    expected: dict[int, tuple[str, str, str, bool]] = field(default_factory=dict)


def prepare(desk, wanted):
    """Plan and send messages, every tenth left in doubt; make callbacks for all."""
    dice = random.Random(11)
    owner = desk.planned(wanted // 4)
    claimed = sending.exchange(desk.ledger, owner, [], wanted).claimed
    storm, outcomes = Storm(), []
    for row, message in enumerate(claimed, 1):
        message_id, in_doubt = str(991_000_000 + row), row % 10 == 0
        outcomes.append(
            Outcome(message.id, State.IN_DOUBT)
            if in_doubt
            else Outcome(message.id, State.ACCEPTED, message_id)
        )
        external_id = {"externalId": sending.external_id(desk.ledger, message.id, None)} if in_doubt else {}
        course = dice.choice(COURSES)
        for second, code in enumerate(course):
            told = {"delivery": {"status": code}, "messageId": int(message_id), "type": "dsn", **external_id}
            told |= {"timestamp": f"2026-01-05T08:00:{second:02}.000Z", "channel": "sms", "messageParts": 1}
            storm.bodies.append(json.dumps(told, indent=2).replace("\n  }", ",\n  }").encode())
        best = max(course, key=RANKS.index)
        storm.expected[row] = ("accepted", message_id, best, best in ENDS)
    sending.exchange(desk.ledger, owner, outcomes, 0)
    storm.distinct = len(storm.bodies)
    storm.bodies += dice.sample(storm.bodies, len(storm.bodies) // 3)
    dice.shuffle(storm.bodies)
    for _ in range(len(storm.bodies) // 20):
        storm.bodies.insert(dice.randrange(len(storm.bodies)), dice.choice(MALFORMED))
    return storm


async def send(url, bodies, *, tries=1, pause=0.0, on_answer=lambda number: None):
    """Send over 50 connections, each body until it is answered with 2xx; give the last answers."""
    todo, answers = iter(bodies), Counter()

    async def work(session):
        for body in todo:
            for attempt in range(1, tries + 1):
                try:
                    async with session.post(url, data=body) as reply:
                        status = reply.status
                except aiohttp.ClientError:
                    status = 0
                if status in (200, 400) or attempt == tries:
                    break
                await asyncio.sleep(pause)
            answers[status] += 1
            on_answer(answers.total())

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(work(session) for _ in range(CONNECTIONS)))
    return answers


def outcome(desk):
    found = desk.sql("SELECT row, state, message_id, delivery_code, is_final FROM telekom_sms_message")
    return {row: (state, message_id, code, bool(final)) for row, state, message_id, code, final in found}


def check(desk, storm):
    assert outcome(desk) == storm.expected
    [[number, applied]] = desk.sql("SELECT count(*), count(row_id) FROM telekom_sms_callback")
    assert (number, applied) == (storm.distinct, storm.distinct)
    assert callbacks.catch_up(desk.ledger) is None


async def test_ten_thousand_callbacks(desk, process):
    receiver = process(desk)
    storm = await asyncio.to_thread(prepare, desk, 7_200)
    await send(receiver.url, storm.bodies[:1])  # it opens the ledger
    began = time.perf_counter()
    answers = await send(receiver.url, storm.bodies)
    seconds = time.perf_counter() - began
    print(
        f"{len(storm.bodies)} callbacks, {storm.distinct} different ones, of {len(storm.expected)} messages, "
        f"in {seconds:.1f} s, {len(storm.bodies) / seconds:.0f}/s; {receiver.memory()} MiB at most"
    )
    assert len(storm.bodies) > 10_000
    assert answers == {200: len(storm.bodies) - answers[400], 400: len(storm.bodies) * 5 // 105}
    check(desk, storm)
    assert receiver.memory() < 600


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Process, ApiServer])
async def test_none_is_lost_when_the_receiver_is_killed(desk, process, kind):
    """The operator calls again what was not answered with 2xx; here after half a second, not 5 minutes."""
    receiver = await asyncio.to_thread(process, desk, kind)
    storm = await asyncio.to_thread(prepare, desk, 7_200)
    killed_at = [len(storm.bodies) * share // 10 for share in (1, 3, 5, 7, 9)]
    printed, memory, stops = [], [], []

    def kill(number):
        if len(stops) < len(killed_at) and number >= killed_at[len(stops)]:
            memory.append(receiver.memory())
            printed.append(receiver.kill())
            stops.append(time.monotonic())
            receiver.start()

    await send(receiver.url, storm.bodies[:1])  # it opens the ledger
    for wrong in (SECRET + "x", SECRET.upper(), "", "x/" + SECRET):
        url = receiver.url.replace(SECRET, wrong)
        assert await send(url, storm.bodies[:20]) == {404: 20}
    assert desk.sql("SELECT count(*) FROM telekom_sms_callback") == [(1,)]
    began = time.monotonic()
    answers = await send(receiver.url, storm.bodies, tries=400, pause=0.5, on_answer=kill)
    seconds = time.monotonic() - began
    print(
        f"{kind.__name__}: {len(storm.bodies)} callbacks in {seconds:.0f} s with {len(stops)} kills and "
        f"starts; at most {max(memory)} MiB"
    )
    assert len(stops) == len(killed_at)
    assert set(answers) == {200, 400}
    check(desk, storm)
    said = "".join([*printed, receiver.printed()])
    assert SECRET not in said
    assert "Traceback" not in said
