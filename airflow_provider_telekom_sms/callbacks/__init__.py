"""Takes what the API calls callback URLs with: a plugin of Airflow's API server, or a server of its own."""

from __future__ import annotations
