"""Which steps a run had to wait for: the chain that reaches from its last step back to its first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from slipway.model.record import Step

SLACK = 0.05
"""Seconds by which a step may seem to begin before the one that it waited for has ended: clocks are read apart."""
NEAR = 0.3
"""Seconds within which a step of the same service is taken for the one that was waited for."""

Place = tuple[str, int]
"""A step: its service, and its number among the service's steps."""


def path(services: Mapping[str, Sequence[Step]]) -> list[Place]:
    """Return the critical path, the earliest step first.

    It is followed backwards in time: from the step that ended last to the one that ended last before that one began,
    of the same service where one had just ended, else of any. A whole image's time is left to its steps.
    """
    known = sorted(
        (step.end, name, number, step)
        for name, steps in services.items()
        for number, step in enumerate(steps)
        if step.end > step.begin and not _told_by_steps(step, steps)
    )
    ends = [each[0] for each in known]
    found: list[Place] = []
    at = len(known) - 1
    while at >= 0:
        _, name, number, step = known[at]
        found.append((name, number))
        before = min(bisect_right(ends, step.begin + SLACK), at) - 1
        at = before
        while before >= 0 and ends[before] >= step.begin - NEAR:
            if known[before][1] == name:
                at = before
                break
            before -= 1
    return found[::-1]


def _told_by_steps(step: Step, steps: Sequence[Step]) -> bool:
    return step.kind == "image" and any(each.kind == "step" for each in steps)
