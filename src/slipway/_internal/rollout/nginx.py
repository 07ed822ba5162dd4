"""Speaks with a running NGINX: gives it a configuration and waits until the old one has drained."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from slipway._internal.commands import nginx
from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import container_files
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import engine

GATEWAY = "gateway"
CONFIG_DIR = "/etc/slipway"
LIVE_CONFIG, CANDIDATE_CONFIG = "nginx.conf", "candidate.conf"
KEEPALIVE_OFF_FILE = PurePosixPath(nginx.KEEPALIVE_OFF_FLAG)
START_SECONDS = 15.0
WORKER_SHUTDOWN_SECONDS = 24 * 60 * 60
"""When a worker of an earlier configuration cuts what is left of it. A container that goes ends its connections itself,
in its own time; those of other services have nothing to do with it."""
KEEPALIVE_NOTICE_SECONDS = 0.4  # in which busy clients learn that their kept connection ends
KEEPALIVE_OFF_MODE = 0o555  # the mode by which the configuration knows: an archive put into a container deletes nothing
POLL_SECONDS = 0.02
WORKER_TITLE, SHUTTING_DOWN = "nginx: worker process", "is shutting down"
"""How NGINX names its workers, and what it adds once they take no more requests."""


@dataclass(frozen=True)
class KeepaliveOff:
    """A gateway whose kept connections end.

    `effective_at` is when busy clients have learnt of it, in the seconds of `time.monotonic`; `config` is its
    configuration.
    """

    effective_at: float
    config: str


_keepalive_off: dict[str, KeepaliveOff] = {}
"""The gateways that are closing, by their container's id."""
_keepalive_lock = threading.Lock()


def nginx_command(file: str, *arguments: str) -> list[str]:
    """Return NGINX's command line for a configuration file; even its first errors go to standard error."""
    return ["nginx", "-e", "stderr", "-c", f"{CONFIG_DIR}/{file}", *arguments]


def wait_until_started(container: Any, cancellation: CancellationToken) -> None:
    """Return when NGINX has workers, which it starts after it has opened its port.

    Raises:
        SlipwayError: it ended, or has no workers in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        container.reload()
        if not container.attrs["State"]["Running"]:
            raise SlipwayError(f"NGINX ended with exit code {container.attrs['State']['ExitCode']}")
        if _worker_pids(container):
            return
        if time.monotonic() > deadline:
            raise SlipwayError(f"NGINX has no workers after {START_SECONDS:.0f} s")
        cancellation.sleep(POLL_SECONDS)


def switch_config(container: Any, config: str, cancellation: CancellationToken) -> None:
    """Make NGINX serve another configuration; requests that began under the old one go on.

    The new file is tested beside the live one, unless it only names other containers. When NGINX refuses it or doesn't
    reload, the live one stays. All that takes time is done while connections close; where the live file is the same,
    nothing is.

    Args:
        container: the gateway's container.
        config: the new nginx.conf.
        cancellation: ends the waiting.

    Raises:
        SlipwayError: NGINX refused the configuration or did not take it up.
    """
    with keepalive_disabled(container) as keepalive_off:
        if keepalive_off.config == config:
            return
        if not nginx.differ_only_in_upstreams(keepalive_off.config, config):
            container_files.put_files(container, CONFIG_DIR, {CANDIDATE_CONFIG: config})
            _execute(container, nginx_command(CANDIDATE_CONFIG, "-t"), "NGINX refuses the new configuration")
        reload_config(container, keepalive_off, config, cancellation)


@contextmanager
def keepalive_disabled(container: Any, config: str | None = None) -> Iterator[KeepaliveOff]:
    """Let kept client connections end for the time of a `with`; takes and yields what `disable_keepalive` does."""
    try:
        yield disable_keepalive(container, config)
    finally:
        enable_keepalive(container)


def disable_keepalive(container: Any, config: str | None = None) -> KeepaliveOff:
    """Let kept client connections end, each with its next answer, if they don't already.

    Args:
        container: the gateway's container.
        config: its configuration; it is asked for where it is not given.
    """
    with _keepalive_lock:
        if container.id not in _keepalive_off:
            config = read_live_config(container) if config is None else config
            container_files.put_files(container, CONFIG_DIR, {KEEPALIVE_OFF_FILE.name: ""}, mode=KEEPALIVE_OFF_MODE)
            _keepalive_off[container.id] = KeepaliveOff(time.monotonic() + KEEPALIVE_NOTICE_SECONDS, config)
        return _keepalive_off[container.id]


def enable_keepalive(container: Any) -> None:
    """Keep client connections again."""
    with _keepalive_lock:
        _keepalive_off.pop(container.id, None)
        container_files.put_files(container, CONFIG_DIR, {KEEPALIVE_OFF_FILE.name: ""})


def read_live_config(container: Any) -> str:
    """Return the gateway's configuration as it serves; empty where it has none."""
    return container_files.read_file(container, f"{CONFIG_DIR}/{LIVE_CONFIG}")


def disable_keepalive_early(workspace: str, stack: str, service: str) -> None:
    """Let kept connections end where the gateway serves a service that is about to get another container.

    So the time in which clients learn of it passes while that starts. The switch keeps connections again; where it does
    not come to one, `restore_keepalive` does.
    """
    with suppress(SlipwayError), engine.docker_errors():  # what is wrong with the gateway, the switch will say
        for container in _running_gateways(workspace, stack):
            if container.id in _keepalive_off:
                continue
            config = read_live_config(container)
            routes, _ = nginx.parse_config(config)
            if any(route.service == service for route in routes):
                disable_keepalive(container, config)


def restore_keepalive(workspace: str, stack: str) -> None:
    """Keep connections to the stack's gateway again, where they have been closing for a switch that will not come."""
    with suppress(SlipwayError), engine.docker_errors():
        for container in _running_gateways(workspace, stack) if _keepalive_off else []:
            if container.id in _keepalive_off:
                enable_keepalive(container)


def _running_gateways(workspace: str, stack: str) -> list[Any]:
    running = [container for container in engine.list_containers(workspace, stack) if container.service == GATEWAY]
    return [engine.client().containers.get(container.id) for container in running if container.state == "running"]


def is_keepalive_left_off(container: Any) -> bool:
    """Whether a deploy that was killed has left that client connections end with each answer."""
    return container.id not in _keepalive_off and bool(
        container_files.read_mode(container, str(KEEPALIVE_OFF_FILE)) & 0o111
    )


def reload_config(container: Any, keepalive_off: KeepaliveOff, config: str, cancellation: CancellationToken) -> None:
    """Make NGINX serve another configuration as soon as connections have closed.

    The workers of the old one take no request any more then. Between the start of the new ones and the old ones' end
    NGINX waits a tenth of a second, and a connection that is kept in it would be cut.

    Raises:
        SlipwayError: NGINX refused it or did not take it up; the live one stays.
    """
    try:
        container_files.put_files(container, CONFIG_DIR, {LIVE_CONFIG: config})
        old_workers = _worker_pids(container)
        cancellation.sleep(max(0, keepalive_off.effective_at - time.monotonic()))
        # Not `docker kill -s HUP`: after any signal the engine takes a container for stopped by hand, and no
        # longer restarts it.
        _execute(container, nginx_command(LIVE_CONFIG, "-s", "reload"), "NGINX can't be told to reload")
        # New workers come only when NGINX has taken up the new file; then the old ones finish and end.
        _wait_until(
            lambda: _are_workers_replaced(container, old_workers), START_SECONDS, cancellation, "NGINX did not reload"
        )
    except SlipwayError:
        container_files.put_files(container, CONFIG_DIR, {LIVE_CONFIG: keepalive_off.config})
        raise


def has_requests_in_flight(workspace: str, stack: str) -> bool:
    """Return whether the stack's gateway still answers requests that began before its last switch."""
    titles = [
        title for container in _running_gateways(workspace, stack) for title in _worker_titles(container).values()
    ]
    return any(title.endswith(SHUTTING_DOWN) for title in titles)


def _wait_until(condition: Any, seconds: float, cancellation: CancellationToken, message: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SlipwayError(f"{message} within {seconds:.0f} s")
        cancellation.sleep(POLL_SECONDS)


def _execute(container: Any, arguments: list[str], message: str) -> None:
    code, output = engine.exec_command(container.id, arguments)
    if code:
        raise SlipwayError(message, detail=output)


def _are_workers_replaced(container: Any, old_workers: set[str]) -> bool:
    """Whether there are new workers, and the old ones only finish what they have begun."""
    titles = _worker_titles(container)
    shutting_down = {pid for pid, title in titles.items() if title.endswith(SHUTTING_DOWN)}
    return bool(titles.keys() - old_workers) and old_workers & titles.keys() <= shutting_down


def has_stopped_process(container: Any) -> bool:
    """Say whether a process of NGINX is stopped by a signal, as the engine's machine sees it."""
    table = container.top(ps_args="-eo pid,stat,args")
    state = table["Titles"].index("STAT")
    return any(row[state].startswith(("T", "t")) for row in table["Processes"] or [])


def _worker_pids(container: Any) -> set[str]:
    """Return the process ids of all workers, those that are only finishing included."""
    return set(_worker_titles(container))


def _worker_titles(container: Any) -> dict[str, str]:
    """Return the process id and title of each worker.

    Asked of the engine, so the image needs no tools and the engine may be remote.
    """
    table = container.top()
    pid = table["Titles"].index("PID")
    return {row[pid]: row[-1] for row in table["Processes"] or [] if row[-1].startswith(WORKER_TITLE)}
