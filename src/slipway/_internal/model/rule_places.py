"""Where a rule that is in force for a route stands: in the route itself, or in a table [gateway]; for refusals."""

from __future__ import annotations

from pathlib import Path

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.route_rules import RULES, RuleSettings
from slipway._internal.model.structured_files import line_of
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace import Service

OF_SERVICES = ("protocol",)
"""Keys of a service that its routes depend on."""


def refuse_rule(
    service: Service, workspace_root: Path, number: int, keys: tuple[str, ...], what: str, remedy: str
) -> ConfigError:
    """Return the error about a rule of a route, with the file and the line where it stands.

    Args:
        service: the one whose route it is.
        workspace_root: the folder of workspace.toml.
        number: the route's place in the service's file, from 0.
        keys: the rule, and what is meant in it: `("cors", "origins")`.
        what: why it cannot be had.
        remedy: what to do about it.
    """
    file, where = _place_of(service, workspace_root, number, keys)
    return ConfigError(f"{file}:{line_of(read_text(file), where)}: `{'.'.join(keys)}` {what}", remedy=remedy)


def _place_of(
    service: Service, workspace_root: Path, number: int, keys: tuple[str, ...]
) -> tuple[Path, tuple[str, ...]]:
    own, workspace = service.folder / "service.toml", workspace_root / "workspace.toml"
    if keys[0] in OF_SERVICES:
        return own, keys
    if not service.settings.routes:
        own_keys: tuple[str, ...] = ("route",)
    else:
        own_keys = ("routes", f"{number}", *keys)
    if keys[0] in RULES and not _says(service.routes[number], keys[0]):
        if _says(service.settings.gateway, keys[0]):
            return own, ("gateway", *keys)
        if _says(service.defaults, keys[0]):
            return workspace, ("gateway", *keys)
    return own, own_keys


def _says(rules: RuleSettings, name: str) -> bool:
    return name in msgspec.to_builtins(rules)
