"""
When messages of a campaign may reach phones: ``Mo-Fr 08:00-20:00; Sa 09:00-13:00; PH off``.

The syntax is a part of OpenStreetMap's ``opening_hours``, in wall times of Bratislava: a rule overrides those
before it on the days that it names, ``PH`` are the public holidays of Slovakia. Two things that OpenStreetMap
allows are refused, because they send at night or at Christmas by an oversight: times over midnight, and
rules after one with ``PH`` that would undo it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

from airflow_provider_telekom_sms.api.times import BRATISLAVA
from airflow_provider_telekom_sms.exceptions import ConfigurationError

#: Minutes of the day at which a day opens and closes, in order and apart; none where it stays closed.
Spans = tuple[tuple[int, int], ...]

_DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su", "PH")
_PH = _DAYS.index("PH")
_NUMBER_OF = {name.lower(): number for number, name in enumerate(_DAYS)}

_DAY = r"(?:mon?|tue?|wed?|thu?|fri?|sat?|sun?)"
_DAY_RANGE = rf"(?:{_DAY}(?:\s*-\s*{_DAY})?|ph)"
_TIME = r"((?:[01]?\d|2[0-3]):[0-5]\d|24:00)"
_SPAN = re.compile(rf"{_TIME}\s*-\s*{_TIME}", re.ASCII)
_RULE = re.compile(
    rf"(?:(?P<days>{_DAY_RANGE}(?:\s*,\s*{_DAY_RANGE})*)\s+)?"
    rf"(?P<times>off|{_SPAN.pattern}(?:\s*,\s*{_SPAN.pattern})*)",
    re.ASCII | re.IGNORECASE,
)
_ALLOWED = (
    "rules separated by ';', each of days (Mo to Su, PH, as in 'Mo-Fr' and 'Sa,PH'; none for every day) "
    "and of times from 00:00 to 24:00 or 'off', as in 'Mo-Fr 08:00-12:00,13:00-20:00; Sa 9:00-13:00; PH off'"
)

#: Even a window of public holidays alone opens within a year.
_DAYS_AHEAD = 400
#: The EU changes its clocks in spring and autumn at this time.
_CLOCKS_CHANGE = time(1, tzinfo=UTC)


@dataclass(frozen=True)
class SendWindow:
    """
    The times of a week at which messages may reach phones.

    :param week: the spans of each day, from Monday
    :param holidays: the spans of a public holiday; None where it is a day like any other
    """

    week: tuple[Spans, ...]
    holidays: Spans | None = None

    @classmethod
    def parse(cls, text: str) -> SendWindow:
        """
        Read a ``send_window``.

        :param text: rules such as ``Mo-Fr 08:00-20:00; PH off``
        :raises ConfigurationError: when a rule is not one or undoes one with PH, when the window never opens,
            or when there is a PH and the library of public holidays is missing
        """
        if not isinstance(text, str):
            raise ConfigurationError(f"send_window: found {type(text).__name__}, allowed: {_ALLOWED}")
        spans_of: dict[int, Spans] = {}
        rule_with_ph = ""
        for rule in (part.strip() for part in text.split(";")):
            match = _RULE.fullmatch(rule)
            if match is None:
                raise _wrong(rule, _ALLOWED)
            days = _read_days(match["days"])
            if _PH in days:
                rule_with_ph = rule
            elif rule_with_ph:
                raise _wrong(
                    f"{rule_with_ph}; {rule}",
                    "rules with PH after those without, which would override them on public holidays",
                )
            spans_of.update(dict.fromkeys(days, _read_spans(rule, match["times"])))
        if not any(spans_of.values()):
            raise _wrong(text, "a window that opens on some day")
        if _PH in spans_of:
            _public_holidays(2026)  # Any year will do: a missing library must show before a message is sent.
        return cls(tuple(spans_of.get(day, ()) for day in range(7)), spans_of.get(_PH))

    def __str__(self) -> str:
        """Write the window so that :meth:`parse` gives the same."""
        days_of: dict[Spans, list[int]] = {}
        for day, spans in enumerate(self.week):
            if spans:
                days_of.setdefault(spans, []).append(day)
        rules = [f"{_write_days(days)} {_write_spans(spans)}".lstrip() for spans, days in days_of.items()]
        if self.holidays is not None:
            rules.append(f"PH {_write_spans(self.holidays)}")
        return "; ".join(rules)

    def next_allowed(self, moment: datetime) -> datetime:
        """
        Give the first moment from this one on that is inside, in Bratislava's zone.

        It takes about a microsecond where the moment itself is inside, else some twenty.

        :param moment: a moment with a zone
        :raises ValueError: when it has none
        """
        if moment.tzinfo is None:
            raise ValueError("moment: found a datetime without a zone, allowed: one with a zone")
        local = moment.astimezone(BRATISLAVA)
        if self._is_open(local):
            return local
        # Times of one zone compare as wall times, which autumn repeats: instants are compared in UTC.
        instant = moment.astimezone(UTC)
        for days in range(_DAYS_AHEAD):
            openings = self._openings(local.date() + timedelta(days))
            if later := [opening for opening in openings if opening > instant]:
                return min(later).astimezone(BRATISLAVA)
        raise _wrong(str(self), f"a window that opens within {_DAYS_AHEAD} days of {local:%Y-%m-%d}")

    def _openings(self, day: date) -> list[datetime]:
        """Give all instants at which the window opens on a day, and some at which it is open."""
        spans = self._spans(day)
        if not spans:
            return []
        midnight = datetime.combine(day, time(), BRATISLAVA)
        starts = [midnight + timedelta(minutes=opens) for opens, _ in spans]
        # A start can come twice in autumn. In spring it can be skipped, and then the change of the clocks may
        # open the window; so it may in autumn, where it turns the clocks back to before a closing.
        instants = [start.replace(fold=fold).astimezone(UTC) for start in starts for fold in (0, 1)]
        instants.append(datetime.combine(day, _CLOCKS_CHANGE))
        return [instant for instant in instants if self._is_open(instant.astimezone(BRATISLAVA))]

    def _is_open(self, local: datetime) -> bool:
        minute = local.hour * 60 + local.minute
        for opens, closes in self._spans(local):  # noqa: SIM110 - any() takes twice the time
            if opens <= minute < closes:
                return True
        return False

    def _spans(self, day: date) -> Spans:
        # By month and day, because a datetime never equals a date.
        if self.holidays is not None and (day.month, day.day) in _public_holidays(day.year):
            return self.holidays
        return self.week[day.weekday()]


@cache
def _public_holidays(year: int) -> frozenset[tuple[int, int]]:
    """
    Give month and day of the public holidays of Slovakia; holidays on which people work are not among them.

    :raises ConfigurationError: when the library is missing
    """
    try:
        from holidays import country_holidays
    except ImportError:
        raise ConfigurationError(
            "send_window: PH needs the library holidays; install airflow-provider-telekom-sms[holidays]"
        ) from None
    return frozenset((day.month, day.day) for day in country_holidays("SK", years=year))


def _wrong(found: str, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"send_window: found {found!r}, allowed: {allowed}")


def _read_days(text: str | None) -> list[int]:
    if text is None:
        return list(range(7))
    days = []
    for part in text.split(","):
        numbers = [_NUMBER_OF[name.strip().lower()[:2]] for name in part.split("-")]
        first, last = numbers[0], numbers[-1]
        # Sa-Mo goes on into the next week.
        days += [_PH] if first == _PH else [(first + n) % 7 for n in range((last - first) % 7 + 1)]
    return days


def _read_spans(rule: str, times: str) -> Spans:
    spans: list[tuple[int, int]] = []
    for opens, closes in sorted((_minutes(start), _minutes(end)) for start, end in _SPAN.findall(times)):
        if closes <= opens:
            raise _wrong(
                rule, "an end after its start, 24:00 for midnight (over midnight: 20:00-24:00,00:00-02:00)"
            )
        if spans and opens <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], closes))
        else:
            spans.append((opens, closes))
    return tuple(spans)


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _write_days(days: list[int]) -> str:
    if len(days) == 7:
        return ""
    runs: list[list[int]] = []
    for day in days:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join("-".join(dict.fromkeys((_DAYS[run[0]], _DAYS[run[-1]]))) for run in runs)


def _write_spans(spans: Spans) -> str:
    return ",".join(f"{_write_time(opens)}-{_write_time(closes)}" for opens, closes in spans) or "off"


def _write_time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
