"""Makes a minimal Debian to build bases from, where no public registry can be reached to pull one."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from slipway._internal.commands import base_images as commands
from slipway._internal.commands.bake import SOURCE_DATE_EPOCH
from slipway._internal.context.reporter import Reporter
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.process import run
from slipway._internal.toolchain import emulation
from slipway._internal.toolchain.locking import file_lock
from slipway._internal.toolchain.paths import tools_path

APT_SECONDS, BOOTSTRAP_SECONDS = 600.0, 1800.0
MAX_AGE_SECONDS = 7 * 24 * 3600.0
PACKAGES = ("mmdebstrap", "debian-archive-keyring", "arch-test")
INSTALL_COMMAND = ("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES)
_OFFICIAL_HINT = 'Where image registries can be reached, source = "official" under [bases] needs none of this.'


def bootstrap_debian(workspace: Workspace, reporter: Reporter, *, install: bool, fresh: bool) -> Path:
    """Return the folder that holds rootfs.tar, which all workspaces on the machine share for a week.

    Where the platforms are not just this machine's own, it holds one for each, by `commands.rootfs_name`.

    Args:
        workspace: whose logs are written.
        reporter: told what happens.
        install: False when mmdebstrap may not be installed.
        fresh: make it again although it is there.

    Raises:
        SlipwayError: mmdebstrap is missing or failed; the log's last lines are in it.
    """
    archive = tools_path().with_name("bases") / commands.recipe_digest() / "rootfs.tar"
    logs = workspace.scratch / "logs"
    with file_lock(archive.with_name(".lock"), lambda: reporter.say("Base images: another bootstrap runs, waiting.")):
        if not is_cross_platform(workspace):
            archives = {archive: ""}
        else:
            native, platforms = emulation.native_platform(), workspace.settings.build.platforms
            emulation.ensure_emulation(
                [platform for platform in platforms if platform != native], install=install, on_line=reporter.say
            )
            archives = {
                archive.with_name(commands.rootfs_name(platform)): platform if platform != native else ""
                for platform in platforms
            }
        for leftover in archive.parent.glob("*.partial"):  # by a process that was killed: nobody else is here
            leftover.unlink(missing_ok=True)
        for file, platform in archives.items():
            if fresh or not is_recent(file):
                ensure_mmdebstrap(reporter, logs / "apt.log", install=install, is_foreign=bool(platform))
                make_rootfs(file, reporter, logs / "mmdebstrap.log", platform)
    return archive.parent


def is_cross_platform(workspace: Workspace) -> bool:
    """Return whether bases are for other platforms than this machine's own, or for several."""
    return set(workspace.settings.build.platforms) != {emulation.native_platform()}


def is_recent(archive: Path) -> bool:
    """Return whether an archive is there and not so old that its packages have known holes."""
    return archive.is_file() and time.time() - archive.stat().st_mtime < MAX_AGE_SECONDS


def ensure_mmdebstrap(reporter: Reporter, log: Path, *, install: bool, is_foreign: bool = False) -> None:
    """Install mmdebstrap where it is missing and that is possible and allowed.

    Args:
        reporter: told what is installed.
        log: gets what apt prints.
        install: False when it may not be installed.
        is_foreign: whether it is for another platform than this machine's: then it needs `arch-test`.

    Raises:
        SlipwayError: it is missing, with what to do.
    """
    missing = [name for name in ("mmdebstrap", *(("arch-test",) if is_foreign else ())) if not shutil.which(name)]
    if not missing:
        return
    by_hand = " ".join(INSTALL_COMMAND)
    if not install or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SlipwayError(
            f"hardened base images need {missing[0]}, which is not installed",
            remedy=f"On Debian or Ubuntu, as root: `{by_hand}`. {_OFFICIAL_HINT}",
        )
    reporter.say(f"Installing {missing[0]}, which makes the Debian that bases are built from: {by_hand}")
    for argv in (("apt-get", "update"), INSTALL_COMMAND):
        result = run(argv, env={"DEBIAN_FRONTEND": "noninteractive"}, log=log, timeout=APT_SECONDS)
    if result.code:
        raise SlipwayError(
            f"{missing[0]} could not be installed",
            remedy=f"By hand: `{by_hand}`.",
            detail=result.tail(),
            log=log,
        )


def make_rootfs(archive: Path, reporter: Reporter, log: Path, platform: str = "") -> None:
    """Make the archive, for this machine's own platform unless another is named; it is there whole or not at all.

    Raises:
        SlipwayError: mmdebstrap failed.
    """
    reporter.step(commands.BOOTSTRAP, "bootstrapping")
    partial = archive.with_name(f"{os.getpid()}.partial")
    try:
        result = run(
            commands.mmdebstrap_argv(partial, _apt_sources(), platform),
            env={"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH, "LC_ALL": "C.UTF-8"},
            log=log,
            on_line=lambda line: reporter.step(commands.BOOTSTRAP, "bootstrapping", line),
            timeout=BOOTSTRAP_SECONDS,
        )
        if result.code:
            raise SlipwayError(
                "mmdebstrap could not make a Debian to build base images from",
                remedy=f"Check that apt's mirror answers (`apt-get update`), then try again. {_OFFICIAL_HINT}",
                detail=result.tail(),
                log=log,
            )
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    reporter.done(commands.BOOTSTRAP, "bootstrapped")


def _apt_sources() -> tuple[str, ...]:
    """Return the package sources for bases: this machine's own mirrors."""
    if not shutil.which("apt-get"):
        return ()
    result = run(commands.LIST_APT_SOURCES, timeout=APT_SECONDS)
    return commands.parse_apt_sources(result.output) if result.code == 0 else ()
