"""Works until it is told to stop: `python -m app` is the container's first process."""

from __future__ import annotations

import os
import signal
from threading import Event

# A first process ignores SIGTERM until it has a handler, so it comes before the imports that take time.
stop = Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())

from app.heartbeat import beat  # noqa: E402
from app.work import take_stock  # noqa: E402
from common import logs  # noqa: E402


def main() -> None:
    """Take stock every INTERVAL_SECONDS; on SIGTERM finish the turn, then end with status 0."""
    logs.start()
    url = os.environ.get("API_URL", "http://gateway:8080/api")
    interval = float(os.environ.get("INTERVAL_SECONDS", "5"))
    while not stop.is_set():
        take_stock(url)
        beat()
        stop.wait(interval)


if __name__ == "__main__":
    main()
