"""The lock: which digest each service should run in a stack. `deploy/<stack>.lock.json`, in git."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from slipway.model.errors import EvidenceError
from slipway.model.files import write_atomically
from slipway.model.reading import exists, read_json

VERSION = 1


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service's line: the image by digest, the content digest that it was built from, and the git commit.

    `evidence` is what the gate attached to the image: the kind → the digest of its manifest in the registry; empty
    for an image that went through no gate.
    """

    ref: str
    content: str
    commit: str | None = None
    evidence: dict[str, str] = {}


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole lock file."""

    stack: str
    version: int = VERSION
    services: dict[str, Entry] = {}


def path_of(root: Path, stack: str) -> Path:
    return root / "deploy" / f"{stack}.lock.json"


def load(root: Path, stack: str) -> Lock:
    """Read a stack's lock; a stack that was never locked has an empty one.

    Raises:
        EvidenceError: the file is no lock, is another stack's, or names an image without a digest.
    """
    path = path_of(root, stack)
    remedy = f"Restore {path} from git, or write it anew with `invoke push --stack {stack}`."
    if not exists(path):
        return Lock(stack)
    lock = read_json(path, Lock, what="lock", error=EvidenceError, remedy=remedy)
    if lock.version != VERSION or lock.stack != stack:
        raise EvidenceError(f"{path} is the lock of stack `{lock.stack}`, version {lock.version}", remedy=remedy)
    for service, entry in lock.services.items():
        if not _pinned(entry.ref):
            raise EvidenceError(f"{path}: `{service}` is not locked by digest: {entry.ref}", remedy=remedy)
    return lock


def with_entries(lock: Lock, entries: dict[str, Entry]) -> Lock:
    """Return the lock with these services' entries replaced, in the services' order of names."""
    return Lock(lock.stack, lock.version, dict(sorted({**lock.services, **entries}.items())))


def save(root: Path, lock: Lock) -> Path:
    """Write the lock, readable in a diff; return its path."""
    path = path_of(root, lock.stack)
    write_atomically(path, json.dumps(msgspec.to_builtins(lock), indent=2) + "\n")
    return path


def _pinned(ref: str) -> bool:
    name, _, digest = ref.partition("@sha256:")
    return bool(name) and len(digest) == 64 and all(letter in "0123456789abcdef" for letter in digest)
