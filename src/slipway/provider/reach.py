"""Asks a container's port on the stack's network, where the gateway will send requests: never on loopback inside it."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from slipway.model import bases
from slipway.model.errors import SlipwayError
from slipway.model.location import workspace_root
from slipway.provider import sockets
from slipway.provider.hardened import hardened
from slipway.provider.images import pull
from slipway.provider.kind import Stop
from slipway.run import engine

KNOCK_SECONDS = 3
ASK_SECONDS = 30  # for a container that asks, on a slow line to a far engine
GATEWAY, ASKER = "gateway", "asker"
NOT_THERE = ("executable file not found", "no such file or directory")
Answer = Literal["open", "refused", "silent"]


@dataclass(frozen=True)
class Address:
    """Where a container is: its own address on the stack's network, and the network's on the engine's machine.

    `pid` is its first process, as the engine's machine counts.
    """

    ip: str
    bridge: str
    network: str
    pid: int

    @classmethod
    def of(cls, container: Any) -> Address | None:
        """Return the address of a container of the Docker SDK, as it was looked at last; None when it has none."""
        for name, network in container.attrs["NetworkSettings"]["Networks"].items():
            if network.get("IPAddress"):
                pid = container.attrs["State"].get("Pid", 0)
                return cls(network["IPAddress"], network.get("Gateway", ""), name, pid)
        return None

    @cached_property
    def here(self) -> bool:
        """Whether this machine is on that network: not so with a far engine, a virtual machine's, or a rootless one."""
        if sys.platform != "linux" or not engine.address().startswith("unix://"):
            return False
        with suppress(OSError), socket.socket() as probe:
            probe.bind((self.bridge, 0))
            return self.ip in sockets.table_of(self.pid, "fib_trie").split()
        return False

    def knock(self, port: int, seconds: float = KNOCK_SECONDS) -> Answer:
        """Ask a port from this machine, which has to be on the network."""
        try:
            socket.create_connection((self.ip, port), timeout=seconds, source_address=(self.bridge, 0)).close()
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "silent"
        return "open"

    def connected(self, port: int) -> int:
        """Return how many connections to a port there are; this machine has to be on the network."""
        return sum(sockets.connected(sockets.table_of(self.pid, name), port) for name in ("tcp", "tcp6"))


def listening(container: Any, address: Address) -> list[tuple[str, int]]:
    """Return at which addresses and ports a container's programs listen; nothing where that cannot be seen."""
    tables: list[str] = []
    if address.here:
        tables = [sockets.table_of(address.pid, name) for name in ("tcp", "tcp6")]
    else:
        with suppress(Exception):  # it may have no such program, or have ended: then nobody knows
            tables = [engine.execute(container.id, ["cat", "/proc/net/tcp", "/proc/net/tcp6"])[1]]
    return sockets.listening("\n".join(tables))


def on_loopback_only(found: list[tuple[str, int]], port: int) -> bool:
    """Whether a port is listened at, but only where nobody outside the container comes."""
    at = [ipaddress.ip_address(address) for address, each in found if each == port]
    return bool(at) and all(each.is_loopback for each in at)


@contextmanager
def asking(container: Any, address: Address, port: int, stop: Stop) -> Iterator[Callable[[], bool]]:
    """Yield what says whether a port answers: from this machine, or from a container that is made for it."""
    if address.here:
        yield lambda: address.knock(port) == "open"
        return
    asker = _Asker(container, address, port, stop)
    try:
        yield asker.ask
    finally:
        asker.remove()


class _Asker:
    """A container of the gateway's image on the same network, which does nothing but knock.

    The hardened gateway has no shell but `nc`, as NGINX's official image on Alpine; its image on Debian has `bash`.
    """

    def __init__(self, container: Any, address: Address, port: int, stop: Stop) -> None:
        self._name, self._network = f"{container.name}-{ASKER}", address.network
        self._labels = {key: value for key, value in container.labels.items() if key != engine.DEV}
        self._stop, self._made = stop, None
        self._programs = [
            ["nc", "-z", "-w", str(KNOCK_SECONDS), address.ip, str(port)],
            ["bash", "-c", f"exec 3<>/dev/tcp/{address.ip}/{port}"],
        ]

    def ask(self) -> bool:
        """Return whether the port answers.

        Raises:
            SlipwayError: nobody can ask.
        """
        while self._programs:
            made = self._made or self._make(self._programs[0])
            try:
                made.start()
            except engine.sdk().errors.APIError as error:
                if not any(words in str(error) for words in NOT_THERE):
                    raise
                self.remove()
                self._programs.pop(0)
                continue
            return bool(made.wait(timeout=ASK_SECONDS)["StatusCode"] == 0)
        raise SlipwayError(
            "its port cannot be asked: the gateway's image has neither nc nor bash",
            remedy="Name another image with NGINX under [bases.official] in workspace.toml, such as nginx:…-alpine.",
        )

    def remove(self) -> None:
        """Remove it; none was made is fine."""
        if self._made:
            engine.remove(self._made.id)
        self._made = None

    def _make(self, program: list[str]) -> Any:
        image = self._image()
        made = engine.client().containers.create(
            image,
            **{**hardened(), "init": False},  # an init would start, whether its program is there or not
            name=self._name,
            labels={**self._labels, engine.SERVICE: ASKER},
            user="65532:65532",
            entrypoint=program[:1],
            command=program[1:],
            network=self._network,
        )
        self._made = made
        return made

    def _image(self) -> str:
        """Return the gateway's image: of the one that runs, else of the one that will."""
        of = engine.containers(self._labels.get(engine.WORKSPACE, ""), self._labels.get(engine.STACK, ""))
        image = next((each.image for each in of if each.service == GATEWAY), "")
        image = image or bases.load(workspace_root()).bases[bases.GATEWAY]
        pull(image, self._stop)
        return image
