"""What a figure is made of: runs taken in turn, their median, and the row that says whether a limit held."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.process import Failed

Once = Callable[[], float | None]
"""Does the work once. Returns its seconds where it timed itself, else None and it is timed from outside."""

AT_MOST, AT_LEAST = "at most", "at least"


@dataclass(frozen=True)
class Limit:
    """What a figure has to keep: `Limit(0.35)` is at most 0.35; `Limit(5, AT_LEAST)` at least 5."""

    value: float
    sense: str = AT_MOST

    def held(self, value: float) -> bool:
        return value <= self.value if self.sense == AT_MOST else value >= self.value

    def __str__(self) -> str:
        return f"{self.sense} {self.value:g}"


@dataclass(frozen=True)
class Row:
    """One line of the bench.

    Attributes:
        figure: the figure's name.
        what: what was measured, in words.
        value: the median; None when it could not be run, and `note` says why.
        unit: `s`, `×` (a ratio), `MB`, `kB`, or empty for a count.
        limit: what the issue asks for; None for a comparison.
        times: a rival's seconds divided by Slipway's in the same comparison.
        runs: how many runs the median is of; `low` and `high` are the quickest and the slowest.
        note: why there is no value, or what to know about it.
    """

    figure: str
    what: str
    value: float | None = None
    unit: str = "s"
    limit: Limit | None = None
    times: float | None = None
    runs: int = 0
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def held(self) -> bool | None:
        """Whether the limit held; None without a limit, or without a value to hold against it."""
        return None if self.limit is None or self.value is None else self.limit.held(self.value)

    def as_dict(self) -> dict[str, Any]:
        """Return the row for the JSON, with whether its limit held."""
        return {**asdict(self), "held": self.held}


def row_of(data: Mapping[str, Any]) -> Row:
    """Return the row that `as_dict` gave."""
    fields = {name: value for name, value in data.items() if name != "held"}
    return Row(**{**fields, "limit": Limit(**fields["limit"]) if fields["limit"] else None})


@dataclass
class Times:
    """The seconds of one contestant's runs, or why it has none."""

    seconds: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds and not self.failure else None

    def row(
        self, figure: str, what: str, *, limit: Limit | None = None, to: Times | None = None, note: str = ""
    ) -> Row:
        """Return the row of these runs; `to` is whose seconds a rival's are divided by."""
        if self.median is None:
            return Row(figure, what, limit=limit, note=self.failure)
        ours = to.median if to else None
        times = self.median / ours if ours else None
        low, high = min(self.seconds), max(self.seconds)
        return Row(figure, what, self.median, "s", limit, times, len(self.seconds), low, high, note)


def in_turn(contestants: Mapping[str, Once], runs: int, *, warm: int = 1) -> dict[str, Times]:
    """Let all contestants do their work one after the other, and again: a machine's speed drifts.

    Who fails is out, with its reason; the others go on.

    Args:
        contestants: each one's name and its work.
        runs: rounds that count.
        warm: rounds before them that do not.
    """
    found = {name: Times() for name in contestants}
    for number in range(warm + runs):
        for name, once in contestants.items():
            times = found[name]
            if times.failure:
                continue
            began = time.monotonic()
            try:
                told = once()
            except Failed as error:
                times.failure = error.short
                continue
            taken = time.monotonic() - began if told is None else told
            if number >= warm:
                times.seconds.append(taken)
    return found


def ratio_row(
    figure: str, what: str, ours: Sequence[float], theirs: Sequence[float], limit: Limit, *, note: str = ""
) -> Row:
    """Return the row of a ratio, taken pair by pair, as a pair's runs stood next to each other."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    if not ratios:
        return Row(figure, what, None, "×", limit, note=note)
    return Row(figure, what, statistics.median(ratios), "×", limit, None, len(ratios), min(ratios), max(ratios), note)


def against(figure: str, what: str, ours: Times, theirs: Times, limit: Limit) -> Row:
    """Return the row of the ratio of two contestants' runs, or of why there is none."""
    failure = ours.failure or theirs.failure
    if failure:
        return Row(figure, what, None, "×", limit, note=failure)
    return ratio_row(figure, what, ours.seconds, theirs.seconds, limit)
