"""
Telekom's API, v1 and v2, on your own machine.

An independent reading of the operator's manuals: it shares no code with the client, judges every request
strictly, lets messages be delivered, and fails on demand. As a process::

    python -m airflow_provider_telekom_sms.simulator --port 8080

and inside a test::

    from airflow_provider_telekom_sms.simulator import Fault, Settings, serve

    with serve(Settings(speed=100)) as sim:
        sim.state.order(Fault("drop_after", times=3))
        ...  # send to sim.url
        assert sim.state.violations == []

The names are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_telekom_sms.simulator.faults import Fault
    from airflow_provider_telekom_sms.simulator.server import Simulator, serve
    from airflow_provider_telekom_sms.simulator.state import DEFAULT_TOKEN, Settings, State

__all__ = ["DEFAULT_TOKEN", "Fault", "Settings", "Simulator", "State", "serve"]

_HOMES = {
    "DEFAULT_TOKEN": "state",
    "Fault": "faults",
    "Settings": "state",
    "Simulator": "server",
    "State": "state",
    "serve": "server",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
