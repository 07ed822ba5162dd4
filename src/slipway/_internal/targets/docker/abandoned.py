"""Removes what a folder that is gone has left of a stack on an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slipway._internal.context.reporter import Reporter
from slipway._internal.model.errors import ConfigError
from slipway._internal.run import engine
from slipway._internal.run.engine_objects import empty_network
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
    """Remove what is not this owner's, where whoever made it is gone; return how many things that was.

    Raises:
        ConfigError: the folder that made one is there, or nobody can tell from here and nobody said yes.
    """
    foreign = [obj for obj in objects if owner.classify(obj.labels) != "own"]
    for obj in foreign:
        is_local = obj.labels.get(HOST_LABEL) == owner.host and obj.labels.get(FOLDER_LABEL, "").startswith("/")
        if owner.classify(obj.labels) == "copy" or (is_local and not is_folder_gone(owner, obj.labels)):
            raise foreign_object_error(owner, stack, obj)
    uncertain = sorted({_describe_maker(obj) for obj in foreign if not is_folder_gone(owner, obj.labels)})
    if uncertain and not consent(
        f"Whether {', '.join(uncertain)} still needs what runs as `{stack}` cannot be told from here. Remove it?"
    ):
        raise ConfigError(
            f"what runs as `{stack}` is of {', '.join(uncertain)}, and nobody said that it may go",
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
