"""The Python of the docs: all of it is parsed by Airflow, and what people copy runs against the simulator."""

from __future__ import annotations

import csv
import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from packaging.version import Version

from airflow_provider_telekom_sms.events import answers
from airflow_provider_telekom_sms.ledger import callbacks
from airflow_provider_telekom_sms.ledger.callbacks import Received
from airflow_provider_telekom_sms.ledger.location import open_ledger
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN
from tests.airflow.test_events import event, run_of
from tests.postgres import PASSWORD, USER, PostgresServer
from tests.versions import RUNNING, dag_bag, store_dag

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Its chapter runs in test_docs_rcs.py.
PAGES = [page for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] if page.name != "rcs.md"]
#: What a snippet may leave to its reader.
KNOWN = """\
from datetime import datetime, timedelta
from airflow.sdk import DAG, task
from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
from airflow_provider_telekom_sms.operators.ledger import *
from airflow_provider_telekom_sms.operators.telekom_sms import *
ROWS = [{"phone": "0903 123 450"}]
"""


def blocks(page: str | Path, language: str = "python") -> list[str]:
    """Give what a page shows in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def as_file(page: Path) -> str:
    """Make a DAG file of a page: what stands in no DAG of its own is put into one."""
    name = re.sub(r"\W", "_", str(page.relative_to(ROOT)))
    code = [KNOWN]
    for number, block in enumerate(blocks(page), 1):
        if "DeadlineAlert" in block and Version("3.2") > RUNNING:
            continue
        if "DAG(" in block:
            code.append(block)
        else:
            dag = f"with DAG('{name}_{number}', schedule=None):"
            code.append(f"{dag}\n{textwrap.indent(block, '    ')}    pass\n")
    return "\n".join(code)


@pytest.fixture
def parse(airflow_db: None, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Write a DAG file, and give its DAGs as Airflow finds them."""

    def found(code: str, name: str = "snippet") -> dict[str, Any]:
        # /data is the reader's.
        (tmp_path / f"{name}.py").write_text(code.replace("/data", str(tmp_path)))
        bag = dag_bag(tmp_path)
        assert bag.import_errors == {}
        return dict(bag.dags)

    return found


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_airflow_parses_every_snippet(page: Path, parse: Callable[..., Any], sim: Any) -> None:
    dags = parse(as_file(page))
    assert dags
    for dag in dags.values():
        assert store_dag(dag).import_errors == {}


# --- the tutorial -------------------------------------------------------------------------------------------


def test_the_tutorial(
    airflow_db: None,
    run_dag: Callable[..., Any],
    sim: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The files are those that its commands write; that the commands can be pasted shows only a terminal."""
    text = (DOCS / "tutorial.md").read_text()
    (tmp_path / "airflow" / "dags").mkdir(parents=True)
    files = re.findall(r"^cat > (\S+) <<'EOF'\n(.*?)^EOF$", text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == ["people.csv", "airflow/dags/reminders.py"]
    for name, content in files:
        (tmp_path / name).write_text(content)
    first, report, again = blocks("tutorial.md", "text")

    def said() -> str:
        """Give what was logged: by the task to its stream, by what it calls to the logging of Python."""
        return "\n".join([capfd.readouterr().out, *(record.getMessage() for record in caplog.records)])

    def run() -> Any:
        bag = dag_bag(tmp_path / "airflow" / "dags")
        assert bag.import_errors == {}
        said()
        caplog.clear()
        ended = run_dag(bag.dags["reminders"])
        assert ended.state == "success"
        return ended

    caplog.set_level("INFO")
    run()
    log = said()
    assert [line for line in first.splitlines() if line not in log] == []
    with (tmp_path / "report.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    shown = list(csv.DictReader(report.splitlines()))
    assert len(found) == len(shown) == 4
    for row, expected in zip(found, shown, strict=True):
        for name in ("row", "key", "phone", "state", "reason", "parts", "delivery_status"):
            assert row[name] == expected[name]
        for name in ("message_id", "delivered_at"):
            assert bool(row[name]) == bool(expected[name])

    run()
    assert again.strip() in said()
    [added] = re.findall(r"^echo '(.*)' >> people.csv$", text, re.MULTILINE)
    with (tmp_path / "people.csv").open("a") as file:
        file.write(f"{added}\n")
    assert run().xcom("send")["accepted"] == 4
    assert Counter(sim.state.messages_per_number().values()) == {1: 4}


# --- how to -------------------------------------------------------------------------------------------------


@pytest.fixture
def customers(tmp_path: Path) -> None:
    """The files that the pages name."""
    rows = pd.DataFrame(
        {"phone": ["0903 123 450", "0903 123 455", "0903 123 456"], "name": ["Eva", "Ján", "Iva"]}
    )
    rows.to_csv(tmp_path / "customers.csv", index=False)
    rows.to_parquet(tmp_path / "customers.parquet")
    (tmp_path / "opted-out.csv").write_text("phone\n+421 903 123 456\n")


def how_to(page: str, parse: Callable[..., Any]) -> dict[str, Any]:
    dags: dict[str, Any] = parse(as_file(DOCS / "how-to" / page))
    return dags


def test_failure_alert(
    run_dag: Callable[..., Any], parse: Callable[..., Any], sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(name, value)] = re.findall(
        r'airflow variables set (\w+) "(.*)"', (DOCS / "how-to" / "failure-alert.md").read_text()
    )
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", value)
    run = run_dag(how_to("failure-alert.md", parse)["nightly_load"])
    assert Counter(run.states.values()) == {"failed": 3}
    assert sim.state.messages_per_number() == {"421903123450": 1, "421903123455": 1}
    assert sim.state.messages[0].text.startswith("Failed: nightly_load.load[")


def test_warehouse_campaign(
    run_dag: Callable[..., Any],
    parse: Callable[..., Any],
    sim: Any,
    monkeypatch: pytest.MonkeyPatch,
    postgres: PostgresServer,
) -> None:
    url = postgres.database()
    today = pd.Timestamp.now("UTC").date().isoformat()
    for statement in (
        "CREATE TABLE invoices (id int, phone text, name text, amount numeric, due date, paid bool)",
        "CREATE TABLE opted_out (phone text)",
        f"INSERT INTO invoices VALUES (1, '0903123450', 'Eva', 12.5, '{today}', false),"
        f" (2, '0903123455', 'Iva', 3, '{today}', false), (3, '0903123456', 'Ján', 3, '{today}', true)",
        "INSERT INTO opted_out VALUES ('+421 903 123 455')",
    ):
        postgres.sql(url, statement)
    warehouse = {
        "conn_type": "postgres", "host": url.host, "port": url.port, "login": USER, "password": PASSWORD,
        "schema": url.database,
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    dag = how_to("warehouse-campaign.md", parse)["payment_reminders"]
    for _ in range(2):
        assert run_dag(dag).state == "success"
    [message] = sim.state.messages
    assert message.text == "Dobrý deň Eva, faktúra na 12.50 € je splatná dnes."


def test_approval(run_dag: Callable[..., Any], parse: Callable[..., Any], sim: Any, customers: None) -> None:
    """Nobody can be asked here; in test_workers.py somebody is."""
    run = run_dag(how_to("approval.md", parse)["approved_offer"], mark_success_pattern="approve")
    assert run.state == "success"
    assert sim.state.messages_per_number() == {"421903123450": 1, "421903123455": 1}


def test_several_workers(
    run_dag: Callable[..., Any], parse: Callable[..., Any], sim: Any, customers: None, tmp_path: Path
) -> None:
    run = run_dag(how_to("workers.md", parse)["large_campaign"])
    assert run.state == "success"
    assert Counter(sim.state.messages_per_number().values()) == {1: 3}
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(("dag_id", "messages"), [("docs_how_to_delivery_md_1", 1), ("invitation", 2)])
def test_delivery(
    run_dag: Callable[..., Any], parse: Callable[..., Any], sim: Any, dag_id: str, messages: int
) -> None:
    assert run_dag(how_to("delivery.md", parse)[dag_id]).state == "success"
    assert len(sim.state.messages) == messages


def test_replies(run_dag: Callable[..., Any], parse: Callable[..., Any], sim: Any) -> None:
    """The event is what the page's trigger gives; how Airflow hands it over is seen in test_events.py."""
    names: dict[str, Any] = {}
    exec(compile(blocks("how-to/replies.md")[0], "replies.md", "exec"), names)
    run = run_dag(how_to("replies.md", parse)["parcel_question"])
    [receipt] = run.xcom("ask")
    told = {
        "type": "postback", "messageId": int(receipt["message_id"]), "addressFrom": "+421903123450",
        "postback": {"data": "no", "text": sim.state.click(int(receipt["message_id"]), "no")["text"]},
    }  # fmt: skip
    callbacks.receive(open_ledger(), [Received.read(json.dumps(told).encode(), "application/json", {})])

    [watcher] = names["said_no"].watchers
    watched = (
        watcher.trigger["kwargs"] if isinstance(watcher.trigger, dict) else watcher.trigger.serialize()[1]
    )
    payload = event(**{name: watched[name] for name in ("kind", "campaign_id", "postback_data")})
    assert payload["count"] == 1
    offer = how_to("replies.md", parse)["parcel_answer"].task_dict["offer"]
    context = run_of("run", payload, dag_id="parcel_answer")
    offer.source = partial(answers, context)
    assert offer.execute(context)["accepted"] == 1
    assert sim.state.messages[-1].text.startswith("Iný deň")


def test_personal_data(
    run_dag: Callable[..., Any], parse: Callable[..., Any], sim: Any, monkeypatch: pytest.MonkeyPatch,
    customers: None, tmp_path: Path,
) -> None:  # fmt: skip
    dags = how_to("personal-data.md", parse)
    monkeypatch.setenv(
        "AIRFLOW_CONN_TELEKOM_SMS_LEDGER",
        json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}),
    )
    ledger = open_ledger()
    with ledger.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO telekom_sms_opt_out VALUES ('421903123455', 0)")
    run = run_dag(dags["docs_how_to_personal_data_md_2"])
    assert run.state == "success"
    assert sim.state.messages_per_number() == {"421903123450": 1, "421903123456": 1}
    assert run_dag(dags["purge_telekom_sms"]).xcom("purge")["messages"] == 0

    known, forget = [block.split(";") for block in blocks("how-to/personal-data.md", "sql")]
    with ledger.transaction() as connection:
        [(_, row, state, *_)] = connection.exec_driver_sql(known[0]).all()
        assert (row, state) == (1, "accepted")
        for statement in [known[1], *forget[:2]]:
            connection.exec_driver_sql(statement)
        assert connection.exec_driver_sql(known[0]).all() == []
    assert run_dag(dags["docs_how_to_personal_data_md_2"]).state == "success"


def test_migration(run_dag: Callable[..., Any], parse: Callable[..., Any], sim: Any, tmp_path: Path) -> None:
    """What is written by hand on the page works, too, and sends the same."""
    code = as_file(DOCS / "how-to" / "migrate.md").replace("https://smsapi.telekom.sk", sim.url)
    rows = [{"phone": "421903123450", "name": "Eva", "amount": "12.50"}]
    names: dict[str, Any] = {}
    exec(compile(code, "migrate.md", "exec"), names)
    names["remind"].function(rows, DEFAULT_TOKEN)
    [by_hand] = sim.state.messages
    sim.state.reset()

    [dag] = [dag for dag in parse(code).values() if "remind" in dag.task_dict]
    task = dag.get_task("remind")
    source = task.source
    assert source.endswith("-{{ ds }}.csv")
    today = pd.Timestamp.now("UTC").date().isoformat()
    pd.DataFrame(rows).to_csv(source.replace("{{ ds }}", today), index=False)
    assert run_dag(dag).state == "success"
    [ours] = sim.state.messages
    assert (ours.number, ours.text) == (by_hand.number, by_hand.text)
