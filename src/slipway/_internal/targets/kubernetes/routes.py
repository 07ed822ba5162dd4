"""How requests reach services: by routes of the stack's own or an existing Gateway, by an Ingress, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import Namespace, Service, ServicePortArgs, ServiceSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import (
    HTTPIngressPathArgs,
    HTTPIngressRuleValueArgs,
    Ingress,
    IngressBackendArgs,
    IngressRuleArgs,
    IngressServiceBackendArgs,
    IngressSpecArgs,
    IngressTLSArgs,
    ServiceBackendPortArgs,
)

from slipway._internal.commands.envoy_gateway import named_rules, with_checked_headers
from slipway._internal.model.canary import canary_object_name
from slipway._internal.model.hosts import WILDCARD, by_host
from slipway._internal.model.routes import PREFIX_HEADER, RouteSettings
from slipway._internal.model.stack import Stack, gateway_namespace_of, hosts_of_stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.targets.kubernetes.context import NAMESPACE_LABEL, PATCH_FORCE, KubernetesContext, ServiceContext
from slipway._internal.targets.kubernetes.policies import declare_listener_policy, declare_route_policies

GATEWAY_API = "gateway.networking.k8s.io/v1"
HSTS = "Strict-Transport-Security"
GATEWAY_NAME = "gateway"
"""The name of the stack's own Gateway; it is reserved."""
SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
"""Do not wait: the Deployment shows whether pods exist, and some Ingress controllers never report an address."""


@dataclass(frozen=True)
class EntryPoint:
    """What routes attach to (`parents` of an HTTPRoute), and its resources."""

    parents: tuple[Mapping[str, str], ...] = ()
    resources: tuple[pulumi.Resource, ...] = ()


def declare_entry_point(stack_ctx: KubernetesContext) -> EntryPoint:
    """Declare the stack's own Gateway if it has one, or return the one that its settings name.

    The Gateway has its own namespace: many products run it as pods in its namespace, which need other permissions than
    services and come from other registries.
    """
    if stack_ctx.stack.parent:
        namespace_name, _, name = stack_ctx.stack.parent.partition("/")
        return EntryPoint(parents=({"namespace": namespace_name, "name": name},))
    if not stack_ctx.stack.gateway:
        return EntryPoint()
    name = gateway_namespace_of(stack_ctx.workspace.deployed_name, stack_ctx.stack)
    namespace = Namespace(name, metadata=stack_ctx.cluster_metadata(name), opts=stack_ctx.opts())
    gateway = _gateway(stack_ctx, name, namespace)
    has_tls = bool(stack_ctx.stack.tls)
    parent = {"namespace": name, "name": GATEWAY_NAME}
    resources: list[pulumi.Resource] = [namespace, gateway]
    if stack_ctx.stack.gateway_policies:
        resources.append(declare_listener_policy(stack_ctx, GATEWAY_NAME, name, namespace))
    if has_tls:
        resources.append(_redirect(stack_ctx, parent, gateway))
    return EntryPoint(({**parent, "sectionName": "https" if has_tls else "http"},), tuple(resources))


def expose_service(ctx: ServiceContext, entry_point: EntryPoint) -> None:
    """Declare how a service is reached: the name that other services use, and its route from outside if it has one."""
    if ctx.service.settings.port is None:
        return
    Service(
        ctx.name,
        metadata=ctx.metadata(annotations=SKIP_AWAIT),
        spec=ServiceSpecArgs(
            type="ClusterIP",
            selector=ctx.selector,
            ports=[
                ServicePortArgs(
                    name="http",
                    port=ctx.service.settings.port,
                    target_port="http",
                    app_protocol="kubernetes.io/h2c" if ctx.service.settings.protocol == "h2c" else None,
                )
            ],
        ),
        opts=ctx.opts(),
    )
    if ctx.service.routes and entry_point.parents:
        routes_in_force = ctx.service.ruled_routes if ctx.stack_ctx.stack.gateway_policies else ctx.service.routes
        for host, routes in by_host(routes_in_force, lambda route: route.host, ()).items():
            _route(ctx, entry_point, host, routes)
    elif ctx.service.routes and ctx.stack_ctx.stack.ingress:
        _ingress(ctx)


def service_urls(workspace: Workspace, stack: Stack) -> dict[str, str]:
    """Return the URL of each service with a route to it whose host is known."""
    urls = {}
    for service in workspace.services:
        route = service.main_route
        host = (route and route.host) or stack.host
        if route and host and not host.startswith(WILDCARD):
            urls[service.name] = f"{'https' if stack.tls else 'http'}://{host}{route.path}"
    return urls


def _gateway(stack_ctx: KubernetesContext, namespace: str, after: pulumi.Resource) -> CustomResource:
    routes_from = {
        "namespaces": {"from": "Selector", "selector": {"matchLabels": {NAMESPACE_LABEL: stack_ctx.namespace}}},
    }
    # A listener with a host's name would take no routes of other hosts.
    others = any(route.host for service in stack_ctx.workspace.services for route in service.routes)
    host = {"hostname": stack_ctx.stack.host} if stack_ctx.stack.host and not others else {}
    listeners: list[dict[str, Any]] = [
        {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": routes_from, **host}
    ]
    if stack_ctx.stack.tls:
        tls = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": stack_ctx.stack.tls}]}
        listeners.append(
            {"name": "https", "protocol": "HTTPS", "port": 443, "allowedRoutes": routes_from, "tls": tls, **host}
        )
    return CustomResource(
        GATEWAY_NAME,
        api_version=GATEWAY_API,
        kind="Gateway",
        metadata=ObjectMetaArgs(
            name=GATEWAY_NAME, namespace=namespace, labels=stack_ctx.labels, annotations=PATCH_FORCE
        ),
        spec={"gatewayClassName": stack_ctx.stack.gateway, "listeners": listeners},
        opts=stack_ctx.opts([after]),
    )


def _redirect(stack_ctx: KubernetesContext, gateway: Mapping[str, str], after: pulumi.Resource) -> CustomResource:
    """Declare a redirect from HTTP to HTTPS."""
    # Envoy Gateway brings a Gateway API that knows 308, by which a POST stays one. Older ones take 301 or 302 alone.
    status = 308 if stack_ctx.stack.gateway_policies else 301
    to_tls = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": status}}
    name = "slipway.redirect"
    return CustomResource(
        name,
        api_version=GATEWAY_API,
        kind="HTTPRoute",
        metadata=stack_ctx.metadata(name),
        spec={"parentRefs": [{**gateway, "sectionName": "http"}], "rules": [{"filters": [to_tls]}]},
        opts=stack_ctx.opts([after]),
    )


def _route(ctx: ServiceContext, entry_point: EntryPoint, host: str, routes: Sequence[RouteSettings]) -> CustomResource:
    """Declare a service's routes of one host; those of the stack's have the service's name."""
    backend = _backends(ctx)
    hosts = [host] if host else list(hosts_of_stack(ctx.stack_ctx.stack))
    name = f"{ctx.name}.{'below' if host.startswith(WILDCARD) else 'at'}.{host.removeprefix(WILDCARD)}"
    policies: list[pulumi.Resource] = []
    rules: list[dict[str, Any]] = []
    for route in routes:
        if ctx.stack_ctx.stack.gateway_policies:
            found = named_rules(route, list(_rules(_with_hsts(ctx, with_checked_headers(route)), backend)))
            policies += declare_route_policies(ctx, name if host else ctx.name, route, [rule["name"] for rule in found])
        else:
            found = list(_rules(_with_hsts(ctx, route), backend))
        rules += found
    return CustomResource(
        name if host else ctx.name,
        api_version=GATEWAY_API,
        kind="HTTPRoute",
        metadata=ctx.metadata(name if host else None),
        spec={
            "parentRefs": [dict(parent) for parent in entry_point.parents],
            **({"hostnames": hosts} if hosts else {}),
            "rules": rules,
        },
        opts=ctx.opts([*entry_point.resources, *policies]),
    )


def _with_hsts(ctx: ServiceContext, route: RouteSettings) -> RouteSettings:
    """Return a route that tells browsers to come by HTTPS only, where the stack has it and the workspace says so."""
    seconds = ctx.stack_ctx.workspace.settings.gateway.hsts
    if not seconds or not ctx.stack_ctx.stack.tls:
        return route
    kept = {name: value for name, value in route.response_headers.set.items() if name.lower() != HSTS.lower()}
    headers = msgspec.structs.replace(route.response_headers, set={**kept, HSTS: f"max-age={seconds}"})
    return msgspec.structs.replace(route, response_headers=headers)


def _backends(ctx: ServiceContext) -> list[dict[str, Any]]:
    """Return what a service's requests go to: with a canary, to both, by weight; each request is drawn anew."""
    stable = {"name": ctx.name, "port": ctx.service.settings.port}
    for canary in ctx.stack_ctx.stack.canaries or ():
        if canary.service == ctx.service.name:
            return [
                {**stable, "weight": 100 - canary.percent},
                {**stable, "name": canary_object_name(ctx.name), "weight": canary.percent},
            ]
    return [stable]


def _rules(route: RouteSettings, backends: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a route as rules of an HTTPRoute: one for each method, since a rule that changes the path has one match."""
    path = {"type": "PathPrefix", "value": route.path}
    filters = list(_filters(route))
    for match in [{"path": path, "method": method} for method in route.methods] or [{"path": path}]:
        yield {
            "matches": [match],
            **({"filters": filters} if filters else {}),
            **({"timeouts": {"request": f"{route.timeout}s"}} if route.timeout else {}),
            **({} if route.redirect else {"backendRefs": [*backends]}),
        }


def _filters(route: RouteSettings) -> Iterator[dict[str, Any]]:
    stripped = {PREFIX_HEADER: route.stripped_prefix} if route.stripped_prefix else {}
    for kind, headers, more in (
        ("requestHeaderModifier", route.request_headers, stripped),
        ("responseHeaderModifier", route.response_headers, {}),
    ):
        set_headers = [{"name": name, "value": value} for name, value in {**headers.set, **more}.items()]
        changes = {
            **({"set": set_headers} if set_headers else {}),
            **({"remove": list(headers.remove)} if headers.remove else {}),
        }
        if changes:
            yield {"type": f"{kind[0].upper()}{kind[1:]}", kind: changes}
    if route.service_path != route.path:
        yield {"type": "URLRewrite", "urlRewrite": {"path": _prefix(route.service_path)}}
    if redirect := route.redirect:
        where = {
            "scheme": redirect.scheme,
            "hostname": redirect.host,
            "path": _prefix(redirect.path) if redirect.path else None,
        }
        named = {name: value for name, value in where.items() if value}
        yield {"type": "RequestRedirect", "requestRedirect": {**named, "statusCode": redirect.status}}


def _prefix(path: str) -> dict[str, str]:
    return {"type": "ReplacePrefixMatch", "replacePrefixMatch": path}


def _ingress(ctx: ServiceContext) -> Ingress:
    stack = ctx.stack_ctx.stack
    backend = IngressBackendArgs(
        service=IngressServiceBackendArgs(name=ctx.name, port=ServiceBackendPortArgs(name="http"))
    )
    hosts = by_host(ctx.service.routes, lambda route: route.host, hosts_of_stack(stack))
    rules = [
        IngressRuleArgs(
            host=host or None,
            http=HTTPIngressRuleValueArgs(
                paths=[HTTPIngressPathArgs(path=route.path, path_type="Prefix", backend=backend) for route in routes]
            ),
        )
        for host, routes in hosts.items()
        if routes
    ]
    tls = IngressTLSArgs(secret_name=stack.tls, hosts=[host for host in hosts if host] or None)
    return Ingress(
        ctx.name,
        metadata=ctx.metadata(annotations=SKIP_AWAIT),
        spec=IngressSpecArgs(
            ingress_class_name=stack.ingress,
            rules=rules,
            tls=[tls] if stack.tls else None,
        ),
        opts=ctx.opts(),
    )
