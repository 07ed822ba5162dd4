"""The container's health check: ends with status 0 when the last turn is not long ago."""

from __future__ import annotations

import os

from app.heartbeat import age


def main() -> None:
    """Allow three intervals, and the time of a slow answer."""
    allowed = 3 * float(os.environ.get("INTERVAL_SECONDS", "5")) + 5
    if (seconds := age()) > allowed:
        raise SystemExit(f"last turn {seconds:.0f} s ago, allowed {allowed:.0f} s")


if __name__ == "__main__":
    main()
