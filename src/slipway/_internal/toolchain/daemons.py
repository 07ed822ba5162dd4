"""What a workspace needs to be up before it can build: its loopback registry and the builder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain import builder, registry_daemon
from slipway._internal.toolchain.builder import Builder
from slipway._internal.toolchain.registry_daemon import LocalRegistry

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Daemons:
    """What is up. `registry_daemon` is None when the workspace's is on another machine."""

    registry: LocalRegistry | None
    builder: Builder


def ensure_daemons(workspace: Workspace, *, install: bool = True, on_line: OnLine | None = None) -> Daemons:
    """Bring up what is not: some milliseconds when everything is.

    Raises:
        ConfigError: the registry's port is taken by something else.
        SlipwayError: a program cannot be had or did not start.
    """
    local = ensure_registry(workspace, install=install, on_line=on_line)
    return Daemons(local, builder.ensure_builder(install=install, on_line=on_line))


def ensure_registry(
    workspace: Workspace, *, install: bool = True, on_line: OnLine | None = None
) -> LocalRegistry | None:
    """Bring up the workspace's registry; None, and nothing done, when it is on another machine."""
    if not workspace.local_registry:
        return None
    return registry_daemon.ensure_local_registry(workspace.registry, install=install, on_line=on_line)


def stop_daemons(workspace: Workspace) -> tuple[str, ...]:
    """End those that Slipway started, keeping their data; return their names."""
    ended = []
    if workspace.local_registry and registry_daemon.stop_local_registry(workspace.registry):
        ended.append("registry")
    if builder.stop_builder():
        ended.append("builder")
    return tuple(ended)
