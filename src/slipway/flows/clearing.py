"""What `invoke prune --machine` removes beside images in registries: all that Slipway made here and needs no more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from slipway.flows.report import Report
from slipway.model import stack as stacks
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.workspace import Workspace
from slipway.run import engine
from slipway.run.state import local_state
from slipway.run.statefile import OWN
from slipway.toolchain import leftovers
from slipway.toolchain.leftovers import Leftover

KEPT_UPDATES = 20
"""How many updates of each stack stay in the history of a local state: as many as there are releases to go back to."""
_UPDATE = re.compile(r"(.+-\d+)\.(?:history|checkpoint)\.json.*")


def find(workspace: Workspace, needed: Mapping[str, str], now: datetime) -> list[Leftover]:
    """Return what can go from this machine; nothing is changed.

    Args:
        workspace: the workspace.
        needed: digest → why it is needed: by locks, bases and releases.
        now: the time to reckon from.
    """
    oldest = now - timedelta(days=workspace.settings.retention.days)
    return [
        *leftovers.find(),
        *_engine_images(workspace, needed),
        *_updates(workspace),
        *_logs(workspace, oldest),
    ]


def summary(found: Sequence[Leftover]) -> str:
    """Return in a sentence what would come free; nothing where nothing was found."""
    total = sum(each.bytes for each in found)
    return f"Of this machine {len(found)} more would go, {total / 1e6:,.0f} MB." if found else ""


def carry_out(found: Iterable[Leftover], report: Report) -> None:
    """Remove what was found."""
    for each in found:
        report.say(f"Removing {each.what}.")
        each.remove()


def _engine_images(workspace: Workspace, needed: Mapping[str, str]) -> Iterator[Leftover]:
    """Yield this workspace's images in the Docker engine that no container, lock or release needs."""
    prefixes = _prefixes(workspace)
    with suppress(SlipwayError), engine.speaking():
        client = engine.client().api
        used = {str(each["ImageID"]) for each in client.containers(all=True)}
        for image in client.df()["Images"] or ():
            refs = _refs(image)
            own = [ref for ref in refs if ref.startswith(prefixes)]
            wanted = {ref.rpartition("@")[2] for ref in refs} & needed.keys()
            if own and len(own) == len(refs) and not wanted and image["Id"] not in used:
                size = max(0, int(image["Size"]) - max(0, int(image.get("SharedSize") or 0)))
                yield Leftover(own[0], "no container, lock or release needs it", size, partial(_forget, own))


def _refs(image: Mapping[str, Any]) -> list[str]:
    found = [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]
    return [str(ref) for ref in found if not str(ref).startswith("<none>")]


def _forget(refs: Sequence[str]) -> None:
    for ref in refs:
        engine.forget_image(ref)


def _prefixes(workspace: Workspace) -> tuple[str, ...]:
    """Return what the names of this workspace's images begin with, in its registry and in those of its stacks."""
    addresses = {workspace.registry}
    for name in stacks.names(workspace.root):
        with suppress(ConfigError):
            addresses.add(stacks.load(workspace.root, name, {}).registry or workspace.registry)
    return tuple(f"{address}/{workspace.name}/" for address in sorted(addresses))


def _updates(workspace: Workspace) -> Iterator[Leftover]:
    """Yield the older updates in the history of a state that lies in a folder; the states themselves stay."""
    folder = local_state(workspace.root)
    if folder is None:
        return
    for kind in ("history", "backups"):
        for stack in sorted((folder / ".pulumi" / kind / workspace.name).glob("*/")):
            files = _beyond(stack, KEPT_UPDATES)
            if files:
                why = f"older than the last {KEPT_UPDATES} updates of {stack.name}"
                yield Leftover(f"{stack} ({len(files)} files)", why, _bytes(files), partial(_unlink, files))


def _beyond(folder: Path, kept: int) -> list[Path]:
    """Return the files of all updates in a folder but the last ones, by time; a state's own backups are none."""
    updates: dict[str, list[Path]] = {}
    for path in folder.glob("*.json*"):
        if path.name.startswith(OWN):
            continue
        found = _UPDATE.fullmatch(path.name)
        updates.setdefault(found[1] if found else path.name.partition(".json")[0], []).append(path)
    newest = sorted(updates, key=lambda name: max(_changed(path) for path in updates[name]))
    return [path for name in newest[:-kept] for path in updates[name]]


def _logs(workspace: Workspace, oldest: datetime) -> Iterator[Leftover]:
    """Yield the logs that are older than what retention keeps."""
    files = [path for path in (workspace.scratch / "logs").glob("*") if path.is_file() and not path.is_symlink()]
    old = [path for path in files if 0 < _changed(path) < oldest.timestamp()]
    if old:
        why = f"older than {workspace.settings.retention.days} days"
        yield Leftover(f"{workspace.scratch / 'logs'} ({len(old)} files)", why, _bytes(old), partial(_unlink, old))


def _changed(path: Path) -> float:
    """Return when a file was changed; a deploy that runs at this moment may have taken it away."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _bytes(files: Collection[Path]) -> int:
    total = 0
    for path in files:
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _unlink(files: Collection[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
