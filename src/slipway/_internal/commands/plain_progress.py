"""Parses BuildKit's plain progress (`#5 [build 2/5] RUN …`, `#5 CACHED`) into the same events as its JSON.

The docker-build provider passes a build on in this form only.
"""

from __future__ import annotations

import re

from slipway._internal.commands.buildkit_progress import BuildEvent, BuildStep, parse_step

_LINE = re.compile(r"#(\d+) (.*)")
_DONE = re.compile(r"DONE (\d+(?:\.\d+)?)s")
_PREAMBLE = "building with "


class PlainProgressParser:
    """Turns one target's lines into events; what a step prints is passed over."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._steps: dict[str, BuildStep] = {}

    def feed(self, text: str) -> list[BuildEvent]:
        """Return what some lines tell."""
        return [event for line in text.splitlines() if (event := self._parse_line(line))]

    def _parse_line(self, line: str) -> BuildEvent | None:
        match = _LINE.fullmatch(line.strip())
        if not match:
            return None
        number, text = match.groups()
        step = self._steps.get(number)
        if step is None:
            if text.startswith(_PREAMBLE):
                return None
            step = self._steps[number] = parse_step(self._target, text)
            return BuildEvent("started", step)
        done = _DONE.fullmatch(text)
        if done or text == "CACHED":
            return BuildEvent("done" if done else "cached", step, seconds=float(done[1]) if done else 0.0)
        failed = text.startswith(("ERROR", "CANCELED"))
        return BuildEvent("failed", step, text.partition(":")[2].strip()) if failed else None
