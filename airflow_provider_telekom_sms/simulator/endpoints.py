"""The six endpoints of v1: what the API answers to a request that has been judged."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from airflow_provider_telekom_sms.simulator import replies
from airflow_provider_telekom_sms.simulator.fates import STATUSES
from airflow_provider_telekom_sms.simulator.faults import Fault
from airflow_provider_telekom_sms.simulator.judge import Incoming, Verdict
from airflow_provider_telekom_sms.simulator.state import State, local_time
from airflow_provider_telekom_sms.simulator.text import MAX_PARTS, count_parts


@dataclass(slots=True)
class Answer:
    """
    What the API answers.

    :param body: the reply
    :param code: the code it carries
    :param cookie: a cookie to set
    :param message_ids: the messages that were taken
    :param http_status: always 200 in v1
    """

    body: bytes
    code: str = replies.OK
    cookie: str | None = None
    message_ids: list[int] = field(default_factory=list)
    http_status: int = 200


@dataclass(slots=True)
class Call:
    """
    A request on its way through the API.

    :param incoming: the request
    :param verdict: what the judge found
    :param client: the caller's IP address
    :param cookie: the value of its session cookie
    """

    incoming: Incoming
    verdict: Verdict
    client: str
    cookie: str | None

    def refused(self, code: str, description: str | None = None) -> Answer:
        """
        Return an error reply.

        :param code: the code
        :param description: the description; None for the one of the code
        """
        endpoint, wire = self.incoming.endpoint, self.incoming.wire
        if description is None:
            description = replies.describe(code, endpoint, self.client)
        return Answer(replies.error(wire, code, description), code)


def answer(state: State, call: Call, fault: Fault | None) -> Answer:
    """
    Answer a request; whoever calls holds the state's lock.

    :param state: the simulator's memory
    :param call: the request
    :param fault: the fault that hits it, if any
    """
    if fault and fault.name == "expire":
        state.end_session(state.session_of(call.verdict.values, call.cookie))
    elif fault and fault.name == "expire_every":
        state.expire_sessions()
    code = "IP_NOT_ALLOWED" if state.ip_denied else _authenticate(state, call)
    if code := code or call.verdict.refusal:
        return call.refused(code)
    if fault and fault.name == "credit":
        return call.refused("NO_CREDIT")
    if fault and fault.name == "error" and fault.level == "result":
        return call.refused(str(fault.code), fault.description)
    if fault and fault.name == "error":
        code = str(fault.code)
        return Answer(replies.not_sent(call.incoming.wire, code, fault.description), code)
    return _ENDPOINTS[call.incoming.endpoint](state, call)


def _authenticate(state: State, call: Call) -> str | None:
    values, endpoint = call.verdict.values, call.incoming.endpoint
    if token := values.get("token"):
        return None if token in state.settings.tokens else "API_TOKEN_NOT_FOUND"
    session_id = None if endpoint == "auth" else state.session_of(values, call.cookie)
    if not session_id:
        return "AUTHENTICATION_REQUIRED"
    if not state.use_session(session_id):
        return "SESSION_NOT_FOUND"
    if endpoint == "ping" and call.verdict.refusal == "AUTHENTICATION_REQUIRED":
        call.verdict.refusal = None  # the cookie stood in for the parameter
    return None


def _auth(state: State, call: Call) -> Answer:
    session_id, cookie = state.log_in()
    return Answer(replies.session(call.incoming.wire, session_id), cookie=cookie)


def _ping(state: State, call: Call) -> Answer:
    return Answer(replies.success(call.incoming.wire))


def _send_message(state: State, call: Call) -> Answer:
    values, wire = call.verdict.values, call.incoming.wire
    if code := _refused_sender(values.get("from")):
        return call.refused(code)
    parts = count_parts(values["text"], values.get("unicode"))
    if parts > MAX_PARTS:
        return call.refused("MESSAGE_TOO_LONG")
    if state.fate_for(values["to"]) == "rejected":
        code = "INCORRECT_RECIPIENT_ADDRESS"
        return Answer(replies.not_sent(wire, code, replies.DESCRIPTIONS[code]), code)
    message = state.take(call.verdict, parts)
    return Answer(replies.sent(wire, message.id, parts), message_ids=[message.id])


def _refused_sender(sender: str | None) -> str | None:
    # Not in this manual: a sister deployment's limits for a text instead of a number.
    if sender is None or re.fullmatch(r"\+?[0-9]{3,15}", sender):
        return None
    if not re.fullmatch(r"[A-Za-z0-9 .-]+", sender):
        return "TEXT_NUMBER_MUST_BE_ALPHANUMERIC"
    return "TEXT_NUMBER_LENGTH_EXCEED" if len(sender) > 11 else None


def _check_message(state: State, call: Call) -> Answer:
    message = state.message(call.verdict.values["message_id"])
    if message is None:
        return call.refused("MESSAGE_NOT_FOUND")
    code, arrived = message.status(time.time(), state.settings.speed)
    prose = STATUSES.get(code, code.capitalize())
    return Answer(replies.checked(call.incoming.wire, message.id, code, prose, local_time(arrived)))


def _sms_groups(state: State, call: Call) -> Answer:
    values = call.verdict.values
    # "Starting from the specified value" is read as an offset, as the example's 5 and 5 suggest.
    found = state.settings.groups[values.get("startFrom", 0) :][: values.get("limit")]
    return Answer(replies.groups(call.incoming.wire, found, state.settings.groups_json))


def _check_phone_number(state: State, call: Call) -> Answer:
    number: str = call.verdict.values["phone_number"]
    exists = state.fate_for(number) not in ("undeliverable", "rejected")
    return Answer(replies.phone_number(call.incoming.wire, exists, _operator(number)))


def _operator(number: str) -> str:
    network = number[-9:][:3]
    if "905" <= network <= "908" or "915" <= network <= "919":
        return "Orange"
    return {"94": "O2", "95": "4ka"}.get(network[:2], "Telekom")


_ENDPOINTS = {
    "auth": _auth,
    "ping": _ping,
    "send_message": _send_message,
    "check_message": _check_message,
    "sms-groups": _sms_groups,
    "check_phone_number": _check_phone_number,
}
