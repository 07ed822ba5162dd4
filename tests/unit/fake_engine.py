"""A Docker engine in memory: what the SDK's client offers, as far as Slipway asks for it."""

from __future__ import annotations

import io
import itertools
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound

from slipway._internal.run import engine

GATEWAY_ENTRYPOINT = ["control", "run", "envoy"]


def refusal(status: int, text: str) -> APIError:
    """Return the SDK's error for an answer of the engine."""
    return APIError(text, SimpleNamespace(status_code=status, url="http+docker://", reason=text), text)


class FakeImage:
    """An image, whose configuration a test may change."""

    def __init__(self, ref: str) -> None:
        self.ref, self.id = ref, f"image-of-{ref}"
        self.attrs: dict[str, Any] = {"Config": {"User": "65532:65532", "WorkingDir": "/app"}}


class FakeContainer:
    """A container: its files and processes, and what was done to it."""

    def __init__(self, owner: FakeEngine, number: int, image: FakeImage, options: Mapping[str, Any]) -> None:
        self.engine, self.image, self.options = owner, image, options
        self.id, self.name, self.labels = f"c{number}", options["name"], dict(options.get("labels") or {})
        self.files: dict[str, tuple[bytes, int]] = {}
        self.processes: dict[str, tuple[str, str]] = {}
        self.did: list[str] = []
        self.log = b""
        self.created = number
        mounts = [{"Name": mount["Source"], "Target": mount["Target"]} for mount in options.get("mounts") or []]
        ports = {
            port: [{"HostIp": ip, "HostPort": str(host_port)}]
            for port, (ip, host_port) in (options.get("ports") or {}).items()
        }
        network = {"IPAddress": f"172.18.0.{number}", "Gateway": "172.18.0.1"}
        self.attrs: dict[str, Any] = {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Image": image.id,
            "Created": f"2026-11-30T10:00:{number % 60:02}+00:00",
            "Config": {**image.attrs["Config"], "Labels": self.labels},
            "HostConfig": {"RestartPolicy": {"Name": "no"}},
            "Mounts": mounts,
            "NetworkSettings": {"Ports": ports, "Networks": {options.get("network", "bridge"): network}},
            "State": {
                "Running": False,
                "Paused": False,
                "Restarting": False,
                "OOMKilled": False,
                "ExitCode": 0,
                "Error": "",
                "Pid": 0,
                "StartedAt": f"2026-11-30T10:00:{number % 60 + 1:02}+00:00",
            },
        }

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.attrs["State"]
        return found

    def start(self) -> None:
        self.did.append("start")
        self.state["Running"] = True
        if "control" in (self.options.get("entrypoint") or ()):
            self.processes = {"10": ("S", "control run envoy"), "11": ("S", "envoy")}
        self.engine.on_start(self)

    def end(self, code: int) -> None:
        """End by itself."""
        self.state.update(Running=False, ExitCode=code)

    def stop(self, timeout: int) -> None:
        self.did.append(f"stop within {timeout}")
        self.state["Running"] = False

    def kill(self, signal: str) -> None:
        self.did.append(f"kill {signal}")

    def remove(self, *, force: bool = False, v: bool = False) -> None:
        self.did.append("remove")
        del self.engine.all[self.id]

    def update(self, *, restart_policy: Mapping[str, Any], **limits: Any) -> None:
        self.did.append("update")
        self.attrs["HostConfig"].update(RestartPolicy=dict(restart_policy), **limits)

    def reload(self) -> None:
        if self.id not in self.engine.all:
            raise NotFound(f"No such container: {self.id}")

    def wait(self, timeout: float) -> dict[str, int]:
        return {"StatusCode": self.state["ExitCode"]}

    def logs(self, *, stream: bool = False, tail: Any = "all", **_options: Any) -> Any:
        text = b"" if tail == 0 else self.log
        return iter([text]) if stream else text

    def top(self, ps_args: str = "") -> dict[str, Any]:
        titles = ["PID", "STAT", "CMD"]
        return {"Titles": titles, "Processes": [[pid, *rest] for pid, rest in self.processes.items()] or None}

    def put_archive(self, folder: str, archive: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for entry in tar:
                content = tar.extractfile(entry)
                self.files[f"{folder}/{entry.name}"] = (content.read() if content else b"", entry.mode)

    def get_archive(self, path: str) -> tuple[Iterator[bytes], dict[str, int]]:
        found = {name: file for name, file in self.files.items() if name == path or name.startswith(f"{path}/")}
        if not found:
            raise NotFound(f"no such file: {path}")
        parent = f"{path.rpartition('/')[0]}/"
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, (content, _) in found.items():
                entry = tarfile.TarInfo(name.removeprefix(parent))
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return iter([buffer.getvalue()]), {"mode": found.get(path, (b"", 0o755))[1]}

    def text(self, path: str) -> str:
        """Return a file that was put into it."""
        return self.files[path][0].decode()


class FakeThing:
    """A network or a volume."""

    def __init__(self, things: dict[str, FakeThing], name: str, identity: str, labels: Mapping[str, str]) -> None:
        self._things, self.name, self.id = things, name, identity
        self.attrs: dict[str, Any] = {"Labels": dict(labels), "Containers": {}}

    def reload(self) -> None: ...

    def remove(self) -> None:
        del self._things[self.id]


class FakeEngine:
    """The engine. Tests put images into it, or into the registry that it pulls from, and read what became of it."""

    def __init__(self) -> None:
        self.all: dict[str, FakeContainer] = {}
        self.stored_networks: dict[str, FakeThing] = {}
        self.stored_volumes: dict[str, FakeThing] = {}
        self.stored_images: dict[str, FakeImage] = {}
        self.registry: dict[str, FakeImage] = {}
        self.executed: list[list[str]] = []
        self.on_start: Callable[[FakeContainer], None] = lambda _container: None
        self.on_exec: Callable[[FakeContainer, list[str]], tuple[int, str]] = run_control
        self._numbers = itertools.count(2)
        self._results: dict[str, tuple[int, str]] = {}
        self.api: Any = LowLevel(self)
        self.containers = _Containers(self)
        self.images = SimpleNamespace(get=self._get_image, remove=self._remove_image)
        self.networks = SimpleNamespace(get=self._get_network, create=self._create_network, list=self._list_networks)
        self.volumes = SimpleNamespace(get=self._get_volume, create=self._create_volume)

    def add_image(self, ref: str, *, pulled: bool = True, **config: Any) -> FakeImage:
        """Put an image into the engine, or only where it can be pulled from."""
        image = FakeImage(ref)
        image.attrs["Config"].update(config)
        (self.stored_images if pulled else self.registry)[ref] = image
        return image

    def add_container(self, name: str, *, service: str = "", image: str = "image", **options: Any) -> FakeContainer:
        """Put a container into the engine that runs; its labels are a stack's where a service is named."""
        labels = {**(stack_labels(service) if service else {}), **options.pop("labels", {})}
        if image not in self.stored_images:
            self.add_image(image)
        container = self.containers.create(image, name=name, labels=labels, **options)
        container.start()
        return container

    def add_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Put a volume into the engine."""
        self.stored_volumes[name] = FakeThing(self.stored_volumes, name, name, labels)

    def named(self, name: str) -> FakeContainer:
        """Return the container that has a name."""
        (found,) = (container for container in self.all.values() if container.name == name)
        return found

    def version(self) -> dict[str, str]:
        return {"Arch": "amd64"}

    # What the SDK's low-level client has.

    def list_containers(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
        return [
            {
                "Id": container.id,
                "Names": [f"/{container.name}"],
                "Labels": container.labels,
                "Image": container.image.ref,
                "ImageID": container.image.id,
                "State": "running" if container.state["Running"] else "exited",
                "Status": container.attrs.get("Status", "Up 2 minutes"),
                "Created": container.created,
                "Mounts": container.attrs["Mounts"],
            }
            for container in self.all.values()
            if _matches(container.labels, filters)
        ]

    def list_networks(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
        return [
            {"Name": network.name, "Id": network.id, "Labels": network.attrs["Labels"]}
            for network in self.stored_networks.values()
            if _matches(network.attrs["Labels"], filters)
        ]

    def list_volumes(self, filters: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
        found = [volume for volume in self.stored_volumes.values() if _matches(volume.attrs["Labels"], filters)]
        return {"Volumes": [{"Name": volume.name, "Labels": volume.attrs["Labels"]} for volume in found] or None}

    def inspect_container(self, identity: str) -> dict[str, Any]:
        return self.containers.get(identity).attrs

    def wait(self, identity: str, timeout: float | None = None) -> dict[str, int]:
        """Return a container's exit code once it has ended, or been removed."""
        container = self.containers.get(identity)
        while container.state["Running"] and identity in self.all:
            time.sleep(0.01)
        return {"StatusCode": container.state["ExitCode"]}

    def pull(self, ref: str, **options: Any) -> Iterable[dict[str, str]]:
        self.pulled_with = options["auth_config"]
        if ref not in self.registry:
            yield {"error": "manifest unknown"}
            return
        yield {"status": "Downloading"}
        self.stored_images[ref] = self.registry[ref]

    def exec_create(self, identity: str, command: list[str], user: str = "") -> dict[str, str]:
        container = self.containers.get(identity)
        if not container.state["Running"]:
            raise refusal(409, f"container {identity} is not running")
        self.executed.append(command)
        handle = f"exec{len(self._results)}"
        self._results[handle] = self.on_exec(container, command)
        return {"Id": handle}

    def exec_start(self, handle: str) -> bytes:
        return self._results[handle][1].encode()

    def exec_inspect(self, handle: str) -> dict[str, int]:
        return {"ExitCode": self._results[handle][0]}

    def _get_image(self, ref: str) -> FakeImage:
        if ref not in self.stored_images:
            raise ImageNotFound(f"No such image: {ref}")
        return self.stored_images[ref]

    def _remove_image(self, ref: str) -> None:
        self._get_image(ref)
        del self.stored_images[ref]

    def _get_network(self, identity: str) -> FakeThing:
        if identity not in self.stored_networks:
            raise NotFound(f"network {identity} not found")
        network = self.stored_networks[identity]
        network.attrs["Containers"] = {
            container.id: {}
            for container in self.all.values()
            if network.name in container.attrs["NetworkSettings"]["Networks"]
        }
        return network

    def _create_network(self, name: str, *, driver: str, labels: Mapping[str, str]) -> FakeThing:
        identity = f"n{next(self._numbers)}"
        self.stored_networks[identity] = FakeThing(self.stored_networks, name, identity, labels)
        return self.stored_networks[identity]

    def _list_networks(self, names: Sequence[str]) -> list[FakeThing]:
        return [network for network in self.stored_networks.values() if any(name in network.name for name in names)]

    def _create_volume(self, name: str, *, driver: str, labels: Mapping[str, str]) -> FakeThing:
        assert driver == "local"
        if name not in self.stored_volumes:
            self.add_volume(name, labels)
        return self.stored_volumes[name]

    def _get_volume(self, name: str) -> FakeThing:
        if name not in self.stored_volumes:
            raise NotFound(f"no such volume: {name}")
        return self.stored_volumes[name]


class _Containers:
    """The engine's containers: the SDK's collection, and when it is called, the low-level list."""

    def __init__(self, owner: FakeEngine) -> None:
        self._engine = owner

    def __call__(self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None) -> list[Any]:
        return self._engine.list_containers(filters)

    def list(self, *, filters: Mapping[str, str]) -> list[Any]:
        """Return the running containers that have a volume."""
        assert list(filters) == ["volume"]
        return [
            container
            for container in self._engine.all.values()
            if container.state["Running"]
            and any(mount["Name"] == filters["volume"] for mount in container.attrs["Mounts"])
        ]

    def get(self, identity: str) -> FakeContainer:
        for container in self._engine.all.values():
            if identity in (container.id, container.name):
                return container
        raise NotFound(f"No such container: {identity}")

    def create(self, image: str, **options: Any) -> FakeContainer:
        if any(container.name == options["name"] for container in self._engine.all.values()):
            raise refusal(409, f'The container name "/{options["name"]}" is already in use by container "c0".')
        container = FakeContainer(self._engine, next(self._engine._numbers), self._engine._get_image(image), options)
        for mount in options.get("mounts") or []:
            if mount["Source"] and mount["Source"] not in self._engine.stored_volumes:
                self._engine.add_volume(mount["Source"], mount["VolumeOptions"]["Labels"])
        self._engine.all[container.id] = container
        return container


class LowLevel:
    """The low-level client, whose lists are methods that the client has as collections."""

    def __init__(self, owner: FakeEngine) -> None:
        self._engine = owner
        self.networks, self.volumes = owner.list_networks, owner.list_volumes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def run_control(container: FakeContainer, command: list[str]) -> tuple[int, str]:
    """Do what Slipway runs in containers: `control` moves the gateway's files, all else succeeds."""
    if command[:2] == ["control", "apply"]:
        for source, target in zip(command[3::4], command[4::4], strict=True):
            container.files[target] = container.files.pop(source)
    return 0, ""


def stack_labels(service: str, workspace: str = "demo", stack: str = "dev") -> dict[str, str]:
    """Return the labels by which a stack's containers are found."""
    return {engine.WORKSPACE_LABEL: workspace, engine.STACK_LABEL: stack, engine.SERVICE_LABEL: service}


def _matches(labels: Mapping[str, str], filters: Mapping[str, Sequence[str]] | None) -> bool:
    pairs = {*labels, *(f"{key}={value}" for key, value in labels.items())}
    return pairs.issuperset((filters or {}).get("label", ()))
