"""What a stack's gateway on a Docker engine has besides its routes."""

from __future__ import annotations

from slipway._internal.commands.gateway_options import GatewayOptions
from slipway._internal.model.stack import Stack


def gateway_options(stack: Stack) -> GatewayOptions:
    """Return the options of a stack's gateway."""
    return GatewayOptions(hosts=(stack.host,) if stack.host else ())
