"""The receiver on Airflow's API server; there only where ``[telekom_sms] callback_secret`` is set."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_telekom_sms.settings import callback_secrets


def _apps() -> list[dict[str, Any]]:
    if not callback_secrets():
        return []
    from airflow_provider_telekom_sms.callbacks.app import PREFIX, configured

    # It opens the ledger when it is first called, which happens on the API server only.
    return [{"app": configured(), "url_prefix": PREFIX, "name": "Telekom SMS callbacks"}]


class TelekomSmsPlugin(AirflowPlugin):
    """Airflow does not ask who calls a mounted application; the receiver does."""

    name = "telekom_sms"
    fastapi_apps = _apps()
