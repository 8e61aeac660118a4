"""What Airflow learns of the provider: metadata, the connection form, the commands, the cost of parsing."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points, metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from airflow_provider_telekom_sms.get_provider_info import get_provider_info
from airflow_provider_telekom_sms.hooks import connection_form
from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
from airflow_provider_telekom_sms.settings import EXTRAS
from airflow_provider_telekom_sms.simulator import Simulator
from tests.versions import RUNNING, dag_bag, dag_serialization

PACKAGE = "airflow-provider-telekom-sms"

#: A DAG file that imports every public name and uses all of them.
DAG_FILE = """
from datetime import datetime
from airflow.sdk import DAG
from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
from airflow_provider_telekom_sms.operators.telekom_sms import (
    TelekomSmsBulkSendOperator, TelekomSmsCheckNumberOperator, TelekomSmsSendOperator,
)
from airflow_provider_telekom_sms.sensors.telekom_sms import TelekomSmsDeliverySensor
from airflow_provider_telekom_sms.triggers.telekom_sms import TelekomSmsDeliveryTrigger

with DAG("all_names", schedule=None, start_date=datetime(2026, 1, 1)):
    TelekomSmsSendOperator(task_id="send", to="0903000010", text="Ahoj")
    TelekomSmsBulkSendOperator(task_id="bulk", source="/data/rows.csv", text="Ahoj {name}")
    TelekomSmsCheckNumberOperator(task_id="check", phone_numbers=["0903000010"])
    TelekomSmsDeliverySensor(task_id="wait", campaign_id="jar", deferrable=True)
"""
FORM = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[form] = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "telekom_sms"]
print("\\n" + form.model_dump_json())
"""
HEAVY = {
    "pandas", "numpy", "aiohttp", "requests", "phonenumbers", "pyarrow", "fastapi", "starlette", "uvicorn",
    "defusedxml", "tenacity",
}  # fmt: skip


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_metadata_is_valid_and_misspells_nothing() -> None:
    import jsonschema

    info = get_provider_info()
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)
    # The schema tolerates unknown keys, so a slip would be silent.
    assert info.keys() <= schema["properties"].keys() | {"package-name"}
    assert info["package-name"] == metadata(PACKAGE)["Name"] == PACKAGE
    integrations = {integration["integration-name"] for integration in info["integrations"]}
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[kind]:
            assert entry["integration-name"] in integrations
            for module in entry["python-modules"]:
                __import__(module)


def test_entry_point() -> None:
    [entry] = [
        e
        for e in entry_points(group="apache_airflow_provider")
        if e.value.startswith("airflow_provider_telekom")
    ]
    assert entry.load()() == get_provider_info()


def test_connection_form() -> None:
    [connection] = get_provider_info()["connection-types"]
    assert connection["connection-type"] == TelekomSmsHook.conn_type
    assert connection["hook-class-name"] == f"{TelekomSmsHook.__module__}.{TelekomSmsHook.__qualname__}"
    assert set(connection["conn-fields"]) == set(EXTRAS)
    for field in connection["conn-fields"].values():
        assert field.keys() >= {"label", "schema"}
        assert "null" in field["schema"]["type"]
    behaviour = connection["ui-field-behaviour"]
    assert behaviour.keys() == {"hidden-fields", "relabeling", "placeholders"}
    assert not {"password", "host"} & set(behaviour["hidden-fields"])
    # Older releases ask the hook, and spell it otherwise.
    assert TelekomSmsHook.get_ui_field_behaviour() == {
        key.replace("-", "_"): value for key, value in behaviour.items()
    }


def test_airflow_reads_the_form() -> None:
    """In a process of its own: before 3.2 Airflow leaves modules behind that are none, to ask the hook."""
    form = json.loads(run("-c", FORM).splitlines()[-1])
    assert form["hook_name"] == connection_form.HOOK_NAME
    assert form["standard_fields"]["password"]["title"] == "API key"
    assert form["standard_fields"]["login"]["hidden"]
    assert form["extra_fields"].keys() == set(EXTRAS)
    assert {name: field["schema"]["title"] for name, field in form["extra_fields"].items()} == {
        name: field["label"] for name, field in connection_form.CONN_FIELDS.items()
    }
    # Before 3.2 all of them are texts; what is typed in is checked when the connection is used.
    if Version("3.2") <= RUNNING:
        assert form["extra_fields"]["wire_format"]["schema"]["enum"] == ["json", "xml"]
        assert form["extra_fields"]["timeout"]["value"] == 30


def test_widgets_for_older_releases_are_imported_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    with pytest.raises(ImportError):
        TelekomSmsHook.get_connection_form_widgets()

    appbuilder, wtforms = ModuleType("flask_appbuilder.fieldwidgets"), ModuleType("wtforms")
    appbuilder.BS3TextFieldWidget = lambda: "widget"  # type: ignore[attr-defined]
    wtforms.StringField = lambda label, **options: (label, options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flask_appbuilder", ModuleType("flask_appbuilder"))
    monkeypatch.setitem(sys.modules, "flask_appbuilder.fieldwidgets", appbuilder)
    monkeypatch.setitem(sys.modules, "wtforms", wtforms)
    assert set(TelekomSmsHook.get_connection_form_widgets()) == set(EXTRAS)


def test_test_connection(sim: Simulator, connect: Callable[..., None]) -> None:
    assert TelekomSmsHook().test_connection() == (True, f"Logged in at {sim.url}")
    connect(password="wrong" * 10)
    refused, message = TelekomSmsHook().test_connection()
    assert (refused, "API_TOKEN_NOT_FOUND" in message, "wrongwrong" in message) == (False, True, False)
    connect(colour="magenta")
    refused, message = TelekomSmsHook().test_connection()
    assert (refused, "'colour'" in message) == (False, True)


def test_airflow_prints_the_provider(airflow_db: None) -> None:
    commands = {
        "get": [PACKAGE, "--full"],
        "hooks": [],
        "triggers": [],
        "configs": [],
    }
    with ThreadPoolExecutor(2) as pool:
        printed = dict(
            zip(
                commands,
                pool.map(
                    lambda item: run("-m", "airflow", "providers", item[0], *item[1], "--output", "json"),
                    commands.items(),
                ),
                strict=True,
            )
        )
    package = "airflow_provider_telekom_sms"
    assert PACKAGE in printed["get"]
    assert f"{package}.hooks.telekom_sms.TelekomSmsHook" in printed["hooks"]
    assert connection_form.HOOK_NAME in printed["hooks"]
    assert f"{package}.triggers.telekom_sms" in printed["triggers"]
    assert PACKAGE in printed["configs"]


def test_configuration_is_known_to_airflow() -> None:
    from airflow.providers_manager import ProvidersManager

    configs = dict(ProvidersManager().provider_configs)
    assert configs["airflow-provider-telekom-sms"]["telekom_sms"]["options"].keys() == {
        "callback_secret",
        "campaigns_page",
        "ledger_conn_id",
        "ledger_path",
        "stop_words",
    }


def test_parsing_imports_nothing_heavy(tmp_path: Path) -> None:
    script = tmp_path / "parse.py"
    script.write_text(
        "import inspect, sys\n"
        "class Watch:\n"
        "    seen = set()\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        frames = [one.frame.f_globals.get('__name__', '') for one in inspect.stack(0)]\n"
        "        if any(one.startswith('airflow_provider_telekom_sms') for one in frames):\n"
        "            self.seen.add(name.split('.')[0])\n"
        "sys.meta_path.insert(0, Watch())\n" + DAG_FILE + f"\nprint(sorted({HEAVY!r} & Watch.seen))\n"
    )
    assert run(str(script)).splitlines()[-1] == "[]"


@pytest.mark.slow
def test_parsing_is_cheap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Importing all of the package costs little beside Airflow itself."""
    clock = "import time; began = time.perf_counter()\n"
    stop = "\nprint(time.perf_counter() - began)"
    (tmp_path / "bare.py").write_text(clock + "from airflow.sdk import DAG, BaseOperator" + stop)
    (tmp_path / "ours.py").write_text(clock + "from airflow.sdk import DAG, BaseOperator\n" + DAG_FILE + stop)
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for turn in range(8):
        for name, measured in times.items():
            seconds = float(run(str(tmp_path / f"{name}.py")).splitlines()[-1])
            if turn:  # the first one compiles
                measured.append(seconds)
    bare, ours = (statistics.median(times[name]) for name in ("bare", "ours"))
    with capsys.disabled():
        print(f"\nimport of Airflow {bare:.2f} s, with a DAG of ours {ours:.2f} s: {ours / bare:.2f} times")
    assert ours / bare <= 1.3


def test_dags_survive_serialization(airflow_db: None, tmp_path: Path) -> None:
    serialization = dag_serialization()
    (tmp_path / "all_names.py").write_text(DAG_FILE)
    bag = dag_bag(tmp_path)
    assert bag.import_errors == {}
    stored: Any = json.loads(json.dumps(serialization.serialize_dag(bag.dags["all_names"])))
    assert "0903000010" not in json.dumps(stored)
    back = serialization.deserialize_dag(stored)
    assert back.task_dict.keys() == {"send", "bulk", "check", "wait"}
    assert back.get_task("bulk").source == "/data/rows.csv"
    # The same on every parse, or Airflow makes a new version of the DAG each time.
    again = dag_bag(tmp_path).dags["all_names"]
    assert json.loads(json.dumps(serialization.serialize_dag(again))) == stored
