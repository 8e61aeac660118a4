"""The docs name tests, files and each other; all of them exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text())


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_a_test_that_the_guarantees_name_exists(file: str, name: str) -> None:
    assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text())


def test_every_line_of_the_guarantees_has_a_test() -> None:
    rows = [
        line for line in (ROOT / "docs" / "guarantees.md").read_text().splitlines() if line.startswith("|")
    ]
    bodies = [row for row in rows if not row.startswith(("| what |", "|---"))]
    assert len(bodies) > 40
    assert [row for row in bodies if "::test_" not in row] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", text)
    for target in [*links, *re.findall(r'<img src="([^"]+)"', text)]:
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]*)\)", page.read_text()):
        there = (page.parent / target if target else page).read_text()
        headings = re.findall(r"^#+ (.*)$", there, re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings]
