"""What the last reading of a workspace found: the status of every file that decides an image, and what came of it.

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
from slipway.content.stats import Clock, Known, Memory, same
from slipway.model.files import MEMORY_LIMIT, read_bytes, write_memory

FORMAT = f"2 {__version__}"
CODE = ("content", "model")
"""The packages whose code decides what a content digest is."""


@dataclass(frozen=True)
class Image:
    """The image of a content: its full tag, its digest, and whether the registry had it or which folder holds it."""

    tag: str
    digest: str
    pushed: bool = False
    layout: str = ""

    @property
    def there(self) -> bool:
        """Whether it can still be had, as far as this machine knows."""
        return self.pushed or (bool(self.layout) and Path(self.layout, "index.json").is_file())


@dataclass(frozen=True)
class Told:
    """What is written down."""

    whole: bool = False
    files: Known = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)


def unchanged(root: Path) -> dict[str, Image] | None:
    """Return every service's image where nothing that decides one has changed; None says: read the workspace."""
    told = load(root)
    as_it_was = told.whole and all(same(path, status) for path, (status, _) in told.files.items())
    return told.images if as_it_was and all(each.there for each in told.images.values()) else None


def begin(root: Path, told: Told | None = None) -> Memory:
    """Return the memory for a reading that begins now, before anything of the workspace is read.

    Args:
        root: the workspace's.
        told: what is written down, where the caller has read it.
    """
    memory = Memory(Clock.of(root / ".slipway"), (told or load(root)).files)
    for path in _settings(root):
        memory.watch(path)
    return memory


def forget(root: Path) -> None:
    """Forget which images there are: somebody removes some, or found one missing. What is known of files stays."""
    told = load(root)
    if told.images:
        _save(root, Told(False, told.files))


def keep(root: Path, memory: Memory, images: Mapping[str, Image] | None = None, *, whole: bool = False) -> None:
    """Write down what a reading found.

    Args:
        root: the workspace's.
        memory: the reading's.
        images: the image of each service; None where the reading was not about them.
        whole: whether the reading was of all services: what it did not come by is forgotten.
    """
    told = load(root)
    files = memory.believed() if whole else {**memory.before, **memory.believed()}
    now = Told(whole and memory.whole, files, told.images if images is None else dict(images))
    if now.files != told.files or now.images != told.images or now.whole > told.whole:
        _save(root, now)


def load(root: Path) -> Told:
    """Return what is written down; nothing where that is missing, damaged or of another version."""
    try:
        told = json.loads(read_bytes(path_of(root), MEMORY_LIMIT))
        if told["format"] != FORMAT:
            return Told()
        prefix = f"{root}/"
        files: Known = {
            path if path.startswith("/") else prefix + path: ((size, modified, changed, inode, device), fingerprint)
            for path, (size, modified, changed, inode, device, fingerprint) in told["files"].items()
        }
        return Told(told["whole"] is True, files, {name: Image(**each) for name, each in told["images"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Told()


def path_of(root: Path) -> Path:
    return root / ".slipway" / "known.json"


def _save(root: Path, told: Told) -> None:
    prefix = f"{root}/"
    content = {
        "format": FORMAT,
        "whole": told.whole,
        "files": {path.removeprefix(prefix): [*status, mark] for path, (status, mark) in told.files.items()},
        "images": {name: asdict(each) for name, each in told.images.items()},
    }
    write_memory(path_of(root), json.dumps(content, separators=(",", ":")))


def _settings(root: Path) -> Iterator[Path]:
    """Yield what decides which contexts are read, and how: the model's files, folders that name things, the code."""
    yield root / "workspace.toml"
    yield root / "bases" / "bases.lock.json"
    yield root / "libs"
    yield root / "services"
    for folder in sorted((root / "services").glob("*/")):
        yield folder
        yield folder / "service.toml"
    for package in CODE:
        code = Path(__file__).resolve().parents[1] / package
        yield code
        yield from sorted(code.glob("*.py"))
