"""Waiting for delivery: what a trigger asks in a second, and for how long it ever blocks the event loop."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from pathlib import Path
from typing import Any

from benchmarks import process, rows
from benchmarks.process import Job, Work, work
from benchmarks.provider import airflow
from benchmarks.suite import Suite

#: Seconds between two ticks that tell whether the loop runs.
TICK = 0.001


def accepted(job: Job) -> Work:
    """Fill a ledger with campaigns that were sent, without sending them."""
    from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
    from airflow_provider_telekom_sms.campaign.run import Job as Try
    from airflow_provider_telekom_sms.campaign.run import run_job
    from airflow_provider_telekom_sms.ledger import planning, sending
    from airflow_provider_telekom_sms.ledger.sending import Outcome
    from airflow_provider_telekom_sms.ledger.store import Ledger, State

    def fill(ledger: Ledger, campaign: str) -> None:
        people = [{"phone": rows.phone(row)} for row in range(job["rows"])]
        spec = CampaignSpec(people, MessageSettings(), text=rows.SAME_TEXT)
        run_job(ledger, None, Try(campaign, "plan", spec, sends=False), None)  # type: ignore[arg-type]
        owner = planning.begin(ledger, campaign, "send")
        claimed = sending.exchange(ledger, owner, [], job["rows"]).claimed
        outcomes = [Outcome(message.id, State.ACCEPTED, str(10**8 + message.id), 1) for message in claimed]
        sending.exchange(ledger, owner, outcomes, 0)
        planning.end(ledger, owner)

    def run() -> None:
        ledger = Ledger(f"sqlite:///{job['ledger']}")
        for campaign in ("warm", *map(str, range(job["campaigns"]))):
            fill(ledger, campaign)
        ledger.close()

    return run


def polled(job: Job) -> Work:
    """Wait for all of them as a triggerer does: a trigger for each campaign, all on one loop."""
    import airflow.jobs.triggerer_job_runner  # noqa: F401  what a triggerer has loaded before

    from airflow_provider_telekom_sms.triggers.telekom_sms import TelekomSmsDeliveryTrigger

    async def wait(campaign: str) -> None:
        trigger = TelekomSmsDeliveryTrigger(campaign_id=campaign, wait_for_all=True)
        async for event in trigger.run():
            if event.payload.get("status") != "success":
                raise RuntimeError(event.payload)

    async def main(campaigns: list[str]) -> Job:
        longest = 0.0

        async def tick() -> None:
            nonlocal longest
            while True:
                before = time.perf_counter()
                await asyncio.sleep(TICK)
                longest = max(longest, time.perf_counter() - before - TICK)

        ticking = asyncio.create_task(tick())
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        await asyncio.gather(*map(wait, campaigns))
        seconds = time.perf_counter() - began
        ticking.cancel()
        return {"blocked_ms": longest * 1000, "waited": seconds}

    if not job["cold"]:
        asyncio.run(main(["warm"]))
    return lambda: asyncio.run(main([str(number) for number in range(job["campaigns"])]))


def polling(suite: Suite) -> dict[str, list[Any]]:
    """Ask for 10,000 messages: of one campaign, of a hundred, and in a triggerer that has just started."""
    number, campaigns = (1_000, 10) if suite.quick else (10_000, 100)
    cases: dict[str, Job] = {
        "one campaign": {"rows": number, "campaigns": 1, "cold": False},
        f"{campaigns} campaigns": {"rows": number // campaigns, "campaigns": campaigns, "cold": False},
        "one campaign, the first trigger": {"rows": number, "campaigns": 1, "cold": True},
    }
    found: dict[str, list[Any]] = {name: [] for name in cases}
    filled = {name: suite.job("fill", **case) for name, case in cases.items()}
    for job in filled.values():
        process.run("polling", job)
    for _, (name, case) in itertools.product(range(suite.rounds), cases.items()):
        job = suite.job("poll", **case)
        shutil.copy(filled[name]["ledger"], job["ledger"])
        measured = process.run("polling", job, suite.server.reset)
        counted = suite.server.counts()
        suite.forget(job)
        if counted["checks"] != number:
            raise RuntimeError(f"{name}: {number} to ask for, counted {counted}")
        found[name].append({"rows": number, **measured})
    suite.say("polling")
    return found


def prepare(job: Job) -> Work:
    """Fill a ledger, or wait for what is in it."""
    airflow(job, job["home"])
    Path(job["home"]).mkdir(exist_ok=True)
    return {"fill": accepted, "poll": polled}[job["variant"]](job)


if __name__ == "__main__":
    work(prepare)
