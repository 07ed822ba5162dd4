"""What infra/Pulumi.yaml says: the project's name, and where its state is kept. Read once, when it is first asked."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import ParseError, parse_toml
from slipway._internal.model.structured_files import path_exists, read_yaml
from slipway._internal.model.text import read_text

_NAME_LINE = re.compile(r"""["']?name["']?\s*:""")


@dataclass(frozen=True)
class Project:
    """The Pulumi project of a workspace.

    Attributes:
        root: the workspace's folder.
        workspace_name: the workspace's name; None asks workspace.toml, for who has not read it.
    """

    root: Path
    workspace_name: str | None = field(default=None, compare=False)

    @property
    def file(self) -> Path:
        return self.root / "infra" / "Pulumi.yaml"

    @property
    def exists(self) -> bool:
        return path_exists(self.file)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """What the file says; a name that is not the workspace's is refused.

        Pulumi keeps the state under the project's name, and Slipway looks for it under the workspace's.
        """
        text = read_text(self.file)
        settings = read_yaml(self.file, text=text)
        model = self.root / "workspace.toml"
        name, workspace = settings.get("name"), self.workspace_name or _name_in(model)
        if workspace is not None and name != workspace:
            line = next((number for number, line in enumerate(text.splitlines(), 1) if _NAME_LINE.match(line)), 1)
            raise ConfigError(
                f"{self.file}:{line}: `name` is {name!r:.80}, but the workspace is {workspace!r:.80} by {model}",
                remedy=f"Write `name: {workspace}` there. Or, where stacks were deployed under the project's name, "
                "write that in workspace.toml.",
            )
        return settings

    def refuse_other_name(self) -> None:
        """Raise ConfigError where the file is damaged, or names another project than the workspace is."""
        self._settings  # noqa: B018 - reading it is the check

    @property
    def name(self) -> str:
        """The project's name; the workspace's, where there is no file and the backend is said elsewhere.

        Raises:
            ConfigError: the file is damaged, or the workspace has another name.
        """
        if self.workspace_name and not self.exists:
            return self.workspace_name
        return str(self._settings.get("name", ""))

    @property
    def backend(self) -> str:
        """The address of the state; empty where the file names none. Raises what `name` does."""
        backend = self._settings.get("backend") or {}
        url = backend.get("url", "") if isinstance(backend, dict) else backend
        if not isinstance(backend, dict) or not isinstance(url, str):
            raise ConfigError(
                f"{self.file}: `backend` is {backend!r:.80}", remedy="Write `backend:` and below it `  url: file://…`."
            )
        return url


def _name_in(model: Path) -> str | None:
    """Return `name` of workspace.toml; None where there is none that could be compared."""
    if not model.is_file():
        return None
    with suppress(ParseError):  # what is wrong in it is told by whoever reads all of it
        name = parse_toml(read_text(model)).get("name")
        return name if isinstance(name, str) else None
    return None
