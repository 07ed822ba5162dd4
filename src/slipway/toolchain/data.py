"""tools.toml, read and frozen: which version of each tool, and the ways to it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from slipway.model.errors import ConfigError
from slipway.model.package_data import package_path

DATA = package_path("toolchain", "tools.toml")


@dataclass(frozen=True)
class Release:
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
    release: Release | None = None
    go: GoModule | None = None

    @property
    def main(self) -> str:
        """The binary that the tool is known by."""
        return self.binaries[0]


@cache
def tools() -> Mapping[str, Tool]:
    """Return every tool of tools.toml by its name."""
    return read(tomllib.loads(DATA.read_text(encoding="utf-8")))


def tool(name: str) -> Tool:
    """Return one tool by its own name or by one of its binaries' (`buildctl` belongs to `buildkit`).

    Raises:
        ConfigError: there is no such tool.
    """
    known = tools()
    if name in known:
        return known[name]
    for each in known.values():
        if name in each.binaries:
            return each
    raise ConfigError(f"there is no tool named {name!r}", remedy=f"Known tools: {', '.join(sorted(known))}.")


def read(document: Mapping[str, Any]) -> dict[str, Tool]:
    """Freeze a parsed tools.toml, filling {version} in; an unknown key is an error that names it."""
    found = {}
    for name, table in document.items():
        own = dict(table)
        version = own["version"]
        release, go = own.pop("release", None), own.pop("go", None)
        found[name] = Tool(
            name=name,
            **_checked(Tool, own, version, name),
            release=Release(**_checked(Release, release, version, f"{name}.release")) if release else None,
            go=GoModule(**_checked(GoModule, go, version, f"{name}.go")) if go else None,
        )
    return found


def _checked(kind: type, table: Mapping[str, Any], version: str, where: str) -> dict[str, Any]:
    known = {each.name for each in fields(kind)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ConfigError(f"tools.toml: [{where}] has an unknown key {unknown[0]!r}")
    return {key: _fill(value, version) for key, value in table.items()}


def _fill(value: Any, version: str) -> Any:
    if isinstance(value, str):
        return value.replace("{version}", version)
    if isinstance(value, dict):
        return {key: _fill(each, version) for key, each in value.items()}
    return tuple(_fill(each, version) for each in value) if isinstance(value, list) else value
