"""A service's container: its specification, and how a new one is started until it is healthy."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from slipway._internal.content.healthcheck import Healthcheck
from slipway._internal.model.canary import SUFFIX as CANARY
from slipway._internal.model.containers import SECRETS_DIR
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.rollout import container_files, health, volumes
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.hardening import hardened_settings, with_init_fallback
from slipway._internal.rollout.images import pull_image
from slipway._internal.rollout.ownership import name_conflict_error, object_labels
from slipway._internal.rollout.start_failure import explain_start_failure
from slipway._internal.run import engine

LOG_ROTATION = {"max-size": "10m", "max-file": "3"}
MIN_API_VERSION = "1.41"  # Docker 20.10
NANOSECONDS = 1_000_000_000
CPU_PERIOD_MICROSECONDS = 100_000  # the kernel's default period for CPU quotas


@dataclass(frozen=True)
class ContainerSpec:
    """A container's inputs, named as Pulumi names them. Times in seconds; `memory` and `tmpSize` like 256m.

    `volumes` maps the names of data volumes to their folders in the container. `healthcheck` has the fields of
    HealthcheckSettings, or is empty for the image's own.
    `group` is a name on the network that the container has beside its own: that of the service's first container, so
    that whoever looks it up finds all that run. A `canary` has its own name alone: only the gateway sends it requests.
    """

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
    group: str | None = None
    canary: bool = False
    healthTimeout: float | None = None
    drainSeconds: int = 30
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    volumes: dict[str, str] = field(default_factory=dict)
    healthcheck: dict[str, Any] = field(default_factory=dict)
    readOnly: bool = True
    capabilities: list[str] = field(default_factory=list)
    user: str | None = None

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any]) -> ContainerSpec:
        """Return the container that a resource's inputs describe; mask its plain-text secrets in all output."""
        spec = cls(**{key: value for key, value in inputs.items() if not key.startswith("__")})
        for secret in spec.secrets.values() if isinstance(spec.secrets, dict) else ():
            register_secret(str(secret))
        return spec


@dataclass(frozen=True)
class DevOverlay:
    """Folders of the image that `invoke dev` replaces in its container.

    Each is an anonymous volume that is removed with its container, filled from a tar archive: files cannot be copied
    into a container's read-only root file system.
    """

    folders: dict[str, bytes] = field(default_factory=dict, repr=False)


def new_container_name(spec: ContainerSpec) -> str:
    """Return a name for a service's next container."""
    canary = f"-{CANARY}" if spec.canary else ""
    return f"{spec.workspace}-{spec.stack}-{spec.service}{canary}-{secrets.token_hex(4)}"


def create_healthy_container(
    spec: ContainerSpec, name: str, urn: str, cancellation: CancellationToken, dev: DevOverlay | None = None
) -> Any:
    """Return a new container once it is healthy; otherwise remove it and put its last log lines in the error.

    One that has data volumes takes them over: the container that runs on them is stopped first, and started again if
    the new one fails.

    Args:
        spec: its specification.
        name: its name, see `new_container_name`.
        urn: the resource that it is, or replaces.
        cancellation: stops the waiting.
        dev: the folders that `invoke dev` replaces in it.
    """
    return with_init_fallback(lambda: _create_healthy_container(spec, name, urn, cancellation, dev))


def _create_healthy_container(
    spec: ContainerSpec, name: str, urn: str, cancellation: CancellationToken, dev: DevOverlay | None
) -> Any:
    with engine.docker_errors():
        image = pull_image(spec.image, cancellation)
        cancellation.sleep(0)
        with (
            volumes.exclusive_volumes(spec, urn),
            new_container(spec, name, lambda: container_options(spec, name, urn, dev)) as container,
        ):
            for folder, archive in (dev.folders if dev else {}).items():
                container.put_archive(folder, archive)
            start_until_healthy(container, spec, image, cancellation)
    return container


@contextmanager
def new_container(spec: ContainerSpec, name: str, options: Callable[[], Mapping[str, Any]]) -> Iterator[Any]:
    """Give a `with` block a new container of a service to start; if that fails, remove it and say why.

    Args:
        spec: its specification.
        name: its name.
        options: returns the options to create it with.
    """
    container = None
    try:
        container = engine.client().containers.create(spec.image, **options())
        yield container
    except BaseException as error:
        start_error = name_conflict_error(name, error) or explain_start_failure(
            spec.service, container, error, list(spec.secrets.values()), [*volumes.mounted_volumes(spec)]
        )
        with suppress(SlipwayError):  # the first error is the one to report
            remove_failed_container(container, name)
        raise start_error from error


def remove_failed_container(container: Any, name: str) -> None:
    """Remove what a failed call created: its container, or only the volumes that the engine creates first."""
    if container is not None:
        engine.remove_container(container.id, name=name)
    else:
        for purpose in engine.VOLUME_PURPOSES:
            engine.remove_volume(engine.volume_name(name, purpose))


def container_options(spec: ContainerSpec, name: str, urn: str, dev: DevOverlay | None = None) -> dict[str, Any]:
    """Return the options to create the container with. No published ports, secrets or privileges."""
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
    data = [types.Mount(path, name, type="volume") for name, path in volumes.mounted_volumes(spec).items()]
    return {
        **hardened_settings(
            tmp_exec=spec.tmpExec, tmp_size=spec.tmpSize, read_only=spec.readOnly, capabilities=spec.capabilities
        ),
        "name": name,
        "labels": labels,
        "environment": {**port, **spec.env},
        "network": spec.network,
        # By the service's name it is reached directly, without the gateway.
        "networking_config": _network_names(
            spec, [] if spec.canary else [spec.service, *([spec.group] if spec.group else [])]
        ),
        "mounts": [*([volume] if spec.secrets else []), *overlays, *data],
        "entrypoint": spec.entrypoint or None,
        "command": spec.command or None,
        "user": spec.user,
        "healthcheck": _engine_healthcheck(spec),
        "log_config": types.LogConfig(type="json-file", config=LOG_ROTATION),
        "mem_limit": spec.memory,
    }


def _engine_healthcheck(spec: ContainerSpec) -> dict[str, Any] | None:
    """Return a health check that replaces the image's, as the engine has it: times in nanoseconds."""
    if not spec.healthcheck:
        return None
    check = health_check_of(spec)
    times = {"interval": check.interval, "timeout": check.timeout, "start_period": check.start_period}
    return {
        "test": ["CMD", *check.command],
        "retries": check.retries,
        **{name: round(seconds * NANOSECONDS) for name, seconds in times.items()},
    }


def health_check_of(spec: ContainerSpec, image: Any = None) -> Healthcheck:
    """Return a container's health check: its own, else its image's."""
    if not spec.healthcheck:
        return engine.read_health_check(image)
    own = spec.healthcheck
    return Healthcheck(
        tuple(own["command"]),
        interval=own["interval"],
        timeout=own["timeout"],
        start_period=own["startPeriod"],
        retries=int(own["retries"]),
    )


def _network_names(spec: ContainerSpec, names: Sequence[str]) -> dict[str, Any]:
    """Return the option that gives a container more names on its network."""
    return {spec.network: engine.load_sdk().types.EndpointConfig(MIN_API_VERSION, aliases=list(names))}


def start_until_healthy(container: Any, spec: ContainerSpec, image: Any, cancellation: CancellationToken) -> None:
    """Start a created container and return when it is healthy.

    Only then is its restart policy set: until then, a crash is a failed deployment, not a loop. Its CPU limit applies
    only then, too: with half a processor, a program's start would take twice as long.
    """
    put_secrets(container, spec, image)
    container.start()
    health.wait_until_healthy(container, health_check_of(spec, image), spec.healthTimeout, cancellation, spec.port)
    container.update(restart_policy=engine.RESTART_POLICY, **cpu_limit(spec))


def cpu_limit(spec: ContainerSpec) -> dict[str, int]:
    """Return the options that limit a container's use of processors."""
    if not spec.cpus:
        return {}
    return {"cpu_period": CPU_PERIOD_MICROSECONDS, "cpu_quota": int(spec.cpus * CPU_PERIOD_MICROSECONDS)}


def put_secrets(container: Any, spec: ContainerSpec, image: Any) -> None:
    """Put a container's secrets into it before it starts, readable by its user alone."""
    if spec.secrets:
        file_owner = container_files.resolve_owner(container, spec.user or image.attrs["Config"].get("User", ""))
        container_files.put_files(container, SECRETS_DIR, spec.secrets, owner=file_owner, mode=0o400)


def inspect_container(container_id: str) -> dict[str, Any] | None:
    """Return the engine's details of a container; None if it is gone."""
    with engine.docker_errors():
        try:
            details: dict[str, Any] = engine.client().api.inspect_container(container_id)
        except engine.load_sdk().errors.NotFound:
            return None
    return details
