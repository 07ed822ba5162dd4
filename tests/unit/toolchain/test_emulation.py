"""Emulation: what the kernel knows is read from its files, and what cannot be done is said with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import ProcessResult
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


class Machine:
    """A machine of root's with apt, whose package brings the rule; what was run on it."""

    def __init__(self, kernel: Path, rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[str] = []
        self.failures: dict[str, int] = {}
        self.kernel, self.rules = kernel, rules
        self.registers = False
        monkeypatch.setattr(emulation.os, "geteuid", lambda: 0)
        monkeypatch.setattr(emulation.machine, "system", lambda: "Linux")
        monkeypatch.setattr(emulation, "RULES_FOLDER", rules)
        monkeypatch.setattr(emulation.shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(emulation, "run", self.run)

    def run(self, command: list[str | Path], **_: object) -> ProcessResult:
        text = " ".join(map(str, command))
        self.commands.append(text)
        for words, left in self.failures.items():
            if words in text and left:
                self.failures[words] -= 1
                return ProcessResult(1, "E: no mirror")
        if command[0] == "mount":
            (self.kernel / "register").touch()
        elif "install" in command:
            (self.rules / "qemu-aarch64.conf").write_text(f"{RULE}OC\n")
            if self.registers:
                (self.kernel / "qemu-aarch64").write_text("enabled\nflags: F\n")
        return ProcessResult(0, "")


@pytest.fixture
def fresh(kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "rules").mkdir()
    return Machine(kernel, tmp_path / "rules", monkeypatch)


def test_a_machine_without_qemu_gets_the_package_and_the_rule(fresh: Machine) -> None:
    emulation.ensure_emulation(["linux/arm64"])
    assert [command.split()[0] for command in fresh.commands] == ["mount", "apt-get"]
    assert emulation.PACKAGE in fresh.commands[1]
    assert (fresh.kernel / "register").read_text() == f"{RULE}OCF"


def test_where_the_package_registers_its_rule_itself_nothing_is_registered_twice(fresh: Machine) -> None:
    fresh.registers = True
    emulation.ensure_emulation(["linux/arm64"])
    assert (fresh.kernel / "register").read_text() == ""


def test_an_outdated_list_of_packages_is_renewed_once(fresh: Machine) -> None:
    fresh.failures = {"install": 1}
    emulation.ensure_emulation(["linux/arm64"])
    assert [command.split()[1] for command in fresh.commands[1:]] == ["install", "update", "install"]


@pytest.mark.parametrize(("failures", "said"), [({"mount": 1}, "privileged"), ({"install": 2}, "[build.builders]")])
def test_what_the_machine_refuses_is_told_with_the_other_way(
    fresh: Machine, failures: dict[str, int], said: str
) -> None:
    fresh.failures = failures
    with pytest.raises(SlipwayError) as refused:
        emulation.ensure_emulation(["linux/arm64"])
    assert said in refused.value.remedy and refused.value.detail == "E: no mirror"


def test_a_machine_without_apt_is_told_the_other_ways(fresh: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulation.shutil, "which", lambda _name: None)
    with pytest.raises(SlipwayError, match="linux/arm64") as refused:
        emulation.ensure_emulation(["linux/arm64"])
    assert "tonistiigi/binfmt" in refused.value.remedy


def test_a_kernel_that_does_not_take_the_rule_says_why(fresh: Machine) -> None:
    (fresh.rules / "qemu-aarch64.conf").write_text(RULE)
    (fresh.kernel / "register").mkdir()
    with pytest.raises(SlipwayError, match="does not take QEMU for linux/arm64"):
        emulation.ensure_emulation(["linux/arm64"])
