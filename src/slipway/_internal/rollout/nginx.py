"""Controls a running NGINX: switches its configuration, and shows whether requests of the old one still run."""

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
"""When a worker of an old configuration cuts its remaining connections. A container that is removed ends its own
connections within its drain time; the connections of other services must not be affected."""
KEEPALIVE_NOTICE_SECONDS = 0.4  # time for busy clients to learn that their keepalive connection ends
KEEPALIVE_OFF_MODE = 0o555  # the file mode that turns keepalive off: put_archive cannot delete a file
POLL_SECONDS = 0.02
WORKER_TITLE, SHUTTING_DOWN = "nginx: worker process", "is shutting down"
"""The process title of NGINX's workers, and what NGINX appends once they accept no more requests."""


@dataclass(frozen=True)
class KeepaliveOff:
    """A gateway whose keepalive is off.

    `effective_at` is when busy clients have noticed it, as a `time.monotonic` value; `config` is its configuration.
    """

    effective_at: float
    config: str


_keepalive_off: dict[str, KeepaliveOff] = {}
"""The gateways whose keepalive is off, by container id."""
_keepalive_lock = threading.Lock()


def nginx_command(file: str, *arguments: str) -> list[str]:
    """Return NGINX's command line for a configuration file; even its startup errors go to standard error."""
    return ["nginx", "-e", "stderr", "-c", f"{CONFIG_DIR}/{file}", *arguments]


def wait_until_started(container: Any, cancellation: CancellationToken) -> None:
    """Return when NGINX has workers, which it starts after it has opened its port.

    Raises:
        SlipwayError: it ended, or did not start workers in time.
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
    """Switch NGINX to another configuration; requests that started under the old one continue.

    The new file is tested beside the live one, unless it only names other containers. If NGINX refuses it or does not
    reload, the live one stays. Slow steps run while keepalive connections close. If the live file is the same, nothing
    is done.

    Args:
        container: the gateway's container.
        config: the new nginx.conf.
        cancellation: stops the waiting.

    Raises:
        SlipwayError: NGINX refused the configuration or did not load it.
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
    """Turn keepalive off inside a `with` block; takes and yields what `disable_keepalive` takes and returns."""
    try:
        yield disable_keepalive(container, config)
    finally:
        enable_keepalive(container)


def disable_keepalive(container: Any, config: str | None = None) -> KeepaliveOff:
    """Turn keepalive off, so that each client connection ends with its next answer.

    Args:
        container: the gateway's container.
        config: its configuration; by default it is read from the container.
    """
    with _keepalive_lock:
        if container.id not in _keepalive_off:
            config = read_live_config(container) if config is None else config
            container_files.put_files(container, CONFIG_DIR, {KEEPALIVE_OFF_FILE.name: ""}, mode=KEEPALIVE_OFF_MODE)
            _keepalive_off[container.id] = KeepaliveOff(time.monotonic() + KEEPALIVE_NOTICE_SECONDS, config)
        return _keepalive_off[container.id]


def enable_keepalive(container: Any) -> None:
    """Turn keepalive on again."""
    with _keepalive_lock:
        _keepalive_off.pop(container.id, None)
        container_files.put_files(container, CONFIG_DIR, {KEEPALIVE_OFF_FILE.name: ""})


def read_live_config(container: Any) -> str:
    """Return the gateway's live configuration; empty if it has none."""
    return container_files.read_file(container, f"{CONFIG_DIR}/{LIVE_CONFIG}")


def disable_keepalive_early(workspace: str, stack: str, service: str) -> None:
    """Turn keepalive off in a gateway that routes to a service whose new container is starting.

    So clients notice it while the container starts. The switch turns keepalive on again; if no switch follows,
    `restore_keepalive` does.
    """
    with suppress(SlipwayError), engine.docker_errors():  # the switch will report a problem with the gateway
        for container in _running_gateways(workspace, stack):
            if container.id in _keepalive_off:
                continue
            config = read_live_config(container)
            routes, _ = nginx.parse_config(config)
            if any(route.service == service for route in routes):
                disable_keepalive(container, config)


def restore_keepalive(workspace: str, stack: str) -> None:
    """Turn the stack's gateway's keepalive on again if it was turned off for a switch that did not happen."""
    with suppress(SlipwayError), engine.docker_errors():
        for container in _running_gateways(workspace, stack) if _keepalive_off else []:
            if container.id in _keepalive_off:
                enable_keepalive(container)


def _running_gateways(workspace: str, stack: str) -> list[Any]:
    running = [container for container in engine.list_containers(workspace, stack) if container.service == GATEWAY]
    return [engine.client().containers.get(container.id) for container in running if container.state == "running"]


def is_keepalive_left_off(container: Any) -> bool:
    """Whether a killed deploy left keepalive off."""
    return container.id not in _keepalive_off and bool(
        container_files.read_mode(container, str(KEEPALIVE_OFF_FILE)) & 0o111
    )


def reload_config(container: Any, keepalive_off: KeepaliveOff, config: str, cancellation: CancellationToken) -> None:
    """Reload NGINX with another configuration as soon as keepalive connections have closed.

    The old workers then accept no more requests. NGINX waits a tenth of a second between starting the new workers and
    ending the old ones, and would cut an open keepalive connection in that time.

    Raises:
        SlipwayError: NGINX refused the configuration or did not load it; the live one stays.
    """
    try:
        container_files.put_files(container, CONFIG_DIR, {LIVE_CONFIG: config})
        old_workers = _worker_pids(container)
        cancellation.sleep(max(0, keepalive_off.effective_at - time.monotonic()))
        # Not `docker kill -s HUP`: after any signal the engine treats a container as stopped manually, and no longer
        # restarts it.
        _execute(container, nginx_command(LIVE_CONFIG, "-s", "reload"), "NGINX can't be told to reload")
        # New workers start only when NGINX has loaded the new file; then the old ones finish and end.
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
    """Whether there are new workers, and the old ones are only finishing their requests."""
    titles = _worker_titles(container)
    shutting_down = {pid for pid, title in titles.items() if title.endswith(SHUTTING_DOWN)}
    return bool(titles.keys() - old_workers) and old_workers & titles.keys() <= shutting_down


def has_stopped_process(container: Any) -> bool:
    """Return whether a signal has stopped one of NGINX's processes, as the engine's machine sees it."""
    table = container.top(ps_args="-eo pid,stat,args")
    state = table["Titles"].index("STAT")
    return any(row[state].startswith(("T", "t")) for row in table["Processes"] or [])


def _worker_pids(container: Any) -> set[str]:
    """Return the process ids of all workers, including those that are shutting down."""
    return set(_worker_titles(container))


def _worker_titles(container: Any) -> dict[str, str]:
    """Return the process id and title of each worker.

    The engine lists the processes, so the image needs no tools and the engine may be remote.
    """
    table = container.top()
    pid = table["Titles"].index("PID")
    return {row[pid]: row[-1] for row in table["Processes"] or [] if row[-1].startswith(WORKER_TITLE)}
