"""Reads a stack's file as Pulumi does, but stricter: an ambiguous file must not decide whether a stack is protected.

YAML parsers disagree on duplicate keys, anchors, `yes` and second documents. Each of them is refused, so that Slipway,
Pulumi and the reviewer of the file read the same settings.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.structured_files import unknown_key_error
from slipway._internal.model.yaml_loader import BoundedLoader

TOP_LEVEL_KEYS = ("config", "encryptionsalt", "encryptedkey", "secretsprovider", "environment")
"""The keys that Pulumi knows in a stack's file."""
SETTING_PREFIX = "slipway:"
# Ends of lines that only YAML sees, and marks that turn the direction of writing.
_INVISIBLE_CHARACTER = re.compile("[\x85\u2028-\u202e\u2066-\u2069]")
MIN_SIMILARITY = 0.7
"""The similarity from which a word counts as a misspelling of another."""


@dataclass(frozen=True)
class Setting:
    """A setting of Slipway's as it stands in the file: its text, its line (from 1), and where the text begins and ends.

    `begin` and `end` are offsets into the file's text, quotes included.
    """

    text: str
    line: int
    begin: int
    end: int


def read_settings(path: Path, text: str, known: Mapping[str, object]) -> dict[str, Setting]:
    """Return the settings of Slipway's in a stack's file, by key.

    Args:
        path: the file, for messages; services/ lies beside its folder.
        text: what is in it.
        known: the keys that there are.

    Raises:
        ConfigError: the text is not YAML that is read in one way only, has a key that nothing knows at its top, has a
            setting of Slipway's that nothing knows, or one that is none but looks like one.
    """
    _refuse_invisible_characters(path, text)
    config = _config_table(path, _compose_tree(path, text))
    found = {}
    for key, value in _unique_pairs(path, config) if config else ():
        line = key.start_mark.line + 1
        if not key.value.startswith(SETTING_PREFIX):
            _refuse_misspelled_key(path, line, key.value, known)
            continue
        if key.value not in known:
            raise unknown_key_error(path, line, (key.value,), known)
        if not isinstance(value, yaml.ScalarNode) or value.style in ("|", ">"):
            raise ConfigError(
                f"{path}:{line}: `{key.value}` is not a single word or number", remedy=f"Write `{key.value}: VALUE`."
            )
        found[key.value] = Setting(value.value, line, value.start_mark.index, value.end_mark.index)
    return found


def _refuse_invisible_characters(path: Path, text: str) -> None:
    """Refuse characters that end a line for YAML but not for a reader, or change the direction of text."""
    if found := _INVISIBLE_CHARACTER.search(text):
        raise ConfigError(
            f"{path}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]!r} is a letter that nobody sees, and that "
            "lets a line read otherwise than it is",
            remedy="Remove it, and write what comes after it on a line of its own.",
        )


def _compose_tree(path: Path, text: str) -> yaml.Node | None:
    try:
        return _UnambiguousLoader(text).get_single_node()
    except _AmbiguousYaml as error:
        raise ConfigError(f"{path}:{error.line}: {error}", remedy="Write it out, as Pulumi itself would.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{line}: this is not valid YAML: {error.problem or error.context}",
            remedy="Correct that line; YAML is indented with spaces.",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path}: this is not valid YAML: {str(error).splitlines()[0]}", remedy="Restore it from git."
        ) from error


def _config_table(path: Path, root: yaml.Node | None) -> yaml.MappingNode | None:
    if root is None or _is_empty(root):
        return None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}:1: this is not a table of keys", remedy="Write `config:` and the settings under it.")
    config = None
    for key, value in _unique_pairs(path, root):
        line = key.start_mark.line + 1
        if key.value not in TOP_LEVEL_KEYS:
            raise unknown_key_error(path, line, (key.value,), TOP_LEVEL_KEYS)
        if key.value == "config" and not _is_empty(value):
            if not isinstance(value, yaml.MappingNode):
                raise ConfigError(
                    f"{path}:{line}: `config` is not a table",
                    remedy="Write each setting on a line of its own below it.",
                )
            config = value
    return config


def _unique_pairs(path: Path, table: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    seen: dict[str, int] = {}
    for key, value in table.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
            raise ConfigError(f"{path}:{line}: this key is not a plain name", remedy="Write `NAMESPACE:NAME: VALUE`.")
        if key.value in seen:
            raise ConfigError(
                f"{path}:{line}: `{key.value}` is written twice, first on line {seen[key.value]}",
                remedy="Keep the line that is meant.",
            )
        seen[key.value] = line
        yield key, value


def _refuse_misspelled_key(path: Path, line: int, key: str, known: Mapping[str, object]) -> None:
    """Refuse a key that looks like one of Slipway's but is not; secrets of services are let through."""
    namespace, colon, name = (part.strip() for part in key.partition(":"))
    if colon and (path.parents[1] / "services" / namespace).is_dir():
        return
    words = [known_key.removeprefix(SETTING_PREFIX) for known_key in known]
    bare = not colon and difflib.get_close_matches(namespace.casefold(), words, n=1, cutoff=MIN_SIMILARITY)
    near = difflib.SequenceMatcher(None, namespace.casefold(), SETTING_PREFIX[:-1]).ratio() >= MIN_SIMILARITY
    if not near and not bare:
        return
    intended = f"{SETTING_PREFIX}{bare[0] if bare else name}"
    nearest = difflib.get_close_matches(intended, known, n=1)
    raise ConfigError(
        f"{path}:{line}: unknown key `{key}`",
        remedy=f"{f'Did you mean `{nearest[0]}`? ' if nearest else ''}Known keys here: {', '.join(sorted(known))}.",
    )


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in ("", "~", "null", "Null", "NULL")


class _AmbiguousYaml(Exception):
    """YAML that parsers understand differently."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.line = line


class _UnambiguousLoader(BoundedLoader):
    """Composes nodes of what is written out; anchors, aliases and tags are refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _AmbiguousYaml("an anchor or alias (`&`, `*`) refers to a text that is written elsewhere", line)
        if event.tag is not None:
            raise _AmbiguousYaml(f"the tag `{event.tag}` changes the type of a value", line)
        return super().compose_node(parent, index)
