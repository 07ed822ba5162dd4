"""Small things of a stack that commands tell: its tags, its modes, its way back, its builds' logs, its inputs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import PYTHONPATH
from tests.unit.release.conftest import DIGEST, Deployment

from slipway._internal.commands import build_history
from slipway._internal.model import lock
from slipway._internal.model.errors import ConfigError, EvidenceError, SlipwayError
from slipway._internal.model.lock import Lock, LockEntry
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.release import image_mode, manual_inputs, releases, resource_failures, status, tags
from slipway._internal.release.releases import DeployedRelease
from slipway._internal.release.rollback import Rollback
from slipway._internal.run import registry
from slipway._internal.run.process import ProcessResult

RELEASE = DeployedRelease("r1", "2026-11-30T10:00:00+00:00", "ann", "", False, "inline", "live", {"api": "x@sha256:1"})
REF = f"127.0.0.1:1/many/service-000@{DIGEST}"


def test_an_images_tags_are_those_that_stand_for_its_digest(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shelf:
        def list_tags(self, repository: str) -> list[str]:
            assert repository == "many/service-000"
            return ["1.4.0", "h-new", "h-old", f"sha256-{'a' * 64}"]

    def resolve(refs: Iterable[str], _workspace: Any) -> dict[str, str]:
        return {ref: "sha256:other" if ref.endswith("h-old") else DIGEST for ref in refs}

    monkeypatch.setattr(registry, "open_registry", lambda *_: Shelf())
    monkeypatch.setattr(registry, "resolve_digests", resolve)
    assert tags.find_tags(REF, deployment.workspace) == ["1.4.0", "h-new"]


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ([RELEASE], {"api": "x@sha256:1"}),
        ([replace(RELEASE, id="r2", result="deploying"), RELEASE], {}),
        ([replace(RELEASE, id="r2", result="failed"), RELEASE], {"api": "x@sha256:1"}),
        ([], {}),
        (SlipwayError("no state"), None),
    ],
)
def test_drift_is_told_by_the_release_that_is_live_where_that_is_known(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, history: Any, told: Any
) -> None:
    def list_releases(*_: Any) -> list[DeployedRelease]:
        if isinstance(history, SlipwayError):
            raise history
        found: list[DeployedRelease] = history
        return found

    class Target:
        def status(self, live_images: Any) -> list[Any]:
            return [live_images()]

    monkeypatch.setattr(releases, "list_releases", list_releases)
    monkeypatch.setattr(status, "target_of", lambda *_: Target())
    assert list(status.read_stack_status(deployment.workspace, "dev")) == [told]
    with pytest.raises(ConfigError, match="nowhere"):
        status.read_stack_status(deployment.workspace, "nowhere")


@pytest.mark.parametrize(("mode", "said"), [("inline", "inline"), ("hybrid", "hybrid"), ("external", "")])
def test_a_way_back_says_what_it_means_for_the_stacks_mode(mode: Any, said: str) -> None:
    stack = Stack("dev", Path("x"), mode, "docker", protected=False)
    first, *others = Rollback(stack, RELEASE, (), ("gone",)).summary_lines()
    assert "r1" in first and "ann" in first and "gone" in others[0]
    assert [said in line for line in others[1:]] == ([True] if said else [])


@pytest.fixture
def locked(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A stack whose lock names one of its two services, which runs as locked."""
    lock.save(deployment.root, Lock("dev", services={"service-000": LockEntry(REF, "c" * 64)}))
    monkeypatch.setattr(image_mode, "running_digests", lambda *_: {"service-000": DIGEST})
    return deployment


def test_a_switch_says_for_each_service_what_it_would_run(locked: Deployment) -> None:
    external = image_mode.plan_switch(locked.workspace, "dev", "external")
    first, second = external.changes
    assert first.current == DIGEST and second.current == "nothing"
    assert "not locked" in second.after_switch and external.missing == ("service-001",)
    assert "service-001" in external.summary(dry=True) and "invoke push --stack dev" in external.summary(dry=True)
    inline = image_mode.plan_switch(locked.workspace, "dev", "inline")
    assert [change.after_switch for change in inline.changes] == [image_mode.BUILT_INLINE] * 2
    assert inline.summary(dry=False).startswith("dev is now inline")


@pytest.mark.parametrize(("content", "is_older"), [("c" * 64, False), ("d" * 64, True)])
def test_a_locked_image_is_told_apart_from_what_the_sources_have_become(
    locked: Deployment, monkeypatch: pytest.MonkeyPatch, content: str, is_older: bool
) -> None:
    lock.save(locked.root, Lock("dev", services={"service-000": LockEntry(REF, content)}))
    monkeypatch.setattr(image_mode, "build_inputs_of", lambda *_: None)
    monkeypatch.setattr(image_mode, "content_digest", lambda _inputs: "c" * 64)
    first, second = image_mode.plan_switch(locked.workspace, "dev", "hybrid").changes
    assert (first.after_switch, second.after_switch) == ("the same", image_mode.BUILT_INLINE), "it runs already"
    monkeypatch.setattr(image_mode, "running_digests", lambda *_: {})
    first, _ = image_mode.plan_switch(locked.workspace, "dev", "hybrid").changes
    assert first.after_switch.startswith(DIGEST) and ("older" in first.after_switch) is is_older


def test_where_a_stack_runs_may_be_silent_while_its_mode_is_switched(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise SlipwayError("no engine")

    monkeypatch.setattr(image_mode, "target_of", fail)
    assert image_mode.running_digests(deployment.workspace, deployment.stack) == {}


class Buildx:
    """Stands for buildx: its history of failed builds, and one build's log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: str | None = "record"
        self.result: ProcessResult | SlipwayError = ProcessResult(0, "#1 the whole log")
        self.asked: list[list[str]] = []
        monkeypatch.setattr(resource_failures, "run", self.run)
        monkeypatch.setattr(build_history, "find_newest_failure", lambda _lines, service, _since: self.found)

    def run(self, command: list[str], **_: Any) -> ProcessResult:
        self.asked.append(command)
        if isinstance(self.result, SlipwayError):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("found", "result", "log"),
    [
        ("record", ProcessResult(0, "#1 the whole log"), "#1 the whole log"),
        (None, ProcessResult(0, ""), ""),
        ("record", ProcessResult(1, "no such record"), ""),
        ("record", SlipwayError("buildx hangs"), ""),
    ],
)
def test_a_failed_builds_whole_log_is_had_from_buildkit_where_it_can_be(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, found: str | None, result: Any, log: str
) -> None:
    buildx = Buildx(monkeypatch)
    buildx.found, buildx.result = found, result
    assert resource_failures.build_log_fetcher(deployment.context)("service-000") == log
    assert buildx.asked[0][0] == str(deployment.context.bin / "docker-buildx")


def test_pulumi_by_hand_goes_by_the_same_inputs_and_gets_cosign_for_a_protected_stack(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (deployment.root / "infra" / "Pulumi.prod.yaml").write_text(
        "config:\n  slipway:images: external\n  slipway:protected: true\n", encoding="utf-8"
    )
    use_workspace(deployment.root)
    monkeypatch.chdir(deployment.root / "infra")
    prepared: list[Any] = []
    monkeypatch.setattr(manual_inputs, "prepare_tools", lambda *args, **_: prepared.append(args[2]))
    assert manual_inputs.read_manual_inputs("dev").stack.name == "dev"
    assert prepared == []
    with pytest.raises(EvidenceError):  # nothing is locked, so nothing is proven
        manual_inputs.read_manual_inputs("prod")
    assert prepared == [("cosign",)]


def test_a_release_is_told_in_short_and_whole() -> None:
    release = replace(RELEASE, commit="f" * 40, dirty=True)
    assert (release.short_commit, replace(release, commit="").short_commit) == ("ffffffffff*", "-")
    assert release.as_dict()["digests"] == {"api": "x@sha256:1"}
    assert releases.recent_releases([RELEASE] * 3) == [RELEASE] * 3


def test_what_a_docker_engine_is_asked_for_does_without_pulumis_sdk() -> None:
    """Its import takes longer than `invoke status`, `logs`, `exec` and `run` themselves."""
    code = (
        "import sys; import slipway._internal.release.status, slipway._internal.release.commands; "
        "print([name for name in ('pulumi', 'grpc') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], env={"PYTHONPATH": PYTHONPATH}, text=True) == "[]\n"
