"""Removes locks of deploys that have ended without taking their lock along."""

from __future__ import annotations

from collections.abc import Callable

from slipway.flows.report import Report
from slipway.model.errors import Busy, SlipwayError
from slipway.run.pulumi import Door
from slipway.run.state import StaleLock

OLD_SECONDS = 24 * 3600
"""After so long no deploy is at work any more: `--yes` then removes another machine's lock."""


def clear_stale_lock(door: Door, consent: Callable[[str], bool], report: Report) -> None:
    """Remove a lock whose owner is dead, on consent; refuse where its owner lives, or may live on another machine.

    Raises:
        Busy: the owner lives or may live, or nobody consented.
    """
    for lock in door.stale_locks():
        name = door.stack.name
        if lock.alive and not (lock.elsewhere and lock.age() > OLD_SECONDS):
            unless = (
                f" Has it ended for good? `invoke unlock --stack {name}` removes its lock." if lock.elsewhere else ""
            )
            raise Busy(
                f"someone else is deploying `{name}`: {lock.who}",
                remedy=f"Wait for it to end and try again.{unless}",
            )
        _remove(lock, name, consent, report)


def unlock(door: Door, consent: Callable[[str], bool], report: Report) -> int:
    """Remove a stack's locks, on consent also those of other machines; return how many there were.

    Raises:
        Busy: the owner of one lives on this machine, or nobody consented.
    """
    found = door.stale_locks()
    for lock in found:
        if lock.alive and not lock.elsewhere:
            raise Busy(
                f"someone else is deploying `{door.stack.name}`: {lock.who}",
                remedy="It lives, so its lock stays: wait for it to end, or end it.",
            )
        _remove(lock, door.stack.name, consent, report)
    return len(found)


def _remove(lock: StaleLock, stack: str, consent: Callable[[str], bool], report: Report) -> None:
    about = "and nobody can tell from here whether that lives" if lock.elsewhere else "which is dead"
    if not consent(f"The lock of `{stack}` was left by {lock.who}, {about}. Remove it?"):
        raise Busy(
            f"the lock of `{stack}` was left by {lock.who}, {about}: that deploy was interrupted",
            remedy="Run it again with --yes: the lock is removed, and the deploy goes on from what really runs.",
        )
    try:
        lock.path.unlink(missing_ok=True)
    except OSError as error:
        raise SlipwayError(
            f"{lock.path}, a lock of `{stack}`, cannot be removed: {error.strerror}", remedy="Remove it by hand."
        ) from error
    report.say(f"Removed the lock that {lock.who} left.")
