"""Reads a page that the provider drew, and refuses what must never stand in one."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

TAGS = (
    "html head meta link title style body main header h1 h2 h3 a dl dt dd div section figure figcaption "
    "article p pre ul li span b small br code time svg path form input button"
)
ATTRIBUTES = (
    "action aria-hidden aria-label charset class content d datetime dir href http-equiv lang method name rel "
    "tabindex title type value viewbox"
)
ADDRESSES = {"href": {"/", "data:,"}, "action": {"/_simulator/click"}}
VOID = {"meta", "link", "input", "br"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()


@dataclass
class Markup(HTMLParser):
    """A page, read; ``shape`` is what no text may change."""

    html: str
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.html.encode()
        self.feed(self.html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert tag in TAGS.split()
        assert set(names) <= set(ATTRIBUTES.split())
        assert len(names) == len(set(names))
        for name, value in attrs:
            assert value is not None
            assert name not in ADDRESSES or value in ADDRESSES[name]
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "path"
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    @property
    def text(self) -> str:
        return self.all("body")[0].text

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...], str]]:
        return [(e.tag, tuple(e.attributes), e.attributes.get("class", "")) for e in self.elements]

    def all(self, selector: str) -> list[Element]:
        """Return the elements with a tag, or with a class (``.class``)."""
        if selector.startswith("."):
            return [e for e in self.elements if selector[1:] in e.classes]
        return [e for e in self.elements if e.tag == selector]
