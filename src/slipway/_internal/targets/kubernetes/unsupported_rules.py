"""Refuses the rules of routes that what serves them on a cluster has no word for: none is left out.

That is an Ingress, the Gateway API's routes alone, or those with the policies of Envoy Gateway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import RequestLimitSettings
from slipway._internal.model.route_rules import RULES, RuleSettings, rules_in_force
from slipway._internal.model.routes import RouteSettings
from slipway._internal.model.stack import Stack
from slipway._internal.model.structured_files import line_of
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.targets.kubernetes.unsupported_policies import policy_problems

Keys = tuple[str, ...]


@dataclass(frozen=True)
class RuleContext:
    """A service in a stack, as its files have it."""

    workspace: Workspace
    stack: Stack
    service: Service


def refuse_unsupported_rules(workspace: Workspace, stack: Stack, services: Sequence[Service]) -> None:
    """Refuse the rules of routes that what serves them in a stack on Kubernetes has no word for.

    Args:
        workspace: whose they are.
        stack: on Kubernetes; where nothing serves routes, nothing is refused.
        services: those that run in it.

    Raises:
        ConfigError: a file has such a rule; it names the line, the key and what serves the routes.
    """
    for service in services:
        ctx = RuleContext(workspace, stack, service)
        if service.settings.port is None or not service.routes:
            continue
        if stack.gateway_policies:
            _refuse_for_envoy_gateway(ctx, services)
        elif stack.gateway or stack.parent:
            _refuse_for_gateway(ctx)
        elif stack.ingress:
            _refuse_for_ingress(ctx)


def _refuse_for_envoy_gateway(ctx: RuleContext, services: Sequence[Service]) -> None:
    engine = f"Envoy Gateway's policies, which {ctx.stack.file} names"
    for number, route in enumerate(ctx.service.ruled_routes):
        for problem in policy_problems(ctx.service, route, services):
            file, keys = _where(ctx, number, problem.keys)
            raise _error(file, keys, f"{engine}: {problem.why}", problem.remedy)


def _where(ctx: RuleContext, number: int, keys: Keys) -> tuple[Path, Keys]:
    """Return the file and the keys of a rule that is in force for a route: its own, the service's or all services'."""
    name = keys[0].replace("-", "_")
    own = ctx.service.settings.routes[number : number + 1]
    if any(getattr(route, name) is not None for route in own):
        return _service_file(ctx), ("routes", f"{number}", *keys)
    if getattr(ctx.service.settings.gateway, name, None) is not None:
        return _service_file(ctx), ("gateway", *keys)
    return ctx.workspace.root / "workspace.toml", ("gateway", *keys)


def _refuse_for_gateway(ctx: RuleContext) -> None:
    """Refuse the rules that a route of the Gateway API cannot have."""
    for number, route in enumerate(ctx.service.settings.routes):
        for key in _own_rules(route):
            raise _error(_service_file(ctx), ("routes", f"{number}", key), _gateway_of(ctx))
        if route.auth:
            remedy = (
                "Set slipway:gateway-policies, where Envoy Gateway serves the Gateway. Or remove `auth` and have the "
                "service itself check who calls; else only the gateway of a Docker engine has it."
            )
            raise _error(_service_file(ctx), ("routes", f"{number}", "auth"), _gateway_of(ctx), remedy)
    for file, keys in _general_rules(ctx):
        raise _error(file, keys, _gateway_of(ctx))


def _refuse_for_ingress(ctx: RuleContext) -> None:
    """Refuse all rules: an Ingress knows paths, and nothing else is common to all."""
    if ctx.service.settings.protocol != "http":
        raise _error(_service_file(ctx), ("protocol",), f"the Ingress that {ctx.stack.file} names")
    engine = f"the Ingress that {ctx.stack.file} names"
    workspace = ctx.workspace
    if ctx.stack.tls and workspace.settings.gateway.hsts:
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


def _general_rules(ctx: RuleContext) -> Iterator[tuple[Path, Keys]]:
    """Yield the rules that stand in a table [gateway]; `body` and `timeouts` there are warned about, see `deploy`."""
    workspace_file = ctx.workspace.root / "workspace.toml"
    tables: tuple[tuple[Path, RuleSettings], ...] = (
        (_service_file(ctx), ctx.service.settings.gateway),
        (workspace_file, ctx.service.defaults),
    )
    for file, rules in tables:
        for name in rules_in_force(rules):
            yield file, ("gateway", name)


def _own_rules(route: RouteSettings) -> list[str]:
    others = (*RequestLimitSettings.__struct_fields__, "auth")
    return [*rules_in_force(route), *(key for key in msgspec.to_builtins(route) if key in others)]


def _service_file(ctx: RuleContext) -> Path:
    return ctx.service.folder / "service.toml"


def _gateway_of(ctx: RuleContext) -> str:
    return f"the Gateway that {ctx.stack.file} names: the Gateway API has no word for it"


def _error(file: Path, keys: Keys, engine: str, remedy: str = "") -> ConfigError:
    return ConfigError(
        f"{file}:{line_of(read_text(file), keys)}: `{keys[-1]}` cannot be had with {engine}",
        remedy=remedy
        or f"Set slipway:gateway-policies, where Envoy Gateway serves the stack's own Gateway. Or remove `{keys[-1]}`, "
        "and set the rule in the configuration of what serves the routes there; else only the gateway of a Docker "
        "engine has it.",
    )
