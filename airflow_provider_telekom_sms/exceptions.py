"""
Every error this package raises on purpose.

::

    TelekomSmsError
    ├── ConfigurationError (ValueError)     connection, setting or ledger location: what the user sets up
    ├── InvalidMessageError (ValueError)    a parameter, text or time that the manual does not allow
    │   └── InvalidPhoneNumberError         not a number the API can send to
    ├── SourceError (ValueError)            file, column, encoding or template of a campaign
    │   └── SourceUnavailableError          the warehouse is away, perhaps only for a moment
    ├── PlanError                           the plan as a whole may not be sent (guards, a changed source)
    ├── CancelledError                      somebody cancelled the campaign
    ├── LedgerError                         the ledger cannot be reached or does not fit
    │   ├── LedgerUnavailableError          its server is away, perhaps only for a moment
    │   ├── CampaignBusyError               another task is planning the same campaign
    │   └── SupersededError                 this try was declared dead
    ├── InDoubtError                        messages whose fate is unknown stop the campaign
    ├── DeliveryError                       messages that were finally not delivered
    ├── TransportError
    │   ├── NotConnectedError (ConnectionError)    no connection was made           -> NOT_SENT
    │   ├── RateLimitedError                       HTTP 429                         -> NOT_SENT
    │   ├── ConnectionLostError (ConnectionError)  broke after the request left     -> UNKNOWN
    │   └── ReplyTimeoutError (TimeoutError)       no whole reply in time           -> UNKNOWN
    ├── UnreadableReplyError                HTML, empty, cut, huge, an unknown shape -> UNKNOWN
    └── ApiError                            the API answered with an error
        ├── SessionNotFoundError            session unknown or expired              -> NOT_SENT
        ├── AccountError                    key, account or sender: hits every message -> NOT_SENT, stops
        │   ├── AuthenticationError
        │   ├── IpNotAllowedError
        │   ├── CreditError
        │   └── SenderError
        ├── MessageNotFoundError            check_message knows no such id
        └── MessageRejectedError            this message was refused                -> REJECTED

What a failed send means for the message is the class attribute ``fate``; only ``NOT_SENT`` may ever be sent
again without asking a person.
"""

from __future__ import annotations

from enum import Enum


class Fate(Enum):
    """What an error says about the message that was being sent."""

    #: Surely never reached the operator: sending it again cannot double it.
    NOT_SENT = "not_sent"
    #: The operator refused it, finally.
    REJECTED = "rejected"
    #: It may or may not have been taken: never sent again silently.
    UNKNOWN = "unknown"


class TelekomSmsError(Exception):
    """Base of all errors of this package."""

    fate: Fate = Fate.UNKNOWN
    #: True where the next message would meet the same error, so that a campaign stops at once.
    stops_campaign: bool = False


class ConfigurationError(TelekomSmsError, ValueError):
    """A connection, a setting or the place of the ledger is wrong; the message names it."""

    fate = Fate.NOT_SENT
    stops_campaign = True


class InvalidMessageError(TelekomSmsError, ValueError):
    """A parameter of a message is not allowed; the message names parameter, found and allowed."""

    fate = Fate.REJECTED


class InvalidPhoneNumberError(InvalidMessageError):
    """Not a phone number that the API can send to; the message shows it masked."""


class SourceError(TelekomSmsError, ValueError):
    """A source of rows (file, column, encoding, template) cannot be used; nothing was planned or sent."""

    fate = Fate.NOT_SENT


class SourceUnavailableError(SourceError):
    """A source of rows cannot be reached; another try may find it."""


class PlanError(TelekomSmsError):
    """A campaign's plan may not be sent as it stands."""

    fate = Fate.NOT_SENT


class CancelledError(TelekomSmsError):
    """Somebody cancelled the campaign: what was not sent by then never will be."""

    fate = Fate.NOT_SENT


class LedgerError(TelekomSmsError):
    """The ledger cannot be opened, written, or is not the one the campaign was begun in."""

    fate = Fate.NOT_SENT
    stops_campaign = True


class LedgerUnavailableError(LedgerError):
    """The ledger's server is away: it was stopped, restarts, or cannot be reached."""


class CampaignBusyError(LedgerError):
    """Another task is planning the same campaign; what it plans decides what is a duplicate."""


class SupersededError(LedgerError):
    """A try was declared dead: a later one began, or it was silent for longer than its lease."""


class InDoubtError(TelekomSmsError):
    """Messages whose fate is unknown; ``on_in_doubt`` says what to do with them."""


class DeliveryError(TelekomSmsError):
    """Messages were finally not delivered."""


class TransportError(TelekomSmsError):
    """Trouble between this machine and the API."""


class NotConnectedError(TransportError, ConnectionError):
    """No connection was made (refused, DNS, TLS, connect time-out): the request never left."""

    fate = Fate.NOT_SENT
    stops_campaign = True


class RateLimitedError(TransportError):
    """
    HTTP 429: the API did not take the request.

    :param retry_after: seconds the API asks to wait, if it said so
    """

    fate = Fate.NOT_SENT
    stops_campaign = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConnectionLostError(TransportError, ConnectionError):
    """The connection broke after the request left."""


class ReplyTimeoutError(TransportError, TimeoutError):
    """The request left, and no whole reply came in time."""


class UnreadableReplyError(TelekomSmsError):
    """A reply that is not what the manual describes: HTML, empty, cut, huge, a 5xx, an unknown shape."""


class ApiError(TelekomSmsError):
    """
    The API answered with an error (manual v1, the error example of each function).

    :param code: the API's ``code``, as it came; the list of codes is open
    :param description: the API's ``description``, as it came; may be in Slovak
    """

    fate = Fate.REJECTED

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description

    def __reduce__(self) -> tuple[type[ApiError], tuple[str, str]]:
        return type(self), (self.code, self.description)


class SessionNotFoundError(ApiError):
    """SESSION_NOT_FOUND: the session is unknown or has expired; the request was not carried out."""

    fate = Fate.NOT_SENT
    stops_campaign = True


class AccountError(ApiError):
    """An error of the key or the account: every further message would meet it too."""

    fate = Fate.NOT_SENT
    stops_campaign = True


class AuthenticationError(AccountError):
    """The key is missing, unknown or may not use this interface or method."""


class IpNotAllowedError(AccountError):
    """IP_NOT_ALLOWED: the key is not allowed from this machine's address."""


class CreditError(AccountError):
    """No credit left, or a limit of the account is reached."""


class SenderError(AccountError):
    """The sender (``from``) may not be used with this account."""


class MessageNotFoundError(ApiError):
    """MESSAGE_NOT_FOUND: check_message knows no message with this id."""


class MessageRejectedError(ApiError):
    """The API refused this message."""


_BY_CODE: dict[str, type[ApiError]] = {
    "SESSION_NOT_FOUND": SessionNotFoundError,
    "AUTHENTICATION_REQUIRED": AuthenticationError,
    "API_TOKEN_NOT_FOUND": AuthenticationError,
    "API_INTERFACE_DISABLED": AuthenticationError,
    "GET_REQUEST_FORBIDDEN": AuthenticationError,
    "IP_NOT_ALLOWED": IpNotAllowedError,
    "NO_CREDIT": CreditError,
    "PRIMARY_NUMBER_TEXT_NUMBERS_DISABLED": SenderError,
    "VIRTUAL_NUMBER_TEXT_NUMBERS_DISABLED": SenderError,
    "TEXT_NUMBER_MUST_BE_ALPHANUMERIC": SenderError,
    "TEXT_NUMBER_NOT_ALLOWED": SenderError,
    "TEXT_NUMBER_LENGTH_EXCEED": SenderError,
    "MESSAGE_NOT_FOUND": MessageNotFoundError,
}


def is_known(code: str) -> bool:
    """
    Tell whether a code is known as that of an error.

    :param code: the API's ``code``
    """
    return code in _BY_CODE


def api_error(code: str, description: str = "") -> ApiError:
    """
    Give the exception for an error code of the API.

    :param code: the API's ``code``; one that is not listed becomes a :class:`MessageRejectedError`
    :param description: the API's ``description``
    """
    kind = _BY_CODE.get(code)
    if kind is None:
        # Limits of the account (monthly, daily, spending) have no documented code; one of a message names it.
        of_message = any(word in code for word in ("MESSAGE", "TEXT", "LENGTH", "RECIPIENT", "PARTS"))
        kind = CreditError if "LIMIT" in code and not of_message else MessageRejectedError
    return kind(code, description)
