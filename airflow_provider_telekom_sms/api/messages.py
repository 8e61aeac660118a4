"""What a message may be: the limits of the manual, checked here and nowhere else."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

from airflow_provider_telekom_sms.api.multichannel import (
    Action,
    CallbackUrl,
    CardContent,
    CarouselCard,
    Channel,
    ContentInfo,
    CreateCalendarEvent,
    Dial,
    File,
    LatLong,
    Media,
    MessagePart,
    MultichannelMessage,
    OpenUrl,
    Rcs,
    Recipient,
    Reply,
    ShareLocation,
    Sms,
    StandaloneCard,
    Suggestion,
    ViewLocation,
)
from airflow_provider_telekom_sms.api.times import TIME_ALLOWED, parse_time, v1_delivery_time
from airflow_provider_telekom_sms.api.values import read_text
from airflow_provider_telekom_sms.api.values import shown as _shown
from airflow_provider_telekom_sms.exceptions import InvalidMessageError

__all__ = [
    "Action",
    "CallbackUrl",
    "CardContent",
    "CarouselCard",
    "Channel",
    "ContentInfo",
    "CreateCalendarEvent",
    "Dial",
    "File",
    "LatLong",
    "Media",
    "MessagePart",
    "MultichannelMessage",
    "OpenUrl",
    "Rcs",
    "Recipient",
    "Reply",
    "ShareLocation",
    "Sms",
    "SmsParameters",
    "StandaloneCard",
    "Suggestion",
    "ViewLocation",
    "check_text",
    "parse_flag",
]

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def check_text(text: object) -> str:
    """
    Give the text of a message as it is sent: in Unicode's composed form (NFC).

    :param text: the text; line feed, carriage return and tab are its only control characters
    :raises InvalidMessageError: for an empty text or a character that no message can hold; never quotes it
    """
    try:
        return read_text(text)
    except InvalidMessageError as error:
        raise InvalidMessageError(f"text: {error}") from None


def parse_flag(value: object) -> bool:
    """
    Read a boolean as Python, a rendered template and the API's XML write it.

    :param value: true, false, 1 or 0, as such or as a word in any case
    :raises ValueError: for anything else
    """
    flag = _FLAGS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if flag is None:
        raise ValueError
    return flag


def _parse_integer(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.strip().isdigit():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool):
        raise ValueError
    try:
        return operator.index(value)  # type: ignore[arg-type]  # that is what is found out
    except TypeError:
        raise ValueError from None


def _parse_sender(value: object) -> str:
    """Read a sender; a number arrives as one where Airflow renders templates as native objects."""
    sender = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not sender or not sender.isprintable():
        raise ValueError
    return sender


_Flag = Annotated[bool, PlainValidator(parse_flag)]
_Integer = BeforeValidator(_parse_integer)
_Moment = Annotated[
    datetime, PlainValidator(parse_time), PlainSerializer(datetime.isoformat, when_used="json")
]
_FLAG_ALLOWED = "true, false, 1, 0"


class SmsParameters(BaseModel):
    """
    The optional parameters of a message (manual v1, send_message); what is None is left to the API.

    Airflow's templates give text, so ``"2"`` is understood as a number, ``"true"`` as a boolean, and ``""``
    and ``"None"`` as not given. A parameter's description says what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sender: Annotated[str, PlainValidator(_parse_sender)] | None = Field(
        None, serialization_alias="from", description="a number, or a name without control characters"
    )
    callback: _Flag | None = Field(None, description=_FLAG_ALLOWED)
    delivery_time: _Moment | None = Field(None, description=TIME_ALLOWED)
    priority: Annotated[Literal[1, 2, 3], _Integer] | None = Field(
        None, description="1 (low), 2 (standard), 3 (high)"
    )
    validity: Annotated[int, _Integer, Field(ge=1, le=1440)] | None = Field(
        None, description="1 to 1440 (minutes)"
    )
    unicode: _Flag | None = Field(None, description=_FLAG_ALLOWED)
    message_type: Literal["standard", "flash"] | None = Field(
        None, serialization_alias="type", description="standard, flash"
    )
    group_id: Annotated[int, _Integer, Field(ge=1)] | None = Field(
        None, serialization_alias="groupId", description="positive whole numbers"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _not_given(cls, value: object) -> object:
        return None if isinstance(value, str) and value in ("", "None") else value

    @classmethod
    def check(cls, /, **values: object) -> Self:
        """
        Make the parameters from what a user or a template gave.

        :param values: the parameters by their names here
        :raises InvalidMessageError: names every wrong parameter at once, what was found and what is allowed
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = error.errors(include_url=False)
        # Out of the handler: the chained error would show what was given, which may be a text.
        raise InvalidMessageError("; ".join(cls._problem(detail) for detail in wrong))

    @classmethod
    def _problem(cls, detail: ErrorDetails) -> str:
        name = str(detail["loc"][0])
        if name not in cls.model_fields:
            return f"{name}: not a parameter of a message, allowed are {', '.join(cls.model_fields)}"
        reason = detail.get("ctx", {}).get("error")
        if not isinstance(reason, InvalidMessageError):
            reason = f"allowed are {cls.model_fields[name].description}"
        return f"{name}: found {_shown(detail['input'])}, {reason}"

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Give a copy that is checked like any other; pydantic's own copies what is cached, too."""
        return self.check(**{**self.model_dump(), **(update or {})})

    def with_default_sender(self, sender: str | None) -> Self:
        """
        Give the parameters with a sender, where none was chosen.

        :param sender: the connection's; None for the account's
        """
        return self if self.sender or not sender else self.model_copy(update={"sender": sender})

    @cached_property
    def v1(self) -> dict[str, Any]:
        """What is given, under the manual's names and as send_message takes it."""
        parameters = self.model_dump(by_alias=True, exclude_none=True)
        if self.delivery_time is not None:
            parameters["delivery_time"] = v1_delivery_time(self.delivery_time)
        return parameters
