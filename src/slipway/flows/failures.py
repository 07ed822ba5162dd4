"""Makes one error of what failed inside Pulumi: whose part it was, the lines that show why, the log, the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from slipway.commands import history
from slipway.flows import remedies
from slipway.flows.protection import PROTECTION
from slipway.flows.standing import Ground
from slipway.model.errors import SlipwayError
from slipway.model.files import PRIVATE, write_atomically
from slipway.model.masking import mask
from slipway.model.stack import lost_protection
from slipway.provider.report import from_text
from slipway.run.process import run
from slipway.toolchain.builder import name_of as builder_of

WholeLog = Callable[[str], str]

IMAGE, OURS, STACK = "docker-build:index:Image", "slipway:", "pulumi:pulumi:Stack"
ROLLOUTS = ("kubernetes:apps/v1:Deployment",)
TAIL = 15
"""How many lines of a failed build step stand in the error; its log has them all."""
_FAILED_STEP = re.compile(r"^#(\d+) ERROR", re.MULTILINE)
_COLOUR = re.compile(r"<\{%.*?%\}>")


class Failures:
    """Collects the engine's errors, one for each resource; `whole_log` returns a service's build log, or nothing."""

    def __init__(self, whole_log: WholeLog) -> None:
        self._whole_log = whole_log
        self._found: dict[tuple[str, str], tuple[str, Path]] = {}

    def take(self, kind: str, name: str, message: str, log: Path) -> None:
        """Remember a resource's first error, and the log of its build where it is an image."""
        text = _COLOUR.sub("", message).strip().removeprefix("error: ")
        if text and kind != STACK:
            self._found.setdefault((kind, name), (text, log))

    def services(self) -> list[str]:
        """Return the services whose part on a cluster failed."""
        return list(dict.fromkeys(name for kind, name in self._found if kind in ROLLOUTS))

    def error(self) -> SlipwayError | None:
        """Return the error that tells of them all; None where no resource has failed."""
        errors = [self._error(kind, name, text, log) for (kind, name), (text, log) in self._found.items()]
        if not errors:
            return None
        first, *others = errors
        for other in others:
            first.detail = "\n".join(
                part for part in (first.detail, f"Also: {other.what}", str(other.log or "")) if part
            )
        return first

    def _error(self, kind: str, name: str, text: str, log: Path) -> SlipwayError:
        if kind == IMAGE:
            return self._not_built(name, text, log)
        if kind == PROTECTION:
            return lost_protection(name)
        error = from_text(text) if kind.startswith(OURS) else SlipwayError(f"{name} ({kind}) failed", detail=text)
        error.remedy = error.remedy or "Mend that and run it again: what is in place already stays."
        return error

    def _not_built(self, name: str, text: str, log: Path) -> SlipwayError:
        if whole := self._whole_log(name):
            write_atomically(log, mask(whole), mode=PRIVATE)
        told = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        detail = step_lines(told) or text
        return SlipwayError(
            f"{name} could not be built",
            detail=detail,
            remedy=remedies.of_build(name, f"{text}\n{detail}"),
            log=log if told else None,
        )


def whole_log_of(ground: Ground) -> WholeLog:
    """Return how the whole log of a service's build that has just failed is had from BuildKit.

    The docker-build provider passes lines on without waiting for them: of a step that fails at once, the last
    ones, which say why, are often lost.
    """
    began = datetime.now(UTC)
    buildx, builder = ground.bin / "docker-buildx", builder_of(ground.workspace)

    def fetch(service: str) -> str:
        try:
            listed = run(history.failed(buildx, builder), env=ground.environment, timeout=20)
            record = history.newest(listed.output.splitlines(), service, began)
            if record is None:
                return ""
            told = run(history.logs(buildx, builder, record), env=ground.environment, timeout=20)
        except SlipwayError:  # what was passed on is better than another error
            return ""
        return told.output if told.code == 0 else ""

    return fetch


def step_lines(log: str) -> str:
    """Return the last lines of the build step that failed, or of the whole log where none says so."""
    failed = _FAILED_STEP.search(log)
    lines = log.splitlines()
    if failed:
        number = f"#{failed[1]} "
        lines = [line.removeprefix(number) for line in lines if line.startswith(number)]
    return "\n".join(lines[-TAIL:])
