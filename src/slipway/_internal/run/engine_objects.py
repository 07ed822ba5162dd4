"""A stack's objects on an engine: listing them, checking who owns them, removing what no deploy needs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.run import engine
from slipway._internal.run.owner import FOLDER_LABEL, HOST_LABEL, DeployedObject, StateOwner


def list_objects(workspace: str, stack: str) -> list[DeployedObject]:
    """Return the containers, networks and volumes that have a stack's labels, whoever made them."""
    filters = {"label": engine.label_filters(workspace, stack)}
    with engine.docker_errors():
        api = engine.client().api
        containers = api.containers(all=True, filters=filters)
        networks = api.networks(filters=filters)
        volumes = api.volumes(filters=filters)["Volumes"] or []
    return [
        *(
            DeployedObject("container", entry["Names"][0].lstrip("/"), entry["Id"], entry["Labels"] or {})
            for entry in containers
        ),
        *(DeployedObject("network", entry["Name"], entry["Id"], entry["Labels"] or {}) for entry in networks),
        *(DeployedObject("volume", entry["Name"], entry["Name"], entry["Labels"] or {}) for entry in volumes),
    ]


def remove_leftovers(
    workspace: str, stack: str, keep_ids: Collection[str], mine: Callable[[DeployedObject], bool]
) -> list[str]:
    """Remove containers that crashed or killed deployments left behind, and volumes that no container has.

    Volumes that hold a service's data stay.

    Args:
        workspace: the name that the stack's containers are called after.
        stack: the stack's name.
        keep_ids: ids of all containers that stay: those in the stack's state, also those that wait for their deletion.
            Call this only while nobody deploys the stack: what is being created is in no state yet.
        mine: says whether one is of the owner who asks.

    Returns:
        The names of what was removed.
    """
    own = [deployed for deployed in list_objects(workspace, stack) if mine(deployed)]
    leftover = [deployed for deployed in own if deployed.kind == "container" and deployed.id not in keep_ids]
    for deployed in leftover:
        engine.remove_container(deployed.id)
    with engine.docker_errors():
        containers = engine.client().api.containers(all=True)
        mounted = {mount.get("Name") for deployed in containers for mount in deployed.get("Mounts") or []}
        existing = {deployed.name for deployed in list_objects(workspace, stack)}
        orphans = [
            deployed.name
            for deployed in own
            if deployed.kind == "volume" and not is_data(deployed) and deployed.name in existing - mounted
        ]
        for name in orphans:
            engine.remove_volume(name)
    return [deployed.name for deployed in leftover] + orphans


def is_data(deployed: DeployedObject) -> bool:
    """Whether an object is a volume that holds a service's data."""
    return engine.DATA_LABEL in deployed.labels


def empty_network(network: Any, mine: Callable[[DeployedObject], bool]) -> None:
    """Remove the containers of a network's owner that are still in it, and refuse where others are.

    Raises:
        SlipwayError: somebody else's container is in the network; it is left as it is.
    """
    with engine.docker_errors():
        network.reload()
        attached = [_inspect_container(identity) for identity in network.attrs.get("Containers") or {}]
    for container in attached:
        if container and mine(container):
            engine.remove_container(container.id)
    if users := sorted(container.name for container in attached if container and not mine(container)):
        raise SlipwayError(
            f"network {network.name} is still used by {', '.join(users)}",
            remedy=f"Remove them, or `docker network disconnect {network.name} NAME`, and try again.",
        )


def _inspect_container(identity: str) -> DeployedObject | None:
    with suppress(engine.load_sdk().errors.NotFound):
        found = engine.client().api.inspect_container(identity)
        return DeployedObject("container", found["Name"].lstrip("/"), found["Id"], found["Config"].get("Labels") or {})
    return None


def name_taken_error(thing: DeployedObject, owner: StateOwner) -> SlipwayError:
    """Return the error for a name that somebody else's object has; it is left as it is."""
    if FOLDER_LABEL in thing.labels:
        machine = thing.labels.get(HOST_LABEL, "").partition("/")[0]
        owner_text = f"that of {thing.labels[FOLDER_LABEL]}" + (
            f" on {machine}" if thing.labels.get(HOST_LABEL) != owner.host else ""
        )
    elif engine.WORKSPACE_LABEL in thing.labels:
        stack = thing.labels.get(engine.STACK_LABEL, "-")
        owner_text = f"of the workspace {thing.labels[engine.WORKSPACE_LABEL]}, stack {stack}"
    else:
        owner_text = "not Slipway's"
    command = {"container": "docker rm -f", "network": "docker network rm", "volume": "docker volume rm"}[thing.kind]
    return ConfigError(
        f"there is already a {thing.kind} {thing.name}, which is {owner_text}",
        remedy=f"It was not changed. Rename it or, if nobody needs it, `{command} {thing.name}`; or give this "
        "workspace names of its own: `invoke up --stack STACK --beside`.",
    )
