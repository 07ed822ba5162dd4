"""Which file and key decide a setting, for remedies: a stack's own file comes before workspace.toml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from slipway.model import stack as stacks
from slipway.model.errors import SlipwayError
from slipway.model.location import workspace_root
from slipway.model.reading import read_toml
from slipway.model.stack import Stack
from slipway.model.workspace import Settings

REGISTRY = "`registry` in workspace.toml"


def port_setting(stack: str, root: Path | None = None) -> str:
    """Return what says a stack's gateway port, as a part of a sentence."""
    root = root or workspace_root()
    file = f"infra/Pulumi.{stack}.yaml"
    if any(each.port for each in _stacks(root) if each.name == stack):
        return f"slipway:port in {file}"
    own = f" (or slipway:port in {file}, for this stack alone)" if (root / file).is_file() else ""
    return f"`port` under [gateway] in workspace.toml{own}"


def registry_setting(host: str, root: Path | None = None) -> str:
    """Return what names a registry, as a part of a sentence; what workspace.toml says where nothing names it."""
    root = root or workspace_root()
    with suppress(SlipwayError):
        if read_toml(root / "workspace.toml", Settings).registry.partition("/")[0] == host:
            return REGISTRY
    named = (each for each in _stacks(root) if each.registry and each.registry.partition("/")[0] == host)
    found = next(named, None)
    return f"slipway:registry in infra/{found.file.name}" if found else REGISTRY


def _stacks(root: Path) -> Iterator[Stack]:
    with suppress(SlipwayError):
        for name in stacks.names(root):
            with suppress(SlipwayError):  # what is wrong with another stack's file is for another message
                yield stacks.load(root, name, {})
