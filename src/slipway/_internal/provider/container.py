"""`slipway:docker:Container`: a service's container, never changed but replaced by a new healthy one."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState, changed_keys
from slipway._internal.provider.values import UNKNOWN, Props
from slipway._internal.rollout import drain
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.container import (
    ContainerSpec,
    create_healthy_container,
    inspect_container,
    new_container_name,
)
from slipway._internal.rollout.desired import note_desired_container
from slipway._internal.rollout.ownership import refuse_copied_object, refuse_foreign_objects
from slipway._internal.run import engine

UPDATED_IN_PLACE = frozenset({"healthTimeout", "drainSeconds"})  # how a container is treated, not what it is
RESTART_POLICY_DRIFT = "restart"
"""The drift of a container that the engine would not restart; it is fixed in place."""
HEALTH_RECHECK_SECONDS = 10.0  # timeout of one more health check of a container that the engine calls unhealthy

_PINNED_IMAGE = re.compile(r".+@sha256:[0-9a-f]{64}")
_SIZE = re.compile(r"[0-9]+[kmg]?")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class ContainerHandler(ResourceHandler):
    """A running container that has been healthy once."""

    required: ClassVar[tuple[str, ...]] = ("service", "stack", "workspace", "image", "network")
    optional: ClassVar[tuple[str, ...]] = (
        *("port", "memory", "cpus", "tmpSize", "group", "canary", "healthTimeout"),
        *("entrypoint", "command", "volumes", "healthcheck", "readOnly", "capabilities", "user"),
    )
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
                problems.append((key, f"{amount!r} is not an amount; use a whole number and k, m or g, such as 256m"))
        for name in inputs.get("secrets") or {}:
            if not _FILE_NAME.fullmatch(name):
                problems.append(("secrets", f"{name!r} is not a file name"))
        return problems

    def diff(self, old: ResourceState, news: Props) -> Diff:
        note_desired_container(old.urn, news)
        changed = [
            key for key in changed_keys(old.inputs, news) if key != "image" or not _same_digest(old.inputs, news)
        ]
        replaces = [key for key in changed if key not in UPDATED_IN_PLACE]
        if not replaces and (drifted_key := find_drift(old)):
            return Diff([*changed, drifted_key], replaces=[drifted_key] if drifted_key != RESTART_POLICY_DRIFT else [])
        return Diff(changed, replaces)

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        note_desired_container(urn, inputs)
        spec = ContainerSpec.from_inputs(inputs)
        refuse_foreign_objects(spec.workspace, spec.stack, urn)
        container = create_healthy_container(spec, new_container_name(spec), urn, cancellation)
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


def _same_digest(old: Props, new: Props) -> bool:
    """Whether two inputs name the same image: the digest identifies it, in whatever repository it is."""
    before, after = (str(inputs.get("image", "")).partition("@")[2] for inputs in (old, new))
    return bool(after) and before == after


def find_drift(old: ResourceState) -> str:
    """Return the drifted output if the container must be replaced, RESTART_POLICY_DRIFT, or an empty text."""
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
    """Return whether a running container fails its health check, both by the engine's results and by one more now."""
    if (details["State"].get("Health") or {}).get("Status") != "unhealthy":
        return False
    command = engine.configured_health_command(details["Config"])
    with engine.docker_errors():
        return not command or not engine.probe(details["Id"], command, HEALTH_RECHECK_SECONDS).ok


def refuse_copied_container(old: ResourceState) -> None:
    """Raise ConfigError if the state knows the container only because it is a copy of the state that created it."""
    if details := inspect_container(old.id):
        refuse_copied_object(details["Config"].get("Labels") or {}, details["Name"].lstrip("/"))
