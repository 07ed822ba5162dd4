"""The rule of exposure: from outside, a service is reached through the gateway, by the route in its service.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from slipway.policy import BIND_REMEDY, Resource, Violation, bind_problem, child_mapping, containers, where_declared

GATEWAY = "slipway:docker:Gateway"
SERVICE = re.compile(r"kubernetes:core/[^:]+:Service")
INGRESS = re.compile(r"kubernetes:(?:networking\.k8s\.io|extensions)/[^:]+:Ingress")
ROUTE = re.compile(r"kubernetes:gateway\.networking\.k8s\.io/[^:]+:\w+Route")


def check_exposure(resource: Resource) -> Iterator[Violation]:
    """Refuse a way in that goes past the gateway, or that leads to a service without a `route`."""
    if resource.kind == GATEWAY:
        yield from _check_gateway(resource)
    elif SERVICE.fullmatch(resource.kind):
        yield from _check_service(resource)
    elif INGRESS.fullmatch(resource.kind):
        yield from _check_backends(resource, [name for name in _ingress_backends(resource) if name])
    elif ROUTE.fullmatch(resource.kind):
        yield from _check_backends(resource, [name for name in _route_backends(resource) if name])
    for container in containers(resource):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield Violation(
                    f"the container {container.get('name')} of {resource.name} takes the port {port['hostPort']:.0f} "
                    "of its node",
                    f"Take out `hostPort` {where_declared(resource.name)}: a service is reached by its `route`.",
                )


def _check_gateway(resource: Resource) -> Iterator[Violation]:
    settings = resource.workspace.settings.gateway
    bind = resource.props.get("bind")
    if bind is not None and (problem := bind_problem(str(bind))):
        yield Violation(f"{resource.name} would listen on {bind}, which {problem}", BIND_REMEDY)
    elif bind not in (None, settings.bind):
        yield Violation(
            f"{resource.name} listens on {bind}, and workspace.toml says {settings.bind}",
            "Where it listens is said by `bind` of [gateway] in workspace.toml, and nowhere else.",
        )
    for route in resource.props.get("routes") or ():
        service = resource.service(route["service"])
        if service is None or route["route"] not in {each.path for each in service.routes}:
            yield _unrouted_violation(resource, str(route["service"]), f"sends {route['route']} to")


def _check_service(resource: Resource) -> Iterator[Violation]:
    spec = child_mapping(resource.props, "spec")
    kind = spec.get("type")
    if kind in ("LoadBalancer", "NodePort"):
        yield Violation(
            f"{resource.name} is a Service of the type {kind}: it is reached from outside past the gateway",
            f"Take out `type` {where_declared(resource.name)}, and give the service a `route` in its service.toml.",
        )
    if spec.get("externalIPs"):
        yield Violation(
            f"{resource.name} is a Service with `externalIPs`: it is reached from outside past the gateway",
            f"Take them out {where_declared(resource.name)}, and give the service a `route` in its service.toml.",
        )


def _check_backends(resource: Resource, names: list[str]) -> Iterator[Violation]:
    for name in dict.fromkeys(names):
        service = resource.service(name)
        if service is None or not service.routes:
            yield _unrouted_violation(resource, name, "leads to")


def _unrouted_violation(resource: Resource, name: str, verb: str) -> Violation:
    if resource.service(name):
        return Violation(
            f"{resource.name} {verb} {name}, whose service.toml has no such `route`",
            f'Write route = "/{name}" in services/{name}/service.toml, or take it out {where_declared(resource.name)}.',
        )
    return Violation(
        f"{resource.name} {verb} {name}, which is not a service of this workspace",
        f"Take it out {where_declared(resource.name)}, or make it a service with a `route` (`invoke new {name}`).",
    )


def _ingress_backends(resource: Resource) -> Iterator[str]:
    spec = child_mapping(resource.props, "spec")
    found: list[Any] = [spec.get("defaultBackend"), spec.get("backend")]
    for rule in spec.get("rules") or ():
        found += [path.get("backend") for path in child_mapping(rule, "http").get("paths") or ()]
    for backend in found:
        # A backend without a service is a file of a bucket or the like, which no workspace has.
        yield str(child_mapping(backend or {}, "service").get("name") or (backend or {}).get("serviceName") or "")


def _route_backends(resource: Resource) -> Iterator[str]:
    for rule in child_mapping(resource.props, "spec").get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            if backend.get("kind", "Service") == "Service":
                yield str(backend.get("name"))
