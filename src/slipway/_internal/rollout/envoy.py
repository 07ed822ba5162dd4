"""Controls a running Envoy: switches its configuration, and waits for requests that began before a switch."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from slipway._internal.commands import envoy
from slipway._internal.commands.envoy_listener import CONFIG_DIR
from slipway._internal.commands.envoy_rules import LIMIT_FILTER
from slipway._internal.commands.envoy_tls import SECRET
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.masking import mask
from slipway._internal.rollout import container_files
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import engine
from slipway._internal.run.background import Background

GATEWAY = "gateway"
CONTROL = "control"
"""The program in the gateway's image that runs Envoy, moves its files and asks it; see `bases/envoy/control.c`."""
ENTRYPOINT = (CONTROL, "run", "envoy")
REFUSED, LATE = 3, 4
START_SECONDS = 15.0
POLL_SECONDS = 0.02
RESTORE_SECONDS = 2.0
MAX_REASON_CHARACTERS = 1200
MAX_LOG_LINES = 2000  # among which the reason is, however many requests are logged meanwhile
REFUSAL_MARK = "rejected: "
WATCHED = {
    envoy.CLUSTERS: "cluster_manager.cds",
    envoy.LISTENERS: "listener_manager.lds",
    envoy.ROUTES: f"http.gateway.rds.{envoy.ROUTE_TABLE}",
    envoy.CERTIFICATES: f"sds.{SECRET}",
    envoy.LIMITS: f"extension_config_discovery.http_filter.{LIMIT_FILTER}",
}
"""The files that Envoy watches, and the statistics that tell which version of each it serves.

It watches the certificate's only while it has a listener for TLS."""
ROOT = "0"  # the files' owner, and so who may move them; without any capability

T = TypeVar("T")


def start_command() -> list[str]:
    """Return the command that the gateway's container runs."""
    return [
        *ENTRYPOINT,
        *("-c", f"{CONFIG_DIR}/{envoy.BOOTSTRAP}"),
        *("--concurrency", "2"),
        "--disable-hot-restart",
        "--reject-unknown-dynamic-fields",
        *("--drain-time-s", "10", "--drain-strategy", "immediate"),
        *("--log-level", "warning", "--log-format-escaped", "--file-flush-interval-msec", "200"),
    ]


def wait_until_started(container: Any, config: Mapping[str, str], cancellation: CancellationToken) -> None:
    """Return when Envoy listens, and serves this configuration.

    Raises:
        SlipwayError: it ended, refuses the configuration, or did not start in time.
    """
    watched = [name for name in WATCHED if name != envoy.CERTIFICATES or _speaks_tls(config)]
    versions = [word for name in watched for word in (WATCHED[name], envoy.version_of(config[name]))]
    try:
        code, output = _run_control(container, cancellation, ["ready", str(START_SECONDS), *versions])
    except engine.load_sdk().errors.APIError as error:
        if error.status_code != 409:  # it is not running any more
            raise
        code, output = 1, ""
    container.reload()
    if not container.attrs["State"]["Running"]:
        raise SlipwayError(f"Envoy ended with exit code {container.attrs['State']['ExitCode']}")
    if code:
        raise _control_error(container, code, output, "Envoy did not start")


def switch_config(container: Any, config: Mapping[str, str], cancellation: CancellationToken) -> None:
    """Switch Envoy to another configuration; connections are kept, and requests in flight end where they are.

    What requests shall be sent to is added first, then the routes change, then what they led to before goes. If Envoy
    refuses a file, the old ones are put back. If they are the same, nothing is done.

    Args:
        container: the gateway's container.
        config: the files of the new configuration.
        cancellation: stops the waiting.

    Raises:
        SlipwayError: Envoy refused the configuration or did not take it up.
    """
    live = read_live_config(container)
    if live == config:
        return
    plan = plan_switch(live, config)
    try:
        _put_unwatched(container, plan.before)
        code, output = _apply(container, plan.steps, START_SECONDS, cancellation)
        if code:
            raise _control_error(container, code, output, "Envoy does not serve the new configuration")
        _put_unwatched(container, plan.after)
    except SlipwayError:
        _apply(container, _steps_back(live), RESTORE_SECONDS, CancellationToken())
        _put_unwatched(container, {name: live[name] for name in plan.before if name in live})
        raise


def read_live_config(container: Any) -> dict[str, str]:
    """Return the files of the gateway's live configuration; empty if it has none."""
    files = container_files.read_folder(container, CONFIG_DIR)
    return {name: text for name, text in files.items() if name in (envoy.BOOTSTRAP, *WATCHED)}


def wait_for_requests(
    workspace: str, stack: str, upstreams: Collection[str], seconds: float, cancellation: CancellationToken
) -> None:
    """Return when the stack's gateway has no request in flight to upstreams that its routes do not lead to any more.

    Args:
        workspace: the workspace's name.
        stack: the stack's name.
        upstreams: `host:port`; where routes lead to one of them, it is not waited for.
        seconds: how long to wait.
        cancellation: stops the waiting.
    """
    end = time.monotonic() + seconds
    for container in running_gateways(workspace, stack):
        live_config = read_live_config(container)
        try:
            live = {upstream for route in envoy.parse_config(live_config).routes for upstream in route.upstreams}
        except ConfigError:
            continue
        for upstream in sorted(set(upstreams) - live):
            left = max(0.0, end - time.monotonic())
            with suppress(engine.load_sdk().errors.APIError):  # it has just ended, with all its requests
                _run_control(container, cancellation, ["drained", f"{left:.2f}", envoy.cluster_name(upstream)])


def running_gateways(workspace: str, stack: str) -> list[Any]:
    running = [container for container in engine.list_containers(workspace, stack) if container.service == GATEWAY]
    return [engine.client().containers.get(container.id) for container in running if container.state == "running"]


def has_stopped_process(container: Any) -> bool:
    """Return whether a signal has stopped one of the gateway's processes, as the engine's machine sees it."""
    table = container.top(ps_args="-eo pid,stat,args")
    state = table["Titles"].index("STAT")
    return any(row[state].startswith(("T", "t")) for row in table["Processes"] or [])


@dataclass(frozen=True)
class SwitchPlan:
    """The files of a switch: those to move one after the other, and those that Envoy does not watch before or after."""

    steps: list[tuple[str, str]]
    before: dict[str, str]
    after: dict[str, str]


def plan_switch(live: Mapping[str, str], config: Mapping[str, str]) -> SwitchPlan:
    """Return how to get from one configuration to another."""
    new = envoy.parse_config(config)
    try:
        old = envoy.parse_config(live)
    except ConfigError:  # changed by hand, or written by another version
        old = envoy.GatewayConfig()
    transition = envoy.render_transition(old, new)
    had_tls, has_tls = _speaks_tls(live), _speaks_tls(config)
    changed = {name: config[name] for name in WATCHED if live.get(name) != config[name]}
    certificate = {name: text for name, text in changed.items() if name == envoy.CERTIFICATES}
    # A certificate for a new listener is moved after it, too, so that it is waited for until the listener has it.
    limits = {name: text for name, text in changed.items() if name == envoy.LIMITS}
    had_limits = envoy.LIMITS in live  # an older version's gateway does not watch them before its listener is replaced
    order = [(envoy.CLUSTERS, transition)]
    order += limits.items() if had_limits else ()
    order += certificate.items() if had_tls and has_tls else ()
    order += [(name, text) for name, text in changed.items() if name == envoy.LISTENERS]
    order += certificate.items() if has_tls and not had_tls else ()
    order += [(name, text) for name, text in changed.items() if name == envoy.ROUTES]
    order += [(envoy.CLUSTERS, config[envoy.CLUSTERS])] * (transition != config[envoy.CLUSTERS])
    before = {**(certificate if not had_tls else {}), **(limits if not had_limits else {})}
    return SwitchPlan(order, before, certificate if had_tls and not has_tls else {})


def _steps_back(live: Mapping[str, str]) -> list[tuple[str, str]]:
    watched = [envoy.CERTIFICATES] if _speaks_tls(live) else []
    order = [envoy.CLUSTERS, *watched, envoy.LIMITS, envoy.LISTENERS, envoy.ROUTES]
    return [(name, live[name]) for name in order if name in live]


def _speaks_tls(files: Mapping[str, str]) -> bool:
    nothing = '"resources": []'
    return nothing not in files.get(envoy.CERTIFICATES, nothing)


def _put_unwatched(container: Any, files: Mapping[str, str]) -> None:
    if files:
        container_files.put_files(container, CONFIG_DIR, files)


def _apply(
    container: Any, steps: Sequence[tuple[str, str]], seconds: float, cancellation: CancellationToken
) -> tuple[int, str]:
    """Put files into place, each once Envoy serves the one before; return how `control` ended.

    The engine writes files in place, where Envoy would read half of one; so each is written beside and then moved.
    """
    written = {f"next.{number}.{name}": text for number, (name, text) in enumerate(steps)}
    container_files.put_files(container, CONFIG_DIR, written)
    words = ["apply", str(seconds)]
    for source, (name, text) in zip(written, steps, strict=True):
        words += [f"{CONFIG_DIR}/{source}", f"{CONFIG_DIR}/{name}", WATCHED[name], envoy.version_of(text)]
    return _run_control(container, cancellation, words)


def _run_control(container: Any, cancellation: CancellationToken, words: Sequence[str]) -> tuple[int, str]:
    command = [CONTROL, *words]
    return _run_interruptibly(lambda: engine.exec_command(container.id, command, user=ROOT), cancellation)


def _run_interruptibly(work: Callable[[], T], cancellation: CancellationToken) -> T:
    background = Background(work)
    while not background.wait(POLL_SECONDS):
        cancellation.sleep(0)
    return background.result()


def _control_error(container: Any, code: int, output: str, message: str) -> SlipwayError:
    if code == REFUSED:
        return SlipwayError("Envoy refuses the configuration", detail=_read_reason(container))
    return SlipwayError(f"{message} within {START_SECONDS:.0f} s" if code == LATE else message, detail=output)


def _read_reason(container: Any) -> str:
    """Return why Envoy refused a file: the end of what it wrote to its log, which begins with the file itself."""
    text = container.logs(tail=MAX_LOG_LINES).decode(errors="replace")
    reasons = [line.partition(REFUSAL_MARK)[2] for line in text.splitlines() if REFUSAL_MARK in line]
    return mask(reasons[-1][-MAX_REASON_CHARACTERS:]) if reasons else ""
