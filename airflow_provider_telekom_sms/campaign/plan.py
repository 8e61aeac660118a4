"""
Plans a campaign: every row of a source is validated, normalised, rendered and counted before one is sent.

A row that cannot be sent goes into the ledger too, with its reason; the report has an outcome for every row.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, Literal

from airflow_provider_telekom_sms.api.messages import SmsParameters, check_text
from airflow_provider_telekom_sms.api.phone import mask_phone, parse_mobile
from airflow_provider_telekom_sms.api.text import MAX_PARTS, count
from airflow_provider_telekom_sms.campaign.costs import Costs, in_words
from airflow_provider_telekom_sms.campaign.multichannel import EXTERNAL_ID, Content, Multichannel
from airflow_provider_telekom_sms.campaign.sources import Row, Rows, fingerprint, open_rows
from airflow_provider_telekom_sms.campaign.suppression import Suppression
from airflow_provider_telekom_sms.campaign.template import compile_template, mask_value
from airflow_provider_telekom_sms.campaign.window import SendWindow
from airflow_provider_telekom_sms.exceptions import (
    CampaignBusyError,
    InvalidMessageError,
    PlanError,
    SourceError,
)
from airflow_provider_telekom_sms.ledger import planning, reporting
from airflow_provider_telekom_sms.ledger.planning import Owner, PlannedRow
from airflow_provider_telekom_sms.ledger.store import Ledger, State, storable

log = logging.getLogger(__name__)

#: Invalid rows that an error or the log names.
SHOWN = 10
REACHED_BEFORE = (
    "{} of {} numbers have got another text in this campaign already, or may have; with key_column a number "
    "would get one only"
)
#: Texts that a plan's summary shows, with the rows' values masked.
SAMPLES = 3
#: Seconds between two looks whether another task's plan of the same campaign is done.
BUSY_PAUSE = 1.0


@dataclass(frozen=True)
class MessageSettings:
    """
    What all messages of a plan are sent with; kept in the ledger as JSON.

    :param parameters: the optional parameters of send_message
    :param prefer_rcs: try RCS first
    :param keep_text: keep the rendered texts after they were accepted
    :param send_window: when messages may reach phones; None for always
    :param multichannel: what else API v2 is told; None for API v1
    """

    parameters: SmsParameters = field(default_factory=SmsParameters.check)
    prefer_rcs: bool = False
    keep_text: bool = False
    send_window: SendWindow | None = None
    multichannel: Multichannel | None = None

    def to_json(self) -> str:
        """Give what :meth:`from_json` reads."""
        parameters = self.parameters.model_dump(mode="json", exclude_none=True)
        settings = {"parameters": parameters, "prefer_rcs": self.prefer_rcs, "keep_text": self.keep_text}
        if self.send_window:
            settings["send_window"] = str(self.send_window)
        if self.multichannel:
            settings["multichannel"] = self.multichannel.as_dict()
        return json.dumps(settings, sort_keys=True)

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> MessageSettings:
        """Read what :meth:`to_json` gave."""
        window, multichannel = settings.get("send_window"), settings.get("multichannel")
        read = {
            "parameters": SmsParameters.check(**settings["parameters"]),
            "send_window": SendWindow.parse(window) if window else None,
            "multichannel": Multichannel(**multichannel) if multichannel else None,
        }
        return cls(**{**settings, **read})

    @cached_property
    def content(self) -> Content | None:
        """What makes the content of each message; None where a message is a text."""
        return None if self.multichannel is None or self.multichannel.plain else Content(self.multichannel)

    def content_of(self, text: str) -> dict[str, Any]:
        """
        Give the content of a message over API v2.

        :param text: what the ledger keeps of it
        """
        if self.content is not None:
            return self.content.of(text)
        given = {"text": text, "from": self.parameters.sender, "unicode": self.parameters.unicode}
        return {"sms": {name: value for name, value in given.items() if value is not None}}

    @property
    def unicode(self) -> bool | None:
        """Whether the text of the SMS is sent as Unicode; None to find out."""
        sms = self.multichannel.sms if self.multichannel else None
        return self.parameters.unicode if sms is None else sms.get("unicode")

    @property
    def fallback(self) -> bool:
        """Whether a failed delivery may still be mended by another channel."""
        return self.prefer_rcs or (self.multichannel is not None and self.multichannel.fallback)

    def leaving(self, now: datetime) -> SmsParameters:
        """
        Give the parameters of a message that is sent now: outside the window with the next ``delivery_time``.

        :param now: an aware time
        """
        if self.send_window is None:
            return self.parameters
        wanted = max(now, self.parameters.delivery_time or now)
        allowed = self.send_window.next_allowed(wanted)
        return self.parameters if allowed == wanted else _delivered_at(self.parameters, allowed)


def first_check(parameters: SmsParameters) -> int | None:
    """Give when delivery is first asked for, milliseconds since 1970 UTC; None for at once."""
    moment = parameters.delivery_time
    return None if moment is None else int(moment.timestamp() * 1000)


@lru_cache(maxsize=64)
def _delivered_at(parameters: SmsParameters, moment: datetime) -> SmsParameters:
    return parameters.model_copy(update={"delivery_time": moment})


@dataclass(frozen=True)
class CampaignSpec:
    """
    What a campaign is to be made of.

    :param source: where the rows come from; see :func:`~.sources.open_rows`
    :param settings: what all messages are sent with
    :param text: template of the text over a row's columns, or None with ``text_column``
    :param text_column: column that holds the text
    :param to_column: column that holds the number
    :param key_column: column whose value may be sent once; None for number and text
    :param on_invalid: ``skip`` leaves invalid rows out, ``fail`` sends nothing if there is one
    :param guards: what the whole plan must keep to
    """

    source: Any
    settings: MessageSettings
    text: str | None = None
    text_column: str | None = None
    to_column: str = "phone"
    key_column: str | None = None
    encoding: str = "utf-8-sig"
    delimiter: str | None = None
    on_invalid: Literal["skip", "fail"] = "skip"
    guards: Guards = field(default_factory=lambda: Guards())

    def __repr__(self) -> str:
        return f"<CampaignSpec to {self.to_column!r}>"

    def fingerprint(self) -> str:
        """Tell whether source, text or parameters changed between two tries."""
        parts = [
            fingerprint(self.source),
            self.settings.to_json(),
            *map(repr, (self.text, self.text_column, self.to_column, self.key_column)),
            *map(repr, (self.encoding, self.delimiter, self.guards.max_parts_per_message)),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Guards:
    """
    Limits of a whole plan, checked before its first message.

    :param max_messages: messages to send
    :param max_parts_per_message: SMS parts of one message; a longer one is invalid
    :param price_per_part: price of one SMS part, in any currency
    :param max_price: price of the whole plan
    """

    max_messages: int | None = None
    max_parts_per_message: int | None = None
    price_per_part: float | None = None
    max_price: float | None = None

    def check(self, counts: reporting.Counts) -> None:
        """
        Check a plan's counts.

        :raises PlanError: naming the guard, what was found and what is allowed
        """
        # All that was or will be sent: a guard that is set later, between two tries, speaks as well.
        messages = counts.total - counts.invalid - counts.duplicate - counts.suppressed
        if self.max_messages is not None and messages > self.max_messages:
            raise PlanError(f"max_messages: found {messages} to send, allowed are {self.max_messages}")
        price = self.price(counts.parts)
        if self.max_price is not None and price is not None and price > self.max_price:
            raise PlanError(
                f"max_price: found {price:.2f} for {counts.parts} parts, allowed {self.max_price}"
            )

    def price(self, parts: int) -> float | None:
        """Give the price of a number of parts; None where no price is set."""
        return None if self.price_per_part is None else round(parts * self.price_per_part, 6)


def ensure_plan(
    ledger: Ledger, owner: Owner, spec: CampaignSpec, suppressed: Suppression | None = None
) -> int:
    """
    Give the plan of this slot: the one an earlier try made, or a new one.

    :param suppressed: numbers that must not get a message
    :return: the plan's number; it is ready to be sent from
    :raises SourceError: for a source that cannot be used
    :raises PlanError: when a guard speaks, or what was planned before was changed after something was claimed
    """
    found = planning.plan_of(ledger, owner)
    wanted = spec.fingerprint()
    if found is not None and found.fingerprint != wanted:
        planning.remove_plan(ledger, found.id)
        log.info("Text, source or parameters changed since the last try: the campaign is planned anew")
        found = None
    if found is not None:
        log.info("The campaign is planned already; it goes on where the last try stopped")
        try:
            _check(ledger, owner, found.id, spec)
        except PlanError:
            with contextlib.suppress(PlanError):  # something was claimed by then
                planning.withdraw_plan(ledger, found.id)
            raise
        return found.id
    for warning in spec.settings.content.warnings if spec.settings.content else []:
        log.warning("%s", warning)
    with (
        planning.kept_alive(ledger, owner),
        open_rows(
            spec.source, encoding=spec.encoding, delimiter=spec.delimiter, text_columns=[spec.to_column]
        ) as rows,
    ):
        planner = _Planner(rows, spec, suppressed)
        plan_id = _begin_plan(ledger, owner, wanted, spec)
        for chunk in _chunks(map(planner.plan, rows), planning.CHUNK):
            planner.take_stock(planning.add(ledger, owner, plan_id, chunk))
    _check(ledger, owner, plan_id, spec)
    planning.finish_plan(ledger, owner, plan_id, planner.summary())
    for line in in_words(planner.costs.as_dict()):
        log.info("%s", line)
    return plan_id


def _begin_plan(ledger: Ledger, owner: Owner, fingerprint: str, spec: CampaignSpec) -> int:
    """Begin a plan, after that of another task if one is being made."""
    told = False
    while True:
        try:
            return planning.begin_plan(
                ledger,
                owner,
                fingerprint,
                spec.settings.to_json(),
                fallback=spec.settings.fallback,
                ttl=spec.settings.multichannel.ttl if spec.settings.multichannel else 0,
                key_column=spec.key_column,
            )
        except CampaignBusyError:
            if not told:
                log.info("Another task is planning the same campaign; this one waits for it")
            told = True
            time.sleep(BUSY_PAUSE)


def _check(ledger: Ledger, owner: Owner, plan_id: int, spec: CampaignSpec) -> None:
    counts = reporting.counts(ledger, owner.campaign_id, plan_id)
    log.info(
        "Planned %d of %d rows: %d invalid, %d duplicate, %d suppressed, %d parts",
        counts.planned, counts.total, counts.invalid, counts.duplicate, counts.suppressed, counts.parts,
    )  # fmt: skip
    if counts.invalid:
        reasons = "; ".join(
            f"row {row}: {reason}" for row, reason in reporting.invalid_rows(ledger, plan_id, SHOWN)
        )
        summary = f"{counts.invalid} invalid rows of {counts.total}, among them {reasons}"
        if spec.on_invalid == "fail":
            raise PlanError(f"on_invalid='fail': {summary}")
        log.warning("%s", summary)
    if again := reporting.reached_before(ledger, plan_id):
        log.warning("%s", REACHED_BEFORE.format(again, counts.planned))
    spec.guards.check(counts)


class _Planner:
    """
    Turns rows into planned messages, and remembers what a person wants to know of the plan.

    :raises SourceError: for a missing column or a template that cannot be used
    """

    def __init__(self, rows: Rows, spec: CampaignSpec, suppressed: Suppression | None) -> None:
        self._spec, self._suppressed = spec, suppressed
        self._content = spec.settings.content or _Texts(spec)
        rows.require(spec.to_column, *self._content.columns, *([spec.key_column] if spec.key_column else []))
        self._unicode = spec.settings.unicode
        self._most = _most_parts(spec)
        self.costs = Costs(self._unicode)
        self._samples: list[dict[str, Any]] = []
        self._shown: dict[int, str] = {}

    def plan(self, row: Row) -> PlannedRow:
        spec, values = self._spec, row.values
        given = values.get(spec.to_column)
        key = None
        try:
            key = _key(values.get(spec.key_column)) if spec.key_column else None
            if row.problem:
                raise InvalidMessageError(row.problem)
            if spec.key_column and not key:
                raise InvalidMessageError(f"column {spec.key_column!r} is empty")
            phone = parse_mobile(given)
            if self._suppressed is not None and phone in self._suppressed:
                return PlannedRow(
                    row.number, State.SUPPRESSED, key=key, phone=phone, reason=planning.SUPPRESSED
                )
            text = self._content.render(values)
            sms = self._content.sms_text(text)
            parts = 0 if sms is None else count(sms, self._unicode).parts
            if self._most is not None and parts > self._most[0]:
                raise InvalidMessageError(f"the text takes {parts} parts, {self._most[1]} {self._most[0]}")
        except InvalidMessageError as error:
            raw = storable(given) if isinstance(given, str) else None
            return PlannedRow(row.number, State.INVALID, key=key, phone=raw, reason=str(error))
        if len(self._samples) + len(self._shown) < SAMPLES:
            self._shown[row.number] = self._content.masked(values)
        identity = (
            _hash(f"key\0{key}") if spec.key_column else text_identity(phone, self._content.identity(text))
        )
        external_id = values.get(EXTERNAL_ID) if self._content.ready_made else None
        return PlannedRow(
            row.number, State.PLANNED, identity, key, phone, text, parts, external_id=external_id
        )

    def take_stock(self, planned: list[PlannedRow]) -> None:
        """Take the rows of a chunk that are to be sent."""
        for row in planned:
            if sms := self._content.sms_text(str(row.text)):
                self.costs.take(row.row, sms, row.parts or 0)
            if masked := self._shown.get(row.row):
                to = mask_phone(row.phone)
                self._samples.append({"row": row.row, "to": to, "parts": row.parts, "text": masked})
        self._shown.clear()

    def summary(self) -> dict[str, Any]:
        """Give what goes into the ledger beside the plan; texts only with their values masked."""
        window, multichannel = self._spec.settings.send_window, self._spec.settings.multichannel
        price = self._spec.guards.price_per_part
        return {
            "costs": self.costs.as_dict(),
            "samples": self._samples,
            "parameters": self._spec.settings.parameters.model_dump(mode="json", exclude_none=True),
            "send_window": None if window is None else str(window),
            "channels": None if multichannel is None else multichannel.in_words(),
            **({} if price is None else {"price_per_part": float(price)}),
        }


def _most_parts(spec: CampaignSpec) -> tuple[int, str] | None:
    """Give how many parts a message may take, and who says so; as RCS the API takes longer ones."""
    most = spec.guards.max_parts_per_message
    if spec.settings.prefer_rcs or (most is not None and most <= MAX_PARTS):
        return None if most is None else (most, "max_parts_per_message is")
    return MAX_PARTS, "the API takes at most"


def text_identity(phone: str, text: str) -> bytes:
    """Give what makes a message unique in its campaign where there is no ``key_column``: number and text."""
    return _hash(f"text\0{phone}\0{text}")


def _hash(identity: str) -> bytes:
    return hashlib.blake2b(identity.encode(), digest_size=16).digest()


def _key(value: Any) -> str | None:
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        # pandas turns integers into floats with a column's first gap: 7.0 must be the same key as 7.
        value = int(value)
    try:
        return None if value is None else storable(str(value)).strip() or None
    except ValueError:
        raise InvalidMessageError("the key has too many digits") from None


class _Texts:
    """
    The content of messages that are a text each; :class:`Content` is that of all others.

    :raises SourceError: for a template that cannot be used
    """

    ready_made = False

    def __init__(self, spec: CampaignSpec) -> None:
        if (spec.text is None) == (spec.text_column is None):
            raise SourceError("text, text_column, rcs: give exactly one of them")
        if spec.text is not None:
            template = compile_template(spec.text)
            self.columns, self._read, self.masked = template.fields, template.render, template.render_masked
        else:
            self._column = str(spec.text_column)
            self.columns, self._read = frozenset([self._column]), self._cell
            self.masked = lambda row: mask_value(self._cell(row))

    def render(self, row: Mapping[str, Any]) -> str:
        return check_text(self._read(row))

    def sms_text(self, text: str) -> str:
        return text

    identity = sms_text

    def _cell(self, row: Mapping[str, Any]) -> str:
        value = row.get(self._column)
        if value is None or value == "":
            raise InvalidMessageError(f"column {self._column!r} is empty")
        if not isinstance(value, str):
            raise InvalidMessageError(f"column {self._column!r} is {type(value).__name__}, not text")
        return value


def _chunks(rows: Iterator[PlannedRow], size: int) -> Iterator[list[PlannedRow]]:
    while chunk := list(itertools.islice(rows, size)):
        yield chunk
