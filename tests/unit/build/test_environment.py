"""What a flow stands on depends on where a stack runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.build import environment
from slipway._internal.build.environment import prepare_environment, prepare_tools, stack_targets
from slipway._internal.context.reporter import NullReporter
from slipway._internal.model import stack as stacks
from slipway._internal.model.workspace import JobSettings, Service, ServiceSettings, Workspace, WorkspaceSettings


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


@pytest.mark.parametrize(
    ("target", "job", "wanted"), [("docker", True, 1), ("docker", False, 0), ("kubernetes", True, 0)]
)
def test_what_starts_jobs_is_had_where_an_engine_runs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, job: bool, wanted: int
) -> None:
    got: list[tuple[str, ...]] = []
    monkeypatch.setattr(environment, "prepare_tools", lambda _w, _r, tools=(), **_: got.append(tuple(tools)))
    for part, names in (
        (environment.credentials, ("check_logins",)),
        (environment.docker_daemon, ("ensure_engine",)),
        (environment.daemons, ("ensure_registry",)),
        (environment, ("ensure_kubernetes_plugin", "pulumi_home")),
    ):
        for name in names:
            monkeypatch.setattr(part, name, lambda *_, **__: None)
    monkeypatch.setattr(environment, "has_bases", lambda _workspace: True)
    settings = ServiceSettings(kind="worker", job=JobSettings("@daily") if job else None)
    here = workspace(tmp_path, dev=target)
    here = Workspace(here.root, here.settings, (Service("tick", tmp_path / "services" / "tick", settings),))
    prepare_environment(here, NullReporter(), building=False, stack=stacks.load(tmp_path, "dev", {}))
    assert got.count(("job-runner",)) == wanted


def test_a_tool_whose_programs_have_other_names_is_linked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linked: list[list[str]] = []

    def link(folder: Path, names: list[str], **_: object) -> None:
        linked.append(list(names))
        (folder / "job-runner-amd64").write_text("")

    monkeypatch.setattr(environment, "link_tools", link)
    here = workspace(tmp_path)
    for _ in range(2):
        prepare_tools(here, NullReporter(), ("job-runner",), install=True)
    assert linked == [["job-runner"]]
