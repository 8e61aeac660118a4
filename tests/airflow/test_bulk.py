"""Bulk sends: every kind of source, in real DAG runs; what a second try, a clear and another run send."""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, ObjectStoragePath, task

from airflow_provider_telekom_sms.exceptions import IpNotAllowedError, NotConnectedError, TelekomSmsError
from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator
from airflow_provider_telekom_sms.simulator import Fault, Simulator

ROWS = [{"phone": f"0903 100 0{number}0", "name": name} for number, name in enumerate(("Ján", "Eva", "Ľubo"))]
SENT = {"421903100000": "Ahoj Ján", "421903100010": "Ahoj Eva", "421903100020": "Ahoj Ľubo"}
CONTRACT = {
    "campaign_id",
    "total",
    "accepted",
    "rejected",
    "invalid",
    "duplicate",
    "suppressed",
    "in_doubt",
    "parts",
    "report_path",
}


def texts(sim: Simulator) -> dict[str, str]:
    assert set(sim.state.messages_per_number().values()) <= {1}
    return {message.number: message.text for message in sim.state.messages}


def write(
    path: Path, rows: list[dict[str, str]] = ROWS, delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def many(count: int) -> list[dict[str, str]]:
    return [{"phone": f"0904{number:05d}0", "name": str(number)} for number in range(count)]


def read_report(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestSources:
    @pytest.fixture(
        params=[
            "list",
            "frame",
            "csv",
            "str",
            "gzip",
            "parquet",
            "callable",
            "generator",
            "frames",
            "odd",
            "url",
        ]
    )
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
        import pandas as pd

        frame = pd.DataFrame(ROWS)

        def rows() -> list[dict[str, str]]:
            return ROWS

        def generator() -> Iterator[dict[str, str]]:
            yield from ROWS

        if request.param == "parquet":
            frame.to_parquet(tmp_path / "rows.parquet")
        return {
            "list": lambda: ROWS,
            "frame": lambda: frame,
            "csv": lambda: write(tmp_path / "rows.csv"),
            "str": lambda: str(write(tmp_path / "rows.csv", delimiter=";", encoding="utf-8-sig")),
            "gzip": lambda: write(tmp_path / "rows.csv.gz"),
            "parquet": lambda: tmp_path / "rows.parquet",
            "callable": lambda: rows,
            "generator": lambda: generator,
            "frames": lambda: lambda: iter([frame[:2], frame[2:]]),
            "odd": lambda: str(write(tmp_path / "[jar] 'Ján'.csv")),
            "url": lambda: ObjectStoragePath(f"file://{write(tmp_path / 'rows.csv')}"),
        }[request.param]()

    def test_every_source(self, sim: Simulator, run_dag: Callable[..., Any], source: Any) -> None:
        with DAG("bulk_source", schedule=None) as dag:
            TelekomSmsBulkSendOperator(task_id="send", source=source, text="Ahoj {name}")
        run = run_dag(dag)

        assert run.states == {"send": "success"}
        assert texts(sim) == SENT
        summary = run.xcom("send")
        assert summary.keys() >= CONTRACT
        assert (summary["total"], summary["accepted"], summary["parts"]) == (3, 3, 3)
        assert summary["campaign_id"] == f"bulk_source/send/{run.run_id}"

    def test_rows_of_another_task(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        with DAG("bulk_xcom", schedule=None) as dag:

            @task
            def rows() -> list[dict[str, str]]:
                return ROWS

            TelekomSmsBulkSendOperator(task_id="send", source=rows(), text="Ahoj {name}")
        assert run_dag(dag).state == "success"
        assert texts(sim) == SENT

    def test_rows_of_a_mapped_task(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        with DAG("bulk_mapped_xcom", schedule=None) as dag:

            @task
            def row(number: int) -> dict[str, str]:
                return ROWS[number]

            mapped = row.expand(number=[0, 1, 2])
            TelekomSmsBulkSendOperator(task_id="send", source=mapped, text="Ahoj {name}")
        assert run_dag(dag).state == "success"
        assert texts(sim) == SENT

    def test_native_rendering_and_templates(
        self, sim: Simulator, run_dag: Callable[..., Any], tmp_path: Path
    ) -> None:
        write(tmp_path / "rows.csv")
        params = {"folder": str(tmp_path), "greeting": "Ahoj"}
        with DAG("bulk_native", schedule=None, params=params, render_template_as_native_obj=True) as dag:

            @task
            def rows() -> list[dict[str, str]]:
                return ROWS

            native = TelekomSmsBulkSendOperator(
                task_id="native",
                source="{{ ti.xcom_pull('rows') }}",
                text="{{ params.greeting }} {name}",
                campaign_id="{{ dag.dag_id }}/{{ run_id }}",
            )
            path = TelekomSmsBulkSendOperator(
                task_id="path",
                source="{{ params.folder }}/rows.csv",
                text="{{ params.greeting }} {name}",
                campaign_id="{{ dag.dag_id }}/{{ run_id }}",
                report_path="{{ params.folder }}/report.csv",
            )
            rows() >> native >> path
        run = run_dag(dag)

        assert run.state == "success"
        assert texts(sim) == SENT
        summary = run.xcom("path")
        assert (summary["accepted"], summary["duplicate"]) == (3, 3)
        assert {row["state"] for row in read_report(tmp_path / "report.csv")} == {"accepted", "duplicate"}

    def test_mapped_campaigns(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        with DAG("bulk_mapped", schedule=None) as dag:
            TelekomSmsBulkSendOperator.partial(task_id="send", text="Ahoj {name}").expand(
                source=[ROWS[:1], ROWS[1:]]
            )
        run = run_dag(dag)
        assert run.states == {"send[0]": "success", "send[1]": "success"}
        assert texts(sim) == SENT
        assert [run.xcom("send", index)["accepted"] for index in (0, 1)] == [1, 2]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (ROWS, "<list of 3 rows>"),
        (write, "<callable write>"),
        (iter(ROWS), "<list_iterator>"),
        ("/data/rows.csv", "'/data/rows.csv'"),
        ("s3://conn@bucket/2026 10/rows.csv.gz", "'s3://conn@bucket/2026 10/rows.csv.gz'"),
        (Path("rows.csv"), "PosixPath('rows.csv')"),
        ("['0903000010']", "<14 characters>"),
        ("0903000010, 0903000020", "<22 characters>"),
        ("{{ ti.xcom_pull('rows') }}", "\"{{ ti.xcom_pull('rows') }}\""),
    ],
    ids=["rows", "callable", "iterator", "path", "url", "Path", "list-as-text", "numbers", "template"],
)
def test_what_is_shown_of_a_source(source: Any, shown: str) -> None:
    operator = TelekomSmsBulkSendOperator(task_id="send", source=source, text="Ahoj {name}")
    assert repr(operator.source) == shown
    assert repr(operator.text) == "<11 characters>"


def test_rows_that_cannot_be_sent_are_counted_and_reported(
    sim: Simulator, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [*ROWS, ROWS[0], {"phone": "123", "name": "x"}, {"phone": "0903100099", "name": "y"}]
    report = tmp_path / "report.csv"
    with DAG("bulk_bad_rows", schedule=None) as dag:
        TelekomSmsBulkSendOperator(
            task_id="send", source=rows, text="Ahoj {name}", report_path=str(report), price_per_part=0.05
        )
    summary = run_dag(dag).xcom("send")

    counts = {name: summary[name] for name in ("total", "accepted", "rejected", "invalid", "duplicate")}
    assert counts == {"total": 6, "accepted": 3, "rejected": 1, "invalid": 1, "duplicate": 1}
    assert summary["price"] == pytest.approx(summary["parts"] * 0.05)
    assert [(row["row"], row["state"]) for row in read_report(report)] == [
        ("1", "accepted"),
        ("2", "accepted"),
        ("3", "accepted"),
        ("4", "duplicate"),
        ("5", "invalid"),
        ("6", "rejected"),
    ]


def test_a_dry_run_sends_and_keeps_nothing(
    sim: Simulator, context: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"source": ROWS, "text": "Ahoj {name}", "report_path": str(tmp_path / "plan.csv")}
    dry = TelekomSmsBulkSendOperator(task_id="dry", dry_run=True, **options).execute(context())
    assert (dry["dry_run"], dry["planned"], dry["accepted"]) == (True, 3, 0)
    assert len(read_report(tmp_path / "plan.csv")) == 3
    assert sim.state.requests == []
    assert TelekomSmsBulkSendOperator(task_id="wet", **options).execute(context())["accepted"] == 3


@pytest.mark.parametrize(("fail_on", "fails"), [(None, False), ("any", True), (0.5, False), (0.2, True)])
def test_fail_on(sim: Simulator, context: Callable[..., Any], fail_on: Any, fails: bool) -> None:
    rows = [*ROWS, {"phone": "0903100099", "name": "y"}]
    operator = TelekomSmsBulkSendOperator(task_id="send", source=rows, text="Ahoj {name}", fail_on=fail_on)
    if not fails:
        assert operator.execute(context())["rejected"] == 1
        return
    with pytest.raises(AirflowFailException, match=r"1 messages \(25.0%\) were rejected"):
        operator.execute(context())


class TestRetries:
    """A second try sends only the rest."""

    def send(self, count: int = 1000, **options: Any) -> TelekomSmsBulkSendOperator:
        return TelekomSmsBulkSendOperator(task_id="send", source=many(count), text="Ahoj {name}", **options)

    def test_in_doubt_in_the_middle(self, sim: Simulator, context: Callable[..., Any]) -> None:
        sim.state.order(Fault(name="drop_after", endpoint="send_message", every=100))
        for number in (1, 2):
            with pytest.raises(AirflowFailException, match=r"10 messages are in doubt.*rows"):
                self.send().execute(context(try_number=number))
        assert sim.state.messages_per_number().keys() == {f"4219040{n:04d}0" for n in range(1000)}
        assert set(sim.state.messages_per_number().values()) == {1}
        skipped = self.send(on_in_doubt="skip").execute(context(try_number=3))
        assert (skipped["accepted"], skipped["in_doubt"]) == (990, 10)
        assert len(sim.state.messages) == 1000

    def test_in_doubt_is_sent_again_only_if_told_to(
        self, sim: Simulator, context: Callable[..., Any]
    ) -> None:
        fault = Fault(name="drop_before", endpoint="send_message", at=[2])
        sim.state.order(fault)
        with pytest.raises(TelekomSmsError, match="1 messages are in doubt"):
            self.send(3, on_in_doubt="resend").execute(context())
        summary = self.send(3, on_in_doubt="resend").execute(context(try_number=2))
        assert (summary["accepted"], summary["in_doubt"]) == (3, 0)
        assert texts(sim).keys() == {f"4219040{n:04d}0" for n in range(3)}

    def test_ip_not_allowed_in_the_middle(self, sim: Simulator, run_dag: Callable[..., Any]) -> None:
        sim.state.order(Fault(name="ip", endpoint="send_message", at=[400], times=1))
        lifted = []

        def lift(context: Any) -> None:
            lifted.append(len(sim.state.messages))
            sim.state.clear_faults()

        with DAG("bulk_ip", schedule=None) as dag:
            self.send(retries=1, retry_delay=timedelta(0), on_retry_callback=lift)
        run = run_dag(dag)

        assert (run.states, run.tries) == ({"send": "success"}, {"send": 2})
        assert 350 < lifted[0] < 450
        summary = run.xcom("send")
        assert (summary["accepted"], summary["rejected"], summary["in_doubt"]) == (1000, 0, 0)
        assert len(texts(sim)) == 1000

    def test_ip_not_allowed_is_retried(self, sim: Simulator, context: Callable[..., Any]) -> None:
        sim.state.settings.deny_ip = True
        with pytest.raises(IpNotAllowedError):
            self.send(5).execute(context())
        sim.state.settings.deny_ip = False
        assert self.send(5).execute(context(try_number=2))["accepted"] == 5

    @pytest.mark.usefixtures("impatient")
    def test_connection_refused(
        self, sim: Simulator, context: Callable[..., Any], connect: Callable[..., None]
    ) -> None:
        connect(host="http://127.0.0.1:9")
        with pytest.raises(NotConnectedError):
            self.send(5).execute(context())
        connect()
        assert self.send(5).execute(context(try_number=2))["accepted"] == 5

    @pytest.mark.usefixtures("impatient")
    def test_a_failed_try_under_airflow(
        self, sim: Simulator, run_dag: Callable[..., Any], connect: Callable[..., None]
    ) -> None:
        connect(host="http://127.0.0.1:9")
        with DAG("bulk_refused", schedule=None) as dag:
            self.send(5, retries=1, retry_delay=timedelta(0), on_retry_callback=lambda context: connect())
        run = run_dag(dag)
        assert (run.states, run.tries) == ({"send": "success"}, {"send": 2})
        assert len(texts(sim)) == 5

    def test_a_task_that_is_told_to_end_leaves_nothing_in_doubt(
        self, sim: Simulator, context: Callable[..., Any]
    ) -> None:
        sim.state.settings.latency_ms = 50
        operator = self.send(concurrency=8)
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(operator.execute, context())
            while len(sim.state.messages) < 50:
                time.sleep(0.01)
            operator.on_kill()
            with pytest.raises(TelekomSmsError, match="killed"):
                running.result(60)
        assert 50 <= len(sim.state.messages) < 500
        sim.state.settings.latency_ms = 0
        summary = self.send().execute(context(try_number=2))
        assert (summary["accepted"], summary["in_doubt"]) == (1000, 0)
        assert len(texts(sim)) == 1000

    def test_an_execution_timeout_loses_and_doubles_nothing(
        self, sim: Simulator, run_dag: Callable[..., Any]
    ) -> None:
        # It is to strike while messages are sent: what it raises in a callback of the garbage collector, as
        # it may while they are planned, Python ignores.
        sim.state.settings.latency_ms = 100
        with DAG("bulk_timeout", schedule=None) as dag:
            self.send(
                600,
                retries=1,
                retry_delay=timedelta(0),
                execution_timeout=timedelta(seconds=2.5),
                on_in_doubt="skip",
                concurrency=8,
                on_retry_callback=lambda context: (
                    setattr(sim.state.settings, "latency_ms", 0)
                    or setattr(dag.get_task("send"), "execution_timeout", timedelta(seconds=30))
                ),
            )
        run = run_dag(dag)
        assert (run.states, run.tries) == ({"send": "success"}, {"send": 2})
        summary = run.xcom("send")
        assert summary["accepted"] + summary["in_doubt"] == 600
        assert summary["in_doubt"] <= 4 * 8
        assert summary["accepted"] <= len(texts(sim)) <= 600

    def test_a_cleared_task_sends_nothing_and_another_run_sends_again(
        self, sim: Simulator, run_dag: Callable[..., Any]
    ) -> None:
        with DAG("bulk_clear", schedule=None) as dag:
            self.send(5)
        day = datetime(2026, 3, 1, tzinfo=UTC)
        first = run_dag(dag, logical_date=day, run_after=day)
        assert first.xcom("send")["accepted"] == 5
        sent = len([r for r in sim.state.requests if r.endpoint == "send_message"])
        # dag.test clears the run of the same date and runs it anew.
        again = run_dag(dag, logical_date=day, run_after=day)
        assert again.run_id == first.run_id
        assert again.xcom("send")["accepted"] == 5
        assert len([r for r in sim.state.requests if r.endpoint == "send_message"]) == sent == 5

        run_dag(dag)
        assert set(sim.state.messages_per_number().values()) == {2}

    def test_a_campaign_id_repeats_nothing_in_other_runs_and_dags(
        self, sim: Simulator, run_dag: Callable[..., Any]
    ) -> None:
        for number in range(3):
            with DAG(f"bulk_fixed_{number % 2}", schedule=None) as dag:
                self.send(5 + number, campaign_id="jar")
            summary = run_dag(dag).xcom("send")
        assert (summary["campaign_id"], summary["accepted"]) == ("jar", 7)
        assert len(texts(sim)) == 7

    def test_a_changed_source_is_refused_once_something_was_sent(
        self, sim: Simulator, context: Callable[..., Any]
    ) -> None:
        self.send(5).execute(context())
        with pytest.raises(AirflowFailException, match=r"changed since.*campaign_id"):
            self.send(6).execute(context(try_number=2))
        assert len(texts(sim)) == 5
