"""Probes a container's port on the stack's network, where the gateway sends requests, instead of on its loopback."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from slipway._internal.model import bases_lock
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.rollout import sockets
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.hardening import hardened_settings
from slipway._internal.rollout.images import pull_image
from slipway._internal.run import engine

CONNECT_SECONDS = 3
PROBE_SECONDS = 30  # for a probe container on a remote engine with a slow connection
GATEWAY, PROBE = "gateway", "asker"
MISSING_PROGRAM_ERRORS = ("executable file not found", "no such file or directory")
PortState = Literal["open", "refused", "silent"]


@dataclass(frozen=True)
class ContainerAddress:
    """A container's address on the stack's network, and the network's bridge address on the engine's machine.

    `pid` is the container's first process on the engine's machine.
    """

    ip: str
    bridge: str
    network: str
    pid: int

    @classmethod
    def of(cls, container: Any) -> ContainerAddress | None:
        """Return the address of a Docker SDK container as last loaded; None if it has none."""
        for name, network in container.attrs["NetworkSettings"]["Networks"].items():
            if network.get("IPAddress"):
                pid = container.attrs["State"].get("Pid", 0)
                return cls(network["IPAddress"], network.get("Gateway", ""), name, pid)
        return None

    @cached_property
    def is_local(self) -> bool:
        """Whether this machine is on that network: not if the engine is remote, rootless or in a VM."""
        if sys.platform != "linux" or not engine.address().startswith("unix://"):
            return False
        with suppress(OSError), socket.socket() as test_socket:
            test_socket.bind((self.bridge, 0))
            return self.ip in sockets.read_proc_net(self.pid, "fib_trie").split()
        return False

    def probe_port(self, port: int, seconds: float = CONNECT_SECONDS) -> PortState:
        """Probe a port from this machine, which must be on the network."""
        try:
            socket.create_connection((self.ip, port), timeout=seconds, source_address=(self.bridge, 0)).close()
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "silent"
        return "open"


def find_listeners(container: Any, address: ContainerAddress) -> list[tuple[str, int]]:
    """Return the addresses and ports that a container's programs listen on; empty if that cannot be read."""
    tables: list[str] = []
    if address.is_local:
        tables = [sockets.read_proc_net(address.pid, name) for name in ("tcp", "tcp6")]
    else:
        with suppress(Exception):  # it may have no `cat`, or may have ended
            tables = [engine.exec_command(container.id, ["cat", "/proc/net/tcp", "/proc/net/tcp6"])[1]]
    return sockets.listening_addresses("\n".join(tables))


def is_loopback_only(listeners: list[tuple[str, int]], port: int) -> bool:
    """Whether a program listens on the port, but only on loopback addresses."""
    addresses = [ipaddress.ip_address(address) for address, listening_port in listeners if listening_port == port]
    return bool(addresses) and all(listening_port.is_loopback for listening_port in addresses)


@contextmanager
def port_probe(
    container: Any, address: ContainerAddress, port: int, cancellation: CancellationToken
) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a port answers, from this machine or from a temporary container."""
    if address.is_local:
        yield lambda: address.probe_port(port) == "open"
        return
    probe = _ProbeContainer(container, address, port, cancellation)
    try:
        yield probe.probe_port
    finally:
        probe.remove()


class _ProbeContainer:
    """A container of the gateway's image on the same network that only probes a port.

    A gateway that an older version of Slipway left is an NGINX, whose image has `nc`.
    """

    def __init__(self, container: Any, address: ContainerAddress, port: int, cancellation: CancellationToken) -> None:
        self._name, self._network = f"{container.name}-{PROBE}", address.network
        self._labels = {key: value for key, value in container.labels.items() if key != engine.DEV_LABEL}
        self._cancellation = cancellation
        self._container: Any = None
        self._programs = [
            ["control", "probe", str(CONNECT_SECONDS), address.ip, str(port)],
            ["nc", "-z", "-w", str(CONNECT_SECONDS), address.ip, str(port)],
        ]

    def probe_port(self) -> bool:
        """Return whether the port answers.

        Raises:
            SlipwayError: the image has no program to probe with.
        """
        while self._programs:
            container = self._container or self._create(self._programs[0])
            try:
                container.start()
            except engine.load_sdk().errors.APIError as error:
                if not any(words in str(error) for words in MISSING_PROGRAM_ERRORS):
                    raise
                self.remove()
                self._programs.pop(0)
                continue
            return bool(container.wait(timeout=PROBE_SECONDS)["StatusCode"] == 0)
        raise SlipwayError(
            "its port cannot be probed: the gateway's image is none of Slipway's",
            remedy="Run `invoke setup`: it builds the base `envoy`.",
        )

    def remove(self) -> None:
        """Remove the container, if one was created."""
        if self._container:
            engine.remove_container(self._container.id)
        self._container = None

    def _create(self, program: list[str]) -> Any:
        image = self._gateway_image()
        container = engine.client().containers.create(
            image,
            **{**hardened_settings(), "init": False},  # an init would start even if the program does not exist
            name=self._name,
            labels={**self._labels, engine.SERVICE_LABEL: PROBE},
            user="65532:65532",
            entrypoint=program[:1],
            command=program[1:],
            network=self._network,
        )
        self._container = container
        return container

    def _gateway_image(self) -> str:
        """Return the image of the running gateway, or else of the one that will run."""
        containers = engine.list_containers(
            self._labels.get(engine.WORKSPACE_LABEL, ""), self._labels.get(engine.STACK_LABEL, "")
        )
        image = next((container.image for container in containers if container.service == GATEWAY), "")
        image = image or bases_lock.load(workspace_root()).bases[bases_lock.GATEWAY_BASE]
        pull_image(image, self._cancellation)
        return image
