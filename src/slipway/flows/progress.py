"""Follows a bake as it runs: tells the report, keeps a log for each service, and knows what failed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from slipway.commands.bake import service_of
from slipway.commands.progress import Event, Progress
from slipway.flows import remedies
from slipway.flows.logs import build_log
from slipway.flows.recording import current
from slipway.flows.report import Report
from slipway.model.errors import GateRefused, SlipwayError
from slipway.model.files import open_private
from slipway.model.masking import mask
from slipway.run.process import Result

TAIL = 15
"""How many lines of a failed step stand in the error; its log has them all."""


class Follower:
    """Takes bake's output line by line, for the targets that bake was asked to build. Call `close` at its end."""

    def __init__(self, report: Report, logs: Path, targets: Sequence[str]) -> None:
        services = list(dict.fromkeys(service_of(name) for name in targets))
        self._report = report
        self._progress = Progress(targets)
        self._record = current()
        self._open = ExitStack()
        self._paths = {name: build_log(logs, name) for name in services}
        self._files = {name: self._open.enter_context(open_private(path, "w")) for name, path in self._paths.items()}
        self._failed: list[Event] = []
        self._lines: dict[str, list[str]] = {name: [] for name in services}

    def __call__(self, line: str) -> None:
        for event in self._progress.feed(line):
            self._take(event)

    def close(self) -> None:
        """Close the logs."""
        self._open.close()

    def failure(self, result: Result) -> SlipwayError:
        """Return the error for a bake that failed: the service and step, its last lines, its log."""
        real = [event for event in self._failed if "context canceled" not in event.text] or self._failed
        if not real:
            words = "\n".join(self._progress.text[-TAIL:]) or result.tail(TAIL)
            return SlipwayError(
                "the build could not be started", detail=words, remedy="Mend that; `invoke doctor` helps."
            )
        first = real[0]
        service = service_of(first.target)
        self._report.failed(service, "failed")
        lines = [line for line in self._lines[service] if line.strip()][-TAIL:]
        tested = _tests(first) and first.target != service
        error = GateRefused if tested else SlipwayError
        return error(
            f"{service} {'did not pass its tests' if tested else 'could not be built'}: step {first.step} failed",
            detail="\n".join(lines) or first.text,
            remedy=remedies.of_build(service, "\n".join([first.text, *lines])),
            log=self._paths[service],
        )

    def _take(self, event: Event) -> None:
        service = service_of(event.target)
        self._record.take(service, event)
        if event.kind == "log":
            self._lines[service] = [*self._lines[service][-TAIL:], event.text]
            self._write(service, event.text)
        elif event.kind == "failed":
            self._failed.append(event)
            self._write(service, f"FAILED {event.step}: {event.text}")
        elif event.kind != "warning":
            self._write(service, f"{event.kind.upper():<7} {event.step}")
        if event.kind in ("started", "log"):
            self._report.step(service, "testing" if _tests(event) else "building", event.text or str(event.step))

    def _write(self, service: str, line: str) -> None:
        self._files[service].write(f"{mask(line)}\n")
        self._files[service].flush()


def _tests(event: Event) -> bool:
    """Whether a step is one of the stage `test`, on whatever platform."""
    return event.step.stage.split()[-1:] == ["test"]
