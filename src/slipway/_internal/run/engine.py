"""The client for the Docker engine: connecting, listing what runs, logs, health, removal."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from slipway._internal.content.healthcheck import Healthcheck
from slipway._internal.model.canary import canary_image_name
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import StreamMasker
from slipway._internal.run import docker_config, ssh
from slipway._internal.run.background import Background

WORKSPACE_LABEL, STACK_LABEL, SERVICE_LABEL, URN_LABEL = (
    "slipway.workspace",
    "slipway.stack",
    "slipway.service",
    "slipway.urn",
)
DEV_LABEL = "slipway.dev"
"""The label of containers that `invoke dev` made: no state knows them, and the next deploy takes their place."""
COMMAND_LABEL = "slipway.command"
"""The label of containers that run a user's command to its end: they are no service's, and no state knows them."""
DATA_LABEL = "slipway.data"
"""The label of volumes that hold a service's data. They are removed only by name, see `invoke down --volumes`."""
REPLICA_SEPARATOR = "."
"""What stands between a service's name and its container's number in the state; no service's name has one."""
RELEASE_LABEL = "slipway.release"
"""The label of containers that run a service's release command: a deploy made them, and they end with it."""
COMMAND_LABELS = frozenset((COMMAND_LABEL, RELEASE_LABEL))
VOLUME_PURPOSES = SECRETS_VOLUME, CONFIG_VOLUME = "secrets", "config"
RESTART_POLICY = {"Name": "always"}
"""Brings back whatever ends, and what was killed by hand when the engine starts again."""
CONNECT_SECONDS, SSH_SECONDS, REQUEST_SECONDS = 5, 30, 60
MAX_LINE_BYTES = 1024 * 1024
"""Bytes of a log's line after which it is told, whether it has ended or not."""
RECENT_LOG_LINES = 100
"""How many of a log's last lines are looked through."""
MAX_CONNECTIONS = 64  # connections kept for the resources that Pulumi handles at the same time

T = TypeVar("T")
_import_lock = threading.Lock()


@dataclass(frozen=True)
class ContainerSummary:
    """One of Slipway's containers, as the engine describes it.

    `state` is the engine's word (running, exited, restarting, …); `health` is healthy, unhealthy, starting
    or empty without a health check; `created` is seconds since 1970; `dev` says that `invoke dev` made it.
    """

    id: str
    name: str
    service: str
    image: str
    state: str
    health: str
    status: str
    created: int
    dev: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """Its name in the stack's state: its service's, of a further container `SERVICE.2`, `SERVICE.canary`."""
        name = self.labels.get(URN_LABEL, "").rpartition("::")[2]
        return name if name.partition(REPLICA_SEPARATOR)[0] == self.service else self.service

    @property
    def replica(self) -> int:
        """Its number among the containers of its service, from 1; a canary is not among them, and has 0."""
        return 0 if self.is_canary else int(self.resource.partition(REPLICA_SEPARATOR)[2] or 1)

    @property
    def is_canary(self) -> bool:
        """Whether it is the canary of its service."""
        return self.resource == canary_image_name(self.service)


def _finished_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass(frozen=True)
class ProbeResult:
    """How one run of a container's health check ended; `finished` is set when it really has, which may be later."""

    ok: bool
    output: str
    finished: threading.Event = field(default_factory=_finished_event, compare=False)


def load_sdk() -> Any:
    """Return the `docker` package with all its parts.

    The one place that imports it: two threads that begin to at the same time get it half made, as its parts
    import each other in a circle.
    """
    with _import_lock:
        import docker
        import docker.errors
        import docker.tls
        import docker.types
    return docker


def address() -> str:
    """Return the engine's address: DOCKER_HOST, else the Docker context in use, else the default socket.

    Raises:
        ConfigError: what names it is wrong.
    """
    return docker_config.engine_address()


def is_local() -> bool:
    """Say whether the engine is on this machine, so that what it publishes can be asked from here."""
    return address().startswith("unix://")


def client(host: str | None = None) -> Any:
    """Return a `docker.DockerClient` that has answered; the connection is kept and shared between threads.

    Args:
        host: the engine's address, where another than the one in use is meant.

    Raises:
        SlipwayError: no engine answers at the address.
    """
    host = host or address()
    if not host.startswith(ssh.SSH_SCHEME):
        return _connect(host)
    from slipway._internal.run.tunnel import open_tunnel  # only now: most engines are on this machine

    return _connect(f"unix://{open_tunnel(host).socket}", SSH_SECONDS)


@lru_cache(maxsize=4)
def _connect(host: str, seconds: float = CONNECT_SECONDS) -> Any:
    docker_config.read_config()  # the SDK takes a damaged one for none, or ends in an AttributeError
    over_tls = bool(os.environ.get("DOCKER_TLS_VERIFY")) and host.startswith("tcp://")
    with docker_errors(host):
        engine = load_sdk().DockerClient(
            base_url=host,
            version="auto",
            timeout=seconds,
            max_pool_size=MAX_CONNECTIONS,
            tls=load_sdk().tls.TLSConfig(verify=True, **_certificates()) if over_tls else False,
        )
    engine.api.timeout = REQUEST_SECONDS
    return engine


def _certificates() -> dict[str, Any]:
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    return {
        "client_cert": (str(folder / "cert.pem"), str(folder / "key.pem")),
        "ca_cert": str(folder / "ca.pem"),
    }


@contextmanager
def docker_errors(host: str | None = None) -> Iterator[None]:
    """Turn errors of the Docker SDK raised inside into a SlipwayError with a remedy."""
    try:
        yield
    except Exception as error:
        if translated := translate_error(error, host):
            raise translated from error
        raise


def translate_error(error: Exception, host: str | None = None) -> SlipwayError | None:
    """Return the user's version of an error of the Docker SDK; None when it isn't one."""
    errors = load_sdk().errors
    import requests  # only now: the SDK imports it too

    if isinstance(error, errors.APIError):
        return SlipwayError(f"the Docker engine refused: {error.explanation or error}")
    silent = (requests.exceptions.RequestException, errors.DockerException, ConnectionError)
    if isinstance(error, silent):
        return SlipwayError(
            f"the Docker engine at {host or address()} does not answer",
            remedy="Run `invoke setup` to start one, or set DOCKER_HOST to another.",
            detail=_innermost_reason(error),
        )
    return None


def _innermost_reason(error: BaseException) -> str:
    """Return the innermost cause in short: the SDK and its libraries wrap it four times."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def list_containers(workspace: str, stack: str) -> list[ContainerSummary]:
    """Return the stack's containers, its gateway (service `gateway`) among them, by service and age.

    Those that run a command to its end, a user's or a release's, are left out.
    """
    with docker_errors():
        answer = client().api.containers(all=True, filters={"label": label_filters(workspace, stack)})
    found = [_parse_summary(entry) for entry in answer if entry["Labels"].keys().isdisjoint(COMMAND_LABELS)]
    return sorted(found, key=lambda container: (container.service, container.created))


def _parse_summary(answer: dict[str, Any]) -> ContainerSummary:
    health = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", answer["Status"])
    return ContainerSummary(
        id=answer["Id"],
        name=answer["Names"][0].lstrip("/"),
        service=answer["Labels"].get(SERVICE_LABEL, ""),
        image=answer["Image"],
        state=answer["State"],
        health=health[1] if health else "",
        status=answer["Status"],
        created=answer["Created"],
        dev=DEV_LABEL in answer["Labels"],
        labels=answer["Labels"],
    )


def read_logs(
    container: str, *, tail: int | None = None, follow: bool = False, timestamps: bool = False
) -> Iterator[str]:
    """Yield a container's log line by line, standard output and error in one; `follow` waits for more.

    Raises:
        SlipwayError: there is no such container, or no engine.
    """
    with docker_errors():
        tail_lines = "all" if tail is None else tail
        log_source = client().containers.get(container)
        chunks = log_source.logs(stream=True, follow=follow, timestamps=timestamps, tail=tail_lines)
        yield from split_lines(chunks)


def read_recent_log(container: str, seconds: int) -> list[str]:
    """Return what a container has written in the last seconds, its last lines at most; nothing where it is gone.

    Raises:
        SlipwayError: there is no engine.
    """
    with docker_errors():
        try:
            source = client().containers.get(container)
            text = source.logs(since=int(time.time()) - seconds, tail=RECENT_LOG_LINES)
        except load_sdk().errors.NotFound:
            return []
    return [*split_lines([text, b"\n"])]


def split_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a log that comes in parts; one without an end is told in pieces, and kept in no memory."""
    rest = bytearray()
    masker: StreamMasker | None = None  # while a line is told in pieces: a secret may lie across a border
    for chunk in chunks:
        *lines, last = chunk.split(b"\n")
        for line in lines:
            text = (bytes(rest) + line).decode(errors="replace").rstrip("\r")
            yield masker.feed(text) + masker.flush() if masker else text
            rest.clear()
            masker = None
        rest += last
        if len(rest) >= MAX_LINE_BYTES:
            masker = masker or StreamMasker()
            yield masker.feed(rest.decode(errors="replace"))
            rest.clear()
    text = rest.decode(errors="replace")
    if text := masker.feed(text) + masker.flush() if masker else text:
        yield text


def health_command(image: Any) -> list[str]:
    """Return the command of an image's HEALTHCHECK as an argument list; empty when it has none."""
    return configured_health_command(image.attrs.get("Config") or {})


def configured_health_command(config: Mapping[str, Any]) -> list[str]:
    """Return the command of the health check in the configuration of an image or a container; empty without one."""
    test = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    if test[0] == "CMD":
        return list(test[1:])
    shell = config.get("Shell") or ["/bin/sh", "-c"]
    return [*shell, *test[1:]] if test[0] == "CMD-SHELL" else []


def read_health_check(image: Any) -> Healthcheck:
    """Return an image's HEALTHCHECK with Docker's own defaults; one without a command where it has none."""
    settings = (image.attrs.get("Config") or {}).get("Healthcheck") or {}

    def seconds(key: str, otherwise: float) -> float:
        return (settings.get(key) or 0) / 1e9 or otherwise

    return Healthcheck(
        tuple(health_command(image)),
        interval=seconds("Interval", Healthcheck.interval),
        timeout=seconds("Timeout", Healthcheck.timeout),
        start_period=seconds("StartPeriod", Healthcheck.start_period),
        start_interval=seconds("StartInterval", 0) or None,
        retries=settings.get("Retries") or Healthcheck.retries,
    )


def read_container_times(container: str) -> tuple[float, float]:
    """Return when a container was made, and when it was last started, in seconds since 1970.

    Raises:
        SlipwayError: it is gone, or the engine does not answer.
    """
    with docker_errors():
        found = client().api.inspect_container(container)
    created, started = map(datetime.fromisoformat, (found["Created"], found["State"]["StartedAt"]))
    return created.timestamp(), started.timestamp()


def current_health(container: ContainerSummary, seconds: float = 10) -> str:
    """Return a container's health, or its state where it has no health check.

    The engine checks for the first time after a whole interval, and once in an interval then: a container that has no
    verdict yet, or a bad one, is asked here.
    """
    if container.health not in ("starting", "unhealthy"):
        return container.health or container.state
    with docker_errors():
        command = health_command(client().containers.get(container.id).image)
        try:
            return "healthy" if command and probe(container.id, command, seconds).ok else container.health
        except SlipwayError:  # it ends at this moment, or is started again
            return container.health


def probe(container: str, command: list[str], seconds: float) -> ProbeResult:
    """Run a health check inside a running container; one that takes longer than `seconds` has failed."""
    finished = threading.Event()

    def run() -> tuple[int, str]:
        try:
            return exec_command(container, command)
        finally:
            finished.set()

    result = run_with_timeout(run, seconds)
    if result is None:
        return ProbeResult(False, f"the health check did not answer within {seconds:.0f} s", finished)
    return ProbeResult(result[0] == 0, result[1], finished)


def exec_command(container: str, command: list[str], *, user: str = "") -> tuple[int, str]:
    """Run a command inside a running container, as its user or another; return its exit status and output."""
    api = client().api
    handle = api.exec_create(container, command, user=user)["Id"]
    output = api.exec_start(handle) or b""
    return api.exec_inspect(handle)["ExitCode"], output.decode(errors="replace").strip()


def run_with_timeout(work: Callable[[], T], seconds: float) -> T | None:
    """Return what `work` returns, or None when it takes longer; the SDK can't end a request that hangs."""
    background = Background(work)
    return background.result() if background.wait(seconds) else None


def remove_container(container: str, *, name: str = "", grace: int | None = None) -> None:
    """Remove a container and the volumes made for it; what is gone already is fine.

    Args:
        container: its id: of a name, nobody can be sure whose it is.
        name: its name: so its volumes are found even if it is gone itself.
        grace: seconds that it gets to end after its stop signal; without it, it is killed.
    """
    with docker_errors():
        with suppress(load_sdk().errors.NotFound):
            found = client().containers.get(container)
            name = name or found.name
            if grace is not None:
                found.stop(timeout=grace)
            found.remove(force=True, v=True)
        for purpose in VOLUME_PURPOSES if name else ():
            remove_volume(volume_name(name, purpose))


def is_running(container: str) -> bool:
    """Return whether a container runs; one that is gone does not."""
    with docker_errors():
        try:
            return bool(client().api.inspect_container(container)["State"]["Running"])
        except load_sdk().errors.NotFound:
            return False


def stop_container(container: str, grace: int) -> None:
    """Let a container end within so many seconds, and keep it, also when the engine starts again; gone is fine."""
    with docker_errors(), suppress(load_sdk().errors.NotFound):
        found = client().containers.get(container)
        found.update(restart_policy={"Name": "no"})
        found.stop(timeout=grace)


def remove_image(ref: str) -> None:
    """Remove an image that no container is made from any more; one that is in use stays.

    The engine itself would take this name from an image in use that has others, as two workspaces with the same bytes.
    """
    with docker_errors(), suppress(load_sdk().errors.NotFound, load_sdk().errors.APIError):
        image = client().images.get(ref)
        if all(container["ImageID"] != image.id for container in client().api.containers(all=True)):
            client().images.remove(ref)


def volume_name(container: str, purpose: str) -> str:
    """Return the name of the volume that a container has for a purpose of VOLUMES."""
    return f"{container}-{purpose}"


def data_volume_name(workspace: str, stack: str, service: str, volume: str) -> str:
    """Return the name of a service's data volume; the dot keeps it apart from the volumes of containers."""
    return f"{workspace}-{stack}-{service}.{volume}"


def remove_volume(name: str) -> None:
    """Remove a volume of Slipway's; one that is gone is fine, and one without its labels is somebody else's."""
    for attempt in range(20):  # just after its container has gone, the engine still counts a volume as used
        try:
            found = client().volumes.get(name)
            if WORKSPACE_LABEL in (found.attrs.get("Labels") or {}):
                found.remove()
            return
        except load_sdk().errors.NotFound:
            return
        except load_sdk().errors.APIError as error:
            if error.status_code != 409 or attempt == 19:
                raise
            time.sleep(0.1)


def label_filters(workspace: str, stack: str) -> list[str]:
    """Return the filter for all that the engine has of a stack."""
    return [f"{WORKSPACE_LABEL}={workspace}", f"{STACK_LABEL}={stack}"]
