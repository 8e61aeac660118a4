from __future__ import annotations

import logging
from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pandas as pd
import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.times import (
    BRATISLAVA,
    parse_reported_time,
    parse_time,
    v1_delivery_time,
)
from airflow_provider_telekom_sms.exceptions import InvalidMessageError

SUMMER, WINTER = timedelta(hours=2), timedelta(hours=1)


@pytest.mark.parametrize(
    ("written", "offset"),
    [
        ("2026-03-29 01:59:59", WINTER),
        ("2026-03-29 03:00:00", SUMMER),
        ("2026-10-25 01:59:59", SUMMER),
        # The first of the two, until somebody has to say which one is meant.
        ("2026-10-25 02:00:00", SUMMER),
        ("2026-10-25 02:59:59", SUMMER),
        ("2026-10-25 03:00:00", WINTER),
    ],
)
@pytest.mark.parametrize("read", [str, datetime.fromisoformat, pd.Timestamp])
def test_naive_is_bratislava(written, offset, read):
    moment = parse_time(read(written))
    assert moment.replace(tzinfo=None) == datetime.fromisoformat(written)
    assert (moment.utcoffset(), moment.tzinfo, type(moment)) == (offset, BRATISLAVA, datetime)


@pytest.mark.parametrize("written", ["2026-03-29 02:00:00", "2026-03-29 02:30:00", "2026-03-29 02:59:59"])
@pytest.mark.parametrize(
    "read",
    [
        str,
        datetime.fromisoformat,
        lambda written: datetime.fromisoformat(written).replace(tzinfo=BRATISLAVA),
        lambda written: datetime.fromisoformat(written).replace(tzinfo=BRATISLAVA, fold=1),
        lambda written: datetime.fromisoformat(written).replace(tzinfo=ZoneInfo("Europe/Prague")),
    ],
)
def test_the_hour_that_spring_skips(written, read):
    with pytest.raises(InvalidMessageError) as error:
        parse_time(read(written))
    assert "2026-03-29" in str(error.value)
    assert "from 02:00 to 03:00, use 0" in str(error.value)
    with pytest.raises(InvalidMessageError):
        v1_delivery_time(read(written))


def test_what_to_use_instead():
    with pytest.raises(InvalidMessageError, match=r"use 03:30:00$"):
        parse_time("2026-03-29 02:30:00")


@pytest.mark.parametrize(
    ("moment", "wall"),
    [
        ("2026-07-01T08:00:00Z", "2026-07-01 10:00:00"),
        ("2026-07-01T08:00:00.123456+00:00", "2026-07-01 10:00:00"),
        ("2026-01-01 08:00:00+0100", "2026-01-01 08:00:00"),
        ("2026-01-01T08:00-05:00", "2026-01-01 14:00:00"),
        ("2026-01-01 08:00", "2026-01-01 08:00:00"),
        (" 2026-01-01 08:00:00 ", "2026-01-01 08:00:00"),
        (datetime(2026, 1, 1, 8, 0, 0, 999999), "2026-01-01 08:00:00"),
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "2027-01-01 00:30:00"),
        (datetime(2026, 7, 1, 8, tzinfo=ZoneInfo("Asia/Kathmandu")), "2026-07-01 04:15:00"),
        (pendulum.datetime(2026, 7, 1, 8), "2026-07-01 10:00:00"),
        (pendulum.datetime(2026, 7, 1, 8, tz="America/New_York"), "2026-07-01 14:00:00"),
        # pendulum itself moves a time that spring skips.
        (pendulum.datetime(2026, 3, 29, 2, 30, tz="Europe/Bratislava"), "2026-03-29 03:30:00"),
        (pd.Timestamp("2026-07-01 08:00", tz="UTC"), "2026-07-01 10:00:00"),
        # A past time means "now"; that is for the API to say.
        ("1970-01-01 00:00:00", "1970-01-01 00:00:00"),
        (datetime(900, 1, 1), "0900-01-01 00:00:00"),
        # The edges of both changes, told in UTC.
        ("2026-03-29T00:59:59Z", "2026-03-29 01:59:59"),
        ("2026-03-29T01:00:00Z", "2026-03-29 03:00:00"),
        ("2026-10-24T23:59:59Z", "2026-10-25 01:59:59"),
        ("2026-10-24T23:59:59.999999Z", "2026-10-25 01:59:59"),
        ("2026-10-25T02:00:00Z", "2026-10-25 03:00:00"),
    ],
    ids=str,
)
def test_wall_clock_of_bratislava(moment, wall, caplog):
    assert v1_delivery_time(moment) == wall
    assert not caplog.records


@pytest.mark.parametrize(
    "moment",
    [
        "2026-10-25 02:00:00",
        "2026-10-25 02:59:59",
        datetime(2026, 10, 25, 2, 30, fold=1),
        datetime(2026, 10, 25, 2, 30, tzinfo=BRATISLAVA),
        datetime(2026, 10, 25, 2, 30, tzinfo=BRATISLAVA, fold=1),
        datetime(2026, 10, 25, 2, 59, 59, 999999, tzinfo=BRATISLAVA, fold=1),
        "2026-10-25T00:00:00Z",
        "2026-10-25T00:59:59Z",
        "2026-10-25T01:00:00Z",
        "2026-10-25T01:59:59Z",
        pendulum.datetime(2026, 10, 25, 2, 30, tz="Europe/Bratislava"),
        pd.Timestamp("2026-10-25T01:30:00Z"),
    ],
    ids=str,
)
def test_the_hour_that_autumn_repeats_becomes_its_end(moment, caplog):
    with caplog.at_level(logging.WARNING):
        assert v1_delivery_time(moment) == "2026-10-25 03:00:00"
    assert "03:00:00 is used" in caplog.text


def test_fold_survives():
    assert parse_time(datetime(2026, 10, 25, 2, 30, fold=1)).utcoffset() == WINTER
    first, second = parse_time("2026-10-25T00:30:00Z"), parse_time("2026-10-25T01:30:00Z")
    assert (first.fold, second.fold) == (0, 1)
    assert first.replace(fold=0) == second.replace(fold=0)
    assert [parse_time(moment.isoformat()).fold for moment in (first, second)] == [0, 1]


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "soon", "2026-07-01", "08:00:00", "2026-02-30 08:00:00", "2026-07-01 24:00:00"),
        *(
            "2026-07-01 08:60:00",
            "01.07.2026 08:00",
            "20260701T080000",
            "2026-07-01T08:00:00+25:00",
            "x" * 10**6,
        ),
        *("２０２６-07-01 08:00:00", "2026-07-01 08:00:00 Europe/Bratislava", "\ud800"),
        *(
            0,
            1782892800,
            1.5,
            True,
            b"2026-07-01 08:00:00",
            [],
            {},
            object(),
            timedelta(1),
            time(8),
            date(2026, 7, 1),
        ),
        *(pd.NaT, float("nan"), datetime.min.replace(tzinfo=timezone(SUMMER)), "0001-01-01 00:00:00"),
        *(datetime.max.replace(tzinfo=timezone(-SUMMER)), "9999-12-31T23:59:59Z"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_time(value):
    with pytest.raises(InvalidMessageError) as error:
        parse_time(value)
    assert len(str(error.value)) < 200
    assert parse_reported_time(value) is None


zones = st.sampled_from(
    ["UTC", "Europe/Bratislava", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), zones)
def test_an_instant_stays_what_it_is(instant, zone):
    moment = parse_time(instant.astimezone(ZoneInfo(zone)))
    assert moment.astimezone(UTC) == instant
    written = parse_time(v1_delivery_time(moment)).astimezone(UTC)
    late = written - instant.replace(microsecond=0)
    assert late == timedelta(0) or timedelta(0) < late <= timedelta(hours=2)


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:\d\d|Z)?"))
def test_no_text_raises_anything_else(text):
    moment = parse_reported_time(text)
    assert moment is None or moment.tzinfo is BRATISLAVA
