"""Pulumi's plugin for Kubernetes: Pulumi's own download where that can be had, else built from its Go module."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import run
from slipway._internal.toolchain.install import PINNED_ONLY_VARIABLE, find_installed_tool, link_tools
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.paths import tools_path

PLUGIN = "pulumi-resource-kubernetes"
DOWNLOAD_SECONDS = 1800.0

OnLine = Callable[[str], None]


def ensure_kubernetes_plugin(folder: Path, home: Path, *, install: bool, on_line: OnLine) -> None:
    """See that Pulumi finds its plugin, getting it where it is missing; each way that fails says why.

    The order is: Pulumi's own folder of plugins, PATH, the tools' cache, Pulumi's download, the tool of tools.toml.

    Args:
        folder: the tools of a workspace, which stand first on Pulumi's PATH; `pulumi` is there. A link to the plugin
            is put there only where Pulumi would find none itself, as it prefers what is on PATH.
        home: Pulumi's home, which has its plugins.
        install: False to only look.
        on_line: told what happens, a line at a time.

    Raises:
        SlipwayError: no way worked.
    """
    if not os.environ.get(PINNED_ONLY_VARIABLE):
        if is_downloaded(home) or shutil.which(PLUGIN):
            _remove_own_link(folder / PLUGIN)
            return
        if install and not find_installed_tool(PLUGIN):
            try:
                download(folder / "pulumi", home, on_line)
            except ToolUnavailable as error:
                on_line(f"{PLUGIN}: {error}")
            else:
                return
    link_tools(folder, [PLUGIN], install=install, on_line=on_line)


def plugin_folder(home: Path) -> Path:
    """Return where Pulumi keeps the plugin of the version that the installed SDK asks for."""
    return home / "plugins" / f"resource-kubernetes-v{version('pulumi-kubernetes')}"


def is_downloaded(home: Path) -> bool:
    """Return whether Pulumi has the whole plugin; one that it was still unpacking has a mark beside it."""
    found = plugin_folder(home)
    return os.access(found / PLUGIN, os.X_OK) and not found.with_name(f"{found.name}.partial").exists()


def download(pulumi: Path, home: Path, on_line: OnLine) -> None:
    """Let Pulumi download the plugin into its home, as it would by itself in the middle of a deploy.

    Raises:
        ToolUnavailable: it could not.
    """
    wanted = version("pulumi-kubernetes")
    home.mkdir(parents=True, exist_ok=True)
    on_line(f"{PLUGIN}: Pulumi downloads {wanted}")
    try:
        done = run(
            [pulumi, "plugin", "install", "resource", "kubernetes", wanted, "--color", "never"],
            cwd=home,
            env={"PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
            timeout=DOWNLOAD_SECONDS,
        )
    except SlipwayError as error:
        raise ToolUnavailable(f"Pulumi's download: {error.message}") from error
    if done.code or not is_downloaded(home):
        raise ToolUnavailable(f"Pulumi's download: {done.tail(1)}")


def _remove_own_link(link: Path) -> None:
    if link.is_symlink() and link.resolve().is_relative_to(tools_path().resolve()):
        link.unlink()
