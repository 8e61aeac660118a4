"""One try of a campaign, from plan to report."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.campaign.engine import Drained, Engine, run_blocking
from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, ensure_plan
from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import planning, reporting, sending
from airflow_provider_telekom_sms.ledger.planning import Owner
from airflow_provider_telekom_sms.ledger.sending import RateLimit
from airflow_provider_telekom_sms.ledger.store import Ledger, State

if TYPE_CHECKING:
    from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook


@dataclass(frozen=True)
class Job:
    """
    What one try is to do.

    :param campaign_id: the campaign's id as the user knows it
    :param slot: what stays the same from try to try
    :param spec: what to plan
    :param concurrency: messages in flight at once
    :param rate_limit: messages per second for the key; None for the connection's
    :param own_plan_only: send only what this slot planned, not what others left in the campaign
    :param on_in_doubt: ``resend`` sends again what an earlier try left in doubt
    :param on_rejected: ``resend`` sends again what an earlier try had refused
    """

    campaign_id: str
    slot: str
    spec: CampaignSpec
    concurrency: int = 16
    rate_limit: float | None = None
    own_plan_only: bool = False
    on_in_doubt: Literal["fail", "skip", "resend"] = "fail"
    on_rejected: Literal["keep", "resend"] = "keep"


@dataclass(frozen=True)
class Result:
    """What a try did, and where the campaign (or, with ``own_plan_only``, the plan) stands now."""

    owner: Owner
    plan_id: int
    counts: reporting.Counts
    drained: Drained


def run_job(ledger: Ledger, hook: TelekomSmsHook, job: Job, stop: threading.Event) -> Result:
    """
    Plan, unless an earlier try did, and send what is not sent yet.

    :param hook: gives the connection
    :param stop: ends the try cleanly when it is set
    :raises TelekomSmsError: when nothing can be planned or sent
    """
    with _owner(ledger, job) as owner:
        plan_id = ensure_plan(ledger, owner, job.spec)
        own = plan_id if job.own_plan_only else None
        if job.on_in_doubt == "resend":
            sending.requeue(ledger, owner, State.IN_DOUBT, own)
        if job.on_rejected == "resend":
            sending.requeue(ledger, owner, State.REJECTED, own)
        before = reporting.counts(ledger, owner.campaign_id, own)
        drained = Drained()
        if before.planned:
            drained = run_blocking(lambda: _drain(ledger, hook, job, owner, own, before.planned, stop))
        counts = reporting.counts(ledger, owner.campaign_id, own)
    return Result(owner, plan_id, counts, drained)


@contextlib.contextmanager
def _owner(ledger: Ledger, job: Job) -> Iterator[Owner]:
    owner = planning.begin(ledger, job.campaign_id, job.slot)
    try:
        yield owner
    except BaseException:
        # Where even this fails, the next try declares this one dead.
        with contextlib.suppress(LedgerError):
            planning.end(ledger, owner)
        raise
    planning.end(ledger, owner)


async def _drain(
    ledger: Ledger,
    hook: TelekomSmsHook,
    job: Job,
    owner: Owner,
    plan_id: int | None,
    total: int,
    stop: threading.Event,
) -> Drained:
    concurrency = min(job.concurrency, total)
    async with hook.async_transport(connections=concurrency) as transport:
        per_second = job.rate_limit or transport.settings.rate_limit
        engine = Engine(
            ledger,
            owner,
            transport,
            concurrency=concurrency,
            plan_id=plan_id,
            rate=RateLimit(transport.settings.token, per_second) if per_second else None,
            total=total,
            stop=stop,
        )
        return await engine.run()


@contextlib.contextmanager
def scratch_ledger() -> Iterator[Ledger]:
    """Give a ledger for a dry run, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="telekom-sms-dry-run-") as folder:
        ledger = Ledger(URL.create("sqlite", database=str(Path(folder) / "ledger.db")))
        try:
            yield ledger
        finally:
            ledger.close()


def plan_only(ledger: Ledger, job: Job) -> tuple[Owner, reporting.Counts]:
    """
    Plan without sending.

    :raises TelekomSmsError: as :func:`run_job`, before the first message
    """
    with _owner(ledger, job) as owner:
        plan_id = ensure_plan(ledger, owner, job.spec)
    return owner, reporting.counts(ledger, owner.campaign_id, plan_id)
