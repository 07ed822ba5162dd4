"""Which of a service's containers is the one that a state knows, and how a container differs from what was deployed."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from slipway.model.stack import how_to_deploy
from slipway.run.engine import Container

OLD_SECONDS = 900
"""After so long a container is in its state, or in none: no deploy waits longer for one to get healthy."""


def sort_out(found: Sequence[Container], known: Collection[str] | None) -> tuple[Container | None, list[Container]]:
    """Return the container that serves as a service, and those that no state knows.

    Args:
        found: all of one service, by their age, the oldest first.
        known: the ids that the stack's state knows; None where that cannot be told.
    """
    dev = [each for each in found if each.dev]
    rest = [each for each in found if not each.dev]
    if known is None:
        running = [each for each in rest if each.state == "running"] or rest
        mine = next(reversed(dev or running), None)
        return mine, [each for each in rest if each is not mine] if not dev else []
    deployed = [each for each in rest if each.id in known]
    return next(reversed(dev or deployed), None), [each for each in rest if each.id not in known]


def drift_of(each: Container, stack: str) -> str:
    """Return how a stack's container differs from what was deployed, and what to do; nothing where it does not."""
    deploy = f"`{how_to_deploy(stack)}`"
    if each.state != "running":
        return f"it is {each.state}: {deploy} restores it"
    if each.health == "unhealthy":
        return f"unhealthy: {deploy} replaces it"
    return f"made by `invoke dev`: {deploy} deploys it" if each.dev else ""


def is_old(each: Container) -> bool:
    """Say whether a container was made so long ago that its deploy has ended."""
    return time.time() - each.created > OLD_SECONDS
