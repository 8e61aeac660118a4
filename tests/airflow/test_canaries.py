"""Planted secrets and personal data, searched for wherever Airflow keeps or shows something."""

from __future__ import annotations

import logging
import os
import re
import secrets
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import DAG

from airflow_provider_telekom_sms.exceptions import TelekomSmsError
from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsBulkSendOperator,
    TelekomSmsCheckNumberOperator,
    TelekomSmsSendOperator,
)
from airflow_provider_telekom_sms.sensors.telekom_sms import TelekomSmsDeliverySensor
from airflow_provider_telekom_sms.simulator import Fault, Settings, Simulator


def _number(ending: str) -> str:
    # Made up here and now: this file itself stands in Airflow's database, as the DAG's source.
    return f"0903 {secrets.randbelow(10**3):03d} {secrets.randbelow(10):01d}{ending}"


@dataclass
class Canaries:
    """What must not be found."""

    key: str = field(default_factory=lambda: secrets.token_hex(32))
    text: str = field(default_factory=lambda: f"Milá Žofia {secrets.token_hex(6)}")
    good: list[str] = field(default_factory=lambda: [_number(f"{n}0") for n in range(3)])
    rejected: str = field(default_factory=lambda: _number("99"))
    doubtful: str = field(default_factory=lambda: _number("55"))
    quoted: str = field(default_factory=lambda: _number("66"))
    undelivered: str = field(default_factory=lambda: _number("31"))

    @property
    def numbers(self) -> list[str]:
        return [*self.good, self.rejected, self.doubtful, self.quoted, self.undelivered]

    def secrets(self, sim: Simulator) -> dict[str, bytes]:
        """Give patterns of the key and of every session there was."""
        sessions = {r.parameters.get("session_id") for r in sim.state.requests} - {None}
        sessions |= set(sim.state._sessions)
        found = {"key": re.escape(self.key)}
        found |= {f"session {number}": re.escape(session) for number, session in enumerate(sessions)}
        return {name: pattern.encode() for name, pattern in found.items()}

    def personal(self) -> dict[str, bytes]:
        """Give patterns of the numbers, in whatever spelling, and of the text, escaped or not."""
        patterns = {"text": self.text.split()[-1].encode()}
        for number in self.numbers:
            digits = re.sub(r"\D", "", number)[1:]
            patterns[f"number {digits}"] = r"\D?".join(digits).encode()
        return patterns


def leaks(patterns: dict[str, bytes], places: dict[str, bytes]) -> list[str]:
    """Name what was found, and where."""
    return [
        f"{name} in {place}: …{content[max(0, match.start() - 60) : match.end() + 10]!r}"
        for place, content in places.items()
        for name, pattern in patterns.items()
        if (match := re.search(pattern, content))
    ]


def database() -> bytes:
    """Give everything that Airflow has ever stored: XComs, rendered fields, DAGs, triggers, log rows."""
    folder = Path(os.environ["AIRFLOW_HOME"])
    return b"".join(path.read_bytes() for path in folder.glob("airflow.db*"))


def everything(canaries: Canaries, **options: Any) -> DAG:
    """Give a DAG of all operators that sends the canaries, some of them in vain."""
    macros = {"number": canaries.good[0], "text": canaries.text}
    rows = [{"phone": number, "text": canaries.text} for number in canaries.numbers]
    with DAG("canaries", schedule=None, user_defined_macros=macros, **options) as dag:
        TelekomSmsSendOperator(task_id="template", to="{{ number }}", text="{{ text }}")
        TelekomSmsSendOperator(task_id="literal", to=canaries.good, text=canaries.text)
        TelekomSmsSendOperator.partial(task_id="mapped", text="{{ text }}").expand(to=["{{ number }}"])
        TelekomSmsSendOperator(task_id="invalid", to=canaries.good[0] + "123", text=canaries.text)
        TelekomSmsSendOperator(task_id="text", to="x", text=canaries.text, priority="high")
        TelekomSmsSendOperator(task_id="broken", to="{{ number }}", text="{{ text }}{{ nothing.at.all }}")
        for name in ("rejected", "doubtful", "quoted"):
            TelekomSmsSendOperator(task_id=name, to=getattr(canaries, name), text=canaries.text)
        TelekomSmsSendOperator(
            task_id="undelivered",
            to=canaries.undelivered,
            text=canaries.text,
            wait_for_delivery=True,
            poll_interval=0.05,
        )
        TelekomSmsBulkSendOperator(
            task_id="rows",
            source=[*rows, {"phone": canaries.good[0] + "x", "text": canaries.text}],
            text="Ahoj {text}",
            on_in_doubt="skip",
            wait_for_delivery=True,
            deferrable=True,
            poll_interval=0.05,
            campaign_id="canaries",
        ) >> TelekomSmsDeliverySensor(
            task_id="wait", campaign_id="canaries", min_success_ratio=0, poke_interval=0.05, deferrable=True
        )
        TelekomSmsBulkSendOperator(task_id="fixed", source=lambda: rows, text=f"Ahoj {canaries.text}")
        TelekomSmsBulkSendOperator(task_id="strict", source=rows + rows, text="{missing}" + canaries.text)
        TelekomSmsBulkSendOperator(task_id="no_path", source="[{{ number }}]" * 2, text="{text}")
        TelekomSmsCheckNumberOperator(task_id="check", phone_numbers=canaries.good)
        TelekomSmsCheckNumberOperator(task_id="check_bad", phone_numbers=canaries.good[0] + "12")
    return dag


@pytest.fixture(params=["json POST session", "xml GET token"])
def canaries(request: pytest.FixtureRequest, sim: Simulator, connect: Callable[..., None]) -> Canaries:
    made = Canaries()
    wire, method, auth = request.param.split()
    sim.state.settings = Settings(tokens=[made.key], speed=100, allow_get=True)
    connect(password=made.key, wire_format=wire, http_method=method, auth=auth)
    doubtful, quoted = (re.sub(r"\D", "", number) for number in (made.doubtful, made.quoted))
    sim.state.order(Fault(name="drop_after", endpoint="send_message", numbers=doubtful))
    sim.state.order(
        Fault(
            name="error",
            endpoint="send_message",
            numbers=quoted,
            level="message",
            code="BLACKLISTED",
            description=f"Číslo {made.quoted} (+421{quoted[1:]}) je na čiernej listine",
        )
    )
    return made


def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> dict[str, bytes]:
    formatter = logging.Formatter()
    records = "\n".join(formatter.format(record) for record in caplog.records)
    out, err = capfd.readouterr()
    return {"log records": records.encode(), "printed log": (out + err).encode()}


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_run(
    sim: Simulator,
    canaries: Canaries,
    run_dag: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    level: str,
) -> None:
    caplog.set_level(level)
    run = run_dag(everything(canaries))

    failed = {name for name, state in run.states.items() if state == "failed"}
    assert failed == {
        "invalid", "text", "broken", "rejected", "doubtful", "quoted", "undelivered", "fixed", "strict",
        "no_path", "check_bad",
    }  # fmt: skip
    assert len(sim.state.messages) > 10
    logs = logged(caplog, capfd)
    assert b"Campaign canaries" in logs["printed log"]
    assert b"Planned" in logs["log records"]
    places = logs | {"database": database()}
    assert b"canaries" in places["database"]
    assert leaks(canaries.secrets(sim), places) == []
    if level == "DEBUG":
        places = {"database": places["database"]}
    assert leaks(canaries.personal(), places) == []


def test_errors_and_reprs(
    sim: Simulator, canaries: Canaries, context: Callable[..., Any], connect: Callable[..., None]
) -> None:
    dag = everything(canaries)
    places: dict[str, bytes] = {}
    hook = TelekomSmsHook()
    hook.ping() if "session" in repr(hook.settings) else hook.sms_groups()
    for what in (
        hook,
        hook.settings,
        hook.get_conn(),
        hook._session,
        hook.send_message(canaries.good[1], "x"),
    ):
        places[f"repr of {type(what).__name__}"] = (repr(what) + str(what)).encode()
    hook.__exit__()
    for task in dag.tasks:
        shown = [getattr(task, name, "") for name in task.template_fields]
        places[f"repr of {task.task_id}"] = (
            f"{task!r} {task} {shown} {getattr(task, 'source', '')!r}".encode()
        )
        if task.task_id in ("mapped", "wait"):
            continue
        try:
            task.execute(context(task.task_id))
        except TaskDeferred as deferred:
            path, stored = deferred.trigger.serialize()
            places["trigger"] = f"{path} {stored} {deferred.trigger!r} {deferred!r}".encode()
        except Exception as error:
            # What a developer sees, and what sits behind it.
            tell = "".join(traceback.format_exception(error)) + repr(error)
            places[f"traceback of {task.task_id}"] = re.sub(r'File ".*', "", tell).encode()
    assert "trigger" in places
    assert len([place for place in places if place.startswith("traceback")]) > 8
    assert leaks(canaries.secrets(sim) | canaries.personal(), places) == []


def test_hook_errors(sim: Simulator, canaries: Canaries, connect: Callable[..., None]) -> None:
    """Errors of the transport name neither the key, which GET carries in its URL, nor the number."""
    places = {}
    for name in ("drop_after", "503", "html", "cut", "empty", "redirect", "hang"):
        options = {"location": "/elsewhere"} if name == "redirect" else {}
        sim.state.clear_faults()
        sim.state.order(Fault(name=name, endpoint="send_message", seconds=3, **options))
        with TelekomSmsHook() as hook, pytest.raises(TelekomSmsError) as caught:
            hook.send_message(canaries.good[0], canaries.text)
        places[name] = "".join(traceback.format_exception(caught.value)).encode()
    assert leaks(canaries.secrets(sim) | canaries.personal(), places) == []


class Leaking(TelekomSmsSendOperator):
    """Says what it must not."""

    def execute(self, context: Any) -> Any:
        logging.getLogger("airflow.task").info("Sending with %s", self.hook.settings.token[:64])
        self.log.info("Sending to %s", self.to.value)
        logging.getLogger(__name__).info("Sending to %s with %s", self.to.value, self.hook.settings.token)
        super().execute(context)
        return {"to": self.to.value, "text": self.text.value}


def test_the_search_finds_a_leak(
    sim: Simulator,
    canaries: Canaries,
    run_dag: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    with DAG("leaking", schedule=None, user_defined_macros={"number": canaries.good[0]}) as dag:
        Leaking(task_id="send", to="{{ number }}", text=canaries.text)
    run_dag(dag)
    logs = logged(caplog, capfd)
    found = leaks(canaries.secrets(sim) | canaries.personal(), logs | {"database": database()})
    # Without the digits of the number, and what stands around it.
    where = {re.sub(r" \d+", "", leak.split(":")[0]) for leak in found}
    # The log of a real task is masked; what dag.test prints is, or is not, as somebody has set up logging.
    assert where - {"key in printed log"} == {
        "key in log records",
        "number in log records",
        "number in printed log",
        "number in database",
        "text in database",
    }
