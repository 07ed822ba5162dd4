"""Finds the container that serves a service, and describes how a container differs from what was deployed."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from slipway._internal.model.stack import how_to_deploy
from slipway._internal.run.engine import ContainerSummary

STALE_SECONDS = 900
"""A container this old is either in the state or a stray: no deploy waits longer for one to become healthy."""


def select_serving(
    containers: Sequence[ContainerSummary], known_ids: Collection[str] | None
) -> tuple[ContainerSummary | None, list[ContainerSummary]]:
    """Return the container that serves a service, and those that are not in the stack's state.

    Args:
        containers: all containers of one service, the oldest first.
        known_ids: the ids in the stack's state; None if the state cannot be read.
    """
    dev = [container for container in containers if container.dev]
    rest = [container for container in containers if not container.dev]
    if known_ids is None:
        running = [container for container in rest if container.state == "running"] or rest
        serving = next(reversed(dev or running), None)
        return serving, [container for container in rest if container is not serving] if not dev else []
    deployed = [container for container in rest if container.id in known_ids]
    return next(reversed(dev or deployed), None), [container for container in rest if container.id not in known_ids]


def select_replicas(
    containers: Sequence[ContainerSummary], known_ids: Collection[str] | None
) -> tuple[list[ContainerSummary], list[ContainerSummary]]:
    """Return the containers that serve a service, by their numbers, and those that are not in the stack's state.

    A canary is neither.

    Args:
        containers: all containers of one service, the oldest first.
        known_ids: the ids in the stack's state; None if the state cannot be read.
    """
    serving: list[ContainerSummary] = []
    strays: list[ContainerSummary] = []
    for number in sorted({container.replica for container in containers if not container.is_canary}):
        found, others = select_serving(
            [container for container in containers if container.replica == number], known_ids
        )
        serving += [found] if found else []
        strays += others
    return serving, strays


def describe_drift(container: ContainerSummary, stack: str) -> str:
    """Return how a container differs from what was deployed, and what to do; empty if it does not differ."""
    deploy = f"`{how_to_deploy(stack)}`"
    if container.state != "running":
        return f"it is {container.state}: {deploy} restores it"
    if container.health == "unhealthy":
        return f"unhealthy: {deploy} replaces it"
    return f"made by `invoke dev`: {deploy} deploys it" if container.dev else ""


def is_stale(container: ContainerSummary) -> bool:
    """Return whether a container is so old that its deploy must have ended."""
    return time.time() - container.created > STALE_SECONDS
