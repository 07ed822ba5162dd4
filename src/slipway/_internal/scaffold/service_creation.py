"""Adds a service to a workspace: a kind's files, with the service's name, a free route and a free port.

Only Python's own library is used: the template calls this too, in whatever Python cookiecutter runs in.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
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
    "full": (
        ("db", "postgres", None),
        ("api", "python-api", None),
        ("web", "node-web", "/"),
        ("worker", "worker", None),
    ),
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
    files = [file for parent in parents for file in parent.glob("*/service.toml")]
    return {file.parent.name: file.parent for file in files if not file.parent.name.startswith((".", "_"))}


def read_kind(root: Path, kind: str) -> dict[str, Any]:
    """Return what a kind's service.toml says; nothing where there is no such kind.

    Raises:
        ConfigError: it cannot be read.
    """
    folder = _kind_folders(root).get(kind)
    return _parse(folder / "service.toml", read_text(folder / "service.toml")) if folder else {}


def create_service(
    root: Path, name: str, kind: str, *, route: str | None = None, check: Callable[[Path], object] | None = None
) -> Path:
    """Add the service `name` of a kind and return its folder, which is there whole or not at all.

    Args:
        root: the workspace.
        name: a DNS label.
        kind: one of `list_kinds(root)`.
        route: the path that it answers below; the first free one of /NAME, /NAME-2, … if not given.
        check: reads the service before it gets its name; what it refuses is told of the kind's files.

    Raises:
        ConfigError: the name or kind cannot be used, or the service is there already.
    """
    _refuse_unusable(root, name, kind)
    source = _kind_folders(root)[kind]
    _refuse_odd_files(source)
    folder = root / "services" / name
    other_settings = _read_settings(root)
    partial = folder.with_name(f".{name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    scratch = find_scratch(partial)
    try:
        with remove_if_killed(scratch, partial) if scratch else nullcontext():
            _write_files(root, partial, source, name, route, other_settings)
            if check:
                check(partial)
            partial.rename(folder)
    except ConfigError as error:
        error.message = error.message.replace(str(partial), str(source))
        raise
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror or error}", remedy="Check the folder's permissions."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write_files(
    root: Path, folder: Path, source: Path, name: str, route: str | None, other_settings: Mapping[str, dict[str, Any]]
) -> None:
    shutil.copytree(source, folder, symlinks=True, ignore=_IGNORED_FILES)
    text = read_text(source / "service.toml")
    _refuse_missing_libs(root, source.name, _parse(source / "service.toml", text))
    text = _fill_placeholders(
        text, name, route or _free_route(name, other_settings), _taken_values("port", other_settings)
    )
    text = _comment_out_absent_needs(text, _parse(source / "service.toml", text), other_settings)
    (folder / "service.toml").write_text(text, encoding="utf-8")


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
    if (root / "kinds" / kind).is_dir() and kind not in list_kinds(root) and DNS_LABEL.fullmatch(kind):
        raise ConfigError(
            f"{root / 'kinds' / kind / 'service.toml'} is missing, so {kind} is no kind",
            remedy="Write it as a service of the kind would have it, with SERVICE for its name: see the how-to guide.",
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


def _refuse_odd_files(kind: Path) -> None:
    """Refuse a kind that cannot be copied as it is: no Dockerfile, or what is neither file, folder nor link within."""
    if not (kind / "Dockerfile").is_file():
        raise ConfigError(
            f"{kind / 'Dockerfile'} is missing", remedy="A kind holds all that a service has: write one, or copy one."
        )
    for parent, folders, files in os.walk(kind):
        ignored = _IGNORED_FILES(parent, [*folders, *files])
        folders[:] = [folder for folder in folders if folder not in ignored]
        for path in (Path(parent, entry) for entry in (*folders, *files) if entry not in ignored):
            if problem := _copy_problem(path, kind):
                raise ConfigError(
                    f"{path} {problem}, so a service cannot have a copy of it",
                    remedy="Put the file itself there: a kind holds files, folders, and relative links within it.",
                )


def _copy_problem(path: Path, kind: Path) -> str:
    """Return what is odd about a path of a kind's folder; nothing where a copy of it is as good."""
    if not path.is_symlink():
        return "" if path.is_file() or path.is_dir() else "is neither a file nor a folder"
    target = path.readlink()
    within = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(kind))
    return "" if within and path.exists() and not target.is_absolute() else f"is a link to {target}"


def _refuse_missing_libs(root: Path, kind: str, settings: dict[str, Any]) -> None:
    for lib in _names(settings, "libs"):
        if not (root / "libs" / lib).is_dir():
            raise ConfigError(
                f"a {kind} takes files from libs/{lib}, which is not there",
                remedy="Restore it from git; or make it, where the kind is your own.",
            )


def _names(settings: dict[str, Any], key: str) -> list[str]:
    """Return a list of names in a kind's service.toml; nothing where it is something else, which the check refuses."""
    value = settings.get(key)
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _parse(file: Path, text: str) -> dict[str, Any]:
    """Return what a service.toml says, which was read from a file.

    Raises:
        ConfigError: it is not TOML.
    """
    try:
        return parse_toml(text)
    except ParseError as error:
        raise ConfigError(f"{file} cannot be read: {error}", remedy="Correct it first.") from error


def _read_settings(root: Path) -> dict[str, dict[str, Any]]:
    """Return what the service.toml of each service says.

    Raises:
        ConfigError: one is not TOML: what it has taken cannot be known.
    """
    files = sorted((root / "services").glob("*/service.toml"))
    return {file.parent.name: _parse(file, read_text(file)) for file in files}


def _taken_values(key: str, settings: Mapping[str, dict[str, Any]]) -> set[Any]:
    return {service_settings[key] for service_settings in settings.values() if key in service_settings}


def _tables(settings: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of tables, without what is none: whether the file is right is not asked here."""
    found = settings.get(key)
    return [table for table in found if isinstance(table, dict)] if isinstance(found, list) else []


def _free_route(name: str, settings: Mapping[str, dict[str, Any]]) -> str:
    tables = [table for each in settings.values() for table in _tables(each, "routes")]
    paths = (str(table.get("path")) for table in tables)
    taken_routes = {*_taken_values("route", settings), *paths}
    candidates = (f"/{name}" if number == 1 else f"/{name}-{number}" for number in count(1))
    return next(route for route in candidates if route not in taken_routes)


def _comment_out_absent_needs(text: str, settings: dict[str, Any], other_settings: Mapping[str, dict[str, Any]]) -> str:
    """Return a service.toml with its `needs` as a comment where a service that it names cannot be called here.

    Its `release` command becomes one, too: it is for what the service needs.
    """
    if all("port" in other_settings.get(name, {}) for name in _names(settings, "needs")):
        return text
    return re.sub(
        r"^(?:needs|release) = \[[^]]*\]",
        lambda found: "# " + found[0].replace("\n", "\n# "),
        text,
        flags=re.MULTILINE,
    )


def _fill_placeholders(text: str, name: str, route: str, taken_ports: set[Any]) -> str:
    """Return a kind's service.toml as the service's own: its route, its name, and the first free port."""

    def free_port(match: re.Match[str]) -> str:
        return f"port = {next(port for port in count(int(match[1])) if port not in taken_ports)}"

    text = text.replace(f"/{NAME_PLACEHOLDER}/", f"{route.rstrip('/')}/")  # what is below its route
    text = text.replace(f"/{NAME_PLACEHOLDER}", route).replace(NAME_PLACEHOLDER, name)
    return re.sub(r"^port = (\d+)$", free_port, text, flags=re.MULTILINE)
