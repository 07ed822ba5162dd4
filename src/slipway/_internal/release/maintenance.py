"""Maintenance: the gateway answers 503 in place of a stack's services, until it is switched off.

It stands in the gateway's own configuration, so it holds for whoever deploys, and a deploy keeps it.
"""

from __future__ import annotations

from pathlib import Path

from slipway._internal.commands.envoy_maintenance import MAX_PAGE_BYTES
from slipway._internal.commands.gateway_options import MaintenanceOptions
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace import Workspace
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.live_gateway import LiveGateway
from slipway._internal.run import engine
from slipway._internal.targets.docker.observation import DockerTarget
from slipway._internal.targets.status import GATEWAY
from slipway._internal.toolchain.locking import file_lock

PAGE = Path("deploy", "maintenance.html")
"""The page that a workspace may have; without it there is a plain one."""


def switch_maintenance(
    workspace: Workspace, stack: Stack, service: str, *, on: bool, retry_after: int
) -> MaintenanceOptions | None:
    """Switch maintenance of a service, or of all, and return what is in force then; None: nothing is in maintenance.

    Args:
        workspace: the workspace.
        stack: the stack.
        service: the service's name; empty for all that the gateway serves.
        on: whether it begins or ends.
        retry_after: the seconds after which callers are told to come again.

    Raises:
        ConfigError: the stack has no gateway of Slipway's that runs, the service no route, or the page is too large.
    """
    if stack.target != "docker":
        raise ConfigError(
            f"{stack.file}: the stack runs on {stack.target}, where its services have no gateway of Slipway's",
            remedy="Maintenance is for stacks on a Docker engine.",
        )
    if service and not workspace.service(service).routes:
        raise ConfigError(f"{service} has no route, so nobody calls it from outside", remedy="Name another service.")
    page = _read_page(workspace)
    with file_lock(workspace.scratch / "run" / f"maintenance-{stack.name}.lock", lambda: None), engine.docker_errors():
        gateway = LiveGateway.in_container(_find_gateway(workspace, stack))
        live = gateway.config.options.maintenance
        wanted = _begun(live, service, page, retry_after) if on else _ended(live, service, stack.name)
        gateway.switch_maintenance(wanted, CancellationToken())
    return wanted


def _begun(live: MaintenanceOptions | None, service: str, page: str, retry_after: int) -> MaintenanceOptions:
    services: tuple[str, ...] = ()
    if service and (live is None or live.services):
        services = tuple(sorted({*(live.services if live else ()), service}))
    return MaintenanceOptions(services=services, page=page, retry_after=retry_after)


def _ended(live: MaintenanceOptions | None, service: str, stack: str) -> MaintenanceOptions | None:
    if not service or live is None:
        return None
    if not live.services:
        raise ConfigError(
            "all services are in maintenance, so it cannot end for one",
            remedy=f"`invoke maintenance off --stack {stack}`, then `on` with `--service` for others.",
        )
    left = tuple(name for name in live.services if name != service)
    return MaintenanceOptions(services=left, page=live.page, retry_after=live.retry_after) if left else None


def _read_page(workspace: Workspace) -> str:
    path = workspace.root / PAGE
    if not path.exists():
        return ""
    page = read_text(path)
    if len(page.encode()) > MAX_PAGE_BYTES:
        raise ConfigError(
            f"{path} has {len(page.encode())} bytes",
            remedy=f"Shorten it to {MAX_PAGE_BYTES}, pictures and styles included.",
        )
    return page


def _find_gateway(workspace: Workspace, stack: Stack) -> str:
    """Return the id of the container of the gateway, which this folder has deployed."""
    own = [container for container in DockerTarget(workspace, stack).own_containers() if container.service == GATEWAY]
    if not own or own[-1].state != "running":
        raise ConfigError(
            f"the gateway of {stack.name} does not run", remedy=f"`{how_to_deploy(stack.name)}` starts it."
        )
    return own[-1].id
