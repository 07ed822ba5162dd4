"""How flows tell what they are doing: whoever calls them decides how that looks."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """What a flow says while it works."""

    def say(self, text: str) -> None:
        """Tell one thing that was done or decided."""

    def step(self, service: str, state: str, detail: str = "") -> None:
        """Tell where a service is now: `state` is a word or two, `detail` the newest line of its work."""

    def done(self, service: str, state: str) -> None:
        """Tell how a service's part ended well."""

    def failed(self, service: str, state: str) -> None:
        """Tell that a service's part failed."""


class NullReporter:
    """A report that nobody reads: for `--json`, and for tests."""

    def say(self, text: str) -> None: ...

    def step(self, service: str, state: str, detail: str = "") -> None: ...

    def done(self, service: str, state: str) -> None: ...

    def failed(self, service: str, state: str) -> None: ...


class ToolLineReporter:
    """Takes a toolchain's lines (`tool: what happens`) for a report: progress moves in place, the rest is said once."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._busy: set[str] = set()

    def __call__(self, line: str) -> None:
        name, _, text = line.partition(": ")
        if text.startswith(PROGRESS_PREFIXES):
            self._busy.add(name)
            self._reporter.step(name, *text.split(", ", 1))
        elif name in self._busy:
            self._reporter.done(name, text)
        else:
            self._reporter.say(line)


PROGRESS_PREFIXES = ("building, ", "downloading, ")
"""How lines begin that come again and again while a tool is fetched or built."""
