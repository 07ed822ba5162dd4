"""A team's own targets: infra/targets/NAME.py, which `slipway:target: NAME` in a stack's file finds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from slipway._internal.model.errors import ConfigError

ENGINE_TARGETS = ("docker", "kubernetes")
"""The targets that Slipway has."""
FOLDER = "infra/targets"
_SHADOWING = re.compile(rf"{FOLDER}/({'|'.join(ENGINE_TARGETS)})(?:\.py|/.*\.py)")
"""What seems to be one of Slipway's targets in a workspace; earlier versions kept them there."""
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def list_own_targets(root: Path) -> tuple[str, ...]:
    """Return the names of the workspace's own targets."""
    names = sorted(path.stem for path in (root / FOLDER).glob("*.py"))
    return tuple(name for name in names if _NAME.fullmatch(name) and name not in ENGINE_TARGETS)


def own_target_file(root: Path, name: str) -> Path:
    """Return the file of an own target."""
    return root / FOLDER / f"{name}.py"


def refuse_shadowing_target(root: Path, target: str) -> None:
    """Refuse a file in infra/targets/ that is named after the stack's target, which Slipway declares itself.

    Earlier versions kept their targets there; a team that has changed one would else lose its changes without a word.

    Raises:
        ConfigError: there is one.
    """
    found = sorted(path.relative_to(root).as_posix() for path in (root / FOLDER).rglob("*.py"))
    for path in shadowing_targets(found):
        if _target_in(path) == target:
            raise ConfigError(f"{root / path} is not used: Slipway declares `{target}` itself", remedy=_remedy(path))


def shadowing_targets(paths: Iterable[str]) -> list[str]:
    """Return those of a workspace's paths that seem to be one of Slipway's targets."""
    return [path for path in paths if _SHADOWING.fullmatch(path)]


def shadowing_target_note(path: str) -> str:
    """Return what an update says of such a file."""
    return f"{path} is not used any more, and a deploy refuses it: Slipway declares that target itself. {_remedy(path)}"


def _target_in(path: str) -> str:
    found = _SHADOWING.fullmatch(path)
    return found[1] if found else ""


def _remedy(path: str) -> str:
    name = f"own-{_target_in(path)}"
    return (
        f"Say what you have changed in it as `transforms` in infra/__main__.py, and remove {path}; or make a target of "
        f"your own of it, {FOLDER}/{name}.py with a function `declare_services`, and set `slipway:target: {name}`."
    )
