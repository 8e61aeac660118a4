from __future__ import annotations

import json
import sys
import timeit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.text import (
    GSM_7,
    UCS_2,
    count,
    forcing_characters,
    normalize,
    strip_diacritics,
)
from airflow_provider_telekom_sms.campaign import costs as module
from airflow_provider_telekom_sms.campaign.costs import Costs, in_words, priced

QUOTE = {"name": "U+201E DOUBLE LOW-9 QUOTATION MARK", "character": "„"}
SLOVAK = "Dobrý deň Ľuboš, nezabudnite prosím na platbu 15,50 € do 12. 5. 2026. Ďakujeme!!"


def found(*texts, unicode=None, first=1):
    costs = Costs(unicode)
    for row, text in enumerate(texts, first):
        costs.take(row, text, count(text, unicode).parts)
    return costs.as_dict()


def nothing(unicode, parts):
    strips = {"characters": {}, "parts": parts, "saved_parts": 0, "still_unicode": 0}
    return {
        "unicode": unicode,
        "unicode_messages": 0,
        "extra_parts": 0,
        "characters": [],
        "examples": [],
        "strips": strips,
    }


@pytest.mark.parametrize("unicode", [None, False])
def test_gsm_texts_cost_nothing(unicode):
    costs = found("Ahoj", "a" * 161, "[15 €] ~ {1}", "äé", "€" * 81, unicode=unicode)
    assert costs == nothing(unicode, 7)
    assert in_words(costs) == []


def test_an_empty_plan():
    assert found() == nothing(None, 0)
    assert in_words(found(unicode=True)) == []


def test_one_character_doubles_a_message():
    costs = found("a" * 160, "„" + "a" * 80, "x", first=16)
    assert costs == nothing(None, 4) | {
        "unicode_messages": 1,
        "extra_parts": 1,
        "characters": [QUOTE | {"messages": 1, "extra_parts": 1, "first_row": 17}],
        "examples": [{"row": 17, "characters": "„", "parts": 2, "without": 1}],
        "strips": {"characters": {}, "parts": 4, "saved_parts": 0, "still_unicode": 1},
    }
    assert in_words(costs) == [
        "1 message sent as Unicode, 1 part more: „ in 1",
        "„ in row 17: 1 part becomes 2",
    ]


def test_diacritics_that_could_be_stripped():
    texts = ["č" + "a" * 80, "ľ" + "a" * 80, "ľš" + "a" * 140, "š", "ok"]
    costs = found(*texts)
    assert (costs["unicode_messages"], costs["extra_parts"]) == (4, 4)
    assert [(c["character"], c["messages"], c["extra_parts"]) for c in costs["characters"]] == [
        ("ľ", 2, 3),
        ("š", 2, 2),
        ("č", 1, 1),
    ]
    assert costs["strips"] == {
        "characters": {"ľ": "l", "š": "s", "č": "c"},
        "parts": 5,
        "saved_parts": 4,
        "still_unicode": 0,
    }
    assert in_words(costs) == [
        "4 messages sent as Unicode, 4 parts more: ľ in 2, š in 2, č in 1",
        "č in row 1: 1 part becomes 2",
        "ľ in row 2: 1 part becomes 2",
        "ľ, š in row 3: 1 part becomes 3",
        "unicode=False would turn ľ, š, č into l, s, c: 5 parts instead of 9",
    ]
    stripped = found(*texts, unicode=False)
    assert stripped == nothing(False, 5) | {"strips": costs["strips"]}
    assert in_words(stripped) == ["unicode=False turns ľ, š, č into l, s, c: 5 parts instead of 9"]


def test_stripping_is_told_when_it_happens_and_advised_when_it_saves():
    assert in_words(found("č")) == ["1 message sent as Unicode, 0 parts more: č in 1"]
    assert in_words(found("č", unicode=False)) == ["unicode=False turns č into c: 1 part instead of 1"]


def test_what_unicode_false_does_not_help():
    texts = ["„č" + "a" * 80, "č" * 80]
    costs = found(*texts, unicode=False)
    assert costs == nothing(False, 0) | {
        "unicode_messages": 1,
        "extra_parts": 1,
        "characters": [QUOTE | {"messages": 1, "extra_parts": 1, "first_row": 1}],
        "examples": [{"row": 1, "characters": "„", "parts": 2, "without": 1}],
        "strips": {"characters": {"č": "c"}, "parts": 3, "saved_parts": 1, "still_unicode": 1},
    }
    assert in_words(costs)[-1] == (
        "unicode=False turns č into c: 3 parts instead of 4; 1 message still Unicode"
    )
    kept = found(*texts)
    assert kept["examples"][0]["characters"] == "„č"
    assert kept["strips"] == costs["strips"]


def test_unicode_that_was_asked_for():
    costs = found("a" * 80, "[" + "a" * 160, "č" * 80, "ok", unicode=True)
    assert costs == nothing(True, 0) | {
        "strips": {"characters": {"č": "c"}, "parts": 5, "saved_parts": 3, "still_unicode": 0},
        "needless": {"messages": 3, "saved_parts": 2},
    }
    assert in_words(costs) == [
        "unicode=True: 3 messages without a character that needs it, 2 parts fewer if it is not set",
        "unicode=False would turn č into c: 5 parts instead of 8",
    ]


@pytest.mark.parametrize(
    ("text", "parts", "without"),
    [
        # Extension characters count twice in GSM-7 only, and are never split.
        ("„" + "€" * 79, 2, 1),
        ("„" + "€" * 134, 3, 2),
        ("„" + "a" * 150 + "€" + "a" * 153, 5, 2),
        ("„" + "a" * 151 + "€" + "a" * 152, 5, 3),
        # An emoji counts twice in UCS-2, and once when it is replaced.
        ("😀" * 36, 2, 1),
        ("č" * 66 + "😀" + "č" * 66, 3, 1),
        ("c\u030c" * 71, 2, 1),
    ],
)
def test_lengths_that_the_replacement_changes(text, parts, without):
    example = found(text)["examples"][0]
    assert (example["parts"], example["without"]) == (parts, without)


def test_rows_that_grow_alike_share_a_line():
    costs = found("„" + "a" * 80, "x", "„" + "b" * 80, "–" + "„" + "b" * 160)
    assert in_words(costs)[1:] == ["„ in rows 1, 3: 1 part becomes 2", "–, „ in row 4: 2 parts become 3"]


def test_the_characters_of_a_name_are_not_in_its_order():
    costs = found("Борис" + "a" * 80)
    assert costs["examples"][0]["characters"] == "Биорс"
    assert "".join(item["character"] for item in costs["characters"]) == "Биорс"


def test_what_nobody_would_see_is_named():
    lines = in_words(found("\u00a0\u202e\u0301\u200d" + "a" * 80))
    assert lines[1] == (
        "U+00A0 NO-BREAK SPACE, U+0301 COMBINING ACUTE ACCENT, U+200D ZERO WIDTH JOINER, "
        "U+202E RIGHT-TO-LEFT OVERRIDE in row 1: 1 part becomes 2"
    )
    assert found("\t")["characters"][0]["name"] == "U+0009"


def test_long_lists_are_cut():
    letters = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
    costs = found(*(letters + "a" * 60 for _ in range(30)))
    assert len(costs["characters"]) == module.MAX_CHARACTERS
    assert [example["row"] for example in costs["examples"]] == list(range(1, 1 + module.MAX_EXAMPLES))
    assert costs["examples"][0]["characters"] == letters[: module.MAX_CHARACTERS]
    assert in_words(costs) == [
        "30 messages sent as Unicode, 30 parts more: "
        "а in 30, б in 30, в in 30, г in 30, д in 30, е in 30, ж in 30, з in 30 and others",
        "а, б, в, г, д, е, ж, з and others in rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10: 1 part becomes 2",
    ]


def test_memory_is_bounded():
    costs = Costs(None)
    for row in range(20_000):
        costs.take(row, chr(0x4E00 + row) + "ľ" + "a" * 80, 2)
    assert len(costs._known) == module.MAX_KNOWN
    assert len(costs._examples) == module.MAX_EXAMPLES
    found = costs.as_dict()
    assert (found["unicode_messages"], found["extra_parts"]) == (20_000, 20_000)
    # Those that came too late to be told apart still force Unicode.
    assert found["strips"] == {
        "characters": {"ľ": "l"},
        "parts": 40_000,
        "saved_parts": 0,
        "still_unicode": 20_000,
    }
    assert len(json.dumps(found)) < 10_000


EXTENSION = "\f^{}\\[~]|€"
letters = st.one_of(st.sampled_from("abc 1€[ľšáé„–😀\u030c"), st.characters(codec="utf-8"))
runs = st.tuples(st.text(letters, min_size=1, max_size=4), st.integers(1, 80))
texts = st.lists(runs.map(lambda run: run[0] * run[1]), min_size=1, max_size=4).map("".join)


def replaced(text, unicode):
    forcing = {character for _, character in forcing_characters(text, unicode)}
    return "".join("?" if character in forcing else character for character in normalize(text)), forcing


@given(st.lists(texts, max_size=4), st.sampled_from([None, False]))
@example(["č" * 66 + "😀" * 20], False)
@example(["„" + "a" * 151 + "€" * 80], None)
@settings(deadline=None, max_examples=300)
def test_agrees_with_count(messages, unicode):
    costs = found(*messages, unicode=unicode)
    extra = unicode_messages = 0
    by_character = {}
    examples = []
    for row, text in enumerate(messages, 1):
        plain, forcing = replaced(text, unicode)
        size, without = count(text, unicode), count(plain, unicode)
        assert without.encoding == GSM_7
        assert (size.encoding == UCS_2) == bool(forcing)
        unicode_messages += size.encoding == UCS_2
        extra += size.parts - without.parts
        for character in forcing:
            item = by_character.setdefault(character, [0, 0, row])
            item[0] += size.parts - without.parts
            item[1] += 1
        if size.parts > without.parts:
            examples.append((row, forcing, size.parts, without.parts))
    assert (costs["unicode_messages"], costs["extra_parts"]) == (unicode_messages, extra)
    assert extra >= 0
    shown = costs["characters"]
    assert len(shown) == min(len(by_character), module.MAX_CHARACTERS)
    for item in shown:
        assert by_character[item["character"]] == [item["extra_parts"], item["messages"], item["first_row"]]
    order = [(-item["extra_parts"], -item["messages"]) for item in shown]
    assert order == sorted(order)
    assert order == sorted((-extra, -rows) for extra, rows, _ in by_character.values())[: len(order)]
    for (row, forcing, parts, without), item in zip(examples, costs["examples"], strict=True):
        assert (row, parts, without) == (item["row"], item["parts"], item["without"])
        assert len(set(item["characters"])) == len(item["characters"])
        assert set(item["characters"]) <= forcing
        assert len(item["characters"]) == min(len(forcing), module.MAX_CHARACTERS)


@given(st.lists(texts, max_size=4), st.sampled_from([None, True, False]))
@settings(deadline=None, max_examples=300)
def test_what_unicode_false_does_agrees_with_count(messages, unicode):
    strips = found(*messages, unicode=unicode)["strips"]
    sizes = [count(text, unicode=False) for text in messages]
    kept = sum(count(text, unicode or None).parts for text in messages)
    assert strips["parts"] == sum(size.parts for size in sizes)
    assert strips["parts"] + strips["saved_parts"] == kept
    assert strips["saved_parts"] >= 0
    assert strips["still_unicode"] == sum(size.encoding == UCS_2 for size in sizes)
    lost = {
        (old, new)
        for text in messages
        for old, new in zip(normalize(text), strip_diacritics(text), strict=True)
        if old != new
    }
    assert set(strips["characters"].items()) <= lost
    assert len(strips["characters"]) == min(len(lost), module.MAX_STRIPPED)


def blanked(text):
    forcing = replaced(text, None)[1]
    return "".join(c if c in forcing or c in EXTENSION else "0" for c in normalize(text))


@given(st.lists(texts, max_size=4), st.sampled_from([None, True, False]))
@settings(deadline=None, max_examples=200)
def test_no_text_is_quoted(messages, unicode):
    costs = found(*messages, unicode=unicode)
    assert json.loads(json.dumps(costs)) == costs
    # The same with a zero for all others: nothing but the forcing characters and the lengths is told.
    assert costs == found(*map(blanked, messages), unicode=unicode)
    forcing = {character for text in messages for character in replaced(text, None)[1]}
    for item in costs["examples"]:
        assert list(item["characters"]) == sorted(
            item["characters"], key=lambda c: (strip_diacritics(c) != c, c)
        )
    # What is left of a letter may be in GSM-7 and no ASCII, as the Æ of Ǣ.
    allowed = forcing | {strip_diacritics(character) for character in forcing}
    ours = {character for line in in_words(costs) for character in line}
    assert {character for character in ours if not character.isascii()} <= allowed


@pytest.mark.parametrize(
    ("histogram", "price", "rows"),
    [
        ({}, 0.05, []),
        ({1: 100}, 0.05, [{"parts": 1, "messages": 100, "price": 5.0}]),
        (
            {3: 1, 1: 3},
            0.1,
            [{"parts": 1, "messages": 3, "price": 0.3}, {"parts": 3, "messages": 1, "price": 0.3}],
        ),
        ({2: 7}, None, [{"parts": 2, "messages": 7}]),
        ({2: 7}, 0, [{"parts": 2, "messages": 7, "price": 0.0}]),
        ({1: 3}, 0.0000004, [{"parts": 1, "messages": 3, "price": 0.000001}]),
        # Binary, this price is a trifle less: three times it would be rounded down.
        ({1: 3}, 0.0000005, [{"parts": 1, "messages": 3, "price": 0.000002}]),
        ({3: 333_333}, 0.07, [{"parts": 3, "messages": 333_333, "price": 69_999.93}]),
    ],
)
def test_priced(histogram, price, rows):
    assert priced(histogram, price) == rows


def test_a_row_takes_microseconds(capsys):
    costs = Costs(None)
    gsm = strip_diacritics(SLOVAK).replace("€", "E")
    for name, text in (("GSM-7", gsm), ("Slovak", SLOVAK)):
        spent = min(timeit.repeat(lambda text=text: costs.take(1, text, 2), number=5000, repeat=5)) / 5000
        with capsys.disabled():
            print(f"{name}: {spent * 1e6:.1f} µs a row", file=sys.stderr)
        # Ten times what it takes: a busy machine is no failure.
        assert spent < 80e-6
