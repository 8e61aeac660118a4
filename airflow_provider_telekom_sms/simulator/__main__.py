"""Run the simulator as a process; it prints its URL once it listens and ends on SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from airflow_provider_telekom_sms.simulator.server import run
from airflow_provider_telekom_sms.simulator.state import DEFAULT_TOKEN, RCS, V2_REPLIES, Settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_telekom_sms.simulator",
        description=(
            "Telekom's SMS API, v1 and v2, on your own machine. "
            "A page of phones is at /, the record under /_simulator/summary."
        ),
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
    parser.add_argument(
        "--v2-reply", choices=V2_REPLIES, default=V2_REPLIES[0], help="the shape of v2's reply"
    )
    parser.add_argument(
        "--rcs", choices=RCS, default="by_number", help="which numbers have RCS; by_number: not …7xx"
    )
    parser.add_argument("--callback-url", metavar="URL", help="called with the statuses of messages of v1")
    parser.add_argument("--inbound-url", metavar="URL", help="called with inbound messages")
    parser.add_argument(
        "--callback-host",
        action="append",
        metavar="HOST",
        help="a host that may be called beside this machine, repeatable; * for any",
    )
    parser.add_argument(
        "--callback-speed", type=float, default=1.0, help="factor for retries, of which the first waits 5 min"
    )
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
        v2_reply=options.v2_reply,
        rcs=options.rcs,
        callback_url=options.callback_url,
        inbound_url=options.inbound_url,
        callback_hosts=options.callback_host or (),
        callback_speed=options.callback_speed,
    )
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)
    try:
        run(
            settings,
            options.host,
            options.port,
            lambda url: print(f"Telekom SMS API simulator: {url}", flush=True),
        )
    except OSError as error:
        sys.exit(f"The simulator cannot listen on {options.host}:{options.port}: {error.strerror}")


if __name__ == "__main__":
    main()
