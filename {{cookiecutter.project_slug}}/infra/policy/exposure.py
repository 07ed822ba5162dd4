"""The rule of exposure: from outside, a service is reached through the gateway, by the route in its service.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from slipway.model.addresses import BIND_REMEDY, bind_problem

from infra.policy import pods
from infra.policy.pods import mapping
from infra.policy.rule import Resource, Violation, declared

GATEWAY = "slipway:docker:Gateway"
SERVICE = re.compile(r"kubernetes:core/[^:]+:Service")
INGRESS = re.compile(r"kubernetes:(?:networking\.k8s\.io|extensions)/[^:]+:Ingress")
ROUTE = re.compile(r"kubernetes:gateway\.networking\.k8s\.io/[^:]+:\w+Route")


def by_route(resource: Resource) -> Iterator[Violation]:
    """Refuse a way in that goes past the gateway, or that leads to a service without a `route`."""
    if resource.kind == GATEWAY:
        yield from _gateway(resource)
    elif SERVICE.fullmatch(resource.kind):
        yield from _service(resource)
    elif INGRESS.fullmatch(resource.kind):
        yield from _backends(resource, [each for each in _ingress_backends(resource) if each])
    elif ROUTE.fullmatch(resource.kind):
        yield from _backends(resource, [each for each in _route_backends(resource) if each])
    for container in pods.containers(resource):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield Violation(
                    f"the container {container.get('name')} of {resource.name} takes the port {port['hostPort']:.0f} "
                    "of its node",
                    f"Take out `hostPort` {declared(resource.name)}: a service is reached by its `route`.",
                )


def _gateway(resource: Resource) -> Iterator[Violation]:
    wanted = resource.workspace.settings.gateway
    bind = resource.props.get("bind")
    if bind is not None and (problem := bind_problem(str(bind))):
        yield Violation(f"{resource.name} would listen on {bind}, which {problem}", BIND_REMEDY)
    elif bind not in (None, wanted.bind):
        yield Violation(
            f"{resource.name} listens on {bind}, and workspace.toml says {wanted.bind}",
            "Where it listens is said by `bind` of [gateway] in workspace.toml, and nowhere else.",
        )
    for route in resource.props.get("routes") or ():
        service = resource.service(route["service"])
        if service is None or service.settings.route != route["route"]:
            yield _without(resource, str(route["service"]), f"sends {route['route']} to")


def _service(resource: Resource) -> Iterator[Violation]:
    spec = mapping(resource.props, "spec")
    kind = spec.get("type")
    if kind in ("LoadBalancer", "NodePort"):
        yield Violation(
            f"{resource.name} is a Service of the type {kind}: it is reached from outside past the gateway",
            f"Take out `type` {declared(resource.name)}, and give the service a `route` in its service.toml.",
        )
    if spec.get("externalIPs"):
        yield Violation(
            f"{resource.name} is a Service with `externalIPs`: it is reached from outside past the gateway",
            f"Take them out {declared(resource.name)}, and give the service a `route` in its service.toml.",
        )


def _backends(resource: Resource, names: list[str]) -> Iterator[Violation]:
    for name in dict.fromkeys(names):
        service = resource.service(name)
        if service is None or service.settings.route is None:
            yield _without(resource, name, "leads to")


def _without(resource: Resource, name: str, leads: str) -> Violation:
    if resource.service(name):
        return Violation(
            f"{resource.name} {leads} {name}, whose service.toml has no such `route`",
            f'Write route = "/{name}" in services/{name}/service.toml, or take it out {declared(resource.name)}.',
        )
    return Violation(
        f"{resource.name} {leads} {name}, which is no service of this workspace",
        f"Take it out {declared(resource.name)}, or make it a service with a `route` (`invoke new {name}`).",
    )


def _ingress_backends(resource: Resource) -> Iterator[str]:
    spec = mapping(resource.props, "spec")
    found: list[Any] = [spec.get("defaultBackend"), spec.get("backend")]
    for rule in spec.get("rules") or ():
        found += [path.get("backend") for path in mapping(rule, "http").get("paths") or ()]
    for backend in found:
        # A backend without a service is a file of a bucket or the like, which no workspace has.
        yield str(mapping(backend or {}, "service").get("name") or (backend or {}).get("serviceName") or "")


def _route_backends(resource: Resource) -> Iterator[str]:
    for rule in mapping(resource.props, "spec").get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            if backend.get("kind", "Service") == "Service":
                yield str(backend.get("name"))
