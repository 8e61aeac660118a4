"""What goes over the wire and comes back, without a socket; and what an API call is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """
    One HTTP request to the API.

    :param method: ``POST`` or ``GET``
    :param path: path below the base URL, e.g. ``/json/send_message``
    :param query: parameters of the URL, as text (GET only)
    :param headers: header fields
    :param body: the bytes of the body, None for GET
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __repr__(self) -> str:
        # Query, headers and body hold the key, the session, the number and the text.
        return f"<Request {self.method} {self.path}>"


@dataclass(frozen=True, slots=True)
class Response:
    """
    One HTTP reply of the API.

    :param status: HTTP status
    :param headers: header fields, names in lower case
    :param body: the decoded bytes of the body
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"


@dataclass(frozen=True, slots=True)
class SessionNeeded:
    """
    Asks the transport for a session id; it logs in once for all who wait.

    :param refused: the session id that the API no longer knows, None at first
    """

    refused: str | None = None

    def __repr__(self) -> str:
        return "<SessionNeeded>"


#: A call of the API: yields requests (or asks for a session), is sent the answers, returns its result.
#: The answer to a :class:`Request` is a :class:`Response`, the answer to :class:`SessionNeeded` a session id.
#: It does no I/O, so the same call runs over a blocking and over an asynchronous transport.
Call = Generator[Request | SessionNeeded, Any, T]

#: What a call logs in with: ``{"session_id": …}`` or ``{"token": …}``, never both.
Credential = Mapping[str, str]


def in_session(call: Callable[[Credential], Call[T]]) -> Call[T]:
    """
    Run a call in the shared session, and again in a new one while the API says SESSION_NOT_FOUND.

    :param call: makes the call for a credential
    :raises SessionNotFoundError: when even fresh sessions are refused
    """
    from airflow_provider_telekom_sms.exceptions import SessionNotFoundError

    refused: str | None = None
    for _ in range(SESSION_TRIES - 1):
        session_id = yield SessionNeeded(refused)
        try:
            return (yield from call({"session_id": str(session_id)}))
        except SessionNotFoundError:
            refused = str(session_id)
    session_id = yield SessionNeeded(refused)
    return (yield from call({"session_id": str(session_id)}))


#: With many messages in flight, a message can meet more than one dying session in a row.
SESSION_TRIES = 8
