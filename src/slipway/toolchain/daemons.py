"""What a workspace needs to be up before it can build: its loopback registry and the builder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slipway.model.workspace import Workspace
from slipway.toolchain import builder, registry
from slipway.toolchain.builder import Builder
from slipway.toolchain.registry import Registry

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Daemons:
    """What is up. `registry` is None when the workspace's is on another machine."""

    registry: Registry | None
    builder: Builder


def ensure(workspace: Workspace, *, install: bool = True, on_line: OnLine | None = None) -> Daemons:
    """Bring up what is not: some milliseconds when everything is.

    Raises:
        ConfigError: the registry's port is taken by something else.
        SlipwayError: a program cannot be had or did not start.
    """
    local = ensure_registry(workspace, install=install, on_line=on_line)
    return Daemons(local, builder.ensure(install=install, on_line=on_line))


def ensure_registry(workspace: Workspace, *, install: bool = True, on_line: OnLine | None = None) -> Registry | None:
    """Bring up the workspace's registry; None, and nothing done, when it is on another machine."""
    if not workspace.local_registry:
        return None
    return registry.ensure(workspace.registry, install=install, on_line=on_line)


def stop(workspace: Workspace) -> tuple[str, ...]:
    """End those that Slipway started, keeping their data; return their names."""
    ended = []
    if workspace.local_registry and registry.stop(workspace.registry):
        ended.append("registry")
    if builder.stop():
        ended.append("builder")
    return tuple(ended)
