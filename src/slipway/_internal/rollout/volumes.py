"""A service's data volumes: they outlive its containers, and no two containers run on one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout.drain import MIN_STOP_SECONDS
from slipway._internal.rollout.ownership import object_labels, refuse_foreign_volume
from slipway._internal.run import engine


class VolumeUser(Protocol):
    """What a container's specification says of its volumes: their names → their folders in the container."""

    @property
    def workspace(self) -> str: ...
    @property
    def stack(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def volumes(self) -> dict[str, str]: ...
    @property
    def drainSeconds(self) -> int: ...


def mounted_volumes(spec: VolumeUser) -> dict[str, str]:
    """Return the engine's name of each data volume → its folder in the container."""
    return {
        engine.data_volume_name(spec.workspace, spec.stack, spec.service, name): path
        for name, path in spec.volumes.items()
    }


@contextmanager
def exclusive_volumes(spec: VolumeUser, urn: str) -> Iterator[None]:
    """Give a `with` block a service's data volumes: they exist, and no other container runs on them.

    The service's own container is stopped for that. It is started again if the block fails.

    Raises:
        SlipwayError: a volume belongs to another owner, or somebody else's container runs on it; nothing is changed.
    """
    names = [*mounted_volumes(spec)]
    for name in names:
        refuse_foreign_volume(name, urn)
    users = _running_users(names)
    if foreign := sorted(user.name for user in users if not _is_of_service(user, spec)):
        raise SlipwayError(
            f"{', '.join(foreign)} runs on a volume of {spec.service}: {', '.join(names)}",
            remedy=f"Stop it first: `docker stop {foreign[0]}`. Two programs on one volume would destroy its data.",
        )
    _create_missing(names, {**object_labels(spec.workspace, spec.stack, spec.service, urn), engine.DATA_LABEL: "true"})
    try:
        with engine.docker_errors():
            for user in users:
                user.stop(timeout=int(max(MIN_STOP_SECONDS, spec.drainSeconds)))
        yield
    except BaseException:
        for user in users:
            with suppress(SlipwayError), engine.docker_errors():  # the first error is the one to report
                user.start()
        raise


def _running_users(names: Sequence[str]) -> list[Any]:
    """Return the running containers that have one of these volumes."""
    with engine.docker_errors():
        found = {user.id: user for name in names for user in engine.client().containers.list(filters={"volume": name})}
    return [*found.values()]


def _is_of_service(container: Any, spec: VolumeUser) -> bool:
    labels = container.labels
    own = {engine.WORKSPACE_LABEL: spec.workspace, engine.STACK_LABEL: spec.stack, engine.SERVICE_LABEL: spec.service}
    return engine.COMMAND_LABEL not in labels and own.items() <= labels.items()


def _create_missing(names: Sequence[str], labels: dict[str, str]) -> None:
    with engine.docker_errors():
        volumes = engine.client().volumes
        for name in names:
            volumes.create(name, driver="local", labels=labels)  # one that exists stays as it is
