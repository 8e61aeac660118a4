"""The provider's command: ``python -m airflow_provider_telekom_sms ledger …``."""

from __future__ import annotations

import io
import sys

from airflow_provider_telekom_sms.cli import main

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a letter is no reason to fail after the work was done.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
