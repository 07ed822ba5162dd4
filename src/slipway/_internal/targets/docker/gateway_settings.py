"""What a stack's gateway on a Docker engine has besides its routes, and where services are reached by it."""

from __future__ import annotations

from collections.abc import Sequence

from slipway._internal.commands.gateway_options import GatewayOptions, TlsOptions
from slipway._internal.model.addresses import url_authority
from slipway._internal.model.hosts import WILDCARD
from slipway._internal.model.stack import Stack, gateway_port_of, hosts_of_stack, metrics_port_of, tls_port_of
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.rollout.gateway import gateway_url


def gateway_options(workspace: Workspace, stack: Stack, tls: TlsOptions | None) -> GatewayOptions:
    """Return the options of a stack's gateway."""
    hsts = workspace.settings.gateway.hsts if tls else 0
    has_metrics = metrics_port_of(workspace, stack) is not None
    return GatewayOptions(hosts=hosts_of_stack(stack), tls=tls, hsts=hsts, metrics=has_metrics)


def service_urls(workspace: Workspace, stack: Stack, routed: Sequence[Service]) -> dict[str, str]:
    """Return the URL of each service with a route to it; none where that is for all hosts below a name."""
    port, scheme = gateway_port_of(workspace, stack), "http"
    if stack.certificate:
        port, scheme = tls_port_of(workspace, stack), "https"
    unnamed = gateway_url(workspace.settings.gateway.bind, port, scheme)
    urls = {}
    for service in routed:
        route = service.main_route
        if route and not (route.host or "").startswith(WILDCARD):
            host = route.host or stack.host
            address = f"{scheme}://{url_authority(host, port, scheme)}" if host else unnamed
            urls[service.name] = f"{address}{route.path}"
    return urls
