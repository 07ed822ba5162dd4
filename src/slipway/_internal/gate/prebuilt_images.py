"""Images that are built elsewhere: the gateway's, which runs beside the services, and those that services name."""

from __future__ import annotations

from slipway._internal.commands.cosign import EVIDENCE_KINDS, SIGNATURE
from slipway._internal.model import bases_lock, lock
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace

PREBUILT_EVIDENCE_KINDS = (SIGNATURE, "sbom", "spdx", "scan")
"""The evidence that an image has which was built elsewhere."""
BASE_BY_NAME = {lock.GATEWAY: bases_lock.GATEWAY_BASE}
"""What runs beside the services → the base that it is."""


def evidence_kinds_of(workspace: Workspace, name: str) -> tuple[str, ...]:
    """Return the kinds of evidence that an image needs, by whether it is built here."""
    foreign = {service.name for service in workspace.services if not service.is_built}
    return PREBUILT_EVIDENCE_KINDS if name in {*lock.PREBUILT, *foreign} else EVIDENCE_KINDS


def names_for(stack: Stack) -> tuple[str, ...]:
    """Return what runs beside a stack's services; on a cluster nothing: its gateway is its own."""
    return tuple(BASE_BY_NAME) if stack.target == "docker" else ()


def base_refs(workspace: Workspace, stack: Stack) -> dict[str, str]:
    """Return what runs beside a stack's services, and the image by digest that `bases/bases.lock.json` has for it.

    Raises:
        EvidenceError: the bases are not resolved, or one is missing.
    """
    bases_by_name = {name: BASE_BY_NAME[name] for name in names_for(stack)}
    refs = bases_lock.load(workspace.root).bases if bases_by_name else {}
    if missing := [base for base in bases_by_name.values() if base not in refs]:
        raise EvidenceError(
            f"{bases_lock.path_of(workspace.root)} does not name {', '.join(missing)}", remedy="Run `invoke setup`."
        )
    return {name: refs[base] for name, base in bases_by_name.items()}


def resolve_refs(workspace: Workspace, stack: Stack, stack_lock: lock.Lock) -> dict[str, str]:
    """Return what runs beside a stack's services: what is locked, else, where the stack is not protected, the base.

    Raises:
        EvidenceError: the stack is protected, and its lock was made before this had to pass the gate.
    """
    refuse_missing(workspace, stack, stack_lock, stack.name)
    locked_refs = {name: stack_lock.beside[name].ref for name in names_for(stack) if name in stack_lock.beside}
    return locked_refs if set(locked_refs) == set(names_for(stack)) else {**base_refs(workspace, stack), **locked_refs}


def refuse_missing(workspace: Workspace, stack: Stack, stack_lock: lock.Lock, ship_stack: str) -> None:
    """Refuse, for a protected stack, a lock that says nothing of what runs beside the services.

    Args:
        workspace: the workspace.
        stack: where it is to run.
        stack_lock: the lock.
        ship_stack: the stack to ship to.

    Raises:
        EvidenceError: it is stale.
    """
    missing = ", ".join(name for name in names_for(stack) if name not in stack_lock.beside)
    if missing and stack.protected:
        raise EvidenceError(
            f"{lock.path_of(workspace.root, stack_lock.stack)} is stale: it has no verified image for the {missing}, "
            "which runs in front of the services",
            remedy=f"Run `invoke ship --stack {ship_stack}`: what has passed stays, the rest goes through the gate "
            "too.",
        )
