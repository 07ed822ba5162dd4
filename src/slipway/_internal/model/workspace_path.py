"""Where the workspace is. A path that Pulumi, Python or BuildKit would misread is refused at once."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.model.errors import ConfigError

UNSAFE_CHARACTERS = {
    "%": "in the URL of Pulumi's state it begins an escaped character",
    "#": "in the URL of Pulumi's state it ends the path",
    "?": "in the URL of Pulumi's state it ends the path",
    ":": "it separates folders in PATH, where .venv/bin and .slipway/bin stand",
    **dict.fromkeys(
        '"$`\\', "pip writes the path into the scripts in .venv/bin, where a shell may read it as something else"
    ),
}
"""Characters that no workspace's path may hold, and why."""
_named: list[Path] = []


def use_workspace(root: Path | None) -> None:
    """Name the workspace that this process works on; None for the one around the current folder."""
    _named[:] = [root] if root else []


def workspace_root() -> Path:
    """Return the workspace's folder: the one that was named, else the nearest with a workspace.toml, from here up."""
    return _named[0] if _named else nearest(Path.cwd()) or Path.cwd()


def nearest(start: Path) -> Path | None:
    """Return the nearest folder at or above `start` that holds a workspace.toml; None where there is none."""
    return next((folder for folder in (start, *start.parents) if (folder / "workspace.toml").is_file()), None)


def refuse_unsafe_path(root: Path) -> None:
    """Refuse a workspace whose path holds a character that a tool would misread.

    Raises:
        ConfigError: it names the character.
    """
    text = str(root)
    found = next((char for char in text if char in UNSAFE_CHARACTERS or not char.isprintable()), None)
    if found is None:
        return
    why = UNSAFE_CHARACTERS.get(found, "tools do not print or read it unchanged")
    name = found if found in UNSAFE_CHARACTERS else repr(found)
    raise ConfigError(
        f"the workspace lies in {text!r}, and {name} in a path does not work: {why}",
        remedy="Move or rename the folder (letters, digits, spaces, dots, dashes and underscores are safe); "
        "then remove .venv, which is made anew.",
    )
