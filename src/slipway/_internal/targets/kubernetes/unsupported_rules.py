"""Refuses the rules of routes that an Ingress, or the Gateway API's routes, have no word for: none is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import RequestLimitSettings
from slipway._internal.model.route_rules import RULES, RuleSettings, rules_in_force
from slipway._internal.model.routes import RouteSettings
from slipway._internal.model.structured_files import line_of
from slipway._internal.model.text import read_text
from slipway._internal.targets.kubernetes.context import ServiceContext

Keys = tuple[str, ...]


def refuse_for_gateway(ctx: ServiceContext) -> None:
    """Refuse the rules that a route of the Gateway API cannot have.

    Raises:
        ConfigError: a file has such a rule; it names the line and the key.
    """
    for number, route in enumerate(ctx.service.settings.routes):
        for key in _own_rules(route):
            raise _error(_service_file(ctx), ("routes", f"{number}", key), _gateway_of(ctx))
    for file, keys in _general_rules(ctx):
        raise _error(file, keys, _gateway_of(ctx))


def refuse_for_ingress(ctx: ServiceContext) -> None:
    """Refuse all rules: an Ingress knows paths, and nothing else is common to all.

    Raises:
        ConfigError: a file has a rule; it names the line and the key.
    """
    if ctx.service.settings.protocol != "http":
        raise _error(_service_file(ctx), ("protocol",), f"the Ingress that {ctx.stack_ctx.stack.file} names")
    engine = f"the Ingress that {ctx.stack_ctx.stack.file} names"
    workspace = ctx.stack_ctx.workspace
    if ctx.stack_ctx.stack.tls and workspace.settings.gateway.hsts:
        remedy = (
            "Use slipway:gateway or slipway:parent, a Gateway, in place of slipway:ingress. Or remove `hsts`, and have "
            "the Ingress's controller say it."
        )
        raise _error(workspace.root / "workspace.toml", ("gateway", "hsts"), engine, remedy)
    for number, route in enumerate(ctx.service.settings.routes):
        keys = msgspec.to_builtins(route)
        for key in keys:
            if key in _own_rules(route):
                raise _error(_service_file(ctx), ("routes", f"{number}", key), engine)
            if key not in ("path", "host", *RULES):
                remedy = "Use slipway:gateway or slipway:parent, a Gateway, in place of slipway:ingress."
                raise _error(_service_file(ctx), ("routes", f"{number}", key), engine, remedy)
    for file, keys in _general_rules(ctx):
        raise _error(file, keys, engine)


def _general_rules(ctx: ServiceContext) -> Iterator[tuple[Path, Keys]]:
    """Yield the rules that stand in a table [gateway]; `body` and `timeouts` there are warned about, see `deploy`."""
    workspace_file = ctx.stack_ctx.workspace.root / "workspace.toml"
    tables: tuple[tuple[Path, RuleSettings], ...] = (
        (_service_file(ctx), ctx.service.settings.gateway),
        (workspace_file, ctx.service.defaults),
    )
    for file, rules in tables:
        for name in rules_in_force(rules):
            yield file, ("gateway", name)


def _own_rules(route: RouteSettings) -> list[str]:
    limits = RequestLimitSettings.__struct_fields__
    return [*rules_in_force(route), *(key for key in msgspec.to_builtins(route) if key in limits)]


def _service_file(ctx: ServiceContext) -> Path:
    return ctx.service.folder / "service.toml"


def _gateway_of(ctx: ServiceContext) -> str:
    return f"the Gateway that {ctx.stack_ctx.stack.file} names: the Gateway API has no word for it"


def _error(file: Path, keys: Keys, engine: str, remedy: str = "") -> ConfigError:
    return ConfigError(
        f"{file}:{line_of(read_text(file), keys)}: `{keys[-1]}` cannot be had with {engine}",
        remedy=remedy
        or f"Remove `{keys[-1]}`, and set the rule in the configuration of what serves the routes there; only the "
        "gateway of a Docker engine has it.",
    )
