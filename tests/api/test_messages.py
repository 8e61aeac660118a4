from __future__ import annotations

import pickle
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.messages import SmsParameters, check_text
from airflow_provider_telekom_sms.api.times import BRATISLAVA
from airflow_provider_telekom_sms.exceptions import InvalidMessageError

NAMES = (
    "sender",
    "callback",
    "delivery_time",
    "priority",
    "validity",
    "unicode",
    "message_type",
    "group_id",
)


@pytest.mark.parametrize("nothing", [None, "", "None"])
@pytest.mark.parametrize("name", NAMES)
def test_not_given(name, nothing):
    parameters = SmsParameters.check(**{name: nothing})
    assert parameters == SmsParameters()
    assert parameters.v1 == {}


@pytest.mark.parametrize(
    ("name", "found", "read"),
    [
        *(("priority", found, 2) for found in (2, "2", " 2\n", 2.0)),
        *(("validity", found, found) for found in (1, 1440)),
        ("group_id", "1000", 1000),
        *(("unicode", found, True) for found in (True, 1, "1", "true", "True", " TRUE ")),
        *(("callback", found, False) for found in (False, 0, "0", "false", "False")),
        *(("message_type", found, found) for found in ("standard", "flash")),
        ("sender", "Obchod č. 1", "Obchod č. 1"),
        ("sender", " Telekom\n", "Telekom"),
        # Rendered as a native object.
        ("sender", 421903123456, "421903123456"),
        ("delivery_time", "2026-07-01 08:00:00", datetime(2026, 7, 1, 8, tzinfo=BRATISLAVA)),
        ("delivery_time", "2026-07-01T08:00:00Z", datetime(2026, 7, 1, 10, tzinfo=BRATISLAVA)),
        ("delivery_time", pendulum.datetime(2026, 7, 1, 8), datetime(2026, 7, 1, 10, tzinfo=BRATISLAVA)),
        ("delivery_time", datetime(2026, 7, 1, 8), datetime(2026, 7, 1, 8, tzinfo=BRATISLAVA)),
    ],
    ids=repr,
)
def test_what_templates_give(name, found, read):
    value = getattr(SmsParameters.check(**{name: found}), name)
    assert (value, type(value)) == (read, type(read))


PRIORITIES = "1 (low), 2 (standard), 3 (high)"
MINUTES = "1 to 1440 (minutes)"
FLAGS = "true, false, 1, 0"


@pytest.mark.parametrize(
    ("name", "found", "allowed"),
    [
        *(
            ("priority", found, PRIORITIES)
            for found in (0, 4, "4", "high", True, "2.0", "２", -1, [2], Decimal(2))
        ),
        *(
            ("validity", found, MINUTES)
            for found in (0, 1441, "0", 1.5, "1.5", True, False, float("nan"), 10**400)
        ),
        *(("unicode", found, FLAGS) for found in (2, "yes", "áno", [], 1.0, float("nan"), b"1")),
        *(("callback", found, FLAGS) for found in ("2", "none", " ")),
        *(("message_type", found, "standard, flash") for found in ("Flash", "sms", 1, True)),
        *(("group_id", found, "positive whole numbers") for found in (0, -5, "x", True, 1.5, "-1")),
        *(
            ("sender", found, "a number, or")
            for found in (" ", "\n", "a\x07", "a\nb", "a\ud800", True, 1.5, [], b"a")
        ),
        *(
            ("delivery_time", found, "a datetime, YYYY-MM-DD HH:MM:SS")
            for found in ("soon", 5, "2026-07-01", True)
        ),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_not_allowed(name, found, allowed):
    with pytest.raises(InvalidMessageError) as error:
        SmsParameters.check(**{name: found})
    assert str(error.value).startswith(f"{name}: found ")
    assert f"allowed are {allowed}" in str(error.value)
    assert len(str(error.value)) < 200


def test_all_problems_at_once():
    with pytest.raises(InvalidMessageError) as error:
        SmsParameters.check(
            priority=4,
            validity="0",
            delivery_time="2026-03-29 02:30:00",
            callback="yes",
            from_="x",
            unicode="1",
        )
    assert str(error.value).split("; ") == [
        "callback: found 'yes', allowed are true, false, 1, 0",
        "delivery_time: found '2026-03-29 02:30:00', a time that does not exist on 2026-03-29 in "
        "Europe/Bratislava: the clocks skip the hour from 02:00 to 03:00, use 03:30:00",
        "priority: found 4, allowed are 1 (low), 2 (standard), 3 (high)",
        "validity: found '0', allowed are 1 to 1440 (minutes)",
        "from_: not a parameter of a message, allowed are " + ", ".join(NAMES),
    ]


def test_no_error_quotes_a_text():
    secret = "Vážená pani Nováková, Váš kód je 123456"
    with pytest.raises(InvalidMessageError) as error:
        SmsParameters.check(
            cls=secret, text=secret, priority=secret, delivery_time=secret, sender=secret + "\x00"
        )
    assert "Nováková" not in str(error.value)
    assert "priority: found a text of 39 characters" in str(error.value)
    # pydantic's own error would quote it in a traceback.
    assert error.value.__context__ is None


def test_the_manuals_names():
    parameters = SmsParameters.check(
        sender="Obchod",
        callback=False,
        delivery_time="2026-10-25 02:30:00",
        priority=1,
        validity=5,
        unicode=True,
        message_type="standard",
        group_id=7,
    )
    assert parameters.v1 == {
        "from": "Obchod",
        "callback": False,
        "delivery_time": "2026-10-25 03:00:00",
        "priority": 1,
        "validity": 5,
        "unicode": True,
        "type": "standard",
        "groupId": 7,
    }
    assert parameters.v1 is parameters.v1


def test_a_copy_is_checked_and_fresh():
    parameters = SmsParameters.check(priority=1)
    assert parameters.v1 == {"priority": 1}
    assert parameters.model_copy(update={"priority": "3", "validity": 5}).v1 == {"priority": 3, "validity": 5}
    with pytest.raises(InvalidMessageError, match="priority: found 4"):
        parameters.model_copy(update={"priority": 4})


@st.composite
def some_parameters(draw):
    optional = {
        "sender": st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1),
        "callback": st.booleans(),
        "delivery_time": st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
        "priority": st.sampled_from([1, 2, 3]),
        "validity": st.integers(1, 1440),
        "unicode": st.booleans(),
        "message_type": st.sampled_from(["standard", "flash"]),
        "group_id": st.integers(1),
    }
    return SmsParameters.check(**draw(st.fixed_dictionaries({}, optional=optional)))


@given(some_parameters())
def test_round_trip_through_json(parameters):
    again = SmsParameters.check(**parameters.model_dump(mode="json"))
    assert again == parameters
    assert again == SmsParameters.model_validate_json(parameters.model_dump_json())
    if parameters.delivery_time is not None:
        # Equality within a zone does not look at the fold.
        assert again.delivery_time.astimezone(UTC) == parameters.delivery_time.astimezone(UTC)
    assert pickle.loads(pickle.dumps(parameters)) == parameters
    assert hash(again) == hash(parameters)


anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text())
)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), anything))
def test_check_raises_nothing_else(values):
    try:
        parameters = SmsParameters.check(**values)
    except InvalidMessageError as error:
        assert all(name in str(error) for name in values if name not in NAMES)  # noqa: PT017  only some do
    else:
        assert SmsParameters.check(**parameters.model_dump(mode="json")) == parameters


class TestText:
    @pytest.mark.parametrize("text", ["Ahoj", "riadok\r\nriadok\ttab", "😀", "\u00a0x", "​x", "x" * 10_000])
    def test_allowed(self, text):
        assert check_text(text) == text

    def test_composed(self):
        assert check_text(unicodedata.normalize("NFD", "Vážený ľúbezný")) == "Vážený ľúbezný"

    @pytest.mark.parametrize("text", ["", " ", "\n\t\r\f", "\u00a0\u2003"])
    def test_blank(self, text):
        with pytest.raises(InvalidMessageError, match="text: found nothing but white space"):
            check_text(text)

    @pytest.mark.parametrize("text", [None, 5, b"Ahoj", ["Ahoj"], float("nan")])
    def test_no_text(self, text):
        with pytest.raises(InvalidMessageError, match=r"text: found .*, allowed are texts"):
            check_text(text)

    @pytest.mark.parametrize(
        "character",
        ["\x00", "\x07", "\x0b", "\f", "\ufffe", "\x0e", "\x1b", "\x7f", "\x85", "\x9f", "\ud800"],
        ids=ascii,
    )
    def test_no_message_can_hold_it(self, character):
        with pytest.raises(InvalidMessageError) as error:
            check_text(f"tajné{character}")
        assert f"text: found U+{ord(character):04X} at position 6" in str(error.value)
        assert "tajné" not in str(error.value)

    @given(st.text(st.characters()))
    def test_what_passes_stays(self, text):
        try:
            checked = check_text(text)
        except InvalidMessageError:
            return
        assert check_text(checked) == checked == unicodedata.normalize("NFC", text)
        assert not {c for c in checked if unicodedata.category(c) in ("Cc", "Cs")} - set("\n\r\t")
