"""Reads a Compose file with Docker Compose itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slipway._internal.adopt.compose_errors import compose_error
from slipway._internal.adopt.compose_file import ComposeFile
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import JsonObject, ParseError, parse_json
from slipway._internal.model.structured_files import read_yaml
from slipway._internal.model.text import read_text
from slipway._internal.run.process import run

CONFIG_SECONDS = 60.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
"""The variables that Docker Compose gets: what a file is read as must not depend on whose shell it is, and no secret of
the workspace may be put into it. Its own come from the project's .env."""
REMOTE_VARIABLES = ("COMPOSE_EXPERIMENTAL_GIT_REMOTE", "COMPOSE_EXPERIMENTAL_OCI_REMOTE")
"""Switches off that `include` brings files from elsewhere."""
_MAX_FILES = 100
_OWN_TAG = re.compile(r"(?<=[\s:])!(?:reset|override)(?=[\s,\]}]|\Z)")
_LOG_LINE = re.compile(r'time="[^"]*" level=(?P<level>\w+) msg="(?P<text>(?:[^"\\]|\\.)*)"')


def read_compose(path: Path, compose: Path) -> ComposeFile:
    """Read a Compose file.

    Args:
        path: the file.
        compose: Docker Compose's program.

    Raises:
        ConfigError: it is not YAML, or Docker Compose refuses it.
    """
    _check_yaml(path)
    mains = [path, *_override_of(path)]
    files = tuple(_all_files(mains))
    named = [word for file in mains for word in ("--file", str(file))]
    argv: list[str | Path] = [
        compose,
        *named,
        "--project-directory",
        path.parent,
        "--profile",
        "*",
        "config",
        "--format",
        "json",
    ]
    env = {
        **dict.fromkeys(os.environ),
        **dict.fromkeys(REMOTE_VARIABLES, "false"),
        **{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
    }
    result = run(argv, cwd=path.parent, env=env, timeout=CONFIG_SECONDS, apart=True)
    warnings, problems = _split_messages(result.errors)
    if result.code:
        raise compose_error(ComposeFile(path, files, {}), problems)
    try:
        project: JsonObject = parse_json(result.output, dict[str, Any])
    except ParseError as error:
        raise ConfigError(f"{path}: what Docker Compose makes of it cannot be read: {error}") from error
    return ComposeFile(path, files, _unescape(project), tuple(warnings))


def _check_yaml(path: Path) -> dict[str, Any]:
    """Return what a Compose file holds; of its own tags, which only Docker Compose knows, the values are read.

    Raises:
        ConfigError: it is not YAML.
    """
    return read_yaml(path, text=_OWN_TAG.sub(lambda found: " " * len(found[0]), read_text(path)))


def _override_of(path: Path) -> list[Path]:
    """Return the file that Docker Compose adds to one with a usual name by itself."""
    if path.stem not in ("compose", "docker-compose"):
        return []
    candidates = [path.with_name(f"{path.stem}.override{suffix}") for suffix in (".yaml", ".yml")]
    return [file for file in candidates if file.is_file()][:1]


def _all_files(mains: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of a project, with those that `include` and `extends` name, as far as they can be read."""
    todo: list[Path] = list(mains)
    seen: set[Path] = set()
    while todo and len(seen) < _MAX_FILES:
        file = todo.pop(0)
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        data = read_yaml_or_nothing(file)
        if data is None:
            continue
        yield file
        for name in _named_files(data):
            todo.append(Path(os.path.normpath(file.parent / name)))


def read_yaml_or_nothing(file: Path) -> dict[str, Any] | None:
    """Return what a YAML file holds; None where it cannot be read: Docker Compose says why."""
    try:
        return _check_yaml(file)
    except ConfigError:
        return None


def _named_files(data: dict[str, Any]) -> Iterator[str]:
    for entry in data.get("include") or []:
        paths = entry.get("path") if isinstance(entry, dict) else entry
        yield from [str(path) for path in (paths if isinstance(paths, list) else [paths]) if path]
    services = data.get("services")
    for service in services.values() if isinstance(services, dict) else ():
        extends = service.get("extends") if isinstance(service, dict) else None
        if isinstance(extends, dict) and extends.get("file"):
            yield str(extends["file"])


def _split_messages(text: str) -> tuple[list[str], list[str]]:
    """Return the warnings and the errors that Docker Compose printed, each as a line."""
    warnings, problems = [], []
    for line in text.splitlines():
        found = _LOG_LINE.search(line)
        if found and found["level"] == "warning":
            warnings.append(found["text"].replace('\\"', '"'))
        elif line.strip():
            problems.append(found["text"].replace('\\"', '"') if found else line.strip())
    return warnings, problems


def _unescape(value: Any) -> Any:
    """Return what Docker Compose prints with its `$$` as the `$` that it stands for."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {key: _unescape(item) for key, item in value.items()}
    return [_unescape(item) for item in value] if isinstance(value, list) else value
