"""What the simulator knows: sessions, messages, the record of requests, and the faults on order."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_telekom_sms.simulator import payloads
from airflow_provider_telekom_sms.simulator.fates import FATES, Channel, fate_of, has_rcs
from airflow_provider_telekom_sms.simulator.faults import Fault
from airflow_provider_telekom_sms.simulator.judge import BRATISLAVA, Verdict, recipient_number
from airflow_provider_telekom_sms.simulator.records import CallbackRecord, Message, RequestRecord
from airflow_provider_telekom_sms.simulator.replies import Group

DEFAULT_TOKEN = "simulator-key-simulator-key-simulator-key-simulator-key-00000001"  # noqa: S105
"""The API key when none is set; 64 characters, as the manual prints them."""

RECORD_LENGTH = 100_000
FIRST_MESSAGE_ID = 100_427
COOKIE = "sms_api"
V2_REPLIES = ("external_id", "order", "shuffled", "short", "v1_names", "strange")
RCS = ("all", "by_number", "none")


@dataclass
class Settings:
    """
    How the simulator behaves. Every value may be changed while it runs.

    :param tokens: the API keys
    :param allow_get: whether the keys allow GET
    :param session_seconds: how long a session outlives its last use (auth: 15 minutes)
    :param deny_ip: whether every caller is answered IP_NOT_ALLOWED
    :param speed: factor for the progress of delivery
    :param latency_ms: wait before every reply
    :param fate: one fate for all numbers, instead of the table by last digits
    :param groups: the cadence groups
    :param groups_json: ``list``, ``object`` or ``none``: how sms-groups shows them in JSON, where the manual
        prints none
    :param v2_reply: one of ``V2_REPLIES``: how v2 answers, of which the manual shows nothing; see
        ``messages_v2``
    :param rcs: ``all``, ``by_number`` (``fates.has_rcs``) or ``none``: which numbers have RCS
    :param fallback_gap: seconds at speed 1 for which the failure of a channel stands before the next one
    :param callback_url: what is called for messages of v1 (the manual: in the settings of the API key)
    :param inbound_url: what is called for inbound messages
    :param callback_hosts: the hosts that may be called beside this machine; ``*`` for any
    :param callback_speed: factor for the waits between attempts
    :param callback_timeout: seconds until an attempt has failed
    :param callback_duplicates: how many times more each callback is sent
    :param callback_shuffle: send the status callbacks of a message in the wrong order, every two swapped
    :param callback_before_reply: hold the reply to a send until the first callback of each message was tried
    :param callback_trailing_comma: write callbacks as the manual prints them, which is not strict JSON
    :param postback_shape: one of ``payloads.POSTBACKS``: the manual shows none
    """

    tokens: Collection[str] = (DEFAULT_TOKEN,)
    allow_get: bool = False
    session_seconds: float = 900.0
    deny_ip: bool = False
    speed: float = 1.0
    latency_ms: float = 0.0
    fate: str | None = None
    groups: Sequence[Group] = field(
        default_factory=lambda: [
            Group(1000, "Ranná vlna", note="Od 8:00"),
            Group(1001, "Večerná vlna", is_paused=True, note="Od 17:00"),
        ]
    )
    groups_json: str = "list"
    v2_reply: str = "external_id"
    rcs: str = "by_number"
    fallback_gap: float = 2.0
    callback_url: str | None = None
    inbound_url: str | None = None
    callback_hosts: Collection[str] = ()
    callback_speed: float = 1.0
    callback_timeout: float = 5.0
    callback_duplicates: int = 0
    callback_shuffle: bool = False
    callback_before_reply: bool = False
    callback_trailing_comma: bool = False
    postback_shape: str = "nested"

    def __post_init__(self) -> None:
        """Refuse values that no reply could be made from."""
        if self.fate is not None and self.fate not in FATES:
            raise ValueError(f"no fate {self.fate!r}; there are {', '.join(FATES)}")
        for name, allowed in {
            "groups_json": ("list", "object", "none"),
            "v2_reply": V2_REPLIES,
            "rcs": RCS,
            "postback_shape": tuple(payloads.POSTBACKS),
        }.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"no {name} {getattr(self, name)!r}; there are {', '.join(allowed)}")
        for name in ("callback_url", "inbound_url"):
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"{name} must be a text")
        if self.callback_speed <= 0:
            raise ValueError("callback_speed must be positive")


class State:
    """
    Everything the simulator remembers; every method may be called from any thread.

    :param settings: how it behaves
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.lock = threading.RLock()
        self._next_id = FIRST_MESSAGE_ID
        self.era = 0
        self.wake: Callable[[], None] = lambda: None
        self._clear()

    def _clear(self) -> None:
        self._messages: dict[int, Message] = {}
        self._per_number: Counter[str] = Counter()
        self._requests: deque[RequestRecord] = deque(maxlen=RECORD_LENGTH)
        self._per_endpoint: Counter[str] = Counter()
        self._violations: deque[str] = deque(maxlen=RECORD_LENGTH)
        self._violation_count = 0
        self._logins = 0
        self._sessions: dict[str, float] = {}
        self._cookies: dict[str, str] = {}
        self._faults: list[tuple[Fault, int]] = []
        self._ip_fault = False
        self._callbacks: deque[CallbackRecord] = deque(maxlen=RECORD_LENGTH)
        self._called: set[int | None] = set()
        self.errands: deque[Message | payloads.Callback] = deque()
        self.era += 1

    def reset(self) -> None:
        """Forget everything but the settings; message ids go on, so that an old one stays unknown."""
        with self.lock:
            self._clear()
        self.wake()

    # What a test asks.

    @property
    def messages(self) -> list[Message]:
        """Every message taken, oldest first."""
        with self.lock:
            return list(self._messages.values())

    @property
    def requests(self) -> list[RequestRecord]:
        """The last 100,000 requests that were fully received."""
        with self.lock:
            return list(self._requests)

    @property
    def violations(self) -> list[str]:
        """The last 100,000 deviations from the manual."""
        with self.lock:
            return list(self._violations)

    @property
    def callbacks(self) -> list[CallbackRecord]:
        """The last 100,000 attempts to call a URL."""
        with self.lock:
            return list(self._callbacks)

    @property
    def logins(self) -> int:
        """How many sessions auth has given."""
        with self.lock:
            return self._logins

    def message(self, message_id: int | str) -> Message | None:
        """
        Return a message.

        :param message_id: what send_message answered
        """
        with self.lock:
            return self._messages.get(int(message_id))

    def messages_per_number(self) -> dict[str, int]:
        """Return how many messages were taken for each number (4219xxxxxxxx)."""
        with self.lock:
            return dict(self._per_number)

    def summary(self) -> dict[str, Any]:
        """Return the counts."""
        with self.lock:
            return {
                "requests": self._per_endpoint.total(),
                "requests_per_endpoint": dict(self._per_endpoint),
                "logins": self._logins,
                "sessions": len(self._sessions),
                "messages": len(self._messages),
                "numbers": len(self._per_number),
                "callbacks": len(self._callbacks),
                "repeated_numbers": {n: count for n, count in self._per_number.items() if count > 1},
                "violations": self._violation_count,
                "faults": [fault.shown() for fault in self.faults],
            }

    # What a test orders.

    @property
    def faults(self) -> list[Fault]:
        """The faults on order."""
        with self.lock:
            return [fault for fault, _ in self._faults]

    def order(self, fault: Fault) -> Fault:
        """
        Order a fault.

        :param fault: the fault; its counters go on while it is on order
        """
        with self.lock:
            self._faults.append((fault, len(self._messages)))
        return fault

    def clear_faults(self) -> None:
        """Cancel all faults, and lift an IP_NOT_ALLOWED that one of them has brought."""
        with self.lock:
            self._faults.clear()
            self._ip_fault = False

    def set_status(self, message_id: int | str, code: str) -> None:
        """
        Fix the status of a message from now on.

        :param message_id: the message
        :param code: any code: the operator's list is open
        """
        if not isinstance(code, str):
            raise ValueError("a code must be a text")
        with self.lock:
            message = self._messages[int(message_id)]
            message.fixed = (code, time.time())
            self._run_errand(message)

    def set_fate(self, message_id: int | str, fate: str) -> None:
        """
        Give a message another fate, and lift a status that was fixed.

        :param message_id: the message
        :param fate: one of ``fates.FATES``
        """
        if fate not in FATES:
            raise ValueError(f"no fate {fate!r}; there are {', '.join(FATES)}")
        with self.lock:
            message = self._messages[int(message_id)]
            message.fate, message.fixed = fate, None
            self._run_errand(message)

    def click(self, message_id: int | str, postback_data: str, text: str | None = None) -> dict[str, Any]:
        """
        Let the recipient of a message choose one of its suggestions.

        :param message_id: the message
        :param postback_data: the suggestion's ``postbackData``
        :param text: what its button says; None for what the message says
        :return: what is kept in ``message.replies``
        """
        with self.lock:
            message = self._messages[int(message_id)]
            if text is None:
                text = payloads.button_text(message.body, postback_data)
            reply = {"time": time.time(), "postbackData": postback_data, "text": text}
            message.replies.append(reply)
            payload = payloads.postback(message, reply, self.settings.postback_shape)
            for url in message.callback_urls.get("postback", ()):
                self._run_errand(payloads.Callback(url, message.id, payload, self.era))
        return reply

    def inbound(self, number: str, text: str, channel: str = "sms") -> None:
        """
        Let a phone write to the account; ``Settings.inbound_url`` is called.

        :param number: the phone, in any of the manual's formats
        :param text: what it writes
        :param channel: sms or rcs
        """
        with self.lock:
            if url := self.settings.inbound_url:
                payload = payloads.inbound(recipient_number(number), text, channel)
                self._run_errand(payloads.Callback(url, None, payload, self.era))

    def expire_sessions(self) -> None:
        """Let all sessions die."""
        with self.lock:
            self._sessions.clear()

    # What the endpoints need; they hold the lock.

    def note(self, violations: Sequence[str]) -> None:
        """
        Keep deviations from the manual.

        :param violations: their texts
        """
        with self.lock:
            self._violations.extend(violations)
            self._violation_count += len(violations)

    def record(self, request: RequestRecord) -> None:
        """
        Keep a request.

        :param request: the request
        """
        with self.lock:
            self._requests.append(request)
            self._per_endpoint[request.endpoint] += 1

    def record_callback(self, era: int, record: CallbackRecord) -> None:
        """
        Keep an attempt to call a URL.

        :param era: the state's ``era`` when the callback was meant; one from before a reset is not kept
        :param record: the attempt
        """
        with self.lock:
            if era == self.era:
                self._callbacks.append(record)
                self._called.add(record.message_id)

    def was_called(self, message_id: int) -> bool:
        """
        Whether a callback of a message was tried.

        :param message_id: the message
        """
        with self.lock:
            return message_id in self._called

    def choose_fault(self, endpoint: str, numbers: Sequence[str]) -> Fault | None:
        """
        Return the fault that hits a request.

        :param endpoint: the endpoint asked
        :param numbers: its recipients
        """
        for fault, taken_before in self._faults:
            if fault.hit(endpoint, numbers, len(self._messages) - taken_before):
                self._ip_fault = self._ip_fault or fault.name == "ip"
                return fault
        return None

    @property
    def ip_denied(self) -> bool:
        """Whether callers are answered IP_NOT_ALLOWED."""
        return self.settings.deny_ip or self._ip_fault

    def log_in(self) -> tuple[str, str]:
        """Open a session; return its id and the value of its cookie."""
        now = time.monotonic()
        oldest = now - self.settings.session_seconds
        self._sessions = {key: used for key, used in self._sessions.items() if used > oldest}
        self._cookies = {cookie: key for cookie, key in self._cookies.items() if key in self._sessions}
        session_id = str(uuid.uuid1())
        # The manual's cookie is encrypted: nobody must find the id in it.
        cookie = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
        self._sessions[session_id] = now
        self._cookies[cookie] = session_id
        self._logins += 1
        return session_id, cookie

    def session_of(self, values: dict[str, Any], cookie: str | None) -> str | None:
        """
        Return the session that a request names, by parameter or by cookie, dead or alive.

        :param values: its parameters
        :param cookie: the value of its cookie
        """
        return values.get("session_id") or self._cookies.get(cookie or "")

    def use_session(self, session_id: str) -> bool:
        """
        Refresh a session; False if it is not there or has expired (auth: 15 minutes of inactivity).

        :param session_id: the session
        """
        now, used = time.monotonic(), self._sessions.get(session_id)
        if used is None or now - used >= self.settings.session_seconds:
            return False
        self._sessions[session_id] = now
        return True

    def end_session(self, session_id: str | None) -> None:
        """
        Let one session die.

        :param session_id: the session
        """
        self._sessions.pop(session_id or "", None)

    def fate_for(self, to: str) -> str:
        """
        Return the fate of a message to a number.

        :param to: the recipient
        """
        return self.settings.fate or fate_of(to)

    def knows_rcs(self, number: str) -> bool:
        """
        Whether the phone of a number knows RCS.

        :param number: the recipient
        """
        return has_rcs(number) if self.settings.rcs == "by_number" else self.settings.rcs == "all"

    def take(self, verdict: Verdict, parts: int) -> Message:
        """
        Take a message of v1.

        :param verdict: the judged request
        :param parts: the number of its parts
        """
        values = verdict.values
        scheduled: datetime | None = values.get("delivery_time")
        # The manual says nothing of a fallback in v1: whoever has no RCS is sent an SMS at once.
        prefer_rcs = not values["to"].startswith("4")
        channel = Channel("rcs" if prefer_rcs and self.knows_rcs(values["to"]) else "sms")
        url = self.settings.callback_url if values.get("callback", True) else None
        return self.add(
            values["to"],
            scheduled.timestamp() if scheduled else 0,
            prefer_rcs=prefer_rcs,
            text=values["text"],
            parameters={k: v for k, v in verdict.parameters.items() if k not in ("token", "session_id")},
            parts=parts,
            channels=(channel,),
            in_group="groupId" in verdict.parameters,
            callback_urls={"dsn": [url]} if url else {},
        )

    def add(self, to: str, not_before: float, **fields: Any) -> Message:
        """
        Add a message.

        :param to: the recipient, in any of the manual's formats
        :param not_before: when its delivery may begin, in seconds since the epoch
        :param fields: what ``Message`` holds besides
        """
        now, _ = self.clock()
        message = Message(
            id=self._next_id,
            number=recipient_number(to),
            taken_at=now,
            starts_at=max(now, not_before),
            fate=self.fate_for(to),
            gap=self.settings.fallback_gap,
            clock=self.clock,
            **fields,
        )
        self._next_id += 1
        self._messages[message.id] = message
        self._per_number[message.number] += 1
        self._run_errand(message)
        return message

    def clock(self) -> tuple[float, float]:
        """Return the time, and the factor for the progress of delivery."""
        return time.time(), self.settings.speed

    def _run_errand(self, errand: Message | payloads.Callback) -> None:
        if isinstance(errand, Message) and not errand.callback_urls.get("dsn"):
            return
        self.errands.append(errand)
        self.wake()


def local_time(moment: float | None) -> str:
    """
    Return a time as check_message writes it: Bratislava's clock, or nothing.

    :param moment: seconds since the epoch
    """
    if moment is None:
        return ""
    return datetime.fromtimestamp(moment, BRATISLAVA).strftime("%Y-%m-%d %H:%M:%S")
