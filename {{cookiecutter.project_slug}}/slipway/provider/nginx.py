"""Speaks with a running NGINX: gives it a configuration and waits until the old one has drained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from slipway.commands import nginx
from slipway.model.errors import SlipwayError
from slipway.provider import files
from slipway.provider.kind import Stop
from slipway.run import engine

FOLDER = "/etc/slipway"
LIVE, CANDIDATE = "nginx.conf", "candidate.conf"
CLOSING = PurePosixPath(nginx.CLOSING)
START_SECONDS = 15.0
CLOSE_SECONDS = 0.4  # in which busy clients learn that their kept connection ends
CLOSED = 0o555  # the mode by which the configuration knows: an archive put into a container deletes nothing
PAUSE = 0.02
WORKER, FINISHING = "nginx: worker process", "is shutting down"
"""How NGINX names its workers, and what it adds once they take no more requests."""


def command(name: str, *more: str) -> list[str]:
    """Return NGINX's command line for a configuration file; even its first errors go to standard error."""
    return ["nginx", "-e", "stderr", "-c", f"{FOLDER}/{name}", *more]


def wait_started(container: Any, stop: Stop) -> None:
    """Return when NGINX has workers, which it starts after it has opened its port.

    Raises:
        SlipwayError: it ended, or has no workers in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        container.reload()
        if not container.attrs["State"]["Running"]:
            raise SlipwayError(f"NGINX ended with exit code {container.attrs['State']['ExitCode']}")
        if _workers(container):
            return
        if time.monotonic() > deadline:
            raise SlipwayError(f"NGINX has no workers after {START_SECONDS:.0f} s")
        stop.sleep(PAUSE)


def switch(container: Any, config: str, drain_seconds: float, stop: Stop) -> None:
    """Make NGINX serve another configuration; return when requests that began under the old one ended.

    The new file is tested beside the live one. When NGINX refuses it or doesn't reload, the live one stays. All that
    takes time is done while connections close; where the live file is the same, nothing is.

    Args:
        container: the gateway's container.
        config: the new nginx.conf.
        drain_seconds: how long requests in flight may take; NGINX then cuts them (`worker_shutdown_timeout`).
        stop: ends the waiting.

    Raises:
        SlipwayError: NGINX refused the configuration or did not take it up.
    """
    with closing(container, config) as closed:
        before = files.get(container, f"{FOLDER}/{LIVE}")
        if before == config:
            return
        _run(container, command(CANDIDATE, "-t"), "NGINX refuses the new configuration")
        old = take_up(container, before, config, closed, stop)
    wait_drained(container, old, drain_seconds, stop)


@contextmanager
def closing(container: Any, candidate: str = "") -> Iterator[float]:
    """Let kept client connections end, each with its next answer, for the time of a `with`.

    Yield the moment from which on busy clients have learnt of it, in the seconds of `time.monotonic`. The candidate is
    put beside the live configuration, to be tested.
    """
    files.put(container, FOLDER, {CANDIDATE: candidate, CLOSING.name: ""}, mode=CLOSED)
    try:
        yield time.monotonic() + CLOSE_SECONDS
    finally:
        files.put(container, FOLDER, {CLOSING.name: ""})


def take_up(container: Any, before: str, config: str, closed: float, stop: Stop) -> set[str]:
    """Make NGINX serve another configuration as soon as connections have closed; return the workers of the old one.

    They take no request any more then. Between the start of the new ones and the old ones' end NGINX waits a tenth of a
    second, and a connection that is kept in it would be cut.

    Raises:
        SlipwayError: NGINX refused it or did not take it up; the live one stays.
    """
    try:
        files.put(container, FOLDER, {LIVE: config})
        old = _workers(container)
        stop.sleep(max(0, closed - time.monotonic()))
        # Not `docker kill -s HUP`: after any signal the engine takes a container for stopped by hand, and no
        # longer restarts it.
        _run(container, command(LIVE, "-s", "reload"), "NGINX can't be told to reload")
        # New workers come only when NGINX has taken up the new file; then the old ones finish and end.
        _wait(lambda: _taken_over(container, old), START_SECONDS, stop, "NGINX did not reload")
    except SlipwayError:
        files.put(container, FOLDER, {LIVE: before})
        raise
    return old


def wait_drained(container: Any, old: set[str], drain_seconds: float, stop: Stop) -> None:
    """Return when the requests that old workers were answering have ended."""
    _wait(lambda: not _workers(container) & old, drain_seconds + 5, stop, "NGINX's old workers did not end")


def _wait(done: Any, seconds: float, stop: Stop, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SlipwayError(f"{otherwise} within {seconds:.0f} s")
        stop.sleep(PAUSE)


def _run(container: Any, words: list[str], otherwise: str) -> None:
    code, output = engine.execute(container.id, words)
    if code:
        raise SlipwayError(otherwise, detail=output)


def _taken_over(container: Any, old: set[str]) -> bool:
    """Whether there are new workers, and the old ones only finish what they have begun."""
    titles = _titles(container)
    finishing = {pid for pid, title in titles.items() if title.endswith(FINISHING)}
    return bool(titles.keys() - old) and old & titles.keys() <= finishing


def _workers(container: Any) -> set[str]:
    """Return the process ids of all workers, those that are only finishing included."""
    return set(_titles(container))


def _titles(container: Any) -> dict[str, str]:
    """Return the process id and title of each worker.

    Asked of the engine, so the image needs no tools and the engine may be remote.
    """
    table = container.top()
    pid = table["Titles"].index("PID")
    return {row[pid]: row[-1] for row in table["Processes"] or [] if row[-1].startswith(WORKER)}
