"""Writes YAML for people and git to compare: texts in quotes or as blocks, keys in their order, nothing referred to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml


def dump_yaml(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return the documents as YAML, the same text on every machine."""
    return "---\n".join(yaml.dump(document, Dumper=_ReadableDumper, width=float("inf")) for document in documents)


class _ReadableDumper(yaml.SafeDumper):  # type: ignore[misc]
    """Each text keeps its type for every reader of YAML, whichever words that takes for a number or a truth."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: _ReadableDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else '"')


def _represent_mapping(dumper: _ReadableDumper, mapping: Mapping[str, Any]) -> yaml.Node:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", mapping.items())
    for key, _ in node.value:
        key.style = None
    return node


_ReadableDumper.add_representer(str, _represent_text)
_ReadableDumper.add_representer(dict, _represent_mapping)
