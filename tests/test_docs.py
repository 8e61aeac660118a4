"""The docs name tests, files, errors and each other; all of them exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_telekom_sms.exceptions import is_known

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
#: What is written in a page, and not shown as code.
PROSE = {page: re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S) for page in PAGES}
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


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", PROSE[page])
    for target in [*links, *re.findall(r'<img src="([^"]+)"', PROSE[page])]:
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]*)\)", PROSE[page]):
        there = (page.parent / target).resolve() if target else page
        headings = re.findall(r"^#+ (.*)$", PROSE[there], re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings]


def test_every_page_is_listed_in_the_index() -> None:
    listed = re.findall(r"^- \[[^]]+\]\(([^)]+\.md)\)", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [
        str(page.relative_to(DOCS)) for page in sorted(DOCS.rglob("*.md")) if page.name != "index.md"
    ]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_in_the_docs_is_python(page: Path) -> None:
    for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S):
        compile(code, named(page), "exec")


# --- troubleshooting ----------------------------------------------------------------------------------------


def written(node: ast.expr) -> str:
    """Give a text of the source, with a NUL for what is put into it."""
    match node:
        case ast.Constant(value=str(text)):
            return re.sub(r"%[srd]|%\.\df", "\0", text)
        case ast.JoinedStr(values=parts):
            return "".join(written(part) for part in parts)
    return "\0"


def texts() -> Iterator[str]:
    for file in (ROOT / "airflow_provider_telekom_sms").rglob("*.py"):
        if "simulator" not in file.parts:
            yield from (
                written(node) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.expr)
            )


MESSAGES = sorted({text for text in texts() if text.strip("\0 ")})
QUOTED = [
    quoted
    for heading in re.findall(r"^### (.*`.*)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    for quoted in re.findall(r"`` (.+?) ``|`([^`]+)`", heading)
]


@pytest.mark.parametrize("quoted", [one or other for one, other in QUOTED])
def test_what_troubleshooting_quotes_is_said_by_the_package(quoted: str) -> None:
    """``…`` stands for what is put in; the end may be left out."""
    if is_known(quoted):
        return
    assert len(re.sub(r"\W", "", quoted)) >= 6
    pattern = re.compile(".*".join(map(re.escape, quoted.split("…"))), re.DOTALL)
    assert [message for message in MESSAGES if pattern.match(message)]
