"""
Phone numbers: read in any Slovak spelling, written in the one that chooses the channel, masked for people.

In the v1 API the spelling of ``to`` chooses the channel, so a number is kept as bare digits
(``4219xxxxxxxx``) and gets its plus only in :func:`wire_form`, where the caller says which channel is meant.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_telekom_sms.exceptions import InvalidPhoneNumberError

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

#: Separators that people and spreadsheets put into numbers: blanks of all widths, slash, dot, brackets,
#: dashes, and the invisible marks that come along when a number is copied from a contact. No line breaks.
_SEPARATORS = (
    r" \t\u00a0\u2000-\u200a\u202f\u3000/.()\-\u2010-\u2015\u2212"
    r"\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
)

_strip_separators = re.compile(rf"[\s{_SEPARATORS}]+").sub

#: The Slovak mobile ranges, national pattern of the phonenumbers metadata. What it does not match is not
#: yet refused: it goes to phonenumbers, whose metadata may know newer ranges.
_match_mobile = re.compile(
    r"(?:\+421|00421|421|0)?(909[1-9]\d{5}|9(?:0[1-8]|1[0-24-9]|4[03-57-9]|5\d)\d{6})", re.ASCII
).fullmatch

_is_number = re.compile(r"\+?\d+").fullmatch
_is_masked = re.compile(r"(?:\+421\d)?••••\d{0,4}").fullmatch
#: What a spreadsheet or a float column makes of a number: 4.21903E+11, 903123456.0
_is_rewritten = re.compile(r"\s*\d+(?:[.,]0+|[.,]?\d*E\+?\d+)\s*", re.IGNORECASE | re.ASCII).fullmatch

#: In a number that is to be read these are a mistake; where a number must not be shown they hide none.
_HIDES_TOO = r"_*'|\u2061-\u2064"
#: Nine digits or more, with up to three separators between two of them. A date in ISO form begins no number.
_PHONE_IN_TEXT = re.compile(
    rf"(?<!\d)(?!(?:19|20)\d\d-[01]\d-[0-3]\d)\+?\(?\d(?:[{_SEPARATORS}{_HIDES_TOO}]{{0,3}}\d){{8,}}"
)

#: Characters of a number in the most generous spelling.
LONGEST = 64

_READ_AS_TEXT = 'read the column as text (dtype="string", CAST(… AS VARCHAR))'


def parse_mobile(raw: object) -> str:
    """
    Read a Slovak mobile number in any usual spelling.

    :param raw: the number as text: 0903…, 903…, 00421…, 421…, +421…, with blanks, slashes, dashes, dots or
        brackets; anything but text is refused, since a number in a float or int has lost its zeros
    :return: twelve digits, ``4219xxxxxxxx``
    :raises InvalidPhoneNumberError: when it is not a Slovak mobile number; the message shows it masked
    """
    if national := _mobile_at_once(raw):
        return "421" + national
    number = _parse_slovak(raw)
    from phonenumbers import PhoneNumberType, national_significant_number, number_type

    kind = number_type(number)
    if kind != PhoneNumberType.MOBILE:
        raise _invalid(str(raw), f"is {_KINDS.get(kind, 'not in a Slovak mobile range')}")
    return "421" + national_significant_number(number)


def national_form(raw: object) -> str:
    """
    Write any Slovak number, mobile or not, as check_phone_number wants it (manual v1, ``phone_number``).

    :param raw: the number as text, in any usual spelling
    :return: zero and the national digits, ``0903123456``
    :raises InvalidPhoneNumberError: when it cannot be a Slovak number; whether it exists, the API says
    """
    if national := _mobile_at_once(raw):
        return "0" + national
    number = _parse_slovak(raw)
    from phonenumbers import national_significant_number

    return "0" + national_significant_number(number)


def wire_form(digits: str, prefer_rcs: bool) -> str:
    """
    Write a number so that it chooses the channel (manual v1, send_message ``to``).

    :param digits: ``4219xxxxxxxx``, as :func:`parse_mobile` gives it
    :param prefer_rcs: True tries RCS first (``+4219xxxxxxxx``), False sends an SMS (``4219xxxxxxxx``)
    """
    return international_form(digits) if prefer_rcs else digits


def international_form(digits: str) -> str:
    """
    Write a number as API v2 takes it (manual v2, recipients), ``+4219xxxxxxxx``.

    :param digits: ``4219xxxxxxxx``, as :func:`parse_mobile` gives it
    """
    return f"+{digits}"


def mask_phone(number: object) -> str:
    """
    Mask a number for logs, messages and receipts.

    A Slovak number becomes ``+4219••••1234`` in whatever spelling it came, any other one ``••••4567`` (a
    third of the digits of a short one, four at most). Of anything else nothing is shown, and what is masked
    already stays as it is.

    :param number: anything; this never fails
    """
    if not isinstance(number, str):
        return "••••"
    if _is_masked(number):
        return number
    bare = _strip_separators("", number)
    if not _is_number(bare):
        return "••••"
    if national := _slovak_national(bare):
        return f"+421{national[0]}••••{national[-4:]}"
    digits = bare.lstrip("+")
    shown = min(4, len(digits) // 3)
    return "••••" + digits[len(digits) - shown :]


def mask_phones_in(text: str) -> str:
    """
    Mask every phone-like run in a longer text: nine digits or more, in any of the usual spellings.

    Long ids look the same and are masked too; dates in ISO form stay.

    :param text: e.g. an error description of the API
    """
    return _PHONE_IN_TEXT.sub(lambda match: mask_phone(match[0]), text)


def _mobile_at_once(raw: object) -> str | None:
    """Give the nine national digits of a mobile number in a known range, None for all the rest."""
    if not isinstance(raw, str):
        return None
    match = _match_mobile(raw) or _match_mobile(_strip_separators("", raw))
    return match[1] if match else None


def _slovak_national(bare: str) -> str | None:
    """Give the nine national digits of a number without separators, None where it does not look Slovak."""
    for prefix in ("+421", "00421", "421", "0", ""):
        national = bare.removeprefix(prefix)
        if len(national) == 9 and len(bare) == len(prefix) + 9 and national[0] != "0":
            return national
    return None


def _parse_slovak(raw: object) -> PhoneNumber:
    """Parse with phonenumbers what can only be one Slovak number: no letters, no extension."""
    if raw is None or raw == "":
        raise _invalid("", "is empty")
    if not isinstance(raw, str):
        raise _invalid("", f"is not text but {type(raw).__name__}: {_READ_AS_TEXT}")
    if len(raw) > LONGEST:
        # phonenumbers takes time by the square of the length.
        raise _invalid("", f"has too many digits or signs ({len(raw)} characters)")
    bare = _strip_separators("", raw)
    if not bare:
        raise _invalid("", "is empty")
    if _is_rewritten(raw):
        raise _invalid(raw, f"was rewritten by a spreadsheet or a float column: {_READ_AS_TEXT}")
    if not _is_number(bare):
        raise _invalid(raw, "has letters or signs that no single phone number has")
    # Importing phonenumbers takes longer than everything else here, and most numbers never need it.
    from phonenumbers import NumberParseException, ValidationResult, is_possible_number_with_reason, parse

    try:
        number = parse(bare, "SK")
    except NumberParseException as error:
        problem = _PARSE_PROBLEMS.get(error.error_type, "cannot be read as a phone number")
        raise _invalid(raw, problem) from None
    if number.country_code != 421:
        raise _invalid(raw, f"is not Slovak (country code +{number.country_code})")
    possible = is_possible_number_with_reason(number)
    if possible == ValidationResult.TOO_LONG:
        raise _invalid(raw, "has too many digits for a Slovak number (a foreign one?)")
    # "0903 123 45": no Slovak number keeps its zero behind +421.
    if possible != ValidationResult.IS_POSSIBLE or number.italian_leading_zero:
        raise _invalid(raw, "has too few digits for a Slovak number")
    return number


def _invalid(raw: str, problem: str) -> InvalidPhoneNumberError:
    shown = f" {mask_phone(raw)}" if raw else ""
    return InvalidPhoneNumberError(f"phone number{shown} {problem}")


#: By ``phonenumbers.PhoneNumberType``, spelled as numbers to keep the import lazy.
_KINDS = {
    0: "a landline",
    3: "a free number",
    4: "a premium rate number",
    5: "a shared cost number",
    6: "an internet telephony number",
    8: "a pager",
    9: "a company number",
}

#: By ``phonenumbers.NumberParseException.error_type``.
_PARSE_PROBLEMS = {
    0: "has no country code that exists",
    2: "has too few digits",
    3: "has too few digits",
    4: "has too many digits",
}
