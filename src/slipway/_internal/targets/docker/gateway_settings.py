"""What a stack's gateway on a Docker engine has besides its routes."""

from __future__ import annotations

from collections.abc import Sequence

from slipway._internal.commands.gateway_options import DescribedApi, GatewayOptions
from slipway._internal.model.routes import covers, precedence
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service


def gateway_options(stack: Stack, services: Sequence[Service]) -> GatewayOptions:
    """Return the options of a stack's gateway.

    Args:
        stack: the stack.
        services: those that it runs.
    """
    return GatewayOptions(
        hosts=(stack.host,) if stack.host else (),
        # What is in development is shown to who develops it; what a protected stack answers is not told to everybody.
        apis=() if stack.protected else tuple(api for service in services for api in _described(service)),
    )


def _described(service: Service) -> list[DescribedApi]:
    document = service.settings.openapi
    if document is None:
        return []
    found = sorted(service.routes, key=lambda route: precedence(route.path))
    met = next(route for route in found if covers(route.path, document))
    return [DescribedApi(service.name, document, met.stripped_prefix)]
