"""`slipway:docker:Container`: a service's container, never changed but replaced by a healthy other one."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from slipway.model.errors import SlipwayError
from slipway.model.masking import keep_secret
from slipway.provider import drain, files, health, nginx
from slipway.provider.hardened import hardened, where_there_is_an_init
from slipway.provider.images import pull
from slipway.provider.kind import Diff, Kind, Real, State, Stop, changed_keys
from slipway.provider.ownership import labels_of, name_conflict, refuse_beside_others, refuse_copied
from slipway.provider.report import failure
from slipway.provider.values import UNKNOWN, Props, plain
from slipway.run import engine

SECRETS = "/run/secrets"
IN_PLACE = frozenset({"healthTimeout", "drainSeconds"})  # how a container is treated, not what it is
LOG_LIMIT = {"max-size": "10m", "max-file": "3"}
RESTART = "restart"
"""What differs where the engine would not bring a container back: that is put right in place."""
UNHEALTHY_SECONDS = 10.0  # how long a container that the engine finds unhealthy may take to show that it is well
CPU_PERIOD = 100_000  # microseconds, the kernel's own: a container may use so many processors' worth of each

_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_MEMORY = re.compile(r"[0-9]+[kmg]?")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Wanted:
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
    def of(cls, inputs: Props) -> Wanted:
        wanted = cls(**{key: value for key, value in plain(inputs).items() if not key.startswith("__")})
        for secret in wanted.secrets.values() if isinstance(wanted.secrets, dict) else ():
            keep_secret(str(secret))
        return wanted


@dataclass(frozen=True)
class Dev:
    """What is special about a container of `invoke dev`: folders of the image that others take the place of.

    Each is a volume without a name, which goes with its container, filled from a tar archive: a container's read-only
    root file system takes no files from anybody.
    """

    folders: dict[str, bytes] = field(default_factory=dict, repr=False)


class Container(Kind):
    """A running container that has been healthy once."""

    required = ("service", "stack", "workspace", "image", "network")
    optional = ("port", "memory", "cpus", "tmpSize", "healthTimeout")
    defaults = {"env": {}, "tmpExec": False, "drainSeconds": 30}
    secret = ("secrets",)
    computed = ("containerName", "containerId", "imageId")

    def problems(self, inputs: Props) -> list[tuple[str, str]]:
        found = []
        if inputs["image"] != UNKNOWN and not _DIGEST.fullmatch(inputs["image"]):
            found.append(("image", f"{inputs['image']!r} isn't pinned: write it as REPOSITORY@sha256:DIGEST"))
        for key in ("memory", "tmpSize"):
            amount = inputs.get(key)
            if amount not in (None, UNKNOWN) and not _MEMORY.fullmatch(str(amount)):
                found.append((key, f"{amount!r} is no amount; write a whole number and k, m or g: 256m"))
        for name in inputs.get("secrets") or {}:
            if not _FILE_NAME.fullmatch(name):
                found.append(("secrets", f"{name!r} is no file name"))
        return found

    def diff(self, old: State, news: Props) -> Diff:
        changed = [key for key in changed_keys(old.inputs, news) if key != "image" or not _same_image(old.inputs, news)]
        replaces = [key for key in changed if key not in IN_PLACE]
        if not replaces and (lost := drift(old)):
            return Diff([*changed, lost], replaces=[lost] if lost != RESTART else [])
        return Diff(changed, replaces)

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        wanted = Wanted.of(inputs)
        refuse_beside_others(wanted.workspace, wanted.stack, urn)
        try:
            container = bring_up(wanted, new_name(wanted), urn, stop)
        except BaseException:
            nginx.take_back(wanted.workspace, wanted.stack)
            raise
        known = {"containerName": container.name, "containerId": container.id, "imageId": container.attrs["Image"]}
        return Real(container.id, {**self.public(inputs), **known})

    def update(self, old: State, news: Props, stop: Stop) -> Props:
        with engine.speaking():
            engine.client().containers.get(old.id).update(restart_policy=engine.RESTART)
        return super().update(old, news, stop)

    def read(self, old: State) -> Real:
        return Real(old.id, old.outputs) if inspect(old.id) else Real("")

    def delete(self, old: State, stop: Stop) -> None:
        refuse_of_copy(old)
        seconds, name = old.inputs.get("drainSeconds", Wanted.drainSeconds), old.outputs.get("containerName", "")
        drain.end(old.id, seconds, stop, port=old.inputs.get("port"), name=name)


def new_name(wanted: Wanted) -> str:
    """Return a name for a service's next container."""
    return f"{wanted.workspace}-{wanted.stack}-{wanted.service}-{secrets.token_hex(4)}"


def bring_up(wanted: Wanted, name: str, urn: str, stop: Stop, dev: Dev | None = None) -> Any:
    """Return a new container once it is healthy; one that does not get so is removed, its last lines in the error.

    Args:
        wanted: what it is to be.
        name: how it is called, see `new_name`.
        urn: the resource that it is, or takes the place of.
        stop: ends the waiting.
        dev: what is special about one that `invoke dev` makes.
    """
    return where_there_is_an_init(lambda: _bring_up(wanted, name, urn, stop, dev))


def _bring_up(wanted: Wanted, name: str, urn: str, stop: Stop, dev: Dev | None) -> Any:
    with engine.speaking():
        image = pull(wanted.image, stop)
        stop.sleep(0)
        container = None
        try:
            container = engine.client().containers.create(wanted.image, **options(wanted, name, urn, dev))
            for folder, archive in (dev.folders if dev else {}).items():
                container.put_archive(folder, archive)
            launch(container, wanted, image, stop)
        except BaseException as error:
            told = name_conflict(name, error) or failure(
                wanted.service, container, error, list(wanted.secrets.values())
            )
            with suppress(SlipwayError):  # what went wrong first is what the user must hear
                discard(container, name)
            raise told from error
    return container


def discard(container: Any, name: str) -> None:
    """Remove what a call has made that failed: its container, or only the volume that the engine had begun with."""
    if container is not None:
        engine.remove(container.id, name=name)
    else:
        for purpose in engine.VOLUMES:
            engine.drop_volume(engine.volume(name, purpose))


def _same_image(old: Props, new: Props) -> bool:
    """Whether two inputs name the same bytes: the digest is the image, in whatever repository it was found."""
    before, after = (str(inputs.get("image", "")).partition("@")[2] for inputs in (old, new))
    return bool(after) and before == after


def options(wanted: Wanted, name: str, urn: str, dev: Dev | None = None) -> dict[str, Any]:
    """Return how the engine is asked for the container. No published port, no secret, no privilege."""
    types = engine.sdk().types
    labels = labels_of(wanted.workspace, wanted.stack, wanted.service, urn)
    port = {"PORT": str(wanted.port)} if wanted.port else {}
    if dev:
        labels = {**labels, engine.DEV: "true"}
    volume = types.Mount(SECRETS, engine.volume(name, engine.SECRETS), type="volume", labels=labels, no_copy=True)
    folders = dev.folders if dev else {}
    others = [types.Mount(folder, None, type="volume", labels=labels, no_copy=True) for folder in folders]
    return {
        **hardened(tmp_exec=wanted.tmpExec, tmp_size=wanted.tmpSize),
        "name": name,
        "labels": labels,
        "environment": {**port, **wanted.env},
        "network": wanted.network,
        "mounts": [*([volume] if wanted.secrets else []), *others],
        "log_config": types.LogConfig(type="json-file", config=LOG_LIMIT),
        "mem_limit": wanted.memory,
    }


def launch(container: Any, wanted: Wanted, image: Any, stop: Stop) -> None:
    """Start a created container and return when it is healthy.

    It is restarted by the engine only from then on: until then a crash is a failed deployment, not a loop. Only from
    then on it may use no more processor than it is given: a program's start would take twice as long with half of one.
    """
    if wanted.secrets:
        user = files.owner(container, image.attrs["Config"].get("User", ""))
        files.put(container, SECRETS, wanted.secrets, owner=user, mode=0o400)
    container.start()
    if wanted.port:
        nginx.foretell(wanted.workspace, wanted.stack, wanted.service)
    health.wait(container, engine.health_check(image), wanted.healthTimeout, stop, wanted.port)
    limit = {"cpu_period": CPU_PERIOD, "cpu_quota": int(wanted.cpus * CPU_PERIOD)} if wanted.cpus else {}
    container.update(restart_policy=engine.RESTART, **limit)


def drift(old: State) -> str:
    """Return what no longer holds: an output, where the container has to be replaced; RESTART; nothing."""
    real = inspect(old.id)
    if real is None or not real["State"]["Running"] or real["State"]["Restarting"] or real["State"]["Paused"]:
        return "containerId"
    if real["Image"] != old.outputs.get("imageId", real["Image"]):
        return "imageId"
    if real["Name"].lstrip("/") != old.outputs.get("containerName", real["Name"].lstrip("/")):
        return "containerName"
    if old.inputs.get("network", "") not in real["NetworkSettings"]["Networks"] or is_unhealthy(real):
        return "containerId"
    return RESTART if real["HostConfig"]["RestartPolicy"]["Name"] != engine.RESTART["Name"] else ""


def is_unhealthy(real: dict[str, Any]) -> bool:
    """Say whether a container that runs fails its health check: by the engine's last ones, and by one more now."""
    if (real["State"].get("Health") or {}).get("Status") != "unhealthy":
        return False
    command = engine.health_command_of(real["Config"])
    with engine.speaking():
        return not command or not engine.probe(real["Id"], command, UNHEALTHY_SECONDS).ok


def refuse_of_copy(old: State) -> None:
    """Raise ConfigError for a container that the state knows only because it is a copy of the one that made it."""
    if real := inspect(old.id):
        refuse_copied(real["Config"].get("Labels") or {}, real["Name"].lstrip("/"))


def inspect(container_id: str) -> dict[str, Any] | None:
    """Return what the engine knows of a container; None when it is gone."""
    with engine.speaking():
        try:
            answer: dict[str, Any] = engine.client().api.inspect_container(container_id)
        except engine.sdk().errors.NotFound:
            return None
    return answer
