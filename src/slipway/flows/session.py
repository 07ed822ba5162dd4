"""Whose a stack is while somebody works on it: one `invoke dev` for each, and no deploy beside it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.model.errors import Busy
from slipway.model.workspace import Workspace
from slipway.toolchain.locking import alone

_mine: set[Path] = set()


@contextmanager
def session(workspace: Workspace, stack: str) -> Iterator[None]:
    """Have a stack to oneself for the time of a `with`; the system ends it with the process, however that ends.

    Raises:
        Busy: another `invoke dev` has it.
    """

    def refuse() -> None:
        raise busy(stack)

    lock = lock_of(workspace, stack)
    with alone(lock, refuse):
        _mine.add(lock)
        try:
            yield
        finally:
            _mine.discard(lock)


def refuse_beside_session(workspace: Workspace, stack: str) -> None:
    """Raise Busy where another process's `invoke dev` has the stack."""
    lock = lock_of(workspace, stack)
    if lock in _mine or not lock.is_file():
        return
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            raise busy(stack) from error


def lock_of(workspace: Workspace, stack: str) -> Path:
    return workspace.scratch / "run" / f"dev-{stack}.lock"


def busy(stack: str) -> Busy:
    return Busy(
        f"`invoke dev` is at work on `{stack}`",
        remedy="In its terminal, Enter deploys what you have and Ctrl-C ends it.",
    )
