"""How many parts a text takes (GSM 03.38 and UTF-16), counted independently of the client."""

from __future__ import annotations

import unicodedata

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€\f")
_GSM = _BASIC | _EXTENDED

MAX_PARTS = 3


def without_diacritics(text: str) -> str:
    """
    Return the text as ``unicode=false`` sends it (send_message, ``unicode``).

    :param text: the text of the message
    """
    letters = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", "".join(letters))


def count_parts(text: str, unicode: bool | None = None) -> int:
    """
    Return the number of parts of a message.

    :param text: the text of the message
    :param unicode: the parameter of send_message; None lets the encoding be detected
    """
    if unicode is False:
        text = without_diacritics(text)
    if not unicode and _GSM.issuperset(text):
        return _split([2 if c in _EXTENDED else 1 for c in text], single=160, part=153)
    return _split([2 if ord(c) > 0xFFFF else 1 for c in text], single=70, part=67)


def _split(widths: list[int], *, single: int, part: int) -> int:
    if sum(widths) <= single:
        return 1
    parts, room = 1, part
    for width in widths:
        # A character of two units never straddles two parts.
        if width > room:
            parts, room = parts + 1, part
        room -= width
    return parts
