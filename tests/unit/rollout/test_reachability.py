"""Where a container is asked: at its port on the stack's network, from here or from a container beside it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine, refusal, stack_labels

from slipway._internal.model import bases_lock
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.rollout import reachability
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.reachability import ContainerAddress, find_listeners, is_loopback_only, port_probe
from slipway._internal.run import engine

HERE = ContainerAddress("127.0.0.1", "127.0.0.1", "demo-dev", os.getpid())
FAR = ContainerAddress("192.0.2.9", "192.0.2.1", "demo-dev", 0)
LISTENING = "  0: 0100007F:1F40 00000000:0000 0A 0:0 0:0 0 0 0 1\n"  # 127.0.0.1:8000


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Something that listens on this machine, which is on the "network"."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield found


def test_a_containers_address_is_that_of_its_network(docker: FakeEngine) -> None:
    container = docker.add_container("api", network="demo-dev")
    container.state["Pid"] = 41
    ip = container.attrs["NetworkSettings"]["Networks"]["demo-dev"]["IPAddress"]
    assert ContainerAddress.of(container) == ContainerAddress(ip, "172.18.0.1", "demo-dev", 41)
    container.attrs["NetworkSettings"]["Networks"]["demo-dev"] = {"IPAddress": ""}
    assert ContainerAddress.of(container) is None


def test_a_port_on_this_machine_is_asked(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert HERE.is_local
    assert HERE.probe_port(port) == "open"
    assert ("127.0.0.1", port) in find_listeners(None, HERE)


def test_a_closed_port_refuses(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert HERE.probe_port(port) == "refused"


def test_a_network_of_another_machine_is_not_local(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not FAR.is_local
    assert FAR.probe_port(8000, 0.01) == "silent"
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@server")
    assert not ContainerAddress("127.0.0.1", "127.0.0.1", "demo-dev", os.getpid()).is_local


@pytest.mark.parametrize(
    ("listeners", "hidden"),
    [
        ([("127.0.0.1", 8000)], True),
        ([("::1", 8000), ("127.0.0.1", 8000)], True),
        ([("127.0.0.1", 8000), ("0.0.0.0", 8000)], False),
        ([("127.0.0.1", 9000)], False),
    ],
)
def test_a_port_on_loopback_alone_is_told_from_others(listeners: list[tuple[str, int]], hidden: bool) -> None:
    assert is_loopback_only(listeners, 8000) is hidden


def test_on_a_far_engine_the_container_itself_says_where_it_listens(docker: FakeEngine) -> None:
    container = docker.add_container("api")
    docker.on_exec = lambda _container, _command: (0, LISTENING)
    assert find_listeners(container, FAR) == [("127.0.0.1", 8000)]
    container.end(0)
    assert find_listeners(container, FAR) == []


class Asked:
    """A service on a far engine, and what the containers that ask its port were to run."""

    def __init__(self, docker: FakeEngine) -> None:
        self.docker = docker
        self.service = docker.add_container("api-1", labels={**stack_labels("api"), engine.DEV_LABEL: "true"})
        self.gateway = docker.add_container("demo-dev-gateway", service="gateway", image="envoy")
        self.programs: list[str] = []
        self.missing: set[str] = set()
        self.exit_code = 0
        docker.on_start = self._start

    def _start(self, container: FakeContainer) -> None:
        program = container.options["entrypoint"][0]
        self.programs.append(program)
        if program in self.missing:
            raise refusal(404, f'exec: "{program}": executable file not found in $PATH')
        container.end(self.exit_code)

    def answers(self) -> list[bool]:
        with port_probe(self.service, FAR, 8000, CancellationToken()) as ask:
            return [ask(), ask()]


@pytest.fixture
def asked(docker: FakeEngine) -> Asked:
    return Asked(docker)


@pytest.mark.parametrize(("exit_code", "answered"), [(0, True), (1, False)])
def test_where_this_machine_is_not_on_the_network_a_container_of_the_gateways_image_asks(
    asked: Asked, exit_code: int, answered: bool
) -> None:
    asked.exit_code = exit_code
    made: list[FakeContainer] = []
    begin = asked.docker.on_start
    asked.docker.on_start = lambda container: made.append(container) or begin(container)
    assert asked.answers() == [answered, answered]
    assert made[0] is made[1] and made[0].image.ref == "envoy"
    assert made[0].options["network"] == "demo-dev"
    assert made[0].options["entrypoint"] + made[0].options["command"] == [
        *("control", "probe", str(reachability.CONNECT_SECONDS)),
        *("192.0.2.9", "8000"),
    ]
    assert engine.DEV_LABEL not in made[0].labels
    assert set(asked.docker.all.values()) == {asked.service, asked.gateway}


def test_the_gateway_of_an_older_version_asks_with_nc(asked: Asked) -> None:
    asked.missing = {"control"}
    assert asked.answers() == [True, True]
    assert asked.programs == ["control", "nc", "nc"]


def test_an_image_that_can_ask_nothing_is_an_error_that_says_what_helps(asked: Asked) -> None:
    asked.missing = {"control", "nc"}
    with pytest.raises(SlipwayError, match="cannot be probed") as caught:
        asked.answers()
    assert "invoke setup" in caught.value.remedy
    assert set(asked.docker.all.values()) == {asked.service, asked.gateway}


def test_before_there_is_a_gateway_the_image_is_the_one_that_it_will_have(asked: Asked, tmp_path: Path) -> None:
    asked.gateway.remove()
    (tmp_path / "bases").mkdir()
    ref = "127.0.0.1:5000/demo/base-envoy@sha256:" + "b" * 64
    text = json.dumps({"source": "hardened", "bases": {bases_lock.GATEWAY_BASE: ref}})
    (tmp_path / "bases" / "bases.lock.json").write_text(text, encoding="utf-8")
    use_workspace(tmp_path)
    asked.docker.add_image(ref, pulled=False)
    assert asked.answers() == [True, True]
    assert ref in asked.docker.stored_images
