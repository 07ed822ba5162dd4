"""Whose the provider's objects are: it makes, changes and removes nothing of another state's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from slipway.model.errors import SlipwayError
from slipway.model.location import workspace_root
from slipway.run import engine
from slipway.run.owner import Owner, Thing, owner_of, refuse_others, state_ids
from slipway.run.things import name_taken, things


def owner() -> Owner:
    """Return whose the objects are that this provider makes."""
    return owner_of(workspace_root())


def labels_of(workspace: str, stack: str, service: str, urn: str) -> dict[str, str]:
    """Return the labels by which Slipway finds its containers and volumes again."""
    known = {engine.WORKSPACE: workspace, engine.STACK: stack, engine.SERVICE: service, engine.URN: urn}
    return {**known, **owner().labels}


def refuse_beside_others(workspace: str, stack: str, urn: str) -> None:
    """Raise ConfigError where another owner has objects of a stack; the engine is asked once for each deployment."""
    _look(workspace, stack, "::".join(urn.split("::")[:2]))


@lru_cache(maxsize=64)
def _look(workspace: str, stack: str, urn: str) -> None:
    refuse_others(owner(), stack, things(workspace, stack), lambda: _known(urn))


def look_again() -> None:
    """Forget what the engine had when the deployment before this one began."""
    _look.cache_clear()


def refuse_copied(labels: Mapping[str, str], name: str) -> None:
    """Raise ConfigError for an object that this state knows only because it is a copy of the state that made it."""
    if owner().judge(labels) == "copy":
        thing = Thing("container", name, "", labels)
        refuse_others(owner(), labels.get(engine.STACK, ""), [thing], frozenset)


def remove_left_behind(name: str, urn: str) -> None:
    """Remove the container of this name where a killed deployment of this state made it, or the state has lost it.

    Raises:
        SlipwayError: it is somebody else's; it is left as it is.
    """
    thing = container_called(name)
    if thing is None:
        return
    if not _is_ours(thing, urn):
        raise name_taken(thing, owner())
    engine.remove(thing.id, name=name)


def refuse_foreign_volume(name: str, urn: str) -> None:
    """Raise SlipwayError where a volume of this name is somebody else's: the engine would mount it, whoever's it is."""
    with engine.speaking(), suppress(engine.sdk().errors.NotFound):
        found = engine.client().volumes.get(name)
        thing = Thing("volume", name, name, found.attrs.get("Labels") or {})
        if not _is_ours(thing, urn):
            raise name_taken(thing, owner())


def container_called(name: str) -> Thing | None:
    """Return the container that has a name; None where none has."""
    with engine.speaking(), suppress(engine.sdk().errors.NotFound):
        found = engine.client().api.inspect_container(name)
        if found["Name"].lstrip("/") == name:  # the engine also takes the beginning of an id
            return Thing("container", name, found["Id"], found["Config"].get("Labels") or {})
    return None


def name_conflict(name: str, error: BaseException) -> SlipwayError | None:
    """Return the error for a name that somebody else's container has; None where an error says something else."""
    if "is already in use by container" not in str(error):
        return None
    thing = container_called(name)
    return name_taken(thing, owner()) if thing else None


def network_is_ours(network: Any, urn: str) -> bool:
    """Say whether a network is one that a killed deployment of this state made."""
    return _is_ours(Thing("network", network.name, network.id, network.attrs.get("Labels") or {}), urn)


def _is_ours(thing: Thing, urn: str) -> bool:
    """Whether a thing is of this owner and resource; what an earlier version made, only as far as that is known."""
    if thing.labels.get(engine.URN) != urn:
        return False
    verdict = owner().judge(thing.labels)
    if verdict == "unsaid" and thing.kind == "volume":  # which no state knows; the resource is in its labels
        return True
    return verdict == "own" or (verdict != "copy" and thing.id in _known(urn))


def _known(urn: str) -> Collection[str]:
    """Return the ids that the state knows of the stack of a resource, as far as it can be read here."""
    stack, project = urn.split("::")[:2]
    return state_ids(workspace_root(), project, stack.removeprefix("urn:pulumi:")) or ()
