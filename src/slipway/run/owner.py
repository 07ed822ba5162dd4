"""Whose a stack's objects on an engine are: the state that knows them. Two states never share a name by mistake."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

from slipway.model.errors import ConfigError
from slipway.model.files import unwritten
from slipway.run import statefile
from slipway.run.state import backend_url, known_ids, local_state, project_of

ID, FOLDER, STATE, HOST = "slipway.owner", "slipway.folder", "slipway.state", "slipway.host"
FILE = "slipway-owner"
"""The file in a state folder that holds its id: it moves with the folder, and a clone has another."""
NOBODY = "nobody"

Verdict = Literal["own", "copy", "other", "unsaid"]
"""An object is this owner's; it is that of the state which this one is a copy of; another's; nobody's that says so,
as an earlier version made it."""


@dataclass(frozen=True)
class Owner:
    """One state. `folder` is the workspace's, `state` the state's folder or its backend's URL, `host` the machine."""

    id: str
    folder: str
    state: str
    host: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels of what is this owner's."""
        return {ID: self.id, FOLDER: self.folder, STATE: self.state, HOST: self.host}

    def judge(self, labels: Mapping[str, str]) -> Verdict:
        """Say whose an object with these labels is."""
        if ID not in labels:
            return "unsaid"
        here = labels.get(HOST) == self.host
        if labels[ID] == self.id:
            return "copy" if here and self._is_copy_of(labels.get(STATE, "")) else "own"
        lost = here and labels.get(STATE) == self.state  # the state was removed, and begun anew in the same place
        return "own" if lost else "other"

    def has(self, labels: Mapping[str, str]) -> bool:
        """Say whether an object is this owner's, or may be as nobody says so."""
        return self.judge(labels) in ("own", "unsaid")

    def _is_copy_of(self, state: str) -> bool:
        """Whether two folders have this owner's id: one was copied, and its state knows the other's objects."""
        if state == self.state or not state.startswith("/"):
            return False
        with suppress(OSError):
            same = Path(state).samefile(self.state)
            return not same and (Path(state) / FILE).read_text(encoding="utf-8").strip() == self.id
        return False


@dataclass(frozen=True)
class Thing:
    """One object on an engine, in words (`container`, `network`, `volume`), with its name, id and labels."""

    kind: str
    name: str
    id: str
    labels: Mapping[str, str]


def owner_of(root: Path, *, make: bool = True) -> Owner:
    """Return whose the objects are that a workspace deploys.

    Args:
        root: the workspace's.
        make: give a state folder its id where it has none yet; without it nothing is written, and nothing is owned.
    """
    return _made(root, os.environ.get("PULUMI_BACKEND_URL")) if make else _found(root, make=False)


@lru_cache(maxsize=8)
def _made(root: Path, _backend: str | None) -> Owner:
    return _found(root, make=True)


def _found(root: Path, *, make: bool) -> Owner:
    folder = local_state(root)
    if folder is None:
        parts = urlparse(backend_url(root))
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # labels are for all to read
        return Owner(f"{url}#{project_of(root)}", str(root), url, host())
    return Owner(_id_in(folder, make=make), str(root), str(folder), host())


def _id_in(folder: Path, *, make: bool) -> str:
    path = folder / FILE
    with suppress(OSError, UnicodeDecodeError):
        if found := path.read_text(encoding="utf-8").strip():
            return found
    if not make:
        return NOBODY
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{FILE}.{secrets.token_hex(4)}"
    beside.write_text(f"{secrets.token_hex(8)}\n", encoding="utf-8")
    try:
        if path.exists() and not path.read_bytes().strip():  # a disk was full when it was written
            beside.replace(path)
        else:
            with suppress(FileExistsError):  # another command was first: its id counts
                os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8").strip()


@lru_cache(maxsize=1)
def host() -> str:
    """Return this machine's name, and what tells it from another of that name."""
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_text(encoding="utf-8").strip()
        return f"{os.uname().nodename}/{hashlib.sha256(machine.encode()).hexdigest()[:8]}"
    return os.uname().nodename


def refuse_others(owner: Owner, stack: str, things: Collection[Thing], known: Callable[[], Collection[str]]) -> None:
    """Raise ConfigError where something of a stack on the engine is another owner's.

    Args:
        owner: who asks.
        stack: the stack's name, for the message.
        things: all that has the labels of the workspace and the stack.
        known: returns the ids that the state of who asks knows; it is called only where something is in doubt.
    """
    verdicts = [(each, owner.judge(each.labels)) for each in things]
    if all(verdict == "own" for _, verdict in verdicts):
        return
    if copied := [each for each, verdict in verdicts if verdict == "copy"]:
        raise _copy(owner, stack, copied[0])
    ids = known()
    if others := [each for each, verdict in verdicts if verdict == "other" and each.id not in ids]:
        raise others_have(owner, stack, others[0])
    unsaid = [each for each, verdict in verdicts if verdict == "unsaid" and each.kind != "volume"]
    if unsaid and not any(each.id in ids for each in unsaid):
        names = ", ".join(sorted(each.name for each in unsaid))
        raise ConfigError(
            f"an earlier version of Slipway made {names} for `{stack}`, and this folder's state does not know them",
            remedy=f"Run `invoke down --stack {stack}` in the folder that made them; where that is gone, "
            f"`invoke down --stack {stack} --abandoned` here.",
        )


def others_have(owner: Owner, stack: str, thing: Thing) -> ConfigError:
    """Return the error that says whose a thing is, and what to do about it."""
    folder = thing.labels.get(FOLDER, "a folder that is not known")
    there = thing.labels.get(HOST, "")
    elsewhere = "" if there == owner.host else f" on {there.partition('/')[0] or 'another machine'}"
    where = "in this cluster" if thing.kind == "namespace" else "on this engine"
    what = f"`{stack}` already runs {where}, deployed from {folder}{elsewhere}: {thing.kind} {thing.name}"
    if thing.kind == "namespace":
        return ConfigError(
            what,
            remedy=f"`invoke up --stack {stack} --beside` gives this folder a namespace of its own; or "
            f"`invoke down --stack {stack}` there. If that folder is gone for good: "
            f"`kubectl delete namespace {thing.name}`.",
        )
    if is_gone(owner, thing.labels):
        return ConfigError(
            f"{what}; that folder is gone",
            remedy=f"`invoke down --stack {stack} --abandoned` removes what it left; then try again. "
            f"Or `invoke up --stack {stack} --beside`: names and a port of its own for this folder.",
        )
    ask = f" If it is gone for good: `invoke down --stack {stack} --abandoned`." if elsewhere else ""
    return ConfigError(
        what,
        remedy=f"`invoke up --stack {stack} --beside` gives this folder names and a port of its own, so that both "
        f"run; or `invoke down --stack {stack}` there.{ask}",
    )


def is_gone(owner: Owner, labels: Mapping[str, str]) -> bool:
    """Say whether the folder that labels name was on this machine and is no more; a backend's URL is never gone.

    One that this user may not look into, as in another user's home, is there as far as anybody can tell.
    """
    state = labels.get(STATE, "")
    if labels.get(HOST) != owner.host or not state.startswith("/"):
        return False
    try:
        Path(state).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _copy(owner: Owner, stack: str, thing: Thing) -> ConfigError:
    return ConfigError(
        f"{owner.folder} is a copy of {thing.labels.get(FOLDER)}, its state included: what runs belongs to that folder",
        remedy=f"Give this one a state of its own: remove {owner.state}, then `invoke up --stack {stack} --beside`.",
    )


def state_ids(root: Path, project: str, stack: str) -> Collection[str] | None:
    """Return the ids that a stack's state in a folder knows; None where it is elsewhere, or cannot be read."""
    if said := statefile.mend(root, project, stack):
        unwritten.append(said)
    folder = local_state(root)
    return known_ids(folder, project, stack) if folder else None
