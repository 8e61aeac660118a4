"""
Forks a process for every line of its input, each in a process group of its own, and says how each ended.

A line is JSON: the URL of the ledger, the URL of the API, how many rows are planned (none: what others have
planned is sent), the concurrency, where to stand still until it is killed (``at``: claimed, sent or recorded;
after how many). A process starts at once, since all is imported already.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp  # noqa: F401  imported before the fork
import requests  # noqa: F401

from airflow_provider_telekom_sms.api import v1
from airflow_provider_telekom_sms.campaign import engine
from airflow_provider_telekom_sms.campaign.multichannel import Multichannel
from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, run_job
from airflow_provider_telekom_sms.ledger import planning, sending
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from airflow_provider_telekom_sms.settings import Settings
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN
from airflow_provider_telekom_sms.transport import AsyncTransport


class Hook:
    def __init__(self, url: str) -> None:
        self.settings = Settings(DEFAULT_TOKEN, url, timeout=10)

    @contextlib.asynccontextmanager
    async def async_transport(self, *, connections: int = 16) -> AsyncIterator[AsyncTransport]:
        async with AsyncTransport(self.settings, connections=connections) as transport:
            yield transport


def stand_still(marker: str) -> None:
    """Tell that the place is reached, and wait for the end."""
    Path(marker).touch()
    time.sleep(60)


def lay_trap(at: str, after: int, marker: str) -> None:
    """Make the process stand still between claim and send, send and record, or after a record."""
    exchange, send = sending.exchange, engine.Engine._send
    recorded = sent = 0

    def exchanged(ledger: Any, owner: Any, outcomes: Any, want: int, **options: Any) -> Any:
        nonlocal recorded
        result = exchange(ledger, owner, outcomes, want, **options)
        recorded += sum(1 for outcome in outcomes if outcome.state is State.ACCEPTED)
        if at == "recorded" and recorded >= after:
            stand_still(marker)
        return result

    async def sends(self: Any, message: Any) -> Any:
        nonlocal sent
        if at == "claimed" and sent >= after:
            await asyncio.to_thread(stand_still, marker)
        sent += 1
        outcome = await send(self, message)
        if at == "sent" and sent >= after:
            await asyncio.to_thread(stand_still, marker)
        return outcome

    sending.exchange = exchanged
    engine.Engine._send = sends


def note_what_leaves(path: str) -> None:
    """Write down every message that is past all checks, before it leaves."""
    over_v1, leaving = engine.Engine._over_v1, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def noted(self: Any, message: Any, *arguments: Any) -> Any:
        os.write(leaving, f"{message.phone}\n".encode())
        return await over_v1(self, message, *arguments)

    engine.Engine._over_v1 = noted  # type: ignore[method-assign]


def run(job: dict[str, Any]) -> dict[str, Any]:
    if job.get("at"):
        lay_trap(job["at"], job["after"], job["marker"])
    if job.get("leaving"):
        note_what_leaves(job["leaving"])
    if lease_ms := job.get("lease_ms"):
        planning.LEASE_MS = engine.LEASE_MS = lease_ms
    ledger = Ledger(job["ledger"])
    spec = None
    if job.get("rows"):
        rows = [{"phone": f"09031{row:05d}", "name": str(row)} for row in range(job["rows"])]
        spec = CampaignSpec(rows, MessageSettings(), text="Ahoj {name}")
    if job.get("batch_size"):
        channels = [{"type": "rcs", "ttl": 5}, {"type": "sms"}]
        card = {"text": "Ahoj všetci"}
        settings = MessageSettings(multichannel=Multichannel(channels, None, card, card))
        spec = replace(spec, settings=settings, text=None) if spec else None
    began = time.monotonic()
    result = run_job(
        ledger,
        Hook(job["url"]),
        Job(
            "campaign",
            job.get("slot", "slot"),
            spec,
            concurrency=job["concurrency"],
            batch_size=job.get("batch_size") or 100,
            on_in_doubt=job.get("on_in_doubt", "skip"),
        ),
        threading.Event(),
    )
    ledger.close()
    return {
        "counts": result.counts.as_dict(),
        "sent": {str(state): number for state, number in result.drained.counts.items()},
        "stopped_by": str(result.drained.stopped_by or ""),
        "halted": result.drained.halted,
        "last": result.last,
        "seconds": time.monotonic() - began,
    }


def fork(line: str) -> tuple[int, int]:
    """Give the child's number, and where its answer is read."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            os.close(reading)
            os.setpgid(0, 0)
            answer = run(json.loads(line))
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with contextlib.suppress(OSError):  # the child was first
        os.setpgid(child, child)
    return child, reading


def tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    assert v1.send_message
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == 0:
                    # Who writes a line waits for its answer, so that no two come together.
                    if not (line := os.read(0, 65536).decode()):
                        return
                    child, reading = fork(line)
                    selector.register(reading, selectors.EVENT_READ, child)
                    tell({"pid": child})
                    continue
                # An answer is shorter than a pipe is long: it comes whole, or the process died without one.
                answered = os.read(key.fd, 65536).decode()
                selector.unregister(key.fd)
                os.close(key.fd)
                _, status = os.waitpid(key.data, 0)
                killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                tell({"pid": key.data, "signal": killed, **json.loads(answered or "{}")})


if __name__ == "__main__":
    main()
