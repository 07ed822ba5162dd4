"""`slipway:docker:Container`: a service's container, never changed but replaced by a healthy other one."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.provider.handler import (
    ActualState,
    CancellationToken,
    Diff,
    ResourceHandler,
    ResourceState,
    changed_keys,
)
from slipway._internal.provider.ownership import (
    name_conflict_error,
    object_labels,
    refuse_copied_object,
    refuse_foreign_objects,
)
from slipway._internal.provider.values import UNKNOWN, Props, unwrap_secrets
from slipway._internal.rollout import container_files, drain, health, nginx
from slipway._internal.rollout.hardening import hardened_settings, with_init_fallback
from slipway._internal.rollout.images import pull_image
from slipway._internal.rollout.start_failure import explain_start_failure
from slipway._internal.run import engine

SECRETS_DIR = "/run/secrets"
UPDATED_IN_PLACE = frozenset({"healthTimeout", "drainSeconds"})  # how a container is treated, not what it is
LOG_ROTATION = {"max-size": "10m", "max-file": "3"}
RESTART_POLICY_DRIFT = "restart"
"""What differs where the engine would not bring a container back: that is put right in place."""
HEALTH_RECHECK_SECONDS = 10.0  # how long a container that the engine finds unhealthy may take to show that it is well
CPU_PERIOD_MICROSECONDS = (
    100_000  # microseconds, the kernel's own: a container may use so many processors' worth of each
)

_PINNED_IMAGE = re.compile(r".+@sha256:[0-9a-f]{64}")
_SIZE = re.compile(r"[0-9]+[kmg]?")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


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
    def from_inputs(cls, inputs: Props) -> ContainerSpec:
        spec = cls(**{key: value for key, value in unwrap_secrets(inputs).items() if not key.startswith("__")})
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


class ContainerHandler(ResourceHandler):
    """A running container that has been healthy once."""

    required = ("service", "stack", "workspace", "image", "network")
    optional = ("port", "memory", "cpus", "tmpSize", "healthTimeout")
    defaults = {"env": {}, "tmpExec": False, "drainSeconds": 30}
    secret = ("secrets",)
    computed = ("containerName", "containerId", "imageId")

    def validate_inputs(self, inputs: Props) -> list[tuple[str, str]]:
        problems = []
        if inputs["image"] != UNKNOWN and not _PINNED_IMAGE.fullmatch(inputs["image"]):
            problems.append(("image", f"{inputs['image']!r} isn't pinned: write it as REPOSITORY@sha256:DIGEST"))
        for key in ("memory", "tmpSize"):
            amount = inputs.get(key)
            if amount not in (None, UNKNOWN) and not _SIZE.fullmatch(str(amount)):
                problems.append((key, f"{amount!r} is no amount; write a whole number and k, m or g: 256m"))
        for name in inputs.get("secrets") or {}:
            if not _FILE_NAME.fullmatch(name):
                problems.append(("secrets", f"{name!r} is no file name"))
        return problems

    def diff(self, old: ResourceState, news: Props) -> Diff:
        changed = [
            key for key in changed_keys(old.inputs, news) if key != "image" or not _same_digest(old.inputs, news)
        ]
        replaces = [key for key in changed if key not in UPDATED_IN_PLACE]
        if not replaces and (drifted_key := find_drift(old)):
            return Diff([*changed, drifted_key], replaces=[drifted_key] if drifted_key != RESTART_POLICY_DRIFT else [])
        return Diff(changed, replaces)

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        spec = ContainerSpec.from_inputs(inputs)
        refuse_foreign_objects(spec.workspace, spec.stack, urn)
        try:
            container = create_healthy_container(spec, new_container_name(spec), urn, cancellation)
        except BaseException:
            nginx.restore_keepalive(spec.workspace, spec.stack)
            raise
        identity = {"containerName": container.name, "containerId": container.id, "imageId": container.attrs["Image"]}
        return ActualState(container.id, {**self.public_inputs(inputs), **identity})

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        with engine.docker_errors():
            engine.client().containers.get(old.id).update(restart_policy=engine.RESTART_POLICY)
        return super().update(old, news, cancellation)

    def read(self, old: ResourceState) -> ActualState:
        return ActualState(old.id, old.outputs) if inspect_container(old.id) else ActualState("")

    def delete(self, old: ResourceState, cancellation: CancellationToken) -> None:
        refuse_copied_container(old)
        seconds, name = old.inputs.get("drainSeconds", ContainerSpec.drainSeconds), old.outputs.get("containerName", "")
        drain.drain_container(old.id, seconds, cancellation, port=old.inputs.get("port"), name=name)


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


def _same_digest(old: Props, new: Props) -> bool:
    """Whether two inputs name the same bytes: the digest is the image, in whatever repository it was found."""
    before, after = (str(inputs.get("image", "")).partition("@")[2] for inputs in (old, new))
    return bool(after) and before == after


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


def find_drift(old: ResourceState) -> str:
    """Return what no longer holds: an output, where the container has to be replaced; RESTART; nothing."""
    details = inspect_container(old.id)
    if (
        details is None
        or not details["State"]["Running"]
        or details["State"]["Restarting"]
        or details["State"]["Paused"]
    ):
        return "containerId"
    if details["Image"] != old.outputs.get("imageId", details["Image"]):
        return "imageId"
    if details["Name"].lstrip("/") != old.outputs.get("containerName", details["Name"].lstrip("/")):
        return "containerName"
    if old.inputs.get("network", "") not in details["NetworkSettings"]["Networks"] or is_unhealthy(details):
        return "containerId"
    return (
        RESTART_POLICY_DRIFT if details["HostConfig"]["RestartPolicy"]["Name"] != engine.RESTART_POLICY["Name"] else ""
    )


def is_unhealthy(details: dict[str, Any]) -> bool:
    """Say whether a container that runs fails its health check: by the engine's last ones, and by one more now."""
    if (details["State"].get("Health") or {}).get("Status") != "unhealthy":
        return False
    command = engine.configured_health_command(details["Config"])
    with engine.docker_errors():
        return not command or not engine.probe(details["Id"], command, HEALTH_RECHECK_SECONDS).ok


def refuse_copied_container(old: ResourceState) -> None:
    """Raise ConfigError for a container that the state knows only because it is a copy of the one that made it."""
    if details := inspect_container(old.id):
        refuse_copied_object(details["Config"].get("Labels") or {}, details["Name"].lstrip("/"))


def inspect_container(container_id: str) -> dict[str, Any] | None:
    """Return what the engine knows of a container; None when it is gone."""
    with engine.docker_errors():
        try:
            details: dict[str, Any] = engine.client().api.inspect_container(container_id)
        except engine.load_sdk().errors.NotFound:
            return None
    return details
