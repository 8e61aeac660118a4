from __future__ import annotations

import unicodedata

import pytest
import smsutil
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sms_toolkit.messages import profiling
from sms_toolkit.utils import encode_unicode_character_to_utf16

from airflow_provider_telekom_sms.api.text import (
    GSM_7,
    UCS_2,
    TextSize,
    count,
    distinct_forcing_characters,
    forcing_characters,
    normalize,
    parts_without_forcing,
    strip_diacritics,
)

# GSM 03.38 once more, written by code point and septet order, so that a slip in one table shows.
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ" + "ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"
SLOVAK = "áäčďéíĺľňóôŕšťúýžÁÄČĎÉÍĹĽŇÓÔŔŠŤÚÝŽ"

KNOWN = [
    ("", None, GSM_7, 0, 0, 160),
    ("", True, UCS_2, 0, 0, 70),
    ("a", None, GSM_7, 1, 1, 159),
    ("a" * 160, None, GSM_7, 1, 160, 0),
    ("a" * 161, None, GSM_7, 2, 161, 145),
    ("a" * 306, None, GSM_7, 2, 306, 0),
    ("a" * 307, None, GSM_7, 3, 307, 152),
    ("a" * 459, None, GSM_7, 3, 459, 0),
    ("a" * 460, None, GSM_7, 4, 460, 152),
    ("€" * 80, None, GSM_7, 1, 160, 0),
    ("€" * 81, None, GSM_7, 2, 162, 143),
    ("€" * 152, None, GSM_7, 2, 304, 1),
    ("€" * 153, None, GSM_7, 3, 306, 151),
    ("a" * 152 + "€" + "a" * 151, None, GSM_7, 2, 305, 0),
    ("a" * 152 + "€" + "a" * 152, None, GSM_7, 3, 306, 152),
    ("a" * 151 + "€" + "a" * 153, None, GSM_7, 2, 306, 0),
    ("a" * 70, True, UCS_2, 1, 70, 0),
    ("č" * 70, None, UCS_2, 1, 70, 0),
    ("č" * 71, None, UCS_2, 2, 71, 63),
    ("č" * 134, None, UCS_2, 2, 134, 0),
    ("č" * 135, None, UCS_2, 3, 135, 66),
    ("č" * 201, None, UCS_2, 3, 201, 0),
    ("č" * 68 + "😀", None, UCS_2, 1, 70, 0),
    ("č" * 69 + "😀", None, UCS_2, 2, 71, 63),
    ("č" * 66 + "😀" + "č" * 65, None, UCS_2, 2, 133, 0),
    ("č" * 66 + "😀" + "č" * 66, None, UCS_2, 3, 134, 66),
    ("č" * 65 + "😀" + "č" * 67, None, UCS_2, 2, 134, 0),
    ("😀" * 67, None, UCS_2, 3, 134, 65),
    # e and a combining acute: é, which GSM-7 has; c and a combining caron: č, which it has not.
    ("e\u0301" * 160, None, GSM_7, 1, 160, 0),
    ("c\u030c" * 70, None, UCS_2, 1, 70, 0),
    # The signs of ångström and ohm become the letters that GSM-7 has.
    ("\u212b\u2126", None, GSM_7, 1, 2, 158),
    ("č" * 160, False, GSM_7, 1, 160, 0),
    ("č" * 161, False, GSM_7, 2, 161, 145),
    ("c\u030c" * 160, False, GSM_7, 1, 160, 0),
    ("č" * 69 + "😀", False, UCS_2, 2, 71, 63),
    ("\x1b", None, UCS_2, 1, 1, 69),
    ("\r\n", None, GSM_7, 1, 2, 158),
]


@pytest.mark.parametrize(("text", "unicode", "encoding", "parts", "units", "left"), KNOWN)
def test_known_sizes(text, unicode, encoding, parts, units, left):
    assert count(text, unicode) == TextSize(encoding, parts, units, left)


def test_the_alphabet_is_whole():
    assert len(BASIC) == 127
    assert len(set(BASIC + EXTENSION)) == 137
    for code_point in range(0x110000):
        character = chr(code_point)
        if unicodedata.is_normalized("NFC", character):
            assert (forcing_characters(character) == []) == (character in BASIC + EXTENSION), hex(code_point)


def test_slovak_letters():
    assert "".join(letter for letter in SLOVAK if count(letter).encoding == GSM_7) == "äéÄÉ"
    assert strip_diacritics(SLOVAK) == "aäcdéillnoorstuyzAÄCDÉILLNOORSTUYZ"
    assert count(SLOVAK, unicode=False).encoding == GSM_7


@pytest.mark.parametrize("character", list("`\t\u00a0’„“–ç…"))
def test_characters_that_look_harmless_and_are_not(character):
    assert forcing_characters(f"ab{character}c") == [(2, character)]


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("Žltý kôň", "Zlty kon"),
        ("façade", "facade"),
        ("ǘ", "u"),
        # Not diacritics: another meaning, or nothing that GSM-7 has.
        ("≠", "≠"),
        ("đ", "đ"),
        ("„a“", "„a“"),
        ("ά", "ά"),
        ("한", "한"),
        ("😀", "😀"),
        ("", ""),
    ],
)
def test_strip_diacritics(text, stripped):
    assert strip_diacritics(text) == stripped


def test_forcing_characters():
    text = "Dobrý deň 😀"
    assert forcing_characters(text) == [(4, "ý"), (8, "ň"), (10, "😀")]
    assert forcing_characters(text, unicode=False) == [(10, "😀")]
    assert forcing_characters(unicodedata.normalize("NFD", text)) == forcing_characters(text)
    assert forcing_characters("Dobry den [1] €") == []


@pytest.mark.parametrize(
    ("text", "characters", "parts"),
    [
        ("", "", 0),
        ("Dobry den [1] €", "", 1),
        ("Dobrý deň, dobrý 😀", "ýň😀", 1),
        ("c\u030c" * 160, "č", 1),
        ("č" * 161, "č", 2),
        ("č" + "€" * 80, "č", 2),
        ("😀" * 160, "😀", 1),
        ("č" * 152 + "€" + "č" * 152, "č", 3),
    ],
)
def test_what_a_text_costs_without_its_forcing_characters(text, characters, parts):
    assert distinct_forcing_characters(text) == set(characters)
    assert parts_without_forcing(text) == parts


def test_what_counts_twice_is_never_stripped():
    # Unicode parts are the same before and after.
    astral = normalize("".join(map(chr, range(0x10000, 0x110000))))
    assert strip_diacritics(astral) == astral


def greedy(text, weight, single, joined):
    """Split as a phone would have to, one character at a time."""
    weights = [weight(character) for character in text]
    if sum(weights) <= single:
        return [sum(weights)] if text else []
    parts = [0]
    for units in weights:
        if parts[-1] + units > joined:
            parts.append(0)
        parts[-1] += units
    return parts


def expected(text, unicode):
    text = unicodedata.normalize("NFC", text)
    if unicode is False:
        text = strip_diacritics(text)
    if unicode is not True and all(character in BASIC + EXTENSION for character in text):
        encoding, single, joined = GSM_7, 160, 153
        parts = greedy(text, lambda character: 1 + (character in EXTENSION), single, joined)
    else:
        encoding, single, joined = UCS_2, 70, 67
        parts = greedy(text, lambda character: 1 + (ord(character) > 0xFFFF), single, joined)
    size = single if len(parts) <= 1 else joined
    return TextSize(encoding, len(parts), sum(parts), size - parts[-1] if parts else single)


def long_texts(alphabet):
    # Hypothesis likes short texts; the interesting ones lie around the borders of the parts.
    runs = st.tuples(st.text(alphabet, min_size=1, max_size=3), st.integers(1, 160)).map(
        lambda run: run[0] * run[1]
    )
    return st.one_of(st.text(alphabet), st.lists(runs, max_size=4).map("".join))


gsm_texts = long_texts(st.sampled_from(BASIC + EXTENSION * 4))
unicode_texts = long_texts(
    st.one_of(st.sampled_from(SLOVAK + "aé€[😀👍\u030c"), st.characters(codec="utf-8"))
)
texts = st.one_of(gsm_texts, unicode_texts)


@given(texts, st.sampled_from([None, True, False]))
@example("a" * 152 + "€" * 200, None)
@example("č" * 66 + "😀" * 200, None)
@settings(deadline=None)
def test_agrees_with_a_greedy_splitter(text, unicode):
    assert count(text, unicode) == expected(text, unicode)


@given(texts)
@settings(deadline=None)
def test_forcing_characters_replaced(text):
    forcing = {character for _, character in forcing_characters(text)}
    assert distinct_forcing_characters(text) == forcing
    replaced = "".join("?" if character in forcing else character for character in normalize(text))
    assert parts_without_forcing(text) == expected(replaced, None).parts


@given(texts)
@settings(max_examples=150, deadline=None)
def test_agrees_with_smsutil(text):
    # smsutil 1.1.3 is wrong twice: it takes the escape itself for a character of GSM-7, and an empty text for
    # one part of Unicode. It does not normalise.
    text = normalize(text).replace("\x1b", "")
    if not text:
        return
    oracle = smsutil.split(text)
    width = 1 if oracle.encoding == "gsm0338" else 2
    size = count(text)
    assert size.encoding == (GSM_7 if width == 1 else UCS_2)
    assert (size.parts, size.units) == (len(oracle.parts), oracle.total_bytes // width)
    forced = smsutil.unicode_split(text)
    assert count(text, unicode=True)[1:3] == (len(forced.parts), forced.total_bytes // 2)


@given(texts)
@settings(max_examples=150, deadline=None)
def test_agrees_with_sms_toolkit(text):
    # sms-toolkit 1.0.9 does not normalise, and its message_length counts a euro sign once: the lengths of its
    # segments, which are right, are added up instead.
    text = normalize(text)
    oracle = profiling.profile_message(text)
    lengths = [segment["total_segment_length"] for segment in oracle["segments"]]
    size = count(text)
    assert (size.parts, size.units) == (oracle["num_segments"], sum(lengths))
    if text:
        assert size.left == oracle["max_segment_size"] - lengths[-1]
    forced = profiling.split_message_into_segments(text, 140, 134, encode_unicode_character_to_utf16)
    assert count(text, unicode=True).parts == len(forced)


@given(texts)
@settings(deadline=None)
def test_stripping_keeps_the_length_and_every_gsm_character(text):
    before, after = normalize(text), strip_diacritics(text)
    assert len(before) == len(after)
    assert all(old == new for old, new in zip(before, after, strict=True) if old in BASIC + EXTENSION)
    assert count(text, unicode=False) == count(after)
    assert bool(forcing_characters(text, unicode=False)) == (count(text, unicode=False).encoding == UCS_2)


@given(st.text(st.characters()))
@settings(deadline=None)
def test_lone_surrogates_do_not_make_it_fail(text):
    assert count(text).units >= len(normalize(text))
