"""Deploys to an engine behind a real SSH server: all succeed, leave nothing, and say what is wrong with the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.sshd import Sshd, sshd
from tests.e2e.workspace import Workspace, descendants, kill, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
DEPLOYS = 4


@pytest.fixture(scope="module")
def server(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def change(workspace: Workspace, line: object) -> None:
    main = workspace.root / "services" / "worker" / "app" / "__main__.py"
    main.write_text(f"{main.read_text()}# over SSH: {line}\n")


def tunnels(server: Sshd) -> list[str]:
    """Return the processes that lead to the server's engine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text()
        except OSError:
            continue
        if "engine.sock:" in words and (f"\0{server.port}\0" in words or server.alias in words):
            found.append(words)
    return found


def test_every_deploy_over_ssh_succeeds_and_ends_its_tunnel(deployed: Workspace, server: Sshd) -> None:
    way = {**server.environment, "DOCKER_HOST": f"ssh://{server.user}@127.0.0.1:{server.port}"}
    deployed.up("--yes")  # nothing is left to change, whoever has worked here before
    before = deployed.ids()
    assert not deployed.up(**way)["changed"]
    for number in range(DEPLOYS):
        change(deployed, number)
        said = deployed.up(**way)
        assert said["changed"]
        assert {row["health"] for row in said["rows"]} == {"200 OK", "healthy"}
        assert deployed.invoke("status", **way).code == 0
    after = deployed.ids()
    assert after["worker"] != before["worker"] and after["api"] == before["api"]
    assert tunnels(server) == []


def test_the_name_of_a_server_in_the_user_s_own_configuration_will_do(deployed: Workspace, server: Sshd) -> None:
    way = {**server.environment, "DOCKER_HOST": f"ssh://{server.alias}"}
    assert "Docker engine" in deployed.invoke("doctor", **way).output
    assert deployed.invoke("status", **way).code == 0
    assert deployed.invoke("logs", "worker", "--tail", "1", **way).code == 0
    assert tunnels(server) == []


def test_a_command_that_is_killed_takes_its_tunnel_along(deployed: Workspace, server: Sshd) -> None:
    way = {**server.environment, "DOCKER_HOST": f"ssh://{server.alias}"}
    child = deployed.start("logs", "worker", "--follow", **way)
    wait_until(lambda: tunnels(server), "the tunnel is there")
    wait_until(lambda: any(descendants(child.pid)), "it has children")
    child.kill()
    child.wait()
    wait_until(lambda: not tunnels(server), "the tunnel has ended")
    kill(child)


@pytest.mark.parametrize(
    ("address", "reason", "remedy"),
    [
        ("ssh://{user}@localhost:{port}", "does not know the server's key", "accept it once"),
        ("ssh://nobody-at-all@127.0.0.1:{port}", "could not log in", "Log in with a key"),
        ("ssh://{user}@127.0.0.1:{port}/run/nothing.sock", "there is no /run/nothing.sock there", "name it"),
        ("ssh://{user}@127.0.0.1:1", "could not connect", "works from this machine"),
    ],
)
def test_what_is_wrong_with_the_way_is_told(
    deployed: Workspace, server: Sshd, address: str, reason: str, remedy: str
) -> None:
    host = address.format(user=server.user, port=server.port)
    ran = deployed.invoke("up", **server.environment, DOCKER_HOST=host)
    assert ran.code == 1
    assert reason in ran.output and remedy in ran.output
    assert tunnels(server) == []


def test_a_server_that_forwards_no_sockets_is_told_with_its_setting(deployed: Workspace, tmp_path: Path) -> None:
    with sshd(tmp_path, AllowStreamLocalForwarding="no") as server:
        ran = deployed.invoke("status", **server.environment, DOCKER_HOST=f"ssh://{server.alias}")
    assert ran.code == 1
    assert "AllowStreamLocalForwarding yes" in ran.output
