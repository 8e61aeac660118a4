"""The notifier: a text when a task or a run ends, or misses its deadline."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.providers.common.compat.sdk import BaseNotifier, conf

from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    Fate,
    InvalidMessageError,
    LedgerUnavailableError,
    ReplyTimeoutError,
    TelekomSmsError,
)
from airflow_provider_telekom_sms.notifications.rendering import (
    Renderer,
    check_template,
    read_numbers,
    show_template,
    split_numbers,
)
from airflow_provider_telekom_sms.operators.fields import (
    PrivateField,
    is_template,
    reveal,
    show_phones,
    show_text,
)
from airflow_provider_telekom_sms.settings import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_telekom_sms.api.messages import SmsParameters
    from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook
    from airflow_provider_telekom_sms.ledger.store import Ledger
    from airflow_provider_telekom_sms.ledger.throttle import Claim
    from airflow_provider_telekom_sms.notifications.alert import Alert
    from airflow_provider_telekom_sms.settings import Settings
    from airflow_provider_telekom_sms.transport import AsyncTransport

log = logging.getLogger(__name__)

# Seconds; their sum is what an alert holds others up at most.
#: For the throttle, before the alert is sent without it.
LEDGER_PATIENCE = 8.0
#: For all requests of an alert.
SENDING = 10.0
#: To give the throttle back.
GIVE_BACK = 1.5

#: For one reply, unless the connection says less, seconds.
REPLY = 7.0
#: During which an API that cannot be reached is tried again, seconds.
RETRY_FOR = 5.0


class TelekomSmsNotifier(BaseNotifier):
    """
    Sends a text about a task or a run; fit for all callbacks of a DAG, and for its deadlines.

    It never fails what it reports on: trouble is logged. It sends at once and keeps no ledger; only
    ``throttle`` needs one. Beside what Airflow offers, templates know ``alert``, which is there in every kind
    of callback: :class:`~airflow_provider_telekom_sms.notifications.alert.Alert`.

    :param to: a Slovak mobile number in any usual spelling, a list of them, or a text of several with commas
    :param text: the text; by default what happened to which task and run, with the link to its log
    :param throttle: seconds, or timedelta, in which the same alert is sent once; the next one that is sent
        after them says how many were held back
    :param throttle_key: what makes alerts the same; by default DAG, what happened, and the recipients
    :param max_parts: SMS parts, 1 to 3, into which a longer text is shortened; its link is kept whole
    :param unicode: False has the API remove diacritics and sends GSM-7, 160 characters a part; True sends
        UTF-16, 70 a part; None finds out
    :param sender: sender number or name; by default the connection's, then the account's
    :param prefer_rcs: try RCS first
    :param priority: 1 (low), 2 (standard), 3 (high)
    :param validity: minutes, 1 to 1440, after which an unsent message is dropped
    :param message_type: ``standard`` or ``flash``
    :param telekom_sms_conn_id: Airflow connection of type ``telekom_sms``
    :param ledger_conn_id: Airflow connection of the ledger's database; by default what ``[telekom_sms]`` says
    :raises InvalidMessageError: when the DAG is parsed: a wrong parameter, or no number that can be sent to
    :raises ConfigurationError: when the DAG is parsed: a wrong ``throttle``
    """

    template_fields: Sequence[str] = ("to", "text", "sender", "throttle_key")
    #: Whatever the DAG wants for its operators: a list that became text is understood.
    render_template_as_native_obj = False

    to = PrivateField(show_phones)
    text = PrivateField(show_text)

    def __init__(
        self,
        to: str | Sequence[str],
        text: str | None = None,
        *,
        throttle: float | timedelta | None = None,
        throttle_key: str | None = None,
        max_parts: int = 1,
        unicode: bool | None = False,
        sender: str | None = None,
        prefer_rcs: bool = False,
        priority: int | None = None,
        validity: int | None = None,
        message_type: str | None = None,
        telekom_sms_conn_id: str = DEFAULT_CONN_ID,
        ledger_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.text = text
        self.throttle = throttle
        self.throttle_key = throttle_key
        self.max_parts = max_parts
        self.unicode = unicode
        self.sender = sender
        self.prefer_rcs = prefer_rcs
        self.priority = priority
        self.validity = validity
        self.message_type = message_type
        self.telekom_sms_conn_id = telekom_sms_conn_id
        self.ledger_conn_id = ledger_conn_id
        # With a context it is made where it is needed, and not where somebody could mend it.
        if not kwargs.get("context"):
            self._check()

    def __repr__(self) -> str:
        return f"<TelekomSmsNotifier to {show_template(self.to)}>"

    def __call__(self, *args: Any) -> None:
        """Send, as Airflow asks for it; unlike others this one does not write into the context."""
        self.notify(args[0] if args else self.context)

    def __await__(self) -> Generator[Any, None, None]:
        """Send, as the triggerer asks for it."""
        return self.async_notify(self.context).__await__()

    def notify(self, context: Context) -> None:
        """
        Send; returns after some 20 s at the latest, and raises nothing.

        :param context: of a task, of a run, or the reduced one of a deadline
        """
        with self._quietly():
            hook, message = self._hook(), self._message(context)
            _run(self._deliver(hook, hook.settings, message), LEDGER_PATIENCE + SENDING + GIVE_BACK)

    async def async_notify(self, context: Context) -> None:
        """
        Send without blocking the event loop; the twin of :meth:`notify`.

        :param context: of a task, of a run, or the reduced one of a deadline
        """
        with self._quietly():
            # In a thread: templates may ask Airflow for Variables and connections.
            hook, message = self._hook(), await asyncio.to_thread(self._message, context)
            await self._deliver(hook, await hook.aget_settings(), message)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            log.error("The alert was not sent: %s", _told(error))

    def _hook(self) -> TelekomSmsHook:
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook

        return TelekomSmsHook(self.telekom_sms_conn_id)

    def _check(self) -> None:
        """Refuse what is surely wrong while the author of the DAG is looking."""
        self._parameters(None if is_template(self.sender) else self.sender)
        if isinstance(self.max_parts, bool) or self.max_parts not in (1, 2, 3):
            raise InvalidMessageError(f"max_parts: found {self.max_parts!r}, allowed are 1, 2, 3")
        if self.throttle is not None:
            _window(self.throttle)
        for name in ("text", "throttle_key"):
            check_template(name, reveal(getattr(self, name)))
        given = split_numbers(reveal(self.to))
        numbers, wrong = read_numbers(one for one in given if not is_template(one))
        if not numbers and not any(map(is_template, given)):
            raise wrong[0] if wrong else InvalidMessageError("to: found no number, allowed are one or more")
        for error in wrong:
            warnings.warn(f"to: {error}; it gets no alert", stacklevel=3)

    def _parameters(self, sender: str | None) -> SmsParameters:
        from airflow_provider_telekom_sms.api.messages import SmsParameters

        return SmsParameters.check(
            sender=sender,
            unicode=self.unicode,
            priority=self.priority,
            validity=self.validity,
            message_type=self.message_type,
        )

    def _message(self, context: Context) -> _Message:
        """Render what is sent to whom; without a number there is nothing to send."""
        from airflow_provider_telekom_sms.notifications.alert import Alert, cleaned

        alert = Alert.read(context, conf.get("api", "base_url", fallback="") or "http://localhost:8080")
        renderer = Renderer(self, context, alert)
        numbers, wrong = read_numbers(renderer.numbers("to"))
        for error in wrong:
            log.warning("to: %s; it gets no alert", error)
        if not numbers:
            raise InvalidMessageError("to: found no number that a text can be sent to")
        text = cleaned(renderer.text("text"), self.unicode) or alert.text
        key = renderer.text("throttle_key") or "\0".join((alert.dag_id, alert.state, *sorted(numbers)))
        parameters = self._parameters(renderer.text("sender"))
        return _Message(alert, text, numbers, parameters, f"{self.telekom_sms_conn_id}\0{key}")

    async def _deliver(self, hook: TelekomSmsHook, settings: Settings, message: _Message) -> None:
        from airflow_provider_telekom_sms.transport import AsyncTransport

        urgent = replace(settings, timeout=min(settings.timeout, REPLY))
        with self._quietly():
            async with AsyncTransport(urgent, hook._session, retry_for=RETRY_FOR) as transport:
                may_go, claim = await self._claim(message.key)
                if not may_go:
                    log.info("The alert is held back: it is sent once in %s", _window(self.throttle))
                    return
                text = message.fitted(self.max_parts, claim.held_back if claim else 0)
                sends = (self._send(transport, number, text, message) for number in message.numbers)
                fates = set(await asyncio.gather(*sends))
            if claim and Fate.NOT_SENT in fates and fates <= {Fate.NOT_SENT, Fate.REJECTED}:
                await self._give_back(claim)

    async def _send(
        self, transport: AsyncTransport, number: str, text: str, message: _Message
    ) -> Fate | None:
        """Send to one number; give what became of the message if it was not sent."""
        from airflow_provider_telekom_sms.api import v1
        from airflow_provider_telekom_sms.api.phone import mask_phone, wire_form

        settings = transport.settings
        sent = message.parameters.with_default_sender(settings.sender)
        to = wire_form(number, self.prefer_rcs)
        try:
            await _in_time(
                transport.run(
                    transport.call(lambda login: v1.send_message(settings.wire, login, to, text, sent))
                )
            )
        except TelekomSmsError as error:
            log.error("The alert to %s: %s, %s", mask_phone(number), error.fate.value, _told(error))
            return error.fate
        log.info("The alert was sent to %s", mask_phone(number))
        return None

    async def _claim(self, key: str) -> tuple[bool, Claim | None]:
        """Tell whether the alert may be sent, and what it claimed for that."""
        from airflow_provider_telekom_sms.ledger.throttle import claim

        if self.throttle is None:
            return True, None
        try:
            claimed = await self._in_ledger(
                lambda ledger: claim(ledger, key, _window(self.throttle)), LEDGER_PATIENCE
            )
        except Exception as error:
            log.warning("The alert is sent without its throttle: %s", _told(error))
            return True, None
        return claimed is not None, claimed

    async def _give_back(self, claimed: Claim) -> None:
        from airflow_provider_telekom_sms.ledger.throttle import give_back

        try:
            await self._in_ledger(lambda ledger: give_back(ledger, claimed), GIVE_BACK)
        except Exception as error:
            log.warning("The throttle holds, although nothing was sent: %s", _told(error))

    async def _in_ledger(self, work: Callable[[Ledger], Any], patience: float) -> Any:
        from airflow_provider_telekom_sms.ledger.location import open_ledger

        def run() -> Any:
            ledger = open_ledger(self.ledger_conn_id)
            try:
                return work(ledger)
            finally:
                # Where hundreds fail at once, none may keep a connection from the others.
                ledger.close()

        last_try = time.monotonic() + patience - 1
        async with asyncio.timeout(patience):
            while True:
                try:
                    return await asyncio.to_thread(run)
                except LedgerUnavailableError:
                    # Its server may have had no connection left.
                    if time.monotonic() > last_try:
                        raise
                await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 not for secrets


class _Message(NamedTuple):
    """What is sent, before it is known how many others were held back."""

    alert: Alert
    text: str
    numbers: list[str]
    parameters: SmsParameters
    key: str

    def fitted(self, max_parts: int, held_back: int) -> str:
        from airflow_provider_telekom_sms.notifications.alert import fit

        note = f" (+{held_back} more)" if held_back else ""
        unicode = self.parameters.unicode
        return fit(self.text, self.alert, max_parts=max_parts, unicode=unicode, note=note)


def _window(throttle: Any) -> timedelta:
    """Give the throttle as a time; raises ConfigurationError for what is none."""
    from airflow_provider_telekom_sms.ledger.throttle import LONGEST

    given = throttle.total_seconds() if isinstance(throttle, timedelta) else throttle
    seconds = given if isinstance(given, int | float) and not isinstance(given, bool) else math.nan
    if not 0 < seconds <= LONGEST.total_seconds():
        raise ConfigurationError(
            f"throttle: found {throttle!r}, allowed are seconds or a timedelta, up to {LONGEST.days} days"
        )
    return timedelta(seconds=seconds)


def _told(error: BaseException) -> str:
    """Give what may be logged: only our own errors hold no secret, but the API's words may hold a number."""
    from airflow_provider_telekom_sms.api.phone import mask_phones_in

    return mask_phones_in(str(error)) if isinstance(error, TelekomSmsError) else type(error).__name__


async def _in_time(sending: Coroutine[Any, Any, Any]) -> None:
    try:
        async with asyncio.timeout(SENDING):
            await sending
    except TelekomSmsError:
        raise
    except TimeoutError:
        raise ReplyTimeoutError(f"not done in {SENDING:g} s") from None


def _run(sending: Coroutine[Any, Any, None], patience: float) -> None:
    """Run to its end, but wait no longer than that: looking up a name cannot be broken off."""
    done = threading.Event()

    async def run() -> None:
        try:
            await sending
        finally:
            done.set()

    # A thread of its own also where this one runs an event loop.
    threading.Thread(target=copy_context().run, args=(asyncio.run, run()), daemon=True).start()
    if not done.wait(patience):
        raise ReplyTimeoutError(f"not done in {patience:g} s")
