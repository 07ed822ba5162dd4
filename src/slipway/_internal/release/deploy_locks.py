"""Removes locks of deploys that ended without releasing them."""

from __future__ import annotations

from collections.abc import Callable

from slipway._internal.context.reporter import Reporter
from slipway._internal.model.errors import SlipwayError, StackBusy
from slipway._internal.run.pulumi import PulumiStack
from slipway._internal.run.state import StateLock

ABANDONED_SECONDS = 24 * 3600
"""No deploy runs this long: after that time `--yes` also removes another machine's lock."""


def clear_stale_lock(pulumi_stack: PulumiStack, consent: Callable[[str], bool], reporter: Reporter) -> None:
    """Remove a dead owner's lock on consent; refuse if the owner is alive, or may be alive on another machine.

    Raises:
        StackBusy: the owner is or may be alive, or nobody consented.
    """
    for lock in pulumi_stack.list_locks():
        name = pulumi_stack.stack.name
        if lock.alive and not (lock.is_remote and lock.age() > ABANDONED_SECONDS):
            unlock_hint = (
                f" If it has stopped for good, remove its lock: `invoke unlock --stack {name}`."
                if lock.is_remote
                else ""
            )
            raise StackBusy(
                f"someone else is deploying `{name}`: {lock.owner}",
                remedy=f"Wait for it to end and try again.{unlock_hint}",
            )
        _remove_lock(lock, name, consent, reporter)


def remove_locks(pulumi_stack: PulumiStack, consent: Callable[[str], bool], reporter: Reporter) -> int:
    """Remove a stack's locks on consent, including those of other machines; return their number.

    Raises:
        StackBusy: a lock's owner is alive on this machine, or nobody consented.
    """
    locks = pulumi_stack.list_locks()
    for lock in locks:
        if lock.alive and not lock.is_remote:
            raise StackBusy(
                f"someone else is deploying `{pulumi_stack.stack.name}`: {lock.owner}",
                remedy="Wait until that deploy ends, or stop it.",
            )
        _remove_lock(lock, pulumi_stack.stack.name, consent, reporter)
    return len(locks)


def _remove_lock(lock: StateLock, stack: str, consent: Callable[[str], bool], reporter: Reporter) -> None:
    owner_state = "which may still be running there" if lock.is_remote else "which is dead"
    if not consent(f"`{stack}` is locked by {lock.owner}, {owner_state}. Remove the lock?"):
        raise StackBusy(
            f"`{stack}` is locked by {lock.owner}, {owner_state}",
            remedy="Run it again with --yes: this removes the lock and resumes from what actually runs.",
        )
    try:
        lock.path.unlink(missing_ok=True)
    except OSError as error:
        raise SlipwayError(
            f"cannot remove {lock.path}, a lock of `{stack}`: {error.strerror}", remedy="Delete the file by hand."
        ) from error
    reporter.say(f"Removed the lock that {lock.owner} left.")
