from __future__ import annotations

import pickle
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.times import BRATISLAVA
from airflow_provider_telekom_sms.campaign import window
from airflow_provider_telekom_sms.campaign.window import SendWindow
from airflow_provider_telekom_sms.exceptions import ConfigurationError

DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
#: Act 241/1993 as amended by 261/2025: in 2026 people work on 8 May and 15 September, for good on 1 September
#: and 17 November. Written out here, so that the library is judged and not repeated.
HOLIDAYS = {
    2026: "01-01 01-06 04-03 04-06 05-01 07-05 08-29 11-01 12-24 12-25 12-26",
    2027: "01-01 01-06 03-26 03-29 05-01 05-08 07-05 08-29 09-15 11-01 12-24 12-25 12-26",
}
HOLIDAYS_2026_2027 = {
    date.fromisoformat(f"{year}-{day}") for year, days in HOLIDAYS.items() for day in days.split()
}


def at(written: str) -> datetime:
    """Read a wall time of Bratislava; the second one of an hour that is repeated ends in +01:00."""
    moment = datetime.fromisoformat(written)
    return (moment if moment.tzinfo else moment.replace(tzinfo=BRATISLAVA)).astimezone(UTC)


def next_allowed(text: str, written: str) -> datetime:
    allowed = SendWindow.parse(text).next_allowed(at(written))
    assert allowed.tzinfo is BRATISLAVA
    return allowed.astimezone(UTC)


WORK = "Mo-Fr 08:00-12:00,13:00-20:00; Sa 09:00-13:00"


# 2026-07-13 is a Monday.
@pytest.mark.parametrize(
    ("text", "moment", "allowed"),
    [
        ("08:00-20:00", "2026-07-13 07:59:59.999999", "2026-07-13 08:00"),
        ("08:00-20:00", "2026-07-13 08:00", "2026-07-13 08:00"),
        ("08:00-20:00", "2026-07-13 12:34:56.789", "2026-07-13 12:34:56.789"),
        ("08:00-20:00", "2026-07-13 19:59:59.999999", "2026-07-13 19:59:59.999999"),
        ("08:00-20:00", "2026-07-13 20:00", "2026-07-14 08:00"),
        ("08:00-20:00", "2026-07-18 20:00", "2026-07-19 08:00"),
        ("08:15-20:45", "2026-07-13 08:14", "2026-07-13 08:15"),
        ("08:15-20:45", "2026-07-13 20:44", "2026-07-13 20:44"),
        ("08:15-20:45", "2026-07-13 20:45", "2026-07-14 08:15"),
        # Other zones mean the same instants.
        ("08:00-20:00", "2026-07-13 05:59Z", "2026-07-13 08:00"),
        ("08:00-20:00", "2026-07-13 06:01Z", "2026-07-13 08:01"),
        ("08:00-20:00", "2026-07-13 23:30-04:00", "2026-07-14 08:00"),
        ("08:00-20:00", "2026-01-13 06:30Z", "2026-01-13 08:00"),
        (WORK, "2026-07-13 00:00", "2026-07-13 08:00"),
        (WORK, "2026-07-13 11:59", "2026-07-13 11:59"),
        (WORK, "2026-07-13 12:00", "2026-07-13 13:00"),
        (WORK, "2026-07-17 20:00", "2026-07-18 09:00"),
        (WORK, "2026-07-18 13:00", "2026-07-20 08:00"),
        ("Mo,We-Fr 08:00-20:00", "2026-07-13 20:00", "2026-07-15 08:00"),
        ("Sa-Mo 08:00-20:00", "2026-07-13 20:00", "2026-07-18 08:00"),
        ("Sa-Mo 08:00-20:00", "2026-07-19 20:00", "2026-07-20 08:00"),
        ("We-We 08:00-20:00", "2026-07-15 20:00", "2026-07-22 08:00"),
        # A later rule overrides the whole day.
        ("Mo-Su 08:00-20:00; Su off", "2026-07-18 20:00", "2026-07-20 08:00"),
        ("08:00-20:00; Mo 10:00-11:00", "2026-07-13 08:00", "2026-07-13 10:00"),
        ("08:00-20:00; Mo 10:00-11:00", "2026-07-13 11:00", "2026-07-14 08:00"),
        ("Mo off; 08:00-20:00", "2026-07-13 07:00", "2026-07-13 08:00"),
        # Midnight on both ends.
        ("Mo-Fr 00:00-24:00", "2026-07-14 00:00", "2026-07-14 00:00"),
        ("Mo-Fr 00:00-24:00", "2026-07-17 23:59:59", "2026-07-17 23:59:59"),
        ("Mo-Fr 00:00-24:00", "2026-07-18 00:00", "2026-07-20 00:00"),
        ("Fr 20:00-24:00; Sa 00:00-02:00", "2026-07-18 01:00", "2026-07-18 01:00"),
        # Public holidays are days like any other, unless a rule says something else.
        ("Mo-Fr 08:00-20:00", "2026-12-24 07:00", "2026-12-24 08:00"),
        ("08:00-20:00; PH off", "2026-12-23 20:00", "2026-12-27 08:00"),
        ("Mo-Fr 08:00-20:00; PH off", "2026-12-24 12:00", "2026-12-28 08:00"),
        ("Mo-Fr 08:00-20:00; PH off", "2027-01-01 12:00", "2027-01-04 08:00"),
        ("Mo-Fr 08:00-20:00; PH off", "2027-01-06 12:00", "2027-01-07 08:00"),
        ("Mo-Fr 08:00-20:00; PH off", "2027-03-26 12:00", "2027-03-30 08:00"),
        ("Mo-Fr 08:00-20:00; PH off", "2026-05-08 12:00", "2026-05-08 12:00"),
        ("Mo-Fr 08:00-20:00; PH off", "2026-09-15 12:00", "2026-09-15 12:00"),
        ("Mo-Fr 08:00-20:00; PH off", "2027-09-15 12:00", "2027-09-16 08:00"),
        ("Mo-Fr 08:00-20:00; PH off", "2026-11-17 12:00", "2026-11-17 12:00"),
        ("Mo-Fr 08:00-20:00; PH 10:00-14:00", "2026-12-24 08:00", "2026-12-24 10:00"),
        ("Mo-Fr 08:00-20:00; PH 10:00-14:00", "2026-12-24 14:00", "2026-12-25 10:00"),
        ("Mo-Fr 08:00-20:00; PH 10:00-14:00", "2026-12-26 13:59", "2026-12-26 13:59"),
        ("Mo-Fr 08:00-20:00; Sa,PH 10:00-14:00", "2026-12-25 09:00", "2026-12-25 10:00"),
        ("PH 10:00-14:00", "2026-05-02 12:00", "2026-07-05 10:00"),
        ("PH 10:00-14:00", "2027-11-01 14:00", "2027-12-24 10:00"),
        ("Sa 10:00-14:00; PH off; PH 12:00-13:00", "2026-12-26 10:00", "2026-12-26 12:00"),
        # Spring skips the hour from 02:00 to 03:00 of 2026-03-29.
        ("02:00-04:00", "2026-03-29 01:59", "2026-03-29 03:00"),
        ("02:30-04:00", "2026-03-29 00:00", "2026-03-29 03:00"),
        ("02:30-03:30,05:00-06:00", "2026-03-29 01:59", "2026-03-29 03:00"),
        ("02:00-03:00", "2026-03-29 01:00", "2026-03-30 02:00"),
        ("02:15-02:45,12:00-13:00", "2026-03-29 01:00", "2026-03-29 12:00"),
        ("02:15-02:45", "2026-03-28 12:00", "2026-03-30 02:15"),
        ("03:30-04:00", "2026-03-29 01:59", "2026-03-29 03:30"),
        # Autumn repeats the hour from 02:00 to 03:00 of 2026-10-25.
        ("02:30-04:00", "2026-10-25 00:00", "2026-10-25 02:30+02:00"),
        ("02:30-04:00", "2026-10-25 02:45+02:00", "2026-10-25 02:45+02:00"),
        ("02:30-04:00", "2026-10-25 02:15+01:00", "2026-10-25 02:30+01:00"),
        ("02:15-02:30", "2026-10-25 02:45+02:00", "2026-10-25 02:15+01:00"),
        ("02:15-02:30", "2026-10-25 02:30+01:00", "2026-10-26 02:15"),
        ("02:00-03:00", "2026-10-25 02:59+02:00", "2026-10-25 02:59+02:00"),
        ("02:00-03:00", "2026-10-25 02:59+01:00", "2026-10-25 02:59+01:00"),
        ("01:00-02:30", "2026-10-25 02:29+02:00", "2026-10-25 02:29+02:00"),
        # The clocks go back to a time at which the window is open.
        ("01:00-02:30", "2026-10-25 02:30+02:00", "2026-10-25 02:00+01:00"),
        ("01:00-02:30", "2026-10-25 02:30+01:00", "2026-10-26 01:00"),
    ],
)
def test_next_allowed(text, moment, allowed):
    assert next_allowed(text, moment) == at(allowed)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("08:00-20:00", "08:00-20:00"),
        (" 8:00 - 20:00 ", "08:00-20:00"),
        ("Mo-Su 8:00-20:00", "08:00-20:00"),
        ("mo-FR 08:00-24:00", "Mo-Fr 08:00-24:00"),
        ("Mon-Fri 08:00-20:00", "Mo-Fr 08:00-20:00"),
        ("Mon - Fr   08:00-20:00", "Mo-Fr 08:00-20:00"),
        ("tue,wed,thu,sat,sun 08:00-20:00", "Tu-Th,Sa-Su 08:00-20:00"),
        ("Mo,We-Fr 08:00-20:00", "Mo,We-Fr 08:00-20:00"),
        ("Sa-Mo 08:00-20:00", "Mo,Sa-Su 08:00-20:00"),
        ("Su 08:00-20:00 ; ph OFF", "Su 08:00-20:00; PH off"),
        ("Mo-Fr 08:00-12:00 , 13:00-20:00;Sa 09:00-13:00", WORK),
        ("Mo-Su 08:00-20:00; Su off", "Mo-Sa 08:00-20:00"),
        ("Fr 09:00-10:00; Mo 09:00-10:00; We 11:00-12:00", "Mo,Fr 09:00-10:00; We 11:00-12:00"),
        ("13:00-20:00,08:00-12:00", "08:00-12:00,13:00-20:00"),
        ("08:00-12:00,12:00-14:00", "08:00-14:00"),
        ("08:00-20:00,09:00-10:00,19:00-21:00", "08:00-21:00"),
        ("Sa,PH 10:00-14:00", "Sa 10:00-14:00; PH 10:00-14:00"),
        ("08:00-20:00\n; PH off", "08:00-20:00; PH off"),
    ],
)
def test_canonical_text(text, canonical):
    assert str(SendWindow.parse(text)) == canonical
    assert SendWindow.parse(canonical) == SendWindow.parse(text)


RULES = "allowed: rules separated by ';'"
END = "allowed: an end after its start"
PH_LAST = "allowed: rules with PH after those without"
NEVER = "allowed: a window that opens on some day"


@pytest.mark.parametrize(
    ("text", "found", "allowed"),
    [
        ("", "''", RULES),
        ("08:00-20:00;", "''", RULES),
        ("Mo-Fr", "'Mo-Fr'", RULES),
        ("Sa 09:00-13:00; Mo-Fr 8-20", "'Mo-Fr 8-20'", RULES),
        ("Mo-Fr08:00-20:00", "'Mo-Fr08:00-20:00'", RULES),
        ("Po-Pi 08:00-20:00", "'Po-Pi 08:00-20:00'", RULES),
        ("Monday 08:00-20:00", "'Monday 08:00-20:00'", RULES),
        ("Mo-PH 08:00-20:00", "'Mo-PH 08:00-20:00'", RULES),
        ("SH off", "'SH off'", RULES),
        ("Dec 24 off", "'Dec 24 off'", RULES),
        ("24/7", "'24/7'", RULES),
        ("08:00", "'08:00'", RULES),
        ("08:00-", "'08:00-'", RULES),
        ("08:00+", "'08:00+'", RULES),
        ("08:00-20:00,", "'08:00-20:00,'", RULES),
        ("08:00-24:01", "'08:00-24:01'", RULES),
        ("08:00-25:00", "'08:00-25:00'", RULES),
        ("08:60-20:00", "'08:60-20:00'", RULES),
        ("008:00-20:00", "'008:00-20:00'", RULES),
        ("08:00-20:00:00", "'08:00-20:00:00'", RULES),
        ("0८:00-20:00", "'0८:00-20:00'", RULES),
        ("Mo 08:00-12:00, Tu 13:00-20:00", "'Mo 08:00-12:00, Tu 13:00-20:00'", RULES),
        ("Mo 08:00-12:00 Tu 13:00-20:00", "'Mo 08:00-12:00 Tu 13:00-20:00'", RULES),
        ("Mo off 08:00-12:00", "'Mo off 08:00-12:00'", RULES),
        (None, "NoneType", RULES),
        (8, "int", RULES),
        ("Su off; Mo 20:00-08:00", "'Mo 20:00-08:00'", END),
        ("20:00-02:00", "'20:00-02:00'", END),
        ("20:00-00:00", "'20:00-00:00'", END),
        ("08:00-12:00,13:00-13:00", "'08:00-12:00,13:00-13:00'", END),
        ("24:00-24:00", "'24:00-24:00'", END),
        ("PH off; Mo-Fr 08:00-20:00", "'PH off; Mo-Fr 08:00-20:00'", PH_LAST),
        ("Su,PH 10:00-14:00; Sa 08:00-20:00", "'Su,PH 10:00-14:00; Sa 08:00-20:00'", PH_LAST),
        ("off", "'off'", NEVER),
        ("Mo off; PH off", "'Mo off; PH off'", NEVER),
        ("Mo-Fr 08:00-20:00; Mo-Su off", "'Mo-Fr 08:00-20:00; Mo-Su off'", NEVER),
    ],
)
def test_refused(text, found, allowed):
    with pytest.raises(ConfigurationError) as caught:
        SendWindow.parse(text)
    assert str(caught.value).startswith(f"send_window: found {found}, {allowed}")


def test_a_moment_needs_a_zone():
    with pytest.raises(ValueError, match="found a datetime without a zone, allowed: one with a zone"):
        SendWindow.parse("08:00-20:00").next_allowed(datetime(2026, 7, 13, 12))


def test_a_search_ends():
    with pytest.raises(ConfigurationError, match="opens within 400 days of 2026-07-13"):
        SendWindow(((),) * 7, ()).next_allowed(at("2026-07-13 12:00"))


@pytest.mark.parametrize("year", HOLIDAYS)
def test_public_holidays_are_those_of_the_law(year):
    found = " ".join(f"{month:02}-{day:02}" for month, day in sorted(window._public_holidays(year)))
    assert found == HOLIDAYS[year]


def test_the_library_of_holidays_is_needed_for_ph_only(monkeypatch):
    window._public_holidays.cache_clear()
    monkeypatch.setitem(sys.modules, "holidays", None)
    assert next_allowed("Mo-Fr 08:00-20:00", "2026-12-24 12:00") == at("2026-12-24 12:00")
    with pytest.raises(ConfigurationError) as caught:
        SendWindow.parse("Mo-Fr 08:00-20:00; PH off")
    assert str(caught.value) == (
        "send_window: PH needs the library holidays; install airflow-provider-telekom-sms[holidays]"
    )


def test_a_window_goes_to_other_processes():
    parsed = SendWindow.parse(f"{WORK}; PH off")
    assert pickle.loads(pickle.dumps(parsed)) == parsed


minutes = st.one_of(st.sampled_from([0, 60, 120, 121, 150, 179, 180, 240, 1439, 1440]), st.integers(0, 1440))
spans = st.lists(minutes, min_size=2, max_size=2, unique=True).map(sorted).map(tuple)
#: Rules as (days, spans); no days are every day, no spans are "off".
rules = st.lists(
    st.tuples(st.lists(st.integers(0, 6), max_size=3), st.lists(spans, max_size=3)), min_size=1, max_size=4
)
ph_rules = st.lists(st.lists(spans, max_size=2), max_size=2)
around_changes = st.sampled_from(
    ["2026-03-29 01:00Z", "2026-10-25 01:00Z", "2027-03-28 01:00Z", "2027-10-31 01:00Z"]
)
moments = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 11, 30), timezones=st.just(UTC)),
    st.builds(
        lambda change, seconds: at(change) + timedelta(seconds=seconds),
        around_changes,
        st.integers(-4 * 3600, 4 * 3600),
    ),
    st.builds(
        lambda day, seconds: datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds),
        st.sampled_from(sorted(HOLIDAYS_2026_2027 - {date(2027, 12, day) for day in (24, 25, 26)})),
        st.integers(-86400, 86400),
    ),
)


def written_time(minute):
    return f"{minute // 60:02}:{minute % 60:02}"


def written_rules(days_and_spans, ph):
    rules = [(",".join(DAYS[day] for day in days), spans) for days, spans in days_and_spans]
    rules += [("PH", spans) for spans in ph]
    return "; ".join(
        f"{days} {','.join(f'{written_time(a)}-{written_time(b)}' for a, b in spans) or 'off'}".strip()
        for days, spans in rules
    )


def spans_of(days_and_spans, day):
    """Give the spans of a day of the week: the last rule that names it holds."""
    return next((spans for days, spans in reversed(days_and_spans) if day in days or not days), [])


def inside(days_and_spans, ph, moment):
    """Judge a moment by the rules as they are written."""
    local = moment.astimezone(BRATISLAVA)
    is_holiday = ph and local.date() in HOLIDAYS_2026_2027
    spans = ph[-1] if is_holiday else spans_of(days_and_spans, local.weekday())
    minute = local.hour * 60 + local.minute
    return any(start <= minute < end for start, end in spans)


@given(rules, ph_rules, moments)
@example([([], [(60, 150)])], [], at("2026-10-25 02:30+02:00"))
@example([([], [(150, 240)])], [], at("2026-03-29 00:00"))
def test_next_allowed_is_the_first_moment_inside(days_and_spans, ph, moment):
    text = written_rules(days_and_spans, ph)
    if not any(spans_of(days_and_spans, day) for day in range(7)) and not any(ph[-1:]):
        with pytest.raises(ConfigurationError, match=NEVER):
            SendWindow.parse(text)
        return
    parsed = SendWindow.parse(text)
    allowed = parsed.next_allowed(moment)
    assert allowed.tzinfo is BRATISLAVA
    found = allowed.astimezone(UTC)
    assert found >= moment
    assert inside(days_and_spans, ph, found)
    assert (found == moment) == inside(days_and_spans, ph, moment)
    assert parsed.next_allowed(allowed).astimezone(UTC) == found
    # Windows open on whole minutes, so that nothing is missed in between.
    earlier = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(60 * 36):
        if earlier >= found:
            break
        assert not inside(days_and_spans, ph, earlier), earlier
        earlier += timedelta(minutes=1)
    assert SendWindow.parse(str(parsed)) == parsed
    assert str(SendWindow.parse(str(parsed))) == str(parsed)


@given(moments, st.integers(-12, 14))
def test_the_zone_of_a_moment_does_not_matter(moment, hours):
    parsed = SendWindow.parse(f"{WORK}; PH off")
    elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
    assert parsed.next_allowed(elsewhere) == parsed.next_allowed(moment)
