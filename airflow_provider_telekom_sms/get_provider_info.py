"""What Airflow asks a provider about itself; valid against its ``provider_info.schema.json``."""

from __future__ import annotations

from typing import Any

from airflow_provider_telekom_sms.hooks.connection_form import CONNECTION_TYPE

_INTEGRATION = "Telekom SMS"
_PACKAGE = "airflow_provider_telekom_sms"


def _modules(kind: str, *names: str) -> list[dict[str, Any]]:
    modules = [f"{_PACKAGE}.{kind}.{name}" for name in names or ("telekom_sms",)]
    return [{"integration-name": _INTEGRATION, "python-modules": modules}]


def _option(description: str, example: str) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": None,
    }


def get_provider_info() -> dict[str, Any]:
    """Give the provider's metadata."""
    return {
        "package-name": "airflow-provider-telekom-sms",
        "name": "Telekom SMS",
        "description": "SMS and RCS through the API of Slovak Telekom: bulk sends that survive a kill, "
        "an outcome for every row, and waiting for delivery without holding a worker.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://smsapi.telekom.sk",
                "tags": ["service"],
            }
        ],
        "connection-types": [CONNECTION_TYPE],
        "hooks": _modules("hooks"),
        "operators": _modules("operators", "telekom_sms", "ledger"),
        "sensors": _modules("sensors"),
        "triggers": _modules("triggers"),
        "notifications": [f"{_PACKAGE}.notifications.telekom_sms.TelekomSmsNotifier"],
        "config": {
            "telekom_sms": {
                "description": "The ledger of the Telekom SMS provider: what was ever meant to be sent.",
                "options": {
                    "ledger_conn_id": _option(
                        "Airflow connection of the SQL database that holds the ledger (PostgreSQL or "
                        "SQLite). Without it, and without ledger_path, a SQLite file under AIRFLOW_HOME.",
                        "telekom_sms_ledger",
                    ),
                    "ledger_path": _option(
                        "Path of the SQLite file that holds the ledger, when ledger_conn_id is not set.",
                        "/var/lib/airflow/telekom_sms_ledger.db",
                    ),
                },
            }
        },
    }
