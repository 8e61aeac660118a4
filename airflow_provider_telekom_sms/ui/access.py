"""Who may see and do what on the page, and that a form was really sent by them."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: Stands for all DAGs: none can have such an id.
ALL_DAGS = "all DAGs"
#: Seconds for which a form can be sent.
FORM_AGE = 12 * 3600


@dataclass(frozen=True, slots=True)
class Visitor:
    """
    A user of Airflow who may see campaigns.

    :param may_act: may settle what is in doubt, pause, resume and cancel
    :param may_see_numbers: may see whole phone numbers
    """

    id: str
    name: str
    may_act: bool
    may_see_numbers: bool


def visitor_of(user: Any) -> Visitor | None:
    """
    Say what Airflow lets a user do here; None where it is nothing.

    By permissions that every auth manager has. Custom views will not do: the simple one lets everybody do
    everything to them, and that of FAB nobody anything until somebody makes the permission.

    :param user: Airflow's user
    """
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

    # Without details, that of FAB is content with the permission for any one DAG.
    manager, runs, of_all = get_auth_manager(), DagAccessEntity.RUN, DagDetails(id=ALL_DAGS)
    if not manager.is_authorized_dag(method="GET", access_entity=runs, details=of_all, user=user):
        return None
    return Visitor(
        id=str(user.get_id()),
        name=str(user.get_name() or user.get_id()),
        may_act=manager.is_authorized_dag(method="PUT", access_entity=runs, details=of_all, user=user),
        # Who may change connections can point the ledger's own elsewhere, and reads it anyway.
        may_see_numbers=manager.is_authorized_connection(method="PUT", user=user),
    )


class Seal:
    """
    Makes and checks what a form carries to show that this server gave it to this user for this purpose.

    :param secret: known to all processes of the API server, and to nobody else
    """

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"telekom-sms page of campaigns\0" + secret.encode()).digest()

    def __repr__(self) -> str:
        return "<Seal>"

    def make(self, user_id: str, purpose: str) -> str:
        """Give a seal; it is good for :data:`FORM_AGE`."""
        return self._sealed(str(int(time.time())), user_id, purpose)

    def fits(self, seal: str, user_id: str, purpose: str) -> bool:
        """Tell whether a seal was made for this user and purpose, and is not too old."""
        made_at = seal.partition(".")[0]
        if not (made_at.isascii() and made_at.isdigit() and len(made_at) <= 12):
            return False
        right = self._sealed(made_at, user_id, purpose)
        is_right = hmac.compare_digest(seal.encode("utf-8", "replace"), right.encode())
        return is_right and -60 <= time.time() - int(made_at) <= FORM_AGE

    def _sealed(self, made_at: str, user_id: str, purpose: str) -> str:
        said = "\0".join([made_at, purpose, user_id]).encode("utf-8", "replace")
        return f"{made_at}.{hmac.new(self._key, said, hashlib.sha256).hexdigest()}"


def comes_from_here(headers: Mapping[str, str], base_url: str) -> bool:
    """
    Tell whether a browser says that it sent a form from a page of this server.

    Browsers say so in headers that no page can forge; a program that sends none of them is let through, for
    it has no one else's cookies.

    :param headers: by lower-case name
    :param base_url: ``[api] base_url``
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    if (origin := headers.get("origin")) is None:
        return True
    # A proxy may call this server by another name than browsers do.
    ours = {headers.get("host"), headers.get("x-forwarded-host"), urlsplit(base_url).netloc} - {None, ""}
    try:
        return urlsplit(origin).netloc in ours
    except ValueError:
        return False
