from __future__ import annotations

import contextlib
import subprocess
import sys
from decimal import Decimal

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.phone import (
    mask_phone,
    mask_phones_in,
    national_form,
    parse_mobile,
    wire_form,
)
from airflow_provider_telekom_sms.exceptions import InvalidPhoneNumberError

SPELLINGS = [
    "0903123456",
    "903123456",
    "421903123456",
    "+421903123456",
    "00421903123456",
    "0903 123 456",
    "0903/123 456",
    "0903/123-456",
    "0903.123.456",
    "(0903) 123 456",
    "+421 903 123 456",
    "+421 (0) 903 123 456",
    "+421 (0)903/123 456",
    "00421 903 123 456",
    "+421-903-123-456",
    "+421\u00a0903\u00a0123\u00a0456",
    "+421\u202f903\u2009123\u2009456",
    "0903–123–456",
    "\u202a+421 903 123 456\u202c",
    "  0903123456\t\r\n",
    "０９０３１２３４５６",
]


@pytest.mark.parametrize("raw", SPELLINGS)
def test_every_spelling_is_one_number(raw):
    assert parse_mobile(raw) == "421903123456"
    assert national_form(raw) == "0903123456"
    assert mask_phone(parse_mobile(raw)) == "+4219••••3456"


REFUSED = [
    ("", "is empty"),
    (" \u00a0 ", "is empty"),
    (None, "is empty"),
    (903123456, "is not text but int"),
    (421903123456.0, "is not text but float"),
    (Decimal(903123456), "read the column as text"),
    ("903123456.0", "rewritten"),
    ("421903123456,0", "rewritten"),
    ("4.21903E+11", "rewritten"),
    ("4,21903e11", "rewritten"),
    ("02/5555 1234", "a landline"),
    ("+421 2 5555 1234", "a landline"),
    ("0900123456", "a premium rate number"),
    ("0970123456", "a premium rate number"),
    ("0800123456", "a free number"),
    ("0850123456", "a shared cost number"),
    ("0961234567", "a company number"),
    ("0602123456", "an internet telephony number"),
    ("+420 603 123 456", "country code +420"),
    ("00420603123456", "country code +420"),
    ("420603123456", "too many digits"),
    ("+999123456789", "no country code that exists"),
    ("0903 123 45", "too few digits"),
    ("903", "too few digits"),
    ("112", "too few digits"),
    ("0903 123 4567", "too many digits"),
    ("0903123456 0904123456", "too many digits"),
    ("9" * 1000, "too many digits"),
    ("0903123456,0904123456", "letters or signs"),
    ("0903123456;0904123456", "letters or signs"),
    ("0903123456 x12", "letters or signs"),
    ("0903-FLOWER", "letters or signs"),
    ("tel:0903123456", "letters or signs"),
    ("+421+903123456", "letters or signs"),
    ("Ján Novák", "letters or signs"),
    ("0913123456", "not in a Slovak mobile range"),
    ("0999123456", "not in a Slovak mobile range"),
]


@pytest.mark.parametrize(("raw", "reason"), REFUSED)
def test_refused_with_a_reason_and_masked(raw, reason):
    with pytest.raises(InvalidPhoneNumberError, match="phone number") as error:
        parse_mobile(raw)
    assert reason in str(error.value)
    if isinstance(raw, str) and len(raw.strip()) > 4:
        assert raw.strip() not in str(error.value)


@pytest.mark.parametrize(
    ("raw", "national"),
    [
        ("0900000001", "0900000001"),  # manual v1, check_phone_number
        ("+421 900 000 001", "0900000001"),
        ("0800 123 456", "0800123456"),
        ("02/5555 1234", "0255551234"),
        ("+421255551234", "0255551234"),
        ("0999123456", "0999123456"),
    ],
)
def test_national_form_takes_any_slovak_number(raw, national):
    assert national_form(raw) == national


@pytest.mark.parametrize("raw", ["", None, 903123456, "+420603123456", "0903 123 45", "112", "x", "9" * 30])
def test_national_form_refuses_what_is_no_slovak_number(raw):
    with pytest.raises(InvalidPhoneNumberError):
        national_form(raw)


def test_wire_form_chooses_the_channel():
    assert wire_form("421903123456", prefer_rcs=False) == "421903123456"
    assert wire_form("421903123456", prefer_rcs=True) == "+421903123456"


def oracle(raw):
    try:
        number = phonenumbers.parse(raw, "SK")
    except phonenumbers.NumberParseException:
        return None
    if number.country_code != 421 or not phonenumbers.is_valid_number(number):
        return None
    if phonenumbers.number_type(number) != phonenumbers.PhoneNumberType.MOBILE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def spelled(prefix, national, separators):
    digits = "".join(f"{digit}{separator}" for digit, separator in zip(national, separators, strict=False))
    return f"{prefix}{digits}{national[len(separators) :]}"


numbers = st.builds(
    spelled,
    st.sampled_from(["", "0", "421", "+421", "00421", "+421 ", "00421/", "+421(0)"]),
    st.from_regex(r"9[0-9]{8}|[0-9]{8,10}", fullmatch=True),
    st.lists(st.sampled_from(["", "", "", " ", "-", "/", ".", "\u00a0"]), max_size=9),
)


@given(numbers)
@example("0909012345")
@example("0909112345")
@settings(deadline=None)
def test_agrees_with_phonenumbers(raw):
    try:
        found = parse_mobile(raw)
    except InvalidPhoneNumberError:
        found = None
    # What ends in a decimal zero was a float; phonenumbers takes the dot for a blank.
    if found is None and raw.rstrip("0").endswith("."):
        return
    assert found == oracle(raw)


@given(st.one_of(st.text(), numbers, st.integers(), st.floats(), st.none(), st.binary()))
@settings(deadline=None)
def test_never_fails_but_as_announced(raw):
    for read in (parse_mobile, national_form):
        with contextlib.suppress(InvalidPhoneNumberError):
            assert read(raw).isascii()


@given(st.one_of(st.text(), numbers, st.text("0123456789 +/•"), st.integers(), st.none(), st.binary()))
@settings(deadline=None)
def test_mask_shows_four_trailing_digits_at_most(raw):
    masked = mask_phone(raw)
    assert "••••" in masked
    tail = masked.rpartition("••••")[2]
    assert len(tail) <= 4
    assert masked.partition("••••")[0] in {"", *(f"+421{digit}" for digit in "0123456789")}
    assert mask_phone(masked) == masked


@pytest.mark.parametrize(
    ("raw", "masked"),
    [
        ("0903123456", "+4219••••3456"),
        ("+421 2 5555 1234", "+4212••••1234"),
        ("+43 664 1234567", "••••4567"),
        ("0903 123 45", "••••345"),
        ("123456", "••••56"),
        ("112", "••••2"),
        ("7", "••••"),
        ("", "••••"),
        ("Novák", "••••"),
        ("0903123456 x1", "••••"),
        (None, "••••"),
        (421903123456, "••••"),
        ("+4219••••3456", "+4219••••3456"),
    ],
)
def test_mask(raw, masked):
    assert mask_phone(raw) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to 421903123456 failed", "to +4219••••3456 failed"),
        ("421903123456,+421 904 123 457;", "+4219••••3456,+4219••••3457;"),
        ("(0903) 123-456: no", "+4219••••3456: no"),
        ("to=%2B421903123456&x", "to=%2B+4219••••3456&x"),
        ("2026-05-12 10:30:00 is past", "2026-05-12 10:30:00 is past"),
        ("2026-05-12 0903123456", "2026-••••3456"),
        ("line 12345\n67890 and 12345678", "line 12345\n67890 and 12345678"),
        ("0903_123_456, 0903*123*456 or 0903'123'456", "••••, •••• or ••••"),
        ("+4219••••3456", "+4219••••3456"),
        ("", ""),
    ],
)
def test_mask_in_text(text, masked):
    assert mask_phones_in(text) == masked


@given(st.text(), st.sampled_from(SPELLINGS), st.text())
@settings(deadline=None)
def test_no_number_survives_in_a_text(before, number, after):
    assert "903123456" not in mask_phones_in(f"{before} {number} {after}").replace(" ", "")


def test_importing_does_not_load_phonenumbers():
    code = (
        "import sys; from airflow_provider_telekom_sms.api import phone; phone.parse_mobile('0903 123 456');"
        "sys.exit('phonenumbers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
