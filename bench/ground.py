"""What the figures stand on: a folder, ports, daemons of the bench's own, and workspaces that several figures share."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from docker.errors import APIError

from bench import rivals, trees
from bench.process import Failed, run, seconds
from bench.trees import INVOKE
from slipway._internal.run import engine as docker
from slipway._internal.toolchain import background, builder, docker_daemon, registry_daemon

PORTS = range(19200, 19300)
RUN = "run-"
"""How a run's folder in the cache begins; its process's number follows."""
PAUSE = """\
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
}
"""
PLAIN: dict[str, str | None] = {
    # As a user's shell has it: `./run` keeps Python from writing compiled files, and a bench must not start without.
    "PYTHONDONTWRITEBYTECODE": None,
    "CI": None,
    "DOCKER_HOST": None,
    "SLIPWAY_IMAGES": None,
}


@dataclass
class Bench:
    """One run of the bench.

    Attributes:
        folder: a folder that goes at the end.
        ending: what is done at the end, the last first.
        quick: fewer runs.
    """

    folder: Path
    ending: ExitStack
    quick: bool = False
    _ports: Iterator[int] = field(default_factory=lambda: iter(PORTS))

    @property
    def runs(self) -> int:
        return 3 if self.quick else 5

    @property
    def cold_runs(self) -> int:
        return 1 if self.quick else 3

    def say(self, text: str) -> None:
        """Tell what is prepared; figures are printed at the end."""
        print(f"  {time.strftime('%H:%M:%S')}  {text}", flush=True)

    def port(self) -> int:
        """Return a port that nobody listens on."""
        return next(port for port in self._ports if _free(port))

    def place(self, name: str) -> Path:
        """Return a new folder."""
        path = self.folder / name
        path.mkdir(parents=True)
        return path

    @cached_property
    def registry(self) -> str:
        """The bench's own registry, started by Slipway's toolchain."""
        address = f"127.0.0.1:{self.port()}"
        registry_daemon.ensure_local_registry(address)
        self.ending.callback(registry_daemon.stop_local_registry, address)
        return address

    def workspace(self, name: str, **answers: str) -> Path:
        """Generate a workspace without services, and set it up once it has some: see `set_up`.

        One that an earlier figure could not finish makes room.
        """
        before = self.folder / f"bench-{name}"
        if before.is_dir():
            down(before)
            shutil.rmtree(before)
        given = {
            "registry": self.registry,
            "ci": "none",
            "gateway_port": str(self.port()),
            "services": "none",
            **answers,
        }
        return trees.generate(self.folder, f"bench-{name}", **given)

    def set_up(self, workspace: Path) -> Path:
        """Run `invoke setup` in a workspace; its containers and images go at the end."""
        self.ending.callback(remove_images, f"{self.registry}/{workspace.name}/")
        self.ending.callback(down, workspace)
        invoke(workspace, "setup")
        return workspace

    def tree(self, name: str, count: int, **how: str) -> Path:
        """Make a workspace of services with 32 files each, set up and not yet built."""
        self.say(f"making a tree of {count} services ({name})")
        workspace = self.workspace(name)
        trees.fill(workspace, count, **how)  # type: ignore[arg-type]
        return self.set_up(workspace)

    @cached_property
    def hundred(self) -> Path:
        """A hundred services from scratch, built once."""
        workspace = self.tree("hundred", 100)
        self.say("building the hundred once")
        invoke(workspace, "build")
        return workspace

    @cached_property
    def demo(self) -> Path:
        """The workspace as it is generated (page, API, worker), deployed inline."""
        self.say("deploying the demo")
        workspace = self.set_up(self.workspace("demo", services="demo"))
        invoke(workspace, "up")
        return workspace

    def url(self, workspace: Path) -> str:
        """Return where a workspace's gateway answers."""
        import tomllib

        settings = tomllib.loads((workspace / "workspace.toml").read_text(encoding="utf-8"))
        return f"http://127.0.0.1:{settings['gateway']['port']}"

    def tools(self, workspace: Path) -> dict[str, str | None]:
        """Return the variables that give a rival the workspace's tools and its builder."""
        return {
            **PLAIN,
            "PATH": f"{workspace / '.slipway' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "BUILDX_CONFIG": str(builder.buildx_folder()),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_CONFIG_PASSPHRASE": "bench",
        }


@contextmanager
def opened(quick: bool) -> Iterator[Bench]:
    """Yield a bench with state of its own: builder and registry are new, and go with all their data at the end.

    The Docker engine is the machine's; one that was not up is ended again.
    """
    if not docker_daemon.is_responding():
        docker_daemon.ensure_engine(on_line=lambda line: print(f"  {line}", flush=True))
        ours = True
    else:
        ours = False
    folder = rivals.cache() / f"{RUN}{os.getpid()}"
    before = os.environ.get("XDG_STATE_HOME")
    clear_left()
    folder.mkdir(parents=True)
    try:
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        with ExitStack() as ending:
            ending.callback(builder.stop_builder)
            yield Bench(folder, ending, quick)
    finally:
        os.environ.pop("XDG_STATE_HOME")
        if before is not None:
            os.environ["XDG_STATE_HOME"] = before
        shutil.rmtree(folder, ignore_errors=True)
        if ours:
            docker_daemon.stop_engine()


def clear_left() -> None:
    """End and remove what a bench that was killed has left: its daemons, its containers, its folder."""
    for folder in rivals.cache().glob(f"{RUN}*"):
        if Path(f"/proc/{folder.name.removeprefix(RUN)}").exists():
            continue
        for state in (folder / "state" / "slipway").glob("*/"):
            background.stop_daemon(state)
        for workspace in folder.glob("bench-*/"):
            sweep(workspace.name)
        shutil.rmtree(folder, ignore_errors=True)


def invoke(workspace: Path, *words: str) -> str:
    """Run an Invoke command as a user would; return its output."""
    return run([INVOKE, *words], workspace, PLAIN)


def invoke_seconds(workspace: Path, *words: str) -> float:
    """Return the seconds of an Invoke command's whole process."""
    return seconds([INVOKE, *words], workspace, PLAIN)


def down(workspace: Path) -> None:
    """Remove what a workspace's dev and staging stacks run, and what the engine still has of it."""
    for stack in ("dev", "staging"):
        if (workspace / ".slipway" / "bin").is_dir():
            with suppress(Failed):
                invoke(workspace, "down", "--stack", stack, "--yes")
    sweep(workspace.name)


def sweep(name: str) -> None:
    """Remove what the engine has of a workspace: containers, networks, volumes."""
    client, ours = docker.client(), {"label": f"{docker.WORKSPACE_LABEL}={name}"}
    for container in client.containers.list(all=True, filters=ours):
        container.remove(force=True, v=True)
    for each in (*client.networks.list(filters=ours), *client.volumes.list(filters=ours)):
        each.remove()


def remove_images(prefix: str) -> None:
    """Remove the engine's images whose repository begins so."""
    api = docker.client().api
    for image in api.images():
        names = [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
        if any(name.startswith(prefix) for name in names):
            with suppress(APIError):  # somebody else removes it at this moment, or runs a container of it
                api.remove_image(image["Id"], force=True)


def pause_lib(workspace: Path) -> None:
    """Give a workspace the lib `pause`: a small static program that waits to be ended.

    Raises:
        Failed: there is no Go to build it.
    """
    folder = workspace / "libs" / "pause"
    folder.mkdir(parents=True)
    source = workspace / ".slipway" / "pause"
    source.mkdir(parents=True)
    (source / "main.go").write_text(PAUSE, encoding="utf-8")
    static = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    run(["go", "build", "-ldflags", "-s -w", "-o", folder / "pause", "main.go"], source, static)


def lock_of(workspace: Path) -> dict[str, str]:
    """Return the bases of a workspace: name → reference."""
    found: dict[str, str] = json.loads((workspace / "bases" / "bases.lock.json").read_text(encoding="utf-8"))["bases"]
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
