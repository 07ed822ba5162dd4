"""Other processors' programs on this machine: QEMU's user emulation, which the kernel calls by itself (binfmt_misc).

BuildKit needs nothing more: it finds out by running a program of each kind. The emulator is opened when it is
registered, so it works in a build's root, where its file is not.
"""

from __future__ import annotations

import os
import platform as machine
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import run

BINFMT_FOLDER = Path("/proc/sys/fs/binfmt_misc")
RULES_FOLDER = Path("/usr/lib/binfmt.d")
PACKAGE = "qemu-user-static"
APT_SECONDS, MOUNT_SECONDS = 600.0, 20.0
OPEN_FLAG = "F"
"""The flag of a rule by which the kernel opens the emulator once, and not by its path in each root."""

# What containers and QEMU call a processor; machine.machine() has a third word for some.
QEMU_NAMES = {
    "386": "i386",
    "amd64": "x86_64",
    "arm": "arm",
    "arm64": "aarch64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}

OnLine = Callable[[str], None]


def native_platform() -> str:
    """Return this machine's own platform, as containers call it."""
    word = machine.machine().lower()
    return f"linux/{next((name for name, theirs in QEMU_NAMES.items() if theirs == word), word)}"


def ensure_emulation(platforms: Iterable[str], *, install: bool = True, on_line: OnLine | None = None) -> None:
    """Have programs of these platforms run on this machine, for root on Debian and Ubuntu; what is so already stays.

    Args:
        platforms: such as `linux/arm64`.
        install: False when nothing may be installed or registered.
        on_line: told what is done, before it is.

    Raises:
        SlipwayError: the kernel does not allow it, or there is no emulator to be had; with what to do by hand.
    """
    tell = on_line or (lambda _line: None)
    for platform in platforms:
        name = QEMU_NAMES.get(platform.split("/")[1])
        if name is None:
            raise SlipwayError(f"nothing here can run programs of {platform}", remedy=manual_remedy(platform))
        if is_registered(name):
            continue
        if not install or os.geteuid() != 0 or machine.system() != "Linux":
            raise SlipwayError(f"this machine cannot run programs of {platform}", remedy=manual_remedy(platform))
        _mount_binfmt(platform)
        if is_registered(name):
            continue
        rule = RULES_FOLDER / f"qemu-{name}.conf"
        if not rule.is_file():
            _install_qemu(platform, tell)
        if not is_registered(name):
            tell(f"emulation: {platform} is run by QEMU from now on, on this machine, until it is restarted")
            _register_rule(platform, rule)


def is_registered(name: str) -> bool:
    """Return whether the kernel hands programs of a processor, by QEMU's word for it, to an emulator in any root."""
    try:
        status_lines = (BINFMT_FOLDER / f"qemu-{name}").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    flags = next((line for line in status_lines if line.startswith("flags:")), "")
    return "enabled" in status_lines and OPEN_FLAG in flags


def manual_remedy(platform: str) -> str:
    """Return what makes a platform buildable where this cannot do it."""
    architecture = platform.split("/")[1]
    return (
        f'Name a machine of that kind in workspace.toml: [build.builders] "{platform}" = "ssh://user@host". Or let '
        f"this one emulate it: as root, `apt-get install {PACKAGE}` on Debian and Ubuntu, elsewhere "
        f"`docker run --privileged --rm tonistiigi/binfmt --install {architecture}`."
    )


def add_open_flag(rule: str) -> str:
    """Return a rule whose emulator the kernel opens once: `:name:type:offset:magic:mask:interpreter:flags`."""
    rule = next((line.strip() for line in rule.splitlines() if line.startswith(":")), "")
    head, colon, flags = rule.rpartition(":")
    return f"{head}{colon}{flags}" if OPEN_FLAG in flags else f"{head}{colon}{flags}{OPEN_FLAG}"


def _mount_binfmt(platform: str) -> None:
    if (BINFMT_FOLDER / "register").exists():
        return
    result = run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT_FOLDER], timeout=MOUNT_SECONDS)
    if result.code:
        raise SlipwayError(
            f"{platform} cannot be emulated here: the kernel accepts no further binary formats (binfmt_misc)",
            remedy="In a container it needs to be privileged. "
            f'Or name a machine that is {platform}: [build.builders] "{platform}" = "ssh://user@host".',
            detail=result.tail(),
        )


def _install_qemu(platform: str, tell: OnLine) -> None:
    if not shutil.which("apt-get"):
        raise SlipwayError(f"this machine cannot run programs of {platform}", remedy=manual_remedy(platform))
    install_command = ["apt-get", "install", "--yes", "--no-install-recommends", PACKAGE]
    tell(f"emulation: {platform} needs QEMU: {' '.join(install_command)}")
    apt_environment = {"DEBIAN_FRONTEND": "noninteractive"}
    result = run(install_command, env=apt_environment, timeout=APT_SECONDS)
    if result.code:
        run(["apt-get", "update"], env=apt_environment, timeout=APT_SECONDS)
        result = run(install_command, env=apt_environment, timeout=APT_SECONDS)
    if result.code:
        raise SlipwayError(f"{PACKAGE} could not be installed", remedy=manual_remedy(platform), detail=result.tail())


def _register_rule(platform: str, rule: Path) -> None:
    try:
        (BINFMT_FOLDER / "register").write_text(add_open_flag(rule.read_text(encoding="ascii")), encoding="ascii")
    except OSError as error:
        raise SlipwayError(
            f"the kernel does not take QEMU for {platform}: {error.strerror}", remedy=manual_remedy(platform)
        ) from error
