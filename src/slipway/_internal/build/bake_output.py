"""Follows a bake: reports progress, keeps a log for each service, and finds out what failed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from slipway._internal.build import remedies
from slipway._internal.commands.bake import service_of
from slipway._internal.commands.buildkit_progress import BuildEvent, ProgressParser
from slipway._internal.context.logs import build_log
from slipway._internal.context.reporter import Reporter
from slipway._internal.insight.run_recorder import current_recorder
from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.model.files import open_private
from slipway._internal.model.masking import mask
from slipway._internal.model.terminal_text import TAIL_LINES
from slipway._internal.run.process import ProcessResult


class BakeOutputHandler:
    """Takes bake's output line by line, for the targets that bake was asked to build. Call `close` at its end."""

    def __init__(self, reporter: Reporter, logs: Path, targets: Sequence[str]) -> None:
        services = list(dict.fromkeys(service_of(name) for name in targets))
        self._reporter = reporter
        self._progress = ProgressParser(targets)
        self._recorder = current_recorder()
        self._open_files = ExitStack()
        self._paths = {name: build_log(logs, name) for name in services}
        self._files = {
            name: self._open_files.enter_context(open_private(path, "w")) for name, path in self._paths.items()
        }
        self._failed_events: list[BuildEvent] = []
        self._last_lines: dict[str, list[str]] = {name: [] for name in services}

    def __call__(self, line: str) -> None:
        for event in self._progress.feed(line):
            self._handle_event(event)

    def close(self) -> None:
        """Close the logs."""
        self._open_files.close()

    def error_for(self, result: ProcessResult) -> SlipwayError:
        """Return the error for a bake that failed: the service and step, its last lines, its log."""
        causes = [event for event in self._failed_events if "context canceled" not in event.text] or self._failed_events
        if not causes:
            output = "\n".join(self._progress.text[-TAIL_LINES:]) or result.tail(TAIL_LINES)
            return SlipwayError(
                "the build could not be started", detail=output, remedy="Fix that; `invoke doctor` helps."
            )
        first = causes[0]
        service = service_of(first.target)
        self._reporter.failed(service, "failed")
        lines = [line for line in self._last_lines[service] if line.strip()][-TAIL_LINES:]
        own_step = [first.step.text] if first.step.internal else []  # BuildKit's own, which is no instruction
        in_test_stage = _is_test_step(first) and first.target != service
        error_type = GateRefused if in_test_stage else SlipwayError
        return error_type(
            f"{service} {'did not pass its tests' if in_test_stage else 'could not be built'}: step {first.step} "
            "failed",
            detail="\n".join(lines) or first.text,
            remedy=remedies.build_remedy(service, "\n".join([*own_step, first.text, *lines])),
            log=self._paths[service],
        )

    def _handle_event(self, event: BuildEvent) -> None:
        service = service_of(event.target)
        self._recorder.record_build_event(service, event)
        if event.kind == "log":
            self._last_lines[service] = [*self._last_lines[service][-TAIL_LINES:], event.text]
            self._write_log(service, event.text)
        elif event.kind == "failed":
            self._failed_events.append(event)
            self._write_log(service, f"FAILED {event.step}: {event.text}")
        elif event.kind != "warning":
            self._write_log(service, f"{event.kind.upper():<7} {event.step}")
        if event.kind in ("started", "log"):
            self._reporter.step(
                service, "testing" if _is_test_step(event) else "building", event.text or str(event.step)
            )

    def _write_log(self, service: str, line: str) -> None:
        self._files[service].write(f"{mask(line)}\n")
        self._files[service].flush()


def _is_test_step(event: BuildEvent) -> bool:
    """Whether a step is one of the stage `test`, on whatever platform."""
    return event.step.stage.split()[-1:] == ["test"]
