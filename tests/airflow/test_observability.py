"""What Airflow is told: metrics, lineage, the link, groups in the log, progress; and what it is not told."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import DAG
from packaging.version import Version

from airflow_provider_telekom_sms import observability
from airflow_provider_telekom_sms.campaign.plan import CampaignSpec, MessageSettings
from airflow_provider_telekom_sms.campaign.run import Job, run_job
from airflow_provider_telekom_sms.get_provider_info import get_provider_info
from airflow_provider_telekom_sms.ledger import planning, sending
from airflow_provider_telekom_sms.ledger.location import open_ledger
from airflow_provider_telekom_sms.links.telekom_sms import TelekomSmsCampaignLink
from airflow_provider_telekom_sms.operators.base import identity
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomRcsSendOperator,
    TelekomSmsBulkSendOperator,
    TelekomSmsCampaignPlanOperator,
    TelekomSmsCampaignSendOperator,
    TelekomSmsSendOperator,
)
from airflow_provider_telekom_sms.sensors.telekom_sms import TelekomSmsDeliverySensor
from airflow_provider_telekom_sms.simulator import Fault, Settings, Simulator
from tests.airflow.test_canaries import Canaries, leaks
from tests.versions import RUNNING, dag_serialization, needs_airflow, set_up_metrics


def people(number: int, ending: str = "0", first: int = 0) -> list[dict[str, str]]:
    """Rows with numbers of which the last digit is their fate."""
    width = 6 - len(ending)
    return [{"phone": f"0903{n:0{width}d}{ending}", "name": f"č. {n}"} for n in range(first, first + number)]


# --- metrics ------------------------------------------------------------------------------------------------


@dataclass
class Sink:
    """A StatsD server that keeps what comes."""

    socket: socket.socket
    packets: list[str] = field(default_factory=list)

    def run(self) -> None:
        while packet := self.socket.recv(65_536).decode():
            self.packets += packet.splitlines()

    def flush(self) -> list[str]:
        """Give what was sent until now: packets on loopback keep their order."""
        port = self.socket.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"flush:1|c", ("127.0.0.1", port))
        while "flush:1|c" not in self.packets:
            time.sleep(0.005)
        self.packets.remove("flush:1|c")
        return [packet for packet in self.packets if ".telekom_sms." in packet]

    def counters(self, *, tags: bool = False) -> dict[str, int]:
        """Give the counters by name, with their tags if these are wanted."""
        found: Counter[str] = Counter()
        for packet in self.flush():
            name, value, kind = re.fullmatch(r"airflow\.telekom_sms\.(.+):([\d.]+)\|(\w+)", packet).groups()  # type: ignore[union-attr]
            if kind == "c":
                found[name if tags else name.partition(",")[0]] += int(value)
        return dict(found)

    def latencies(self) -> list[float]:
        """Give the latencies, milliseconds."""
        return [float(packet.rpartition(":")[2][:-3]) for packet in self.flush() if ".latency" in packet]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        server.bind(("127.0.0.1", 0))
        sink = Sink(server)
        thread = threading.Thread(target=sink.run, daemon=True)
        thread.start()
        yield sink
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", server.getsockname())
        thread.join(5)


def to_statsd(sink: Sink) -> dict[str, str]:
    """Give the settings that send Airflow's metrics there, tags and all."""
    host, port = sink.socket.getsockname()
    names = {"statsd_on": "True", "statsd_influxdb_enabled": "True", "statsd_host": host, "statsd_port": port}
    return {f"AIRFLOW__METRICS__{name.upper()}": str(value) for name, value in names.items()}


@pytest.fixture
def statsd(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """Airflow's metrics, set up as a task's process sets them up."""

    def set_up() -> None:
        observability.metrics_on.cache_clear()
        set_up_metrics()

    with monkeypatch.context() as patch:
        for name, value in to_statsd(sink).items():
            patch.setenv(name, value)
        set_up()
        yield sink
    set_up()


def bulk(source: Any, **options: Any) -> TelekomSmsBulkSendOperator:
    return TelekomSmsBulkSendOperator(
        **{"task_id": "task", "source": source, "text": "Ahoj {name}", **options}
    )


def test_outcomes_are_counted_once(statsd: Sink, sim: Simulator, context: Callable[..., Any]) -> None:
    rows = people(5) + people(2, "99") + people(1) + [{"phone": "0903", "name": "x"}] + people(2, "1")
    rows += [{"phone": "0905000055", "name": "y"}]
    sim.state.order(Fault(name="drop_after", endpoint="send_message", numbers="905000055"))
    options = {"suppression": [row["phone"] for row in people(2, "1")], "on_in_doubt": "skip"}
    bulk(rows, **options).execute(context())

    expected = {"accepted": 5, "rejected": 2, "duplicate": 1, "invalid": 1, "suppressed": 2, "in_doubt": 1}
    tags = "dag_id=dag,task_id=task,api=v1"
    counted = {f"messages.{state},{tags}": number for state, number in expected.items()}
    assert statsd.counters(tags=True) == counted

    bulk(rows, **options).execute(context(try_number=2))
    assert statsd.counters(tags=True) == counted
    # What is sent again has another outcome.
    bulk(rows, **options, on_rejected="resend").execute(context(try_number=3))
    assert statsd.counters()["messages.rejected"] == 4


def test_a_dry_run_counts_nothing(statsd: Sink, context: Callable[..., Any]) -> None:
    bulk(people(3) + people(1), dry_run=True).execute(context())
    assert statsd.counters() == {}


def test_a_plan_is_counted_when_it_is_made(statsd: Sink, context: Callable[..., Any]) -> None:
    rows = people(2) + people(1)
    for try_number in (1, 2):
        plan = TelekomSmsCampaignPlanOperator(task_id="task", source=rows, text="Ahoj", campaign_id="jar")
        plan.execute(context(try_number=try_number))
        assert statsd.counters() == {"messages.duplicate": 1}
    send = TelekomSmsCampaignSendOperator(task_id="send", campaign_id="jar", suppression=[rows[1]["phone"]])
    send.execute(context("send"))
    expected = {"messages.duplicate": 1, "messages.suppressed": 1, "messages.accepted": 1}
    assert statsd.counters() == expected
    send.execute(context("send", try_number=2))
    assert statsd.counters() == expected


def test_what_a_killed_try_left_is_counted_as_in_doubt(statsd: Sink, context: Callable[..., Any]) -> None:
    """Nobody but the next try can tell of it."""
    ledger, (campaign_id, slot) = open_ledger(), identity(context())
    spec = CampaignSpec(people(10), MessageSettings(), text="Ahoj {name}")
    run_job(ledger, None, Job(campaign_id, slot, spec, sends=False), threading.Event())  # type: ignore[arg-type]
    killed = planning.begin(ledger, campaign_id, slot)
    assert len(sending.exchange(ledger, killed, [], 3).claimed) == 3
    assert statsd.counters() == {}

    bulk(people(10), on_in_doubt="skip").execute(context(try_number=2))
    assert statsd.counters() == {"messages.in_doubt": 3, "messages.accepted": 7}
    bulk(people(10), on_in_doubt="skip").execute(context(try_number=3))
    assert statsd.counters() == {"messages.in_doubt": 3, "messages.accepted": 7}


def test_what_the_ledger_did_not_take_is_counted_as_in_doubt(
    statsd: Sink, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is told of no outcome for it; the end of the try is."""
    from airflow_provider_telekom_sms.exceptions import LedgerError

    exchange = sending.exchange

    def fails(ledger: Any, owner: Any, outcomes: Any, want: int, **options: Any) -> Any:
        if outcomes:
            raise LedgerError("disk full")
        return exchange(ledger, owner, outcomes, want, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sending, "exchange", fails)
        with pytest.raises(LedgerError):
            bulk(people(4)).execute(context())
    assert statsd.counters() == {"messages.in_doubt": 4}


def test_single_sends_and_rcs_are_counted(statsd: Sink, context: Callable[..., Any]) -> None:
    TelekomSmsSendOperator(task_id="task", to=["0903000010", "0903000020"], text="Ahoj").execute(context())
    TelekomRcsSendOperator(task_id="rcs", recipients="0903000010", rcs={"text": "Ahoj"}).execute(
        context("rcs")
    )
    assert statsd.counters(tags=True) == {
        "messages.accepted,dag_id=dag,task_id=task,api=v1": 2,
        "messages.accepted,dag_id=dag,task_id=rcs,api=v2": 1,
    }


def test_delivery_is_counted_and_measured(statsd: Sink, sim: Simulator, context: Callable[..., Any]) -> None:
    rows = people(300) + people(20, "31", first=300)
    bulk(rows, wait_for_delivery=True, poll_interval=0.05).execute(context())
    counters = statsd.counters(tags=True)
    delivered = {name: number for name, number in counters.items() if name.startswith("delivery.")}
    assert delivered == {
        "delivery.delivered,dag_id=dag,task_id=task,status=DELIVERED": 300,
        "delivery.undelivered,dag_id=dag,task_id=task,status=UNDELIVERABLE": 20,
    }
    # Some of each round stand for all.
    assert 0 < len(statsd.latencies()) < 300
    assert all(0 <= took < 60_000 for took in statsd.latencies())


def test_who_waits_without_a_task_counts_delivery_too(
    statsd: Sink, sim: Simulator, context: Callable[..., Any]
) -> None:
    bulk(people(5), campaign_id="jar").execute(context())
    sensor = TelekomSmsDeliverySensor(task_id="wait", campaign_id="jar", poke_interval=0.05)
    sensor.execute({**context("wait"), "ti": None})
    assert statsd.counters()["delivery.delivered"] == 5
    # Once it is final nobody asks again.
    sensor.execute({**context("wait"), "ti": None})
    assert statsd.counters()["delivery.delivered"] == 5


@pytest.mark.parametrize("number", [0, 1, 49, 50, 51, 500, 9_999])
def test_a_few_latencies_stand_for_all(statsd: Sink, number: int) -> None:
    observability.measure("delivery.latency", (n / 10 for n in reversed(range(number))))
    shown = statsd.latencies()
    assert len(shown) == min(number, observability.MEASURED)
    assert len(set(shown)) == len(shown)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        if shown:
            true = round(share * (number - 1)) * 100
            assert abs(shown[round(share * (len(shown) - 1))] - true) <= number * 100 / len(shown)


def test_callbacks_are_counted(statsd: Sink, sim: Simulator, context: Callable[..., Any]) -> None:
    import asyncio

    from airflow_provider_telekom_sms.callbacks.app import Receiver

    ids = [
        receipt["message_id"]
        for receipt in TelekomSmsSendOperator(
            task_id="task", to=["0903000010", "0903000020", "0903000030"], text="Ahoj"
        ).execute(context())
    ]
    receiver = Receiver(["a-secret-that-nobody-guesses"], open_ledger)

    async def call(path: str, body: Any) -> int:
        statuses = []

        async def receive() -> Any:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        async def send(message: Any) -> None:
            statuses.append(message.get("status"))

        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
        await receiver({**scope, "headers": [(b"content-type", b"application/json")]}, receive, send)
        return int(statuses[0])

    def report(number: int, status: str) -> dict[str, Any]:
        done = time.strftime("%Y-%m-%d %H:%M:%S")
        return {"messageId": ids[number], "status": status, "eventType": "dsn", "timestamp": done}

    async def all_of_them() -> None:
        right = "/a-secret-that-nobody-guesses"
        for number, status in (
            (0, "SENT"),
            (0, "DELIVERED"),
            (0, "DELIVERED"),
            (0, "READ"),
            (1, "UNDELIVERABLE"),
        ):
            assert await call(right, report(number, status)) == 200
        assert await call("/a-wrong-secret-0000000", {}) == 404
        assert await call(right, "nothing") == 400

    asyncio.run(all_of_them())
    assert statsd.counters(tags=True) == {
        "messages.accepted,dag_id=dag,task_id=task,api=v1": 3,
        "callbacks.stored": 4,
        "callbacks.known": 1,
        "callbacks.refused,reason=wrong_secret": 1,
        "callbacks.refused,reason=unreadable": 1,
        "delivery.delivered,status=DELIVERED": 1,
        "delivery.undelivered,status=UNDELIVERABLE": 1,
    }


def test_metrics_that_fail_fail_nothing(
    statsd: Sink, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise OSError("no such backend")

    set_up_metrics(Broken)
    summary = bulk(people(3) + people(1), wait_for_delivery=True, poll_interval=0.05).execute(context())
    assert (summary["delivered"], summary["duplicate"]) == (3, 1)


def test_without_metrics_nothing_is_asked_of_the_ledger_for_them(context: Callable[..., Any]) -> None:
    observability.metrics_on.cache_clear()
    assert not observability.TaskObserver().counts
    assert bulk(people(3)).execute(context())["accepted"] == 3


# --- progress -----------------------------------------------------------------------------------------------


class Store:
    """Stands in for the task state store, whose own writing takes an API server."""

    def __init__(self, error: Exception | None = None, seconds: float = 0.0) -> None:
        self.kept: dict[str, Any] = {}
        self.written: list[Any] = []
        self.error, self.seconds = error, seconds

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any, **_: Any) -> None:
        if key == observability.PROGRESS:
            self.written.append((value, threading.current_thread()))
            time.sleep(self.seconds)
            if self.error:
                raise self.error
        self.kept[key] = json.loads(json.dumps(value))


@needs_airflow("3.3", "a task state store")
def test_progress_is_stored(
    sim: Simulator, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_telekom_sms.campaign import engine

    monkeypatch.setattr(observability, "STORE_EVERY", 0.0)
    monkeypatch.setattr(engine, "TELL_EVERY", 0.0)
    store = Store()
    operator = bulk(people(300), wait_for_delivery=True, poll_interval=0.05, concurrency=4)
    operator.execute({**context(), "task_state_store": store})

    phases = list(dict.fromkeys(value["phase"] for value, _ in store.written))
    assert phases == ["planning", "sending", "ended", "delivery", "delivered"]
    sent = [value for value, _ in store.written if value["phase"] == "sending"]
    assert len(sent) > 3
    done = [value["done"] for value in sent]
    assert done == sorted(done)
    assert done[-1] == 300
    assert {value["total"] for value in sent} == {300}
    last = store.kept[observability.PROGRESS]
    assert last["delivery"] == {"DELIVERED": 300}
    assert "telekom_sms_ledger" in store.kept
    # Beside the event loop, but never while the task itself asks Airflow for something.
    ways = {value["phase"]: thread.name for value, thread in store.written}
    assert {way.rpartition("_")[0] for way in ways.values()} == {"telekom-sms-observer"}


@needs_airflow("3.3", "a task state store")
def test_a_store_that_hangs_is_left_alone(
    sim: Simulator, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observability, "PATIENCE", 0.2)
    store = Store(seconds=5)
    began = time.monotonic()
    summary = bulk(people(20), wait_for_delivery=True, poll_interval=0.05).execute(
        {**context(), "task_state_store": store}
    )
    assert summary["accepted"] == 20
    # Once while it sends, once while it waits.
    assert [value["phase"] for value, _ in store.written] == ["planning", "delivered"]
    assert time.monotonic() - began < 4


def test_progress_goes_on_where_the_last_try_stopped(
    sim: Simulator, context: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bulk(people(20), campaign_id="jar").execute(context())
    store = Store()
    bulk(people(30), campaign_id="jar").execute({**context(run_id="next"), "task_state_store": store})
    assert "Sent 20 of 20" in caplog.text
    assert "Sent 30 of 30" in caplog.text


@needs_airflow("3.3", "a task state store")
def test_progress_is_stored_seldom(sim: Simulator, context: Callable[..., Any]) -> None:
    store = Store()
    bulk(people(200), wait_for_delivery=True, poll_interval=0.02).execute(
        {**context(), "task_state_store": store}
    )
    assert len(store.written) <= 5


@needs_airflow("3.3", "a task state store")
@pytest.mark.parametrize("store", [Store(RuntimeError("404: no such try")), Store(seconds=0.5)])
def test_a_store_that_fails_or_is_slow_holds_up_no_message(
    store: Store, sim: Simulator, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_telekom_sms.campaign import engine

    monkeypatch.setattr(observability, "STORE_EVERY", 0.0)
    monkeypatch.setattr(engine, "TELL_EVERY", 0.0)
    sim.state.settings = Settings(latency_ms=20, speed=100)
    summary = bulk(people(200), concurrency=4).execute({**context(), "task_state_store": store})
    assert summary["accepted"] == 200
    assert [value for value, _ in store.written if value["phase"] == "sending"]
    times = sorted(message.taken_at for message in sim.state.messages)
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.4


@needs_airflow("3.3", "a task state store")
def test_single_sends_store_no_progress(context: Callable[..., Any]) -> None:
    store = Store()
    operator = TelekomSmsSendOperator(task_id="task", to="0903000010", text="Ahoj")
    operator.execute({**context(), "task_state_store": store})
    assert store.kept.keys() == {"telekom_sms_ledger"}


# --- the log ------------------------------------------------------------------------------------------------


def test_a_group_is_closed_where_something_fails(
    context: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(Exception, match="max_messages"):
        bulk(people(3), max_messages=2).execute(context())
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("::endgroup::") == sum(one.startswith("::group::") for one in messages) == 1


# --- the link -----------------------------------------------------------------------------------------------


def shown_links(dag_id: str) -> dict[tuple[str, int], str]:
    """Give the links that Airflow has stored, by task and map index."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = sa.select(XComModel.task_id, XComModel.map_index, XComModel.value)
        found = session.execute(
            query.where(XComModel.dag_id == dag_id, XComModel.key == TelekomSmsCampaignLink().xcom_key)
        ).all()
    return {(task_id, map_index): str(value).strip('"') for task_id, map_index, value in found}


@pytest.mark.parametrize("base_url", ["https://example.com/af/", ""])
def test_a_task_links_to_its_campaign(
    sim: Simulator, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, base_url: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    early: dict[tuple[str, int], str] = {}
    dag_id = "linked" if base_url else "linked_without_base_url"

    def rows() -> list[dict[str, str]]:
        early.update(shown_links(dag_id))
        return people(2)

    with DAG(dag_id, schedule=None) as dag:
        bulk(rows, task_id="own_id", campaign_id="jar/č. 1 & 2") >> TelekomSmsCampaignSendOperator.partial(
            task_id="mapped", campaign_id="jar/č. 1 & 2"
        ).expand(worker=[0])
        bulk(people(1, "99"), task_id="failed", fail_on="any")
        bulk(people(1), task_id="dry", dry_run=True)
        TelekomSmsSendOperator(task_id="single", to="0903000010", text="Ahoj")
    run = run_dag(dag)

    page = f"{base_url.rstrip('/')}/telekom-sms-campaigns/by-name?id="
    own = page + "jar%2F%C4%8D.%201%20%26%202"
    run_id = re.escape(re.sub(r"[:+]", lambda match: f"%{ord(match[0]):X}", run.run_id))
    found = shown_links(dag_id)
    assert found["own_id", -1] == found["mapped", 0] == own
    assert re.fullmatch(re.escape(page) + f"{dag_id}%2Ffailed%2F{run_id}", found["failed", -1])
    assert re.fullmatch(re.escape(page) + f"{dag_id}%2Fsingle%2F{run_id}", found["single", -1])
    assert found["dry", -1] == ""
    # While it is still being planned.
    assert early["own_id", -1] == own


def test_the_link_survives_serialization(airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    serialization = dag_serialization()
    # As in the API server; an execution API that has run in this process leaves it off.
    monkeypatch.setattr(serialization, "_load_operator_extra_links", True)
    with DAG("serialized", schedule=None) as dag:
        bulk("rows.csv")
        TelekomSmsCampaignSendOperator.partial(task_id="mapped", campaign_id="jar").expand(worker=[0, 1])
    back = serialization.deserialize_dag(json.loads(json.dumps(serialization.serialize_dag(dag))))
    for task in back.task_dict.values():
        assert task.extra_links == ["Campaign"]
    assert f"{TelekomSmsCampaignLink.__module__}.TelekomSmsCampaignLink" in get_provider_info()["extra-links"]


# --- lineage ------------------------------------------------------------------------------------------------


def datasets(found: Any) -> list[tuple[str, str]]:
    return sorted((one.namespace, one.name) for one in found)


def test_lineage_of_a_campaign_in_two_tasks(
    sim: Simulator, context: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("phone,name\n0903000010,Anna\n0903000020,Ján\n0903000030,Eva\n")
    (tmp_path / "opted_out.csv").write_text("phone\n0903000030\n")
    plan = TelekomSmsCampaignPlanOperator(
        task_id="plan", source="rows.csv", suppression=tmp_path / "opted_out.csv", text="Ahoj {name}"
    )
    campaign_id = plan.execute(context("plan"))["campaign_id"]
    files = [("file", str(tmp_path / name)) for name in ("opted_out.csv", "rows.csv")]
    assert datasets(plan.get_openlineage_facets_on_start().inputs) == files  # type: ignore[union-attr]
    planned: Any = plan.get_openlineage_facets_on_complete(context("plan")["ti"])
    assert datasets(planned.inputs) == files
    # Without the run: the same dataset every day.
    assert datasets(planned.outputs) == [(sim.url, "campaigns/dag/plan")]
    assert planned.run_facets["telekomSmsCampaign"].planned == 2

    send = TelekomSmsCampaignSendOperator(
        task_id="send", campaign_id=campaign_id, report_path="s3://conn@bucket/reports/report.csv"
    )
    monkeypatch.setattr("airflow_provider_telekom_sms.campaign.run.write_report", lambda *_: None)
    send.execute(context("send"))
    sent: Any = send.get_openlineage_facets_on_complete(context("send")["ti"])
    assert datasets(sent.inputs) == [(sim.url, "campaigns/dag/plan")]
    assert datasets(sent.outputs) == [
        (sim.url, "messages/dag/plan"),
        ("s3://bucket", "reports/report.csv"),
    ]
    [messages] = [one for one in sent.outputs if one.namespace == sim.url]
    assert messages.outputFacets["outputStatistics"].rowCount == 2
    facet = sent.run_facets["telekomSmsCampaign"]
    assert (facet.campaignId, facet.total, facet.accepted, facet.suppressed) == (campaign_id, 3, 2, 1)


def test_lineage_of_a_failure(sim: Simulator, context: Callable[..., Any]) -> None:
    operator = bulk(people(2) + people(1, "99"), fail_on="any")
    with pytest.raises(Exception, match="fail_on"):
        operator.execute(context())
    found: Any = operator.get_openlineage_facets_on_failure(context()["ti"])
    assert found.run_facets["telekomSmsCampaign"].rejected == 1
    # And where it did not even come to a campaign.
    never: Any = bulk(people(2), task_id="never").get_openlineage_facets_on_failure(context("never")["ti"])
    assert never.run_facets == {}
    assert datasets(never.outputs) == [(sim.url, "messages/dag/never")]


def test_lineage_of_what_names_nothing(context: Callable[..., Any]) -> None:
    """Rows, callables, numbers and text that a template gave for rows are no datasets."""
    for source in (people(2), lambda: people(2), str(people(2))):
        operator = bulk(source, suppression=["0903000010"])
        assert operator.get_openlineage_facets_on_start().inputs == []  # type: ignore[union-attr]
    dry = bulk(people(2), dry_run=True)
    dry.execute(context())
    assert dry.get_openlineage_facets_on_complete(context()["ti"]).outputs == []  # type: ignore[union-attr]


@pytest.fixture
def warehouse(postgres: Any, monkeypatch: pytest.MonkeyPatch) -> sa.URL:
    """A database with people in it, and a connection that leads there."""
    url: sa.URL = postgres.database()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE people (phone text, text text)"))
        connection.execute(sa.text("CREATE TABLE opted_out (phone text)"))
    engine.dispose()
    given = {"login": url.username, "password": url.password, "host": url.host, "port": url.port}
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", "schema": url.database, **given})
    )
    return url


def test_lineage_of_sql(warehouse: sa.URL, context: Callable[..., Any]) -> None:
    operator = bulk(
        None,
        sql="SELECT p.phone, p.text AS name FROM people p WHERE p.phone <> '0903123999'",
        sql_conn_id="warehouse",
        suppression="SELECT phone FROM opted_out",
    )
    found: Any = operator.get_openlineage_facets_on_start()
    place = f"postgres://{warehouse.host}:{warehouse.port}"
    assert datasets(found.inputs) == [
        (place, f"{warehouse.database}.public.opted_out"),
        (place, f"{warehouse.database}.public.people"),
    ]
    assert "0903123999" not in repr(found)
    assert found.job_facets == found.run_facets == {}


def test_lineage_of_a_warehouse_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "schema": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(nobody))
    for conn_id in ("warehouse", "missing"):
        operator = bulk(None, sql="SELECT '0903123999' AS phone FROM t", sql_conn_id=conn_id)
        assert operator.get_openlineage_facets_on_start() is not None
    assert "0903123999" not in caplog.text
    assert "'missing'" in caplog.text


# --- all of it, about people --------------------------------------------------------------------------------


def test_nothing_tells_of_anybody(statsd: Sink, sim: Simulator, context: Callable[..., Any]) -> None:
    canaries, store = Canaries(), Store()
    rows = [{"phone": number, "name": canaries.text} for number in canaries.numbers]
    rows += [{"phone": canaries.good[0] + "x", "name": canaries.text}, rows[0]]
    operator = bulk(rows, suppression=canaries.good[1:2], campaign_id="jar", on_in_doubt="skip")
    operator.execute({**context(), "task_state_store": store})
    single = TelekomSmsSendOperator(task_id="single", to=canaries.good, text=canaries.text)
    single.execute(context("single"))
    lineage = [
        operator.get_openlineage_facets_on_start(),
        operator.get_openlineage_facets_on_complete(context()["ti"]),
        single.get_openlineage_facets_on_complete(context("single")["ti"]),
    ]
    assert statsd.counters()["messages.accepted"] == 8
    if Version("3.3") <= RUNNING:
        assert store.kept[observability.PROGRESS]["accepted"] == 5
    places = {
        "lineage": repr(lineage).encode(),
        "metrics": "\n".join(statsd.packets).encode(),
        "progress": repr(store.written).encode(),
    }
    assert leaks(canaries.secrets(sim) | canaries.personal(), places) == []


@pytest.mark.slow
def test_a_real_run(sink: Sink, sim: Simulator, warehouse: sa.URL, tmp_path: Path, airflow_db: None) -> None:
    """In a process of its own, where Airflow and OpenLineage set themselves up."""
    canaries = Canaries()
    sim.state.settings = Settings(tokens=[canaries.key], speed=100)
    fill(warehouse, tmp_path, canaries)
    lineage = tmp_path / "lineage.jsonl"
    connection = {"conn_type": "telekom_sms", "host": sim.url, "password": canaries.key}
    known = {"number": canaries.good[1], "rejected": canaries.rejected, "text": canaries.text}
    transport = {"type": "file", "log_file_path": str(lineage), "append": True}
    env = os.environ | to_statsd(sink) | {
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "AIRFLOW_CONN_TELEKOM_SMS_DEFAULT": json.dumps(connection),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "CANARIES": json.dumps(known),
    }  # fmt: skip
    script = Path(__file__).with_name("observed_dags.py")
    done = subprocess.run(
        [sys.executable, str(script)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=180, check=True,
    )  # fmt: skip
    [states] = [line for line in done.stdout.splitlines() if line.startswith("STATES")]
    assert json.loads(states.removeprefix("STATES")) == {
        "plan": "success", "send": "success", "bulk": "success", "single": "success", "rejected": "failed",
    }  # fmt: skip

    counters = sink.counters(tags=True)
    assert {name: number for name, number in counters.items() if name.startswith("messages.")} == {
        "messages.suppressed,dag_id=observed,task_id=plan,api=v1": 1,
        "messages.accepted,dag_id=observed,task_id=send,api=v1": 2,
        "messages.accepted,dag_id=observed,task_id=bulk,api=v1": 2,
        "messages.rejected,dag_id=observed,task_id=rejected,api=v1": 1,
        "messages.accepted,dag_id=observed,task_id=single,api=v1": 1,
    }
    # In the task, and in the trigger.
    assert counters["delivery.delivered,dag_id=observed,task_id=send,status=DELIVERED"] == 2
    assert sink.counters()["delivery.delivered"] == 4
    events = [json.loads(line) for line in lineage.read_text().splitlines()]
    check_lineage(events, warehouse, tmp_path)
    check_groups(done.stdout)
    with sqlite3.connect(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].removeprefix("sqlite:///")) as db:
        stored = db.execute("SELECT task_id, key, value FROM task_state_store").fetchall()
    assert ("send", "telekom_sms_progress") in {row[:2] for row in stored}
    places = {
        "lineage": lineage.read_bytes(),
        "metrics": "\n".join(sink.packets).encode(),
        "progress": repr(stored).encode(),
        "log": done.stdout.encode(),
    }
    assert leaks(canaries.secrets(sim) | canaries.personal(), places) == []


def fill(warehouse: sa.URL, folder: Path, canaries: Canaries) -> None:
    """Put the canaries into a file and into tables."""
    rows = [{"phone": number, "text": canaries.text} for number in canaries.good]
    (folder / "rows.csv").write_text("phone,text\n" + "".join(f"{r['phone']},{r['text']}\n" for r in rows))
    engine = sa.create_engine(warehouse)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO people VALUES (:phone, :text)"), rows)
        connection.execute(sa.text("INSERT INTO opted_out VALUES (:phone)"), rows[:1])
    engine.dispose()


def check_lineage(events: list[dict[str, Any]], warehouse: sa.URL, folder: Path) -> None:
    ended = [event for event in events if event["eventType"] in ("COMPLETE", "FAIL")]
    told = {event["job"]["name"].removeprefix("observed."): event for event in ended}
    assert told["rejected"]["eventType"] == "FAIL"
    assert told["rejected"]["run"]["facets"]["telekomSmsCampaign"]["rejected"] == 1
    names = {
        name: [[one["name"] for one in told[name][side]] for side in ("inputs", "outputs")]
        for name in ("plan", "send", "bulk")
    }
    [campaign] = names["bulk"][1]
    assert re.fullmatch(r"messages/observed/\d{4}-\d\d-\d\d", campaign)
    database = f"{warehouse.database}.public"
    assert names == {
        "plan": [[str(folder / "rows.csv"), f"{database}.opted_out"], ["campaigns/observed/plan"]],
        "send": [["campaigns/observed/plan"], ["messages/observed/plan", str(folder / "report.csv")]],
        "bulk": [[f"{database}.people"], [campaign]],
    }
    assert told["bulk"]["inputs"][0]["namespace"] == f"postgres://{warehouse.host}:{warehouse.port}"
    assert told["bulk"]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 2


def check_groups(log: str) -> None:
    """What is told at the end stands open, beside the groups."""
    depth, groups, inside, outside = 0, [], "", ""
    for line in log.splitlines():
        if title := re.search(r"::group::(.*?)  ", line):
            depth += 1
            groups.append(title[1])
        elif "::endgroup::" in line:
            depth = max(0, depth - 1)
        elif depth:
            inside += line + "\n"
        else:
            outside += line + "\n"
    assert {"Plan", "Send", "Delivery"} <= set(groups)
    for told in ("Planned 2 of 3 rows", "Sent 2 of 2", "Delivery: 2 of 2 final: 2 DELIVERED"):
        assert told in inside
    for told in (
        "Campaign observed/plan/",
        "2 accepted",
        "Rejected: 1 with",
        "Delivery of campaign",
        "The report",
    ):
        assert told in outside
