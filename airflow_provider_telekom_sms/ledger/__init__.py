"""
The ledger: every message that was ever meant to leave, and what became of it.

An outbox in a SQL database. A campaign is planned into it (:mod:`planning`), sent from it (:mod:`sending`:
claim, committed durably, before the first byte leaves; record after), watched in it (:mod:`delivery`) and
read from it (:mod:`reporting`). :mod:`store` opens it; :mod:`location` says where Airflow keeps it.
"""

from __future__ import annotations
