"""Locks a stack during `invoke dev`: one session per stack, and no deploy at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway._internal.model.errors import StackBusy
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.locking import file_lock, try_lock

_own_locks: set[Path] = set()


@contextmanager
def dev_session_lock(workspace: Workspace, stack: str) -> Iterator[None]:
    """Lock a stack for a `with` block; the operating system releases the lock whenever the process ends.

    Raises:
        StackBusy: another `invoke dev` holds the lock.
    """

    def refuse() -> None:
        raise session_busy_error(stack)

    lock = session_lock_path(workspace, stack)
    with file_lock(lock, refuse):
        _own_locks.add(lock)
        try:
            yield
        finally:
            _own_locks.discard(lock)


def refuse_during_session(workspace: Workspace, stack: str) -> None:
    """Raise StackBusy if another process's `invoke dev` holds the stack's lock."""
    lock = session_lock_path(workspace, stack)
    if lock in _own_locks or not lock.is_file():
        return
    with lock.open("a") as file:
        if not try_lock(file, shared=True):
            raise session_busy_error(stack)


def session_lock_path(workspace: Workspace, stack: str) -> Path:
    return workspace.scratch / "run" / f"dev-{stack}.lock"


def session_busy_error(stack: str) -> StackBusy:
    return StackBusy(
        f"`invoke dev` is at work on `{stack}`",
        remedy="In its terminal, press Enter to deploy your changes, or Ctrl-C to stop it.",
    )
