"""The hook: the Telekom API behind an Airflow connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_telekom_sms.hooks import connection_form
from airflow_provider_telekom_sms.settings import CONN_TYPE, DEFAULT_BATCH_SIZE, DEFAULT_CONN_ID
from airflow_provider_telekom_sms.version_compat import AIRFLOW_V_3_3_2_PLUS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_telekom_sms.api.delivery import DeliveryStatus
    from airflow_provider_telekom_sms.api.http import Call, Credential, Session, T
    from airflow_provider_telekom_sms.api.messages import MultichannelMessage
    from airflow_provider_telekom_sms.api.results import NumberInfo, Receipt, SmsGroup
    from airflow_provider_telekom_sms.settings import Settings
    from airflow_provider_telekom_sms.transport import AsyncTransport, Transport


log = logging.getLogger(__name__)


class MessageOptions(TypedDict, total=False):
    """The optional parameters of a message; see :meth:`TelekomSmsHook.send_message`."""

    sender: str | None
    callback: bool | None
    delivery_time: datetime | str | None
    priority: int | None
    validity: int | None
    unicode: bool | None
    message_type: str | None
    group_id: int | None
    prefer_rcs: bool


class TelekomSmsHook(BaseHook):
    """
    Talks to the API of Slovak Telekom (manuals v1 and v2).

    Each method has an asynchronous twin whose name begins with ``a``. The hook sends at once and keeps no
    ledger: a task that sends with it and is retried sends again. The operators do not.

    Use it as a context manager, or an asynchronous one, to keep its connections open between calls.

    :param telekom_sms_conn_id: Airflow connection of type ``telekom_sms``
    """

    conn_name_attr = "telekom_sms_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = connection_form.HOOK_NAME

    def __init__(self, telekom_sms_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.telekom_sms_conn_id = telekom_sms_conn_id
        self._settings: Settings | None = None
        # Threads may share the hook: its parts are made under a lock.
        self._lock = threading.Lock()
        self._open_session: Session | None = None
        self._transport: Transport | None = None
        self._shared: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()

    get_connection_form_widgets = staticmethod(connection_form.widgets)
    get_ui_field_behaviour = staticmethod(connection_form.behaviour)

    @property
    def settings(self) -> Settings:
        """
        What the connection says.

        :raises ConfigurationError: naming what is wrong with it
        """
        if self._settings is None:
            self._settings = _settings(self.get_connection(self.telekom_sms_conn_id))
        return self._settings

    async def aget_settings(self) -> Settings:
        """Give what the connection says, without blocking the event loop."""
        if self._settings is None:
            self._settings = _settings(await self._aget_connection())
        return self._settings

    async def _aget_connection(self) -> Connection:
        if AIRFLOW_V_3_3_2_PLUS:
            return await self.aget_connection(self.telekom_sms_conn_id)
        from asgiref.sync import sync_to_async

        # Before, Airflow's own blocks amid what other triggers ask, and fails: DeadlockImminentError.
        return await sync_to_async(self.get_connection)(self.telekom_sms_conn_id)

    @property
    def _session(self) -> Session:
        from airflow.sdk.log import mask_secret

        from airflow_provider_telekom_sms.api.http import Session

        with self._lock:
            if self._open_session is None:
                self._open_session = Session(on_login=mask_secret)
            return self._open_session

    def get_conn(self) -> Transport:
        """Give the blocking transport; it logs in by itself and may be shared by threads."""
        from airflow_provider_telekom_sms.transport import Transport

        settings, session = self.settings, self._session
        with self._lock:
            if self._transport is None:
                self._transport = Transport(settings, session)
            return self._transport

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.close()

    async def __aenter__(self) -> Self:
        await self._shared_transport.enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._shared_transport.leave()

    @contextlib.asynccontextmanager
    async def async_transport(self, *, connections: int = 16) -> AsyncIterator[AsyncTransport]:
        """
        Open an asynchronous transport of one's own.

        :param connections: how many connections may be open at once
        """
        from airflow_provider_telekom_sms.transport import AsyncTransport

        settings = await self.aget_settings()
        async with AsyncTransport(settings, self._session, connections=connections) as transport:
            yield transport

    @property
    def _shared_transport(self) -> _Shared:
        loop = asyncio.get_running_loop()
        if loop not in self._shared:
            self._shared[loop] = _Shared(self)
        return self._shared[loop]

    def _run(self, make: Callable[[Settings, Credential], Call[T]]) -> T:
        transport = self.get_conn()
        return transport.run(transport.call(lambda credential: make(transport.settings, credential)))

    async def _arun(self, make: Callable[[Settings, Credential], Call[T]]) -> T:
        shared = self._shared_transport
        transport = await shared.enter()
        try:
            return await transport.run(
                transport.call(lambda credential: make(transport.settings, credential))
            )
        finally:
            await shared.leave()

    def send_message(self, to: str, text: str, **options: Unpack[MessageOptions]) -> Receipt:
        """
        Send one message at once (manual v1, send_message).

        :param to: a Slovak mobile number, in any usual spelling
        :param text: the text
        :param sender: sender number or name; by default the connection's, then the account's
        :param callback: report delivery to the URL in the key's settings (the API's default: true)
        :param delivery_time: when to send; a naive time is Europe/Bratislava, a past one means at once
        :param priority: 1 (low), 2 (standard), 3 (high)
        :param validity: minutes, 1 to 1440, after which an unsent message is dropped
        :param unicode: False strips diacritics and sends GSM-7, True sends UTF-16, None finds out
        :param message_type: ``standard`` or ``flash``
        :param group_id: cadence group through which to send
        :param prefer_rcs: try RCS first; the number's format tells the API
        :raises InvalidMessageError: for a wrong parameter; nothing was sent
        :raises TelekomSmsError: whose ``fate`` says what became of the message
        """
        return self._run(_send_message(to, text, options))

    async def asend_message(self, to: str, text: str, **options: Unpack[MessageOptions]) -> Receipt:
        """Send one message at once; the twin of :meth:`send_message`."""
        return await self._arun(_send_message(to, text, options))

    def send_multichannel(
        self, message: MultichannelMessage | Mapping[str, Any], *, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> list[Receipt]:
        """
        Send a message over RCS, SMS or both at once (manual v2, message).

        :param message: the message, or its dict in the manual's spelling; ``rcs.from`` and ``sms.from`` are
            the connection's where it names none
        :param batch_size: recipients of one request
        :return: a receipt for each recipient in order. Its ``status`` is ``success``, ``error`` (refused),
            ``unknown`` (it may have been taken) or ``not_sent``
        :raises InvalidMessageError: naming every path that is wrong; nothing was sent
        :raises TelekomSmsError: where none was taken and all met the same fate, which ``fate`` tells
        """
        make = _send_multichannel(message, batch_size)
        transport = self.get_conn()
        return transport.run(make(transport.settings))

    async def asend_multichannel(
        self, message: MultichannelMessage | Mapping[str, Any], *, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> list[Receipt]:
        """Send a message over RCS, SMS or both at once; the twin of :meth:`send_multichannel`."""
        make = _send_multichannel(message, batch_size)
        shared = self._shared_transport
        transport = await shared.enter()
        try:
            return await transport.run(make(transport.settings))
        finally:
            await shared.leave()

    def check_message(self, message_id: str | int) -> DeliveryStatus:
        """
        Ask what became of a message (manual v1, check_message).

        :param message_id: from the receipt
        :raises MessageNotFoundError: when the API knows no such message
        """
        return self._run(_check_message(message_id))

    async def acheck_message(self, message_id: str | int) -> DeliveryStatus:
        """Ask what became of a message; the twin of :meth:`check_message`."""
        return await self._arun(_check_message(message_id))

    def ping(self) -> None:
        """Keep the session alive (manual v1, ping)."""
        self._run(_ping)

    async def aping(self) -> None:
        """Keep the session alive; the twin of :meth:`ping`."""
        await self._arun(_ping)

    def sms_groups(self, limit: int | None = None, start_from: int | None = None) -> list[SmsGroup]:
        """
        List the cadence groups (manual v1, sms-groups).

        :param limit: how many
        :param start_from: from which on
        """
        return self._run(_sms_groups(limit, start_from))

    async def asms_groups(self, limit: int | None = None, start_from: int | None = None) -> list[SmsGroup]:
        """List the cadence groups; the twin of :meth:`sms_groups`."""
        return await self._arun(_sms_groups(limit, start_from))

    def check_phone_number(self, phone_number: str) -> NumberInfo:
        """
        Ask whether a number exists, and whose it is (manual v1, check_phone_number).

        :param phone_number: a Slovak number in any usual spelling; sent in the national form
        :raises InvalidPhoneNumberError: for anything else; nothing was asked
        """
        return self._run(_check_phone_number(phone_number))

    async def acheck_phone_number(self, phone_number: str) -> NumberInfo:
        """Ask whether a number exists; the twin of :meth:`check_phone_number`."""
        return await self._arun(_check_phone_number(phone_number))

    def test_connection(self) -> tuple[bool, str]:
        """Log in, for the Test button of Airflow's connection form."""
        from airflow_provider_telekom_sms.api import v1
        from airflow_provider_telekom_sms.exceptions import TelekomSmsError
        from airflow_provider_telekom_sms.transport import Transport

        try:
            # Without retries: who pressed the button is waiting.
            with Transport(self.settings, retry_for=0) as transport:
                transport.run(v1.auth(transport.settings.wire, transport.settings.token))
        except TelekomSmsError as error:
            return False, str(error)
        except Exception as error:
            # Not what it says, for only our own errors surely hold no secret.
            return False, f"Connection {self.telekom_sms_conn_id!r} cannot be used: {type(error).__name__}"
        return True, f"Logged in at {transport.settings.base_url}"


class _Shared:
    """One asynchronous transport for all calls that overlap on an event loop; closed by the last."""

    def __init__(self, hook: TelekomSmsHook) -> None:
        self._hook = hook
        self._users = 0
        self._opening = asyncio.Lock()
        self._transport: AsyncTransport | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def enter(self) -> AsyncTransport:
        from airflow_provider_telekom_sms.transport import AsyncTransport

        async with self._opening:
            if self._transport is None:
                settings = await self._hook.aget_settings()
                transport = AsyncTransport(settings, self._hook._session, connections=100)
                self._transport = await transport.__aenter__()
            self._users += 1
            return self._transport

    async def leave(self) -> None:
        # Nothing is awaited before the count is right, and the closing goes on if who leaves is cancelled.
        self._users -= 1
        if self._users == 0 and self._transport is not None:
            transport, self._transport = self._transport, None
            closing = asyncio.create_task(transport.__aexit__())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)


def _settings(connection: Connection) -> Settings:
    from airflow_provider_telekom_sms.exceptions import ConfigurationError
    from airflow_provider_telekom_sms.settings import DEFAULT_HOST, Settings

    kind = (connection.conn_type or CONN_TYPE).replace("-", "_")
    if kind != CONN_TYPE:
        # The password of another system must not travel to the API as a key.
        raise ConfigurationError(
            f"Connection {connection.conn_id!r} is of type {kind!r}; allowed: {CONN_TYPE!r}"
        )
    host = connection.host or ""
    if host and "://" not in host and connection.schema in ("http", "https"):
        host = f"{connection.schema}://{host}"
    if connection.port:
        host = (host or DEFAULT_HOST).strip().rstrip("/")
        host = host if host.endswith(f":{connection.port}") else f"{host}:{connection.port}"
    return Settings.parse(connection.conn_id, password=connection.password, host=host, extra=connection.extra)


# Each call is prepared once, for the method and for its twin.


def _send_message(
    to: str, text: str, options: MessageOptions
) -> Callable[[Settings, Credential], Call[Receipt]]:
    from airflow_provider_telekom_sms.api import v1
    from airflow_provider_telekom_sms.api.messages import SmsParameters, check_text
    from airflow_provider_telekom_sms.api.phone import parse_mobile, wire_form

    given: dict[str, Any] = dict(options)
    wire_to = wire_form(parse_mobile(to), bool(given.pop("prefer_rcs", False)))
    checked = check_text(text)
    parameters = SmsParameters.check(**given)

    def make(settings: Settings, credential: Credential) -> Call[Receipt]:
        sent = parameters.with_default_sender(settings.sender)
        return v1.send_message(settings.wire, credential, wire_to, checked, sent)

    return make


def _send_multichannel(
    message: MultichannelMessage | Mapping[str, Any], batch_size: int
) -> Callable[[Settings], Call[list[Receipt]]]:
    from airflow_provider_telekom_sms.api import v2
    from airflow_provider_telekom_sms.api.messages import MultichannelMessage
    from airflow_provider_telekom_sms.exceptions import ConfigurationError

    if not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigurationError(f"batch_size: found {batch_size!r}, allowed: 1 or more")
    checked = MultichannelMessage.check(message)
    for warning in checked.warnings:
        log.warning("%s", warning)
    return lambda settings: v2.send_in_batches(
        settings.token, v2.with_senders(checked.payload(), settings.sender, settings.rcs_agent), batch_size
    )


def _check_message(message_id: str | int) -> Callable[[Settings, Credential], Call[DeliveryStatus]]:
    from airflow_provider_telekom_sms.api import v1

    return lambda settings, credential: v1.check_message(settings.wire, credential, str(message_id))


def _ping(settings: Settings, credential: Credential) -> Call[None]:
    from airflow_provider_telekom_sms.api import v1
    from airflow_provider_telekom_sms.exceptions import ConfigurationError

    if "session_id" not in credential:
        raise ConfigurationError("ping keeps a session alive; with auth=token there is none")
    return v1.ping(settings.wire, credential)


def _sms_groups(
    limit: int | None, start_from: int | None
) -> Callable[[Settings, Credential], Call[list[SmsGroup]]]:
    from airflow_provider_telekom_sms.api import v1

    return lambda settings, credential: v1.sms_groups(settings.wire, credential, limit, start_from)


def _check_phone_number(phone_number: str) -> Callable[[Settings, Credential], Call[NumberInfo]]:
    from airflow_provider_telekom_sms.api import v1
    from airflow_provider_telekom_sms.api.phone import national_form

    number = national_form(phone_number)
    return lambda settings, credential: v1.check_phone_number(settings.wire, credential, number)
