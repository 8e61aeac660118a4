"""Which Airflow this is."""

from __future__ import annotations

from airflow import __version__
from packaging.version import Version

_version = Version(Version(__version__).base_version)
AIRFLOW_V_3_1_PLUS = _version >= Version("3.1.0")
AIRFLOW_V_3_3_PLUS = _version >= Version("3.3.0")
