"""`invoke build` builds what is needed and nothing else, and where nothing is, it starts and asks nothing.

The slow one here, with forty services, buys that many cold ones at once do not end a bake.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.e2e.conftest import REGISTRY
from tests.e2e.workspace import Ran, Workspace

from slipway._internal.content import build_state

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

WATCHER = """
import os, sys
KINDS = ("subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "socket.connect")
def hook(kind, arguments):
    if kind in KINDS:
        with open(os.environ["SEEN"], "a") as file:
            print(kind, arguments[:1], file=file)
sys.addaudithook(hook)
"""
MANY = 40


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which every Python that is started from now on writes what processes it starts and whom it asks."""
    (tmp_path / "sitecustomize.py").write_text(WATCHER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


def settled(workspace: Workspace) -> Ran:
    """Build until the memory is whole: what was written a moment ago is read twice."""
    for _ in range(5):
        time.sleep(2.1)
        ran = workspace.invoke("build")
        assert ran.code == 0, ran.output
        if "Nothing changed" in ran.output:
            return ran
    raise AssertionError(ran.output)


def test_nothing_changed_starts_nothing_and_asks_nobody(deployed: Workspace, seen: Path) -> None:
    build_state.forget_images(deployed.root)
    said = settled(deployed)
    assert seen.read_text(), "what the runs before did was seen"
    seen.unlink()
    for words in (("build",), ("build", "api"), ("build", "--why"), ("build", "--dry")):
        ran = deployed.invoke(*words)
        assert (ran.code, "Nothing changed" in ran.output) == (0, True), ran.output
        assert not seen.exists(), seen.read_text()
    digest = deployed.containers()["api"].image.partition("@")[2]
    assert digest in said.line("api"), "what it says is what is deployed"
    assert deployed.invoke("build", "nope").code == 2


def test_a_lib_reaches_its_users_and_nobody_else(deployed: Workspace) -> None:
    settled(deployed)
    deployed.edit("libs/common/common/__init__.py", '"""', '"""Bread. ')
    ran = deployed.invoke("build", "--why")
    assert ran.code == 0, ran.output
    assert built(ran) == {"api", "worker"}, ran.output
    why = [line.split() for line in ran.output.splitlines() if line.endswith("common/__init__.py changed")]
    assert sorted(line[0] for line in why) == ["api", "worker"]
    assert ["web"] not in [line[:1] for line in why]
    again = deployed.invoke("build", "--why")
    assert again.code == 0 and not built(again), again.output


def test_a_layout_takes_over_the_layers_that_did_not_change(deployed: Workspace) -> None:
    """BuildKit is spared to send them again, and what the new image does not name does not pile up."""
    for word in ("Milk", "Cheese"):
        settled(deployed)
        before = blobs(deployed) if word == "Cheese" else {}
        deployed.edit("libs/common/common/__init__.py", '"""', f'"""{word}. ')
        ran = deployed.invoke("build", "api")
        assert (ran.code, built(ran)) == (0, {"api"}), ran.output
    after = blobs(deployed)
    taken_over = {name for name in after if after[name] == before.get(name)}
    made = after.keys() - taken_over
    assert len(taken_over) >= 2, "at least the base's layers and those of the dependencies"
    assert len(made) == 3, "the lib's layer, the configuration and the manifest"


def blobs(workspace: Workspace) -> dict[str, int]:
    """Return the files of the one layout that there is of `api`, by digest: the inode of each."""
    (layout,) = (workspace.root / ".slipway" / "oci" / "api").iterdir()
    return {blob.name: blob.stat().st_ino for blob in (layout / "blobs" / "sha256").iterdir()}


def built(ran: Ran) -> set[str]:
    """Return the services that were built, not only found."""
    return {
        line.split()[0] for line in ran.output.splitlines() if len(line.split()) == 3 and line.split()[1] == "built"
    }


@pytest.fixture
def counted() -> Iterator[tuple[str, list[str]]]:
    """An address that hands everything on to the registry, and the requests that it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            there = http.client.HTTPConnection(REGISTRY, timeout=20)
            there.request(self.command, self.path, headers=dict(self.headers))
            answer = there.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            there.close()

        do_HEAD = do_GET

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def test_a_new_clone_asks_once_for_each_image_and_builds_none(
    deployed: Workspace, counted: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = counted
    clone = Workspace(tmp_path / "clone", deployed.port)
    deployed.git("clone", "--quiet", str(deployed.root), str(clone.root))
    clone.edit("workspace.toml", REGISTRY, address)
    ran = clone.invoke("build")
    assert ran.code == 0, ran.output
    assert ran.output.count("is in the registry") == 3, ran.output
    assert not (clone.root / ".slipway" / "logs").exists(), "nothing was built"
    images = [each for each in asked if each not in ("GET /v2/", "HEAD /v2/")]
    assert len(images) == 3 and all(each.startswith("HEAD /v2/") and "/manifests/h-" in each for each in images), asked


def test_many_cold_services_are_built(deployed: Workspace, tmp_path: Path) -> None:
    """Forty cold services, more than one bake takes, all come to their end."""
    many = Workspace(tmp_path / "many", deployed.port)
    shutil.copytree(deployed.root, many.root, symlinks=True, ignore=shutil.ignore_patterns(".slipway", ".git"))
    shutil.rmtree(many.root / "services")
    for number in range(MANY):
        service = many.root / "services" / f"s{number}"
        service.mkdir(parents=True)
        (service / "service.toml").write_text('kind = "worker"\ntarget = ""\n')
        (service / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        (service / "nonce").write_text(f"{number} {os.urandom(8).hex()}")
    ran = many.invoke("build")
    assert ran.code == 0, ran.output
    assert len(built(ran)) == MANY, ran.output


LABS_ONLY = 'RUN --device=slipway.example/none=any,required=false ["python3", "--version"]'
"""What only `labs` knew up to Dockerfile 1.26, and the stable frontend does from 1.27 on; it needs no such device."""


def name_frontend(workspace: Workspace, tag: str) -> None:
    """Give a service's Dockerfile a `# syntax=` line, and what `labs` brought, which leaves nothing in the image.

    A comment makes it content that no registry has yet.
    """
    file = workspace.root / "services" / "api" / "Dockerfile"
    text = file.read_text(encoding="utf-8")
    assert "FROM build AS test" in text
    text = text.replace("FROM build AS test", f"{LABS_ONLY}\n\n\nFROM build AS test")
    file.write_text(f"# syntax=docker/dockerfile:{tag}\n# {os.urandom(8).hex()}\n{text}", encoding="utf-8")


def frontends_of(workspace: Workspace) -> list[str]:
    """Return what `invoke doctor` says of who reads the Dockerfiles."""
    said = workspace.invoke("doctor", "--json").stdout  # whatever else it finds on this machine: full caches
    facts = [fact for fact in json.loads(said) if fact["name"] == "frontends"]
    assert all(fact["ok"] for fact in facts)
    return [fact["found"] for fact in facts]


@pytest.mark.parametrize("tag", ["1", "1-labs"])
def test_a_line_that_names_a_frontend_which_the_builder_has_builds_without_its_registry(
    deployed: Workspace, tag: str
) -> None:
    """Most Dockerfiles begin with it. Inline and by bake the builder's own frontend gives the same bytes as without."""
    before = deployed.containers()["api"].image.partition("@")[2]
    name_frontend(deployed, tag)
    deployed.up("--yes")
    assert deployed.containers()["api"].image.partition("@")[2] == before
    built = deployed.invoke("build", "--local", "api")
    assert built.code == 0, built.output
    assert before[:19] in built.output
    assert frontends_of(deployed) == ["api, web, worker: the builder's own, Dockerfile 1.28"]


OLDER_BUILDER = """
try:
    from slipway._internal.content import frontend
    frontend.OWN_VERSION = (1, 25)
except ImportError:
    pass
"""


def test_a_later_frontend_than_the_builders_is_built_once_and_served_by_its_digest(
    deployed: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real frontend 1.26-labs, from BuildKit's Go module; each command takes the builder's for an older one."""
    (tmp_path / "sitecustomize.py").write_text(OLDER_BUILDER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = deployed.containers()["api"].image.partition("@")[2]
    name_frontend(deployed, "1.26-labs")
    lock = deployed.root / "bases" / "bases.lock.json"
    for words in (("build", "--dry", "api"), ("preview", "--stack", "dev")):
        ran = deployed.invoke(*words)
        assert ran.code == 0, ran.output
        assert "dockerfile-1.26.0-labs" not in lock.read_text(), "a look builds nothing"
    deployed.up("--yes")
    assert deployed.containers()["api"].image.partition("@")[2] == before, "the same bytes as by the builder's own"
    served = json.loads(lock.read_text())["bases"]["dockerfile-1.26.0-labs"]
    assert served.startswith(f"{REGISTRY}/{deployed.root.name}/dockerfile_frontend@sha256:")
    assert f"api: Dockerfile 1.26.0-labs, {served}" in frontends_of(deployed)
    log = deployed.root / ".slipway" / "logs" / "api.build.log"
    for words in (("build", "--local", "api"), ("test", "api")):
        log.unlink(missing_ok=True)
        ran = deployed.invoke(*words)
        assert ran.code == 0, ran.output
        assert f"docker-image://{served}" in log.read_text(), "it is what the builder took"
    pruned = deployed.invoke("prune", "--dry")
    assert pruned.code == 0 and served.rpartition(":")[2][:12] not in pruned.output, pruned.output
    again = deployed.root / "bases" / "again.json"
    lock.rename(again)
    assert deployed.invoke("setup").code == 0
    assert json.loads(lock.read_text())["bases"]["dockerfile-1.26.0-labs"] == served, "the same bytes again"
    again.unlink()


def test_an_error_in_a_dockerfile_has_its_own_lines_number(deployed: Workspace) -> None:
    file = deployed.root / "services" / "api" / "Dockerfile"
    lines = ["# syntax=docker/dockerfile:1", *file.read_text(encoding="utf-8").splitlines(), "NOTHING here"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ran = deployed.invoke("build", "api")
    assert ran.code != 0
    assert f"line {len(lines)}" in ran.output, ran.output
