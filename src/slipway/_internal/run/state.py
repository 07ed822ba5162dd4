"""Pulumi's state: where it is, who holds a stack's lock, and the passphrase and home that belong to it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import MEGABYTE, write_atomically
from slipway._internal.model.project import Project
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.run import passphrase
from slipway._internal.run.process_status import read_status

GO_SETTINGS = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}
"""For programs in Go that live for seconds: until they hold so much memory, they collect garbage less often."""
PASSPHRASE_VARIABLES = passphrase.VARIABLES

COMPRESSED_SUFFIX, COMPRESSION_VARIABLES = ".gz", ("PULUMI_DIY_BACKEND_GZIP", "PULUMI_SELF_MANAGED_STATE_GZIP")
"""How the name of a compressed state ends, and the variables that ask for one: Slipway reads a folder's itself."""
MAX_SHOWN_CHARACTERS = 100
"""Letters of what a lock says that are shown."""


@dataclass(frozen=True)
class StateLock:
    """A lock in the state backend and what is known of its owner: `alive` where it lives, or nobody here can tell."""

    path: Path
    pid: int
    user: str
    host: str
    since: str
    alive: bool

    @property
    def owner(self) -> str:
        """Its owner in words."""
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}"

    @property
    def is_remote(self) -> bool:
        """Whether its owner is on another machine, so that nobody can tell from here whether it lives."""
        return bool(self.host) and self.host != os.uname().nodename

    def age(self) -> float:
        """Return the seconds since it was made; 0 where it does not say, or says a time to come."""
        try:
            created = datetime.fromisoformat(self.since)
            return max(0.0, time.time() - created.timestamp())
        except (ValueError, OverflowError, OSError):
            return 0.0


def pulumi_environment(project: Project, stack: str | None = None, *, make: bool = True) -> dict[str, str]:
    """Return the variables that Pulumi and its plugins need for this workspace.

    The passphrase that encrypts secrets in the configuration is the user's own (PULUMI_CONFIG_PASSPHRASE or
    …_FILE); where there is none, one is made once and kept in .slipway/passphrase, for this user's eyes only.

    Args:
        project: the workspace's.
        stack: the stack that they are for, if they are for one.
        make: make a passphrase where there is none.

    Raises:
        ConfigError: the stack's secrets were encrypted with a passphrase that is not here.
    """
    variables = {
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        **{name: os.environ.get(name, value) for name, value in GO_SETTINGS.items()},
    }
    root, folder = project.root, local_state_folder(project)
    if folder:
        variables.update(dict.fromkeys(COMPRESSION_VARIABLES, "false"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the folder of the state, {folder}, cannot be made: {error.strerror}",
                remedy="PULUMI_BACKEND_URL names it, or `backend` in infra/Pulumi.yaml: name one that you may write.",
            ) from error
        variables["PULUMI_HOME"] = str(pulumi_home(project))
    if make:
        name = project.name
        passphrase.ensure_passphrase(root, stack, state_file(folder, name, "x").parent if folder else None)
    return {**variables, **passphrase.passphrase_environment(root)}


def pulumi_home_without_logs(root: Path) -> Path:
    """Return a home for Pulumi in which it cannot keep its debug log.

    The CLI writes a log of everything at the highest level to $PULUMI_HOME/logs, always, secrets' values included
    until it knows how to encrypt them. A file in that place keeps it from doing so, and saves half of the CLI's time.
    Only where the state is local: other backends' credentials are in the user's own home.
    """
    home = root / ".slipway" / "pulumi"
    home.mkdir(parents=True, exist_ok=True)
    logs = home / "logs"
    if not logs.exists():
        write_atomically(logs, "This file keeps Pulumi from writing its debug log, which may hold secrets.\n")
    return home


def pulumi_home(project: Project) -> Path:
    """Return the home that Pulumi has when it works for this workspace.

    Raises:
        ConfigError: the backend in infra/Pulumi.yaml is none.
    """
    if "PULUMI_HOME" in os.environ:
        return Path(os.environ["PULUMI_HOME"])
    return pulumi_home_without_logs(project.root) if local_state_folder(project) else Path.home() / ".pulumi"


def backend_url(project: Project) -> str:
    """Return where the state is kept: PULUMI_BACKEND_URL, else what infra/Pulumi.yaml says."""
    url = os.environ.get("PULUMI_BACKEND_URL")
    if not url:
        return project.backend
    if project.exists:
        project.refuse_other_name()
    return url


def local_state_folder(project: Project) -> Path | None:
    """Return the folder that holds the state, or None when the backend in infra/Pulumi.yaml is not a folder.

    Raises:
        ConfigError: the file is damaged, or its address is none.
    """
    url = backend_url(project)
    try:
        parts = urlparse(url)
        if not parts.scheme and os.environ.get("PULUMI_BACKEND_URL"):
            raise ValueError("it has no scheme, such as file://, s3:// or https://")
        if parts.scheme != "file":
            return None
        return (project.root / "infra" / Path(unquote(f"{parts.netloc}{parts.path}")).expanduser()).resolve()
    except (ValueError, RuntimeError) as error:  # RuntimeError: a user's home that does not exist, a circle of links
        where = "PULUMI_BACKEND_URL" if "PULUMI_BACKEND_URL" in os.environ else f"{project.file}: backend: url"
        raise ConfigError(
            f"{where} is {url[:200]!r}, which is not an address: {error}", remedy="Write `file://` and a folder's path."
        ) from error


def lacks_passphrase(project: Project) -> bool:
    """Whether a stack that the backend knows was made with a passphrase which is not here: others share the backend.

    The Pulumi service has a key of its own for each stack.
    """
    if local_state_folder(project) or passphrase.has_passphrase(project.root):
        return False
    return not backend_url(project).startswith(("http://", "https://"))


def read_resource_ids(folder: Path, project: str, stack: str) -> frozenset[str] | None:
    """Return the ids of all that a stack's state in a file backend knows; None where it cannot be read."""
    try:
        latest = json.loads(state_file(folder, project, stack).read_text(encoding="utf-8"))["checkpoint"]["latest"]
        resources = latest.get("resources") or []
        return frozenset(str(resource["id"]) for resource in resources if resource.get("id"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def read_resources(folder: Path, project: str, stack: str, marker: str) -> list[dict[str, Any]]:
    """Return a stack's resources in a file backend; none where its state lacks the marker, or cannot be read."""
    try:
        text = state_file(folder, project, stack).read_text(encoding="utf-8")
        latest = json.loads(text)["checkpoint"]["latest"] if marker in text else {}
        return [resource for resource in latest.get("resources") or [] if isinstance(resource, dict)]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def state_file(folder: Path, project: str, stack: str) -> Path:
    """Return the file that holds a stack's state in a file backend."""
    return folder / ".pulumi" / "stacks" / project / f"{stack}.json"


def state_exists(file: Path) -> bool:
    """Whether there is a state, also one that Pulumi has compressed: it writes such a one anew as Slipway reads it."""
    return file.is_file() or file.with_name(f"{file.name}{COMPRESSED_SUFFIX}").is_file()


def list_stacks(folder: Path) -> list[str]:
    """Return the names of the stacks whose states are in a folder."""
    found = [*folder.glob("*.json"), *folder.glob(f"*.json{COMPRESSED_SUFFIX}")]
    return sorted({path.name.removesuffix(COMPRESSED_SUFFIX).removesuffix(".json") for path in found})


def deploy_marker_file(root: Path, stack: str) -> Path:
    """Return the file that is there while a deploy of a stack runs, and after one that was interrupted."""
    return root / ".slipway" / "run" / f"deploy-{stack}"


def list_locks(folder: Path, project: str, stack: str) -> list[StateLock]:
    """Return a stack's locks in a file backend."""
    return [
        read_lock(path)
        for path in sorted((folder / ".pulumi" / "locks" / "organization" / project / stack).glob("*.json"))
    ]


def read_lock(path: Path) -> StateLock:
    """Return what a lock's file says of its owner, and whether that lives."""
    data: Any = read_json_or_none(path, limit=MEGABYTE)
    data = data if isinstance(data, dict) else {}
    pid, host = data.get("pid"), _shown_text(data.get("hostname") or "")
    pid = pid if isinstance(pid, int) and 0 < pid < 2**31 else 0
    return StateLock(
        path,
        pid,
        _shown_text(data.get("username") or "somebody"),
        host,
        _shown_text(data.get("timestamp") or ""),
        alive=(bool(host) and host != os.uname().nodename) or _is_pulumi_process(pid),
    )


def _shown_text(value: object) -> str:
    """Return the beginning of a text from a lock as a terminal may show it."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:MAX_SHOWN_CHARACTERS])


def _is_pulumi_process(pid: int) -> bool:
    """Whether the process lives and is a Pulumi: a dead owner's number may have gone to another program."""
    status = read_status(pid)
    return status is not None and status.name == "pulumi" and not status.has_ended
