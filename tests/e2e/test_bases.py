"""Bases and the images made from them: the same bytes each time, hardened, and quick to stop; on real components."""

from __future__ import annotations

import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TEMPLATE
from tests.e2e.conftest import NAME as E2E
from tests.e2e.conftest import REGISTRY, First

from slipway._internal.build import bases
from slipway._internal.build.bake_runner import secret_files
from slipway._internal.commands import bake
from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext, current_environment
from slipway._internal.model import bases_lock as locks
from slipway._internal.model import workspace as workspaces
from slipway._internal.run import engine as docker
from slipway._internal.run import registry
from slipway._internal.run.process import run
from slipway._internal.scaffold import service_creation
from slipway._internal.toolchain.builder import BUILDER_NAME as BUILDER

pytestmark = pytest.mark.engine

NAME = "slipway-bases"
STOP_SECONDS = 2.0
HEALTHY_SECONDS = 30.0
UNWANTED = {"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "perl", "npm", "pip"}


@pytest.fixture(scope="module")
def ground(first: First, tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """A workspace with a worker alone, on the tools, builder and registry of the one that is up."""
    root = tmp_path_factory.mktemp("bases")
    for folder in ("bases", "libs"):
        source = TEMPLATE / folder
        subprocess.run(["cp", "-R", source, root / folder], check=True)
    (root / "workspace.toml").write_text(
        f'name = "{NAME}"\nregistry = "{REGISTRY}"\n[bases]\nsource = "hardened"\n'
        '[build.secrets]\nca = { file = "/etc/ssl/certs/ca-certificates.crt" }\n',
        encoding="utf-8",
    )
    service_creation.create_service(root, "worker", "worker")
    up = current_environment(workspaces.load_workspace(first.workspace.root))
    return replace(up, workspace=workspaces.load_workspace(root))


def test_bases_are_the_same_bytes_when_built_again_from_nothing(ground: RunContext) -> None:
    """Hardened bases are reproducible: two builds from Debian's packages, without a cache, give the same digests."""
    one, two = (bases.ensure_bases(ground.workspace, ground, NullReporter(), fresh=True) for _ in range(2))
    assert one == two
    assert set(one) == {"envoy", "python-build", "python-run"}
    assert locks.load(ground.workspace.root) == locks.BasesLock("hardened", one)


def test_bases_that_are_there_cost_a_moment(ground: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    bases.ensure_bases(ground.workspace, ground, NullReporter())
    monkeypatch.setattr(bases, "_build_missing", lambda *args, **more: pytest.fail("it built"))
    start = time.perf_counter()
    bases.ensure_bases(ground.workspace, ground, NullReporter())
    assert time.perf_counter() - start < 0.5  # some 20 ms on a machine with nothing else to do


@pytest.mark.parametrize("name", ["api", "web", "worker"])
def test_an_image_is_the_same_bytes_when_built_again_without_a_cache(
    first: First, ground: RunContext, tmp_path: Path, name: str
) -> None:
    """Each kind's image is reproducible: built twice without a cache, it has one digest."""
    workspace = workspaces.load_workspace(first.workspace.root)
    inputs = build_inputs_of(workspace, workspace.service(name), locks.load(workspace.root).bases)
    found = set()
    for again in ("one", "two"):
        ref = f"{REGISTRY}/{NAME}/{name}:{again}"
        with secret_files(ground) as secrets:
            target = bake.BakeTarget(name, inputs, (ref,), secrets)
            file = tmp_path / "bake.json"
            file.write_text(json.dumps(bake.make_definition([target], "registry", tmp_path)), encoding="utf-8")
            argv = bake.argv(ground.bin / "docker-buildx", file, BUILDER, [target], progress="plain")
            result = run([*argv, "--no-cache"], cwd=workspace.root, env=ground.environment)
        assert result.code == 0, result.tail(40)
        found.add(registry.resolve_digests([ref], workspace)[ref])
    assert len(found) == 1
    assert None not in found


@pytest.fixture(params=["api", "web", "worker"])
def container(request: pytest.FixtureRequest, first: First) -> Iterator[Any]:
    """A service's image, run by hand as strictly as Slipway does."""
    workspace = workspaces.load_workspace(first.workspace.root)
    running = next(each for each in docker.list_containers(workspace.name, "dev") if each.service == request.param)
    client = docker.client()
    environment = dict(workspace.service(request.param).settings.env)
    made = client.containers.run(
        client.containers.get(running.id).image.id,
        detach=True,
        read_only=True,
        tmpfs={"/tmp": ""},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        environment=environment,
        labels={"slipway-test": NAME},
    )
    try:
        yield made
    finally:
        made.remove(force=True, v=True)


def healthy(container: Any) -> bool:
    command = container.image.attrs["Config"]["Healthcheck"]["Test"]
    assert command[0] == "CMD", "a health check that needs no shell"
    return bool(container.exec_run(command[1:]).exit_code == 0)


def test_a_service_gets_healthy_and_ends_well_when_told_to(container: Any) -> None:
    until = time.monotonic() + HEALTHY_SECONDS
    while not healthy(container):
        assert time.monotonic() < until, container.logs().decode()
        time.sleep(0.1)
    start = time.monotonic()
    container.stop(timeout=10)
    took = time.monotonic() - start
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0
    assert took < STOP_SECONDS + 1  # the engine's own part included


@pytest.mark.parametrize("name", ["api", "web", "worker"])
def test_a_hardened_image_has_nothing_to_break_in_with_and_tells_scanners_its_packages(
    first: First, ground: RunContext, tmp_path: Path, name: str
) -> None:
    lock = locks.load(first.workspace.root)
    if lock.source != bases.HARDENED:
        pytest.skip("official bases have a shell")
    running = next(each for each in docker.list_containers(E2E, "dev") if each.service == name)
    image = docker.client().containers.get(running.id).image
    assert image.attrs["Config"]["User"] == "65532:65532"
    archive = tmp_path / "files.tar"
    # Other workspaces on the machine may have the same image, from registries that are not up.
    ref = next(ref for ref in image.attrs["RepoDigests"] if ref.startswith(f"{REGISTRY}/{E2E}/"))
    command = [ground.bin / "crane", "export", "--insecure", ref, archive]
    assert run(command).code == 0
    with tarfile.open(archive) as files:
        found = set(files.getnames())
    programs = {path.rpartition("/")[2] for path in found if path.rpartition("/")[0].endswith("bin")}
    assert programs & UNWANTED == set()
    assert "var/lib/dpkg/status.d/libssl3t64" in found


def test_the_demo_has_the_bases_that_it_starts_from_and_no_more(first: First) -> None:
    assert set(locks.load(first.workspace.root).bases) == {
        "envoy", "node-build", "node-run", "python-build", "python-run"
    }  # fmt: skip
