"""The file and key that decide a setting, for remedies: a stack's own file overrides workspace.toml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.structured_files import read_toml
from slipway._internal.model.workspace import WorkspaceSettings
from slipway._internal.model.workspace_path import workspace_root

REGISTRY_SETTING = "`registry` in workspace.toml"


def describe_port_setting(stack: str, root: Path | None = None, *, key: str = "port") -> str:
    """Return the setting that decides one of a stack's gateway ports, as a part of a sentence."""
    root = root or workspace_root()
    file = f"infra/Pulumi.{stack}.yaml"
    own = next((candidate for candidate in _load_stacks(root) if candidate.name == stack), None)
    if own and getattr(own, key.replace("-", "_")):
        return f"slipway:{key} in {file}"
    stack_setting = f" (or slipway:{key} in {file}, for this stack alone)" if (root / file).is_file() else ""
    return f"`{key}` under [gateway] in workspace.toml{stack_setting}"


def describe_registry_setting(host: str, root: Path | None = None) -> str:
    """Return the setting that names a registry, as a part of a sentence; workspace.toml's where no other does."""
    root = root or workspace_root()
    with suppress(SlipwayError):
        if read_toml(root / "workspace.toml", WorkspaceSettings).registry.partition("/")[0] == host:
            return REGISTRY_SETTING
    matches = (
        candidate
        for candidate in _load_stacks(root)
        if candidate.registry and candidate.registry.partition("/")[0] == host
    )
    found = next(matches, None)
    return f"slipway:registry in infra/{found.file.name}" if found else REGISTRY_SETTING


def _load_stacks(root: Path) -> Iterator[Stack]:
    with suppress(SlipwayError):
        for name in stacks.names(root):
            with suppress(SlipwayError):  # what is wrong with another stack's file is for another message
                yield stacks.load(root, name, {})
