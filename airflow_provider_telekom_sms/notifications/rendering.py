"""Renders what an alert is made of, in any context: nothing that is missing there may lose the alert."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from airflow_provider_telekom_sms.api.phone import mask_phone, parse_mobile
from airflow_provider_telekom_sms.exceptions import InvalidMessageError, InvalidPhoneNumberError
from airflow_provider_telekom_sms.operators.fields import Private, is_template, reveal

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseNotifier, Context

    from airflow_provider_telekom_sms.notifications.alert import Alert

log = logging.getLogger(__name__)

#: Around the numbers of a list that became text, as that of a Variable or of a template does.
_BETWEEN_NUMBERS = re.compile(r"[,;\[\]'\"\n]+")


class _Missing(jinja2.ChainableUndefined):
    """Is seen in the text, and loses nobody the rest of it."""

    __slots__ = ()

    def __str__(self) -> str:
        return "?"

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self


class Renderer:
    """
    Renders a notifier's template fields and leaves them as they are: it may serve several tasks.

    :param notifier: whose fields
    :param context: Airflow's context, also the reduced one of a deadline
    :param alert: what templates know as ``alert``
    """

    def __init__(self, notifier: BaseNotifier, context: Context, alert: Alert) -> None:
        self._notifier = notifier
        self._context: Any = {"run_id": alert.run_id, **_accessors(), **context, "alert": alert}
        dag = context.get("dag")
        # The callback of a run may get the DAG as the scheduler knows it, which has no environment.
        made = notifier.get_template_env(dag if hasattr(dag, "get_template_env") else None)
        self._environment = made.overlay(undefined=_Missing)

    def text(self, name: str) -> str:
        """
        Render a field; empty where that cannot be done.

        :param name: the field's name
        """
        value = getattr(self._notifier, name)
        return self._render(name, value) if is_template(value) else str(reveal(value) or "")

    def numbers(self, name: str) -> list[Any]:
        """
        Render a field that holds numbers; those that cannot be rendered are left out.

        :param name: the field's name
        """
        value = getattr(self._notifier, name)
        if isinstance(value, Private):
            return split_numbers(value.value)
        given = [self._render(name, one) if is_template(one) else one for one in _listed(value)]
        return split_numbers(given)

    def _render(self, name: str, template: Any) -> str:
        try:
            return str(self._notifier.render_template(template, self._context, self._environment)).strip()
        except Exception as error:
            # Not what it says: it may quote what was rendered.
            log.warning("%s cannot be rendered: %s", name, type(error).__name__)
            return ""


def _accessors() -> dict[str, Any]:
    """Give what a deadline's context lacks, so that no number has to stand in the DAG."""
    try:
        from airflow.sdk.execution_time.context import ConnectionAccessor, VariableAccessor
    except ImportError:
        return {}
    variables = {
        "json": VariableAccessor(deserialize_json=True),
        "value": VariableAccessor(deserialize_json=False),
    }
    return {"var": variables, "conn": ConnectionAccessor()}


def check_template(name: str, value: Any) -> None:
    """
    Check the syntax of what may be a template.

    :param name: the field's name
    :raises InvalidMessageError: when it is neither None nor text, or no template
    """
    if not isinstance(value, str | None):
        raise InvalidMessageError(f"{name}: found {type(value).__name__}, allowed are texts")
    problem = ""
    try:
        SandboxedEnvironment().parse(value or "")
    except jinja2.TemplateSyntaxError as error:
        problem = f"{name}: {error.message} (line {error.lineno})"
    # Out of the handler: the chained error would quote the text.
    if problem:
        raise InvalidMessageError(problem)


def show_template(value: Any) -> str:
    """
    Show templates as they are, and numbers masked.

    :param value: numbers, templates, or both
    """
    return ", ".join(one if is_template(one) else mask_phone(one) for one in split_numbers(reveal(value)))


def split_numbers(value: Any) -> list[Any]:
    """
    Give the single numbers of a number, of a text of several, or of a list of these.

    :param value: what was given, or rendered
    """
    return [
        number
        for one in _listed(value)
        for number in ([one] if is_template(one) or not isinstance(one, str) else _BETWEEN_NUMBERS.split(one))
        if not isinstance(number, str) or number.strip()
    ]


def _listed(value: Any) -> Sequence[Any]:
    return list(value) if isinstance(value, list | tuple | set) else [value]


def read_numbers(given: Iterable[Any]) -> tuple[list[str], list[InvalidPhoneNumberError]]:
    """
    Read numbers; each is given once.

    :param given: numbers in any usual spelling
    :return: those that can be sent to, ``4219xxxxxxxx``, and what is wrong with the others
    """
    numbers: dict[str, None] = {}
    wrong: list[InvalidPhoneNumberError] = []
    for one in given:
        try:
            numbers[parse_mobile(one)] = None
        except InvalidPhoneNumberError as error:
            wrong.append(error)
    return list(numbers), wrong
