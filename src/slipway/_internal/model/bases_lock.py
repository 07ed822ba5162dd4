"""Which image each base is, by digest: `bases/bases.lock.json`, written by setup, in git."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.files import write_atomically
from slipway._internal.model.structured_files import path_exists, read_json

GATEWAY_BASE = "envoy"
"""The base that the gateway runs from."""


class BasesLock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`source` says where the bases come from (`official` or `hardened`); `bases` names each by digest."""

    source: str
    bases: dict[str, str] = {}


def path_of(root: Path) -> Path:
    return root / "bases" / "bases.lock.json"


def load(root: Path) -> BasesLock:
    """Read the bases' lock.

    Raises:
        EvidenceError: it was not made yet, or is damaged.
    """
    path = path_of(root)
    if not path_exists(path):
        raise EvidenceError(f"{path} is missing: the base images are not resolved yet", remedy="Run `invoke setup`.")
    remedy = "Restore it from git, or delete it and run `invoke setup`."
    return read_json(path, BasesLock, what="lock of bases", error=EvidenceError, remedy=remedy)


def save(root: Path, lock: BasesLock) -> None:
    """Write the lock, readable in a diff."""
    write_atomically(
        path_of(root),
        json.dumps({"source": lock.source, "bases": dict(sorted(lock.bases.items()))}, indent=2) + "\n",
    )
