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

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.gitignore import holds_only_ignored
from slipway._internal.model.names import DNS_LABEL, RESERVED
from slipway._internal.model.package_data import package_path
from slipway._internal.model.parsing import ParseError, parse_toml
from slipway._internal.model.scratch import find_scratch, remove_if_killed
from slipway._internal.model.text import read_text

KINDS_FOLDER = package_path("kinds")
NAME_PLACEHOLDER = "SERVICE"
"""What stands for the service's name in a kind's service.toml; `/SERVICE` for its route."""

INITIAL_SERVICES: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "demo": (("api", "python-api", None), ("web", "node-web", "/"), ("worker", "worker", None)),
    "api": (("api", "python-api", None),),
    "none": (),
}
"""The template's answer → the first services: name, kind, and the route where it is not /NAME."""

_IGNORED_FILES = shutil.ignore_patterns("__pycache__", "*.pyc", "node_modules", ".pytest_cache", ".venv")


def list_kinds(root: Path | None = None) -> list[str]:
    """Return the names of the kinds there are: Slipway's, and those in kinds/ of a workspace."""
    return sorted(_kind_folders(root))


def _kind_folders(root: Path | None) -> dict[str, Path]:
    """Return each kind's folder; a team's own kind takes the place of Slipway's of the same name."""
    parents = [KINDS_FOLDER, *([root / "kinds"] if root else [])]
    return {file.parent.name: file.parent for parent in parents for file in parent.glob("*/service.toml")}


def create_service(root: Path, name: str, kind: str, *, route: str | None = None) -> Path:
    """Add the service `name` of a kind and return its folder, which is there whole or not at all.

    Args:
        root: the workspace.
        name: a DNS label.
        kind: one of `list_kinds(root)`.
        route: the path that it answers below; the first free one of /NAME, /NAME-2, … if not given.

    Raises:
        ConfigError: the name or kind cannot be used, or the service is there already.
    """
    _refuse_unusable(root, name, kind)
    folder = root / "services" / name
    other_settings = _read_settings(root)
    partial = folder.with_name(f".{name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    scratch = find_scratch(partial)
    try:
        with remove_if_killed(scratch, partial) if scratch else nullcontext():
            _write_files(root, partial, kind, name, route, other_settings)
            partial.rename(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}", remedy="Check the folder's permissions."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write_files(
    root: Path, folder: Path, kind: str, name: str, route: str | None, other_settings: Mapping[str, dict[str, Any]]
) -> None:
    shutil.copytree(_kind_folders(root)[kind], folder, ignore=_IGNORED_FILES)
    file = folder / "service.toml"
    text = file.read_text(encoding="utf-8")
    _refuse_missing_libs(root, kind, tomllib.loads(text))
    text = _fill_placeholders(
        text, name, route or _free_route(name, other_settings), _taken_values("port", other_settings)
    )
    file.write_text(_comment_out_absent_needs(text, other_settings), encoding="utf-8")


def create_initial_services(root: Path, answer: str) -> None:
    """Add a new workspace's first services: `demo`, `api` or `none`."""
    for name, kind, route in INITIAL_SERVICES[answer]:
        create_service(root, name, kind, route=route)


def _refuse_unusable(root: Path, name: str, kind: str) -> None:
    if not DNS_LABEL.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a service",
            remedy="A DNS label: lower-case letters, digits and dashes, a letter first, at most 40: `orders`.",
        )
    if RESERVED.match(name):
        raise ConfigError(
            f"{name!r} is a name that Slipway uses itself, for its gateway and bases", remedy="Choose another name."
        )
    if kind not in list_kinds(root):
        raise ConfigError(
            f"there is no kind {kind!r}",
            remedy=f"Kinds: {', '.join(list_kinds(root))}. One of your own is a folder in kinds/ with a service.toml.",
        )
    refuse_taken(root, name)


def refuse_taken(root: Path, name: str) -> None:
    """Refuse a service's name whose folder is there.

    Raises:
        ConfigError: with what to do about it.
    """
    folder = root / "services" / name
    if folder.is_dir() and not (folder / "service.toml").exists() and holds_only_ignored(root, folder):
        raise ConfigError(
            f"{folder} is there already, with nothing in it but what git ignores: a change of branches leaves that",
            remedy=f"Choose another name, or remove it: rm -r services/{name}",
        )
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder} is there already", remedy="Choose another name, or remove it first.")


def _refuse_missing_libs(root: Path, kind: str, settings: dict[str, Any]) -> None:
    for lib in settings.get("libs", ()):
        if not (root / "libs" / lib).is_dir():
            raise ConfigError(
                f"a {kind} takes files from libs/{lib}, which is not there", remedy="Restore it from git."
            )


def _read_settings(root: Path) -> dict[str, dict[str, Any]]:
    """Return what the service.toml of each service says.

    Raises:
        ConfigError: one is not TOML: what it has taken cannot be known.
    """
    settings = {}
    for file in sorted((root / "services").glob("*/service.toml")):
        text = read_text(file)
        try:
            settings[file.parent.name] = parse_toml(text)
        except ParseError as error:
            raise ConfigError(f"{file} cannot be read: {error}", remedy="Correct it first.") from error
    return settings


def _taken_values(key: str, settings: Mapping[str, dict[str, Any]]) -> set[Any]:
    return {service_settings[key] for service_settings in settings.values() if key in service_settings}


def _free_route(name: str, settings: Mapping[str, dict[str, Any]]) -> str:
    taken_routes = _taken_values("route", settings)
    candidates = (f"/{name}" if number == 1 else f"/{name}-{number}" for number in count(1))
    return next(route for route in candidates if route not in taken_routes)


def _comment_out_absent_needs(text: str, other_settings: Mapping[str, dict[str, Any]]) -> str:
    """Return a service.toml with its `needs` as a comment where a service that it names cannot be called here."""
    needs = tomllib.loads(text).get("needs", ())
    if all("route" in other_settings.get(name, {}) for name in needs):
        return text
    return re.sub(r"^needs = ", "# needs = ", text, flags=re.MULTILINE)


def _fill_placeholders(text: str, name: str, route: str, taken_ports: set[Any]) -> str:
    """Return a kind's service.toml as the service's own: its route, its name, and the first free port."""

    def free_port(match: re.Match[str]) -> str:
        return f"port = {next(port for port in count(int(match[1])) if port not in taken_ports)}"

    text = text.replace(f"/{NAME_PLACEHOLDER}", route).replace(NAME_PLACEHOLDER, name)
    return re.sub(r"^port = (\d+)$", free_port, text, flags=re.MULTILINE)
