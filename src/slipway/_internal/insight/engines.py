"""A stack's routes for gateways that no target runs: what each cannot have, and the files for Kong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slipway._internal.commands.azure_rules import azure_refusals
from slipway._internal.commands.kong_file import render_kong_file
from slipway._internal.commands.kong_ingress import render_kong_resources
from slipway._internal.commands.kong_rules import KONG, KongFormat, kong_refusals
from slipway._internal.model.engine_routes import (
    EngineRoute,
    Refusal,
    check_engine,
    check_hosts_apart,
    engine_routes,
)
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack, hosts_of_stack
from slipway._internal.model.structured_files import line_of
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.model.yaml_writer import dump_yaml

REFUSALS: dict[str, Callable[[EngineRoute], Iterator[Refusal]]] = {
    "kong": lambda route: kong_refusals(route, "declarative"),
    "kong-ingress": lambda route: kong_refusals(route, "ingress"),
    "azure": azure_refusals,
}
"""What each engine cannot express of a route, by the engine's name."""
FORMATS: dict[str, KongFormat] = {"kong": "declarative", "kong-ingress": "ingress"}
HAS_ALL = "✔"


def check_engine_name(engine: str) -> None:
    """Check that there is such an engine.

    Raises:
        ConfigError: there is none.
    """
    if engine not in REFUSALS:
        raise ConfigError(f"there is no engine {engine!r:.40}", remedy=f"One of: {', '.join(REFUSALS)}.")


def list_engine_routes(services: Sequence[Service], stack: Stack, engine: str) -> list[dict[str, Any]]:
    """Return all routes in the order in which they are tried, each with the keys that an engine cannot have.

    Raises:
        ConfigError: there is no such engine.
    """
    check_engine_name(engine)
    return [
        {
            "route": f"{wanted.route.host or ''}{wanted.route.path}",
            "methods": list(wanted.route.methods),
            "service": wanted.service.name,
            "engine": engine,
            "refused": [
                {"key": ".".join(refusal.keys), "why": refusal.why, "remedy": refusal.remedy}
                for refusal in REFUSALS[engine](wanted)
            ],
        }
        for wanted in engine_routes(services, hosts_of_stack(stack))
    ]


def engine_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a route's row in a table of ENGINE_COLUMNS."""
    refused = "; ".join(f"{refusal['key']}: {refusal['why']}" for refusal in row["refused"])
    return row["route"], " ".join(row["methods"]) or "all", row["service"], refused or HAS_ALL


ENGINE_COLUMNS = ("route", "methods", "service", "what the engine cannot have")


def render_for_kong(workspace: Workspace, services: Sequence[Service], stack: Stack, engine: str) -> str:
    """Return a stack's routes as Kong reads them, as YAML.

    Args:
        workspace: the workspace.
        services: those that run in the stack.
        stack: its hosts and, for the ingress controller, its Gateway.
        engine: `kong` for one declarative file, `kong-ingress` for resources of its ingress controller.

    Raises:
        ConfigError: a file has what Kong cannot express; the error names the line and the key.
    """
    check_engine_name(engine)
    form = FORMATS.get(engine)
    if not form:
        raise ConfigError(f"{engine} reads no file", remedy=f"With --output, name one of: {', '.join(FORMATS)}.")
    routes = engine_routes(services, hosts_of_stack(stack))
    check_engine(routes, REFUSALS[engine], KONG, workspace.root)
    check_hosts_apart(routes, KONG, workspace.root)
    _check_hsts(workspace, stack)
    if form == "declarative":
        return dump_yaml([render_kong_file(routes)])
    return dump_yaml(render_kong_resources(routes, workspace.settings.consumers, _parent(stack)))


def _parent(stack: Stack) -> dict[str, str]:
    if not stack.parent:
        raise ConfigError(
            f"{stack.file}: `slipway:parent` names no Gateway, which the routes have to name",
            remedy="Set slipway:parent to the NAMESPACE/NAME of the Gateway that Kong's ingress controller serves.",
        )
    namespace, _, name = stack.parent.partition("/")
    return {"namespace": namespace, "name": name}


def _check_hsts(workspace: Workspace, stack: Stack) -> None:
    if workspace.settings.gateway.hsts and (stack.certificate or stack.tls):
        file: Path = workspace.root / "workspace.toml"
        raise ConfigError(
            f"{file}:{line_of(read_text(file), ('gateway', 'hsts'))}: `hsts` cannot be had with {KONG}: TLS is its own",
            remedy="Remove it, and have Kong say it: its response-transformer can.",
        )
