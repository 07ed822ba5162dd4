"""The reporter, to which capabilities report progress; the caller decides how it is shown."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives the progress of a capability."""

    def say(self, text: str) -> None:
        """Report one thing that was done or decided."""

    def step(self, service: str, state: str, detail: str = "") -> None:
        """Report a service's state: `state` is a word or two, `detail` the newest line of its output."""

    def done(self, service: str, state: str) -> None:
        """Report that a service is done."""

    def failed(self, service: str, state: str) -> None:
        """Report that a service failed."""


class NullReporter:
    """A reporter that shows nothing: for `--json`, and for tests."""

    def say(self, text: str) -> None: ...

    def step(self, service: str, state: str, detail: str = "") -> None: ...

    def done(self, service: str, state: str) -> None: ...

    def failed(self, service: str, state: str) -> None: ...


class ToolLineReporter:
    """Passes a toolchain's lines (`tool: text`) to a reporter: progress as steps, the rest once each."""

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
"""How progress lines begin, which repeat while a tool is downloaded or built."""
