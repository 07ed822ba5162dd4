"""Faults from outside and in the middle of a deploy: each is explained, nothing is lost, the next run converges."""

from __future__ import annotations

import os
import signal
import socket
import uuid

import pytest
from tests.e2e.conftest import NAME, REGISTRY, free_ports, leftovers
from tests.e2e.workspace import Ran, Workspace, ended, kill, processes_gone, read_until, tiny_disk, wait_until

from slipway._internal.run import engine
from slipway._internal.toolchain import background, registry_daemon

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]


def test_a_registry_that_ended_is_started_again(deployed: Workspace) -> None:
    folder = registry_daemon.state_folder(registry_daemon.split_address(REGISTRY)[1])
    if background.find_running(folder) is None:
        pytest.skip(f"the registry at {REGISTRY} is not Slipway's")
    before = deployed.ids()
    assert registry_daemon.stop_local_registry(REGISTRY)
    ran = deployed.invoke("up")
    assert ran.code == 0, ran.output
    assert "registry: starting it" in ran.output
    assert deployed.ids() == before


@pytest.mark.parametrize("words", [("up",), ("build",), ("push",)], ids=" ".join)
def test_a_registry_elsewhere_that_does_not_answer_is_named(deployed: Workspace, words: tuple[str, ...]) -> None:
    before = deployed.ids()
    deployed.edit("workspace.toml", f'registry = "{REGISTRY}"', 'registry = "registry.invalid:5000"')
    ran = deployed.invoke(*words)
    assert ran.code == 1, ran.output
    assert "registry.invalid:5000" in ran.output and "remedy" in ran.output
    assert deployed.ids() == before


def test_a_port_that_is_taken_is_named_with_its_holder_and_the_old_gateway_serves_on(deployed: Workspace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        deployed.edit("workspace.toml", f"port = {deployed.port}", f"port = {port}")
        ran = deployed.invoke("up")
    assert ran.code == 1, ran.output
    assert f"port {port}" in ran.output and f"{os.getpid()}" in ran.output
    assert "remedy" in ran.output and "[gateway]" in ran.output
    assert deployed.get("/api/items")[0] == 200


def test_the_gateway_moves_to_another_port_and_back(deployed: Workspace) -> None:
    other = free_ports(1)
    deployed.edit("workspace.toml", f"port = {deployed.port}", f"port = {other}")
    rows = {row["service"]: row for row in deployed.up()["rows"]}
    assert rows["api"]["url"] == f"http://127.0.0.1:{other}/api"
    assert rows["web"]["health"].startswith("200")


def test_a_full_disk_during_a_build_is_said_and_nothing_half_built_is_kept(deployed: Workspace) -> None:
    deployed.edit("services/api/app/main.py", '"lantern"', '"spyglass"')
    with tiny_disk(deployed.root / ".slipway" / "oci"):
        ran = deployed.invoke("build", "api")
        assert ran.code == 1, ran.output
        assert "no space left on device" in (ran.output + ran.log().read_text(encoding="utf-8")).lower()
        assert "remedy" in ran.output and "Free some disk space" in ran.output
        assert not list((deployed.root / ".slipway" / "oci").rglob("index.json"))
    again = deployed.invoke("build", "api")
    assert again.code == 0, again.output


@pytest.mark.parametrize("code", [0, 1])
def test_a_step_that_prints_a_line_without_end_neither_hangs_a_deploy_nor_harms_the_terminal(
    deployed: Workspace, code: int
) -> None:
    # Another content each time, or the registry has what an earlier run of this test has built.
    noise = f"print('{uuid.uuid4().hex}' + chr(120) * 150000 + chr(27) + chr(99)); raise SystemExit({code})"
    stage = "FROM ${PYTHON_BUILD} AS build\n"
    deployed.edit("services/worker/Dockerfile", stage, f'{stage}RUN ["python3", "-c", "{noise}"]\n')
    ran = deployed.invoke("up")
    assert ran.code == code, ran.output
    assert "docker-build plugin hangs" in ran.output
    assert "\x1b" not in ran.output
    assert max(map(len, ran.output.splitlines())) < 1000
    assert deployed.get("/api/items")[0] == 200


WAIT = """\
import os, signal, threading
if "GATED" in os.environ:
    opened = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: opened.set())
    opened.wait()
"""


@pytest.fixture
def gated(deployed: Workspace) -> Workspace:
    """A workspace whose next API waits with its start until it is let go on: time to disturb its deploy."""
    deployed.edit("services/api/app/main.py", "from fastapi import", f"{WAIT}from fastapi import")
    deployed.env("api", "GATED", "yes")
    return deployed


def let_go_on(workspace: Workspace) -> None:
    """Open the gate of every API that waits; the old one has no gate and is spared."""
    for each in engine.list_containers(workspace.root.name, "dev"):
        container = engine.client().containers.get(each.id)
        if "GATED=yes" in container.attrs["Config"]["Env"]:
            container.kill("SIGUSR1")


def starting(line: str) -> bool:
    """Whether a line of `invoke up` says that the API's new container is coming up."""
    return line.split() == ["api", "starting"]


def converges(workspace: Workspace, *words: str) -> Ran:
    """Put the files back, deploy, and see that all is as it should be, with nothing too much."""
    workspace.restore()
    ran = workspace.invoke("up", *words)
    assert ran.code == 0, ran.output
    assert workspace.get("/api/items")[0] == 200
    assert set(workspace.containers()) == {"api", "web", "worker", "gateway"}
    names = " ".join(leftovers())
    # Beside its containers the stack has its network, and the gateway a volume with its settings and one for secrets.
    assert sorted(names.split()) == sorted(
        [
            *(each.name.join(["/", ""]) for each in workspace.containers().values()),
            f"{NAME}-dev",
            f"{NAME}-dev-gateway-config",
            f"{NAME}-dev-gateway-secrets",
        ]
    )
    return ran


def test_ctrl_c_in_the_middle_of_a_deploy_leaves_the_old_version_serving_and_nothing_else(gated: Workspace) -> None:
    before = gated.ids()
    child = gated.start("up")
    said = read_until(child, starting)
    wait_until(lambda: two_apis(gated), "the new container is there")
    os.killpg(child.pid, signal.SIGINT)
    ran = ended(child, said)
    assert ran.code == 130, ran.output
    assert "run it again" in ran.output
    assert gated.ids() == before
    assert gated.get("/api/items")[0] == 200
    converges(gated)
    assert gated.ids() == before


def test_a_deploy_that_was_killed_is_explained_and_the_next_run_converges(gated: Workspace) -> None:
    """A deploy killed with all its programs leaves the old version serving, and the next run finishes the work."""
    child = gated.start("up")
    read_until(child, starting)
    wait_until(lambda: two_apis(gated), "the new container is there")
    family = kill(child)
    processes_gone(family)
    assert gated.get("/api/items")[0] == 200, "the old version serves on"
    refused = gated.invoke("up")
    assert refused.code == 5, refused.output
    assert "dead" in refused.output and "--yes" in refused.output
    ran = converges(gated, "--yes")
    assert "interrupted" in ran.output
    assert "Nothing changed" in gated.invoke("up").output


def test_two_deploys_at_once_are_one_deploy_and_one_refusal(gated: Workspace) -> None:
    child = gated.start("up")
    said = read_until(child, starting)
    wait_until(lambda: two_apis(gated), "the new container is there")
    for words in (("up",), ("up", "--yes"), ("down", "--yes")):
        refused = gated.invoke(*words)
        assert refused.code == 5, refused.output
        assert "someone else is deploying `dev`" in refused.output and "remedy" in refused.output
    let_go_on(gated)
    ran = ended(child, said)
    assert ran.code == 0, ran.output
    converges(gated)


def two_apis(workspace: Workspace) -> bool:
    """Whether the old and the new container of the API are both there."""
    found = [each for each in engine.list_containers(workspace.root.name, "dev") if each.service == "api"]
    return len([each for each in found if each.state == "running"]) == 2
