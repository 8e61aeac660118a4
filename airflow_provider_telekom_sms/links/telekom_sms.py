"""The link from a task to its campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow_provider_telekom_sms.operators.base import JobOperator

#: Where the page of campaigns stands on the API server.
PAGE = "/telekom-sms-campaigns"


class TelekomSmsCampaignLink(BaseOperatorLink):
    """Leads from a task to the page of its campaign."""

    name = "Campaign"

    def get_link(self, operator: JobOperator, *, ti_key: Any) -> str:  # type: ignore[override]
        """
        Give the link; empty where the task leaves no campaign.

        :param operator: of this package, rendered
        :param ti_key: the task instance, or its key
        """
        campaign_id = operator.campaign_of(ti_key)
        if campaign_id is None:
            return ""
        # With the path under which Airflow is served; without base_url, relative to the page that shows it.
        base_url = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
        return f"{base_url}{PAGE}/by-name?id={quote(campaign_id, safe='')}"
