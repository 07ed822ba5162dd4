"""tools.toml, read and frozen: which version of each tool, and the ways to it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.package_data import package_path

TOOLS_FILE = package_path("_internal", "toolchain", "tools.toml")
FRONTEND_TOOL = "dockerfile-frontend"
"""The tool that is not in the file: Dockerfiles say which versions of it are needed (`dockerfile_frontend`)."""


@dataclass(frozen=True)
class VendorRelease:
    """An asset of a GitHub release, and the files to take out of it; or, with `base`, a file for each binary.

    `sha256` has the digest of each asset that may be taken, and `sha256_of` the version that these digests are of.
    """

    repo: str = ""
    tag: str = ""
    asset: str = ""
    base: str = ""
    arch: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    checksums: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    sha256_of: str = ""


@dataclass(frozen=True)
class GoModule:
    """What `go build` needs to make the tool's binaries."""

    go: str
    requires: tuple[str, ...]
    packages: Mapping[str, str]
    ldflags: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    sum: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    replace: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    program: str = ""
    source: str = ""
    architectures: tuple[str, ...] = ()
    embed: Mapping[str, str] = field(default_factory=dict)
    tags: str = ""


@dataclass(frozen=True)
class Tool:
    """One program: its pinned version, what is accepted instead, and the ways to get it."""

    name: str
    version: str
    binaries: tuple[str, ...]
    accepts: str = ""
    read: tuple[str, ...] = ()
    beside: str = ""
    also_in: tuple[str, ...] = ()
    later: str = ""
    part_of: str = ""
    release: VendorRelease | None = None
    go: GoModule | None = None

    @property
    def main(self) -> str:
        """The binary that the tool is known by."""
        return self.binaries[0]


@cache
def load_tools() -> Mapping[str, Tool]:
    """Return every tool of tools.toml by its name."""
    return parse_tools(tomllib.loads(TOOLS_FILE.read_text(encoding="utf-8")))


def find_tool(name: str) -> Tool:
    """Return one tool by its own name or by one of its binaries' (`buildctl` belongs to `buildkit`).

    Raises:
        ConfigError: there is no such tool.
    """
    known = load_tools()
    if name in known:
        return known[name]
    for candidate in known.values():
        if name in candidate.binaries:
            return candidate
    raise ConfigError(f"there is no tool named {name!r}", remedy=f"Known tools: {', '.join(sorted(known))}.")


def parse_tools(document: Mapping[str, Any]) -> dict[str, Tool]:
    """Freeze a parsed tools.toml, filling {version} in; an unknown key is an error that names it."""
    parsed = {}
    for name, table in document.items():
        settings = dict(table)
        version = settings["version"]
        release, go = settings.pop("release", None), settings.pop("go", None)
        parsed[name] = Tool(
            name=name,
            **_fill_table(Tool, settings, version, name),
            release=VendorRelease(**_fill_table(VendorRelease, release, version, f"{name}.release"))
            if release
            else None,
            go=GoModule(**_fill_table(GoModule, go, version, f"{name}.go")) if go else None,
        )
    return parsed


def _fill_table(kind: type, table: Mapping[str, Any], version: str, table_name: str) -> dict[str, Any]:
    known = {known_field.name for known_field in fields(kind)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ConfigError(f"tools.toml: [{table_name}] has an unknown key {unknown[0]!r}")
    return {key: _fill_version(value, version) for key, value in table.items()}


def _fill_version(value: Any, version: str) -> Any:
    if isinstance(value, str):
        return value.replace("{version}", version)
    if isinstance(value, dict):
        return {key: _fill_version(item, version) for key, item in value.items()}
    return tuple(_fill_version(item, version) for item in value) if isinstance(value, list) else value
