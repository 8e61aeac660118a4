"""
The operator's clock: API v1 writes wall times of Bratislava, without a zone.

Every time this module gives is in the zone :data:`BRATISLAVA`.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from airflow_provider_telekom_sms.exceptions import InvalidMessageError

logger = logging.getLogger(__name__)

BRATISLAVA = ZoneInfo("Europe/Bratislava")

_WRITTEN_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d(:\d\d)?)?)?", re.ASCII
)
TIME_ALLOWED = "a datetime, YYYY-MM-DD HH:MM:SS, and ISO 8601 with a time of day"


def parse_time(value: object) -> datetime:
    """
    Read a moment; one without a zone is a wall time of Bratislava.

    :param value: a datetime (pendulum's and pandas' too), ``YYYY-MM-DD HH:MM:SS`` or ISO 8601
    :raises InvalidMessageError: when it is no time, or one that the clocks skip in spring
    """
    try:
        moment = _as_datetime(value)
        if moment.utcoffset() is None:
            moment = moment.replace(tzinfo=BRATISLAVA)
        instant = moment.astimezone(UTC)
        in_its_zone = instant.astimezone(moment.tzinfo)
        local = instant.astimezone(BRATISLAVA)
    except (TypeError, ValueError, OverflowError):
        raise InvalidMessageError(f"allowed are {TIME_ALLOWED}") from None
    if in_its_zone.replace(tzinfo=None) != moment.replace(tzinfo=None):
        hour = moment.hour
        raise InvalidMessageError(
            f"a time that does not exist on {moment:%Y-%m-%d} in {moment.tzinfo}: the clocks skip the hour "
            f"from {hour:02}:00 to {hour + 1:02}:00, use {in_its_zone:%H:%M:%S}"
        )
    return local


def parse_reported_time(value: object) -> datetime | None:
    """
    Read a time of the API (``deliveryDateTime``); None where it is empty or unreadable.

    :param value: ``YYYY-MM-DD HH:MM:SS`` or ISO 8601
    """
    try:
        return parse_time(value)
    except InvalidMessageError:
        return None


def v1_delivery_time(moment: datetime) -> str:
    """
    Write ``delivery_time`` (manual v1, send_message): the wall time of Bratislava, to the second.

    The hour that autumn repeats cannot be told from its twin, so a time in it becomes its end.

    :param moment: when to send; naive is Bratislava
    :raises InvalidMessageError: as :func:`parse_time`
    """
    local = parse_time(moment)
    if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
        end = local.replace(hour=local.hour + 1, minute=0, second=0)
        logger.warning(
            "delivery_time %s is in the hour that is repeated when summer time ends, "
            "and the API cannot tell which one is meant: %s is used",
            local.isoformat(),
            end.strftime("%H:%M:%S"),
        )
        local = end
    return local.replace(tzinfo=None).isoformat(" ", "seconds")


def v2_delivery_time(moment: datetime) -> str:
    """
    Write ``deliveryTime`` (manual v2, deliveryTime): RFC 3339 with Bratislava's offset, to the second.

    :param moment: when to send; naive is Bratislava
    :raises InvalidMessageError: as :func:`parse_time`
    """
    return parse_time(moment).isoformat("T", "seconds")


def _as_datetime(value: object) -> datetime:
    """
    Give a plain datetime: its subclasses (pendulum, pandas) reckon and compare in ways of their own.

    :raises TypeError: for what is not a time (pandas' NaT is a datetime without a year)
    :raises ValueError: for a text that is not one
    """
    if isinstance(value, str):
        text = value.strip()
        if not _WRITTEN_TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text)
    if not isinstance(value, datetime):
        raise TypeError
    return datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        tzinfo=value.tzinfo,
        fold=value.fold,
    )
