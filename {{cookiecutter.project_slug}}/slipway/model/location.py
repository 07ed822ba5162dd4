"""Where a workspace may lie: what of a folder's path Pulumi, Python and BuildKit would misread is refused at once."""

from __future__ import annotations

from pathlib import Path

from slipway.model.errors import ConfigError

MISREAD = {
    "%": "Pulumi reads it in the address of its state as the beginning of another letter",
    "#": "Pulumi reads it in the address of its state as the address's end",
    "?": "Pulumi reads it in the address of its state as the address's end",
    ":": "it separates folders in PATH, where .venv/bin and .slipway/bin stand",
    **dict.fromkeys(
        '"$`\\', "pip writes the path into the scripts in .venv/bin, where a shell may read it as something else"
    ),
}
"""Characters that no workspace's path may hold, and why."""


def refuse_odd_path(root: Path) -> None:
    """Refuse a workspace whose path holds a character that a tool would misread.

    Raises:
        ConfigError: it names the character.
    """
    text = str(root)
    found = next((char for char in text if char in MISREAD or not char.isprintable()), None)
    if found is None:
        return
    why = MISREAD.get(found, "no tool prints or reads it as it is")
    name = found if found in MISREAD else repr(found)
    raise ConfigError(
        f"the workspace lies in {text!r}, and {name} in a path does not work: {why}",
        remedy="Move or rename the folder (letters, digits, spaces, dots, dashes and underscores are safe); "
        "then remove .venv, which is made anew.",
    )
