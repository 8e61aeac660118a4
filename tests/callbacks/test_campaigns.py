"""Campaigns whose delivery is told by callbacks, end to end against the simulator, with nobody asking."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from airflow.providers.common.compat.sdk import conf

from airflow_provider_telekom_sms.api import rcs
from airflow_provider_telekom_sms.api.messages import SmsParameters
from airflow_provider_telekom_sms.callbacks.app import Receiver
from airflow_provider_telekom_sms.campaign.multichannel import Multichannel
from airflow_provider_telekom_sms.campaign.plan import MessageSettings
from airflow_provider_telekom_sms.campaign.polling import Criteria, Watcher
from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.ledger import delivery
from airflow_provider_telekom_sms.ledger.delivery import Scope
from airflow_provider_telekom_sms.ledger.store import Ledger
from airflow_provider_telekom_sms.settings import Settings, callback_secrets, callback_url_for
from airflow_provider_telekom_sms.simulator import Fault
from airflow_provider_telekom_sms.transport import AsyncTransport
from tests.callbacks.conftest import OLD_SECRET, PREFIX, SECRET
from tests.campaign.conftest import Bench, Hook, _simulator, sim, until

__all__ = ["_simulator", "sim", "until"]

BOTH = [{"type": "rcs", "ttl": 1}, {"type": "sms"}]
CARD = rcs.text("Prídete?", replies={"Áno": "yes", "Nie": "no"}).payload()


@dataclass
class CalledBack(Hook):
    """A connection that has a callback_url."""

    callback_url: str | None = None

    def __post_init__(self):
        self.transport = lambda settings, **options: AsyncTransport(
            replace(settings, callback_url=self.callback_url), **options
        )


@pytest.fixture
def bench(sim, desk, serve, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET", f"{SECRET}, {OLD_SECRET}")
    receiver = serve(desk)
    bench = Bench(sim, desk.ledger, CalledBack(sim.url, callback_url=f"{receiver.host}{PREFIX}"))
    bench.receiver = receiver
    return bench


def over_v2(channels=BOTH, sms="Prídete?", **options):
    sms = {"text": sms} if {"type": "sms"} in channels else None
    return MessageSettings(multichannel=Multichannel(channels, None, CARD, sms, **options))


def asked(bench):
    return sum(request.endpoint == "check_message" for request in bench.sim.state.requests)


async def watch(bench, seconds=60.0, interval=0.2, **criteria):
    async with bench.hook.async_transport(connections=10) as transport:
        watcher = Watcher(bench.ledger, transport, Scope("campaign"), interval=interval)
        return await watcher.wait(Criteria(wait_for_all=True, **criteria), time.time() + seconds)


def codes(bench):
    return Counter(row.delivery_code for row in bench.messages())


# --- nobody asks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("desk", "api"),
    [
        ("sqlite", "v2"),
        pytest.param("postgresql", "v1", marks=pytest.mark.slow),
        pytest.param("postgresql", "v2", marks=pytest.mark.slow),
    ],
    indirect=["desk"],
)
async def test_a_thousand_messages_with_hardly_a_question(bench, api):
    bench.sim.state.settings.speed = 2.0
    bench.sim.state.settings.rcs = "all"
    bench.sim.state.settings.callback_url = bench.receiver.url  # of the key; for v1
    options = {"settings": over_v2()} if api == "v2" else {}
    await asyncio.to_thread(bench.run, 1000, concurrency=32, **options)
    began = time.perf_counter()
    verdict, found = await watch(bench)
    print(
        f"{api}: {asked(bench)} check_message, {dict(bench.receiver.app.counts)}, "
        f"{time.perf_counter() - began:.1f} s"
    )
    assert (verdict, found.by_code) == ("success", {"DELIVERED": 1000})
    assert asked(bench) <= 5


@pytest.mark.parametrize("missing", ["secret", "url", "own urls", "callback=False"])
async def test_without_callbacks_it_is_asked_as_ever(bench, monkeypatch, missing):
    bench.sim.state.settings.speed = 100
    settings = over_v2()
    if missing == "secret":
        monkeypatch.delenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET")
    if missing == "url":
        bench.hook.callback_url = None
    if missing == "own urls":
        theirs = [{"url": "http://127.0.0.1:9/theirs", "types": ["dsn"]}]
        settings = replace(settings, multichannel=replace(settings.multichannel, callback_urls=theirs))
    if missing == "callback=False":
        settings = MessageSettings(SmsParameters.check(callback=False))
    await asyncio.to_thread(bench.run, 20, settings=settings)
    assert (await watch(bench))[0] == "success"
    assert asked(bench) >= 20
    assert bench.receiver.app.counts == {}


async def test_what_never_comes_is_asked_for(bench, monkeypatch):
    """The receiver cannot be reached, or its callbacks stop half way."""
    bench.sim.state.settings.speed = 20
    bench.sim.state.settings.fate = "stuck"
    await asyncio.to_thread(bench.run, 30, settings=over_v2([{"type": "rcs"}]))
    verdict, _ = await watch(bench, seconds=1)
    assert verdict is None
    assert codes(bench) == {"SENT": 30}
    assert asked(bench) == 0
    for message in bench.sim.state.messages:
        message.callback_urls = {"dsn": [], "postback": []}
        bench.sim.state.set_status(message.id, "DELIVERED")
    with bench.ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE telekom_sms_message SET next_check_at = next_check_at - 3600000")
    verdict, found = await watch(bench)
    assert (verdict, found.by_code) == ("success", {"DELIVERED": 30})
    assert asked(bench) == 30


async def test_the_wait_ends_as_soon_as_it_is_told(bench):
    """Long before anybody would ask."""
    bench.sim.state.settings.fate = "stuck"
    bench.sim.state.settings.speed = 20
    await asyncio.to_thread(bench.run, 3, settings=over_v2([{"type": "rcs"}]))
    waiting = asyncio.create_task(watch(bench))
    await asyncio.sleep(1)
    assert not waiting.done()
    for message in bench.sim.state.messages:
        bench.sim.state.set_status(message.id, "READ")
    began = time.monotonic()
    verdict, found = await waiting
    assert (verdict, found.by_code) == ("success", {"READ": 3})
    assert time.monotonic() - began < 5
    assert asked(bench) == 0


# --- order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
async def test_a_fallback_arrives_in_whatever_order_it_is_told(bench, shuffle):
    bench.sim.state.settings.speed = 5
    bench.sim.state.settings.callback_shuffle = shuffle
    bench.sim.state.settings.callback_duplicates = 1
    bench.sim.state.settings.callback_trailing_comma = True
    bench.sim.state.settings.rcs = "none"
    await asyncio.to_thread(bench.run, 20, settings=over_v2())
    verdict, found = await watch(bench)
    assert (verdict, found.by_code) == ("success", {"DELIVERED": 20})
    assert asked(bench) == 0
    told = {(c.payload["delivery"]["status"], c.payload["channel"]) for c in bench.sim.state.callbacks}
    assert {("EXPIRED", "rcs"), ("DELIVERED", "sms")} <= told
    assert bench.receiver.app.counts["known"] > 0


async def test_a_failure_is_asked_for_once_when_the_fallback_had_its_time(bench, monkeypatch):
    monkeypatch.setattr(delivery, "FALLBACK_GRACE", 1.5)
    bench.sim.state.settings.speed = 20
    bench.sim.state.settings.fate = "undeliverable"
    await asyncio.to_thread(bench.run, 5, settings=over_v2())
    verdict, found = await watch(bench)
    assert (verdict, found.by_code) == ("failure", {"UNDELIVERABLE": 5})
    assert asked(bench) <= 10


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_they_come_before_the_reply_to_the_send(bench, api):
    bench.sim.state.settings.callback_before_reply = True
    bench.sim.state.settings.callback_url = bench.receiver.url
    bench.sim.state.settings.speed = 0
    options = {"settings": over_v2()} if api == "v2" else {}
    result = await asyncio.to_thread(bench.run, 20, **options)
    assert result.counts.accepted == 20
    end = time.monotonic() + 20
    while codes(bench) != {"QUEUED": 20}:
        assert time.monotonic() < end, codes(bench)
        await asyncio.sleep(0.1)
    ids = {row.message_id for row in bench.messages()}
    assert ids == {str(message.id) for message in bench.sim.state.messages}
    assert {row.text for row in bench.messages()} == {None}


# --- doubt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_in_doubt", ["fail", "resend"])
async def test_what_is_in_doubt_is_settled_and_not_sent_again(bench, until, on_in_doubt):
    """The API took it, and the connection broke before it said so."""
    bench.sim.state.settings.speed = 20
    bench.sim.state.order(Fault("drop_after", endpoint="messages", times=1))
    first = await asyncio.to_thread(bench.run, 30, settings=over_v2(), batch_size=10, concurrency=1)
    assert first.counts.accepted + first.counts.in_doubt == 30
    await asyncio.to_thread(until, lambda: codes(bench) == {"DELIVERED": 30})
    assert bench.states() == {"accepted": 30}
    bench.agree()
    again = await asyncio.to_thread(bench.run, 30, settings=over_v2(), on_in_doubt=on_in_doubt)
    assert again.counts.accepted == 30
    assert len(bench.sim.state.messages) == 30
    assert asked(bench) == 0
    assert {row.reason for row in bench.messages()} == {None}


# --- replies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["nested", "flat", "inbound"])
async def test_replies_are_stored(bench, desk, until, shape):
    bench.sim.state.settings.postback_shape = shape
    bench.sim.state.settings.inbound_url = bench.receiver.url
    await asyncio.to_thread(bench.run, 1, settings=over_v2())
    [message] = bench.sim.state.messages
    bench.sim.state.click(message.id, "yes")
    bench.sim.state.inbound(message.number, "stop, prosím")
    query = (
        "SELECT kind, phone, text, postback_data, row_id IS NOT NULL FROM telekom_sms_callback "
        "WHERE kind <> 'dsn' ORDER BY kind"
    )
    await asyncio.to_thread(until, lambda: len(desk.sql(query)) == 2)
    assert [(*row[:4], bool(row[4])) for row in desk.sql(query)] == [
        ("inbound", message.number, "stop, prosím", None, False),
        ("postback", message.number, "Áno", "yes", True),
    ]
    assert desk.sql("SELECT phone FROM telekom_sms_opt_out") == [(message.number,)]


# --- the secret ---------------------------------------------------------------------------------------------


async def test_the_secret_is_told_to_the_api_and_to_nobody_else(bench, desk, caplog):
    caplog.set_level("DEBUG")
    refusal = f"callbackUrls[0].url: {bench.receiver.url} is not reachable"
    bench.sim.state.order(Fault("error", endpoint="messages", code="BAD", description=refusal, times=1))
    await asyncio.to_thread(bench.run, 3, settings=over_v2(), batch_size=1)
    urls = [r.parameters["callbackUrls"] for r in bench.sim.state.requests if r.wire == "v2"]
    assert urls == [[{"url": bench.receiver.url, "types": ["dsn", "postback"]}]] * 3
    assert bench.states() == {"accepted": 2, "rejected": 1}
    [[reason]] = desk.sql("SELECT reason FROM telekom_sms_message WHERE state = 'rejected'")
    assert reason == f"BAD: callbackUrls[0].url: {bench.receiver.host}{PREFIX}/… is not reachable"
    tables = desk.sql("SELECT parameters, summary, fingerprint FROM telekom_sms_plan")
    tables += desk.sql("SELECT * FROM telekom_sms_message") + desk.sql("SELECT * FROM telekom_sms_callback")
    assert SECRET not in repr(tables)
    shown = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("airflow_prov")
    )
    assert SECRET not in shown
    assert OLD_SECRET not in shown


def test_the_url_has_the_first_secret(monkeypatch):
    settings = Settings("key", callback_url="https://example.com/airflow/telekom-sms")
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET", f"{SECRET},{OLD_SECRET}")
    assert callback_url_for(settings) == f"https://example.com/airflow/telekom-sms/{SECRET}"
    assert callback_secrets() == [SECRET, OLD_SECRET]
    assert callback_url_for(replace(settings, callback_url=None)) is None


def test_without_a_secret_nobody_is_called(monkeypatch, caplog):
    monkeypatch.delenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET", raising=False)
    assert callback_url_for(Settings("key", callback_url="https://example.com")) is None
    assert "callback_secret is not" in caplog.text
    assert not conf.has_option("telekom_sms", "callback_secret") or not conf.get(
        "telekom_sms", "callback_secret"
    )


@pytest.mark.parametrize(
    "secret", ["short", "a" * 129, "with a blank in it", "with/a/slash/in/it", "žaba" * 5, f"{SECRET},x"]
)
def test_a_secret_that_is_none(monkeypatch, secret):
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET", secret)
    with pytest.raises(ConfigurationError, match="callback_secret") as caught:
        callback_secrets()
    assert secret not in str(caught.value)


def test_a_receiver_shows_no_secret(desk):
    assert SECRET not in repr(vars(Receiver([SECRET], lambda: Ledger(desk.url))))
