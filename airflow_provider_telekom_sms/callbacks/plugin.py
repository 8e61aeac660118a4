"""
What the provider puts on Airflow's API server: the page of campaigns, and the receiver of callbacks.

The page is there unless ``[telekom_sms] campaigns_page`` is off; the receiver is where ``callback_secret`` is
set.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin
from airflow.providers.common.compat.sdk import conf

from airflow_provider_telekom_sms.settings import CONN_TYPE, callback_secrets
from airflow_provider_telekom_sms.ui.mount import PREFIX, CampaignsPage, external_view


def _has_page() -> bool:
    return bool(conf.getboolean(CONN_TYPE, "campaigns_page", fallback=True))


def _apps() -> list[dict[str, Any]]:
    apps: list[dict[str, Any]] = []
    if _has_page():
        # It is built when it is first called, which happens on the API server only.
        apps.append({"app": CampaignsPage(), "url_prefix": PREFIX, "name": "Telekom SMS campaigns"})
    if callback_secrets():
        from airflow_provider_telekom_sms.callbacks import app

        # It opens the ledger when it is first called.
        apps.append({"app": app.configured(), "url_prefix": app.PREFIX, "name": "Telekom SMS callbacks"})
    return apps


def _views() -> list[dict[str, Any]]:
    if not _has_page():
        return []
    base_url = conf.get("api", "base_url", fallback="") or ""
    return [external_view(urlsplit(base_url).path.rstrip("/"))]


class TelekomSmsPlugin(AirflowPlugin):
    """Airflow does not ask who calls a mounted application; page and receiver do."""

    name = "telekom_sms"
    fastapi_apps = _apps()
    external_views = _views()
