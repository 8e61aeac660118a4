"""Template fields that hold personal data: Airflow shows what a template field rendered to."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from os import PathLike
from typing import Any

from airflow_provider_telekom_sms.api.phone import mask_phone

#: What is surely a path or URL, and not rows that a template rendered to.
_PATH = re.compile(r"[^\[\]{}'\"\n]{1,1000}\.[A-Za-z]\w{0,9}")


class Private:
    """
    A value that shows only what it is, not what it says.

    :param value: the value
    :param shown: what is shown of it
    """

    __slots__ = ("shown", "value")

    def __init__(self, value: Any, shown: str) -> None:
        self.value = value
        self.shown = shown

    def __repr__(self) -> str:
        return self.shown

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, Private) else other))

    __hash__ = None  # type: ignore[assignment]


class PrivateField:
    """
    Attribute of an operator that turns into a :class:`Private` once nothing in it is left to render.

    A property of the class and not a wrapper made in ``__init__``, because Airflow renders by setting the
    attribute, finds the dependencies of an XComArg by reading it, and does both for mapped tasks its own way.

    :param show: gives what is shown of a value; None to show the value itself
    :param files: the name of a ``.sql`` file is left to Airflow, which reads it
    """

    def __init__(self, show: Callable[[Any], str | None], *, files: bool = False) -> None:
        self._show, self._files = show, files

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.__dict__[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        # What replaces a template is what it rendered to, whatever it looks like.
        rendered = self._is_open(instance.__dict__.get(self._name))
        instance.__dict__[self._name] = self._hidden(value, rendered)

    def _hidden(self, value: Any, rendered: bool) -> Any:
        if value is None or isinstance(value, Private) or (self._is_open(value) and not rendered):
            return value
        shown = self._show(value)
        return value if shown is None else Private(value, shown)

    def _is_open(self, value: Any) -> bool:
        """Tell whether something is left to render; of a file, which is read first, there may be still."""
        return is_template(value) or (self._files and isinstance(value, str) and value.endswith(".sql"))


class PrivateItems(PrivateField):
    """The same for a list or dict that Airflow itself reads: each item turns into a :class:`Private`."""

    def _hidden(self, value: Any, rendered: bool) -> Any:
        hidden = super()._hidden
        if isinstance(value, Mapping):
            return {name: hidden(item, rendered) for name, item in value.items()}
        return [hidden(item, rendered) for item in value]


def reveal(value: Any) -> Any:
    """Give the value of a private field, or of an item."""
    return value.value if isinstance(value, Private) else value


def is_template(value: Any) -> bool:
    """Tell whether something in a value is still to be rendered or resolved by Airflow."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value or "{#" in value
    if isinstance(value, list | tuple | set):
        return any(map(is_template, value))
    if isinstance(value, dict):
        return any(map(is_template, value.values()))
    # An XComArg, or whatever else Airflow resolves before the task runs.
    return hasattr(value, "resolve")


def show_phones(value: Any) -> str:
    """Show numbers masked."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(mask_phone, value))
    return mask_phone(value)


def known(value: Any, otherwise: Any, *, parsing: bool) -> Any:
    """
    Give a field's value.

    :param otherwise: what stands in for it where it is still to be rendered
    :param parsing: it may be, for the DAG is only being parsed
    """
    return otherwise if parsing and is_template(value) else reveal(value)


def show_recipients(value: Any) -> str:
    """Show numbers masked, with or without the ids that go with them."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(show_recipients, value))
    return mask_phone(str(value.get("phone", ""))) if isinstance(value, Mapping) else mask_phone(value)


def show_content(value: Any) -> str:
    """Show which parts a message has, but none of its texts."""
    return f"<{', '.join(map(str, value))}>" if isinstance(value, Mapping) else show_text(value)


def as_payload(value: Any) -> Any:
    """Give models as the dicts that Airflow can render and serialize."""
    # What needs no change stays the same object: by that Airflow knows what comes from other tasks and must
    # never be rendered.
    if isinstance(value, list | tuple):
        items = [as_payload(item) for item in value]
        return value if all(map(operator.is_, items, value)) else items
    if isinstance(value, Mapping):
        parts = {key: as_payload(item) for key, item in value.items()}
        same = isinstance(value, dict) and all(parts[key] is value[key] for key in parts)
        return value if same else parts
    if isinstance(value, datetime):
        from airflow_provider_telekom_sms.api.times import v2_delivery_time

        return v2_delivery_time(value)
    payload = getattr(value, "payload", None)
    return payload() if callable(payload) else value


def show_text(value: Any) -> str:
    """Show how long a text is."""
    return f"<{len(value)} characters>" if isinstance(value, str) else f"<{type(value).__name__}>"


def show_source(value: Any) -> str | None:
    """Show a path as it is, of a callable its name, of rows only how many there are."""
    if isinstance(value, PathLike) or hasattr(value, "open"):
        return None
    if isinstance(value, str):
        return None if _PATH.fullmatch(value) else show_text(value)
    if callable(value):
        # Not as it is: Airflow calls what is callable in a template field.
        return f"<callable {getattr(value, '__qualname__', type(value).__name__)}>"
    if hasattr(value, "__len__") and not isinstance(value, Mapping):
        return f"<{type(value).__name__} of {len(value)} rows>"
    return f"<{type(value).__name__}>"
