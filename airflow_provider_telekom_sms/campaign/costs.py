"""
What makes a campaign cost more than it has to: characters that force Unicode, and parts they add.

For whoever approves a plan. Single characters are shown, in an order that is not the text's; texts are not.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_provider_telekom_sms.api.text import (
    count,
    distinct_forcing_characters,
    parts_without_forcing,
    strip_diacritics,
)

#: What a plan keeps: the costliest characters, the first rows that grow, the commonest letters stripped.
MAX_CHARACTERS = 20
MAX_EXAMPLES = 10
MAX_STRIPPED = 40
#: Characters told apart while a plan is made; only Chinese, Japanese and Korean texts have more.
MAX_KNOWN = 2000
#: Characters that one line names.
SHOWN = 8


@dataclass(slots=True)
class _Character:
    """A character outside GSM-7; ``stripped`` is what unicode=False leaves of it, itself if all."""

    stripped: str
    first_row: int
    messages: int = 0
    extra_parts: int = 0


class Costs:
    """
    Collects what costs while a plan is made.

    :param unicode: the parameter of send_message
    """

    def __init__(self, unicode: bool | None) -> None:
        self._unicode = unicode
        self._known: dict[str, _Character] = {}
        self._examples: list[dict[str, Any]] = []
        #: Messages, and their parts, for which characters force Unicode though it was not asked for.
        self._forced = self._extra_parts = 0
        #: Messages, and their parts, which are sent as Unicode for nothing but unicode=True.
        self._needless = self._needless_parts = 0
        #: Parts of the whole plan with all diacritics, and with unicode=False.
        self._parts = self._parts_stripped = 0
        self._still_unicode = 0

    def take(self, row: int, text: str, parts: int) -> None:
        """
        Take a planned message.

        :param row: its number in the source
        :param text: its text
        :param parts: the parts it is planned with
        """
        characters = distinct_forcing_characters(text)
        if not (characters or self._unicode):
            self._parts += parts
            self._parts_stripped += parts
            return
        if self._unicode is False:
            parts = count(text).parts
        extra = parts - parts_without_forcing(text)
        stays = False
        for character in characters:
            known = self._known.get(character) or self._meet(character, row)
            known.messages += 1
            known.extra_parts += extra
            stays = stays or known.stripped == character
        self._parts += parts
        self._parts_stripped += parts if stays else parts - extra
        self._still_unicode += stays
        if self._unicode:
            if not characters:
                self._needless += 1
                self._needless_parts += extra
        elif stays or self._unicode is None:
            self._forced += 1
            self._extra_parts += extra
            if extra and len(self._examples) < MAX_EXAMPLES:
                self._examples.append(self._example(row, characters, parts, extra))

    def _meet(self, character: str, row: int) -> _Character:
        known = _Character(strip_diacritics(character), row)
        if len(self._known) < MAX_KNOWN:
            self._known[character] = known
        return known

    def _example(self, row: int, characters: set[str], parts: int, extra: int) -> dict[str, Any]:
        stubborn = {character for character in characters if strip_diacritics(character) == character}
        # Never in the order of the text: that of a name in Cyrillic would be the name. First what no
        # unicode=False helps against.
        shown = sorted(stubborn)
        if self._unicode is None:
            shown += sorted(characters - stubborn)
        return {
            "row": row,
            "characters": "".join(shown[:MAX_CHARACTERS]),
            "parts": parts,
            "without": parts - extra,
        }

    def as_dict(self) -> dict[str, Any]:
        """
        Give what was found, as JSON for the ledger and for XCom; :func:`in_words` reads it.

        ``characters`` are those that force Unicode, the costliest first; a message counts, with its extra
        parts, for each of its characters. ``strips`` is what unicode=False does, or would do, to the whole
        plan. ``needless``, with unicode=True only, are the messages that could go as GSM-7 as they are.
        """
        found: dict[str, Any] = {
            "unicode": self._unicode,
            "unicode_messages": self._forced,
            "extra_parts": self._extra_parts,
            "characters": self._costliest(),
            "examples": [dict(example) for example in self._examples],
            "strips": {
                "characters": self._stripped(),
                "parts": self._parts_stripped,
                "saved_parts": self._parts - self._parts_stripped,
                "still_unicode": self._still_unicode,
            },
        }
        if self._unicode:
            found["needless"] = {"messages": self._needless, "saved_parts": self._needless_parts}
        return found

    def _costliest(self) -> list[dict[str, Any]]:
        if self._unicode:
            return []
        forcing = [
            (-known.extra_parts, -known.messages, known.stripped != character, known.first_row, character)
            for character, known in self._known.items()
            if self._unicode is None or known.stripped == character
        ]
        return [
            {
                "character": character,
                "name": _name(character),
                "messages": -messages,
                "extra_parts": -extra_parts,
                "first_row": first_row,
            }
            for extra_parts, messages, _, first_row, character in sorted(forcing)[:MAX_CHARACTERS]
        ]

    def _stripped(self) -> dict[str, str]:
        strippable = [
            (-known.messages, character, known.stripped)
            for character, known in self._known.items()
            if known.stripped != character
        ]
        return {character: stripped for _, character, stripped in sorted(strippable)[:MAX_STRIPPED]}


def in_words(costs: dict[str, Any]) -> list[str]:
    """
    Say what costs, in lines for a log and for a person; none where nothing does.

    :param costs: what :meth:`Costs.as_dict` gave
    """
    lines = []
    if costs["unicode_messages"]:
        often = [f"{_visible(found['character'])} in {found['messages']}" for found in costs["characters"]]
        lines.append(
            f"{_many(costs['unicode_messages'], 'message')} sent as Unicode, "
            f"{_many(costs['extra_parts'], 'part')} more: {_listed(often)}"
        )
    lines += _examples_in_words(costs["examples"])
    if needless := costs.get("needless", {}).get("messages"):
        lines.append(
            f"unicode=True: {_many(needless, 'message')} without a character that needs it, "
            f"{_many(costs['needless']['saved_parts'], 'part')} fewer if it is not set"
        )
    strips, does = costs["strips"], costs["unicode"] is False
    if strips["characters"] and (does or strips["saved_parts"]):
        letters = _listed([_visible(character) for character in strips["characters"]])
        bases = _listed(list(strips["characters"].values()))
        stay = (
            f"; {_many(strips['still_unicode'], 'message')} still Unicode" if strips["still_unicode"] else ""
        )
        lines.append(
            f"unicode=False {'turns' if does else 'would turn'} {letters} into {bases}: "
            f"{_many(strips['parts'], 'part')} instead of {strips['parts'] + strips['saved_parts']}{stay}"
        )
    return lines


def priced(histogram: dict[int, int], price_per_part: float | None) -> list[dict[str, Any]]:
    """
    Give messages and price by the number of parts.

    :param histogram: messages by parts
    :param price_per_part: price of one part, None where none is set
    """
    rows: list[dict[str, Any]] = []
    for parts, messages in sorted(histogram.items()):
        rows.append({"parts": parts, "messages": messages})
        if price_per_part is not None:
            # By way of its decimal form: three times 0.1 is 0.3 for whoever pays.
            rows[-1]["price"] = float(round(Decimal(str(price_per_part)) * parts * messages, 6))
    return rows


def _examples_in_words(examples: list[dict[str, Any]]) -> list[str]:
    """One line for rows that grow in the same way: fixed text makes all of them grow."""
    rows: dict[tuple[str, int, int], list[str]] = {}
    for example in examples:
        same = example["characters"], example["parts"], example["without"]
        rows.setdefault(same, []).append(str(example["row"]))
    return [
        f"{_listed([_visible(character) for character in characters])} "
        f"in {'row' if len(numbers) == 1 else 'rows'} {', '.join(numbers)}: "
        f"{_many(without, 'part')} {'becomes' if without == 1 else 'become'} {parts}"
        for (characters, parts, without), numbers in rows.items()
    ]


def _listed(words: list[str]) -> str:
    return ", ".join(words[:SHOWN]) + (" and others" if len(words) > SHOWN else "")


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _name(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def _visible(character: str) -> str:
    """Give a character, or its name where nobody would see it: no-break spaces, joiners, accents alone."""
    return character if unicodedata.category(character)[0] in "LNPS" else _name(character)
