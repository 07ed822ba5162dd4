"""Makes a minimal Debian to build bases from, where no public registry can be reached to pull one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from slipway.commands import bases as commands
from slipway.commands.bake import SOURCE_DATE_EPOCH
from slipway.flows.report import Report
from slipway.model.errors import SlipwayError
from slipway.model.workspace import Workspace
from slipway.run.process import run

APT_SECONDS, BOOTSTRAP_SECONDS = 600.0, 1800.0
PACKAGES = ("mmdebstrap", "debian-archive-keyring")
INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES)
_OTHERWISE = 'Where image registries can be reached, source = "official" under [bases] needs none of this.'


def bootstrap(workspace: Workspace, report: Report, *, install: bool, fresh: bool) -> Path:
    """Return the folder that holds rootfs.tar, made once for each way to make it.

    Args:
        workspace: where it is kept (in .slipway/).
        report: told what happens.
        install: False when mmdebstrap may not be installed.
        fresh: make it again although it is there.

    Raises:
        SlipwayError: mmdebstrap is missing or failed; the log's last lines are in it.
    """
    archive = workspace.scratch / "bases" / commands.recipe() / "rootfs.tar"
    if archive.is_file() and not fresh:
        return archive.parent
    logs = workspace.scratch / "logs"
    require_mmdebstrap(report, logs / "apt.log", install=install)
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(f"{os.getpid()}.partial")
    try:
        _mmdebstrap(partial, report, logs / "mmdebstrap.log")
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    report.done(commands.BOOTSTRAP, "bootstrapped")
    return archive.parent


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


def _mmdebstrap(output: Path, report: Report, log: Path) -> None:
    report.step(commands.BOOTSTRAP, "bootstrapping")
    result = run(
        commands.mmdebstrap(output, _sources()),
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


def _sources() -> tuple[str, ...]:
    """Return the package sources for bases: this machine's own mirrors."""
    if not shutil.which("apt-get"):
        return ()
    listed = run(commands.APT_SOURCES, timeout=APT_SECONDS)
    return commands.sources(listed.output) if listed.code == 0 else ()
