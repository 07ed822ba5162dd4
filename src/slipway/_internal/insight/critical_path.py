"""The critical path of a run: the chain of steps from its last back to its first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from slipway._internal.model.run_record import RecordedStep

SLACK_SECONDS = 0.05
"""Seconds by which a step may seem to begin before the one that it waited for has ended: clocks are read apart."""
NEAR_SECONDS = 0.3
"""Seconds within which a step of the same service is taken for the one that was waited for."""

StepPosition = tuple[str, int]
"""A step: its service, and its number among the service's steps."""


def find_critical_path(services: Mapping[str, Sequence[RecordedStep]]) -> list[StepPosition]:
    """Return the critical path, the earliest step first.

    It is followed backwards in time: from the step that ended last to the one that ended last before that one began,
    of the same service where one had just ended, else of any. A whole image's time is left to its steps.
    """
    candidates = sorted(
        (step.end, name, number, step)
        for name, steps in services.items()
        for number, step in enumerate(steps)
        if step.end > step.begin and not _is_covered_by_steps(step, steps)
    )
    ends = [candidate[0] for candidate in candidates]
    chain: list[StepPosition] = []
    index = len(candidates) - 1
    while index >= 0:
        _, name, number, step = candidates[index]
        chain.append((name, number))
        before = min(bisect_right(ends, step.begin + SLACK_SECONDS), index) - 1
        index = before
        while before >= 0 and ends[before] >= step.begin - NEAR_SECONDS:
            if candidates[before][1] == name:
                index = before
                break
            before -= 1
    return chain[::-1]


def _is_covered_by_steps(step: RecordedStep, steps: Sequence[RecordedStep]) -> bool:
    return step.kind == "image" and any(other.kind == "step" for other in steps)
