"""Run the simulator as a process; it prints its URL once it listens and ends on SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from airflow_provider_telekom_sms.simulator.server import run
from airflow_provider_telekom_sms.simulator.state import DEFAULT_TOKEN, Settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_telekom_sms.simulator",
        description="Telekom's SMS API v1 on your own machine. Its record is under /_simulator/summary.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 chooses a free one")
    parser.add_argument(
        "--token", action="append", metavar="KEY", help=f"repeatable; default {DEFAULT_TOKEN}"
    )
    parser.add_argument("--allow-get", action="store_true", help="let the keys use GET")
    parser.add_argument("--session-seconds", type=float, default=900.0, help="inactivity that ends a session")
    parser.add_argument("--deny-ip", action="store_true", help="answer IP_NOT_ALLOWED to everyone")
    parser.add_argument("--speed", type=float, default=1.0, help="factor for delivery, which takes 2 s at 1")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before every reply")
    return parser


def _end(signum: int, frame: FrameType | None) -> None:
    # uvicorn shuts down first and then raises the signal again: an asked-for end is no failure.
    sys.exit(0)


def main(argv: Sequence[str] | None = None) -> None:
    """
    Run the simulator.

    :param argv: the arguments, without the program's name
    """
    options = _parser().parse_args(argv)
    settings = Settings(
        tokens=options.token or (DEFAULT_TOKEN,),
        allow_get=options.allow_get,
        session_seconds=options.session_seconds,
        deny_ip=options.deny_ip,
        speed=options.speed,
        latency_ms=options.latency_ms,
    )
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)
    run(
        settings,
        options.host,
        options.port,
        lambda url: print(f"Telekom SMS API simulator: {url}", flush=True),
    )


if __name__ == "__main__":
    main()
