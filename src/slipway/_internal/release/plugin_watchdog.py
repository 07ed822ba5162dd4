"""Detects a hanging docker-build plugin: BuildKit finished the build long ago, and the plugin still says nothing.

The plugin hangs forever when a build step prints a line of 64 KiB: it stops reading buildx's output, and waits for
buildx to finish writing. Pulumi never stops it.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Protocol

from slipway._internal.commands import build_history
from slipway._internal.context.run_context import RunContext
from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import pulumi_command
from slipway._internal.run.process import run
from slipway._internal.toolchain.builder import builder_of

PLUGIN_NAME = "pulumi-resource-docker-build"
POLL_SECONDS, SILENT_SECONDS, HISTORY_SECONDS = 3.0, 8.0, 20.0
"""How often the watchdog checks; how long a finished build may stay silent; the timeout for reading the history."""


class BuildActivity(Protocol):
    """What is known about the builds that Pulumi started."""

    def silent_builds(self, seconds: float) -> list[str]:
        """Return the services whose running builds have printed nothing for `seconds`."""


class PluginWatchdog:
    """Watches builds inside a `with` block, and stops a hanging plugin; `stuck_service` then names the service."""

    def __init__(self, context: RunContext, builds: BuildActivity) -> None:
        self.stuck_service = ""
        self._context = context
        self._builds = builds
        self._started_at = datetime.now(UTC)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PluginWatchdog:
        self._thread.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            silent = self._builds.silent_builds(SILENT_SECONDS)
            ended = self._ended_builds() if silent else {}
            before = datetime.now(UTC) - timedelta(seconds=SILENT_SECONDS)
            stuck = [
                name
                for name in silent
                if (completed_at := build_history.find_completion_time(ended, name)) and completed_at < before
            ]
            if stuck and not self._stopped.is_set():
                self.stuck_service = stuck[0]
                pulumi_command.end_plugin(PLUGIN_NAME)
                return

    def _ended_builds(self) -> dict[str, datetime]:
        """Return the builds that BuildKit finished since the watchdog started, and when."""
        try:
            command = build_history.list_builds(
                self._context.bin / "docker-buildx", builder_of(self._context.workspace)
            )
            result = run(command, env=self._context.environment, timeout=HISTORY_SECONDS)
        except SlipwayError:  # try again at the next poll
            return {}
        return build_history.parse_completion_times(result.output.splitlines(), self._started_at)
