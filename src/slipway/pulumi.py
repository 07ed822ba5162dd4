"""What a workspace's Pulumi program in infra/ is made of: Slipway's resources, and the way to run the program."""

from __future__ import annotations

from collections.abc import Callable

import pulumi

from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.errors import SlipwayError
from slipway._internal.provider.resources import (
    Container,
    Gateway,
    Live,
    Network,
    Protection,
    Release,
    RouteArgs,
    Suffix,
)

__all__ = [
    "Container",
    "DeployInputs",
    "Gateway",
    "Live",
    "Network",
    "Protection",
    "Release",
    "RouteArgs",
    "Suffix",
    "run",
]


def run(program: Callable[[DeployInputs], None]) -> None:
    """Declare a stack where Pulumi itself runs infra/__main__.py: what `invoke deploy` reads and proves, this does.

    Raises:
        pulumi.RunError: the workspace's files or the images' evidence are not as they must be; Pulumi shows it.
    """
    from slipway._internal.release.manual_inputs import read_manual_inputs

    try:
        program(read_manual_inputs(pulumi.get_stack()))
    except SlipwayError as error:
        raise pulumi.RunError("\n".join(filter(None, (error.message, error.detail, error.remedy)))) from error
