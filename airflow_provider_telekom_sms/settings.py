"""The Airflow connection ``telekom_sms``, read strictly: what it holds, what is allowed."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from airflow_provider_telekom_sms.api.wire import Wire
from airflow_provider_telekom_sms.exceptions import ConfigurationError

log = logging.getLogger(__name__)

CONN_TYPE = "telekom_sms"
DEFAULT_CONN_ID = "telekom_sms_default"
DEFAULT_HOST = "https://smsapi.telekom.sk"
CONNECT_TIMEOUT = 5.0
#: Recipients of one request of API v2; the manual sets no limit.
DEFAULT_BATCH_SIZE = 100


@dataclass(frozen=True)
class Settings:
    """
    How to reach the API with one key.

    :param token: the API key
    :param base_url: scheme, host and port of the API, without a trailing slash
    :param wire: format and HTTP method of API v1
    :param auth: ``session`` (log in once, send the session id) or ``token`` (send the key with every request)
    :param timeout: seconds to wait for a whole reply
    :param verify: check the server's certificate: True, False, or the path of a CA file or directory
    :param proxy: URL of an HTTP proxy
    :param sender: default sender (``from``) of SMS
    :param rcs_agent: default RCS agent (``rcs.from``)
    :param rate_limit: messages per second for this key, over all who share the ledger
    :param callback_url: where the API reports delivery, without the secret
    """

    token: str
    base_url: str = DEFAULT_HOST
    wire: Wire = field(default_factory=Wire)
    auth: Literal["session", "token"] = "session"
    timeout: float = 30.0
    verify: bool | str = True
    proxy: str | None = None
    sender: str | None = None
    rcs_agent: str | None = None
    rate_limit: float | None = None
    callback_url: str | None = None

    def __repr__(self) -> str:
        return f"<Settings {self.base_url} {self.wire.wire_format} {self.wire.http_method} {self.auth}>"

    @classmethod
    def parse(cls, conn_id: str, *, password: str | None, host: str | None, extra: Any) -> Settings:
        """
        Read the fields of a connection.

        :param conn_id: the connection's id, for error messages
        :param password: the API key
        :param host: base URL with scheme; empty for the real API
        :param extra: the extras, as a mapping or as JSON text
        :raises ConfigurationError: naming the field, what was found and what is allowed
        """
        reader = _Reader(conn_id)
        if not password or not password.strip():
            reader.fail("password", "is empty", "the API key generated in the web application")
        values = reader.extras(extra)
        wire = Wire(values.pop("wire_format", "json"), values.pop("http_method", "POST"))
        return replace(
            cls(token=password.strip(), base_url=reader.base_url("host", host or DEFAULT_HOST), wire=wire),
            **values,
        )


#: What a secret may look like: it travels in a URL, and must not be guessed.
_SECRET = re.compile(r"[A-Za-z0-9._~-]{16,128}")


def callback_secrets() -> list[str]:
    """
    Give the secrets that ``[telekom_sms] callback_secret`` of Airflow's configuration holds.

    The first goes into the URLs that the API is given; the others are still understood, so that a secret can
    be changed while messages are on their way. Empty where none is set: then there is no receiver.

    :raises ConfigurationError: for one that is too short, or needs to be escaped in a URL
    """
    from airflow.providers.common.compat.sdk import conf

    given = conf.get(CONN_TYPE, "callback_secret", fallback="") or ""
    secrets = [secret.strip() for secret in given.split(",") if secret.strip()]
    if not all(map(_SECRET.fullmatch, secrets)):
        raise ConfigurationError(
            "[telekom_sms] callback_secret: found something else; allowed are secrets of 16 to 128 letters, "
            "digits, '.', '_', '~' and '-', separated by commas"
        )
    return secrets


def stop_words() -> list[str]:
    """Give the words of ``[telekom_sms] stop_words``: whoever answers with one wants no more messages."""
    from airflow.providers.common.compat.sdk import conf

    words = (conf.get(CONN_TYPE, "stop_words", fallback="") or "").split(",")
    return [word.strip() for word in words if word.strip()]


def callback_url_for(settings: Settings) -> str | None:
    """
    Give the URL that the API is to call; it holds the secret, and so is kept and shown nowhere.

    :return: the connection's ``callback_url`` and the secret; None where one of the two is not set
    :raises ConfigurationError: for a secret that is none
    """
    if settings.callback_url is None:
        return None
    secrets = callback_secrets()
    if not secrets:
        log.warning("callback_url is set, [telekom_sms] callback_secret is not: no callbacks are asked for")
        return None
    from airflow.sdk.log import mask_secret

    for secret in secrets:
        mask_secret(secret)
    return f"{settings.callback_url}/{secrets[0]}"


class _Reader:
    """Reads the values of one connection; every complaint names the connection and the field."""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id

    def fail(self, name: str, found: str, allowed: str) -> NoReturn:
        raise ConfigurationError(f"Connection {self.conn_id!r}: {name} {found}; allowed: {allowed}")

    def extras(self, extra: Any) -> dict[str, Any]:
        if isinstance(extra, str):
            try:
                extra = json.loads(extra or "{}")
            except ValueError:
                self.fail("extra", "is not JSON", "a JSON object")
        extra = {} if extra is None else extra
        if not isinstance(extra, Mapping):
            self.fail("extra", f"is {type(extra).__name__}", "a JSON object")
        if unknown := sorted(set(extra) - set(EXTRAS)):
            self.fail(f"extra {', '.join(map(repr, unknown))}", "is unknown", ", ".join(EXTRAS))
        return {
            name: EXTRAS[name](self, name, value) for name, value in extra.items() if value not in (None, "")
        }

    def choice(self, name: str, value: Any, allowed: Mapping[str, str]) -> str:
        if not isinstance(value, str) or value.lower() not in allowed:
            self.fail(f"extra {name!r}", f"is {value!r}", ", ".join(allowed.values()))
        return allowed[value.lower()]

    def positive(self, name: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not (0 < number < math.inf):
            self.fail(f"extra {name!r}", f"is {value!r}", "a number above 0")
        return number

    def text(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            self.fail(f"extra {name!r}", f"is {type(value).__name__}", "text")
        return value

    def base_url(self, name: str, value: Any) -> str:
        """Check a URL; what was found is not quoted, for it may carry a password."""
        try:
            parts = urlsplit(value.strip() if isinstance(value, str) else "")
            host = (parts.hostname or "").encode("idna")  # refuses what can be no host name
            valid = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or len(str(value).split()) != 1:
            self.fail(name, "is not a URL with a scheme", f"for example {DEFAULT_HOST}")
        if name == "host":
            if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
                self.fail(name, "has more than scheme, host and port", f"for example {DEFAULT_HOST}")
            return f"{parts.scheme}://{parts.netloc}"
        return parts.geturl().rstrip("/")

    def url(self, name: str, value: Any) -> str:
        return self.base_url(f"extra {name!r}", value)

    def verify(self, name: str, value: Any) -> bool | str:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        if isinstance(value, str) and Path(value).exists():
            return value
        return self.fail(
            f"extra {name!r}", f"is {value!r}", "true, false, or the path of a CA file or directory"
        )

    def wire_format(self, name: str, value: Any) -> str:
        return self.choice(name, value, {"json": "json", "xml": "xml"})

    def http_method(self, name: str, value: Any) -> str:
        return self.choice(name, value, {"post": "POST", "get": "GET"})

    def auth(self, name: str, value: Any) -> str:
        return self.choice(name, value, {"session": "session", "token": "token"})


#: Every extra of the connection and what reads it.
EXTRAS: dict[str, Callable[[_Reader, str, Any], Any]] = {
    "wire_format": _Reader.wire_format,
    "http_method": _Reader.http_method,
    "auth": _Reader.auth,
    "timeout": _Reader.positive,
    "verify": _Reader.verify,
    "proxy": _Reader.url,
    "sender": _Reader.text,
    "rcs_agent": _Reader.text,
    "rate_limit": _Reader.positive,
    "callback_url": _Reader.url,
}
