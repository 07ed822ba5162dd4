"""What an engine has of a stack, whose it is, and the clearing away of what no deploy needs any more."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from slipway.model.errors import ConfigError, SlipwayError
from slipway.run import engine
from slipway.run.owner import FOLDER, HOST, Owner, Thing


def things(workspace: str, stack: str) -> list[Thing]:
    """Return the containers, networks and volumes that have a stack's labels, whoever made them."""
    ours = {"label": engine.labels(workspace, stack)}
    with engine.speaking():
        api = engine.client().api
        containers = api.containers(all=True, filters=ours)
        networks = api.networks(filters=ours)
        volumes = api.volumes(filters=ours)["Volumes"] or []
    return [
        *(Thing("container", each["Names"][0].lstrip("/"), each["Id"], each["Labels"] or {}) for each in containers),
        *(Thing("network", each["Name"], each["Id"], each["Labels"] or {}) for each in networks),
        *(Thing("volume", each["Name"], each["Name"], each["Labels"] or {}) for each in volumes),
    ]


def sweep(workspace: str, stack: str, keep_ids: Collection[str], mine: Callable[[Thing], bool]) -> list[str]:
    """Remove containers that crashed or killed deployments left behind, and volumes that no container has.

    Args:
        workspace: the name that the stack's containers are called after.
        stack: the stack's name.
        keep_ids: ids of all containers that stay: those in the stack's state, also those that wait for their deletion.
            Call this only while nobody deploys the stack: what is being created is in no state yet.
        mine: says whether one is of the owner who asks.

    Returns:
        The names of what was removed.
    """
    found = [each for each in things(workspace, stack) if mine(each)]
    left = [each for each in found if each.kind == "container" and each.id not in keep_ids]
    for each in left:
        engine.remove(each.id)
    with engine.speaking():
        answer = engine.client().api.containers(all=True)
        mounted = {mount.get("Name") for each in answer for mount in each.get("Mounts") or []}
        there = {each.name for each in things(workspace, stack)}
        orphans = [each.name for each in found if each.kind == "volume" and each.name in there - mounted]
        for name in orphans:
            engine.drop_volume(name)
    return [each.name for each in left] + orphans


def empty_network(network: Any, mine: Callable[[Thing], bool]) -> None:
    """Remove the containers of a network's owner that are still in it, and refuse where others are.

    Raises:
        SlipwayError: somebody else's container is in the network; it is left as it is.
    """
    with engine.speaking():
        network.reload()
        inside = [_container(identity) for identity in network.attrs.get("Containers") or {}]
    for each in inside:
        if each and mine(each):
            engine.remove(each.id)
    if users := sorted(each.name for each in inside if each and not mine(each)):
        raise SlipwayError(
            f"network {network.name} is still used by {', '.join(users)}",
            remedy=f"Remove them, or `docker network disconnect {network.name} NAME`, and try again.",
        )


def _container(identity: str) -> Thing | None:
    with suppress(engine.sdk().errors.NotFound):
        found = engine.client().api.inspect_container(identity)
        return Thing("container", found["Name"].lstrip("/"), found["Id"], found["Config"].get("Labels") or {})
    return None


def name_taken(thing: Thing, owner: Owner) -> SlipwayError:
    """Return the error for a name that somebody else's object has; it is left as it is."""
    if FOLDER in thing.labels:
        there = thing.labels.get(HOST, "").partition("/")[0]
        whose = f"that of {thing.labels[FOLDER]}" + (f" on {there}" if thing.labels.get(HOST) != owner.host else "")
    elif engine.WORKSPACE in thing.labels:
        whose = f"of the workspace {thing.labels[engine.WORKSPACE]}, stack {thing.labels.get(engine.STACK, '-')}"
    else:
        whose = "not Slipway's"
    command = {"container": "docker rm -f", "network": "docker network rm", "volume": "docker volume rm"}[thing.kind]
    return ConfigError(
        f"there is already a {thing.kind} {thing.name}, which is {whose}",
        remedy=f"It was left as it is. Rename it or, if nobody needs it, `{command} {thing.name}`; or give this "
        "workspace names of its own: `invoke up --stack STACK --beside`.",
    )
