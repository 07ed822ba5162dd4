"""How flows tell what they are doing: whoever calls them decides how that looks."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """What a flow says while it works."""

    def say(self, text: str) -> None:
        """Tell one thing that was done or decided."""

    def step(self, service: str, state: str, detail: str = "") -> None:
        """Tell where a service is now: `state` is a word or two, `detail` the newest line of its work."""

    def done(self, service: str, state: str) -> None:
        """Tell how a service's part ended well."""

    def failed(self, service: str, state: str) -> None:
        """Tell that a service's part failed."""


class Silence:
    """A report that nobody reads: for `--json`, and for tests."""

    def say(self, text: str) -> None: ...

    def step(self, service: str, state: str, detail: str = "") -> None: ...

    def done(self, service: str, state: str) -> None: ...

    def failed(self, service: str, state: str) -> None: ...
