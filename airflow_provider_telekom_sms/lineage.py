"""
OpenLineage: where a campaign's rows come from, where its messages go, and how many there are.

No number, no text and no SQL is in it, for SQL may hold numbers of people; the tables that it reads are.
Imported only where the OpenLineage provider is installed and asks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.openlineage.facet import (
    Dataset,
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    RunFacet,
)
from airflow.providers.common.compat.sdk import BaseHook
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql
from airflow.providers.openlineage.utils.utils import should_use_external_connection
from attrs import define

from airflow_provider_telekom_sms.campaign.files import SUFFIXES
from airflow_provider_telekom_sms.campaign.query import is_query
from airflow_provider_telekom_sms.campaign.sources import is_file
from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import reporting
from airflow_provider_telekom_sms.ledger.reporting import Counts
from airflow_provider_telekom_sms.operators.base import (
    CampaignOperator,
    DrainingOperator,
    JobOperator,
    PlanningOperator,
    SendingOperator,
)
from airflow_provider_telekom_sms.operators.fields import reveal

log = logging.getLogger(__name__)

#: What its facet is called in a run.
FACET = "telekomSmsCampaign"


@define
class CampaignRunFacet(RunFacet):
    """
    How a campaign stands, over all tries so far; see :class:`~.ledger.reporting.Counts`.

    :param campaignId: the campaign's id as the user knows it; spelled as OpenLineage spells
    """

    campaignId: str
    total: int
    planned: int
    claimed: int
    accepted: int
    rejected: int
    in_doubt: int
    invalid: int
    duplicate: int
    suppressed: int
    parts: int
    sent_parts: int


def started(operator: JobOperator) -> OperatorLineage[Any, Any]:
    """Tell what an operator is going to read."""
    inputs = _inputs(operator) if isinstance(operator, PlanningOperator) else ()
    by_name = {(one.namespace, one.name): one for one in inputs}
    return OperatorLineage(inputs=list(by_name.values()))


def ended(operator: JobOperator, ti: Any) -> OperatorLineage[Any, Any]:
    """
    Tell what an operator has read and written, also where it has failed.

    :param ti: its task instance
    """
    lineage = started(operator)
    campaign_id = operator.campaign_of(ti)
    if campaign_id is None:
        return lineage
    counts, name = _counts(operator, campaign_id), _without_run(campaign_id, ti.run_id)
    host = operator.hook.settings.base_url
    if counts is not None:
        numbers: Any = counts.as_dict()
        lineage.run_facets[FACET] = CampaignRunFacet(campaignId=campaign_id, **numbers)
    if isinstance(operator, DrainingOperator) and not isinstance(operator, PlanningOperator):
        lineage.inputs.append(Dataset(namespace=host, name=f"campaigns/{name}"))
    if isinstance(operator, SendingOperator):
        lineage.outputs.append(_messages(host, name, counts))
    else:
        lineage.outputs.append(Dataset(namespace=host, name=f"campaigns/{name}"))
    if isinstance(operator, CampaignOperator) and operator.report_path:
        lineage.outputs.append(_file(operator.report_path))
    return lineage


def _without_run(campaign_id: str, run_id: str) -> str:
    """Leave the run out of a campaign's id: one dataset for all runs, not one for each."""
    return "/".join(part for part in campaign_id.split("/") if part != run_id)


def _counts(operator: JobOperator, campaign_id: str) -> Counts | None:
    ledger = operator._ledger()
    try:
        return reporting.counts(ledger, reporting.campaign_number(ledger, campaign_id))
    except LedgerError:
        # It failed before there was a campaign.
        return None


def _messages(host: str, name: str, counts: Counts | None) -> OutputDataset:
    facets: dict[str, Any] = {}
    if counts is not None:
        facets["outputStatistics"] = OutputStatisticsOutputDatasetFacet(rowCount=counts.accepted)
    return OutputDataset(namespace=host, name=f"messages/{name}", outputFacets=facets)


def _inputs(operator: PlanningOperator) -> Iterator[Dataset]:
    """Give what rows and suppressed numbers are read from, as far as it has a name."""
    for given in (reveal(operator.source), reveal(operator.suppression)):
        if isinstance(given, str) and is_query(given):
            yield from _tables(given, str(operator.sql_conn_id))
        # Other text may be rows or a number.
        elif is_file(given) and str(given).lower().endswith(SUFFIXES):
            yield _file(given)
    if operator.sql:
        yield from _tables(operator.sql, str(operator.sql_conn_id))


def _file(path: Any) -> Dataset:
    """Name a file as OpenLineage does; before an @ stands a connection's id."""
    parts = urlsplit(str(path))
    if parts.scheme in ("", "file"):
        return Dataset(namespace="file", name=str(Path(parts.path).absolute()))
    scheme = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}.get(parts.scheme, parts.scheme)
    host = parts.netloc.rpartition("@")[2]
    return Dataset(namespace=f"{scheme}://{host}", name=parts.path.lstrip("/"))


def _tables(sql: str, conn_id: str) -> list[Dataset]:
    """Give the tables that a query reads; none where the database has no name for OpenLineage, or is away."""
    try:
        hook: Any = BaseHook.get_hook(conn_id)
        asks = should_use_external_connection(hook)
        found = get_openlineage_facets_with_sql(hook, sql, conn_id, getattr(hook, "database", None), asks)
    except Exception as error:
        # What a database says of an error may quote the query.
        log.warning("OpenLineage is not told of the tables read over %r: %s", conn_id, type(error).__name__)
        return []
    # Its facets quote the query.
    return list(found.inputs) if found else []
