"""Looks for a tool that is already on this machine: on PATH in an accepted version, or in the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import MEGABYTE, write_atomically
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.run.process import run
from slipway._internal.toolchain.paths import tools_path
from slipway._internal.toolchain.tool_catalog import Tool

# A version once read is kept: starting a Go program only to ask its version costs 0.1 s in every command.
VERSIONS_FILE = "versions.json"
VERSION_SECONDS = 20.0
# The second line of a script that stands for a tool and leads back to the tool found here: no tool itself.
WRAPPER_MARK = b"# Written by `invoke setup`"


class ToolUnavailable(Exception):
    """One way to a tool did not work; the text says why in one line."""


def find_cached(tool: Tool) -> Path:
    """Return the tool's binary in the cache. Raises ToolUnavailable when it is not there."""
    folder = tools_path() / tool.name / tool.version
    if not all(os.access(folder / name, os.X_OK) for name in tool.binaries):
        raise ToolUnavailable(f"cache: {tool.version} is not in {folder.parent}")
    return folder / tool.main


def find_on_path(tool: Tool) -> Path:
    """Return the first binary on PATH (or where its installers put it) in an accepted version.

    Raises:
        ToolUnavailable: there is none, or only older ones.
    """
    if not tool.read:
        return _find_by_folder(tool)
    reasons = []
    for path in _path_candidates(tool):
        version = read_version(tool, path)
        if version != tool.version and _is_own(path):
            continue  # a link to what an earlier Slipway installed
        if version is None:
            reasons.append(f"{path} does not report its version")
        elif not is_accepted(tool, version):
            reasons.append(f"{path} is {version}, at least {tool.accepts} is needed")
        else:
            return path
    raise ToolUnavailable(f"PATH: {'; '.join(reasons) or f'there is no {tool.main}'}")


def find_beside(tool: Tool, other: Path) -> Path:
    """Return the tool's binary in the folder of another one. Raises ToolUnavailable when not all of it is there."""
    for folder in (other.parent, other.resolve().parent):
        if all(os.access(folder / name, os.X_OK) for name in tool.binaries):
            return folder / tool.main
    raise ToolUnavailable(f"PATH: there is no {tool.main} beside {other}")


def is_accepted(tool: Tool, version: str) -> bool:
    """Return whether a version, such as `v1.2.3`, is good enough; 0.0.0 is a program that does not know its own."""
    return not any(_version_key(version)) or _version_key(version) >= _version_key(tool.accepts)


def read_version(tool: Tool, path: Path) -> str | None:
    """Return the version that a binary says it has, as `1.2.3`; None when it says none."""
    resolved = path.resolve()
    if _is_own(path):
        return resolved.parent.name
    file_status = resolved.stat()
    key = f"{resolved}:{file_status.st_mtime_ns}:{file_status.st_size}"
    versions = _load_versions()
    if key not in versions and (version := _run_version(tool, path)):
        versions[key] = version
        _save_versions(versions)
    return versions.get(key)


def _is_own(path: Path) -> bool:
    return path.resolve().is_relative_to(tools_path().resolve())


def _find_by_folder(tool: Tool) -> Path:
    for location in tool.also_in:
        folder = Path(location).expanduser()
        if tool.version in folder.name and os.access(folder / tool.main, os.X_OK):
            return folder / tool.main
    raise ToolUnavailable(f"PATH: {tool.main} does not report its version, so none there is used")


def _path_candidates(tool: Tool) -> list[Path]:
    folders = [os.environ.get("PATH", os.defpath), *(str(Path(folder).expanduser()) for folder in tool.also_in)]
    found = [
        shutil.which(tool.main, path=folder) for search_path in folders for folder in search_path.split(os.pathsep)
    ]
    candidates = [Path(folder) for folder in found if folder and not _is_wrapper(Path(folder))]
    if len(tool.binaries) > 1:
        candidates = [path for path in candidates if all((path.parent / name).exists() for name in tool.binaries)]
    return list(dict.fromkeys(candidates))


def _is_wrapper(path: Path) -> bool:
    with path.open("rb") as file:
        return WRAPPER_MARK in file.read(200)


def _run_version(tool: Tool, path: Path) -> str | None:
    with suppress(SlipwayError):
        output = run([path, *tool.read], timeout=VERSION_SECONDS).output
        if found := re.search(r"\d+\.\d+\.\d+", output):
            return found.group()
    return None


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _load_versions() -> dict[str, str]:
    versions: dict[str, str] | None = read_json_or_none(tools_path() / VERSIONS_FILE, dict[str, str], limit=MEGABYTE)
    return versions or {}


def _save_versions(versions: dict[str, str]) -> None:
    with suppress(OSError):  # only a shortcut: a folder that can't be written costs time, nothing else
        write_atomically(tools_path() / VERSIONS_FILE, json.dumps(versions, indent=1))
