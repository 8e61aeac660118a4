"""Which Airflow this is; docs/compatibility.md says what the older ones do without."""

from __future__ import annotations

from airflow import __version__
from packaging.version import Version

_version = Version(Version(__version__).base_version)
AIRFLOW_V_3_3_PLUS = _version >= Version("3.3.0")
AIRFLOW_V_3_3_2_PLUS = _version >= Version("3.3.2")
