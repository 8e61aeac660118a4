"""What Airflow learns of the provider: metadata, the connection form, the commands, the cost of parsing."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points, metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_telekom_sms.get_provider_info import get_provider_info
from airflow_provider_telekom_sms.hooks import connection_form
from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
from airflow_provider_telekom_sms.settings import EXTRAS
from airflow_provider_telekom_sms.simulator import Simulator

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
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hook = manager.hooks["telekom_sms"]
    assert hook is not None
    assert hook.hook_name == connection_form.HOOK_NAME
    widgets = {name for name in manager.connection_form_widgets if name.startswith("extra__telekom_sms__")}
    assert widgets == {f"extra__telekom_sms__{name}" for name in EXTRAS}
    behaviour = manager.field_behaviours["telekom_sms"]
    assert behaviour["relabeling"]["password"] == "API key"


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
    from airflow.configuration import conf

    assert conf.configuration_description["telekom_sms"]["options"].keys() == {
        "callback_secret",
        "campaigns_page",
        "ledger_conn_id",
        "ledger_path",
        "stop_words",
    }


def test_parsing_imports_nothing_heavy(tmp_path: Path) -> None:
    script = tmp_path / "parse.py"
    script.write_text(
        "import sys\n"
        "from airflow.sdk import DAG, BaseOperator\n"
        "before = set(sys.modules)\n" + DAG_FILE + f"\nheavy = {HEAVY!r}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in set(sys.modules) - before}))\n"
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
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    (tmp_path / "all_names.py").write_text(DAG_FILE)
    bag = DagBag(dag_folder=tmp_path, bundle_name="dags-folder")
    assert bag.import_errors == {}
    stored: Any = json.loads(json.dumps(DagSerialization.serialize_dag(bag.dags["all_names"])))
    assert "0903000010" not in json.dumps(stored)
    back = DagSerialization.deserialize_dag(stored)
    assert back.task_dict.keys() == {"send", "bulk", "check", "wait"}
    assert back.get_task("bulk").source == "/data/rows.csv"
    # The same on every parse, or Airflow makes a new version of the DAG each time.
    again = DagBag(dag_folder=tmp_path, bundle_name="dags-folder").dags["all_names"]
    assert json.loads(json.dumps(DagSerialization.serialize_dag(again))) == stored
