"""What a flow stands on depends on where a stack runs."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.build.environment import stack_targets
from slipway._internal.model import stack as stacks
from slipway._internal.model.workspace import Workspace, WorkspaceSettings


def workspace(root: Path, **files: str) -> Workspace:
    (root / "infra").mkdir()
    for name, target in files.items():
        (root / "infra" / f"Pulumi.{name}.yaml").write_text(
            f"config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:target: {target}\n",
            encoding="utf-8",
        )
    return Workspace(root, WorkspaceSettings("shop", "127.0.0.1:5000"), ())


def test_a_stacks_own_target_counts_and_without_one_those_of_all(tmp_path: Path) -> None:
    here = workspace(tmp_path, dev="docker", staging="kubernetes")
    assert stack_targets(here, stacks.load(tmp_path, "staging", {})) == {"kubernetes"}
    assert stack_targets(here, stacks.load(tmp_path, "dev", {})) == {"docker"}
    assert stack_targets(here, None) == {"docker", "kubernetes"}


def test_a_stack_that_is_written_wrong_keeps_nobody_from_setting_up(tmp_path: Path) -> None:
    assert stack_targets(workspace(tmp_path, dev="docker", staging="moon"), None) == {"docker"}


def test_a_workspace_without_stacks_is_set_up_for_docker(tmp_path: Path) -> None:
    assert stack_targets(workspace(tmp_path), None) == {"docker"}
