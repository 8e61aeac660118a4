"""Errors that another try would only meet again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException


@contextmanager
def not_retried() -> Iterator[None]:
    """Turn what the author of the DAG has to mend into an error that Airflow does not retry."""
    from airflow_provider_telekom_sms.exceptions import (
        CancelledError,
        ConfigurationError,
        InvalidMessageError,
        PlanError,
        SourceError,
        SourceUnavailableError,
    )

    try:
        yield
    except SourceUnavailableError:
        raise
    except (InvalidMessageError, SourceError, PlanError, CancelledError, ConfigurationError) as error:
        raise AirflowFailException(str(error)) from error
