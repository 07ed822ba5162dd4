"""Emulation: what the kernel knows is read from its files, and what cannot be done is said with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import emulation

RULE = ":qemu-aarch64:M::\\x7fELF:\\xff\\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:"


@pytest.fixture(autouse=True)
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(emulation, "BINFMT_FOLDER", tmp_path)
    return tmp_path


def test_this_machines_own_platform_is_called_as_containers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, platform in (("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("ARM64", "linux/arm64")):
        monkeypatch.setattr(emulation.machine, "machine", lambda word=word: word)
        assert emulation.native_platform() == platform


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("enabled\ninterpreter /q\nflags: POF\n", True),
        ("enabled\ninterpreter /q\nflags: OC\n", False),
        ("disabled\ninterpreter /q\nflags: F\n", False),
        (None, False),
    ],
)
def test_only_an_emulator_that_works_in_any_root_counts(kernel: Path, text: str | None, does: bool) -> None:
    if text:
        (kernel / "qemu-aarch64").write_text(text)
    assert emulation.is_registered("aarch64") is does


def test_what_the_kernel_has_is_not_registered_again(kernel: Path) -> None:
    (kernel / "qemu-aarch64").write_text("enabled\nflags: F\n")
    emulation.ensure_emulation(["linux/arm64"], install=False)
    assert [path.name for path in kernel.iterdir()] == ["qemu-aarch64"]


def test_a_rule_of_the_package_is_registered_as_it_is_with_its_emulator_opened(
    kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation.os, "geteuid", lambda: 0)
    monkeypatch.setattr(emulation, "RULES_FOLDER", tmp_path)
    (tmp_path / "qemu-aarch64.conf").write_text(f"# from the package\n{RULE}OC\n")
    (kernel / "register").touch()
    lines: list[str] = []
    emulation.ensure_emulation(["linux/arm64"], on_line=lines.append)
    assert (kernel / "register").read_text() == f"{RULE}OCF"
    assert lines and "linux/arm64" in lines[0]


def test_a_rule_that_opens_its_emulator_stays_as_it_is() -> None:
    assert emulation.add_open_flag(f"{RULE}POF") == f"{RULE}POF"


@pytest.mark.parametrize(("platform", "install"), [("linux/sparc9", True), ("linux/arm64", False)])
def test_what_cannot_be_emulated_is_refused_with_the_ways_out(platform: str, install: bool) -> None:
    with pytest.raises(SlipwayError) as refused:
        emulation.ensure_emulation([platform], install=install)
    assert platform in refused.value.message
    assert "[build.builders]" in str(refused.value.remedy)
