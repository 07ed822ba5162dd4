"""One module for each figure, with `TITLE`, `rows(bench)` and, where the documentation needs it, `ABOUT`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Protocol

from bench.ground import Bench
from bench.measure import Row

NAMES = (
    "generation",
    "nothing",
    "clone",
    "one",
    "cold",
    "cache",
    "sizes",
    "deploy",
    "inline",
    "loop",
    "gateway",
    "ai",
    "ship",
    "kubernetes",
)
"""Every figure, in the order in which they are run."""


class Figure(Protocol):
    """What a figure's module has."""

    TITLE: str
    ABOUT: str

    def rows(self, bench: Bench) -> Iterator[Row]:
        """Measure and yield the rows."""


def figure(name: str) -> Figure:
    """Return a figure's module."""
    found: Figure = import_module(f"bench.figures.{name}")
    return found


def titles() -> Mapping[str, tuple[str, str]]:
    """Return each figure's title and what to know about it."""
    return {name: (figure(name).TITLE, figure(name).ABOUT) for name in NAMES}
