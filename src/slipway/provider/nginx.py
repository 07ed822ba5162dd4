"""Speaks with a running NGINX: gives it a configuration and waits until the old one has drained."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from slipway.commands import nginx
from slipway.model.errors import SlipwayError
from slipway.provider import files
from slipway.provider.kind import Stop
from slipway.run import engine

SERVICE = "gateway"
FOLDER = "/etc/slipway"
LIVE, CANDIDATE = "nginx.conf", "candidate.conf"
CLOSING = PurePosixPath(nginx.CLOSING)
START_SECONDS = 15.0
CUT_SECONDS = 24 * 60 * 60
"""When a worker of an earlier configuration cuts what is left of it. A container that goes ends its connections itself,
in its own time; those of other services have nothing to do with it."""
CLOSE_SECONDS = 0.4  # in which busy clients learn that their kept connection ends
CLOSING_MODE = 0o555  # the mode by which the configuration knows: an archive put into a container deletes nothing
PAUSE = 0.02
WORKER, FINISHING = "nginx: worker process", "is shutting down"
"""How NGINX names its workers, and what it adds once they take no more requests."""


@dataclass(frozen=True)
class Closed:
    """A gateway whose kept connections end.

    `known` is when busy clients have learnt of it, in the seconds of `time.monotonic`; `live` is its configuration.
    """

    known: float
    live: str


_closed: dict[str, Closed] = {}
"""The gateways that are closing, by their container's id."""
_closing = threading.Lock()


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


def switch(container: Any, config: str, stop: Stop) -> None:
    """Make NGINX serve another configuration; requests that began under the old one go on, see `finishing`.

    The new file is tested beside the live one, unless it only names other containers. When NGINX refuses it or doesn't
    reload, the live one stays. All that takes time is done while connections close; where the live file is the same,
    nothing is.

    Args:
        container: the gateway's container.
        config: the new nginx.conf.
        stop: ends the waiting.

    Raises:
        SlipwayError: NGINX refused the configuration or did not take it up.
    """
    with closing(container) as closed:
        if closed.live == config:
            return
        if not nginx.differ_in_upstreams_alone(closed.live, config):
            files.put(container, FOLDER, {CANDIDATE: config})
            _run(container, command(CANDIDATE, "-t"), "NGINX refuses the new configuration")
        take_up(container, closed, config, stop)


@contextmanager
def closing(container: Any, live: str | None = None) -> Iterator[Closed]:
    """Let kept client connections end for the time of a `with`: takes and yields what `close` takes and returns."""
    try:
        yield close(container, live)
    finally:
        reopen(container)


def close(container: Any, live: str | None = None) -> Closed:
    """Let kept client connections end, each with its next answer, if they don't already.

    Args:
        container: the gateway's container.
        live: its configuration; it is asked for where it is not given.
    """
    with _closing:
        if container.id not in _closed:
            live = live_config(container) if live is None else live
            files.put(container, FOLDER, {CLOSING.name: ""}, mode=CLOSING_MODE)
            _closed[container.id] = Closed(time.monotonic() + CLOSE_SECONDS, live)
        return _closed[container.id]


def reopen(container: Any) -> None:
    """Keep client connections again."""
    with _closing:
        _closed.pop(container.id, None)
        files.put(container, FOLDER, {CLOSING.name: ""})


def live_config(container: Any) -> str:
    """Return the gateway's configuration as it serves; empty where it has none."""
    return files.get(container, f"{FOLDER}/{LIVE}")


def foretell(workspace: str, stack: str, service: str) -> None:
    """Let kept connections end where the gateway serves a service that is about to get another container.

    So the time in which clients learn of it passes while that starts. The switch keeps connections again; where it does
    not come to one, `take_back` does.
    """
    with suppress(SlipwayError), engine.speaking():  # what is wrong with the gateway, the switch will say
        for container in _serving(workspace, stack):
            if container.id in _closed:
                continue
            live = live_config(container)
            routes, _ = nginx.read_back(live)
            if any(route.service == service for route in routes):
                close(container, live)


def take_back(workspace: str, stack: str) -> None:
    """Keep connections to the stack's gateway again, where they have been closing for a switch that will not come."""
    with suppress(SlipwayError), engine.speaking():
        for container in _serving(workspace, stack) if _closed else []:
            if container.id in _closed:
                reopen(container)


def _serving(workspace: str, stack: str) -> list[Any]:
    running = [each for each in engine.containers(workspace, stack) if each.service == SERVICE]
    return [engine.client().containers.get(each.id) for each in running if each.state == "running"]


def left_closing(container: Any) -> bool:
    """Whether a deploy that was killed has left that client connections end with each answer."""
    return container.id not in _closed and bool(files.mode(container, str(CLOSING)) & 0o111)


def take_up(container: Any, closed: Closed, config: str, stop: Stop) -> None:
    """Make NGINX serve another configuration as soon as connections have closed.

    The workers of the old one take no request any more then. Between the start of the new ones and the old ones' end
    NGINX waits a tenth of a second, and a connection that is kept in it would be cut.

    Raises:
        SlipwayError: NGINX refused it or did not take it up; the live one stays.
    """
    try:
        files.put(container, FOLDER, {LIVE: config})
        old = _workers(container)
        stop.sleep(max(0, closed.known - time.monotonic()))
        # Not `docker kill -s HUP`: after any signal the engine takes a container for stopped by hand, and no
        # longer restarts it.
        _run(container, command(LIVE, "-s", "reload"), "NGINX can't be told to reload")
        # New workers come only when NGINX has taken up the new file; then the old ones finish and end.
        _wait(lambda: _taken_over(container, old), START_SECONDS, stop, "NGINX did not reload")
    except SlipwayError:
        files.put(container, FOLDER, {LIVE: closed.live})
        raise


def finishing(workspace: str, stack: str) -> bool:
    """Return whether the stack's gateway still answers requests that began before its last switch."""
    titles = [title for container in _serving(workspace, stack) for title in _titles(container).values()]
    return any(title.endswith(FINISHING) for title in titles)


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


def is_stopped(container: Any) -> bool:
    """Say whether a process of NGINX is stopped by a signal, as the engine's machine sees it."""
    table = container.top(ps_args="-eo pid,stat,args")
    state = table["Titles"].index("STAT")
    return any(row[state].startswith(("T", "t")) for row in table["Processes"] or [])


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
