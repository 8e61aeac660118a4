"""Which Airflow this is."""

from __future__ import annotations

from airflow import __version__
from packaging.version import Version

AIRFLOW_V_3_3_PLUS = Version(Version(__version__).base_version) >= Version("3.3.0")
