"""What the page says of a campaign: words, shares and bars for what the ledger counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from markupsafe import Markup

from airflow_provider_telekom_sms.api.phone import mask_phone, mask_phones_in
from airflow_provider_telekom_sms.ledger.overview import (
    DAY,
    SHOWN,
    ZONE,
    Campaign,
    Details,
    Figures,
    Timeline,
)

#: Characters of a campaign's id that are shown in a list.
SHORT = 120
#: How tall a timeline is drawn; it is stretched to its place.
HEIGHT = 100.0

# No page can hold these, and nobody can read them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(value: Any) -> Any:
    """Replace what no page can hold; for all that a template prints."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _UNPRINTABLE.sub("\ufffd", value)


def short(text: str, length: int = SHORT) -> str:
    """Give the beginning of a text."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def many(number: int, what: str) -> str:
    """Give a number with its noun."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def share(number: int, of: int) -> str:
    """Give a share in percent; what is not nothing is not shown as 0, and what is not all not as 100."""
    if not of or number == 0:
        return "0 %"
    percent = 100 * number / of
    if number < of and percent >= 99.95:
        return ">99.9 %"
    if percent < 0.05:
        return "<0.1 %"
    return f"{percent:.1f} %" if percent < 100 else "100 %"


def local(milliseconds: int | None, form: str = "%d %b %Y %H:%M") -> str:
    """Give a time as people in Bratislava say it."""
    return "" if milliseconds is None else _moment(milliseconds).strftime(form)


def iso(milliseconds: int) -> str:
    """Give a time for programs."""
    return _moment(milliseconds).isoformat(timespec="seconds")


def _moment(milliseconds: int) -> datetime:
    # What an API or a clock says may be anything.
    seconds = min(max(milliseconds / 1000, 0), 253_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).astimezone(ZONE)


def number(phone: str | None, whole: bool) -> str:
    """Give a phone number, masked unless it may be seen."""
    if not phone:
        return "–"
    if not whole:
        return mask_phone(phone)
    return (
        f"+{phone[:3]} {phone[3:6]} {phone[6:9]} {phone[9:]}" if re.fullmatch(r"421\d{9}", phone) else phone
    )


def words(text: str | None, whole: bool) -> str:
    """Give a reason; the API's words may quote the number."""
    return (text or "") if whole else mask_phones_in(text or "")


# --- how a campaign is --------------------------------------------------------------------------------------


class Status(NamedTuple):
    """How a campaign is, in a word; ``kind`` is its colour."""

    word: str
    kind: str


def status(campaign: Campaign, figures: Figures | None) -> Status:
    """Say how a campaign is."""
    if campaign.state == "cancelled":
        return Status("cancelled", "bad")
    if campaign.state == "paused":
        return Status("paused", "doubt")
    if campaign.planning:
        return Status("planning", "way") if campaign.at_work else Status("planning broke off", "bad")
    if figures is None:
        return Status("at work", "way") if campaign.at_work else Status("–", "open")
    if open_number(campaign, figures):
        return Status("sending", "way") if campaign.at_work else Status("waiting for a task", "doubt")
    if campaign.in_doubt:
        return Status("in doubt", "doubt")
    if figures.on_the_way:
        return Status("being delivered", "way")
    if not figures.total:
        return Status("empty", "open")
    return Status("done", "good" if figures.arrived else "bad" if figures.failed else "open")


class Segment(NamedTuple):
    """A stretch of a bar, in percent."""

    kind: str
    name: str
    number: int
    start: float
    width: float


def unsent(campaign: Campaign) -> str:
    """Say what becomes of what is planned."""
    return "not sent" if campaign.state == "cancelled" else "to be sent"


def _abandoned(campaign: Campaign, figures: Figures) -> int:
    # Figures are older than the campaign.
    return min(campaign.abandoned, figures.of("claimed"))


def open_number(campaign: Campaign, figures: Figures) -> int:
    """Count what is still to be sent, or is being sent by a try that is alive."""
    return figures.unsent - _abandoned(campaign, figures)


def segments(campaign: Campaign, figures: Figures) -> list[Segment]:
    """Give the bar of a campaign: what became of all that was or is to be sent."""
    counted = [
        ("good", "delivered", figures.arrived),
        ("way", "on the way", figures.on_the_way),
        ("open", unsent(campaign), open_number(campaign, figures)),
        (
            "doubt",
            "in doubt or unknown",
            figures.of("in_doubt") + _abandoned(campaign, figures) + figures.unknown,
        ),
        ("bad", "failed", figures.failed),
    ]
    # The open end stands last.
    counted.append(counted.pop(2))
    found, start = [], 0.0
    for kind, name, many_ in counted:
        width = 100 * many_ / figures.messages if figures.messages else 0.0
        if many_:
            found.append(Segment(kind, name, many_, round(start, 3), round(width, 3)))
        start += width
    return found


@dataclass(frozen=True, slots=True)
class Stage:
    """
    A step of the funnel.

    :param shown: the name of its rows, see :data:`~.overview.SHOWN`; empty where they have none
    """

    name: str
    number: int
    share: str
    width: float
    kind: str
    shown: str
    note: str


def funnel(figures: Figures) -> list[Stage]:
    """Give what became of a campaign, step by step, each as a share of all that was or is to be sent."""
    whole = figures.messages

    def stage(name: str, number: int, kind: str, shown: str = "", note: str = "") -> Stage:
        width = round(100 * number / whole, 3) if whole else 0.0
        return Stage(name, number, share(number, whole), width, kind, shown, note)

    left_out = _listed(figures, {"invalid": "invalid", "duplicate": "duplicate", "suppressed": "suppressed"})
    refused, undelivered = figures.of("rejected"), figures.undelivered
    why = [f"{refused:,} rejected"] * bool(refused) + [f"{undelivered:,} not delivered"] * bool(undelivered)
    rows = f"of {many(figures.total, 'row')}; left out: {left_out}" if left_out else ""
    read = f"{figures.read:,} of them read" if figures.read else ""
    return [
        stage("Planned", whole, "open", "all", rows),
        stage("Accepted", figures.accepted, "way", "accepted"),
        stage("Delivered", figures.arrived, "good", "arrived", read),
        stage("Failed", figures.failed, "bad", "" if refused else "undelivered", ", ".join(why)),
    ]


def _listed(figures: Figures, names: Mapping[str, str]) -> str:
    return ", ".join(f"{figures.of(state):,} {name}" for state, name in names.items() if figures.of(state))


class Open(NamedTuple):
    """What is not decided yet, or never will be."""

    name: str
    number: int
    kind: str
    shown: str


def open_ends(campaign: Campaign, figures: Figures) -> list[Open]:
    """Give what is neither delivered nor failed."""
    abandoned = _abandoned(campaign, figures)
    found = [
        Open(unsent(campaign), figures.of("planned"), "open", "planned"),
        Open("being sent", figures.of("claimed") - abandoned, "way", "claimed"),
        Open("on the way", figures.on_the_way, "way", "on_the_way"),
        Open("in doubt", figures.of("in_doubt") + abandoned, "doubt", "in_doubt"),
        Open("unknown", figures.unknown, "doubt", "UNKNOWN"),
    ]
    return [one for one in found if one.number]


# --- delivery over time -------------------------------------------------------------------------------------


class Bar(NamedTuple):
    """A bar of a timeline: what was sent behind, what arrived before it; in units of its drawing."""

    x: float
    width: float
    sent: float
    delivered: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A timeline to be drawn, and to be read as a table."""

    bars: Sequence[Bar]
    top: int
    step: str
    labels: Sequence[str]
    rows: Sequence[tuple[str, int, int]]


def chart(timeline: Timeline) -> Chart:
    """Draw a timeline."""
    top = max(1, *timeline.sent, *timeline.delivered)
    width = 100 / len(timeline.sent)
    times = [timeline.start + n * timeline.step for n in range(len(timeline.sent))]
    in_days = timeline.step >= DAY
    # Behind the end of summer time a day of 24 hours begins at 23:00.
    form = _form(times, in_days)
    starts = [local(at + 3_600_000 * in_days, form) for at in times]
    bars, rows = [], []
    for n, (start, sent, delivered) in enumerate(zip(starts, timeline.sent, timeline.delivered, strict=True)):
        label = f"{start}: {sent:,} sent, {delivered:,} delivered"
        bars.append(
            Bar(
                round(n * width + width * 0.1, 3), round(width * 0.8, 3),
                round(HEIGHT * sent / top, 3), round(HEIGHT * delivered / top, 3), label,
            )
        )  # fmt: skip
        if sent or delivered:
            rows.append((start, sent, delivered))
    last = len(times) - 1
    labels = [starts[n] for n in sorted({0, (last + 1) // 2, last})]
    return Chart(bars, top, _length(timeline.step), labels, rows)


def _form(times: Sequence[int], in_days: bool) -> str:
    """Say of times no more than tells them apart."""
    day, year = (local(times[0], form) != local(times[-1], form) for form in ("%d %b %Y", "%Y"))
    date = "%d %b %Y" if year else "%d %b"
    return date if in_days else f"{date} %H:%M" if day else "%H:%M"


def _length(step: int) -> str:
    for name, unit in (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000)):
        if step >= unit and step % unit == 0:
            number = step // unit
            return name if number == 1 else f"{number} {name}s"
    return f"{step} ms"


# --- why and what else --------------------------------------------------------------------------------------


class Reason(NamedTuple):
    """Why messages failed."""

    text: str
    number: int
    share: str
    width: float
    shown: str


#: Reasons that are shown.
MOST = 8

_MEANINGS = {
    "EXPIRED": "Expired: its time was over before it could be delivered",
    "DELETED": "Deleted before it was delivered",
    "UNDELIVERABLE": "Undeliverable",
    "DENIED": "Denied by the network",
    "ERROR": "Error that lasted for an hour",
}


def reasons(figures: Figures, details: Details) -> list[Reason]:
    """Give the commonest reasons for which messages were refused or not delivered."""
    found = [
        (_MEANINGS.get(code, code), number, code if code in SHOWN else "")
        for code, number in figures.failed_by_code.items()
    ]
    found += [(text or "No reason given", number, "rejected") for text, number in details.rejected]
    return _ranked(found, figures.failed)


def left_out(figures: Figures, details: Details) -> list[Reason]:
    """Give the commonest reasons for which rows were never to be sent."""
    found = [(text or "No reason given", number, "invalid") for text, number in details.invalid]
    found += [
        ("The same message is in the campaign already", figures.of("duplicate"), "duplicate"),
        ("The number is on the suppression list", figures.of("suppressed"), "suppressed"),
    ]
    return _ranked([one for one in found if one[1]], figures.total - figures.messages)


def _ranked(found: Sequence[tuple[str, int, str]], whole: int) -> list[Reason]:
    ranked = sorted(found, key=lambda one: (-one[1], one[0]))
    rest = whole - sum(number for _, number, _ in ranked[:MOST])
    shown = [*ranked[:MOST], *([("Others", rest, "")] if rest > 0 else [])]
    return [
        Reason(text, number, share(number, whole), round(100 * number / max(whole, number), 3), link)
        for text, number, link in shown
    ]


@lru_cache(maxsize=1)
def filters() -> list[tuple[str, list[tuple[str, str]]]]:
    """Give the choices of which rows are shown, in groups."""
    states = [
        ("all", "all rows"), ("planned", "to be sent"), ("claimed", "being sent"), ("accepted", "accepted"),
        ("rejected", "rejected"), ("in_doubt", "in doubt"), ("invalid", "invalid"),
        ("duplicate", "duplicate"), ("suppressed", "suppressed"),
    ]  # fmt: skip
    delivery = [
        ("arrived", "delivered or read"), ("on_the_way", "on the way"), ("undelivered", "not delivered")
    ]  # fmt: skip
    codes = [(name, name) for name in SHOWN if name.isupper()]
    return [("State", states), ("Delivery", delivery), ("Status of the API", codes)]
