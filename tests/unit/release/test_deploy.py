"""What a deploy checks before it starts, and how it handles Pulumi's errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import ConfigError, StackBusy
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import GatewaySettings, Workspace, WorkspaceSettings
from slipway._internal.release import deploy
from slipway._internal.run.state import StateLock

STACK = Stack("dev", Path("Pulumi.dev.yaml"), "inline", "docker", protected=False)


class LockedStack:
    """A stack that has one lock."""

    stack = STACK

    def __init__(self, lock: Path, *, alive: bool) -> None:
        lock.write_text("{}")
        self._lock = StateLock(lock, 42, "ann", os.uname().nodename, "2026-01-01", alive)

    def list_locks(self) -> list[StateLock]:
        return [self._lock]


def no(_question: str) -> bool:
    return False


def yes(_question: str) -> bool:
    return True


def test_a_living_owners_lock_is_never_touched(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(StackBusy, match="process 42 of ann on "):
        deploy.clear_stale_lock(LockedStack(lock, alive=True), yes, NullReporter())  # type: ignore[arg-type]
    assert lock.exists()


def test_a_dead_owners_lock_stays_without_consent_and_the_remedy_names_yes(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(StackBusy, match="which is dead") as caught:
        deploy.clear_stale_lock(LockedStack(lock, alive=False), no, NullReporter())  # type: ignore[arg-type]
    assert "--yes" in caught.value.remedy
    assert lock.exists()


def test_a_dead_owners_lock_goes_with_consent(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    deploy.clear_stale_lock(LockedStack(lock, alive=False), yes, NullReporter())  # type: ignore[arg-type]
    assert not lock.exists()


def test_a_protected_stack_needs_a_yes() -> None:
    protected = Stack("prod", Path("Pulumi.prod.yaml"), "external", "docker", protected=True)
    with pytest.raises(ConfigError, match="prod"):
        deploy.ask_when_protected(protected, "Really?", no)
    deploy.ask_when_protected(protected, "Really?", yes)
    deploy.ask_when_protected(STACK, "Really?", no)


@pytest.mark.parametrize(
    ("target", "limited", "said"),
    [("docker", True, ""), ("kubernetes", False, ""), ("kubernetes", True, "[gateway] in workspace.toml")],
)
def test_limits_that_a_target_cannot_set_are_said(target: str, limited: bool, said: str) -> None:
    stack = Stack("staging", Path("Pulumi.staging.yaml"), "external", target, protected=False)
    gateway = GatewaySettings(body="10m") if limited else GatewaySettings()
    workspace = Workspace(Path(), WorkspaceSettings("shop", "127.0.0.1:5000", gateway), ())
    found = deploy.unsupported_limits(workspace, stack)
    assert said in found
    assert bool(found) is bool(said)


def test_a_deploy_that_ends_leaves_no_mark(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), ())
    with deploy.deploy_marker(workspace, STACK) as interrupted:
        assert not interrupted
    with deploy.deploy_marker(workspace, STACK) as interrupted:
        assert not interrupted


def test_a_deploy_that_was_killed_is_noticed_by_the_next_one(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), ())
    with pytest.raises(SystemExit), deploy.deploy_marker(workspace, STACK):
        raise SystemExit  # stands for a kill: no clean-up that a SlipwayError would get
    with deploy.deploy_marker(workspace, STACK) as interrupted:
        assert interrupted


def test_a_preview_is_shown_without_pulumis_frame() -> None:
    lines = ["Previewing update (dev):", "", "    ~ a:b:C: (update)", "        [urn=urn:x]", "Resources:", "    1 same"]
    assert deploy.diff_lines(lines) == ["    ~ a:b:C: (update)"]


def test_a_preview_does_not_show_that_an_images_resource_is_forgotten() -> None:
    lines = [
        "  pulumi:pulumi:Stack: (same)",
        "    - docker-build:index:Image: (delete[retain])",
        "        tags: [",
        "",
        "        ]",
        "    - pulumi:providers:docker-build: (delete)",
        "        version: 1",
        "    - slipway:docker:Container: (delete)",
        "        name: api",
    ]
    assert deploy.diff_lines(lines) == lines[-2:]


def test_nothing_is_looked_for_or_built_for_a_cluster_that_no_kubeconfig_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    stack = Stack("dev", Path("infra/Pulumi.dev.yaml"), "inline", "kubernetes", protected=False)
    with pytest.raises(ConfigError, match="no kubeconfig"):
        deploy.refuse_foreign_objects_early(None, stack)  # type: ignore[arg-type]
