"""Hardened bases are built where nobody has built them before, all in one bake, and where Debian cannot be had, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.build.test_bases import DIGEST, RecordingReporter, context_of, workspace

from slipway._internal.build import bake_runner, bases, bootstrap
from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import registry
from slipway._internal.toolchain import builder


@pytest.fixture
def report() -> RecordingReporter:
    return RecordingReporter()


class Bake:
    """Stands for a registry that lacks bases until they are baked, and for the bake."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built: set[str] = set()
        self.definitions: list[Mapping[str, Any]] = []
        self.commands: list[list[str]] = []
        self.names: list[str] = []
        self.fails = False
        monkeypatch.setattr(registry, "resolve_digests", self.resolve)
        monkeypatch.setattr(bake_runner, "run_bake", self.run)
        monkeypatch.setattr(builder, "ensure_builder", lambda **_: None)
        monkeypatch.setattr(bases, "pull_obstacle", lambda _ref: "")

    def resolve(self, refs: Iterable[str], _workspace: Any) -> dict[str, str | None]:
        return {ref: DIGEST if ref in self.built else None for ref in refs}

    def run(self, _context: Any, names: list[str], _reporter: Any, create: Any) -> None:
        if self.fails:
            raise SlipwayError("apt failed", remedy="of another kind")
        definition, command = create({}, Path("/bin/buildx"), Path("/bake.json"))
        self.names += names
        self.definitions.append(definition)
        self.commands.append(command)
        for target in definition["target"].values():
            self.built.update(tag for tag in target.get("tags", ()))


def test_hardened_bases_that_nobody_has_built_are_built_in_one_bake(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    bake = Bake(monkeypatch)
    of = workspace(tmp_path, "hardened")
    names = bases.required_bases(of, bases.read_dockerfiles(of))
    tags = bases.hardened_tags(of, names)
    bases._build_missing(context_of(of), tags, report, install=True, fresh=False)
    assert sorted(bake.names) == names and len(bake.commands) == 1
    assert bake.commands[0][0] == "/bin/buildx"
    assert any(all(name in line for name in names) for line in report.said)
    bake.built.update(tags.values())
    bases._build_missing(context_of(of), tags, report, install=True, fresh=False)
    assert len(bake.commands) == 1, "they are there"
    bases._build_missing(context_of(of), tags, report, install=True, fresh=True)
    assert len(bake.commands) == 2, "they are built with today's packages"


def test_where_debian_cannot_be_pulled_a_root_file_system_is_made_for_it(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    bake = Bake(monkeypatch)
    of = workspace(tmp_path, "hardened")
    (tmp_path / "rootfs").mkdir()
    monkeypatch.setattr(bases, "pull_obstacle", lambda _ref: "no network")
    monkeypatch.setattr(bootstrap, "bootstrap_debian", lambda *_, **__: tmp_path / "rootfs")
    tags = bases.hardened_tags(of, bases.required_bases(of, bases.read_dockerfiles(of)))
    bases._build_missing(context_of(of), tags, report, install=True, fresh=False)
    assert bases.commands.BOOTSTRAP in bake.names
    assert str(tmp_path / "rootfs") in str(bake.definitions) + str(bake.commands)


def test_a_base_that_cannot_be_built_sends_the_user_to_bases_and_the_log(
    tmp_path: Path, report: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    bake = Bake(monkeypatch)
    bake.fails = True
    of = workspace(tmp_path, "hardened")
    with pytest.raises(SlipwayError, match="apt failed") as caught:
        bases._build_missing(context_of(of), bases.hardened_tags(of, ["nginx"]), report, install=True, fresh=False)
    assert "bases/" in caught.value.remedy


@pytest.mark.parametrize(
    ("answer", "obstacle"),
    [(DIGEST, ""), (None, "docker.io does not have"), (SlipwayError("no route to docker.io"), "no route to docker.io")],
)
def test_why_a_base_cannot_be_pulled_is_said(monkeypatch: pytest.MonkeyPatch, answer: Any, obstacle: str) -> None:
    class Shelf:
        def __init__(self, host: str) -> None:
            assert host == "docker.io"

        def resolve_digest(self, _repository: str, _reference: str) -> str | None:
            if isinstance(answer, SlipwayError):
                raise answer
            found: str | None = answer
            return found

    monkeypatch.setattr(registry, "Registry", Shelf)
    assert bases.pull_obstacle(f"docker.io/library/nginx@{DIGEST}").startswith(obstacle)
    assert bool(bases.pull_obstacle(f"docker.io/library/nginx@{DIGEST}")) is bool(obstacle)
