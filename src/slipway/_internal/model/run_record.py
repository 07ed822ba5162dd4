"""Records of runs in `.slipway/records/`: what was built or deployed, how long each step took, how it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from slipway._internal.model.files import MEGABYTE, PRIVATE_MODE, write_atomically
from slipway._internal.model.masking import mask_all
from slipway._internal.model.structured_files import read_json_or_none

VERSION = 1
MAX_RECORDS = 50
"""How many of the newest records are kept."""
MAX_RECORD_BYTES = 20 * MEGABYTE
MAX_TIMESTAMP = 253402300800.0
"""The first moment that a date cannot express, in seconds since 1970."""

BUILD_VERBS = ("build", "ship", "test")
DEPLOY_VERBS = ("deploy", "rollback")

StepType = Literal["step", "image", "container", "gateway", "network", "gate"]
StepState = Literal["done", "cached", "failed", "stopped"]
RunOutcome = Literal["done", "failed", "interrupted"]


class RecordedStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was done for a service. Times are seconds since the record's `began`.

    `kind` says whose it was: one of BuildKit's steps (`step`), a whole image inside Pulumi (`image`), a container, the
    gateway, the network, or a step of the gate. `stopped` is what had not ended when the run did.
    """

    name: str
    kind: StepType
    begin: float
    end: float
    state: StepState = "done"


class Phase(msgspec.Struct, frozen=True):
    """A part of the command's own time, such as planning. Phases follow each other and never overlap."""

    name: str
    begin: float
    end: float


class RunRecord(msgspec.Struct, frozen=True, omit_defaults=True):
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
    result: RunOutcome
    stack: str = ""
    mode: str = ""
    problem: str = ""
    phases: tuple[Phase, ...] = ()
    services: dict[str, tuple[RecordedStep, ...]] = {}
    images: dict[str, str] = {}
    known: int = 0
    version: int = VERSION

    @property
    def began_at(self) -> datetime:
        return datetime.fromtimestamp(self.began, UTC)


def folder_of(root: Path) -> Path:
    return root / ".slipway" / "records"


def save(root: Path, record: RunRecord) -> Path:
    """Write a record, which a reader sees whole or not at all, and remove those that are too old to stay."""
    folder = folder_of(root)
    moment = record.began_at.strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"{moment}-{record.what}-{os.getpid()}.json"
    write_atomically(path, json.dumps(mask_all(msgspec.to_builtins(record))), mode=PRIVATE_MODE)
    for old in _record_paths(folder)[:-MAX_RECORDS]:
        with suppress(OSError):  # another process was quicker
            old.unlink()
    return path


def load_all(root: Path) -> list[RunRecord]:
    """Return what is kept, the oldest first; a file that is not a record of this version is passed over."""
    found = (_load_record(path) for path in _record_paths(folder_of(root)))
    return [record for record in found if record is not None]


def latest(records: Collection[RunRecord], verbs: Collection[str]) -> RunRecord | None:
    """Return the newest record of one of these kinds of work."""
    return next((record for record in reversed(list(records)) if record.what in verbs), None)


def busy_seconds(steps: Collection[RecordedStep]) -> float:
    """Return for how many seconds at least one of the steps was under way."""
    total, until = 0.0, float("-inf")
    for step in sorted(steps, key=lambda item: item.begin):
        total += max(0.0, step.end - max(step.begin, until))
        until = max(until, step.end)
    return total


def _record_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def _load_record(path: Path) -> RunRecord | None:
    record: RunRecord | None = read_json_or_none(path, RunRecord, limit=MAX_RECORD_BYTES)
    return record if record and record.version == VERSION and 0 <= record.began < MAX_TIMESTAMP else None
