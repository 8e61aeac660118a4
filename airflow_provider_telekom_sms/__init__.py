"""Apache Airflow provider for the SMS and RCS API of Slovak Telekom."""

from __future__ import annotations

__version__ = "0.1.0"
