"""The lock: which digest each service should run in a stack. `deploy/<stack>.lock.json`, in git."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.files import write_atomically
from slipway._internal.model.names import DNS_LABEL, REGISTRY, RESERVED
from slipway._internal.model.structured_files import path_exists, read_json

VERSION = 1
GATEWAY = "gateway"
PREBUILT = (GATEWAY,)
"""Images that run beside the services. No service can have such a name (`names.RESERVED`)."""
MAX_SHOWN_CHARACTERS = 120
"""How many characters of a wrong value an error quotes."""
SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"(?!0+\Z)[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""A commit's whole hash; git writes only noughts for none."""
_EVIDENCE_KIND = re.compile(r"[a-z]{1,20}")


class LockEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service's line: the image by digest, the content digest that it was built from, and the git commit.

    `evidence` is what the gate attached to the image: the kind → the digest of its manifest in the registry; empty
    for an image that went through no gate.
    """

    ref: str
    content: str
    commit: str | None = None
    evidence: dict[str, str] = {}


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole lock file. `beside` is what runs beside the services and is built elsewhere: the gateway."""

    stack: str
    version: int = VERSION
    services: dict[str, LockEntry] = {}
    beside: dict[str, LockEntry] = {}


def path_of(root: Path, stack: str) -> Path:
    return root / "deploy" / f"{stack}.lock.json"


def stack_of(path: Path) -> str:
    """Return the stack that a lock file belongs to; the reverse of `path_of`."""
    return path.name.removesuffix(".lock.json")


def load(root: Path, stack: str) -> Lock:
    """Read a stack's lock; a stack that was never locked has an empty one.

    Raises:
        EvidenceError: the file is not a lock, is another stack's, or names an image without a digest.
    """
    path = path_of(root, stack)
    remedy = f"Restore {path} from git, or write it anew with `invoke push --stack {stack}`."
    if not path_exists(path):
        return Lock(stack)
    lock = read_json(path, Lock, what="lock", error=EvidenceError, remedy=remedy)
    if lock.version != VERSION or lock.stack != stack:
        raise EvidenceError(f"{path} is the lock of stack `{lock.stack}`, version {lock.version}", remedy=remedy)
    if unknown := lock.beside.keys() - set(PREBUILT):
        raise EvidenceError(
            f"{path}: `{printable_excerpt(min(unknown))}` is not an image that Slipway runs beside services",
            remedy=remedy,
        )
    if reserved := sorted(name for name in lock.services if RESERVED.match(name)):
        raise EvidenceError(f"{path}: `{printable_excerpt(reserved[0])}`: this is not a service name", remedy=remedy)
    for service, entry in (*lock.services.items(), *lock.beside.items()):
        if problem := _entry_problem(service, entry):
            raise EvidenceError(f"{path}: `{printable_excerpt(service)}`: {problem}", remedy=remedy)
    return lock


def refuse_foreign_images(
    path: Path, entries: Mapping[str, LockEntry], repositories: Mapping[str, Collection[str]]
) -> None:
    """Refuse images that are not in a repository of their service's.

    Args:
        path: the lock, for the message.
        entries: what it says, by service.
        repositories: the repositories that each service's image may be in.

    Raises:
        EvidenceError: an image is in another one, of another workspace or registry.
    """
    foreign = [
        f"{name}: {entry.ref} is not in {' or '.join(repositories[name])}"
        for name, entry in entries.items()
        if entry.ref.partition("@")[0] not in repositories[name]
    ]
    if foreign:
        raise EvidenceError(
            f"{path} names images outside this stack's repositories",
            detail="\n".join(foreign),
            remedy="Restore it from git. If the registry was changed, push or ship again.",
        )


def refuse_without_commit(path: Path, entries: Mapping[str, LockEntry]) -> None:
    """Refuse images without a commit, which no protected stack accepts: nobody could have reviewed them.

    Raises:
        EvidenceError: there are some.
    """
    if missing := [name for name, entry in entries.items() if not entry.commit]:
        raise EvidenceError(
            f"{path}: {', '.join(missing)}: names no commit, so nobody can tell what was reviewed",
            remedy=f"Commit everything that is in the images, then `invoke ship --stack {stack_of(path)}` again.",
        )


def with_entries(lock: Lock, entries: Mapping[str, LockEntry]) -> Lock:
    """Return the lock with these entries replaced, sorted by name; those of BESIDE go into a table of their own."""
    services = {name: entry for name, entry in entries.items() if name not in PREBUILT}
    beside = {name: entry for name, entry in entries.items() if name in PREBUILT}
    return Lock(
        lock.stack,
        lock.version,
        dict(sorted({**lock.services, **services}.items())),
        dict(sorted({**lock.beside, **beside}.items())),
    )


def all_entries(lock: Lock) -> dict[str, LockEntry]:
    """Return every line of a lock, those of the services first."""
    return {**lock.services, **lock.beside}


def save(root: Path, lock: Lock) -> Path:
    """Write the lock, readable in a diff; return its path."""
    path = path_of(root, lock.stack)
    write_atomically(path, json.dumps(msgspec.to_builtins(lock), indent=2) + "\n")
    return path


def printable_excerpt(text: str) -> str:
    """Return a text from a file fit for a message: without control characters, and cut to a length."""
    safe = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return safe if len(safe) <= MAX_SHOWN_CHARACTERS else f"{safe[:MAX_SHOWN_CHARACTERS]}…"


def _entry_problem(service: str, entry: LockEntry) -> str:
    """Return what is wrong with a service's line in words; empty where nothing is."""
    name, _, digest = entry.ref.partition("@")
    if not DNS_LABEL.fullmatch(service):
        return "this is not a service name"
    if not _DIGEST.fullmatch(digest):
        return f"it is not locked by digest: {printable_excerpt(entry.ref)}"
    if not REGISTRY.fullmatch(name) or "/" not in name:
        return f"{printable_excerpt(name)} is not a repository"
    if entry.content and not SHA256.fullmatch(entry.content):
        return f"`content` is {printable_excerpt(entry.content)!r} and no content digest"
    if entry.commit is not None and not _COMMIT.fullmatch(entry.commit):
        return f"`commit` is {printable_excerpt(entry.commit)!r} and no commit of git"
    unknown = [
        kind
        for kind, evidence_digest in entry.evidence.items()
        if not _EVIDENCE_KIND.fullmatch(kind) or not _DIGEST.fullmatch(evidence_digest)
    ]
    return (
        f"`evidence` names {printable_excerpt(unknown[0])!r}, which is not evidence named by digest" if unknown else ""
    )
