"""The policies of Envoy Gateway beside a stack's routes, where `slipway:gateway-policies` says that it serves them.

A route's policies are made before the route, and go after it: it never serves without them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from slipway._internal.commands import envoy_gateway
from slipway._internal.model.auth import hidden_headers, with_files
from slipway._internal.model.request_limits import effective_limits
from slipway._internal.model.routes import RouteSettings
from slipway._internal.model.workspace import Service
from slipway._internal.targets.kubernetes.context import PATCH_FORCE, KubernetesContext, ServiceContext


def declare_listener_policy(
    stack_ctx: KubernetesContext, gateway: str, namespace: str, after: pulumi.Resource
) -> CustomResource:
    """Declare how the stack's own Gateway treats connections and headers."""
    auths = [route.auth for service in stack_ctx.workspace.services for route in service.routes if route.auth]
    spec = envoy_gateway.client_traffic_policy(gateway, hidden_headers(auths), tls=bool(stack_ctx.stack.tls))
    return CustomResource(
        gateway,
        api_version=envoy_gateway.API_VERSION,
        kind="ClientTrafficPolicy",
        metadata=ObjectMetaArgs(name=gateway, namespace=namespace, labels=stack_ctx.labels, annotations=PATCH_FORCE),
        spec=spec,
        opts=stack_ctx.opts([after]),
    )


def declare_route_policies(
    ctx: ServiceContext, http_route: str, route: RouteSettings, rules: Sequence[str]
) -> list[pulumi.Resource]:
    """Declare the policies of one route.

    Args:
        ctx: the route's service.
        http_route: the name of the HTTPRoute that it becomes a part of.
        route: with the rules in force.
        rules: the names of its rules there.
    """
    targets = [envoy_gateway.target(http_route, rule) for rule in rules]
    service = ctx.service
    auth = with_files(route.auth, service.folder) if route.auth else None
    specs = {"SecurityPolicy": envoy_gateway.security_policy(msgspec.structs.replace(route, auth=auth), targets)}
    if not route.redirect:
        limits = effective_limits(route, service.settings.gateway, service.defaults)
        specs["BackendTrafficPolicy"] = envoy_gateway.backend_traffic_policy(route, limits, targets)
    name = f"{http_route}.{envoy_gateway.rule_name(route)}"
    return [_policy(ctx, kind, name, spec) for kind, spec in specs.items() if spec]


def is_asked_about_callers(stack_ctx: KubernetesContext, service: Service) -> bool:
    """Whether the gateway asks this service who may call another one."""
    asked = [
        route.auth.external_settings
        for other in stack_ctx.workspace.services
        for route in other.routes
        if route.auth and route.auth.external_settings
    ]
    return any(envoy_gateway.asked_service(external)[0] == service.name for external in asked)


def _policy(ctx: ServiceContext, kind: str, name: str, spec: envoy_gateway.Policy) -> CustomResource:
    return CustomResource(
        name,
        api_version=envoy_gateway.API_VERSION,
        kind=kind,
        metadata=ctx.metadata(name),
        spec=spec,
        opts=ctx.opts(),
    )
