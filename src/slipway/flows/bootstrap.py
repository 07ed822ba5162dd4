"""Makes a minimal Debian to build bases from, where no public registry can be reached to pull one."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from slipway.commands import bases as commands
from slipway.commands.bake import SOURCE_DATE_EPOCH
from slipway.flows.report import Report
from slipway.model.errors import SlipwayError
from slipway.model.workspace import Workspace
from slipway.run.process import run
from slipway.toolchain import emulation
from slipway.toolchain.locking import alone
from slipway.toolchain.paths import tools_path

APT_SECONDS, BOOTSTRAP_SECONDS = 600.0, 1800.0
KEPT_SECONDS = 7 * 24 * 3600.0
PACKAGES = ("mmdebstrap", "debian-archive-keyring")
INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES)
_OTHERWISE = 'Where image registries can be reached, source = "official" under [bases] needs none of this.'


def bootstrap(workspace: Workspace, report: Report, *, install: bool, fresh: bool) -> Path:
    """Return the folder that holds rootfs.tar, or one for each platform by `commands.rootfs_of` where they are not just
    this machine's own; all workspaces on the machine share it for a week.

    Args:
        workspace: whose logs are written.
        report: told what happens.
        install: False when mmdebstrap may not be installed.
        fresh: make it again although it is there.

    Raises:
        SlipwayError: mmdebstrap is missing or failed; the log's last lines are in it.
    """
    archive = tools_path().with_name("bases") / commands.recipe() / "rootfs.tar"
    logs = workspace.scratch / "logs"
    with alone(archive.with_name(".lock"), lambda: report.say("Base images: another bootstrap runs, waiting.")):
        if not is_foreign(workspace):
            wanted = {archive: ""}
        else:
            own, platforms = emulation.native(), workspace.settings.build.platforms
            emulation.ensure([each for each in platforms if each != own], install=install, on_line=report.say)
            wanted = {archive.with_name(commands.rootfs_of(each)): each if each != own else "" for each in platforms}
        for left in archive.parent.glob("*.partial"):  # by a process that was killed: nobody else is here
            left.unlink(missing_ok=True)
        for file, platform in wanted.items():
            if fresh or not is_young(file):
                require_mmdebstrap(report, logs / "apt.log", install=install)
                make(file, report, logs / "mmdebstrap.log", platform)
    return archive.parent


def is_foreign(workspace: Workspace) -> bool:
    """Return whether bases are for other platforms than this machine's own, or for several."""
    return set(workspace.settings.build.platforms) != {emulation.native()}


def is_young(archive: Path) -> bool:
    """Return whether an archive is there and not so old that its packages have known holes."""
    return archive.is_file() and time.time() - archive.stat().st_mtime < KEPT_SECONDS


def require_mmdebstrap(report: Report, log: Path, *, install: bool) -> None:
    """Install mmdebstrap where it is missing and that is possible and allowed.

    Raises:
        SlipwayError: it is missing, with what to do.
    """
    if shutil.which("mmdebstrap"):
        return
    by_hand = " ".join(INSTALL)
    if not install or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SlipwayError(
            "hardened base images need mmdebstrap, which is not installed",
            remedy=f"On Debian or Ubuntu, as root: `{by_hand}`. {_OTHERWISE}",
        )
    report.say(f"Installing mmdebstrap, which makes the Debian that bases are built from: {by_hand}")
    for argv in (("apt-get", "update"), INSTALL):
        result = run(argv, env={"DEBIAN_FRONTEND": "noninteractive"}, log=log, timeout=APT_SECONDS)
    if result.code:
        raise SlipwayError(
            "mmdebstrap could not be installed",
            remedy=f"By hand: `{by_hand}`.",
            detail=result.tail(),
            log=log,
        )


def make(archive: Path, report: Report, log: Path, platform: str = "") -> None:
    """Make the archive, for this machine's own platform unless another is named; it is there whole or not at all.

    Raises:
        SlipwayError: mmdebstrap failed.
    """
    report.step(commands.BOOTSTRAP, "bootstrapping")
    partial = archive.with_name(f"{os.getpid()}.partial")
    try:
        result = run(
            commands.mmdebstrap(partial, _sources(), platform),
            env={"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH, "LC_ALL": "C.UTF-8"},
            log=log,
            on_line=lambda line: report.step(commands.BOOTSTRAP, "bootstrapping", line),
            timeout=BOOTSTRAP_SECONDS,
        )
        if result.code:
            raise SlipwayError(
                "mmdebstrap could not make a Debian to build base images from",
                remedy=f"See that apt's mirror answers (`apt-get update`), then try again. {_OTHERWISE}",
                detail=result.tail(),
                log=log,
            )
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    report.done(commands.BOOTSTRAP, "bootstrapped")


def _sources() -> tuple[str, ...]:
    """Return the package sources for bases: this machine's own mirrors."""
    if not shutil.which("apt-get"):
        return ()
    listed = run(commands.APT_SOURCES, timeout=APT_SECONDS)
    return commands.sources(listed.output) if listed.code == 0 else ()
