"""A service's container: what it is to be, and how a new one is brought up until it can take over."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.rollout import container_files, health, nginx
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.hardening import hardened_settings, with_init_fallback
from slipway._internal.rollout.images import pull_image
from slipway._internal.rollout.ownership import name_conflict_error, object_labels
from slipway._internal.rollout.start_failure import explain_start_failure
from slipway._internal.run import engine

SECRETS_DIR = "/run/secrets"
LOG_ROTATION = {"max-size": "10m", "max-file": "3"}
CPU_PERIOD_MICROSECONDS = 100_000  # the kernel's own: a container may use so many processors' worth of each


@dataclass(frozen=True)
class ContainerSpec:
    """A container's inputs, named as Pulumi names them. Times in seconds; `memory` and `tmpSize` like 256m."""

    service: str
    stack: str
    workspace: str
    image: str
    network: str
    env: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    port: int | None = None
    memory: str | None = None
    cpus: float | None = None
    tmpExec: bool = False
    tmpSize: str | None = None
    healthTimeout: float | None = None
    drainSeconds: int = 30

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any]) -> ContainerSpec:
        """Return what a resource's inputs ask for; its secrets, which stand in them as they are, are never printed."""
        spec = cls(**{key: value for key, value in inputs.items() if not key.startswith("__")})
        for secret in spec.secrets.values() if isinstance(spec.secrets, dict) else ():
            register_secret(str(secret))
        return spec


@dataclass(frozen=True)
class DevOverlay:
    """What is special about a container of `invoke dev`: folders of the image that others take the place of.

    Each is a volume without a name, which goes with its container, filled from a tar archive: a container's read-only
    root file system takes no files from anybody.
    """

    folders: dict[str, bytes] = field(default_factory=dict, repr=False)


def new_container_name(spec: ContainerSpec) -> str:
    """Return a name for a service's next container."""
    return f"{spec.workspace}-{spec.stack}-{spec.service}-{secrets.token_hex(4)}"


def create_healthy_container(
    spec: ContainerSpec, name: str, urn: str, cancellation: CancellationToken, dev: DevOverlay | None = None
) -> Any:
    """Return a new container once it is healthy; one that does not get so is removed, its last lines in the error.

    Args:
        spec: what it is to be.
        name: how it is called, see `new_container_name`.
        urn: the resource that it is, or takes the place of.
        cancellation: ends the waiting.
        dev: what is special about one that `invoke dev` makes.
    """
    return with_init_fallback(lambda: _create_healthy_container(spec, name, urn, cancellation, dev))


def _create_healthy_container(
    spec: ContainerSpec, name: str, urn: str, cancellation: CancellationToken, dev: DevOverlay | None
) -> Any:
    with engine.docker_errors():
        image = pull_image(spec.image, cancellation)
        cancellation.sleep(0)
        container = None
        try:
            container = engine.client().containers.create(spec.image, **container_options(spec, name, urn, dev))
            for folder, archive in (dev.folders if dev else {}).items():
                container.put_archive(folder, archive)
            start_until_healthy(container, spec, image, cancellation)
        except BaseException as error:
            start_error = name_conflict_error(name, error) or explain_start_failure(
                spec.service, container, error, list(spec.secrets.values())
            )
            with suppress(SlipwayError):  # what went wrong first is what the user must hear
                remove_failed_container(container, name)
            raise start_error from error
    return container


def remove_failed_container(container: Any, name: str) -> None:
    """Remove what a call has made that failed: its container, or only the volume that the engine had begun with."""
    if container is not None:
        engine.remove_container(container.id, name=name)
    else:
        for purpose in engine.VOLUME_PURPOSES:
            engine.remove_volume(engine.volume_name(name, purpose))


def container_options(spec: ContainerSpec, name: str, urn: str, dev: DevOverlay | None = None) -> dict[str, Any]:
    """Return how the engine is asked for the container. No published port, no secret, no privilege."""
    types = engine.load_sdk().types
    labels = object_labels(spec.workspace, spec.stack, spec.service, urn)
    port = {"PORT": str(spec.port)} if spec.port else {}
    if dev:
        labels = {**labels, engine.DEV_LABEL: "true"}
    volume = types.Mount(
        SECRETS_DIR, engine.volume_name(name, engine.SECRETS_VOLUME), type="volume", labels=labels, no_copy=True
    )
    folders = dev.folders if dev else {}
    overlays = [types.Mount(folder, None, type="volume", labels=labels, no_copy=True) for folder in folders]
    return {
        **hardened_settings(tmp_exec=spec.tmpExec, tmp_size=spec.tmpSize),
        "name": name,
        "labels": labels,
        "environment": {**port, **spec.env},
        "network": spec.network,
        "mounts": [*([volume] if spec.secrets else []), *overlays],
        "log_config": types.LogConfig(type="json-file", config=LOG_ROTATION),
        "mem_limit": spec.memory,
    }


def start_until_healthy(container: Any, spec: ContainerSpec, image: Any, cancellation: CancellationToken) -> None:
    """Start a created container and return when it is healthy.

    It is restarted by the engine only from then on: until then a crash is a failed deployment, not a loop. Only from
    then on it may use no more processor than it is given: a program's start would take twice as long with half of one.
    """
    if spec.secrets:
        file_owner = container_files.resolve_owner(container, image.attrs["Config"].get("User", ""))
        container_files.put_files(container, SECRETS_DIR, spec.secrets, owner=file_owner, mode=0o400)
    container.start()
    if spec.port:
        nginx.disable_keepalive_early(spec.workspace, spec.stack, spec.service)
    health.wait_until_healthy(container, engine.read_health_check(image), spec.healthTimeout, cancellation, spec.port)
    cpu_limit = (
        {"cpu_period": CPU_PERIOD_MICROSECONDS, "cpu_quota": int(spec.cpus * CPU_PERIOD_MICROSECONDS)}
        if spec.cpus
        else {}
    )
    container.update(restart_policy=engine.RESTART_POLICY, **cpu_limit)


def inspect_container(container_id: str) -> dict[str, Any] | None:
    """Return what the engine knows of a container; None when it is gone."""
    with engine.docker_errors():
        try:
            details: dict[str, Any] = engine.client().api.inspect_container(container_id)
        except engine.load_sdk().errors.NotFound:
            return None
    return details
