"""Reads a Compose file with Docker Compose itself, and says at which line of the original files a key stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import JsonObject, ParseError, parse_json
from slipway._internal.model.structured_files import read_yaml
from slipway._internal.model.text import read_text
from slipway._internal.model.yaml_loader import BoundedLoader
from slipway._internal.run.process import run

CONFIG_SECONDS = 60.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
"""The variables that Docker Compose gets: what a file is read as must not depend on whose shell it is, and no secret of
the workspace may be put into it. Its own come from the project's .env."""
REMOTE_VARIABLES = ("COMPOSE_EXPERIMENTAL_GIT_REMOTE", "COMPOSE_EXPERIMENTAL_OCI_REMOTE")
"""Switches off that `include` brings files from elsewhere."""
MAX_DETAIL_LINES = 10
_MAX_FILES = 100
_LOG_LINE = re.compile(r'time="[^"]*" level=(?P<level>\w+) msg="(?P<text>(?:[^"\\]|\\.)*)"')


@dataclass
class ComposeFile:
    """A Compose project as Docker Compose reads it.

    Attributes:
        path: the file.
        files: the original files that it is made of, the file itself first.
        project: all that they say, in Compose's one long form, with variables put in.
        warnings: what Docker Compose said beside it.
    """

    path: Path
    files: tuple[Path, ...]
    project: JsonObject
    warnings: tuple[str, ...] = ()
    _nodes: dict[Path, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.path.parent

    def services(self) -> dict[str, dict[str, Any]]:
        """Return the services by their names, in the order of the files."""
        found = {str(name): dict(value or {}) for name, value in (self.project.get("services") or {}).items()}
        written = [str(key.value) for file in self.files for key, _ in _pairs(self._find(file, ("services",)))]
        return {name: found[name] for name in dict.fromkeys([*written, *found]) if name in found}

    def table(self, key: str) -> dict[str, dict[str, Any]]:
        """Return what stands at the top under a key, such as `volumes`, by name."""
        return {str(name): dict(value or {}) for name, value in (self.project.get(key) or {}).items()}

    def where(self, *keys: str) -> str:
        """Return the file and line of a key; the nearest one around it that is written there."""
        for length in range(len(keys), 0, -1):
            for file, path in self._places(keys[:length]):
                if line := self._line(file, path):
                    return f"{file}:{line}"
        return f"{self.path}:1"

    def written_keys(self, service: str) -> list[str]:
        """Return the keys that the original files have for a service."""
        found: dict[str, None] = {}
        for file, path in self._places(("services", service)):
            found.update(dict.fromkeys(str(key.value) for key, _ in _pairs(self._find(file, path))))
        return list(found)

    def value_files(self) -> frozenset[Path]:
        """Return the files that may hold passwords: the Compose files, .env, and those that `env_file` names."""
        found = {*self.files, self.folder / ".env"}
        for file in self.files:
            for _, service in _pairs(self._find(file, ("services",))):
                node = next((value for key, value in _pairs(service) if key.value == "env_file"), None)
                for entry in node.value if isinstance(node, yaml.SequenceNode) else [node]:
                    path = next((value for key, value in _pairs(entry) if key.value == "path"), entry)
                    if isinstance(path, yaml.ScalarNode):
                        found.add(Path(os.path.normpath(file.parent / path.value)))
        return frozenset(found)

    def _places(self, keys: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """Yield where a key may stand: in each file, then at what a service extends."""
        yield from ((file, keys) for file in self.files)
        if keys[:1] != ("services",) or len(keys) < 2:
            return
        todo, seen = [(file, keys[1]) for file in self.files], set(self.files)
        for file, service in todo:  # grows
            told = {key.value: value for key, value in _pairs(self._find(file, ("services", service, "extends")))}
            named = self._find(file, ("services", service, "extends"))
            other = getattr(told.get("service", named), "value", None)
            path = Path(os.path.normpath(file.parent / told["file"].value)) if "file" in told else file
            if isinstance(other, str) and path in seen and (path, other) not in todo:
                todo.append((path, other))
                yield path, ("services", other, *keys[2:])

    @cached_property
    def top_keys(self) -> list[str]:
        """The keys at the top of the original files."""
        return list(dict.fromkeys(str(key.value) for file in self.files for key, _ in _pairs(self._root(file))))

    def _root(self, file: Path) -> Any:
        if file not in self._nodes:
            self._nodes[file] = yaml.compose(read_text(file), Loader=BoundedLoader)
        return self._nodes[file]

    def _find(self, file: Path, keys: Sequence[str]) -> Any:
        node = self._root(file)
        for key in keys:
            node = next((value for name, value in _pairs(node) if name.value == key), None)
        return node

    def _line(self, file: Path, keys: Sequence[str]) -> int:
        """Return the line of a key, or of the item of a list that a number names; 0 where it is not written."""
        node, line = self._root(file), 0
        for key in keys:
            if isinstance(node, yaml.SequenceNode):
                node = _item(node, key)
                if node is None:
                    return 0
                line = node.start_mark.line + 1
                continue
            found = next(((name, value) for name, value in _pairs(node) if name.value == key), None)
            if found is None:
                return 0
            line, node = found[0].start_mark.line + 1, found[1]
        return line


def _item(node: yaml.SequenceNode, key: str) -> Any:
    """Return the item of a list that a number names, or a name: `A` is `- A=1` or `- A`."""
    if key.isdigit():
        return node.value[int(key)] if int(key) < len(node.value) else None
    return next((item for item in node.value if str(item.value).partition("=")[0] == key), None)


def _pairs(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a mapping's keys and values, then those that `<<` merges into it."""
    if not isinstance(node, yaml.MappingNode):
        return
    merged: list[Any] = []
    for key, value in node.value:
        if getattr(key, "value", None) == "<<":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        elif isinstance(key, yaml.ScalarNode):
            yield key, value
    for each in merged:
        yield from _pairs(each)


def read_compose(path: Path, compose: Path) -> ComposeFile:
    """Read a Compose file.

    Args:
        path: the file.
        compose: Docker Compose's program.

    Raises:
        ConfigError: it is not YAML, or Docker Compose refuses it.
    """
    read_yaml(path)
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
        raise ConfigError(
            f"{path}: Docker Compose cannot read it: {problems[0] if problems else 'it does not say why'}",
            remedy="Correct it until `docker compose config` reads it.",
            detail="\n".join(problems[1:][:MAX_DETAIL_LINES]),
        )
    try:
        project: JsonObject = parse_json(result.output, dict[str, Any])
    except ParseError as error:
        raise ConfigError(f"{path}: what Docker Compose makes of it cannot be read: {error}") from error
    return ComposeFile(path, files, _unescape(project), tuple(warnings))


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
        return read_yaml(file)
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
