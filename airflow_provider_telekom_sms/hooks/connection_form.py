"""The form of the connection ``telekom_sms`` in Airflow's UI, said once for every release."""

from __future__ import annotations

from typing import Any

from airflow_provider_telekom_sms.settings import CONN_TYPE, DEFAULT_HOST

HOOK_NAME = "Telekom SMS (Slovak Telekom)"
HOOK_CLASS = "airflow_provider_telekom_sms.hooks.telekom_sms.TelekomSmsHook"


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    kind = schema.pop("type", "string")
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


CONN_FIELDS: dict[str, dict[str, Any]] = {
    "wire_format": _field("Format", "json or xml", enum=["json", "xml"], default="json"),
    "http_method": _field(
        "HTTP method", "GET must be allowed for the key", enum=["POST", "GET"], default="POST"
    ),
    "auth": _field(
        "Authentication",
        "session: log in once; token: send the key with every request",
        enum=["session", "token"],
        default="session",
    ),
    "timeout": _field("Timeout", "seconds to wait for a reply", type="number", default=30),
    "verify": _field("Verify TLS", "true, false, or the path of a CA file or directory", default="true"),
    "proxy": _field("Proxy", "URL of an HTTP proxy"),
    "sender": _field("Sender", "default sender of SMS; empty: the number of the account"),
    "rcs_agent": _field("RCS agent", "default agent of RCS messages"),
    "rate_limit": _field(
        "Rate limit",
        "messages per second for this key, over everything that shares the ledger",
        type="number",
    ),
    "callback_url": _field("Callback URL", "where the API reports delivery, without the secret"),
}

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    # The port is not hidden: without one, the Test button of Airflow 3.3.2 refuses to test.
    "hidden-fields": ["login", "schema", "extra"],
    "relabeling": {"password": "API key", "host": "Base URL"},
    "placeholders": {
        "host": DEFAULT_HOST,
        "port": "443",
        "password": "the key generated in the web application",
    },
}

CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": CONN_TYPE,
    "hook-class-name": HOOK_CLASS,
    "hook-name": HOOK_NAME,
    "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
    "conn-fields": CONN_FIELDS,
}


def widgets() -> dict[str, Any]:
    """Give the form's fields to releases before 3.3, which ask the hook."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # type: ignore[import-not-found]
    from wtforms import StringField

    return {
        name: StringField(form["label"], widget=BS3TextFieldWidget(), description=form["description"])
        for name, form in CONN_FIELDS.items()
    }


def behaviour() -> dict[str, Any]:
    """Give the form's behaviour to releases before 3.3, which spell its keys otherwise."""
    return {key.replace("-", "_"): value for key, value in UI_FIELD_BEHAVIOUR.items()}
