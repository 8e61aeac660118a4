"""
Runs the receiver alone: ``python -m airflow_provider_telekom_sms.callbacks --host 0.0.0.0 --port 8081``.

For those who may not open Airflow's API server to the world. It finds secret and ledger as Airflow does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_telekom_sms.callbacks.app import PREFIX, configured
from airflow_provider_telekom_sms.exceptions import TelekomSmsError


def main(argv: Sequence[str] | None = None) -> int:
    """Run it until it is told to end."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_telekom_sms.callbacks",
        description="Takes callbacks at http://HOST:PORT/PREFIX/SECRET; the secret is "
        "[telekom_sms] callback_secret of Airflow's configuration.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="port to listen on (%(default)s)")
    parser.add_argument("--prefix", default=PREFIX, help="path before the secret (%(default)s)")
    parser.add_argument("--ssl-certfile", help="certificate, to be called with https")
    parser.add_argument("--ssl-keyfile", help="its key")
    ledger = parser.add_mutually_exclusive_group()
    ledger.add_argument("--ledger-conn-id", help="Airflow connection of the ledger")
    ledger.add_argument("--ledger-path", type=Path, help="SQLite file of the ledger")
    options = parser.parse_args(argv)
    path = str(options.ledger_path.absolute()) if options.ledger_path else None
    prefix = "/".join(["", *filter(None, options.prefix.split("/"))])
    try:
        receiver = configured(prefix=prefix, ledger_conn_id=options.ledger_conn_id, ledger_path=path)
    except TelekomSmsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if receiver is None:
        print("error: [telekom_sms] callback_secret is not set, so nothing is received", file=sys.stderr)
        return 1
    import uvicorn

    uvicorn.run(
        receiver,
        host=options.host,
        port=options.port,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
        access_log=False,
        server_header=False,
        lifespan="off",
        # Of those without the secret, too.
        limit_concurrency=2_000,
        timeout_graceful_shutdown=10,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
