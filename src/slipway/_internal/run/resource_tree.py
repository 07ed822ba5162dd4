"""How the resources of a stack hang together in Pulumi's state: components, and what is below them."""

from __future__ import annotations

import pulumi

COMPONENT_TYPES = (
    "slipway:index:BuiltImages",
    "slipway:index:ReleaseRecord",
    "slipway:azure:ApiManagement",
    "slipway:docker:DockerServices",
    "slipway:kubernetes:KubernetesServices",
    "slipway:kubernetes:KubernetesService",
)
"""What only holds other resources together."""
FLAT_STATE = pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)
"""Where earlier versions declared every resource: below the stack itself. It keeps Pulumi from making them anew."""
