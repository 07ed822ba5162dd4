"""Finds what a user means to adopt: a folder, a Compose file, or a git repository, which is cloned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.masking import mask
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.git import run_git

COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
CLONE_SECONDS = 600.0
_URL = re.compile(r"(?:https?|ssh|git|file)://|[\w.-]+@[\w.-]+:")


@dataclass(frozen=True)
class Source:
    """What is adopted: a folder, or a Compose file in it; `given` is what it is called where no name is given."""

    folder: Path
    compose: Path | None
    given: str
    is_clone: bool = False


def is_url(text: str) -> bool:
    """Whether a text is the address of a git repository."""
    return _URL.match(text) is not None


@contextmanager
def open_source(workspace: Workspace, text: str, ref: str | None) -> Iterator[Source]:
    """Yield what a path or URL means, for the time of a `with`: a clone is removed then.

    Args:
        workspace: the workspace, which a folder must not hold.
        text: a path, or a git URL, with `#REF` for a branch or tag.
        ref: the branch or tag, named otherwise.

    Raises:
        ConfigError: there is no such thing, or it cannot be adopted.
        SlipwayError: the repository cannot be cloned.
    """
    if not is_url(text):
        if ref:
            raise ConfigError("--ref is for a git URL", remedy=f"Check {ref} out there, or name the repository's URL.")
        yield _local(workspace, Path(text).expanduser())
        return
    url, _, fragment = text.partition("#")
    with temporary_folder(workspace.scratch, "clone") as folder:
        clone = folder / "repository"
        _clone(folder, url, ref or fragment, clone)
        name = re.sub(r"\.git$", "", url.rstrip("/")).replace(":", "/").rpartition("/")[2]
        yield Source(clone, _compose_of(clone), name, is_clone=True)


def _local(workspace: Workspace, path: Path) -> Source:
    if path.is_file():
        if path.suffix not in (".yaml", ".yml"):
            raise ConfigError(f"{path} is a file", remedy="Name the folder that holds it, or a Compose file.")
        return Source(path.resolve().parent, path.resolve(), path.resolve().parent.name)
    if not path.is_dir():
        raise ConfigError(f"there is no {path}", remedy="Name a folder, a Compose file or a git URL.")
    folder, root = path.resolve(), workspace.root.resolve()
    if root.is_relative_to(folder):
        raise ConfigError(f"{path} holds this workspace", remedy="Name a folder that does not.")
    if folder == root / "services" or folder.parent == root / "services":
        raise ConfigError(
            f"{path} is in services/ already", remedy="Write its service.toml, or move the folder out first."
        )
    return Source(folder, _compose_of(folder), folder.name)


def _compose_of(folder: Path) -> Path | None:
    """Return the Compose file of a folder without a Dockerfile, which says more than any of its parts."""
    if any((folder / name).is_file() for name in ("Dockerfile", "dockerfile")):
        return None
    return next((folder / name for name in COMPOSE_NAMES if (folder / name).is_file()), None)


def _clone(folder: Path, url: str, ref: str, target: Path) -> None:
    """Clone one commit of a repository; git asks nothing, and its hooks and submodules are left alone."""
    words: list[str | Path] = [
        "clone",
        "--quiet",
        "--depth",
        "1",
        "--no-tags",
        *(["--branch", ref] if ref else []),
        "--",
        url,
        target,
    ]
    result = run_git(folder, *words, timeout=CLONE_SECONDS)
    if result.code:
        raise SlipwayError(
            f"{mask(url)} cannot be cloned" + (f" at {ref}" if ref else ""),
            remedy="Check the address and the branch or tag: `git ls-remote URL` shows them.",
            detail=result.errors.strip(),
        )
