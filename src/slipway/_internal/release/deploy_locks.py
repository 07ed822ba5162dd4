"""Removes locks of deploys that have ended without taking their lock along."""

from __future__ import annotations

from collections.abc import Callable

from slipway._internal.context.reporter import Reporter
from slipway._internal.model.errors import SlipwayError, StackBusy
from slipway._internal.run.pulumi import PulumiStack
from slipway._internal.run.state import StateLock

ABANDONED_SECONDS = 24 * 3600
"""After so long no deploy is at work any more: `--yes` then removes another machine's lock."""


def clear_stale_lock(pulumi_stack: PulumiStack, consent: Callable[[str], bool], reporter: Reporter) -> None:
    """Remove a lock whose owner is dead, on consent; refuse where its owner lives, or may live on another machine.

    Raises:
        StackBusy: the owner lives or may live, or nobody consented.
    """
    for lock in pulumi_stack.list_locks():
        name = pulumi_stack.stack.name
        if lock.alive and not (lock.is_remote and lock.age() > ABANDONED_SECONDS):
            unlock_hint = (
                f" Has it ended for good? `invoke unlock --stack {name}` removes its lock." if lock.is_remote else ""
            )
            raise StackBusy(
                f"someone else is deploying `{name}`: {lock.owner}",
                remedy=f"Wait for it to end and try again.{unlock_hint}",
            )
        _remove_lock(lock, name, consent, reporter)


def remove_locks(pulumi_stack: PulumiStack, consent: Callable[[str], bool], reporter: Reporter) -> int:
    """Remove a stack's locks, on consent also those of other machines; return how many there were.

    Raises:
        StackBusy: the owner of one lives on this machine, or nobody consented.
    """
    locks = pulumi_stack.list_locks()
    for lock in locks:
        if lock.alive and not lock.is_remote:
            raise StackBusy(
                f"someone else is deploying `{pulumi_stack.stack.name}`: {lock.owner}",
                remedy="It lives, so its lock stays: wait for it to end, or end it.",
            )
        _remove_lock(lock, pulumi_stack.stack.name, consent, reporter)
    return len(locks)


def _remove_lock(lock: StateLock, stack: str, consent: Callable[[str], bool], reporter: Reporter) -> None:
    owner_state = "and nobody can tell from here whether that lives" if lock.is_remote else "which is dead"
    if not consent(f"The lock of `{stack}` was left by {lock.owner}, {owner_state}. Remove it?"):
        raise StackBusy(
            f"the lock of `{stack}` was left by {lock.owner}, {owner_state}: that deploy was interrupted",
            remedy="Run it again with --yes: the lock is removed, and the deploy goes on from what really runs.",
        )
    try:
        lock.path.unlink(missing_ok=True)
    except OSError as error:
        raise SlipwayError(
            f"{lock.path}, a lock of `{stack}`, cannot be removed: {error.strerror}", remedy="Remove it by hand."
        ) from error
    reporter.say(f"Removed the lock that {lock.owner} left.")
