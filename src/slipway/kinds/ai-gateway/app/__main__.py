"""Serves the gateway until it is told to stop: `python -m app` is the container's first process."""

from __future__ import annotations

import os
import signal
import sys

# A first process ignores SIGTERM until it has a handler, so it comes before the imports that take time. While
# requests are served uvicorn has its own; when it is done it puts this one back and sends itself the signal again.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

import uvicorn  # noqa: E402

from app.files import ConfigError  # noqa: E402
from app.main import build  # noqa: E402
from common import logs  # noqa: E402


def main() -> None:
    """Serve on $PORT; on SIGTERM finish what is being answered, then end with status 0."""
    logs.start()
    try:
        api = build()
    except ConfigError as error:
        sys.exit(f"✘ {error}")
    uvicorn.run(
        api,
        host="0.0.0.0",  # noqa: S104  the container's own network
        port=int(os.environ["PORT"]),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=25,
        forwarded_allow_ips="*",
    )


if __name__ == "__main__":
    main()
