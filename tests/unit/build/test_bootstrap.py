"""The Debian that bases are built from: made once a week, whole or not at all, and never installed unasked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build import bootstrap
from slipway._internal.commands import base_images
from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace, load_workspace
from slipway._internal.run.process import ProcessResult

NATIVE = "linux/amd64"


class Programs:
    """What was run, and how each program ends; mmdebstrap writes the archive that it is asked for."""

    def __init__(self) -> None:
        self.ran: list[Sequence[str]] = []
        self.there = {"mmdebstrap", "apt-get"}
        self.codes: dict[str, int] = {}

    def run(self, argv: Sequence[str], **_: Any) -> ProcessResult:
        argv = [str(word) for word in argv]
        self.ran.append(argv)
        name = Path(argv[0]).name
        if name == "mmdebstrap":
            next(Path(word) for word in argv if word.endswith(".partial")).write_bytes(b"rootfs")
        return ProcessResult(self.codes.get(name, 0), f"{name} says so\n", "")

    def names(self) -> list[str]:
        return [Path(argv[0]).name for argv in self.ran if "indextargets" not in argv]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    found = Programs()
    monkeypatch.setattr(bootstrap, "run", found.run)
    monkeypatch.setattr(bootstrap, "_apt_sources", lambda: ())
    monkeypatch.setattr(bootstrap, "tools_path", lambda: tmp_path / "cache" / "tools")
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/usr/bin/{name}" if name in found.there else None)
    monkeypatch.setattr(bootstrap.emulation, "native_platform", lambda: NATIVE)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 0)
    return found


def workspace(root: Path, platforms: str = f'["{NATIVE}"]') -> Workspace:
    root.joinpath("workspace.toml").write_text(
        f'name = "shop"\nregistry = "127.0.0.1:5000"\n[build]\nplatforms = {platforms}\n'
    )
    return load_workspace(root)


def bootstrapped(root: Path, *, install: bool = True, fresh: bool = False, platforms: str = f'["{NATIVE}"]') -> Path:
    return bootstrap.bootstrap_debian(workspace(root, platforms), NullReporter(), install=install, fresh=fresh)


def test_it_is_made_once_and_anew_when_asked_or_a_week_old(programs: Programs, tmp_path: Path) -> None:
    archive = bootstrapped(tmp_path) / "rootfs.tar"
    assert archive.read_bytes() == b"rootfs" and programs.names() == ["mmdebstrap"]
    bootstrapped(tmp_path)
    assert programs.names() == ["mmdebstrap"]
    bootstrapped(tmp_path, fresh=True)
    assert programs.names() == ["mmdebstrap"] * 2
    old = time.time() - bootstrap.MAX_AGE_SECONDS - 1
    os.utime(archive, (old, old))
    bootstrapped(tmp_path)
    assert programs.names() == ["mmdebstrap"] * 3


def test_one_that_fails_leaves_the_old_archive_and_no_part(programs: Programs, tmp_path: Path) -> None:
    folder = bootstrapped(tmp_path)
    (folder / "rootfs.tar").write_bytes(b"the old one")
    (folder / "123.partial").write_bytes(b"of one that was killed")
    programs.codes["mmdebstrap"] = 1
    with pytest.raises(SlipwayError, match="could not make a Debian") as failed:
        bootstrapped(tmp_path, fresh=True)
    assert "mmdebstrap says so" in failed.value.detail and failed.value.log
    assert (folder / "rootfs.tar").read_bytes() == b"the old one"
    assert [*folder.glob("*.partial")] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda _programs, patch: patch.setattr(bootstrap.os, "geteuid", lambda: 1000),
        lambda programs, _patch: programs.there.discard("apt-get"),
        None,
    ],
    ids=["not root", "no apt", "not allowed"],
)
def test_a_missing_mmdebstrap_is_named_with_the_command_where_it_cannot_be_installed(
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Programs, pytest.MonkeyPatch], object] | None,
) -> None:
    programs.there.discard("mmdebstrap")
    if change:
        change(programs, monkeypatch)
    with pytest.raises(SlipwayError, match="which is not installed") as refused:
        bootstrapped(tmp_path, install=change is not None)
    assert "apt-get install --yes" in refused.value.remedy and 'source = "official"' in refused.value.remedy
    assert programs.ran == []


def test_a_missing_mmdebstrap_is_installed_first(programs: Programs, tmp_path: Path) -> None:
    programs.there.discard("mmdebstrap")
    bootstrapped(tmp_path)
    assert programs.names() == ["apt-get", "apt-get", "mmdebstrap"]
    assert tuple(programs.ran[1]) == bootstrap.INSTALL_COMMAND
    programs.codes["apt-get"] = 100
    with pytest.raises(SlipwayError, match="mmdebstrap could not be installed") as failed:
        bootstrapped(tmp_path, fresh=True)
    assert "apt-get says so" in failed.value.detail


def test_each_other_platform_has_an_archive_of_its_own_and_emulation_first(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated: list[list[str]] = []
    monkeypatch.setattr(bootstrap.emulation, "ensure_emulation", lambda names, **_: emulated.append(names))
    folder = bootstrapped(tmp_path, platforms='["linux/amd64", "linux/arm64"]')
    assert emulated == [["linux/arm64"]]
    assert {path.name for path in folder.glob("*.tar")} == {
        base_images.rootfs_name(platform) for platform in (NATIVE, "linux/arm64")
    }
    assert programs.names() == ["mmdebstrap", "apt-get", "apt-get", "mmdebstrap"], "arch-test is for the other one"
    made = [argv for argv in programs.ran if "mmdebstrap" in argv[0]]
    assert ["arm64" in " ".join(argv) for argv in made] == [False, True], "only the other one is named"


def test_apts_own_sources_are_taken_and_without_apt_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _name: None)
    assert bootstrap._apt_sources() == ()
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: name)
    for code, expected in ((0, True), (1, False)):
        monkeypatch.setattr(bootstrap, "run", lambda *_a, code=code, **_k: ProcessResult(code, "said", ""))
        monkeypatch.setattr(base_images, "parse_apt_sources", lambda said: (said,))
        assert bootstrap._apt_sources() == (("said",) if expected else ())
