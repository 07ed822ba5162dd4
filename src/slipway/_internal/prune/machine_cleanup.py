"""The extra removals of `invoke prune --machine`: what Slipway left on this machine and no longer needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from slipway._internal.context.reporter import Reporter
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import engine
from slipway._internal.run.state import local_state_folder
from slipway._internal.run.statefile import BACKUP_PREFIXES
from slipway._internal.toolchain import leftovers
from slipway._internal.toolchain.leftovers import Leftover

MAX_UPDATES = 20
"""How many updates of each stack stay in the history of a local state: as many as there are releases to go back to."""
_UPDATE_FILE = re.compile(r"(.+-\d+)\.(?:history|checkpoint)\.json.*")


def find_machine_leftovers(workspace: Workspace, needed: Mapping[str, str], now: datetime) -> list[Leftover]:
    """Return what can go from this machine; nothing is changed.

    Args:
        workspace: the workspace.
        needed: digest → why it is needed: by locks, bases and releases.
        now: the time to reckon from.
    """
    oldest = now - timedelta(days=workspace.settings.retention.days)
    return [
        *leftovers.find_leftovers(),
        *_engine_images(workspace, needed),
        *_old_updates(workspace),
        *_old_logs(workspace, oldest),
    ]


def summarize_leftovers(leftovers: Sequence[Leftover]) -> str:
    """Return in a sentence what would come free; nothing where nothing was found."""
    total = sum(leftover.bytes for leftover in leftovers)
    return f"Of this machine {len(leftovers)} more would go, {total / 1e6:,.0f} MB." if leftovers else ""


def remove_leftovers(leftovers: Iterable[Leftover], reporter: Reporter) -> None:
    """Remove what was found."""
    for leftover in leftovers:
        reporter.say(f"Removing {leftover.what}.")
        leftover.remove()


def _engine_images(workspace: Workspace, needed: Mapping[str, str]) -> Iterator[Leftover]:
    """Yield this workspace's images in the Docker engine that no container, lock or release needs."""
    prefixes = _image_prefixes(workspace)
    with suppress(SlipwayError), engine.docker_errors():
        client = engine.client().api
        used_ids = {str(container["ImageID"]) for container in client.containers(all=True)}
        for image in client.df()["Images"] or ():
            refs = _references(image)
            own_refs = [ref for ref in refs if ref.startswith(prefixes)]
            needed_digests = {ref.rpartition("@")[2] for ref in refs} & needed.keys()
            if own_refs and len(own_refs) == len(refs) and not needed_digests and image["Id"] not in used_ids:
                size = max(0, int(image["Size"]) - max(0, int(image.get("SharedSize") or 0)))
                yield Leftover(
                    own_refs[0], "no container, lock or release needs it", size, partial(_remove_images, own_refs)
                )


def _references(image: Mapping[str, Any]) -> list[str]:
    refs = [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]
    return [str(ref) for ref in refs if not str(ref).startswith("<none>")]


def _remove_images(refs: Sequence[str]) -> None:
    for ref in refs:
        engine.remove_image(ref)


def _image_prefixes(workspace: Workspace) -> tuple[str, ...]:
    """Return what the names of this workspace's images begin with, in its registry and in those of its stacks."""
    addresses = {workspace.registry}
    for name in stacks.names(workspace.root):
        with suppress(ConfigError):
            addresses.add(stacks.load(workspace.root, name, {}).registry or workspace.registry)
    return tuple(f"{address}/{workspace.name}/" for address in sorted(addresses))


def _old_updates(workspace: Workspace) -> Iterator[Leftover]:
    """Yield the older updates in the history of a state that lies in a folder; the states themselves stay."""
    folder = local_state_folder(workspace.project)
    if folder is None:
        return
    for kind in ("history", "backups"):
        for stack in sorted((folder / ".pulumi" / kind / workspace.name).glob("*/")):
            files = _files_beyond(stack, MAX_UPDATES)
            if files:
                why = f"older than the last {MAX_UPDATES} updates of {stack.name}"
                yield Leftover(f"{stack} ({len(files)} files)", why, _total_bytes(files), partial(_remove_files, files))


def _files_beyond(folder: Path, count: int) -> list[Path]:
    """Return the files of all updates in a folder but the last ones, by time; a state's own backups are none."""
    updates: dict[str, list[Path]] = {}
    for path in folder.glob("*.json*"):
        if path.name.startswith(BACKUP_PREFIXES):
            continue
        match = _UPDATE_FILE.fullmatch(path.name)
        updates.setdefault(match[1] if match else path.name.partition(".json")[0], []).append(path)
    newest = sorted(updates, key=lambda name: max(_modified_at(path) for path in updates[name]))
    return [path for name in newest[:-count] for path in updates[name]]


def _old_logs(workspace: Workspace, oldest: datetime) -> Iterator[Leftover]:
    """Yield the logs that are older than what retention keeps."""
    files = [path for path in (workspace.scratch / "logs").glob("*") if path.is_file() and not path.is_symlink()]
    old = [path for path in files if 0 < _modified_at(path) < oldest.timestamp()]
    if old:
        why = f"older than {workspace.settings.retention.days} days"
        yield Leftover(
            f"{workspace.scratch / 'logs'} ({len(old)} files)", why, _total_bytes(old), partial(_remove_files, old)
        )


def _modified_at(path: Path) -> float:
    """Return when a file was changed; a deploy that runs at this moment may have taken it away."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _total_bytes(files: Collection[Path]) -> int:
    total = 0
    for path in files:
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _remove_files(files: Collection[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
