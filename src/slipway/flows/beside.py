"""What runs beside the services and is built elsewhere: the gateway, by digest."""

from __future__ import annotations

from slipway.commands.cosign import SIGNATURE
from slipway.model import bases, lock
from slipway.model.errors import EvidenceError
from slipway.model.stack import Stack
from slipway.model.workspace import Workspace

KINDS = (SIGNATURE, "sbom", "spdx", "scan")
"""The evidence that an image has which was built elsewhere."""
SOURCES = {lock.GATEWAY: bases.GATEWAY}
"""What runs beside the services → the base that it is."""


def names(stack: Stack) -> tuple[str, ...]:
    """Return what runs beside a stack's services; on a cluster nothing: its gateway is its own."""
    return tuple(SOURCES) if stack.target == "docker" else ()


def sources(workspace: Workspace, stack: Stack) -> dict[str, str]:
    """Return what runs beside a stack's services, and the image by digest that `bases/bases.lock.json` has for it.

    Raises:
        EvidenceError: the bases are not resolved, or one is missing.
    """
    wanted = {name: SOURCES[name] for name in names(stack)}
    known = bases.load(workspace.root).bases if wanted else {}
    if missing := [base for base in wanted.values() if base not in known]:
        raise EvidenceError(
            f"{bases.path_of(workspace.root)} does not name {', '.join(missing)}", remedy="Run `invoke setup`."
        )
    return {name: known[base] for name, base in wanted.items()}


def running(workspace: Workspace, stack: Stack, locked: lock.Lock) -> dict[str, str]:
    """Return what runs beside a stack's services: what is locked, else, where the stack is not protected, the base.

    Raises:
        EvidenceError: the stack is protected, and its lock was made before this had to pass the gate.
    """
    refuse_missing(workspace, stack, locked, stack.name)
    found = {name: locked.beside[name].ref for name in names(stack) if name in locked.beside}
    return found if set(found) == set(names(stack)) else {**sources(workspace, stack), **found}


def refuse_missing(workspace: Workspace, stack: Stack, locked: lock.Lock, shipped: str) -> None:
    """Refuse, for a protected stack, a lock that says nothing of what runs beside the services.

    Args:
        workspace: the workspace.
        stack: where it is to run.
        locked: the lock.
        shipped: the stack to ship to.

    Raises:
        EvidenceError: it is stale.
    """
    missing = ", ".join(name for name in names(stack) if name not in locked.beside)
    if missing and stack.protected:
        raise EvidenceError(
            f"{lock.path_of(workspace.root, locked.stack)} is stale: it has no proven image for the {missing}, "
            "which runs in front of the services",
            remedy=f"Run `invoke ship --stack {shipped}`: what has passed stays, the rest goes through the gate too.",
        )
