"""Copies of build contexts with normalized modes, for checkouts whose files have others.

Git keeps of a mode only whether a file's owner may run it; the rest is what the umask of the clone was. The content
digest counts modes as git does, so an image has to get them like that, too, and BuildKit sends what the disk has. A
context whose modes are git's is built as it lies there. Any other one (umask 002 or 077, set-uid, read-only files) is
built from a copy in .slipway/contexts that this user alone can read, and of which only what changed is written again.
"""

# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH118, PTH211
# As in `build_context`: names are bytes here.

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

from slipway._internal.content import build_context, dockerignore, frontend
from slipway._internal.content.digest import BuildInputs
from slipway._internal.content.dockerignore import Dockerignore
from slipway._internal.content.stat_cache import FilesystemClock, StatCache, StatIndex
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import write_atomically

CONTEXTS_FOLDER = "contexts"
INDEX_FILE, LOCK_FILE = ".index.json", ".lock"


def normalize_inputs(inputs: BuildInputs, scratch: Path, *, preview: bool = False) -> BuildInputs:
    """Return build inputs of the same content digest as a builder gets them.

    Their contexts have normal modes on disk, and their Dockerfile names no frontend that the builder has itself.

    Args:
        inputs: what decides an image.
        scratch: the workspace's .slipway, for copies.
        preview: nothing is built of them: the frontend that they ask for need not be there.

    Raises:
        ConfigError: a file cannot be read.
        EvidenceError: the bases' lock does not have the frontend that the Dockerfile asks for.
        SlipwayError: a context changed while it was copied, or cannot be copied.
    """
    main = normalize_context(inputs.context, dockerignore.load_dockerignore(inputs.context, inputs.dockerfile), scratch)
    named = {
        name: normalize_context(root, dockerignore.load_dockerignore(root), scratch)
        for name, root in inputs.contexts.items()
    }
    parsed = inputs.read_dockerfile()
    if not preview and frontend.FRONTEND_ARGUMENT not in inputs.args:
        frontend.require_served(parsed, inputs.frontend)
    dockerfile = frontend.built_dockerfile(parsed, scratch)
    return replace(inputs, dockerfile=dockerfile, context=main, contexts=named, parsed=parsed)


def copy_path(root: Path, scratch: Path) -> Path:
    """Return where the copy of a context is, which is the same in every clone; BuildKit's records name its folder."""
    key = hashlib.sha256(os.fsencode(os.path.relpath(root, scratch))).hexdigest()
    return scratch / CONTEXTS_FOLDER / key[:12] / root.name


def normalize_context(root: Path, rules: Dockerignore, scratch: Path) -> Path:
    """Return a context whose modes are normal: the folder itself, or else its copy, brought up to date.

    Raises:
        ConfigError: a file cannot be read.
        SlipwayError: it changed while it was copied, or cannot be copied.
    """
    copy = copy_path(root, scratch)
    if all(entry.normal for entry in build_context.walk(root, rules)):
        return root
    copy.mkdir(parents=True, exist_ok=True)
    copy.parent.chmod(0o700)
    index = copy.with_name(INDEX_FILE)
    with _folder_lock(copy.parent):
        stat_cache = StatCache(FilesystemClock.read(copy.parent), _read_index(index))
        _update_copy(root, rules, copy, stat_cache)
        write_atomically(index, json.dumps(stat_cache.settled()))
    return copy


def _update_copy(root: Path, rules: Dockerignore, copy: Path, stat_cache: StatCache) -> None:
    """Make a copy what the context is now."""
    expected = build_context.fingerprint_tree(root, rules, stat_cache)
    present = build_context.fingerprint_tree(copy, None, stat_cache)
    if present == expected:
        return
    try:
        _remove_stale(copy, [path for path, found in present.items() if expected.get(path) != found])
        for entry in build_context.walk(root, rules):
            if not os.path.lexists(_full_path(copy, entry.path)):
                _copy_entry(_full_path(root, entry.path), _full_path(copy, entry.path), entry)
    except (OSError, shutil.Error) as error:
        raise SlipwayError(
            f"the build context {root} could not be copied to {copy}, needed because its files do not have "
            f"the modes 644 and 755: {error}",
            remedy="If its files were being changed, run it again; if the disk is full, free some space.",
        ) from error
    if build_context.fingerprint_tree(copy, None, stat_cache) != expected:
        raise SlipwayError(
            f"the files in {root} were changed while they were copied for the build", remedy="Run it again."
        )


def _remove_stale(copy: Path, paths: Iterable[str]) -> None:
    """Remove what is stale in a copy, the deepest first; a folder with all that is in it."""
    for path in sorted(paths, reverse=True):
        full_path = _full_path(copy, path)
        if stat.S_ISDIR(os.lstat(full_path).st_mode):
            shutil.rmtree(full_path)
        else:
            os.unlink(full_path)


def _copy_entry(source: bytes, target: bytes, entry: build_context.ContextEntry) -> None:
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


def _full_path(root: Path, path: str) -> bytes:
    return os.path.join(os.fsencode(root), path.encode("utf-8", "surrogateescape"))


def _read_index(index: Path) -> StatIndex:
    try:
        return {
            path: (tuple(status), fingerprint) for path, (status, fingerprint) in json.loads(index.read_bytes()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder against others that would update it meanwhile."""
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # NFS locks no folder
    try:
        with suppress(OSError):  # a file system without locks: what two have written is found out in the end
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
