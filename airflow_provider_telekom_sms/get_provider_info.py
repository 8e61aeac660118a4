"""What Airflow asks a provider about itself; valid against its ``provider_info.schema.json``."""

from __future__ import annotations

from typing import Any

from airflow_provider_telekom_sms.hooks.connection_form import CONNECTION_TYPE

_INTEGRATION = "Telekom SMS"
_PACKAGE = "airflow_provider_telekom_sms"


def _modules(kind: str, *names: str) -> list[dict[str, Any]]:
    modules = [f"{_PACKAGE}.{kind}.{name}" for name in names or ("telekom_sms",)]
    return [{"integration-name": _INTEGRATION, "python-modules": modules}]


def _option(description: str, example: str | None) -> dict[str, Any]:
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
        "triggers": _modules("triggers", "telekom_sms", "events"),
        # Airflow reads class-name, and its schema says path.
        "task-decorators": [
            {
                "name": "telekom_sms",
                "class-name": f"{_PACKAGE}.decorators.telekom_sms.telekom_sms_task",
                "path": f"{_PACKAGE}.decorators.telekom_sms.telekom_sms_task",
            }
        ],
        "queues": [f"{_PACKAGE}.queues.telekom_sms.TelekomSmsQueueProvider"],
        "extra-links": [f"{_PACKAGE}.links.telekom_sms.TelekomSmsCampaignLink"],
        "notifications": [f"{_PACKAGE}.notifications.telekom_sms.TelekomSmsNotifier"],
        "config": {
            "telekom_sms": {
                "description": "The Telekom SMS provider: where its ledger is, and its callbacks.",
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
                    "callback_secret": _option(
                        "The end of the URL that the API calls with delivery reports and replies, 16 to 128 "
                        "letters and digits. Without it nothing is received. Several, separated by commas, "
                        "are all understood, and the first is given to the API.",
                        None,
                    )
                    | {"sensitive": True},
                    "campaigns_page": _option(
                        "Whether the page of campaigns is in Airflow's UI (3.1 and later).",
                        "False",
                    )
                    | {"type": "boolean", "default": "True"},
                    "stop_words": _option(
                        "Whoever answers with one of these words goes into the ledger's table of opt-outs.",
                        "STOP, KONIEC",
                    ),
                },
            }
        },
    }
