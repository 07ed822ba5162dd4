"""What a stack's gateway on a Docker engine has besides its routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from slipway._internal.commands.gateway_options import GatewayOptions
from slipway._internal.model.addresses import url_authority
from slipway._internal.model.consumer_keys import parse_keys, setting_of
from slipway._internal.model.hosts import WILDCARD
from slipway._internal.model.stack import Stack, gateway_port_of, hosts_of_stack
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.rollout.gateway import GATEWAY, gateway_url


def gateway_options(stack: Stack) -> GatewayOptions:
    """Return the options of a stack's gateway."""
    return GatewayOptions(hosts=hosts_of_stack(stack))


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


def service_urls(workspace: Workspace, stack: Stack, routed: Sequence[Service]) -> dict[str, str]:
    """Return the URL of each service with a route to it; none where that is for all hosts below a name."""
    port = gateway_port_of(workspace, stack)
    urls = {}
    for service in routed:
        route = service.main_route
        host = (route and route.host) or stack.host
        if route and not (route.host or "").startswith(WILDCARD):
            address = (
                f"http://{url_authority(host, port)}" if host else gateway_url(workspace.settings.gateway.bind, port)
            )
            urls[service.name] = f"{address}{route.path}"
    return urls
