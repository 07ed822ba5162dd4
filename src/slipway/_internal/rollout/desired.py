"""Remembers the inputs that Pulumi last had for each service's container, so that `invoke dev` can create others.

They include plain-text secrets, so they never leave this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.stack import how_to_deploy
from slipway._internal.rollout.container import ContainerSpec

CONTAINER_TYPE = "slipway:docker:Container"

_inputs_by_urn: dict[str, Mapping[str, Any]] = {}


def note_desired_container(urn: str, inputs: Mapping[str, Any]) -> None:
    """Remember the inputs of a container."""
    _inputs_by_urn[urn] = inputs


def desired_container(stack: str, service: str) -> tuple[str, ContainerSpec]:
    """Return the URN of a service's container, and its last inputs that this process received from Pulumi.

    Raises:
        SlipwayError: Pulumi declared no such container.
    """
    for urn, inputs in list(_inputs_by_urn.items()):
        if urn.startswith(f"urn:pulumi:{stack}::") and urn.endswith(f"{CONTAINER_TYPE}::{service}"):
            return urn, ContainerSpec.from_inputs(inputs)
    raise SlipwayError(
        f"{service} has no container in {stack} that `invoke dev` could replace",
        remedy=f"Run `{how_to_deploy(stack)}` first to deploy it.",
    )
