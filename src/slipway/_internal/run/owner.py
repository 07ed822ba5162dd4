"""The owner of a stack's objects on an engine: the state that knows them. Two states never share names by mistake."""

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

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import write_failures
from slipway._internal.model.project import Project
from slipway._internal.run import engine, statefile
from slipway._internal.run.state import backend_url, local_state_folder, read_resource_ids

OWNER_LABEL, FOLDER_LABEL, STATE_LABEL, HOST_LABEL = "slipway.owner", "slipway.folder", "slipway.state", "slipway.host"
OWNER_FILE = "slipway-owner"
"""The file in a state folder that holds its id: it moves with the folder, and a clone has another."""
NO_OWNER = "nobody"

Ownership = Literal["own", "copy", "other", "unsaid"]
"""An object is this owner's; it is that of the state which this one is a copy of; another's; nobody's that says so,
as an earlier version made it."""


@dataclass(frozen=True)
class StateOwner:
    """One state: the workspace's folder, the state's own or its backend's URL, and the machine's name."""

    id: str
    folder: str
    state: str
    host: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels of what is this owner's."""
        return {OWNER_LABEL: self.id, FOLDER_LABEL: self.folder, STATE_LABEL: self.state, HOST_LABEL: self.host}

    def classify(self, labels: Mapping[str, str]) -> Ownership:
        """Say whose an object with these labels is."""
        if OWNER_LABEL not in labels:
            return "unsaid"
        same_host = labels.get(HOST_LABEL) == self.host
        if labels[OWNER_LABEL] == self.id:
            return "copy" if same_host and self._is_copy_of(labels.get(STATE_LABEL, "")) else "own"
        begun_anew = (
            same_host and labels.get(STATE_LABEL) == self.state
        )  # the state was removed, and begun anew in the same place
        return "own" if begun_anew else "other"

    def owns(self, labels: Mapping[str, str]) -> bool:
        """Say whether an object is this owner's, or may be as nobody says so."""
        return self.classify(labels) in ("own", "unsaid")

    def _is_copy_of(self, state: str) -> bool:
        """Whether two folders have this owner's id: one was copied, and its state knows the other's objects."""
        if state == self.state or not state.startswith("/"):
            return False
        with suppress(OSError):
            same_folder = Path(state).samefile(self.state)
            return not same_folder and (Path(state) / OWNER_FILE).read_text(encoding="utf-8").strip() == self.id
        return False


@dataclass(frozen=True)
class DeployedObject:
    """One object on an engine, in words (`container`, `network`, `volume`), with its name, id and labels."""

    kind: str
    name: str
    id: str
    labels: Mapping[str, str]


def owner_of(project: Project, *, make: bool = True) -> StateOwner:
    """Return whose the objects are that a workspace deploys.

    Args:
        project: the workspace's.
        make: give a state folder its id where it has none yet; without it nothing is written, and nothing is owned.
    """
    return _cached_owner(project, os.environ.get("PULUMI_BACKEND_URL")) if make else _read_owner(project, make=False)


@lru_cache(maxsize=8)
def _cached_owner(project: Project, _backend: str | None) -> StateOwner:
    return _read_owner(project, make=True)


def _read_owner(project: Project, *, make: bool) -> StateOwner:
    folder = local_state_folder(project)
    if folder is None:
        parts = urlparse(backend_url(project))
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # labels are for all to read
        return StateOwner(f"{url}#{project.name}", str(project.root), url, machine_name())
    return StateOwner(_owner_id(folder, make=make), str(project.root), str(folder), machine_name())


def _owner_id(folder: Path, *, make: bool) -> str:
    path = folder / OWNER_FILE
    with suppress(OSError, UnicodeDecodeError):
        if owner_id := path.read_text(encoding="utf-8").strip():
            return owner_id
    if not make:
        return NO_OWNER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{OWNER_FILE}.{secrets.token_hex(4)}"
    temporary.write_text(f"{secrets.token_hex(8)}\n", encoding="utf-8")
    try:
        if path.exists() and not path.read_bytes().strip():  # a disk was full when it was written
            temporary.replace(path)
        else:
            with suppress(FileExistsError):  # another command was first: its id counts
                os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8").strip()


@lru_cache(maxsize=1)
def machine_name() -> str:
    """Return this machine's name, and what tells it from another of that name."""
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_text(encoding="utf-8").strip()
        return f"{os.uname().nodename}/{hashlib.sha256(machine.encode()).hexdigest()[:8]}"
    return os.uname().nodename


def refuse_others(
    owner: StateOwner, stack: str, things: Collection[DeployedObject], known: Callable[[], Collection[str]]
) -> None:
    """Raise ConfigError where something of a stack on the engine is another owner's.

    Args:
        owner: who asks.
        stack: the stack's name, for the message.
        things: all that has the labels of the workspace and the stack.
        known: returns the ids that the state of who asks knows; it is called only where something is in doubt.
    """
    verdicts = [(deployed, owner.classify(deployed.labels)) for deployed in things]
    if all(verdict == "own" for _, verdict in verdicts):
        return
    if copied := [deployed for deployed, verdict in verdicts if verdict == "copy"]:
        raise _copied_state_error(owner, stack, copied[0])
    ids = known()
    if others := [deployed for deployed, verdict in verdicts if verdict == "other" and deployed.id not in ids]:
        raise foreign_object_error(owner, stack, min(others, key=lambda deployed: engine.DATA_LABEL in deployed.labels))
    unsaid = [deployed for deployed, verdict in verdicts if verdict == "unsaid" and deployed.kind != "volume"]
    if unsaid and not any(deployed.id in ids for deployed in unsaid):
        names = ", ".join(sorted(deployed.name for deployed in unsaid))
        raise ConfigError(
            f"an earlier version of Slipway made {names} for `{stack}`, and this folder's state does not know them",
            remedy=f"Run `invoke down --stack {stack}` in the folder that made them; where that is gone, "
            f"`invoke down --stack {stack} --abandoned` here.",
        )


def foreign_object_error(owner: StateOwner, stack: str, thing: DeployedObject) -> ConfigError:
    """Return the error that says whose a thing is, and what to do about it."""
    folder = thing.labels.get(FOLDER_LABEL, "a folder that is not known")
    machine = thing.labels.get(HOST_LABEL, "")
    elsewhere = "" if machine == owner.host else f" on {machine.partition('/')[0] or 'another machine'}"
    where = "in this cluster" if thing.kind == "namespace" else "on this engine"
    problem = f"`{stack}` already runs {where}, deployed from {folder}{elsewhere}: {thing.kind} {thing.name}"
    if thing.kind == "namespace":
        return ConfigError(
            problem,
            remedy=f"`invoke up --stack {stack} --beside` gives this folder a namespace of its own; or "
            f"`invoke down --stack {stack}` there. If that folder is gone for good: "
            f"`kubectl delete namespace {thing.name}`.",
        )
    if is_folder_gone(owner, thing.labels) and engine.DATA_LABEL in thing.labels:
        return ConfigError(
            f"the volume {thing.name} has data of `{stack}` that {folder} deployed; that folder is gone, and with it "
            "the password that the data was made with",
            remedy=f"If nobody needs the data: `docker volume rm {thing.name}` removes it for good. "
            f"Otherwise `invoke up --stack {stack} --beside`: names and a port of its own for this folder.",
        )
    if is_folder_gone(owner, thing.labels):
        return ConfigError(
            f"{problem}; that folder is gone",
            remedy=f"`invoke down --stack {stack} --abandoned` removes what it left; then try again. "
            f"Or `invoke up --stack {stack} --beside`: names and a port of its own for this folder.",
        )
    is_data = engine.DATA_LABEL in thing.labels
    abandon_hint = f" If it is gone for good: `invoke down --stack {stack} --abandoned`." if elsewhere else ""
    return ConfigError(
        problem,
        remedy=f"`invoke up --stack {stack} --beside` gives this folder names and a port of its own, so that both "
        f"run; or `invoke down --stack {stack}{' --volumes' * is_data}` there.{abandon_hint}",
    )


def is_folder_gone(owner: StateOwner, labels: Mapping[str, str]) -> bool:
    """Say whether the folder that labels name was on this machine and is no more; a backend's URL is never gone.

    One that this user may not look into, as in another user's home, is there as far as anybody can tell.
    """
    state = labels.get(STATE_LABEL, "")
    if labels.get(HOST_LABEL) != owner.host or not state.startswith("/"):
        return False
    try:
        Path(state).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _copied_state_error(owner: StateOwner, stack: str, thing: DeployedObject) -> ConfigError:
    return ConfigError(
        f"{owner.folder} is a copy of {thing.labels.get(FOLDER_LABEL)}, its state included: what runs belongs to that "
        "folder",
        remedy=f"Give this one a state of its own: remove {owner.state}, then `invoke up --stack {stack} --beside`.",
    )


def read_state_ids(project: Project, stack: str) -> Collection[str] | None:
    """Return the ids that a stack's state in a folder knows; None where it is elsewhere, or cannot be read."""
    if repair := statefile.repair_state(project, stack):
        write_failures.append(repair)
    folder = local_state_folder(project)
    return read_resource_ids(folder, project.name, stack) if folder else None
