"""Ownership of the provider's objects: it never creates, changes or removes those of another state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.project import Project
from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.run import engine
from slipway._internal.run.engine_objects import list_objects, name_taken_error
from slipway._internal.run.owner import DeployedObject, StateOwner, owner_of, read_state_ids, refuse_others


def current_owner() -> StateOwner:
    """Return the owner of the objects that this provider creates."""
    return owner_of(Project(workspace_root()))


def object_labels(workspace: str, stack: str, service: str, urn: str) -> dict[str, str]:
    """Return the labels that identify Slipway's containers and volumes."""
    labels = {
        engine.WORKSPACE_LABEL: workspace,
        engine.STACK_LABEL: stack,
        engine.SERVICE_LABEL: service,
        engine.URN_LABEL: urn,
    }
    return {**labels, **current_owner().labels}


def refuse_foreign_objects(workspace: str, stack: str, urn: str) -> None:
    """Raise ConfigError if another owner has objects of a stack; asks the engine once per deployment."""
    _check_once(workspace, stack, "::".join(urn.split("::")[:2]))


@lru_cache(maxsize=64)
def _check_once(workspace: str, stack: str, urn: str) -> None:
    refuse_others(current_owner(), stack, list_objects(workspace, stack), lambda: _known_ids(urn))


def forget_checks() -> None:
    """Forget the results of the previous deployment's checks."""
    _check_once.cache_clear()


def refuse_copied_object(labels: Mapping[str, str], name: str) -> None:
    """Raise ConfigError if this state knows an object only because it is a copy of the state that created it."""
    if current_owner().classify(labels) == "copy":
        thing = DeployedObject("container", name, "", labels)
        refuse_others(current_owner(), labels.get(engine.STACK_LABEL, ""), [thing], frozenset)


def remove_orphaned_container(name: str, urn: str) -> None:
    """Remove the container of this name if this state's killed deployment created it, or the state lost it.

    Raises:
        SlipwayError: it belongs to another owner; it stays.
    """
    thing = find_container(name)
    if thing is None:
        return
    if not _is_own(thing, urn):
        raise name_taken_error(thing, current_owner())
    engine.remove_container(thing.id, name=name)


def refuse_foreign_volume(name: str, urn: str) -> None:
    """Raise SlipwayError if a volume of this name belongs to another owner: the engine would mount it anyway."""
    with engine.docker_errors(), suppress(engine.load_sdk().errors.NotFound):
        volume = engine.client().volumes.get(name)
        thing = DeployedObject("volume", name, name, volume.attrs.get("Labels") or {})
        if not _is_own(thing, urn):
            raise name_taken_error(thing, current_owner())


def find_container(name: str) -> DeployedObject | None:
    """Return the container of this name, or None."""
    with engine.docker_errors(), suppress(engine.load_sdk().errors.NotFound):
        details = engine.client().api.inspect_container(name)
        if details["Name"].lstrip("/") == name:  # the engine also accepts a prefix of an id
            return DeployedObject("container", name, details["Id"], details["Config"].get("Labels") or {})
    return None


def name_conflict_error(name: str, error: BaseException) -> SlipwayError | None:
    """Return the error for a name that another owner's container has; None if the error is a different one."""
    if "is already in use by container" not in str(error):
        return None
    thing = find_container(name)
    return name_taken_error(thing, current_owner()) if thing else None


def is_own_network(network: Any, urn: str) -> bool:
    """Return whether a killed deployment of this state created the network."""
    return _is_own(DeployedObject("network", network.name, network.id, network.attrs.get("Labels") or {}), urn)


def _is_own(thing: DeployedObject, urn: str) -> bool:
    """Whether an object belongs to this owner and resource; an earlier version's, only as far as that is known."""
    if _flat_urn(thing.labels.get(engine.URN_LABEL, "")) != _flat_urn(urn):
        return False
    verdict = current_owner().classify(thing.labels)
    if verdict == "unsaid" and thing.kind == "volume":  # volumes are not in a state; the labels name the resource
        return True
    return verdict == "own" or (verdict != "copy" and thing.id in _known_ids(urn))


def _known_ids(urn: str) -> Collection[str]:
    """Return the ids in the state of a resource's stack, or none if it cannot be read here."""
    stack, project = urn.split("::")[:2]
    return read_state_ids(Project(workspace_root(), project), stack.removeprefix("urn:pulumi:")) or ()


def _flat_urn(urn: str) -> str:
    """Return a URN without the parents' types: a resource that moved in the tree is still the same."""
    head, separator, rest = urn.rpartition("$")
    return f"{head.rpartition('::')[0]}::{rest}" if separator else urn
