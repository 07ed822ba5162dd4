"""Runs once, to its end: `python -m app` is the container's first process, and its status says how it went."""

from __future__ import annotations

import logging
import os
import signal
import sys

STOPPED = 128 + signal.SIGTERM
"""The status of a run that was told to stop: no success, so the work is done in a later run."""

# A first process ignores SIGTERM until it has a handler, so it comes before the imports that take time. Leaving by an
# exception closes files and connections on the way.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))

from app.report import StockError, report  # noqa: E402
from common import logs  # noqa: E402

log = logging.getLogger("job")


def main() -> int:
    """Report what is in stock and return 0; 1 when the API does not say."""
    logs.start()
    url = os.environ.get("API_URL", "http://gateway:8080/api")
    try:
        found = report(url, low=int(os.environ.get("LOW_STOCK", "10")))
    except StockError as error:
        log.error("no report", extra={"url": url, "why": str(error)})
        return 1
    log.info("reported", extra=found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
