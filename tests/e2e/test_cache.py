"""The layer cache in the registry, and what a change costs: an emptied builder, a registry's own files, real builds.

The builder here is one of its own, with its own root, so that emptying it takes nothing from anybody. What the
minute buys: a machine that has never built anything runs no step that another has run, downloads nothing that CI kept,
and gets the same bytes.
"""

from __future__ import annotations

import html
import json
import re
import secrets
import shutil
import subprocess
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from tests.e2e.conftest import REGISTRY, First, free_ports
from tests.e2e.workspace import Ran, Workspace, wait_until

from slipway._internal.context.logs import build_log
from slipway._internal.run.oci import oci_digest
from slipway._internal.toolchain import builder, registry_daemon
from slipway._internal.toolchain.install import ensure_tool

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
READ_ONLY = "  maintenance:\n    readonly:\n      enabled: true\n"


class Machine:
    """A machine that has built nothing: a builder with an empty cache, and no results."""

    def __init__(self, workspace: Workspace, state: Path) -> None:
        self.workspace = workspace
        self.environment = {"XDG_STATE_HOME": str(state)}

    def forget(self) -> None:
        """Empty the builder, cache mounts included, and remove what was built."""
        buildx = self.workspace.root / ".slipway" / "bin" / "docker-buildx"
        subprocess.run(
            [buildx, "--builder", builder.BUILDER_NAME, "prune", "--all", "--force"],
            env={"BUILDX_CONFIG": f"{self.environment['XDG_STATE_HOME']}/slipway/buildx"},
            check=True,
            capture_output=True,
        )
        shutil.rmtree(self.workspace.root / ".slipway" / "oci")

    def build(self, cache: str, service: str = "api") -> tuple[str, str]:
        """Build a service and return its digest and the build's log."""
        ran = self.workspace.invoke("build", service, "--local", SLIPWAY_CACHE=cache, **self.environment)
        assert ran.code == 0, ran.output
        (layout,) = (self.workspace.root / ".slipway" / "oci" / service).iterdir()
        return oci_digest(layout), build_log(self.workspace.root / ".slipway" / "logs", service).read_text()

    def carry(self, action: str, folder: str) -> Ran:
        """Save or load cache mounts."""
        ran = self.workspace.invoke("cache", action, "--folder", f".slipway/{folder}", **self.environment)
        assert ran.code == 0, ran.output
        return ran


@pytest.fixture(scope="module")
def state(first: First, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not builder.runs_as_process():
        pytest.skip("a builder of its own is a process, which takes root")
    found = tmp_path_factory.mktemp("state")
    yield found
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(found))
        builder.stop_builder()  # the one in that folder


@pytest.fixture
def machine_alone(workspace: Workspace, state: Path) -> Iterator[Machine]:
    built = workspace.root / ".slipway" / "oci"
    shutil.rmtree(built, ignore_errors=True)  # what another file's tests built need not be built again
    yield Machine(workspace, state)
    shutil.rmtree(built, ignore_errors=True)


def test_a_machine_that_never_built_runs_no_step_that_another_has_run(machine_alone: Machine, tmp_path: Path) -> None:
    """A new machine takes every layer from the registry's cache, also with a login that may not write there."""
    built, _ = machine_alone.build("registry")
    machine_alone.forget()
    again, log = machine_alone.build("read")
    assert again == built
    assert steps(log) and steps(log, "CACHED") == steps(log), log
    assert "Collecting" not in log, "pip was not run"

    # Nobody may write here, as a developer's login may not: the cache serves all the same, and no build fails.
    with read_only(tmp_path) as port:
        machine_alone.workspace.edit("workspace.toml", f'"{REGISTRY}"', f'"127.0.0.1:{port}"')
        machine_alone.forget()
        again, log = machine_alone.build("registry")
    assert again == built
    assert steps(log, "CACHED") == steps(log), log
    assert "exporting cache to registry" in log


def test_what_npm_downloaded_is_carried_to_an_emptied_builder_as_it_was(machine_alone: Machine) -> None:
    """CI keeps what npm downloaded, byte by byte: `invoke cache save` and `load` on a builder that was emptied."""
    machine_alone.build("off", "web")
    first, second = (machine_alone.carry(action, "one") for action in ("save", "load"))
    assert "npm" in first.stdout and "npm" in second.stdout
    machine_alone.forget()
    machine_alone.carry("load", "one")
    machine_alone.carry("save", "two")
    one, two = (listing(machine_alone.workspace.root / ".slipway" / name / "npm.tar") for name in ("one", "two"))
    assert any("/_cacache/content-v2/" in each for each in one) and one == two
    assert "nothing to do" in machine_alone.carry("load", "nowhere").output


def test_what_pip_downloaded_is_not_asked_for_again_on_an_emptied_builder(machine_alone: Machine) -> None:
    """CI downloads no wheel twice: an index that counts sees none asked for after `invoke cache load`."""
    with index() as (address, asked):
        machine_alone.build("off")
        machine_alone.forget()
        machine_alone.environment["PIP_CONF"] = f"[global]\nindex-url = {address}/simple/\ntrusted-host = 127.0.0.1\n"
        machine_alone.build("off")
        assert files_of(asked)
        asked.clear()
        machine_alone.carry("save", "pip")
        machine_alone.forget()
        machine_alone.carry("load", "pip")
        _, log = machine_alone.build("off")
    assert asked, "pip asks what there is each time"
    assert files_of(asked) == [] and "Using cached" in log


def files_of(paths: list[str]) -> list[str]:
    """Return the paths that are files of packages, not lists of them."""
    return [path for path in paths if path.startswith("/file/")]


@contextmanager
def index() -> Iterator[tuple[str, list[str]]]:
    """Serve the Python package index as it serves itself, with leave to keep what it sends; yield where, and the paths
    that were asked for.

    A mirror on the way may take that leave away, and then pip keeps nothing.
    """
    upstream = "https://pypi.org"
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            far = bytes.fromhex(self.path.split("/")[2]).decode() if self.path.startswith("/file/") else ""
            with urllib.request.urlopen(far or f"{upstream}{self.path}", timeout=60) as reply:
                body, kind = reply.read(), reply.headers["Content-Type"]
            if not far:
                body = re.sub(rb'href="([^"#]+/([^"#/]+))', near, re.sub(rb' data-[a-z-]+-metadata="[^"]*"', b"", body))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "max-age=600")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    def near(found: re.Match[bytes]) -> bytes:
        far = urljoin(f"{upstream}/simple/x/", html.unescape(found[1].decode()))
        return b'href="/file/%s/%s' % (far.encode().hex().encode(), found[2])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_change_of_code_uploads_its_layer_and_nothing_else(deployed: Workspace) -> None:
    """A change of one line costs one layer's upload: a registry's own files tell what came."""
    said = "lantern"
    for words in (("build", "push"), ("up",)):  # built outside Pulumi, then inside
        before, value = blobs(), secrets.token_hex(8)  # what an earlier run has pushed would not be pushed again
        deployed.edit("services/api/app/main.py", f'"{said}"', f'"{value}"')
        said = value
        for word in words:
            ran = deployed.invoke(word, *([] if word == "up" else ["api"]))
            assert ran.code == 0, ran.output
        new = blobs() - before
        (manifest,) = [found for digest in new if "layers" in (found := content(digest))]
        code, config = manifest["layers"][-1], manifest["config"]
        assert {code["digest"], config["digest"]} < new and len(new) == 3, (new, manifest)
        assert code["size"] < 4096
        assert sum(blob(digest).stat().st_size for digest in new) < 12_000


@contextmanager
def read_only(folder: Path) -> Iterator[int]:
    """Serve what the registry holds at another port, to be read and not written; yield the port."""
    port = free_ports(1)
    config = registry_daemon.registry_config(
        f"127.0.0.1:{port}", registry_daemon.state_folder(registry_daemon.split_address(REGISTRY)[1]) / "data"
    )
    file = folder / "read-only.yml"
    file.write_text(config.replace("storage:\n", f"storage:\n{READ_ONLY}"), encoding="utf-8")
    child = subprocess.Popen(
        [ensure_tool("registry"), "serve", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: registry_daemon.is_responding("127.0.0.1", port), "the registry answers")
        yield port
    finally:
        child.kill()
        child.wait()


def steps(log: str, word: str = "") -> set[str]:
    """Return a Dockerfile's steps that a log tells of, those that name a base left out; `word`: how they ended."""
    found = {line.partition(" ")[2].strip() for line in log.splitlines() if line.startswith(word)}
    return {step for step in found if step.startswith("[") and " FROM " not in step and "[internal]" not in step}


def listing(archive: Path) -> dict[str, tuple[object, ...]]:
    """Return an archive's members with what would be lost first: modes, owners, times, sizes."""
    with tarfile.open(archive) as members:
        return {
            each.name: (each.mode, each.uid, each.gid, each.mtime, each.size) for each in members if each.name != "."
        }


def data() -> Path:
    return (
        registry_daemon.state_folder(registry_daemon.split_address(REGISTRY)[1]) / "data" / "docker" / "registry" / "v2"
    )


def blobs() -> set[str]:
    """Return the digests of all that the registry holds."""
    return {f"sha256:{path.parent.name}" for path in data().glob("blobs/sha256/*/*/data")}


def blob(digest: str) -> Path:
    name = digest.partition(":")[2]
    return data() / "blobs" / "sha256" / name[:2] / name / "data"


def content(digest: str) -> dict[str, Any]:
    """Return a blob that is a JSON object; an empty one for others."""
    try:
        found = json.loads(blob(digest).read_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
