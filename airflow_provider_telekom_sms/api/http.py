"""What goes over the wire and comes back, without a socket; and what an API call is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_provider_telekom_sms.exceptions import (
    ApiError,
    Fate,
    SessionNotFoundError,
    TelekomSmsError,
)

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


class SessionNeeded:
    """Asks the transport for a session id; it logs in once for all who wait."""


#: A call of the API: yields requests (or asks for a session), is sent the answers, returns its result.
#: The answer to a :class:`Request` is a :class:`Response`, the answer to :class:`SessionNeeded` a session id.
#: It does no I/O, so the same call runs over a blocking and over an asynchronous transport.
Call = Generator[Request | SessionNeeded, Any, T]

#: What a call logs in with: ``{"session_id": …}`` or ``{"token": …}``, never both.
Credential = Mapping[str, str]

#: So many sessions in a row that are refused before any call succeeds are no bad luck any more.
SESSION_TRIES = 8


@dataclass
class Session:
    """
    The session that all calls with one key share.

    :param id: its id, None while there is none
    :param on_login: told each new id
    :param in_vain: how many sessions in a row were refused before any call succeeded
    """

    id: str | None = None
    on_login: Callable[[str], None] = lambda _: None
    in_vain: int = 0

    def __repr__(self) -> str:
        return f"<Session {'open' if self.id else 'none'}>"

    def begin(self, session_id: str) -> None:
        """Take a new session."""
        self.on_login(session_id)
        self.id = session_id

    def refuse(self, session_id: str) -> None:
        """Learn that the API does not know a session any more; many calls in flight may tell it."""
        if self.id == session_id:
            self.id = None
            self.in_vain += 1


def in_session(call: Callable[[Credential], Call[T]], session: Session) -> Call[T]:
    """
    Run a call in the shared session, and again in a new one when the API says SESSION_NOT_FOUND.

    :param call: makes the call for a credential
    :param session: the session
    :raises SessionNotFoundError: when fresh sessions are refused too
    """
    while True:
        try:
            session_id: str = yield SessionNeeded()
        except TelekomSmsError as error:
            # Whatever went wrong with the login, the call itself has not left.
            error.fate, error.stops_campaign = Fate.NOT_SENT, True
            raise
        try:
            result = yield from call({"session_id": session_id})
        except SessionNotFoundError:
            # Others may have used up a session before this call came: what counts is that none got through.
            session.refuse(session_id)
            if session.in_vain >= SESSION_TRIES:
                raise
        except ApiError:
            session.in_vain = 0
            raise
        else:
            session.in_vain = 0
            return result
