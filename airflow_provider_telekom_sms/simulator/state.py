"""What the simulator knows: sessions, messages, the record of requests, and the faults on order."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_telekom_sms.simulator.fates import (
    ARRIVED,
    FATES,
    IN_GROUP_SECONDS,
    fate_of,
    status_at,
)
from airflow_provider_telekom_sms.simulator.faults import Fault
from airflow_provider_telekom_sms.simulator.judge import BRATISLAVA, Verdict, recipient_number
from airflow_provider_telekom_sms.simulator.replies import Group

DEFAULT_TOKEN = "simulator-key-simulator-key-simulator-key-simulator-key-00000001"  # noqa: S105
"""The API key when none is set; 64 characters, as the manual prints them."""

RECORD_LENGTH = 100_000
FIRST_MESSAGE_ID = 100_427
COOKIE = "sms_api"


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

    def __post_init__(self) -> None:
        """Refuse values that no reply could be made from."""
        if self.fate is not None and self.fate not in FATES:
            raise ValueError(f"no fate {self.fate!r}; there are {', '.join(FATES)}")
        if self.groups_json not in ("list", "object", "none"):
            raise ValueError(f"no shape {self.groups_json!r}; there are list, object, none")


@dataclass(slots=True)
class Message:
    """
    A message that was taken.

    :param id: what send_message answered, or would have
    :param number: the recipient as 4219xxxxxxxx
    :param prefer_rcs: whether the format of ``to`` asks for RCS first
    :param text: the text
    :param parameters: the request's parameters as they came, without the key and the session
    :param parts: the number of parts
    :param taken_at: seconds since the epoch
    :param starts_at: when delivery begins: ``taken_at``, or a later ``delivery_time``
    :param fate: one of ``fates.FATES``
    :param fixed: a status set from outside, and its time
    """

    id: int
    number: str
    prefer_rcs: bool
    text: str
    parameters: dict[str, Any]
    parts: int
    taken_at: float
    starts_at: float
    fate: str
    fixed: tuple[str, float] | None = None

    def status(self, now: float, speed: float) -> tuple[str, float | None]:
        """
        Return the code, and the time of arrival if it has arrived.

        :param now: seconds since the epoch
        :param speed: factor for the progress of delivery
        """
        if self.fixed:
            code, since = self.fixed
            return code, since if code in ARRIVED else None
        if now < self.starts_at:
            return "SCHEDULED", None
        age, wait = (now - self.starts_at) * speed, 0.0
        if "groupId" in self.parameters:
            if age < IN_GROUP_SECONDS:
                return "IN_GROUP", None
            wait = IN_GROUP_SECONDS
        code, arrived = status_at(self.fate, age - wait)
        return code, None if arrived is None else self.starts_at + (arrived + wait) / speed


@dataclass(slots=True)
class RequestRecord:
    """
    A request that was fully received.

    :param time: seconds since the epoch
    :param endpoint: the endpoint
    :param wire: json or xml
    :param method: POST or GET
    :param parameters: its parameters as they came
    :param fault: the name of the fault that hit it
    :param code: the code of the result, or of the message if that was refused; None if the API never saw it
    :param message_id: the message that was taken
    """

    time: float
    endpoint: str
    wire: str
    method: str
    parameters: dict[str, Any]
    fault: str | None = None
    code: str | None = None
    message_id: int | None = None


class State:
    """
    Everything the simulator remembers; every method may be called from any thread.

    :param settings: how it behaves
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.lock = threading.RLock()
        self._next_id = FIRST_MESSAGE_ID
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

    def reset(self) -> None:
        """Forget everything but the settings; message ids go on, so that an old one stays unknown."""
        with self.lock:
            self._clear()

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
        with self.lock:
            self._messages[int(message_id)].fixed = (code, time.time())

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

    def choose_fault(self, endpoint: str, to: str) -> Fault | None:
        """
        Return the fault that hits a request.

        :param endpoint: the endpoint asked
        :param to: its recipient, empty if it has none
        """
        for fault, taken_before in self._faults:
            if fault.hit(endpoint, to, len(self._messages) - taken_before):
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

    def take(self, verdict: Verdict, parts: int) -> Message:
        """
        Take a message.

        :param verdict: the judged request
        :param parts: the number of its parts
        """
        values, now = verdict.values, time.time()
        scheduled: datetime | None = values.get("delivery_time")
        message = Message(
            id=self._next_id,
            number=recipient_number(values["to"]),
            prefer_rcs=not values["to"].startswith("4"),
            text=values["text"],
            parameters={k: v for k, v in verdict.parameters.items() if k not in ("token", "session_id")},
            parts=parts,
            taken_at=now,
            starts_at=max(now, scheduled.timestamp()) if scheduled else now,
            fate=self.fate_for(values["to"]),
        )
        self._next_id += 1
        self._messages[message.id] = message
        self._per_number[message.number] += 1
        return message


def local_time(moment: float | None) -> str:
    """
    Return a time as check_message writes it: Bratislava's clock, or nothing.

    :param moment: seconds since the epoch
    """
    if moment is None:
        return ""
    return datetime.fromtimestamp(moment, BRATISLAVA).strftime("%Y-%m-%d %H:%M:%S")
