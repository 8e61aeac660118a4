"""What the provider puts on Airflow's API server, and that it costs nothing elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from airflow_provider_telekom_sms.callbacks.__main__ import main
from tests.callbacks.conftest import PREFIX, SECRET

LOOK = """
import json, sys
from airflow import plugins_manager
if hasattr(plugins_manager, "get_fastapi_plugins"):
    apps, _ = plugins_manager.get_fastapi_plugins()
    plugins, _ = plugins_manager._get_plugins()
else:  # Airflow 3.1
    plugins_manager.initialize_fastapi_plugins()
    apps, plugins = plugins_manager.fastapi_apps, plugins_manager.plugins
[plugin] = [one for one in plugins if one.name == "telekom_sms"]
loaded = {"fastapi", "starlette", "uvicorn", "requests", "pandas", "aiohttp"} & set(sys.modules)
ours = sorted(name for name in sys.modules if name.startswith("airflow_provider_telekom_sms."))
print("\\n" + json.dumps({
    "apps": [[app["url_prefix"], type(app["app"]).__name__] for app in apps if "Telekom" in app["name"]],
    "views": [[view["destination"], view["url_route"], view["href"]] for view in plugin.external_views],
    "ledger": "airflow_provider_telekom_sms.ledger.callbacks" in ours,
    "page": [name for name in ours if ".ui." in name],
    "loaded": sorted(loaded),
}))
"""
PAGE, RECEIVER = ["/telekom-sms-campaigns", "CampaignsPage"], [PREFIX, "Receiver"]
VIEW = ["nav", "telekom-sms", "/telekom-sms-campaigns/"]


def look(tmp_path, **environment):
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    } | environment
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_with_a_secret_the_receiver_is_on_the_api_server(tmp_path):
    found = look(tmp_path, AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET=SECRET)
    assert found["apps"] == [PAGE, RECEIVER]
    assert found["ledger"]
    # Wherever else Airflow loads its plugins, it costs next to nothing.
    assert found["loaded"] == []


def test_without_one_there_is_only_the_page(tmp_path):
    assert look(tmp_path) == {
        "apps": [PAGE],
        "views": [VIEW],
        "ledger": False,
        # The page itself is not loaded before it is asked for.
        "page": ["airflow_provider_telekom_sms.ui.mount"],
        "loaded": [],
    }


def test_the_page_can_be_switched_off(tmp_path):
    found = look(tmp_path, AIRFLOW__TELEKOM_SMS__CAMPAIGNS_PAGE="False")
    assert (found["apps"], found["views"]) == ([], [])


def test_airflow_may_stand_under_a_path(tmp_path):
    found = look(tmp_path, AIRFLOW__API__BASE_URL="https://data.example.com/airflow/")
    assert found["views"] == [["nav", "telekom-sms", "/airflow/telekom-sms-campaigns/"]]


def test_alone_it_needs_a_secret(monkeypatch, capsys):
    monkeypatch.delenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET", raising=False)
    assert main([]) == 1
    assert "callback_secret is not set" in capsys.readouterr().err
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET", "short")
    assert main([]) == 1
    assert "16 to 128" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--ledger-path", "/x", "--ledger-conn-id", "y"])
