"""The ground for end-to-end tests: daemons by the product's own toolchain, and one workspace that is up.

Tools, build cache and base images are kept between runs where the product keeps them (XDG_CACHE_HOME,
XDG_STATE_HOME); containers, networks and volumes are not, and a daemon that was not there before is ended.

Files run side by side (`--numprocesses`): each process has a workspace, a registry and ports of its own. The engine and
the builder are shared, so the process that started the run ends them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.workspace import Ran, Workspace, bake, wait_until
from tests.ground import left_as_it_was, this_run_alone

from slipway._internal.model.project import Project
from slipway._internal.run import engine as docker
from slipway._internal.run.state import local_state_folder, state_file
from slipway._internal.toolchain import docker_daemon

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""The number of this process among those that run files side by side."""
FIRST_PORT, PORTS_OF_WORKER = 18180, 2400
RELEASE = "slipway:index:Release"
CHECKED = "HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 "
CHECKED_SELDOM = "HEALTHCHECK --interval=40s --timeout=10s --start-period=20s --retries=1 "


def name_of(worker: int) -> str:
    """Return the name of a process's workspace."""
    return f"slipway-e2e-{worker}" if worker else "slipway-e2e"


def registry_of(worker: int) -> str:
    """Return the address of a process's registry."""
    return f"127.0.0.1:{5055 + worker}"


NAME = name_of(WORKER)
REGISTRY = registry_of(WORKER)


@dataclass
class First:
    """The shared workspace, what its first `invoke up` said, and what ran when it was last as it should be."""

    workspace: Workspace
    ran: Ran
    ids: dict[str, str] = field(default_factory=dict)

    def resources(self) -> list[dict[str, Any]]:
        """Return what the dev stack's state holds."""
        path = state_file(local_state_folder(Project(self.workspace.root)), NAME, "dev")
        return list(json.loads(path.read_text(encoding="utf-8"))["checkpoint"]["latest"].get("resources") or [])

    def as_committed(self) -> bool:
        """Whether what runs is what ran then, by the mode that the files say.

        A container is never changed, only replaced; another mode's images may be the same.
        """
        found = docker.list_containers(NAME, "dev")
        interrupted = any(self.workspace.root.glob(".slipway/run/deploy-*"))
        running = all(each.state == "running" for each in found) and len(found) == len(self.ids)
        inline = any(each["type"] == RELEASE and each["inputs"]["mode"] == "inline" for each in self.resources())
        return inline and running and not interrupted and self.ids == {each.resource: each.id for each in found}


def pytest_configure(config: pytest.Config) -> None:
    """Leave the machine as it is now, when all processes of this run have ended; wait for another run of these tests.

    Only the process that starts the others does this. Containers that a run has left which ended with the machine are
    removed first.
    """
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    workers = range(int(config.getoption("numprocesses", None) or 1))
    with ExitStack() as stack:
        # The workspaces' names and the registries' ports are fixed: another run of these tests is waited for.
        stack.enter_context(this_run_alone("e2e"))
        stack.enter_context(left_as_it_was([registry_of(worker) for worker in workers]))
        with left_as_it_was([]):  # the first `invoke up` has to start the engine
            _sweep_all(workers)
        stack.callback(_sweep_all, workers)  # Ctrl-C ends the other processes before they have done so
        config.add_cleanup(stack.pop_all().close)


@pytest.fixture(scope="session")
def machine() -> Iterator[None]:
    """The environment of everything that the tests start."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        # CI too: a runner is told no differently from a developer here; a test that is about it sets it.
        for name in ("CI", "DOCKER_HOST", "SLIPWAY_IMAGES", "PULUMI_CONFIG_PASSPHRASE", "PIP_CONF", "NPMRC"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory, machine: None) -> Workspace:
    """A workspace as it is generated, in git, with nothing set up yet."""
    port = free_ports(3)
    root = bake(tmp_path_factory.mktemp("e2e"), project_slug=NAME, registry=REGISTRY, gateway_port=str(port))
    made = Workspace(root, port)
    _check_seldom(root)
    made.git("init", "--quiet")
    made.git("add", ".")
    made.git("commit", "--quiet", "--message", "Generated")
    return made


def _check_seldom(root: Path) -> None:
    """Have the engine run each service's health check a quarter as often: a check starts a program, all the run long.

    A service still has a minute to become healthy, as Slipway runs the check itself then. As one failure is a verdict,
    a check has as long for its answer as three have else.
    """
    for file in root.glob("services/*/Dockerfile"):
        text = file.read_text(encoding="utf-8")
        assert text.count(CHECKED) == 1, file
        file.write_text(text.replace(CHECKED, CHECKED_SELDOM), encoding="utf-8")


@pytest.fixture(scope="session")
def first(baked: Workspace) -> Iterator[First]:
    """The workspace after its first `invoke up`; nothing of it is left afterwards, also when tests have failed."""
    try:
        ran = baked.invoke("up")
        assert ran.code == 0, ran.output
        baked.git("add", ".")
        baked.git("commit", "--quiet", "--message", "What `invoke up` wrote")
        yield First(baked, ran)
        baked.restore()
        if baked.containers("staging"):  # of a test that failed halfway
            baked.invoke("down", "--stack", "staging", "--yes")
        down = baked.invoke("down", "--yes")
        assert down.code == 0, down.output
        assert leftovers() == []
        wait_until(lambda: not processes(baked), "every process that worked in the workspace has ended")
    finally:
        for pid in processes(baked):
            os.kill(pid, signal.SIGKILL)
        sweep(NAME)


@pytest.fixture
def workspace(first: First) -> Iterator[Workspace]:
    """The workspace that is up. Its files are put back after the test; what runs is the next test's affair."""
    yield first.workspace
    first.workspace.restore()


@pytest.fixture
def deployed(first: First, workspace: Workspace) -> Workspace:
    """The same, with its dev stack running what the committed files say."""
    if not first.as_committed():
        workspace.up("--yes")
        first.ids = workspace.ids()
    return workspace


def leftovers(name: str = NAME) -> list[str]:
    """Return all that the engine has of a workspace: containers, networks, volumes."""
    api = docker.client().api
    ours = {"label": f"{docker.WORKSPACE_LABEL}={name}"}
    return [
        *(each["Names"][0] for each in api.containers(all=True, filters=ours)),
        *(each["Name"] for each in api.networks(filters=ours)),
        *(each["Name"] for each in api.volumes(filters=ours)["Volumes"] or []),
    ]


def _sweep_all(workers: Iterable[int]) -> None:
    for worker in workers:
        sweep(name_of(worker))


def sweep(name: str) -> None:
    """Remove all that the engine has of a workspace."""
    docker_daemon.ensure_engine()
    client = docker.client()
    ours = {"label": f"{docker.WORKSPACE_LABEL}={name}"}
    found = (
        *client.containers.list(all=True, filters=ours),
        *client.networks.list(filters=ours),
        *client.volumes.list(filters=ours),
    )
    for each in found:
        with suppress(docker.load_sdk().errors.NotFound):  # a process that Ctrl-C has ended removes its own, too
            each.remove(**({"force": True, "v": True} if hasattr(each, "status") else {}))


def processes(workspace: Workspace) -> list[int]:
    """Return the processes that work in the workspace's folder: a Pulumi, a plugin, a builder's client."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").resolve().is_relative_to(workspace.root):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def free_ports(count: int) -> int:
    """Return a port below those that the kernel gives away, free like the next ones after it."""
    first = FIRST_PORT + WORKER * PORTS_OF_WORKER
    for port in range(first, first + PORTS_OF_WORKER, count):
        if all(_free(port + offset) for offset in range(count)):
            return port
    raise AssertionError("no ports are free")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
