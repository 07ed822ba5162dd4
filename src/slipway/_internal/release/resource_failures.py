"""Combines the failures inside Pulumi into one error: which resource, the lines that show why, the log, the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from slipway._internal.build import remedies
from slipway._internal.commands import build_history
from slipway._internal.context.protection import PROTECTION_TYPE
from slipway._internal.context.run_context import RunContext
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import PRIVATE_MODE, write_atomically
from slipway._internal.model.masking import mask
from slipway._internal.model.stack import lost_protection_error
from slipway._internal.model.terminal_text import TAIL_LINES
from slipway._internal.run.process import run
from slipway._internal.toolchain.builder import builder_of

FetchBuildLog = Callable[[str], str]
FindError = Callable[[str], SlipwayError | None]
"""Returns the error that Slipway's own provider raised for a resource, given its URN."""

IMAGE_TYPE, STACK_TYPE = "docker-build:index:Image", "pulumi:pulumi:Stack"
KUBERNETES_PREFIX = "kubernetes:"
ROLLOUT_TYPES = ("kubernetes:apps/v1:Deployment", "kubernetes:apps/v1:StatefulSet")
_FAILED_STEP = re.compile(r"^#(\d+) ERROR", re.MULTILINE)
_COLOUR = re.compile(r"<\{%.*?%\}>")
_KUBERNETES_PHRASES = (
    (r'resource "urn:[^"]*" was not successfully created by the Kubernetes API server: ', "the cluster refuses it: "),
    (
        r'resource "urn:[^"]*" was successfully created, but the Kubernetes API server reported that it failed to '
        r"fully initialize or become live: ",
        "it is there, but not ready: ",
    ),
    # For an update, the plugin says the same whether the cluster refused it or it did not become ready.
    (r'the Kubernetes API server reported that "[^"]*" failed to fully initialize or become live: ', ""),
    (r'(creation|update) of resource "urn:[^"]*"', r"its \1"),
)
"""Prefixes of the plugin's errors, and their replacements where the error already names the resource."""


class ResourceFailures:
    """Collects the engine's errors, one per resource.

    `fetch_build_log` returns a service's build log, or an empty text; `find_error` returns the error that Slipway's
    own provider raised.
    """

    def __init__(self, fetch_build_log: FetchBuildLog, find_error: FindError) -> None:
        self._fetch_build_log = fetch_build_log
        self._find_error = find_error
        self._first_errors: dict[tuple[str, str], tuple[str, Path, SlipwayError | None]] = {}

    def add(self, resource_type: str, name: str, message: str, log: Path, urn: str = "") -> None:
        """Keep a resource's first error, and the path of its build log if it is an image."""
        text = _COLOUR.sub("", message).strip().removeprefix("error: ")
        if text and resource_type != STACK_TYPE:
            self._first_errors.setdefault((resource_type, name), (text, log, self._find_error(urn)))

    def failed_rollouts(self) -> list[str]:
        """Return the services whose rollout on a cluster failed."""
        return list(dict.fromkeys(name for resource_type, name in self._first_errors if resource_type in ROLLOUT_TYPES))

    def combined_error(self) -> SlipwayError | None:
        """Return one error for all failed resources; None if none failed."""
        errors = [
            self._resource_error(resource_type, name, text, log, error)
            for (resource_type, name), (text, log, error) in self._first_errors.items()
        ]
        if not errors:
            return None
        first, *others = errors
        for other in others:
            first.detail = "\n".join(
                part for part in (first.detail, f"Also: {other.message}", str(other.log or "")) if part
            )
        return first

    def _resource_error(
        self, resource_type: str, name: str, text: str, log: Path, error: SlipwayError | None
    ) -> SlipwayError:
        if resource_type == IMAGE_TYPE:
            return self._build_error(name, text, log)
        if resource_type == PROTECTION_TYPE:
            return lost_protection_error(name)
        if resource_type.startswith(KUBERNETES_PREFIX):
            text = shorten_kubernetes_error(text)
        error = error or SlipwayError(f"{name} ({resource_type}) failed", detail=text)
        error.remedy = error.remedy or "Fix that and run it again; what is already deployed stays."
        return error

    def _build_error(self, name: str, text: str, log: Path) -> SlipwayError:
        if build_log := self._fetch_build_log(name):
            write_atomically(log, mask(build_log), mode=PRIVATE_MODE)
        log_text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        detail = failed_step_lines(log_text) or text
        return SlipwayError(
            f"{name} could not be built",
            detail=detail,
            remedy=remedies.build_remedy(name, f"{text}\n{detail}"),
            log=log if log_text else None,
        )


def shorten_kubernetes_error(text: str) -> str:
    """Return the Kubernetes plugin's error without the resource's long URN."""
    for pattern, replacement in _KUBERNETES_PHRASES:
        text = re.sub(pattern, replacement, text)
    return text


def build_log_fetcher(context: RunContext) -> FetchBuildLog:
    """Return a function that fetches the full log of a just failed build from BuildKit.

    The docker-build provider does not wait until all output is passed on. If a step fails at once, its last lines,
    which say why, are often lost.
    """
    started_at = datetime.now(UTC)
    buildx, builder = context.bin / "docker-buildx", builder_of(context.workspace)

    def fetch(service: str) -> str:
        try:
            listing = run(build_history.list_failed_builds(buildx, builder), env=context.environment, timeout=20)
            record = build_history.find_newest_failure(listing.output.splitlines(), service, started_at)
            if record is None:
                return ""
            result = run(build_history.show_build_log(buildx, builder, record), env=context.environment, timeout=20)
        except SlipwayError:  # the output that was passed on is better than another error
            return ""
        return result.output if result.code == 0 else ""

    return fetch


def failed_step_lines(log: str) -> str:
    """Return the last lines of the failed build step, or of the whole log if no step is marked as failed."""
    match = _FAILED_STEP.search(log)
    lines = log.splitlines()
    if match:
        number = f"#{match[1]} "
        lines = [line.removeprefix(number) for line in lines if line.startswith(number)]
    return "\n".join(lines[-TAIL_LINES:])
