"""
Encoding and parts of a text message (GSM 03.38 with its extension table, UTF-16 otherwise).

One part holds 160 septets or 70 UTF-16 code units; each of several holds 153 or 67, the rest is the header
that joins them. A pair (escape and extension character, or two surrogates) is never split over two parts, so
153 euro signs are three parts and not two. All counts are of the NFC form of a text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal, NamedTuple

Encoding = Literal["GSM-7", "UCS-2"]

GSM_7: Encoding = "GSM-7"
UCS_2: Encoding = "UCS-2"

#: GSM 03.38, basic table without the escape, which is no character.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: GSM 03.38, extension table: an escape and a second septet.
_EXTENSION = "\f^{}\\[~]|€"

_is_basic = re.compile(f"[{re.escape(_BASIC)}]*").fullmatch
_is_gsm = re.compile(f"[{re.escape(_BASIC + _EXTENSION)}]*").fullmatch
_NOT_GSM = re.compile(f"[^{re.escape(_BASIC + _EXTENSION)}]")

#: What takes two units, and the two that stand for it while parts are cut.
_PAIR = {GSM_7: re.compile(f"[{re.escape(_EXTENSION)}]"), UCS_2: re.compile("[\U00010000-\U0010ffff]")}
_FIRST_HALF = "\ud800"
_HALVES = _FIRST_HALF + "\udc00"

#: Into more parts the API splits no text (MESSAGE_TOO_LONG).
MAX_PARTS = 3
#: Units of a message of one part, and of each part of a longer one.
_SINGLE = {GSM_7: 160, UCS_2: 70}
_JOINED = {GSM_7: 153, UCS_2: 67}


class TextSize(NamedTuple):
    """
    What a text takes on the way to the phone.

    :param encoding: ``GSM-7`` or ``UCS-2``
    :param parts: text messages it is split into and charged as; 0 for an empty text
    :param units: septets, or UTF-16 code units, in all
    :param left: units still free in the last part
    """

    encoding: Encoding
    parts: int
    units: int
    left: int


def count(text: str, unicode: bool | None = None) -> TextSize:
    """
    Count the parts of a text (manual v1, send_message ``unicode``).

    :param text: the text; its NFC form is counted
    :param unicode: True is sent as Unicode; False has its diacritics removed by the API, and is sent as
        Unicode only if something remains that GSM-7 does not have; None takes GSM-7 where the text fits it
    """
    # All that GSM-7 has is in NFC already, so what matches needs no normalising.
    if unicode is not True and _is_basic(text) and len(text) <= 160:
        return TextSize(GSM_7, 1 if text else 0, len(text), 160 - len(text))
    text = normalize(text)
    if unicode is False:
        text = strip_diacritics(text)
    encoding = GSM_7 if unicode is not True and _is_gsm(text) else UCS_2
    return _cut(_PAIR[encoding].sub(_HALVES, text), encoding)


def forcing_characters(text: str, unicode: bool | None = None) -> list[tuple[int, str]]:
    """
    Find the characters for which a text is sent as Unicode.

    :param text: the text
    :param unicode: False leaves out those whose diacritics the API removes
    :return: position in the NFC form, counted from 0, and character
    """
    text = normalize(text)
    if unicode is False:
        text = strip_diacritics(text)
    return [(match.start(), match[0]) for match in _NOT_GSM.finditer(text)]


def distinct_forcing_characters(text: str) -> set[str]:
    """
    Find the characters for which a text is sent as Unicode, each once; quicker than with their positions.

    :param text: the text
    """
    return set(_NOT_GSM.findall(normalize(text)))


def parts_without_forcing(text: str) -> int:
    """
    Count the parts with one basic GSM-7 character in place of each that forces Unicode.

    :param text: the text
    """
    # Nothing needs replacing: what is not of the extension table takes one septet here.
    return _cut(_PAIR[GSM_7].sub(_HALVES, normalize(text)), GSM_7).parts


def strip_diacritics(text: str) -> str:
    """
    Remove the diacritics that GSM-7 does not have, as the API does with ``unicode`` false.

    Only letters lose them, and only where a GSM-7 letter remains. What is not a diacritic (a typographic
    quote, a dash, an emoji) stays: the manual promises nothing about it, and so a text is rather counted too
    long than too short. Letters that GSM-7 has (ä, é) stay too; that does not change the count.

    :param text: the text
    :return: the NFC form without them, of the same length
    """
    return _NOT_GSM.sub(lambda match: _base_letter(match[0]), normalize(text))


def normalize(text: str) -> str:
    """
    Give the NFC form of a text, the one to count and to send.

    :param text: the text
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


@lru_cache(maxsize=1024)
def _base_letter(character: str) -> str:
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isalpha() and _is_gsm(base) else character


def _cut(units: str, encoding: Encoding) -> TextSize:
    """Fill part after part; a pair that would be cut goes to the next one as a whole."""
    total = len(units)
    if total <= _SINGLE[encoding]:
        return TextSize(encoding, 1 if total else 0, total, _SINGLE[encoding] - total)
    size = _JOINED[encoding]
    parts = start = 0
    while total - start > size:
        start += size - (units[start + size - 1] == _FIRST_HALF)
        parts += 1
    return TextSize(encoding, parts + 1, total, size - (total - start))
