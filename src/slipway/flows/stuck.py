"""Notices a docker-build plugin that hangs: BuildKit has ended the build long ago, and the plugin still says nothing.

It does so for ever when a step prints a line of 64 KiB: it stops reading what buildx tells it, and waits for buildx
to be done with telling. Nothing in Pulumi ends it.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Protocol

from slipway.commands import history
from slipway.flows.standing import Ground
from slipway.model.errors import SlipwayError
from slipway.run import pulumi_command
from slipway.run.process import run
from slipway.toolchain.builder import name_of as builder_of

PLUGIN = "pulumi-resource-docker-build"
LOOK_SECONDS, QUIET_SECONDS, ASK_SECONDS = 3.0, 8.0, 20.0
"""How often is looked; how long a build says nothing, and is over, before its plugin is taken for one that hangs."""


class Builds(Protocol):
    """What is known of the builds that Pulumi has begun."""

    def quiet(self, seconds: float) -> list[str]:
        """Return the services whose builds have begun, not ended, and said nothing for some seconds."""


class StuckPlugin:
    """Watches the builds for the time of a `with`, and ends the plugin when it hangs: `service` then says at whose."""

    def __init__(self, ground: Ground, builds: Builds) -> None:
        self.service = ""
        self._ground = ground
        self._builds = builds
        self._began = datetime.now(UTC)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> StuckPlugin:
        self._thread.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            quiet = self._builds.quiet(QUIET_SECONDS)
            ended = self._ended() if quiet else {}
            before = datetime.now(UTC) - timedelta(seconds=QUIET_SECONDS)
            late = [name for name in quiet if (found := history.of_service(ended, name)) and found < before]
            if late and not self._over.is_set():
                self.service = late[0]
                pulumi_command.end_plugin(PLUGIN)
                return

    def _ended(self) -> dict[str, datetime]:
        """Return the builds that BuildKit has ended since we began, and when."""
        try:
            command = history.ended(self._ground.bin / "docker-buildx", builder_of(self._ground.workspace))
            listed = run(command, env=self._ground.environment, timeout=ASK_SECONDS)
        except SlipwayError:  # then nobody knows, and it is looked again
            return {}
        return history.endings(listed.output.splitlines(), self._began)
