"""Looks for a tool that is already on this machine: on PATH in an accepted version, or in the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from slipway.model.errors import SlipwayError
from slipway.model.files import MEGABYTE, write_atomically
from slipway.model.reading import read_memory
from slipway.run.process import run
from slipway.toolchain.data import Tool
from slipway.toolchain.paths import tools_path

# A version once read is kept: starting a Go program only to ask its version costs 0.1 s in every command.
VERSIONS = "versions.json"
READ_SECONDS = 20.0
# The second line of a script that stands for a tool and leads back to the tool found here: no tool itself.
WRAPPER = b"# Written by `invoke setup`"


class NotHad(Exception):
    """One way to a tool did not work; the text says why in one line."""


def cached(tool: Tool) -> Path:
    """Return the tool's binary in the cache. Raises NotHad when it is not there."""
    folder = tools_path() / tool.name / tool.version
    if not all(os.access(folder / name, os.X_OK) for name in tool.binaries):
        raise NotHad(f"cache: {tool.version} is not in {folder.parent}")
    return folder / tool.main


def on_path(tool: Tool) -> Path:
    """Return the first binary on PATH (or where its installers put it) in an accepted version.

    Raises:
        NotHad: there is none, or only older ones.
    """
    if not tool.read:
        return _by_folder(tool)
    reasons = []
    for path in _candidates(tool):
        version = version_of(tool, path)
        if version != tool.version and _ours(path):
            continue  # a link to what an earlier Slipway installed
        if version is None:
            reasons.append(f"{path} does not tell its version")
        elif _key(version) < _key(tool.accepts):
            reasons.append(f"{path} is {version}, at least {tool.accepts} is needed")
        else:
            return path
    raise NotHad(f"PATH: {'; '.join(reasons) or f'there is no {tool.main}'}")


def next_to(tool: Tool, other: Path) -> Path:
    """Return the tool's binary in the folder of another one. Raises NotHad when not all of it is there."""
    for folder in (other.parent, other.resolve().parent):
        if all(os.access(folder / name, os.X_OK) for name in tool.binaries):
            return folder / tool.main
    raise NotHad(f"PATH: there is no {tool.main} beside {other}")


def version_of(tool: Tool, path: Path) -> str | None:
    """Return the version that a binary says it has, as `1.2.3`; None when it says none."""
    real = path.resolve()
    if _ours(path):
        return real.parent.name
    about = real.stat()
    key = f"{real}:{about.st_mtime_ns}:{about.st_size}"
    known = _remembered()
    if key not in known and (version := _ask(tool, path)):
        known[key] = version
        _remember(known)
    return known.get(key)


def _ours(path: Path) -> bool:
    return path.resolve().is_relative_to(tools_path().resolve())


def _by_folder(tool: Tool) -> Path:
    for each in tool.also_in:
        folder = Path(each).expanduser()
        if tool.version in folder.name and os.access(folder / tool.main, os.X_OK):
            return folder / tool.main
    raise NotHad(f"PATH: {tool.main} does not tell its version, so none there is used")


def _candidates(tool: Tool) -> list[Path]:
    folders = [os.environ.get("PATH", os.defpath), *(str(Path(each).expanduser()) for each in tool.also_in)]
    found = [shutil.which(tool.main, path=each) for part in folders for each in part.split(os.pathsep)]
    here = [Path(each) for each in found if each and not _wrapper(Path(each))]
    if len(tool.binaries) > 1:
        here = [path for path in here if all((path.parent / name).exists() for name in tool.binaries)]
    return list(dict.fromkeys(here))


def _wrapper(path: Path) -> bool:
    with path.open("rb") as file:
        return WRAPPER in file.read(200)


def _ask(tool: Tool, path: Path) -> str | None:
    with suppress(SlipwayError):
        output = run([path, *tool.read], timeout=READ_SECONDS).output
        if found := re.search(r"\d+\.\d+\.\d+", output):
            return found.group()
    return None


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _remembered() -> dict[str, str]:
    known: dict[str, str] | None = read_memory(tools_path() / VERSIONS, dict[str, str], limit=MEGABYTE)
    return known or {}


def _remember(known: dict[str, str]) -> None:
    with suppress(OSError):  # only a shortcut: a folder that can't be written costs time, nothing else
        write_atomically(tools_path() / VERSIONS, json.dumps(known, indent=1))
