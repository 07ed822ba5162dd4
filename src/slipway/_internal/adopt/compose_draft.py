"""One service of a Compose file on its way to a draft: what the file says, and what has become of it so far."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from slipway._internal.adopt.compose_file import ComposeFile
from slipway._internal.adopt.plan import Draft
from slipway._internal.content.dockerfile_facts import DockerfileFacts


@dataclass
class ComposeService:
    """One service on its way from a Compose file to a draft.

    Attributes:
        compose: the file.
        name: what the file calls it.
        settings: what Docker Compose makes of what the file says.
        draft: what it becomes.
        commands: what is left to the user to type.
        renamed: paths that have another name now.
        facts: what its Dockerfile says; None where it has none.
        http: the port by which browsers reach it; None for none.
        is_missing: whether its image cannot be named by digest, so that it is left out.
    """

    compose: ComposeFile
    name: str
    settings: dict[str, Any]
    draft: Draft
    commands: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    facts: DockerfileFacts | None = None
    http: int | None = None
    is_missing: bool = False

    def where(self, *keys: str) -> str:
        """Return the file and line of one of its keys."""
        return self.compose.where("services", self.name, *keys)

    def tell(self, fate: Any, key: str, why: str, instead: str = "", *below: str) -> None:
        """Take down what becomes of a key."""
        first = key.split(".")
        self.draft.tell(fate, self.where(*first, *below), key, why, instead)

    def text(self, value: Any) -> str:
        """Return a value as a text in which renamed paths have their new names."""
        found = json.dumps(value) if isinstance(value, (bool, dict, list)) else str(value)
        for old, new in self.renamed.items():
            found = re.sub(rf"{re.escape(old)}(?![\w.-])", new, found)
        return found

    def words(self, value: Any) -> list[str]:
        """Return the words of a command."""
        return [self.text(word) for word in value or ()]
