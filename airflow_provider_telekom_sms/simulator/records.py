"""What the simulator keeps: messages, requests, and the calls to callback URLs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from airflow_provider_telekom_sms.simulator.fates import IN_GROUP_SECONDS, Channel, Step, latest, steps_of


@dataclass(slots=True)
class Message:
    """
    A message that was taken.

    :param id: what the API answered, or would have
    :param number: the recipient as 4219xxxxxxxx
    :param prefer_rcs: whether RCS is asked for first, by the format of ``to`` or by the order of the channels
    :param text: the text; in v2 that of the SMS, or else of the RCS message or its first card
    :param parameters: the v1 request's parameters as they came, without the key and the session
    :param parts: the number of parts of the SMS
    :param taken_at: seconds since the epoch
    :param starts_at: when delivery begins: ``taken_at``, or a later time that was asked for
    :param fate: one of ``fates.FATES``
    :param channels: the channels it may take, by priority
    :param gap: seconds between the failure of a channel and the next one, at speed 1
    :param clock: returns the time and the factor for the progress of delivery
    :param in_group: whether it is sent through a cadence group
    :param fixed: a status set from outside, and its time
    :param external_id: the client's own id (v2)
    :param body: the v2 request without its recipients; None in v1
    :param callback_urls: by type (dsn, postback) the URLs to call
    :param replies: what was clicked: ``time``, ``postbackData``, ``text``
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
    channels: tuple[Channel, ...]
    gap: float
    clock: Callable[[], tuple[float, float]] = field(repr=False)
    in_group: bool = False
    fixed: tuple[str, float] | None = None
    external_id: str | None = None
    body: dict[str, Any] | None = None
    callback_urls: dict[str, list[str]] = field(default_factory=dict)
    replies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def begins_at_once(self) -> bool:
        """Whether it was QUEUED when it was taken."""
        return not self.in_group and self.starts_at <= self.taken_at

    @property
    def channel(self) -> str:
        """The channel it is on, rcs or sms."""
        return self.history(*self.clock())[-1].channel

    def status(self, now: float, speed: float) -> tuple[str, float | None]:
        """
        Return the code, and the time of arrival if it has arrived.

        :param now: seconds since the epoch
        :param speed: factor for the progress of delivery
        """
        if self.fixed:
            return latest([Step(self.fixed[1], self.fixed[0], "")])
        return latest(self.history(now, speed))

    def history(self, now: float, speed: float) -> list[Step]:
        """
        Return every status until now, the first of them when the message was taken.

        :param now: seconds since the epoch
        :param speed: factor for the progress of delivery
        """
        steps = self.course(speed)
        return [step for step in steps if step.since <= now] or steps[:1]

    def course(self, speed: float) -> list[Step]:
        """
        Return every status, also those to come; their times are seconds since the epoch.

        :param speed: factor for the progress of delivery
        """
        first = self.channels[0].type
        steps = [Step(self.taken_at, "SCHEDULED", first)] if self.starts_at > self.taken_at else []
        wait = 0.0
        if self.in_group:
            steps.append(Step(self.starts_at, "IN_GROUP", first))
            wait = IN_GROUP_SECONDS
        for age, code, channel in steps_of(self.fate, self.channels, self.gap):
            if age + wait == 0:
                steps.append(Step(self.starts_at, code, channel))
            elif speed:
                steps.append(Step(self.starts_at + (age + wait) / speed, code, channel))
        if self.fixed:
            code, since = self.fixed
            steps = [step for step in steps if step.since <= since] or steps[:1]
            steps.append(Step(since, code, steps[-1].channel))
        return steps

    def shown(self, now: float, speed: float) -> dict[str, Any]:
        """
        Return it as JSON can hold it.

        :param now: seconds since the epoch
        :param speed: factor for the progress of delivery
        """
        history = self.history(now, speed)
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "clock"}
        return {
            **kept,
            "channels": [channel._asdict() for channel in self.channels],
            "channel": history[-1].channel,
            "code": history[-1].code,
            "history": [step._asdict() for step in history],
        }


@dataclass(slots=True)
class RequestRecord:
    """
    A request that was fully received.

    :param time: seconds since the epoch
    :param endpoint: the endpoint; ``messages`` is that of v2
    :param wire: json, xml or v2
    :param method: POST or GET
    :param parameters: its parameters as they came; in v2 the body
    :param fault: the name of the fault that hit it
    :param code: the code of the result, or of the message if that was refused; None if the API never saw it
    :param message_id: the message that was taken (v1)
    :param message_ids: the messages that were taken
    """

    time: float
    endpoint: str
    wire: str
    method: str
    parameters: dict[str, Any]
    fault: str | None = None
    code: str | None = None
    message_id: int | None = None
    message_ids: list[int] = field(default_factory=list)


@dataclass(slots=True)
class CallbackRecord:
    """
    An attempt to call a URL.

    :param time: seconds since the epoch
    :param url: the URL as the client wrote it
    :param message_id: the message; None for an inbound one
    :param payload: what was sent
    :param attempt: counted from 1; 0 if the URL was not called, since its host is not allowed
    :param status: the HTTP status of the answer
    :param error: why there was none
    """

    time: float
    url: str
    message_id: int | None
    payload: dict[str, Any]
    attempt: int
    status: int | None = None
    error: str | None = None
