"""The container's health check: ends with status 0 when the API answers."""

from __future__ import annotations

import os
from http.client import HTTPConnection


def main() -> None:
    """Ask this container's API for its health."""
    connection = HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=2)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as error:
        raise SystemExit(f"no answer: {error}") from error
    if status != 200:
        raise SystemExit(f"answered {status}")


if __name__ == "__main__":
    main()
