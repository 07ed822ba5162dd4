"""The saved state of the last scan: the status of every file that decides an image, and the images themselves.

`.slipway/known.json` holds the status of each file and folder that was read (`files`, by path from the workspace's
root, with the fingerprint of what is in a context), and the image that each service's content has (`images`). While
it is `whole`, an unchanged status of all says that every image is what it was then: without reading, asking or
starting anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from slipway import __version__
from slipway._internal.content.stat_cache import FilesystemClock, StatCache, StatIndex, is_unchanged
from slipway._internal.model.files import MAX_STATE_BYTES, read_bytes, write_best_effort

FORMAT = f"2 {__version__}"
CODE_PACKAGES = ("content", "model")
"""The packages whose code decides what a content digest is."""


@dataclass(frozen=True)
class BuiltImage:
    """The image of a content: its full tag, its digest, and whether the registry had it or which folder holds it."""

    tag: str
    digest: str
    pushed: bool = False
    layout: str = ""

    @property
    def available(self) -> bool:
        """Whether the image still exists, as far as this machine knows."""
        return self.pushed or (bool(self.layout) and Path(self.layout, "index.json").is_file())


@dataclass(frozen=True)
class SavedState:
    """The file's content."""

    complete: bool = False
    files: StatIndex = field(default_factory=dict)
    images: dict[str, BuiltImage] = field(default_factory=dict)


def unchanged_images(root: Path) -> dict[str, BuiltImage] | None:
    """Return every service's image if nothing that decides one has changed; None if the workspace must be read."""
    saved = load(root)
    is_unchanged_tree = saved.complete and all(is_unchanged(path, status) for path, (status, _) in saved.files.items())
    return saved.images if is_unchanged_tree and all(image.available for image in saved.images.values()) else None


def open_stat_cache(root: Path, saved: SavedState | None = None) -> StatCache:
    """Return the stat cache for a scan that begins now, before anything of the workspace is read.

    Args:
        root: the workspace's.
        saved: what is written down, where the caller has read it.
    """
    stat_cache = StatCache(FilesystemClock.read(root / ".slipway"), (saved or load(root)).files)
    for path in _watched_paths(root):
        stat_cache.record_path(path)
    return stat_cache


def forget_images(root: Path) -> None:
    """Forget all images, because one was removed or is missing. The status of files is kept."""
    saved = load(root)
    if saved.images:
        _write(root, SavedState(False, saved.files))


def save(
    root: Path, stat_cache: StatCache, images: Mapping[str, BuiltImage] | None = None, *, complete: bool = False
) -> None:
    """Save the results of a scan.

    Args:
        root: the workspace's.
        stat_cache: the reading's.
        images: the image of each service; None where the reading was not about them.
        complete: whether the scan covered all services: what it did not see is forgotten.
    """
    saved = load(root)
    files = stat_cache.settled() if complete else {**stat_cache.previous, **stat_cache.settled()}
    state = SavedState(complete and stat_cache.complete, files, saved.images if images is None else dict(images))
    if state.files != saved.files or state.images != saved.images or state.complete > saved.complete:
        _write(root, state)


def load(root: Path) -> SavedState:
    """Load the file; empty where it is missing, damaged or of another version."""
    try:
        document = json.loads(read_bytes(path_of(root), MAX_STATE_BYTES))
        if document["format"] != FORMAT:
            return SavedState()
        prefix = f"{root}/"
        files: StatIndex = {
            path if path.startswith("/") else prefix + path: ((size, modified, changed, inode, device), fingerprint)
            for path, (size, modified, changed, inode, device, fingerprint) in document["files"].items()
        }
        return SavedState(
            document["whole"] is True,
            files,
            {name: BuiltImage(**fields) for name, fields in document["images"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return SavedState()


def path_of(root: Path) -> Path:
    return root / ".slipway" / "known.json"


def _write(root: Path, state: SavedState) -> None:
    prefix = f"{root}/"
    content = {
        "format": FORMAT,
        "whole": state.complete,
        "files": {
            path.removeprefix(prefix): [*status, fingerprint] for path, (status, fingerprint) in state.files.items()
        },
        "images": {name: asdict(image) for name, image in state.images.items()},
    }
    write_best_effort(path_of(root), json.dumps(content, separators=(",", ":")))


def _watched_paths(root: Path) -> Iterator[Path]:
    """Yield what decides which contexts are read, and how: the model's files, folders that name things, the code."""
    yield root / "workspace.toml"
    yield root / "bases" / "bases.lock.json"
    yield root / "libs"
    yield root / "services"
    for folder in sorted((root / "services").glob("*/")):
        yield folder
        yield folder / "service.toml"
    for package in CODE_PACKAGES:
        code = Path(__file__).resolve().parents[1] / package
        yield code
        yield from sorted(code.glob("*.py"))
