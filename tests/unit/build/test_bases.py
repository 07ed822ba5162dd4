"""Which bases a workspace needs, where they come from, and when they are made."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.conftest import TEMPLATE

from slipway._internal.build import bases, bootstrap
from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.context.reporter import NullReporter
from slipway._internal.model import bases_lock as locks
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.bases_lock import BasesLock
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.run import registry
from slipway._internal.run.process import ProcessResult
from slipway._internal.scaffold import service_creation

DIGEST = f"sha256:{'a' * 64}"
OFFICIAL = {
    name: f"docker.io/library/{name}@{DIGEST}"
    for name in ("nginx", "python-build", "python-run", "node-build", "node-run")
}


class RecordingReporter(NullReporter):
    """Records what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def report() -> RecordingReporter:
    return RecordingReporter()


def workspace(root: Path, source: str, answer: str = "api", **official: str) -> workspaces.Workspace:
    """Write and load a workspace."""
    lines = ['name = "demo"', 'registry = "127.0.0.1:5000"', "[bases]", f'source = "{source}"', "[bases.official]"]
    lines += [f'{name} = "{ref}"' for name, ref in (official or OFFICIAL).items()]
    (root / "workspace.toml").write_text("\n".join(lines), encoding="utf-8")
    for folder in ("libs", "bases"):
        shutil.copytree(TEMPLATE / folder, root / folder, ignore=shutil.ignore_patterns("*.json"))
    service_creation.create_initial_services(root, answer)
    return workspaces.load_workspace(root)


def context_of(of: workspaces.Workspace) -> Any:
    return SimpleNamespace(workspace=of, bin=of.scratch / "bin", environment={})


def required(of: workspaces.Workspace) -> list[str]:
    return bases.required_bases(of, bases.read_dockerfiles(of))


def ensure(of: workspaces.Workspace, report: RecordingReporter, **more: Any) -> dict[str, str]:
    return bases.ensure_bases(of, context_of(of), report, **more)


def test_only_bases_that_a_service_names_are_needed_and_the_gateways(tmp_path: Path) -> None:
    assert required(workspace(tmp_path, "official")) == ["envoy", "python-build", "python-run"]


def test_a_workspace_without_services_needs_the_gateways_alone(tmp_path: Path) -> None:
    assert required(workspace(tmp_path, "official", "none")) == ["envoy"]


@pytest.mark.parametrize("answer", service_creation.INITIAL_SERVICES)
def test_a_new_workspace_neither_pulls_nor_builds_what_only_other_kinds_start_from(tmp_path: Path, answer: str) -> None:
    needed = required(workspace(tmp_path, "hardened", answer))
    assert {name.partition("-")[0] for name in needed} <= {"envoy", "python", "node", "postgres"}


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        ("go-api", ["envoy", "go-build", "static-run"]),
        ("java-api", ["envoy", "java-build", "java-run"]),
        ("static-web", ["envoy", "nginx", "node-build"]),
        ("ml-inference", ["envoy", "python-build", "python-run"]),
        ("ai-gateway", ["envoy", "python-build", "python-run"]),
        ("job", ["envoy", "python-build", "python-run"]),
    ],
)
def test_a_service_of_a_kind_brings_the_bases_that_it_starts_from(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch, kind: str, needed: list[str]
) -> None:
    of = workspace(tmp_path, "hardened", "none")
    service_creation.create_service(tmp_path, "mine", kind)
    asked: list[str] = []
    monkeypatch.setattr(
        registry, "resolve_digests", lambda refs, _workspace: dict.fromkeys(asked.extend(refs) or refs, DIGEST)
    )
    of = workspaces.load_workspace(tmp_path)
    assert sorted(ensure(of, report)) == needed
    assert sorted(ref.partition("base-")[2].partition(":")[0] for ref in asked) == needed


def test_a_workspace_from_before_a_base_came_lacks_it_only_when_it_is_needed(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace(tmp_path, "hardened")
    shutil.rmtree(tmp_path / "bases" / "go")
    monkeypatch.setattr(registry, "resolve_digests", lambda refs, _workspace: dict.fromkeys(refs, DIGEST))
    ensure(workspaces.load_workspace(tmp_path), report)
    service_creation.create_service(tmp_path, "mine", "go-api")
    with pytest.raises(ConfigError, match="go/Dockerfile is missing") as missing:
        ensure(workspaces.load_workspace(tmp_path), report)
    assert "`invoke update` brings them" in missing.value.remedy


GATEWAY = f"127.0.0.1:5000/demo/base-envoy@{DIGEST}"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry has what is built here."""
    monkeypatch.setattr(registry, "resolve_digests", lambda refs, _workspace: dict.fromkeys(refs, DIGEST))


@pytest.mark.usefixtures("built")
def test_a_frontend_that_a_dockerfile_asks_for_is_locked_with_the_bases_and_not_built_for_a_preview(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = workspace(tmp_path, "official")
    file = tmp_path / "services" / "api" / "Dockerfile"
    file.write_text(f"# syntax=docker/dockerfile:1.99\n{file.read_text()}")
    monkeypatch.setattr(bases, "ensure_frontends", lambda *_, **__: pytest.fail("it built"))
    assert "dockerfile-1.99.0" not in ensure(of, report, preview=True)
    ref = f"127.0.0.1:5000/demo/dockerfile_frontend@{DIGEST}"
    monkeypatch.setattr(bases, "ensure_frontends", lambda *_, **__: {"dockerfile-1.99.0": ref})
    ensure(of, report)
    assert locks.load(tmp_path).bases["dockerfile-1.99.0"] == ref
    monkeypatch.setattr(bases, "ensure_frontends", lambda *_, **__: pytest.fail("it built"))
    assert ensure(of, report, preview=True)["dockerfile-1.99.0"] == ref
    service = of.service("api")
    assert build_inputs_of(of, service, locks.load(tmp_path).bases).frontend == ref


@pytest.mark.usefixtures("built")
def test_official_bases_are_locked_as_workspace_toml_has_them_and_the_gateways_is_built(
    tmp_path: Path, report: RecordingReporter
) -> None:
    found = ensure(workspace(tmp_path, "official"), report)
    assert found == {"envoy": GATEWAY, **{name: OFFICIAL[name] for name in ("python-build", "python-run")}}
    assert locks.load(tmp_path) == BasesLock("official", found)


@pytest.mark.usefixtures("built")
def test_a_second_time_writes_nothing_and_says_nothing(tmp_path: Path, report: RecordingReporter) -> None:
    of = workspace(tmp_path, "official")
    ensure(of, report)
    report.said.clear()
    before = locks.path_of(tmp_path).stat()
    ensure(of, report)
    assert (report.said, locks.path_of(tmp_path).stat()) == ([], before)


def test_an_official_base_without_a_name_is_refused(tmp_path: Path, report: RecordingReporter) -> None:
    with pytest.raises(ConfigError, match="python-run"):
        ensure(workspace(tmp_path, "official", nginx=OFFICIAL["nginx"], **{"python-build": f"x@{DIGEST}"}), report)


def test_auto_takes_official_ones_where_they_can_be_pulled(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "pull_obstacle", lambda ref: "")
    assert bases.choose_source(workspace(tmp_path, "auto"), None, report) == "official"


def test_auto_says_why_it_takes_hardened_ones(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "pull_obstacle", lambda ref: "the registry docker.io does not answer")
    assert bases.choose_source(workspace(tmp_path, "auto"), None, report) == "hardened"
    assert "docker.io does not answer" in report.said[0]


@pytest.mark.parametrize("source", ["official", "hardened"])
def test_auto_stays_with_what_the_lock_says_and_asks_nobody(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(bases, "pull_obstacle", lambda ref: pytest.fail("it asked"))
    assert bases.choose_source(workspace(tmp_path, "auto"), BasesLock(source), report) == source


def test_hardened_bases_that_the_registry_has_are_not_built(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = workspace(tmp_path, "hardened")
    monkeypatch.setattr(registry, "resolve_digests", lambda refs, _workspace: dict.fromkeys(refs, DIGEST))
    monkeypatch.setattr(bases, "_build_missing", lambda *args, **more: pytest.fail("it built"))
    found = ensure(of, report)
    assert found["python-run"] == f"127.0.0.1:5000/demo/base-python-run@{DIGEST}"
    assert locks.load(tmp_path).source == "hardened"


def test_an_edited_base_is_asked_for_under_another_name(tmp_path: Path) -> None:
    of = workspace(tmp_path, "hardened")
    before = bases.hardened_tags(of, ["nginx", "python-run"])
    file = tmp_path / "bases" / "nginx" / "nginx.conf"
    file.write_text(file.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    after = bases.hardened_tags(of, ["nginx", "python-run"])
    assert before["nginx"] != after["nginx"]
    assert before["python-run"] == after["python-run"]


def test_the_lock_itself_decides_nothing(tmp_path: Path) -> None:
    of = workspace(tmp_path, "hardened")
    before = bases.hardened_tags(of, ["nginx"])
    locks.save(tmp_path, BasesLock("hardened", {"nginx": f"x@{DIGEST}"}))
    assert bases.hardened_tags(of, ["nginx"]) == before


def test_a_missing_file_of_a_base_is_named(tmp_path: Path) -> None:
    of = workspace(tmp_path, "hardened")
    (tmp_path / "bases" / "nginx" / "Dockerfile").unlink()
    with pytest.raises(ConfigError, match="nginx/Dockerfile is missing") as missing:
        bases.hardened_tags(of, ["nginx"])
    assert "git checkout HEAD -- bases/nginx/Dockerfile" in missing.value.remedy
    assert "`invoke update` brings them" in missing.value.remedy


def test_a_base_of_the_workspaces_own_is_taken_beside_hardened_ones(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {"ruby-run": f"docker.io/library/ruby@{DIGEST}", **OFFICIAL}
    of = workspace(tmp_path, "hardened", **mine)
    dockerfile = tmp_path / "services" / "api" / "Dockerfile"
    dockerfile.write_text("ARG RUBY_RUN\nFROM ${RUBY_RUN} AS run\n", encoding="utf-8")
    monkeypatch.setattr(registry, "resolve_digests", lambda refs, _workspace: dict.fromkeys(refs, DIGEST))
    assert ensure(of, report) == {
        "envoy": GATEWAY,
        "ruby-run": mine["ruby-run"],
    }


def test_a_gateway_that_workspace_toml_names_was_built_elsewhere(tmp_path: Path, report: RecordingReporter) -> None:
    elsewhere = f"registry.example/envoy@{DIGEST}"
    assert ensure(workspace(tmp_path, "official", **OFFICIAL, envoy=elsewhere), report)["envoy"] == elsewhere


def test_for_another_platform_mmdebstrap_needs_arch_test(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None if name == "arch-test" else f"/usr/bin/{name}")
    bootstrap.ensure_mmdebstrap(report, tmp_path / "apt.log", install=False)
    with pytest.raises(SlipwayError, match="need arch-test") as caught:
        bootstrap.ensure_mmdebstrap(report, tmp_path / "apt.log", install=False, is_foreign=True)
    assert (
        "apt-get install --yes --no-install-recommends mmdebstrap debian-archive-keyring arch-test"
        in caught.value.remedy
    )


def test_missing_mmdebstrap_is_an_error_with_its_command_when_nothing_may_be_installed(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    with pytest.raises(SlipwayError) as caught:
        bootstrap.ensure_mmdebstrap(report, tmp_path / "apt.log", install=False)
    assert "apt-get install" in caught.value.remedy


def test_what_is_installed_is_said_first(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 0)

    def run(argv: Any, **more: Any) -> SimpleNamespace:
        assert "mmdebstrap" in report.said[0]
        return SimpleNamespace(code=0)

    monkeypatch.setattr(bootstrap, "run", run)
    bootstrap.ensure_mmdebstrap(report, tmp_path / "apt.log", install=True)


@pytest.mark.parametrize(("days", "made"), [(1, 0), (8, 1)])
def test_a_bootstrap_is_shared_by_the_machine_for_a_week(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch, days: int, made: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls: list[Path] = []
    monkeypatch.setattr(bootstrap, "ensure_mmdebstrap", lambda *args, **more: None)
    monkeypatch.setattr(bootstrap, "make_rootfs", lambda archive, *args: calls.append(archive))
    of = workspace(tmp_path, "hardened")
    archive = bootstrap.bootstrap_debian(of, report, install=True, fresh=False) / "rootfs.tar"
    calls.clear()
    archive.touch()
    then = time.time() - days * 24 * 3600
    os.utime(archive, (then, then))
    bootstrap.bootstrap_debian(of, report, install=True, fresh=False)
    assert len(calls) == made


def test_a_bootstrap_that_fails_leaves_nothing_and_shows_why(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: Any, **more: Any) -> ProcessResult:
        Path(argv[-1]).write_text("half", encoding="utf-8")
        return ProcessResult(1, "E: no mirror\n")

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap, "_apt_sources", tuple)
    with pytest.raises(SlipwayError) as caught:
        bootstrap.make_rootfs(tmp_path / "rootfs.tar", report, tmp_path / "log")
    assert "no mirror" in caught.value.detail
    assert list(tmp_path.iterdir()) == []
