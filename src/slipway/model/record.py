"""What a run leaves behind: what was built or deployed, how long each step took, how it ended. `.slipway/records/`."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from slipway.model.files import MEGABYTE, PRIVATE, write_atomically
from slipway.model.masking import mask_all
from slipway.model.reading import read_memory

VERSION = 1
KEPT = 50
"""So many of the newest records stay."""
LIMIT = 20 * MEGABYTE
LAST = 253402300800.0
"""The first moment that a date cannot tell, in seconds since 1970."""

BUILDS = ("build", "ship", "test")
DEPLOYS = ("deploy", "rollback")

Kind = Literal["step", "image", "container", "gateway", "network", "gate"]
State = Literal["done", "cached", "failed", "stopped"]
Ended = Literal["done", "failed", "interrupted"]


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was done for a service. Times are seconds since the record's `began`.

    `kind` says whose it was: one of BuildKit's steps (`step`), a whole image inside Pulumi (`image`), a container, the
    gateway, the network, or a step of the gate. `stopped` is what had not ended when the run did.
    """

    name: str
    kind: Kind
    begin: float
    end: float
    state: State = "done"


class Phase(msgspec.Struct, frozen=True):
    """A part of the command's own time, such as planning. Phases follow each other and never overlap."""

    name: str
    begin: float
    end: float


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run. Never in it: a line that a step printed, an environment, a secret.

    Attributes:
        what: the command's work: `build`, `ship`, `push`, `deploy`, `rollback`.
        began: when, in seconds since 1970.
        seconds: how long it took as a whole.
        result: how it ended; `problem` says in one sentence what went wrong.
        stack, mode: where it was deployed or locked, and where its images came from; empty for a build.
        services: each service's steps; a base, the gateway and the network are in here too.
        images: service → its image, as `repository@sha256:…` or only the digest.
        known: how many services the workspace had.
    """

    what: str
    began: float
    seconds: float
    result: Ended
    stack: str = ""
    mode: str = ""
    problem: str = ""
    phases: tuple[Phase, ...] = ()
    services: dict[str, tuple[Step, ...]] = {}
    images: dict[str, str] = {}
    known: int = 0
    version: int = VERSION

    @property
    def when(self) -> datetime:
        return datetime.fromtimestamp(self.began, UTC)


def folder_of(root: Path) -> Path:
    return root / ".slipway" / "records"


def save(root: Path, record: Record) -> Path:
    """Write a record, which a reader sees whole or not at all, and remove those that are too old to stay."""
    folder = folder_of(root)
    moment = record.when.strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"{moment}-{record.what}-{os.getpid()}.json"
    write_atomically(path, json.dumps(mask_all(msgspec.to_builtins(record))), mode=PRIVATE)
    for old in _paths(folder)[:-KEPT]:
        with suppress(OSError):  # another process was quicker
            old.unlink()
    return path


def load_all(root: Path) -> list[Record]:
    """Return what is kept, the oldest first; a file that is no record of this version is passed over."""
    found = (_load(path) for path in _paths(folder_of(root)))
    return [record for record in found if record is not None]


def last(records: Collection[Record], whats: Collection[str]) -> Record | None:
    """Return the newest record of one of these kinds of work."""
    return next((record for record in reversed(list(records)) if record.what in whats), None)


def busy(steps: Collection[Step]) -> float:
    """Return for how many seconds at least one of the steps was under way."""
    total, until = 0.0, float("-inf")
    for step in sorted(steps, key=lambda each: each.begin):
        total += max(0.0, step.end - max(step.begin, until))
        until = max(until, step.end)
    return total


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def _load(path: Path) -> Record | None:
    record: Record | None = read_memory(path, Record, limit=LIMIT)
    return record if record and record.version == VERSION and 0 <= record.began < LAST else None
