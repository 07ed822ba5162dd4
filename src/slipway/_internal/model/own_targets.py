"""A team's own targets: infra/targets/NAME.py, which `slipway:target: NAME` in a stack's file finds."""

from __future__ import annotations

import re
from pathlib import Path

from slipway._internal.model.errors import ConfigError

ENGINE_TARGETS = ("docker", "kubernetes")
"""The targets that Slipway has."""
FOLDER = "infra/targets"
SHADOWING_PATHS = tuple(
    path for name in ENGINE_TARGETS for path in (f"{FOLDER}/{name}.py", f"{FOLDER}/{name}/__init__.py")
)
"""Where a workspace could seem to have one of Slipway's targets; earlier versions kept them there."""
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
    for path in SHADOWING_PATHS:
        if Path(path).relative_to(FOLDER).parts[0].removesuffix(".py") == target and (root / path).is_file():
            raise ConfigError(f"{root / path} is not used: Slipway declares `{target}` itself", remedy=_remedy(path))


def shadowing_target_note(path: str) -> str:
    """Return what an update says of such a file."""
    return f"{path} is not used any more, and a deploy refuses it: Slipway declares that target itself. {_remedy(path)}"


def _remedy(path: str) -> str:
    found = Path(path)
    old = found if found.parent.name == "targets" else found.parent
    name = f"own-{old.stem}"
    return (
        f"Say what you have changed in it as `transforms` in infra/__main__.py (docs/how-to/targets.md), and remove "
        f"{old}; or make it a target of your own: rename it to {FOLDER}/{name}.py, and set `slipway:target: {name}`."
    )
