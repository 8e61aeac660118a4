"""The page of campaigns in Airflow's UI."""

from __future__ import annotations
