"""The status of a service on a Docker engine that may have several containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipway._internal.run import engine
from slipway._internal.targets.status import ServiceStatus, format_age, shorten_image

WELL = ("healthy", "running")


@dataclass(frozen=True)
class ReplicasStatus(ServiceStatus):
    """The status of a service with several containers; `ready` of `replicas` serve."""

    ready: int = 1
    replicas: int = 1

    @property
    def coloured_state(self) -> str:
        return f"{super().coloured_state} ({self.ready} of {self.replicas})"


def replicas_status(serving: Sequence[engine.ContainerSummary], expected: int, drift: str) -> ServiceStatus:
    """Return the status of a service: its state is that of the first container that is not well, if one is not."""
    states = [container.health or container.state for container in serving]
    state = next((state for state in states if state not in WELL), states[0])
    first = serving[0]
    row = (first.service, state, shorten_image(first.image), format_age(first.created), drift)
    if expected == len(serving) == 1:
        return ServiceStatus(*row)
    ready = sum(state in WELL for state in states)
    return ReplicasStatus(*row, ready, max(expected, len(serving)))
