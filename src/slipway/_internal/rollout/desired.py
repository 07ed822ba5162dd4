"""What each service's container is to be: noted when Pulumi says so, for `invoke dev` to make others by.

Secrets stand in it as they are: it never leaves this process.
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
    """Keep what Pulumi last wanted a container to be."""
    _inputs_by_urn[urn] = inputs


def desired_container(stack: str, service: str) -> tuple[str, ContainerSpec]:
    """Return the URN of a service's container, and what Pulumi last wanted it to be, as far as this process heard.

    Raises:
        SlipwayError: Pulumi wanted none.
    """
    for urn, inputs in list(_inputs_by_urn.items()):
        if urn.startswith(f"urn:pulumi:{stack}::") and urn.endswith(f"{CONTAINER_TYPE}::{service}"):
            return urn, ContainerSpec.from_inputs(inputs)
    raise SlipwayError(
        f"{service} has no container in {stack} that `invoke dev` could replace",
        remedy=f"`{how_to_deploy(stack)}` deploys what the files say.",
    )
