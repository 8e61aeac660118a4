"""
How fast it is beside what one writes by hand; ``make bench`` runs it all and writes docs/performance.md.

::

    __main__   the command
    suite      what every section needs; counts at the server
    process    every measurement has a process of its own
    server     the API that all send to, fast enough not to be what is measured
    rows       the campaign: files, texts, bodies of requests
    clients    the rivals: what one writes by hand, and the limit
    provider   this package: campaigns over API v1 and v2, workers
    sending    who sends what: cells of format, latency and connections; API v2; several workers
    planning   from a million rows to a plan
    polling    waiting for delivery
    parsing    importing the operators
    targets    what is to be reached, and what was
    report     results -> docs/performance.md and docs/pictures/performance.svg
"""

from __future__ import annotations
