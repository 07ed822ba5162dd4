"""Says where in a Compose file the reason stands for which Docker Compose refuses it, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from slipway._internal.adopt.compose_file import ComposeFile
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.text import read_text

MAX_DETAIL_LINES = 10
_PATH = re.compile(r"\b(services|volumes|networks|secrets|configs)\.([A-Za-z0-9_.-]+)")
_VARIABLE = re.compile(r"required variable (\w+) is missing a value")
_FILE = re.compile(r"(?:env file|open|stat|file) (/\S+?)(?: not found|: no such file)")
_CIRCLE = re.compile(r"^\s*(\S+) in (\S+)$")


def compose_error(compose: ComposeFile, problems: Sequence[str]) -> ConfigError:
    """Return the error for a file that Docker Compose cannot read.

    Args:
        compose: the file, of which nothing but its text is known.
        problems: what Docker Compose said, a line each.
    """
    text = "\n".join(problems)
    where, remedy = str(compose.path), "Correct it until `docker compose config` reads it."
    if found := _VARIABLE.search(text):
        remedy = f"Write {found[1]}=… into {compose.folder / '.env'}, and adopt it again."
    if "Circular reference" in text:
        where = _line_of_circle(compose, problems)
        remedy = "Take one of these `extends` out: a service cannot be made of itself."
    elif "include cycle" in text:
        where = compose.where("include")
        remedy = "Take one of these `include` out: a file cannot be part of itself."
    elif found := _FILE.search(text):
        where = _line_of_file(compose, Path(found[1])) or where
        remedy = f"Restore {found[1]}, or take the line out."
    elif found := _PATH.search(text):
        where = compose.where(found[1], *found[2].strip(".").split("."))
    return ConfigError(
        f"{where}: Docker Compose cannot read it: {problems[0] if problems else 'it does not say why'}",
        remedy=remedy,
        detail="\n".join(problems[1:][:MAX_DETAIL_LINES]),
    )


def _line_of_circle(compose: ComposeFile, problems: Sequence[str]) -> str:
    first = next((found for line in problems if (found := _CIRCLE.match(line))), None)
    return compose.where("services", first[1], "extends") if first else str(compose.path)


def _line_of_file(compose: ComposeFile, missing: Path) -> str:
    """Return the first line of the files that names a file which is not there; nothing where none does."""
    for file in compose.files:
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if missing.name in line.partition("#")[0]:
                return f"{file}:{number}"
    return ""
