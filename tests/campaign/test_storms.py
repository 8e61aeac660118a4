"""Everything that can go wrong on the way to the API, mixed, over thousands of messages."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict

import pytest
from sqlalchemy.engine import URL

from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, run_job
from airflow_provider_telekom_sms.exceptions import NotConnectedError
from airflow_provider_telekom_sms.ledger import reporting
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.transport import AsyncTransport
from tests.campaign.conftest import Hook

CONCURRENCY = 48
#: After these nothing has left, or nothing was carried out: they are sent again.
HARMLESS = ("429", "expire")
#: What each hits of all requests that the ones before it let through; a fifth in all, refused ones apart.
SHARES = {
    "429": {"share": 0.04, "retry_after": 0},
    "expire": {"share": 0.02},
    "503": {"share": 0.02},
    "503 and taken": {"share": 0.02, "taken": True},
    "drop_before": {"share": 0.02},
    "drop_after": {"share": 0.02},
    "hang": {"share": 0.015, "seconds": 30, "taken": True},
    "hang, not taken": {"share": 0.015, "seconds": 30, "taken": False},
    "html": {"share": 0.02},
    "cut": {"share": 0.02},
}


class Doorkeeper:
    """Shuts a proxy for moments: who comes then is refused."""

    def __init__(self, proxy):
        self.proxy, self.over = proxy, threading.Event()
        self.thread = threading.Thread(target=self._work)

    def _work(self):
        while not self.over.wait(0.2):
            self.proxy.shut()
            time.sleep(0.1)
            self.proxy.open()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


@pytest.fixture
def refused(monkeypatch):
    """The requests for which no connection could be made."""
    seen, exchange = [], AsyncTransport._exchange

    async def watched(self, request):
        try:
            return await exchange(self, request)
        except NotConnectedError:
            seen.append(request)
            raise

    monkeypatch.setattr(AsyncTransport, "_exchange", watched)
    return seen


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    if request.param == "sqlite":
        url = URL.create("sqlite", database=str(tmp_path / "ledger.db"))
    else:
        url = request.getfixturevalue("postgres").database()
    ledger = Ledger(url)
    yield ledger
    ledger.close()


def send_all(ledger, hook, number):
    """Try until nothing is planned any more; give how many tries it took, and what stopped the others."""
    rows = [{"phone": f"09031{row:05d}", "name": str(row)} for row in range(number)]
    spec = CampaignSpec(rows, MessageSettings(), text="Ahoj {name}")
    stopped = []
    while len(stopped) < 10:
        job = Job("campaign", "slot", spec, concurrency=CONCURRENCY, on_in_doubt="skip")
        result = run_job(ledger, hook, job, threading.Event())
        stopped.append(type(result.drained.stopped_by).__name__)
        if not result.counts.planned:
            break
    return stopped


def judged(far, rows):
    """Compare ledger and server row by row; give how often each thing was met, and what became of it."""
    requests, taken = defaultdict(list), Counter()
    for request in far.ask("GET", "requests"):
        if request["endpoint"] == "send_message":
            requests[f"421{request['parameters']['to'][-9:]}"].append(request)
    for message in far.ask("GET", "messages"):
        taken[message["number"]] += 1
    ids = {str(message["id"]): message["number"] for message in far.ask("GET", "messages")}
    assert {n: c for n, c in taken.items() if c > 1} == {}
    table, met = Counter(), Counter()
    for row in rows:
        *before, last = [_what(request) for request in requests[row.phone]] or ["never arrived"]
        # Only what was surely not carried out was sent again.
        assert set(before) <= {*HARMLESS, "dead session"}, (before, last)
        met.update([*before, last])
        if last == "ok" and row.state == "in_doubt" and "no whole reply in" in row.reason:
            last = "ok, but too late"  # on a busy machine a reply may take a second, too
        elif last in (*HARMLESS, "dead session") and row.state == "in_doubt":
            last = "never arrived"
        table[last, row.state, "taken" if taken[row.phone] else "not taken"] += 1
        taken_at_last = bool(requests[row.phone]) and requests[row.phone][-1]["message_id"] is not None
        assert taken[row.phone] == taken_at_last, "it was taken, and sent again"
        if row.state == "accepted":
            assert ids[row.message_id] == row.phone
    return table, met


def _what(request):
    if request["fault"] in (None, "expire") and request["code"] == "SESSION_NOT_FOUND":
        return request["fault"] or "dead session"
    return request["fault"] or ("ok" if request["code"] == "OK" else request["code"])


#: What may have been the last that happened to a message, and how it then stands.
STATES = {
    "ok": "accepted",
    "ok, but too late": "in_doubt",
    # Connected just as the door was shut, it broke after the request left.
    "never arrived": "in_doubt",
    **dict.fromkeys(("503", "drop_before", "drop_after", "hang", "html", "cut"), "in_doubt"),
}


def storm(far, proxy, ledger, refused, capsys, number):
    began = time.monotonic()
    door = proxy(far.url)
    orders = [
        {"name": name.partition(" ")[0].rstrip(","), "seed": seed, **options}
        for seed, (name, options) in enumerate(SHARES.items())
    ]
    far.ask("POST", "faults", orders)
    hook = Hook(f"http://127.0.0.1:{door.port}", timeout=1.0)
    with Doorkeeper(door):
        stopped = send_all(ledger, hook, number)
    faults = {name: fault["hits"] for name, fault in zip(SHARES, far.ask("GET", "faults"), strict=True)}
    rows = list(reporting.messages(ledger, reporting.campaign_number(ledger, "campaign")))
    table, met = judged(far, rows)
    refusals = sum(request.path.endswith("send_message") for request in refused)
    states = Counter(row.state for row in rows)
    with capsys.disabled():
        print(f"\n{ledger.dialect}, faults on the way: {number} messages, tries ended by {stopped}; hit by "
              f"{faults}, refused connections {refusals}; ledger {dict(states)}, "
              f"server {sum(n for (_, _, how), n in table.items() if how == 'taken')}, "
              f"numbers with two messages: 0, {time.monotonic() - began:.0f} s")  # fmt: skip
        for (last, state, how), count in sorted(table.items()):
            print(f"  {last:16} -> {state:8} {how:9} {count}")
    assert len(rows) == number
    for last, state, how in table:
        assert state == STATES.get(last), (last, state, how)
    assert min(faults.values()) > number / 200
    assert refusals > number / 500
    assert met["429"] == faults["429"]
    assert met["expire"] == faults["expire"]
    lates = sum(n for (last, *_), n in table.items() if last in ("ok, but too late", "never arrived"))
    assert lates < number / 20, "the machine was too busy to show anything"
    doubted = sum(hits for name, hits in faults.items() if name not in HARMLESS)
    assert states == {"accepted": number - doubted - lates, "in_doubt": doubted + lates}


def test_faults_on_the_way(far, proxy, ledger, refused, capsys):
    storm(far, proxy, ledger, refused, capsys, 1000)


@pytest.mark.slow
def test_many_faults_on_the_way(far, proxy, ledger, refused, capsys):
    storm(far, proxy, ledger, refused, capsys, 5000)
