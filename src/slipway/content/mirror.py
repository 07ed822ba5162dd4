"""Copies of build contexts with the modes that git keeps, for checkouts that have other ones.

Git keeps of a mode only whether a file's owner may run it; the rest is what the umask of the clone was. The content
digest counts modes as git does, so an image has to get them like that, too, and BuildKit sends what the disk has. A
context whose modes are git's is built as it lies there. Any other one (umask 002 or 077, set-uid, read-only files) is
built from a copy in .slipway/contexts that this user alone can read, and of which only what changed is written again.
"""

# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH118, PTH211
# As in `files`: names are bytes here.

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from slipway.content import files, ignore
from slipway.content.digest import BuildInputs
from slipway.content.ignore import Ignore
from slipway.content.stats import Clock, Known, Memory
from slipway.model.errors import SlipwayError
from slipway.model.files import write_atomically

FOLDER = "contexts"
INDEX, LOCK = ".index.json", ".lock"


def with_normal_modes(inputs: BuildInputs, scratch: Path) -> BuildInputs:
    """Return build inputs of the same content digest whose contexts have normal modes on disk.

    Args:
        inputs: what decides an image.
        scratch: the workspace's .slipway, for copies.

    Raises:
        ConfigError: a file cannot be read.
        SlipwayError: a context changed while it was copied, or cannot be copied.
    """
    main = normal_context(inputs.context, ignore.of_context(inputs.context, inputs.dockerfile), scratch)
    named = {name: normal_context(root, ignore.of_context(root), scratch) for name, root in inputs.contexts.items()}
    return replace(inputs, context=main, contexts=named)


def copy_of(root: Path, scratch: Path) -> Path:
    """Return where the copy of a context is, which is the same in every clone; BuildKit's records name its folder."""
    key = hashlib.sha256(os.fsencode(os.path.relpath(root, scratch))).hexdigest()
    return scratch / FOLDER / key[:12] / root.name


def normal_context(root: Path, rules: Ignore, scratch: Path) -> Path:
    """Return a context whose modes are normal: the folder itself, or else its copy, brought up to date.

    Raises:
        ConfigError: a file cannot be read.
        SlipwayError: it changed while it was copied, or cannot be copied.
    """
    copy = copy_of(root, scratch)
    if all(entry.normal for entry in files.walk(root, rules)):
        return root
    copy.mkdir(parents=True, exist_ok=True)
    copy.parent.chmod(0o700)
    index = copy.with_name(INDEX)
    with _alone(copy.parent):
        memory = Memory(Clock.of(copy.parent), _known(index))
        _update(root, rules, copy, memory)
        write_atomically(index, json.dumps(memory.believed()))
    return copy


def _update(root: Path, rules: Ignore, copy: Path, memory: Memory) -> None:
    """Make a copy what the context is now."""
    wanted = files.fingerprints(root, rules, memory)
    there = files.fingerprints(copy, None, memory)
    if there == wanted:
        return
    try:
        _remove(copy, [path for path, found in there.items() if wanted.get(path) != found])
        for entry in files.walk(root, rules):
            if not os.path.lexists(_place(copy, entry.path)):
                _copy(_place(root, entry.path), _place(copy, entry.path), entry)
    except (OSError, shutil.Error) as error:
        raise SlipwayError(
            f"the build context {root} could not be copied to {copy}, which takes place where its files do not have "
            f"the modes 644 and 755: {error}",
            remedy="If somebody works on its files, run it again; if the disk is full, make room.",
        ) from error
    if files.fingerprints(copy, None, memory) != wanted:
        raise SlipwayError(
            f"the files in {root} were changed while they were copied for the build", remedy="Run it again."
        )


def _remove(copy: Path, paths: Iterable[str]) -> None:
    """Remove what is stale in a copy, the deepest first; a folder with all that is in it."""
    for path in sorted(paths, reverse=True):
        place = _place(copy, path)
        if stat.S_ISDIR(os.lstat(place).st_mode):
            shutil.rmtree(place)
        else:
            os.unlink(place)


def _copy(source: bytes, target: bytes, entry: files.Entry) -> None:
    """Copy one thing with its times and attributes, and give it its normal mode."""
    if entry.kind == "link":
        os.symlink(os.readlink(source), target)
        return
    if entry.kind == "folder":
        os.mkdir(target)
    elif entry.kind == "pipe":
        os.mkfifo(target)
    elif entry.kind == "device":
        os.mknod(target, os.lstat(source).st_mode, entry.device)
    elif stat.S_ISREG(os.lstat(source).st_mode):
        shutil.copyfile(source, target, follow_symlinks=False)
    else:  # a socket: BuildKit sends it as an empty file
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    shutil.copystat(source, target, follow_symlinks=False)
    os.chmod(target, entry.mode)


def _place(root: Path, path: str) -> bytes:
    return os.path.join(os.fsencode(root), path.encode("utf-8", "surrogateescape"))


def _known(index: Path) -> Known:
    try:
        return {path: (tuple(status), mark) for path, (status, mark) in json.loads(index.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder against others that would update it meanwhile."""
    held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # NFS locks no folder
    try:
        with suppress(OSError):  # a file system without locks: what two have written is found out in the end
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
