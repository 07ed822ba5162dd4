"""What BuildKit tells in its plain way (`#5 [build 2/5] RUN …`, `#5 CACHED`), as the same events as its JSON gives.

The docker-build provider passes a build on in this form only.
"""

from __future__ import annotations

import re

from slipway.commands.progress import Event, Step, step_of

_LINE = re.compile(r"#(\d+) (.*)")
_DONE = re.compile(r"DONE (\d+(?:\.\d+)?)s")
_PREAMBLE = "building with "


class Plain:
    """Turns one target's lines into events; what a step prints is passed over."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._steps: dict[str, Step] = {}

    def feed(self, text: str) -> list[Event]:
        """Return what some lines tell."""
        return [event for line in text.splitlines() if (event := self._line(line))]

    def _line(self, line: str) -> Event | None:
        match = _LINE.fullmatch(line.strip())
        if not match:
            return None
        number, said = match.groups()
        step = self._steps.get(number)
        if step is None:
            if said.startswith(_PREAMBLE):
                return None
            step = self._steps[number] = step_of(self._target, said)
            return Event("started", step)
        done = _DONE.fullmatch(said)
        if done or said == "CACHED":
            return Event("done" if done else "cached", step, seconds=float(done[1]) if done else 0.0)
        failed = said.startswith(("ERROR", "CANCELED"))
        return Event("failed", step, said.partition(":")[2].strip()) if failed else None
