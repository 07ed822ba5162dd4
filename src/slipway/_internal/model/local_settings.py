"""Settings of this checkout alone, in `.slipway/local.toml`, which git ignores: they let it run beside another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import write_atomically
from slipway._internal.model.structured_files import line_of, read_toml
from slipway._internal.model.text import read_text

SUFFIX_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
_HEADER_COMMENT = """\
# This folder runs beside another of the same workspace; git ignores this file. `invoke up --beside` wrote it.
# suffix: what the names of containers, networks and volumes, and namespaces on Kubernetes, have after the workspace's.
# ports: where each stack's gateway listens, instead of slipway:port and [gateway] port.
"""


class LocalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`.slipway/local.toml` as it stands; `ports` is stack → port of its gateway."""

    suffix: str | None = None
    ports: dict[str, Annotated[int, Meta(ge=1, le=65535)]] = {}


def path_of(root: Path) -> Path:
    """Return where the file is."""
    return root / ".slipway" / "local.toml"


def load(root: Path) -> LocalSettings:
    """Read this checkout's own settings; empty where there is no such file.

    Raises:
        ConfigError: a key is not known, or a value is wrong.
    """
    path = path_of(root)
    if not path.exists():
        return LocalSettings()
    found = read_toml(path, LocalSettings)
    if found.suffix is not None and not SUFFIX_PATTERN.fullmatch(found.suffix):
        raise ConfigError(
            f"{path}:{line_of(read_text(path), ('suffix',))}: `suffix` is {found.suffix!r}",
            remedy="Use lower-case letters, digits and dashes, at most 20: `feature-x`.",
        )
    return found


def save(root: Path, suffix: str, ports: Mapping[str, int]) -> None:
    """Write the file."""
    lines = [f'suffix = "{suffix}"', "", "[ports]", *(f'"{stack}" = {port}' for stack, port in sorted(ports.items()))]
    write_atomically(path_of(root), _HEADER_COMMENT + "\n".join(lines) + "\n")
