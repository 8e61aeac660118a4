"""The receiver as a plugin of Airflow: there where a secret is set, and nothing of it elsewhere."""

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
apps, _ = plugins_manager.get_fastapi_plugins()
ours = [app for app in apps if "Telekom" in app["name"]]
loaded = {"fastapi", "starlette", "uvicorn", "requests", "pandas", "aiohttp"} & set(sys.modules)
ledger = "airflow_provider_telekom_sms.ledger.callbacks" in sys.modules
print("\\n" + json.dumps([[app["url_prefix"], repr(app["app"])] for app in ours] + [ledger, sorted(loaded)]))
"""


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


def test_with_a_secret_it_is_on_the_api_server(tmp_path):
    found = look(tmp_path, AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET=SECRET)
    # Wherever else Airflow loads its plugins, it costs next to nothing.
    assert found == [[PREFIX, "<Receiver {}>"], True, []]


def test_without_one_there_is_nothing(tmp_path):
    assert look(tmp_path) == [False, []]


def test_alone_it_needs_a_secret(monkeypatch, capsys):
    monkeypatch.delenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET", raising=False)
    assert main([]) == 1
    assert "callback_secret is not set" in capsys.readouterr().err
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__CALLBACK_SECRET", "short")
    assert main([]) == 1
    assert "16 to 128" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--ledger-path", "/x", "--ledger-conn-id", "y"])
