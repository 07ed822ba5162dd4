"""A silent docker-build plugin whose build has ended is stopped; a working one is not."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slipway._internal.context.run_context import RunContext
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.release import plugin_watchdog
from slipway._internal.release.plugin_watchdog import PluginWatchdog
from slipway._internal.run.process import ProcessResult

LONG_AGO, NOW, LATER = timedelta(hours=-1), timedelta(), timedelta(hours=1)


class SilentBuilds:
    """Builds of which some say nothing; `looked` counts how often that was asked."""

    def __init__(self, *services: str) -> None:
        self.services = list(services)
        self.looked = threading.Semaphore(0)

    def silent_builds(self, _seconds: float) -> list[str]:
        self.looked.release()
        return self.services


@pytest.fixture
def run_context() -> RunContext:
    return RunContext(Workspace(Path("/w"), WorkspaceSettings("shop", "127.0.0.1:5000"), ()), Path("/w/bin"), {})


def record(name: str, status: str, began: timedelta, ended: timedelta) -> str:
    now = datetime.now(UTC)
    moments = {"created_at": (now + began).isoformat(), "completed_at": (now + ended).isoformat()}
    return json.dumps({"name": name, "status": status, **moments})


def watch(
    monkeypatch: pytest.MonkeyPatch, run_context: RunContext, builds: SilentBuilds, lines: list[str], looks: int = 0
) -> tuple[str, list[str]]:
    """Watch until the plugin was ended, or for so many looks; return the service, and what was ended."""
    ended: list[str] = []
    over = threading.Event()

    def end(name: str) -> None:
        ended.append(name)
        over.set()

    monkeypatch.setattr(plugin_watchdog, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(plugin_watchdog, "run", lambda *_args, **_options: ProcessResult(0, "\n".join(lines)))
    monkeypatch.setattr(plugin_watchdog.pulumi_command, "end_plugin", end)
    watched = PluginWatchdog(run_context, builds)
    watched._started_at = datetime.now(UTC) + 2 * LONG_AGO
    with watched:
        for _ in range(looks):
            assert builds.looked.acquire(timeout=60)
        assert looks or over.wait(60)
    return watched.stuck_service, ended


@pytest.mark.parametrize("status", ["Completed", "Error", "Canceled"])
@pytest.mark.parametrize("name", ["api (run)", "services/api (run)", "api"])
def test_a_build_that_is_over_ends_a_plugin_that_says_nothing(
    monkeypatch: pytest.MonkeyPatch, run_context: RunContext, status: str, name: str
) -> None:
    lines = ["no JSON", record(name, status, LONG_AGO, LONG_AGO)]
    assert watch(monkeypatch, run_context, SilentBuilds("api"), lines) == ("api", ["pulumi-resource-docker-build"])


@pytest.mark.parametrize(
    ("quiet", "lines"),
    [
        ((), [record("api (run)", "Completed", LONG_AGO, LONG_AGO)]),
        (("web",), [record("api (run)", "Completed", LONG_AGO, LONG_AGO)]),
        (("api",), [record("api (run)", "Running", LONG_AGO, LONG_AGO)]),
        (("api",), [record("api (run)", "Completed", LONG_AGO, LATER)]),
        (("api",), [record("api (run)", "Completed", 3 * LONG_AGO, LONG_AGO)]),
        (("api",), [record("api (run)", "Running", NOW, NOW), record("api (run)", "Completed", LONG_AGO, LONG_AGO)]),
        (("api",), ["{}", "[]", '{"name": "api", "created_at": "x"}']),
    ],
    ids=["all speak", "another", "runs", "just over", "of an earlier run", "runs again", "no records"],
)
def test_any_other_plugin_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, run_context: RunContext, quiet: tuple[str, ...], lines: list[str]
) -> None:
    assert watch(monkeypatch, run_context, SilentBuilds(*quiet), lines, looks=5) == ("", [])


def test_where_buildkit_does_not_answer_nothing_is_ended(
    monkeypatch: pytest.MonkeyPatch, run_context: RunContext
) -> None:
    def refuse(*_args: object, **_options: object) -> ProcessResult:
        raise SlipwayError("it does not answer")

    builds = SilentBuilds("api")
    monkeypatch.setattr(plugin_watchdog, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(plugin_watchdog, "run", refuse)
    monkeypatch.setattr(plugin_watchdog.pulumi_command, "end_plugin", pytest.fail)
    with PluginWatchdog(run_context, builds) as watched:
        assert all(builds.looked.acquire(timeout=60) for _ in range(3))
    assert watched.stuck_service == ""
