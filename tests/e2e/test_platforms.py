"""Two platforms: built by emulation or on a native builder, one index, each part signed, deployed by its digest.

The service is a static program on nothing, so no base is needed for the foreign platform; its RUN steps are, and what
they write says which machine they ran on. What the minute buys: that emulation, two builders, the gate and an engine
agree on one index, to the byte.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import REGISTRY, First, free_ports
from tests.e2e.workspace import Workspace, bake, wait_until
from tests.gate import database as trivydb

from slipway._internal.model import bases_lock
from slipway._internal.run.oci import oci_digest
from slipway._internal.run.registry import Registry, parse_reference
from slipway._internal.toolchain import builder, emulation
from slipway._internal.toolchain.install import ensure_tool

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

NAME = "slipway-two"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
DOCKERFILE = """\
FROM scratch AS build
ARG TARGETARCH
COPY --chmod=0755 probe-${TARGETARCH} /probe
RUN ["/probe", "build"]

FROM build AS test
WORKDIR /tmp
RUN ["/probe", "test"]

FROM scratch AS run
COPY --from=build /probe /machine /
COPY nonce /
USER 65532:65532
ENTRYPOINT ["/probe"]
"""
SERVICE = 'kind = "probe"\nroute = "/probe"\nport = 8090\n[resources]\nmemory = "64m"\ncpus = 1.0\n'
SETTINGS = """\
name = "{name}"
registry = "{registry}"
[gateway]
port = {port}
[build]
platforms = ["linux/amd64", "linux/arm64"]
[bases]
source = "official"
[bases.official]
envoy = "{base}"
[[scan.exceptions]]
id = "packages-unknown"
until = 2099-12-31
reason = "one static program"
"""


@pytest.fixture(scope="module")
def two(first: First, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace with one service for two platforms, on the daemons of the one that is up."""
    if not builder.runs_as_process():
        pytest.skip("emulation is set up by root")
    folder, port = tmp_path_factory.mktemp("two"), free_ports(3)
    root = bake(folder, project_slug=NAME, registry=REGISTRY, gateway_port=str(port))
    shutil.rmtree(root / "services")
    service = root / "services" / "probe"
    service.mkdir(parents=True)
    for architecture in MACHINES:
        subprocess.run(
            ["go", "build", "-ldflags", "-s -w", "-o", service / f"probe-{architecture}", "probe.go"],
            cwd=Path(__file__).parent,
            env={**os.environ, "GOARCH": architecture, "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"},
            check=True,
        )
    (service / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (service / "nonce").write_text(os.urandom(8).hex(), encoding="utf-8")  # other digests than those of an earlier run
    (service / "service.toml").write_text(SERVICE, encoding="utf-8")
    base = bases_lock.load(first.workspace.root).bases[bases_lock.GATEWAY_BASE]
    settings = SETTINGS.format(name=NAME, registry=REGISTRY, port=port, base=base)
    (root / "workspace.toml").write_text(settings, encoding="utf-8")
    cache = trivydb.make(folder / "trivy", [trivydb.Advisory("CVE-2026-1", "nothing-here")])
    made = Workspace(root, port, {"TRIVY_CACHE_DIR": str(cache)})
    made.git("init", "--quiet")  # nothing is signed that is of no commit
    made.git("add", ".")
    made.git("commit", "--quiet", "--message", "Generated")
    try:
        yield made
    finally:
        for stack in ("dev", "staging"):
            assert made.invoke("down", "--stack", stack, "--yes").code == 0


@pytest.fixture(scope="module")
def ref(two: Workspace) -> str:
    """The service's image after the gate, by digest."""
    ran = two.invoke("ship", "--stack", "staging")
    assert ran.code == 0, ran.output
    lock = json.loads((two.root / "deploy" / "staging.lock.json").read_text(encoding="utf-8"))
    return str(lock["services"]["probe"]["ref"])


def test_one_index_holds_an_image_for_each_platform_whose_steps_ran_on_it(
    two: Workspace, ref: str, tmp_path: Path
) -> None:
    """Two platforms from one build: each part's steps ran on its own machine, emulated where there is none."""
    listed = parts(ref)
    assert sorted(each["platform"]["architecture"] for each in listed) == sorted(MACHINES)
    assert {each["platform"]["os"] for each in listed} == {"linux"}
    for each in listed:
        archive = tmp_path / "files.tar"
        image = f"{ref.partition('@')[0]}@{each['digest']}"
        subprocess.run([two.root / ".slipway" / "bin" / "crane", "export", "--insecure", image, archive], check=True)
        with tarfile.open(archive) as files:
            noted = files.extractfile("machine")
            assert noted and noted.read().decode() == MACHINES[each["platform"]["architecture"]]


def test_the_index_and_each_part_are_signed_and_a_part_without_a_signature_is_refused(two: Workspace, ref: str) -> None:
    [key] = (two.root / "policy" / "keys").glob("*.pub")
    cosign = [str(two.root / ".slipway" / "bin" / "cosign"), "verify", "--key", str(key), "--insecure-ignore-tlog"]
    place = ref.partition("@")[0]
    for each in (ref, *(f"{place}@{part['digest']}" for part in parts(ref))):
        done = subprocess.run(
            [*cosign, "--allow-http-registry", each], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
    report = next((two.root / ".slipway" / "gate" / "probe").glob("*/trivy.json"))
    scanned = json.loads(report.read_text(encoding="utf-8"))
    assert set(scanned["SlipwayPlatforms"]) == {"linux/amd64", "linux/arm64"}

    held, part = Registry(REGISTRY), parse_reference(f"{place}@{parts(ref)[1]['digest']}")
    for signature in held.list_referrers(part.repository, part.reference):
        held.delete_manifest(part.repository, signature.digest)
    refused = two.invoke("verify", "--stack", "staging")
    assert refused.code == 4, refused.output
    assert part.reference[:19] in refused.output


def test_the_index_is_deployed_by_its_digest_and_an_inline_build_gives_the_same(two: Workspace, ref: str) -> None:
    for words in (("deploy", "--stack", "staging"), ("up",)):
        ran = two.invoke(*words)
        assert ran.code == 0, ran.output
    for stack, port in (("staging", two.port + 1), ("dev", two.port)):
        assert two.containers(stack)["probe"].image.endswith(ref.partition("@")[2])
        said = Workspace(two.root, port).get("/probe")
        assert said == (200, "built on x86_64, runs on x86_64"), stack


def test_a_native_builder_takes_its_platform_and_gives_the_same_bytes(two: Workspace, ref: str, tmp_path: Path) -> None:
    shutil.rmtree(two.root / ".slipway" / "oci")
    port, text = free_ports(1), (two.root / "workspace.toml").read_text(encoding="utf-8")
    natives = f'[build.builders]\n"linux/arm64" = "tcp://127.0.0.1:{port}"\n'
    (two.root / "workspace.toml").write_text(f"{text}{natives}", encoding="utf-8")
    try:
        with another_builder(tmp_path, port) as used:
            ran = two.invoke("build", "--local")
            assert ran.code == 0, ran.output
            [layout] = (two.root / ".slipway" / "oci" / "probe").iterdir()
            assert oci_digest(layout) == ref.partition("@")[2]
            assert "/probe build" in used(), "the other builder did it"
        shutil.rmtree(two.root / ".slipway" / "oci")
        gone = two.invoke("build", "--local")
        assert gone.code == 1, gone.output
        assert f"the builder for linux/arm64 at tcp://127.0.0.1:{port} does not answer" in gone.output
        assert "[build.builders]" in gone.output
    finally:
        (two.root / "workspace.toml").write_text(text, encoding="utf-8")


def test_a_platform_that_nothing_can_build_is_refused_before_the_build(two: Workspace) -> None:
    text = (two.root / "workspace.toml").read_text(encoding="utf-8")
    (two.root / "workspace.toml").write_text(text.replace("linux/arm64", "linux/sparc9"), encoding="utf-8")
    try:
        ran = two.invoke("build")
    finally:
        (two.root / "workspace.toml").write_text(text, encoding="utf-8")
    assert ran.code == 1, ran.output
    assert "linux/sparc9" in ran.output and "[build.builders]" in ran.output


def test_a_platform_is_known_as_soon_as_it_is_emulated(two: Workspace, ref: str, tmp_path: Path) -> None:
    """QEMU is registered while BuildKit runs, which has just been asked: it must not answer from memory."""
    rule = emulation.BINFMT_FOLDER / "qemu-riscv64"
    if rule.exists():
        pytest.skip("this machine runs programs of riscv64 already")
    port = free_ports(1)
    with another_builder(tmp_path, port):
        assert "linux/riscv64" not in platforms_of(port)
        emulation.ensure_emulation(["linux/riscv64"])
        try:
            assert "linux/riscv64" in platforms_of(port)
        finally:
            rule.write_text("-1", encoding="ascii")


def platforms_of(port: int) -> list[str]:
    """Return what the BuildKit at a port of this machine says that it can build."""
    buildctl = ensure_tool("buildkitd").with_name("buildctl")
    command = [buildctl, "--addr", f"tcp://127.0.0.1:{port}", "debug", "workers", "--format", "{{json .}}"]
    workers = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [f"{each['os']}/{each['architecture']}" for worker in workers for each in worker["platforms"]]


def parts(ref: str) -> list[dict[str, Any]]:
    """Return what an index lists."""
    part = parse_reference(ref)
    return list(Registry(part.host).get_manifest(part.repository, part.reference).children)


@contextmanager
def another_builder(folder: Path, port: int) -> Iterator[Any]:
    """Run a second BuildKit as if it were another machine's; yield what tells which steps it has done."""
    text = builder.buildkitd_config(folder / "data", folder / "b.sock", 1)
    text = text.replace(f'"unix://{folder}/b.sock"', f'"tcp://127.0.0.1:{port}"')
    (folder / "b.toml").write_text(text, encoding="utf-8")
    program = ensure_tool("buildkitd")
    with (folder / "log").open("w") as log:
        child = subprocess.Popen([program, "--config", folder / "b.toml"], stdout=log, stderr=log)
    asked = [program.with_name("buildctl"), "--addr", f"tcp://127.0.0.1:{port}"]

    def up() -> bool:
        return subprocess.run([*asked, "debug", "workers"], capture_output=True, check=False).returncode == 0

    def used() -> str:
        return subprocess.run([*asked, "du", "--verbose"], capture_output=True, text=True, check=True).stdout

    try:
        wait_until(up, "the other builder answers")
        yield used
    finally:
        child.terminate()
        child.wait(timeout=60)
