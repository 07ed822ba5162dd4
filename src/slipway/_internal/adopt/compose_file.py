"""A Compose file as Docker Compose reads it, which says at which line of the original files a key stands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from slipway._internal.model.parsing import JsonObject
from slipway._internal.model.text import read_text
from slipway._internal.model.yaml_loader import BoundedLoader

RESET_TAG = "!reset"
"""What takes a key away that another file has."""


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
        elif isinstance(key, yaml.ScalarNode) and value.tag != RESET_TAG:
            yield key, value
    for each in merged:
        yield from _pairs(each)
