"""A stack of the provider's resources alone, on a real engine and by the real Pulumi, without a workspace."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import TEMPLATE
from tests.envoy_program import envoy_program

from slipway._internal.run import engine
from slipway._internal.run.process import run
from slipway._internal.toolchain import registry_daemon
from slipway._internal.toolchain.install import ensure_tool

HERE = Path(__file__).parent
ENVOY = TEMPLATE / "bases" / "envoy"
SECRET = "open sesame to all"
RUNS = ['ENTRYPOINT ["/app"]', "USER 65532:65532"]
HEALTHY = 'HEALTHCHECK --interval=30s CMD ["/app", "health"]'


@dataclass(frozen=True)
class Images:
    """Digest references of a tiny service, of the gateway, and of the service without a health check."""

    tiny: str
    gateway: str
    bare: str = ""


@contextmanager
def images(folder: Path) -> Iterator[Images]:
    """Build both images, push them to a registry of this test's own, and clear all away afterwards."""
    address = f"127.0.0.1:{free_port()}"
    registry_daemon.ensure_local_registry(address)
    refs = [f"{address}/tiny:1", f"{address}/envoy:1", f"{address}/bare:1"]
    try:
        tiny = _tiny(folder, refs[0])
        yield Images(tiny, _envoy(folder, refs[1]), _push(folder / "app.tar", refs[2], RUNS))
    finally:
        run(["docker", "rmi", "--force", *refs])
        registry_daemon.stop_local_registry(address)


def _tiny(folder: Path, ref: str) -> str:
    shutil.copy(HERE / "tiny.go", folder)
    go = {"CGO_ENABLED": "0", "GO111MODULE": "off"}
    _must(["go", "build", "-ldflags", "-s -w", "-o", "app", "tiny.go"], cwd=folder, env=go)
    _must(["tar", "-cf", "app.tar", "app"], cwd=folder)
    return _push(folder / "app.tar", ref, [*RUNS, HEALTHY])


def _envoy(folder: Path, ref: str) -> str:
    """Make the gateway's image as its base does, from the same sources, without the builder."""
    programs = folder / "envoy" / "usr" / "local" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(envoy_program(), programs / "envoy")
    _must(["gcc", "-std=gnu17", "-O2", "-Wall", "-Werror", "-static", "-o", programs / "control", ENVOY / "control.c"])
    added = [f"./{path.relative_to(folder / 'envoy')}" for path in programs.iterdir()]
    _must(["mmdebstrap", "--variant=essential", "bookworm", folder / "envoy.tar"])
    _must(["tar", "--append", "--file", folder / "envoy.tar", "--directory", folder / "envoy", *added])
    return _push(folder / "envoy.tar", ref, ['ENTRYPOINT ["control", "run", "envoy"]'])


def _push(tar: Path, ref: str, changes: list[str]) -> str:
    words = [word for change in changes for word in ("--change", change)]
    _must(["docker", "import", *words, tar, ref])
    _must(["docker", "push", ref])
    return _must(["docker", "inspect", "--format", "{{index .RepoDigests 0}}", ref]).strip()


def _must(argv: list[Any], **how: Any) -> str:
    result = run(argv, **how)
    assert result.code == 0, result.output
    return result.output


@dataclass
class World:
    """One stack. `version`, `fails` and `options` say how the services `one` and `two` are deployed next.

    `env` is more of the environment of `one` alone, `rules` are those of its route, `keys` the hashes of a caller's,
    `front` more inputs of the gateway, `replicas` how many containers `one` has.
    """

    images: Images
    folder: Path
    name: str = field(default_factory=lambda: f"t{secrets.token_hex(3)}")
    port: int = field(default_factory=lambda: free_port())  # noqa: PLW0108 - defined below
    version: str = "v1"
    fails: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    front: dict[str, Any] = field(default_factory=dict)
    replicas: int = 1
    opened: Any = None

    def program(self) -> None:
        """Declare a network, two containers (the second takes what the first leaves), gateway and release."""
        import pulumi

        from slipway._internal.provider.resources import Container, Gateway, Network, Release

        labels = {engine.WORKSPACE_LABEL: self.name, engine.STACK_LABEL: "dev"}
        network = Network("net", name=f"{self.name}-dev", labels=labels)
        upstreams = {}
        for service in ("one", "two"):
            env = {"VERSION": self.version, **({"FAIL": self.fails, **self.env} if service == "one" else {})}
            inputs = {
                "workspace": self.name,
                "stack": "dev",
                "service": service,
                "image": self.images.tiny,
                "network": network.network_name,
                "env": env,
                "secrets": {"TOKEN": SECRET},
                "port": 8000,
                "health_timeout": 20,
                **self.options,
            }
            made = Container(service, **inputs)
            if service == "one":
                others = [
                    Container(f"one.{number}", group=made.container_name, **inputs)
                    for number in range(2, 1 + self.replicas)
                ]
            upstreams[service] = made.container_name.apply(lambda name: f"{name}:8000")
        routes = [
            {
                "service": "one",
                "route": "/one",
                "upstream": upstreams["one"],
                **({"rules": self.rules} if self.rules else {}),
            },
            {"service": "two", "route": "/", "upstream": upstreams["two"]},
        ]
        gateway = Gateway(
            "gateway",
            workspace=self.name,
            stack="dev",
            image=self.images.gateway,
            network=network.network_name,
            port=self.port,
            routes=routes,
            consumers={"shop": {"keys": self.keys}} if self.keys else None,
            drain_seconds=3,
            **self.front,
            opts=pulumi.ResourceOptions(depends_on=others),
        )
        digests = {"one": self.version, "two": self.version}
        release = Release("release", mode="inline", digests=digests, opts=pulumi.ResourceOptions(depends_on=[gateway]))
        pulumi.export("url", gateway.url)
        pulumi.export("releases", release.releases)

    def stack(self) -> Any:
        """Return the stack, opened once; Pulumi attaches to the provider in this process."""
        from slipway._internal.run.pulumi import ExistingStack

        if self.opened is None:
            self.opened = self._open()
        os.environ["PULUMI_BACKEND_URL"] = f"file://{self.folder}"  # whose the objects are: its provider is here
        return ExistingStack("dev", self.opened.workspace)

    def _open(self) -> Any:
        from pulumi import automation

        from slipway._internal.provider.server import serve_in_thread

        settings = {
            "PULUMI_BACKEND_URL": f"file://{self.folder}",
            "PULUMI_CONFIG_PASSPHRASE": "x",
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_DEBUG_PROVIDERS": f"slipway:{serve_in_thread()}",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PATH": f"{ensure_tool('pulumi').parent}:{os.environ['PATH']}",
        }
        os.environ["PATH"] = settings["PATH"]
        project = self.folder / "project"
        project.mkdir(exist_ok=True)
        options = automation.LocalWorkspaceOptions(env_vars=settings, work_dir=str(project))
        return automation.create_or_select_stack("dev", project_name=self.name, program=self.program, opts=options)

    def up(self) -> dict[str, int]:
        """Deploy; return how many resources were created, replaced, … without those that stayed."""
        from pulumi.automation import CommandError

        from slipway._internal.run.pulumi import OperationCounter

        counter = OperationCounter(lambda _event: None)
        try:
            self.stack().up(color="never", on_event=counter)
        except CommandError as error:
            # In one process, an interrupted run now and then leaves Pulumi's SDK the address of its ended engine.
            if "failed to connect to all addresses" not in str(error):
                raise
            self.stack().up(color="never", on_event=counter)
        return {name: count for name, count in counter.outcome().operations.items() if name != "same"}

    def fail(self) -> str:
        """Deploy, which must fail; return what Pulumi printed."""
        from pulumi.automation import CommandError

        try:
            self.stack().up(color="never")
        except CommandError as error:
            return str(error)
        raise AssertionError("the deployment should have failed")

    @contextmanager
    def deploying(self) -> Iterator[int]:
        """Deploy in the background, which must fail; yield Pulumi's process id once `one` is waited for."""
        before = {each.id for each in self.containers("one")}
        thread = threading.Thread(target=self.fail)
        thread.start()
        wait(lambda: {each.id for each in self.containers("one") if each.state == "running"} - before)
        found = run(["pgrep", "-x", "pulumi", "-P", str(os.getpid())]).output.split()
        yield int(found[0])
        thread.join()

    def containers(self, service: str = "") -> list[engine.ContainerSummary]:
        """Return the stack's containers, or those of one service."""
        found = engine.list_containers(self.name, "dev")
        return [each for each in found if service in ("", each.service)]

    def volumes(self) -> list[str]:
        """Return the names of the stack's volumes."""
        return run(["docker", "volume", "ls", "-q", "--filter", f"name={self.name}-"]).output.split()

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Request a path from the gateway."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers=headers, body="x" if method == "POST" else None)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()

    @contextmanager
    def load(self, path: str) -> Iterator[dict[str, Any]]:
        """Keep requesting; what came back is in the yielded dictionary afterwards."""
        import json
        import sys

        stop = self.folder / "stop"
        stop.unlink(missing_ok=True)
        words = [sys.executable, str(HERE / "load.py"), str(self.port), path, str(stop)]
        result: dict[str, Any] = {}
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            try:
                yield result
            finally:
                stop.touch()
                output, _ = child.communicate(timeout=60)
                result.update(json.loads(output))


def wait(done: Any, seconds: float = 30) -> None:
    """Wait until `done()` says something true; a connection that fails is no answer yet."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError, http.client.HTTPException):
            if done():
                return
        assert time.monotonic() < deadline, f"nothing after {seconds} s"
        time.sleep(0.05)


def free_port() -> int:
    """Return a TCP port that nobody holds at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
