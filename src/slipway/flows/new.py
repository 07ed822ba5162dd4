"""Adds a service to a workspace: a kind's files, with the service's name, a free route and a free port.

Only Python's own library is used: the template calls this too, in whatever Python cookiecutter runs in.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

from slipway.model.errors import ConfigError
from slipway.model.leftovers import is_left_over
from slipway.model.names import DNS_LABEL, RESERVED
from slipway.model.package_data import package_path
from slipway.model.parsing import Unreadable, parse_toml
from slipway.model.scratch import remove_with_process, scratch_of
from slipway.model.text import read_text

KINDS = package_path("kinds")
MARK = "SERVICE"
"""What stands for the service's name in a kind's service.toml; `/SERVICE` for its route."""

FIRST: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "demo": (("api", "python-api", None), ("web", "node-web", "/"), ("worker", "worker", None)),
    "api": (("api", "python-api", None),),
    "none": (),
}
"""The template's answer → the first services: name, kind, and the route where it is not /NAME."""

_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", "node_modules", ".pytest_cache", ".venv")


def kinds() -> list[str]:
    """Return the names of the kinds there are."""
    return sorted(folder.name for folder in KINDS.iterdir() if (folder / "service.toml").is_file())


def create(root: Path, name: str, kind: str, *, route: str | None = None) -> Path:
    """Add the service `name` of a kind and return its folder, which is there whole or not at all.

    Args:
        root: the workspace.
        name: a DNS label.
        kind: one of `kinds()`.
        route: the path that it answers below; the first free one of /NAME, /NAME-2, … if not given.

    Raises:
        ConfigError: the name or kind cannot be used, or the service is there already.
    """
    _check(root, name, kind)
    folder = root / "services" / name
    others = _settings(root)
    partial = folder.with_name(f".{name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    above = scratch_of(partial)
    try:
        with remove_with_process(above, partial) if above else nullcontext():
            _fill(root, partial, kind, name, route, others)
            partial.rename(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}", remedy="Check the folder's permissions."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _fill(
    root: Path, folder: Path, kind: str, name: str, route: str | None, others: Mapping[str, dict[str, Any]]
) -> None:
    shutil.copytree(KINDS / kind, folder, ignore=_NOT_COPIED)
    file = folder / "service.toml"
    text = file.read_text(encoding="utf-8")
    _check_libs(root, kind, tomllib.loads(text))
    text = _named(text, name, route or _free_route(name, others), _taken("port", others))
    file.write_text(_without_absent(text, others), encoding="utf-8")


def populate(root: Path, answer: str) -> None:
    """Add a new workspace's first services: `demo`, `api` or `none`."""
    for name, kind, route in FIRST[answer]:
        create(root, name, kind, route=route)


def _check(root: Path, name: str, kind: str) -> None:
    if not DNS_LABEL.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a service",
            remedy="A DNS label: lower-case letters, digits and dashes, a letter first, at most 40: `orders`.",
        )
    if RESERVED.match(name):
        raise ConfigError(
            f"{name!r} is a name that Slipway uses itself, for its gateway and bases", remedy="Choose another name."
        )
    if kind not in kinds():
        raise ConfigError(f"there is no kind {kind!r}", remedy=f"Kinds: {', '.join(kinds())}.")
    folder = root / "services" / name
    if folder.is_dir() and not (folder / "service.toml").exists() and is_left_over(root, folder):
        raise ConfigError(
            f"{folder} is there already, with nothing in it but what git ignores: a change of branches leaves that",
            remedy=f"Choose another name, or remove it: rm -r services/{name}",
        )
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder} is there already", remedy="Choose another name, or remove it first.")


def _check_libs(root: Path, kind: str, settings: dict[str, Any]) -> None:
    for lib in settings.get("libs", ()):
        if not (root / "libs" / lib).is_dir():
            raise ConfigError(
                f"a {kind} takes files from libs/{lib}, which is not there", remedy="Restore it from git."
            )


def _settings(root: Path) -> dict[str, dict[str, Any]]:
    """Return what the service.toml of each service says.

    Raises:
        ConfigError: one is no TOML: what it has taken cannot be known.
    """
    found = {}
    for file in sorted((root / "services").glob("*/service.toml")):
        text = read_text(file)
        try:
            found[file.parent.name] = parse_toml(text)
        except Unreadable as error:
            raise ConfigError(f"{file} cannot be read: {error}", remedy="Correct it first.") from error
    return found


def _taken(key: str, settings: Mapping[str, dict[str, Any]]) -> set[Any]:
    return {each[key] for each in settings.values() if key in each}


def _free_route(name: str, settings: Mapping[str, dict[str, Any]]) -> str:
    taken = _taken("route", settings)
    tries = (f"/{name}" if number == 1 else f"/{name}-{number}" for number in count(1))
    return next(route for route in tries if route not in taken)


def _without_absent(text: str, others: Mapping[str, dict[str, Any]]) -> str:
    """Return a service.toml with its `needs` as a comment where a service that it names cannot be called here."""
    needs = tomllib.loads(text).get("needs", ())
    if all("route" in others.get(name, {}) for name in needs):
        return text
    return re.sub(r"^needs = ", "# needs = ", text, flags=re.MULTILINE)


def _named(text: str, name: str, route: str, taken_ports: set[Any]) -> str:
    """Return a kind's service.toml as the service's own: its route, its name, and the first free port."""

    def free(found: re.Match[str]) -> str:
        return f"port = {next(port for port in count(int(found[1])) if port not in taken_ports)}"

    text = text.replace(f"/{MARK}", route).replace(MARK, name)
    return re.sub(r"^port = (\d+)$", free, text, flags=re.MULTILINE)
