"""``@task.telekom_sms``: what a function returns is sent as a campaign."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from airflow.providers.common.compat.sdk import DecoratedOperator, TaskDecorator, task_decorator_factory
from airflow.sdk import Asset

from airflow_provider_telekom_sms.operators.base import wrong
from airflow_provider_telekom_sms.operators.fields import PrivateItems, reveal, show_source, show_text
from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Where the rows come from; here they come from the function.
_SOURCES = ("source", "sql", "sql_parameters")


def telekom_sms_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """
    Send what a function returns as a campaign: ``@task.telekom_sms(text="Ahoj {name}", …)``.

    The function returns (or, with ``yield``, gives one by one) what
    :class:`~airflow_provider_telekom_sms.operators.telekom_sms.TelekomSmsBulkSendOperator` takes as
    ``source``; it may be ``async``. It is called when the campaign is planned, and not again by a retry or
    after a deferral: these go on from the plan. The rows never become an XCom. The task returns the
    campaign's counts.

    :param python_callable: the function
    :param kwargs: the parameters of that operator, but for ``source``, ``sql`` and ``sql_parameters``; with
        ``multiple_outputs=True`` each of the counts is an XCom of its own
    :raises ConfigurationError: when the DAG is parsed, for a setting that no run can use
    """
    # By default Airflow reads it off the function's annotation, which is about rows and not about counts.
    kwargs.setdefault("multiple_outputs", False)
    return task_decorator_factory(
        python_callable, decorated_operator_class=_TelekomSmsDecoratedOperator, **kwargs
    )


def _show_argument(value: Any) -> str | None:
    """Show what an argument is; what Airflow looks into, to render it or make an inlet of it, stays."""
    if value is None or isinstance(value, bool | Asset) or hasattr(value, "template_fields"):
        return None
    return show_text(value) if isinstance(value, str) else show_source(value)


class _TelekomSmsDecoratedOperator(DecoratedOperator, TelekomSmsBulkSendOperator):
    """
    Sends what a function returns; see :func:`telekom_sms_task`.

    :param python_callable: the function
    :param op_args: its positional arguments (templated)
    :param op_kwargs: its keyword arguments (templated)
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in TelekomSmsBulkSendOperator.template_fields if name not in _SOURCES),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = DecoratedOperator.template_fields_renderers
    custom_operator_name: str = "@task.telekom_sms"

    op_args = PrivateItems(_show_argument)
    op_kwargs = PrivateItems(_show_argument)

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        if given := [name for name in _SOURCES if name in kwargs]:
            raise wrong(", ".join(given), "a source", "none, the function gives the rows")
        super().__init__(python_callable=python_callable, source=python_callable, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Send; the function is called only where nothing is planned yet."""
        args = [reveal(argument) for argument in self.op_args]
        kwargs = {name: reveal(argument) for name, argument in self.op_kwargs.items()}
        self.source = _Call(self.python_callable, args, kwargs, context)
        summary: dict[str, Any] = super().execute(context)
        return summary


class _Call:
    """
    A function with its arguments, to be called without any.

    :param context: gives the arguments that are named like something in it, such as ``ds``
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Collection[Any],
        kwargs: Mapping[str, Any],
        context: Context,
    ) -> None:
        self._function, self._args, self._kwargs, self._context = function, args, kwargs, context
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__

    def __call__(self) -> Any:
        from airflow_provider_telekom_sms.campaign.engine import run_blocking

        try:
            from airflow.sdk.bases.decorator import determine_kwargs
        except ImportError:  # Airflow 3.1
            from airflow.utils.operator_helpers import determine_kwargs  # type: ignore[attr-defined]

        kwargs = determine_kwargs(self._function, self._args, {**self._context, **self._kwargs})
        given = self._function(*self._args, **kwargs)
        return run_blocking(lambda: given) if inspect.iscoroutine(given) else given

    def facts(self) -> Iterator[str]:
        """Tell with what it is called, as far as that stays the same from try to try."""
        for name, argument in (*enumerate(self._args), *self._kwargs.items()):
            yield json.dumps([name, _plain(argument)])


def _plain(value: Any) -> Any:
    """Give what tells two values apart; of what is no data only its type: the rest may change by itself."""
    from airflow_provider_telekom_sms.campaign.sources import fingerprint, is_frame

    if value is None or isinstance(value, str | int | float):
        return value
    if is_frame(value):
        return fingerprint(value)
    if isinstance(value, bytes | date | time | timedelta | Decimal | UUID | PathLike):
        return str(value)
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return [[_plain(name), _plain(item)] for name, item in value.items()]
    if isinstance(value, Set):
        return sorted(json.dumps(_plain(item)) for item in value)
    # What mapped tasks gave is a sequence, but not a list.
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # of numpy and pandas
        return _plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__qualname__, *(_plain(getattr(value, field.name)) for field in fields(value))]
    return type(value).__qualname__
