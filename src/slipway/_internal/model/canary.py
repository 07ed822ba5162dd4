"""A canary: a new version of a service that gets a share of its requests, beside the version that gets the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from slipway._internal.model.errors import StackBusy

CanaryChange = Literal["weights", "promotion"]
"""What a run changes: `weights` adds or removes canaries and sets their shares; `promotion` replaces a service, too."""
CanaryEnd = Literal["promoted", "aborted"]
"""How a canary has ended."""
SUFFIX = "canary"
"""What the name of a canary's resource ends with, after its service's."""


@dataclass(frozen=True)
class Canary:
    """A service's canary: its image by digest, and the percentage of requests that it gets, 1 to 99."""

    service: str
    image: str
    percent: int


def canary_image_name(service: str) -> str:
    """Return the name that a canary's image has among a stack's images: no service has a dot in its name."""
    return f"{service}.{SUFFIX}"


def canary_object_name(service: str) -> str:
    """Return the name of a canary's objects on Kubernetes, where names have no dots."""
    return f"{service}-{SUFFIX}"


def canary_busy_error(canaries: Iterable[Canary], stack: str = "") -> StackBusy:
    """Return the error of what would change a stack that has canaries under way, by its name where that is known."""
    found = sorted(canaries, key=lambda canary: canary.service)
    shares = ", ".join(f"{canary.service} ({canary.percent} %)" for canary in found)
    verb, where = f"invoke canary {found[0].service}", f" --stack {stack}" if stack else ""
    return StackBusy(
        f"{stack or 'the stack'} has a canary under way, which a deploy would end unasked: {shares}",
        remedy=f"`{verb} --promote{where}` makes it the version of all requests, `{verb} --abort{where}` ends it. "
        "Then deploy.",
    )
