from __future__ import annotations

import math
import unicodedata
from datetime import date, datetime, time
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_telekom_sms.campaign.template import compile_template, mask_value
from airflow_provider_telekom_sms.exceptions import InvalidMessageError, SourceError


def render(template, **row):
    return compile_template(template).render(row)


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("", {}, ""),
        ("Ahoj", {}, "Ahoj"),
        ("Ahoj {name}!", {"name": "Ján"}, "Ahoj Ján!"),
        ("{a}{b}{a}", {"a": "1", "b": "2"}, "121"),
        ("{celé meno}", {"celé meno": "Ján Novák"}, "Ján Novák"),
        ("{{name}} {name}", {"name": "x"}, "{name} x"),
        ("{{{name}}}", {"name": "x"}, "{x}"),
        ("{name}", {"name": "{other} {{ jinja }}"}, "{other} {{ jinja }}"),
        ("{name}", {"name": " x "}, " x "),
        ("{n}", {"n": 5}, "5"),
        ("{n}", {"n": 0}, "0"),
        ("{n}", {"n": False}, "False"),
        ("{n:>5}|", {"n": "x"}, "    x|"),
        ("{n:.3}", {"n": "Novák"}, "Nov"),
        ("{n:s}", {"n": "12"}, "12"),
        ("{n:.2f}", {"n": 12.5}, "12.50"),
        ("{n:.2f}", {"n": Decimal("12.5")}, "12.50"),
        ("{n:.2f}", {"n": "12.5"}, "12.50"),
        ("{n:.2f}", {"n": " 12,50 "}, "12.50"),
        ("{n:.2f}", {"n": "1 234,50"}, "1234.50"),
        ("{n:.2f}", {"n": "1\u00a0234,5"}, "1234.50"),
        ("{n:.2f}", {"n": "−0,5"}, "-0.50"),
        ("{n:,}", {"n": "1234567"}, "1,234,567"),
        ("{n:d}", {"n": "12,00"}, "12"),
        ("{n:d}", {"n": 12.0}, "12"),
        ("{n:05d}", {"n": "12"}, "00012"),
        ("{n:05}", {"n": "12"}, "00012"),
        ("{n:+}", {"n": "12"}, "+12"),
        ("{n:.0%}", {"n": "0,25"}, "25%"),
        ("{d:%d.%m.%Y}", {"d": date(2026, 5, 12)}, "12.05.2026"),
        ("{d:%H:%M}", {"d": time(10, 30)}, "10:30"),
        ("{d:%-d. %-m. o %H:%M}", {"d": datetime(2026, 5, 2, 10, 30)}, "2. 5. o 10:30"),
        ("{d:%d.%m.%Y}", {"d": pd.Timestamp("2026-05-12")}, "12.05.2026"),
        ("{d:%d.%m.%Y}", {"d": "2026-05-12"}, "12.05.2026"),
        ("{d:%H:%M}", {"d": "2026-05-12T10:30:00Z"}, "10:30"),
    ],
)
def test_render(template, row, text):
    assert compile_template(template).render(row) == text


def test_fields():
    assert compile_template("{a} {b:.2f} {{c}} {a}").fields == {"a", "b"}
    assert compile_template("text").fields == frozenset()


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{}", "names no column"),
        ("{0}", "names no column"),
        ("{ }", "names no column"),
        ("{:.2f}", "names no column"),
        ("{name.__class__}", "an attribute"),
        ("{name[0]}", "an index"),
        ("{name!r}", "a conversion"),
        ("{name!r:>5}", "a conversion"),
        ("{name:{width}}", "cannot hold another field"),
        ("{name:1000000000}", "wider than 999"),
        ("{name:.1000000000f}", "wider than 999"),
        ("{day:%1000000d}", "unknown format spec"),
        ("{name:x}", "unknown format spec"),
        ("{name:c}", "unknown format spec"),
        ("{name:nonsense}", "unknown format spec"),
        ("Ahoj {name", "column 6: an opening brace"),
        ("Ahoj name}", "column 10: a closing brace"),
        ("Ahoj {name}}", "column 12: a closing brace"),
        ("Ahoj {{name}", "column 12: a closing brace"),
        ("a\nb {", "line 2, column 3"),
        ("{a{b}}", "column 1: an opening brace"),
    ],
)
def test_refused_when_compiled(template, reason):
    with pytest.raises(SourceError) as error:
        compile_template(template)
    assert reason in str(error.value)


def test_a_template_is_text():
    with pytest.raises(SourceError, match="found int"):
        compile_template(5)


@pytest.mark.parametrize("value", [None, "", "  ", "\u00a0", math.nan, pd.NA, pd.NaT, Decimal("NaN")])
@pytest.mark.parametrize("spec", ["", ":>9", ":.2f", ":d", ":%d.%m.%Y"])
def test_an_empty_cell_is_named(value, spec):
    with pytest.raises(InvalidMessageError, match=r"^column 'name' is empty$"):
        render(f"Ahoj {{name{spec}}}", name=value)


def test_a_missing_cell_is_named():
    with pytest.raises(InvalidMessageError, match="column 'name' is empty"):
        render("Ahoj {name}", other="x")


class Hostile:
    def __format__(self, spec):
        raise RuntimeError("secret")

    __str__ = __repr__ = __format__


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (".2f", "secret"),
        (".2f", "1,234.50"),
        (".2f", "1e999999999"),
        (".2f", "1" * 50),
        (".2f", Decimal("1E+999999999")),
        (".2f", "12.5 €"),
        (".2f", [1]),
        ("d", "12,5"),
        ("d", 12.5),
        ("d", math.inf),
        ("%d.%m.%Y", "12.5.2026"),
        ("%d.%m.%Y", 5),
        (">5", [1]),
        (">5", Hostile()),
    ],
)
def test_a_cell_that_does_not_fit_is_named_but_not_quoted(spec, value):
    with pytest.raises(InvalidMessageError) as error:
        render(f"{{amount:{spec}}}", amount=value)
    assert str(error.value) == f"column 'amount' does not fit the format {spec!r}"
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@given(st.text())
@settings(deadline=None)
def test_any_text_survives_escaped(text):
    assert render(text.replace("{", "{{").replace("}", "}}")) == text


@given(st.text(st.sampled_from("{}ab:.!%d5f ")), st.sampled_from(["x", "5", 5, 5.5, date(2026, 1, 1)]))
@settings(deadline=None, max_examples=500)
def test_agrees_with_format_where_it_does_not_refuse(template, value):
    try:
        compiled = compile_template(template)
        text = compiled.render(dict.fromkeys(compiled.fields, value))
    except (SourceError, InvalidMessageError):
        return
    if type(value) is str and compiled.fields:
        return  # numbers in text are read, which format does not
    assert text == template.format_map(dict.fromkeys(compiled.fields, value))


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("Ahoj 1", {}, "Ahoj 1"),
        (
            "Dobrý deň {name}, nezabudnite na platbu {amount:.2f} €",
            {"name": "Ľubomír", "amount": "12,5"},
            "Dobrý deň Ľ••••••, nezabudnite na platbu 1•.•• €",
        ),
        ("{{{a}}}{b}{a}", {"a": "12", "b": "Ján Novák-Malý, ml."}, "{1•}J•• •••••-••••, ••.1•"),
        ("{day:%d.%m.%Y}", {"day": "2026-05-12"}, "1•.••.••••"),
        ("{phone}", {"phone": "+421 903 123 456"}, "+••• ••• ••• •••"),
        ("{phone}", {"phone": 421903123456}, "4•••••••••••"),
        ("{n:>5}|", {"n": "x1"}, "   ••|"),
        ("{n:+.1f}", {"n": -12.5}, "-••.•"),
        ("{n}", {"n": "{n}"}, "{•}"),
        ("{n}", {"n": "x"}, "x"),
        ("{n}", {"n": "a_1@b.sk?x=2"}, "a_•@•.••?•=•"),
        # Ján with an accent of its own, Hindi with vowel signs, digits of other scripts, a fraction.
        ("{n}", {"n": "J\u0061\u0301n"}, "J••"),
        ("{n}", {"n": "नमस्ते"}, "न•••••"),
        ("{n}", {"n": "1٣½²Ⅷ"}, "1••••"),
        ("{n}", {"n": "a\n😀 €"}, "a\n😀 €"),
    ],
)
def test_render_masked(template, row, text):
    assert compile_template(template).render_masked(row) == text


def test_mask_value():
    assert mask_value("Dobrý deň, 5 €") == "D•••• •••, • €"
    assert mask_value("") == ""


@pytest.mark.parametrize(
    ("template", "row", "reason"),
    [
        ("{day:%d} {name}", {"day": "2026-05-12"}, "column 'name' is empty"),
        ("{name}", {"name": " "}, "column 'name' is empty"),
        ("{name:.2f}", {"name": math.nan}, "column 'name' is empty"),
        ("{name:.2f}", {"name": "secret"}, "column 'name' does not fit the format '.2f'"),
        ("{name:>5}", {"name": Hostile()}, "column 'name' does not fit the format '>5'"),
        ("{b} {a}", {}, "column 'b' is empty"),
    ],
)
@pytest.mark.parametrize("method", ["render", "render_masked"])
def test_masked_errors_are_those_of_render(method, template, row, reason):
    with pytest.raises(InvalidMessageError) as error:
        getattr(compile_template(template), method)(row)
    assert str(error.value) == reason


cells = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not text.isspace())


@given(cells, cells)
@settings(deadline=None, max_examples=300)
def test_masked_values_are_gone_and_the_fixed_text_is_whole(name, amount):
    masked = compile_template("Ahoj {name}, platba\0{amount} € do zajtra.").render_masked(
        {"name": name, "amount": amount}
    )
    assert masked.startswith("Ahoj ")
    assert masked.endswith(" € do zajtra.")
    assert masked == f"Ahoj {mask_value(name)}, platba\0{mask_value(amount)} € do zajtra."
    for value in (name, amount):
        shown, composed = mask_value(value), unicodedata.normalize("NFC", value)
        assert len(shown) == len(composed)
        assert shown[0] == composed[0]
        assert not any(character.isalnum() for character in shown[1:])
        assert [c for c in shown[1:] if c != "•"] == [
            c for c in composed[1:] if c != "•" and unicodedata.category(c)[0] not in "LNM"
        ]
        if sum(map(str.isalnum, value)) > 1 and value not in "Ahoj , platba\0 € do zajtra.":
            assert value not in masked.replace(", platba\0", "\1")
