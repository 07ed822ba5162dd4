"""Removes what a deleted folder left of a stack on a Docker engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slipway._internal.context.reporter import Reporter
from slipway._internal.model.errors import ConfigError
from slipway._internal.run import engine
from slipway._internal.run.engine_objects import empty_network, is_data
from slipway._internal.run.owner import (
    FOLDER_LABEL,
    HOST_LABEL,
    DeployedObject,
    StateOwner,
    foreign_object_error,
    is_folder_gone,
)


def remove_abandoned(
    owner: StateOwner,
    stack: str,
    objects: Sequence[DeployedObject],
    reporter: Reporter,
    consent: Callable[[str], bool],
) -> int:
    """Remove objects of other owners whose folder is gone; return how many were removed. Data volumes stay.

    Raises:
        ConfigError: an object's folder still exists, or this cannot be determined here and nobody consented.
    """
    foreign = [obj for obj in objects if owner.classify(obj.labels) != "own" and not is_data(obj)]
    for obj in foreign:
        is_local = obj.labels.get(HOST_LABEL) == owner.host and obj.labels.get(FOLDER_LABEL, "").startswith("/")
        if owner.classify(obj.labels) == "copy" or (is_local and not is_folder_gone(owner, obj.labels)):
            raise foreign_object_error(owner, stack, obj)
    uncertain = sorted({_describe_maker(obj) for obj in foreign if not is_folder_gone(owner, obj.labels)})
    if uncertain and not consent(
        f"{', '.join(uncertain)} deployed what runs as `{stack}`, and may still need it. Remove it?"
    ):
        raise ConfigError(
            f"{', '.join(uncertain)} deployed what runs as `{stack}`, and nobody confirmed its removal",
            remedy="Answer the question in a terminal, or add --yes.",
        )
    for kind in ("container", "network", "volume"):
        for obj in foreign:
            if obj.kind == kind:
                reporter.say(f"Removing the {kind} {obj.name} of {_describe_maker(obj)}.")
                _remove_object(obj)
    return len(foreign)


def _describe_maker(obj: DeployedObject) -> str:
    folder = obj.labels.get(FOLDER_LABEL)
    return f"{folder} on {obj.labels.get(HOST_LABEL, '').partition('/')[0]}" if folder else "an earlier version"


def _remove_object(obj: DeployedObject) -> None:
    if obj.kind == "container":
        engine.remove_container(obj.id, name=obj.name)
    elif obj.kind == "volume":
        engine.remove_volume(obj.name)
    else:
        with engine.docker_errors():
            network = engine.client().networks.get(obj.id)
            empty_network(network, lambda _inside: False)
            network.remove()
