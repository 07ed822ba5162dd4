"""What a stack's gateway on a Docker engine has besides its routes, and where services are reached by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from slipway._internal.commands.gateway_options import DescribedApi, GatewayOptions, TracesOptions
from slipway._internal.model.addresses import url_authority
from slipway._internal.model.canary import CanaryChange
from slipway._internal.model.consumer_keys import parse_keys, setting_of
from slipway._internal.model.hosts import WILDCARD
from slipway._internal.model.routes import covers, precedence
from slipway._internal.model.stack import (
    Stack,
    gateway_port_of,
    hosts_of_stack,
    metrics_port_of,
    speaks_tls,
    tls_port_of,
)
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.provider.gateway import GatewayHandler
from slipway._internal.rollout.gateway import GATEWAY, gateway_url
from slipway._internal.targets.docker.gateway_tls import GatewayTls


def gateway_options(workspace: Workspace, stack: Stack, routed: Sequence[Service], tls: GatewayTls) -> GatewayOptions:
    """Return the options of a stack's gateway, which these services have routes of."""
    return GatewayOptions(
        hosts=hosts_of_stack(stack),
        tls=tls.options,
        acme=tls.acme,
        hsts=workspace.settings.gateway.hsts if speaks_tls(stack) else 0,
        http3=stack.http3,
        metrics=metrics_port_of(workspace, stack) is not None,
        traces=TracesOptions(stack.traces, stack.traces_percent) if stack.traces else None,
        # What is in development is shown to who develops it; what a protected stack answers is not told to everybody.
        apis=() if stack.protected else tuple(api for service in routed for api in _described(service)),
    )


def gateway_consumers(workspace: Workspace, stack: Stack) -> dict[str, pulumi.Output[dict[str, Any]]]:
    """Return the consumers of workspace.toml, with the hashes of their keys from the stack's encrypted configuration.

    Raises:
        ConfigError: the configuration has none that can be read.
    """
    config = pulumi.Config(GATEWAY)
    found = {}
    for name, consumer in sorted(workspace.settings.consumers.items()):
        setting = setting_of(name)
        keys = parse_keys(config.get(setting.partition(":")[2]), f"{stack.file}: `{setting}`")
        value = {"keys": [key.sha256 for key in keys], "groups": list(consumer.groups)}
        found[name] = pulumi.Output.secret(value)
    return found


def kept_of_gateway(change: CanaryChange | None) -> list[str]:
    """Return the inputs of the gateway that a change of canaries leaves as they are, whatever the files say by now.

    It takes the consumers' keys as they are now, so that one that has leaked can go during a canary.
    """
    if change is None:
        return []
    taken = {"canaries", "consumers", *(["routes"] if change == "promotion" else [])}
    known = (*GatewayHandler.required, *GatewayHandler.defaults, *GatewayHandler.optional, *GatewayHandler.secret)
    return [name for name in known if name not in taken]


def service_urls(workspace: Workspace, stack: Stack, routed: Sequence[Service]) -> dict[str, str]:
    """Return the URL of each service with a route to it; none where that is for all hosts below a name."""
    port, scheme = gateway_port_of(workspace, stack), "http"
    if speaks_tls(stack):
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


def _described(service: Service) -> list[DescribedApi]:
    """Return where a service's OpenAPI document is; nothing where it has none at the stack's own host."""
    document = service.settings.openapi
    routes = sorted((route for route in service.routes if not route.host), key=lambda route: precedence(route.path))
    met = next((route for route in routes if document and covers(route.path, document)), None)
    return [DescribedApi(service.name, document, met.stripped_prefix)] if document and met else []
