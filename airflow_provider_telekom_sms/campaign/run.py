"""One try of a campaign, from plan to report."""

from __future__ import annotations

import contextlib
import gc
import logging
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.campaign.engine import Drained, Engine, run_blocking
from airflow_provider_telekom_sms.campaign.observer import Observer, folded
from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, ensure_plan
from airflow_provider_telekom_sms.campaign.report import write_report
from airflow_provider_telekom_sms.campaign.suppression import Suppression, SuppressionList
from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import planning, reporting, sending
from airflow_provider_telekom_sms.ledger.planning import Owner
from airflow_provider_telekom_sms.ledger.sending import RateLimit
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from airflow_provider_telekom_sms.settings import DEFAULT_BATCH_SIZE

if TYPE_CHECKING:
    from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook

log = logging.getLogger(__name__)

#: Seconds to wait where all that is left is in another's transaction, which may claim it or give it back.
HELD_BY_OTHERS = 1.0


@dataclass(frozen=True)
class Job:
    """
    What one try is to do.

    :param campaign_id: the campaign's id as the user knows it
    :param slot: what stays the same from try to try
    :param spec: what to plan; None to send what others have planned
    :param suppression: numbers that must not get a message, whoever planned it
    :param sends: False to plan only
    :param concurrency: requests in flight at once
    :param batch_size: recipients of one request, over API v2
    :param rate_limit: messages per second for the key; None for the connection's
    :param yields: end where the rate limit makes it wait long, instead of waiting
    :param own_plan_only: send only what this slot planned, not what others left in the campaign
    :param on_in_doubt: ``resend`` sends again what an earlier try left in doubt
    :param on_rejected: ``resend`` sends again what an earlier try had refused
    :param report_path: where an outcome for every row is written; the last try at work writes it, and every
        one that fails
    """

    campaign_id: str
    slot: str
    spec: CampaignSpec | None = None
    suppression: SuppressionList | None = None
    sends: bool = True
    concurrency: int = 16
    batch_size: int = DEFAULT_BATCH_SIZE
    rate_limit: float | None = None
    yields: bool = False
    own_plan_only: bool = False
    on_in_doubt: Literal["fail", "skip", "resend"] = "fail"
    on_rejected: Literal["keep", "resend"] = "keep"
    report_path: str | None = None


@dataclass(frozen=True)
class Result:
    """
    What a try did, and where the campaign (or, with ``own_plan_only``, the plan) stands now.

    :param plan_id: the plan of this slot; None where it planned nothing
    :param last: no other try is at work on the campaign
    :param unreported: why the report could not be written; empty if it was, or was not to be
    """

    owner: Owner
    plan_id: int | None
    counts: reporting.Counts
    drained: Drained
    last: bool = True
    unreported: str = ""

    @property
    def whole(self) -> bool:
        """Whether all was sent that there was to send."""
        return not (self.drained.stopped_by or self.drained.halted or self.drained.wait)


def run_job(
    ledger: Ledger,
    hook: TelekomSmsHook,
    job: Job,
    stop: threading.Event,
    begun: Callable[[Owner], None] = lambda owner: None,
    observer: Observer | None = None,
) -> Result:
    """
    Plan, unless an earlier try did, and send what is not sent yet.

    :param hook: gives the connection
    :param stop: ends the try cleanly when it is set
    :param begun: called before anything is planned or claimed; may refuse
    :param observer: is told how far it is
    :raises TelekomSmsError: when nothing can be planned or sent
    """
    if job.spec is None:
        reporting.campaign_number(ledger, job.campaign_id)  # must be there; beginning a try would make it
    observer = observer or Observer()
    owner = _begin(ledger, job, observer)
    try:
        begun(owner)
    except BaseException:
        # Whatever report there is, this ledger knows nothing better.
        with contextlib.suppress(LedgerError):
            planning.end(ledger, owner)
        raise
    attempt = _Try(ledger, hook, job, owner, stop, observer)
    try:
        with _little_garbage():
            plan_id, drained = attempt.run()
    except BaseException as error:
        attempt.break_off(error)
        raise
    last = attempt.end()
    counts = reporting.counts(ledger, owner.campaign_id, plan_id if job.own_plan_only else None)
    observer.ended(counts)
    result = Result(owner, plan_id, counts, drained, last)
    # While it only waits for the rate limit there is more to come.
    if job.report_path and not drained.wait and (last or not result.whole):
        return replace(result, unreported=_report(ledger, owner, job.report_path))
    return result


def _begin(ledger: Ledger, job: Job, observer: Observer) -> Owner:
    """Begin a try, and tell what those that are dead by that have left in doubt."""
    if not observer.counts:
        return planning.begin(ledger, job.campaign_id, job.slot)
    before = _in_doubt(ledger, job.campaign_id)
    owner = planning.begin(ledger, job.campaign_id, job.slot)
    observer.died_in_doubt(_in_doubt(ledger, job.campaign_id) - before)
    return owner


def _in_doubt(ledger: Ledger, campaign: str) -> int:
    try:
        return reporting.counts(ledger, reporting.campaign_number(ledger, campaign)).in_doubt
    except LedgerError:
        # There is no such campaign yet.
        return 0


def _report(ledger: Ledger, owner: Owner, path: str) -> str:
    """Write the report; give what went wrong, for what was sent is to be told first."""
    try:
        write_report(ledger, owner.campaign_id, path)
    except Exception as error:
        log.warning("The report could not be written: %s", type(error).__name__)
        return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
    log.info("The report is in %s", path)
    return ""


@dataclass(frozen=True)
class _Try:
    """A try that has begun; its fields are the parameters of :func:`run_job`."""

    ledger: Ledger
    hook: TelekomSmsHook
    job: Job
    owner: Owner
    stop: threading.Event
    observer: Observer

    def run(self) -> tuple[int | None, Drained]:
        ledger, job, owner = self.ledger, self.job, self.owner
        with planning.kept_alive(ledger, owner):
            suppressed = job.suppression.load() if job.suppression else None
        plan_id = None
        if job.spec is None:
            planning.require_ready(ledger, owner)
        else:
            plan_id = self._plan(job.spec, suppressed)
        if not job.sends:
            return plan_id, Drained()
        own = plan_id if job.own_plan_only else None
        if job.on_in_doubt == "resend":
            sending.requeue(ledger, owner, State.IN_DOUBT, own)
        if job.on_rejected == "resend":
            sending.requeue(ledger, owner, State.REJECTED, own)
        if suppressed:
            # Of plans that were made before, and of what is to be sent again.
            self.observer.left_out(planning.leave_out(ledger, owner, suppressed.__contains__))
        return plan_id, self._send(own, suppressed)

    def _plan(self, spec: CampaignSpec, suppressed: Suppression | None) -> int:
        self.observer.planning()
        earlier = planning.plan_of(self.ledger, self.owner)
        with folded("Plan"):
            plan_id = ensure_plan(self.ledger, self.owner, spec, suppressed)
        if self.observer.counts and (earlier is None or earlier.id != plan_id):
            counts = reporting.counts(self.ledger, self.owner.campaign_id, plan_id)
            self.observer.planned(counts, "v1" if spec.settings.multichannel is None else "v2")
        return plan_id

    def _send(self, plan_id: int | None, suppressed: Suppression | None) -> Drained:
        drained, counts = Drained(), Counter[State]()
        while not (drained.stopped_by or drained.halted or drained.wait):
            # Again where another try gave back what it had claimed.
            left = reporting.sendable(self.ledger, self.owner.campaign_id, plan_id)
            if not left:
                break
            with folded("Send"):
                drained = self._drain(plan_id, left, suppressed)
            counts.update(drained.counts)
            if not drained.counts:
                self.stop.wait(HELD_BY_OTHERS)
        drained.counts = dict(counts)
        return drained

    def _drain(self, plan_id: int | None, left: int, suppressed: Suppression | None) -> Drained:
        job, concurrency = self.job, min(self.job.concurrency, left)
        so_far = reporting.counts(self.ledger, self.owner.campaign_id, plan_id)

        async def drain() -> Drained:
            async with self.hook.async_transport(connections=concurrency) as transport:
                per_second = job.rate_limit or transport.settings.rate_limit
                engine = Engine(
                    self.ledger,
                    self.owner,
                    transport,
                    concurrency=concurrency,
                    batch_size=job.batch_size,
                    plan_id=plan_id,
                    rate=RateLimit(transport.settings.token, per_second) if per_second else None,
                    total=left,
                    done=so_far.accepted + so_far.rejected + so_far.in_doubt,
                    stop=self.stop,
                    yields=job.yields,
                    # Also of what another gives back after the list was read.
                    unwanted=suppressed.__contains__ if suppressed else lambda phone: False,
                    observer=self.observer,
                )
                return await engine.run()

        try:
            return run_blocking(drain)
        finally:
            self.observer.rest()

    def end(self) -> bool:
        last = planning.end(self.ledger, self.owner)
        if self.observer.counts:
            self.observer.left_in_doubt(reporting.in_doubt_of(self.ledger, self.owner.id, None))
        return last

    def break_off(self, error: BaseException) -> None:
        """Leave all in order, as far as the ledger still lets it; the next try would, too."""
        with contextlib.suppress(LedgerError):
            self.end()
            if self.job.report_path and isinstance(error, Exception):
                # Above all for a plan that was refused: its rows and their reasons.
                _report(self.ledger, self.owner, self.job.report_path)
            planning.remove_half_plans(self.ledger, self.owner.campaign_id)


@contextlib.contextmanager
def _little_garbage() -> Iterator[None]:
    """Keep the garbage collector off what Airflow has loaded: to look it through takes 0.3 s each time."""
    frozen = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        # What another try or an executor froze is theirs, and there is no way to tell it from ours.
        if not frozen:
            gc.unfreeze()


@contextlib.contextmanager
def scratch_ledger() -> Iterator[Ledger]:
    """Give a ledger for a dry run, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="telekom-sms-dry-run-") as folder:
        ledger = Ledger(URL.create("sqlite", database=str(Path(folder) / "ledger.db")))
        try:
            yield ledger
        finally:
            ledger.close()
