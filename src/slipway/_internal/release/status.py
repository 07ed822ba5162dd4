"""What runs in a stack, its health, its drift from what was deployed, and its logs."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from slipway._internal.context.logs import build_log, logs_folder
from slipway._internal.context.run_context import current_environment
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.model.workspace import Workspace
from slipway._internal.targets import target_of
from slipway._internal.targets.status import GATEWAY, ServiceStatus


def read_stack_status(workspace: Workspace, stack: str) -> Sequence[ServiceStatus]:
    """Return the status of each service, and on a Docker engine of the gateway; empty if nothing of the stack runs.

    Raises:
        ConfigError: the stack does not exist.
        SlipwayError: the stack's target does not answer.
    """
    config = stacks.load(workspace.root, stack, {})
    return target_of(workspace, config).status(lambda: _live_images(workspace, config))


def _live_images(workspace: Workspace, stack: Stack) -> Mapping[str, str] | None:
    """Return the live release's images; empty during a deploy; None if the state cannot be read."""
    # Only now: a Docker engine knows it all, and Pulumi's SDK takes longer to import than the rest to work.
    from slipway._internal.release.releases import list_releases, live_release

    try:
        releases = list_releases(current_environment(workspace), stack)
    except SlipwayError:
        return None
    live = live_release(releases)
    return live.digests if live and releases[0].result != "deploying" else {}


def read_service_logs(
    workspace: Workspace, service: str, stack: str, *, follow: bool, tail: int, build: bool
) -> Generator[str, None, None]:
    """Yield the lines of a service's log: its container's, or its last build's.

    Raises:
        ConfigError: the service or stack does not exist, the service does not run, or was never built here.
    """
    target = stacks.load(workspace.root, stack, {})
    if service != GATEWAY:
        workspace.service(service)
    if build:
        path = build_log(logs_folder(workspace), service)
        if not path.is_file():
            raise ConfigError(
                f"{service} was never built on this machine", remedy=f"Run `invoke build` or `{how_to_deploy(stack)}`."
            )
        yield from path.read_text(encoding="utf-8", errors="replace").splitlines()[-tail:]
        return
    yield from target_of(workspace, target).logs(service, follow=follow, tail=tail)
