"""What a Compose service mounts: volumes become the service's own, files of the project are copied into its image."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway._internal.adopt.compose_file import ComposeFile
from slipway._internal.adopt.copying import list_files
from slipway._internal.adopt.frameworks import read
from slipway._internal.adopt.names import to_label, to_secret
from slipway._internal.adopt.plan import Draft
from slipway._internal.model.containers import SECRETS_DIR

SOCKETS = ("docker.sock", "podman.sock", "containerd.sock", "crio.sock")
HOST_FOLDERS = (
    "/",
    "/dev",
    "/proc",
    "/sys",
    "/boot",
    "/lib/modules",
    "/usr/src",
    "/var/run",
    "/run",
    "/var/lib/docker",
)
CLOCK_FILES = ("/etc/localtime", "/etc/timezone")
DATA_TARGETS = ("/var/lib/", "/data", "/bitnami/", "/usr/share/elasticsearch/data", "/config")
"""How paths begin where images keep what they write."""
RESERVED = (SECRETS_DIR, "/tmp", "/proc", "/sys", "/dev")  # noqa: S108 - the container's own
_VOLUME_PATH = re.compile(r"(/(?!\.\.?(?:/|$))[^/\s:,]+)+")
EXTRA_FOLDER = "adopted"
"""Where files stand in a service's folder that its image gets beside its own."""


@dataclass
class Additions:
    """Lines that a service's Dockerfile gets beside its own, and the files that they copy."""

    lines: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    def copy(self, source: Path, target: str) -> None:
        """Have a file or folder copied into the image."""
        name = f"{EXTRA_FOLDER}/{source.name}"
        number = 1
        while name in self.files and self.files[name] != source:
            number += 1
            name = f"{EXTRA_FOLDER}/{number}-{source.name}"
        self.files[name] = source
        into = f"{target.rstrip('/')}/" if source.is_dir() else target
        self.lines.append(f'COPY --chmod=u=rwX,go=rX ["{name}{"/" if source.is_dir() else ""}", "{into}"]')


def mount_all(compose: ComposeFile, draft: Draft, name: str, settings: dict[str, Any], added: Additions) -> None:
    """Carry over the volumes, bind mounts, tmpfs and configs of a service.

    Args:
        compose: the file.
        draft: the service, which gets [[volumes]] and rows.
        name: what the file calls it.
        settings: what the file says of it.
        added: gets what its image is to hold beside its own.
    """
    for number, mount in enumerate(settings.get("volumes") or ()):
        where = compose.where("services", name, "volumes", str(number))
        kind, target = str(mount.get("type")), str(mount.get("target", "")).rstrip("/") or "/"
        if kind == "bind":
            _bind(compose, draft, mount, target, where, added)
        elif kind == "volume":
            _volume(compose, draft, mount, target, where)
        elif kind == "tmpfs":
            _tmpfs(draft, target, where)
        else:
            draft.tell("not carried over", where, "volumes", f"a mount of the type {kind} at {target}", "[[volumes]]")
    for entry in settings.get("tmpfs") or ():
        _tmpfs(draft, str(entry).partition(":")[0], compose.where("services", name, "tmpfs"))
    for number, config in enumerate(settings.get("configs") or ()):
        _config(compose, draft, config, compose.where("services", name, "configs", str(number)), added)


def _volume(compose: ComposeFile, draft: Draft, mount: dict[str, Any], target: str, where: str) -> None:
    source = str(mount.get("source") or "")
    if not source:
        draft.tell(
            "not carried over",
            where,
            "volumes",
            f"{target} is a volume without a name, which goes with its container",
            "The container's own file system holds it. [[volumes]] is for what has to stay.",
        )
        return
    add_volume(draft, to_label(source), target, where)
    told = compose.table("volumes").get(source, {})
    if told.get("external") or told.get("driver") or told.get("driver_opts"):
        draft.tell(
            "to do",
            compose.where("volumes", source),
            f"volumes.{source}",
            "the volume is made anew, by the engine or cluster in its usual way",
            "Copy what it holds.",
        )


def add_volume(draft: Draft, name: str, target: str, where: str) -> None:
    """Give a service a volume, unless it cannot be at that path."""
    volumes = draft.settings.setdefault("volumes", [])
    label = name or "data"
    while any(volume["name"] == label for volume in volumes):
        label = f"{label}-2"
    nested = [volume for volume in volumes if _overlap(volume["path"], target)]
    reserved = any(target == path or target.startswith(f"{path}/") for path in RESERVED)
    if nested or reserved or not _VOLUME_PATH.fullmatch(target):
        why = f"it lies with {nested[0]['path']}" if nested else "no volume can be there"
        draft.tell("not carried over", where, "volumes", f"the volume {name} at {target}: {why}")
        if not volumes:
            del draft.settings["volumes"]
        return
    volumes.append({"name": label, "path": target})
    draft.tell("carried over", where, "volumes", f"{name} at {target}", "Empty at first: data of before is not copied.")


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _bind(compose: ComposeFile, draft: Draft, mount: dict[str, Any], target: str, where: str, added: Additions) -> None:
    source = Path(str(mount.get("source") or ""))
    if source.name in SOCKETS:
        draft.tell(
            "refused",
            where,
            "volumes",
            f"{source} is the engine's socket: a container that has it is root on its host",
            f"The gateway and the engine's logs do what such a service is for; leave it out: --skip {draft.name}.",
        )
    elif str(source) in CLOCK_FILES:
        draft.tell("not carried over", where, "volumes", f"{source} of the host", 'TZ = "Europe/Berlin" in [env].')
    elif any(
        str(source) == folder or (folder != "/" and str(source).startswith(f"{folder}/")) for folder in HOST_FOLDERS
    ):
        draft.tell(
            "refused",
            where,
            "volumes",
            f"{source} is the host's: no container sees it",
            f"Take the line out if the service runs without it, or leave it out: --skip {draft.name}.",
        )
    elif not source.resolve().is_relative_to(compose.folder.resolve()):
        add_volume(draft, to_label(source.name) or "data", target, where)
        draft.tell(
            "to do",
            where,
            "volumes",
            f"{source} lies outside of the project: a volume takes its place",
            "Copy its files.",
        )
    elif draft.sources is not None and source.is_dir() and _is_of_sources(source, draft.sources):
        draft.tell(
            "not carried over",
            where,
            "volumes",
            f"{_shown(compose, source)} at {target} is for development: the image holds the sources",
            "`invoke dev` builds what is saved; with [dev] sync it copies it.",
        )
    elif not source.exists() or _holds_data(source, target, mount):
        add_volume(draft, to_label(source.name) or "data", target, where)
        draft.tell(
            "to do",
            where,
            "volumes",
            f"{_shown(compose, source)} holds data: a volume takes its place",
            "Copy its files.",
        )
    else:
        added.copy(source, target)
        draft.tell("carried over", where, "volumes", f"{_shown(compose, source)} is copied into the image at {target}")


def _is_of_sources(source: Path, sources: Path) -> bool:
    """Whether a folder is part of what an image is built from, or holds it."""
    return source.is_relative_to(sources) or sources.is_relative_to(source)


def _holds_data(source: Path, target: str, mount: dict[str, Any]) -> bool:
    """Whether a mounted folder is rather what a service writes than what it is given."""
    if not source.is_dir() or mount.get("read_only"):
        return False
    return not any(source.iterdir()) or any(
        target == path.rstrip("/") or target.startswith(path) for path in DATA_TARGETS
    )


def _shown(compose: ComposeFile, path: Path) -> str:
    """Return a path as it is below the project's folder."""
    try:
        return str(path.relative_to(compose.folder)) if path != compose.folder else "."
    except ValueError:
        return str(path)


def _tmpfs(draft: Draft, target: str, where: str) -> None:
    if target == "/tmp":  # noqa: S108 - the container's own
        draft.tell("carried over", where, "tmpfs", "every container has its /tmp in memory", '[tmp] size = "64m"')
    else:
        draft.tell("not carried over", where, "tmpfs", f"only /tmp is in memory, so {target} is on disk")


def _config(compose: ComposeFile, draft: Draft, config: dict[str, Any], where: str, added: Additions) -> None:
    source = str(config.get("source", ""))
    target = str(config.get("target") or f"/{source}")
    told = compose.table("configs").get(source, {})
    file = Path(str(told["file"])) if told.get("file") else None
    if file and file.is_file() and file.resolve().is_relative_to(compose.folder.resolve()):
        added.copy(file, target)
        draft.tell("carried over", where, "configs", f"{_shown(compose, file)} is copied into the image at {target}")
    else:
        draft.tell(
            "not carried over",
            where,
            "configs",
            f"{source} is no file of the project",
            f"Write it as a file, and copy it to {target} in the Dockerfile.",
        )


def give_secrets(
    compose: ComposeFile, draft: Draft, name: str, settings: dict[str, Any]
) -> tuple[dict[str, str], list[str]]:
    """Carry over the secrets of a service.

    Returns:
        The paths that have another name now: old → new; and the commands that set the values.
    """
    paths: dict[str, str] = {}
    commands: list[str] = []
    for number, entry in enumerate(settings.get("secrets") or ()):
        where = compose.where("services", name, "secrets", str(number))
        source = str(entry.get("source", ""))
        old = str(entry.get("target") or source)
        old = old if old.startswith("/") else f"{SECRETS_DIR}/{old}"
        secret = to_secret(old.rpartition("/")[2])
        new = f"{SECRETS_DIR}/{secret}"
        draft.settings.setdefault("secrets", []).append(secret)
        if new != old:
            paths[old] = new
            draft.tell("kept otherwise", where, "secrets", f"{old} is {new}: a secret's name is a variable's")
        else:
            draft.tell("carried over", where, "secrets", f"the file {new}")
        told = compose.table("secrets").get(source, {})
        file = Path(str(told["file"])) if told.get("file") else None
        if file and not file.is_file():
            draft.tell(
                "to do",
                compose.where("secrets", source, "file"),
                f"secrets.{source}",
                f"{file} is not there: the secret has no value yet",
                "Restore it, or type the value when the command below asks for it.",
            )
        value = f" < {shlex.quote(str(file))}" if file and file.is_file() else ""
        commands.append(f"cd infra && ../.venv/bin/pulumi config set --secret --stack dev {draft.name}:{secret}{value}")
        if file and draft.sources and file.is_relative_to(draft.sources):
            draft.without = draft.without | {file}
    if paths:
        _tell_readers(draft, paths)
    return paths, commands


def _tell_readers(draft: Draft, paths: dict[str, str]) -> None:
    """Name the sources that read a secret by a name that it has no more."""
    for name in list_files(draft.sources, draft.without) if draft.sources else ():
        for number, line in enumerate(read(draft.sources or Path(), name).splitlines(), 1):
            for old, new in paths.items():
                if old in line:
                    draft.tell(
                        "to do", f"{draft.sources}/{name}:{number}", "secrets", f"it reads {old}", f"Read {new}."
                    )
