"""The scan for real: Trivy with a database of a few advisories, on images of a few files."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.gate import database
from tests.gate.database import PIP, Advisory

from slipway._internal.commands import findings, trivy
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import scan
from slipway._internal.model.errors import GateRefused
from slipway._internal.model.gate_settings import ScanException, ScanSettings
from slipway._internal.model.workspace import Service, Workspace, load_workspace
from slipway._internal.toolchain import registry_daemon
from slipway._internal.toolchain.install import link_tools

SYSTEM = 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n'
ZLIB = (
    "Package: zlib1g\nSource: zlib\nVersion: 1:1.3.1-1\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\n"
)
PACKAGES = {
    "etc/os-release": SYSTEM,
    "etc/debian_version": "13.1\n",
    "var/lib/dpkg/status.d/zlib1g": ZLIB,
    "app/site-packages/shaky-1.2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: shaky\nVersion: 1.2.0\n",
    "app/main.py": "print('hello')\n",
}
DOCKERFILE = (
    'FROM docker.io/library/debian:13\nUSER 65532:65532\nHEALTHCHECK CMD ["/app/health"]\nENTRYPOINT ["/app/main"]\n'
)
# A token of GitHub's form; nobody has it. In two parts, so that no scanner takes this file for a leak.
TOKEN = "ghp_" + "x7Yb2Qm9Lk4Wz8Rt1Vn6Pc3Js5Hd0Gf9KaTu"
FIXED = Advisory("CVE-2026-1000", "zlib", fixed="1:1.3.2-1", title="inflate reads beyond its window")
UNFIXED = Advisory("CVE-2026-2000", "zlib")
LIBRARY = Advisory("CVE-2026-3000", "shaky", severity="HIGH", fixed="1.3.0", origin=PIP)
TODAY = date(2026, 6, 1)


@dataclass
class World:
    """A workspace with one service, its image, and Trivy with a cache of its own."""

    root: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def into(self) -> Path:
        return self.root / ".slipway" / "gate"

    @property
    def workspace(self) -> Workspace:
        return load_workspace(self.root)

    @property
    def run_context(self) -> RunContext:
        return RunContext(self.workspace, self.root / ".slipway" / "bin", {})

    @property
    def service(self) -> Service:
        return self.workspace.service("api")

    def settings(self, text: str) -> None:
        (self.root / "workspace.toml").write_text(f'name = "shop"\nregistry = "127.0.0.1:5000"\n{text}')

    def knows(self, *advisories: Advisory, **about: datetime) -> Path:
        """Give Trivy a database that knows these, and nothing else."""
        cache = database.make(self.root / f"cache-{len(list(self.root.glob('cache-*')))}", advisories, **about)
        self.monkeypatch.setenv("TRIVY_CACHE_DIR", str(cache))
        return cache

    def scan(self, layout: Path, into: str = "") -> Mapping[str, Any]:
        """Scan with the database that is there; what Trivy says of the usual Dockerfile is asked once for all tests."""
        usual = self.service.dockerfile.read_text() == DOCKERFILE
        judged = usual_judgement(self) if usual else None
        return scan.scan_image(self.run_context, self.service, layout, self.into / into, judged)

    def image(self, *layers: Mapping[str, str], **config: object) -> Path:
        """Return the layout of an image of these layers."""
        made = Layout(self.root / f"layout-{len(list(self.root.glob('layout-*')))}")
        return made.done([made.image(layers, config)])


_judged: list[scan.DockerfileResults] = []
_one = threading.Lock()


def usual_judgement(world: World) -> scan.DockerfileResults:
    with _one:
        if not _judged:
            _judged.append(scan.scan_dockerfiles(world.run_context, [world.service]))
    return _judged[0]


class Layout:
    """An OCI layout, written by hand: what is in it is what a test says, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    def image(
        self, layers: tuple[Mapping[str, str], ...], config: Mapping[str, object], architecture: str = "amd64"
    ) -> dict[str, Any]:
        packed = [self.blob(_layer(files), "layer.v1.tar") for files in layers]
        about = {
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in packed]},
            "history": [{"created_by": f"COPY {number}"} for number in range(len(packed))],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.blob(json.dumps(about).encode(), "config.v1+json"),
            "layers": packed,
        }
        made = self.blob(json.dumps(manifest).encode(), "manifest.v1+json")
        return {**made, "platform": {"os": "linux", "architecture": architecture}}

    def index(self, manifests: list[dict[str, Any]]) -> dict[str, Any]:
        content = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        }
        return self.blob(json.dumps(content).encode(), "index.v1+json")

    def done(self, manifests: list[dict[str, Any]]) -> Path:
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
        return self.folder


def _layer(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in [each for each in os.environ if each.startswith("TRIVY_")]:
        monkeypatch.delenv(name)
    service = tmp_path / "services" / "api"
    service.mkdir(parents=True)
    (service / "service.toml").write_text('kind = "worker"\n')
    (service / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / ".slipway" / "bin").mkdir(parents=True)
    link_tools(tmp_path / ".slipway" / "bin", ["trivy"])
    made = World(tmp_path, monkeypatch)
    made.settings("")
    return made


@pytest.fixture
def mirror(world: World) -> Iterator[str]:
    """A registry on this machine for the database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    world.monkeypatch.setenv("XDG_STATE_HOME", str(world.root / "state"))
    registry_daemon.ensure_local_registry(address)
    yield address
    registry_daemon.stop_local_registry(address)


def judge(report: Mapping[str, Any], **policy: Any) -> findings.ScanVerdict:
    return findings.evaluate_report(ScanSettings(**policy), report, "api", TODAY)


def ids(verdict: findings.ScanVerdict) -> list[str]:
    return [each.id for each in verdict.refused]


def now() -> datetime:
    return datetime.now(UTC)


def ready(world: World, at: datetime | None = None) -> scan.Database:
    return scan.ensure_database(world.run_context, NullReporter(), at or now())


def test_a_vulnerable_package_refuses_and_the_refusal_names_what_mends_it(world: World) -> None:
    world.knows(FIXED, LIBRARY)
    verdict = judge(scan.scan_image(world.run_context, world.service, world.image(PACKAGES), world.into))
    assert ids(verdict) == ["CVE-2026-1000", "CVE-2026-3000"]
    error = findings.refusal_error(verdict, "api", world.into)
    assert error.exit_code == 3
    assert "CRITICAL  zlib1g 1:1.3.1-1 → 1:1.3.2-1" in error.detail
    assert "shaky 1.2.0 → 1.3.0" in error.detail
    assert "CVE-2026-1000" in (world.into / "trivy.txt").read_text()


def test_a_clean_image_passes_and_all_results_are_there(world: World) -> None:
    world.knows(Advisory("CVE-2026-1", "openssl", fixed="9"))
    report = world.scan(world.image(PACKAGES))
    assert judge(report, refuse=findings.SEVERITIES, ignore_unfixed=False).refused == ()
    assert sorted(each.name for each in world.into.iterdir()) == ["scan.json", "trivy.json", "trivy.sarif", "trivy.txt"]
    assert json.loads((world.into / "trivy.json").read_text()) == report
    assert {each["Class"] for each in report["Results"]} == {"os-pkgs", "lang-pkgs", "config"}
    attested = json.loads((world.into / "scan.json").read_text())
    assert attested["scanner"]["result"] == report
    assert attested["scanner"]["uri"] == "https://github.com/aquasecurity/trivy@v0.69.0"
    assert attested["scanner"]["db"] == {"uri": trivy.DEFAULT_DATABASE, "version": "2"}
    assert attested["metadata"]["scanStartedOn"] <= attested["metadata"]["scanFinishedOn"]
    assert str(world.root) not in json.dumps(attested)


def test_sarif_and_table_hold_findings_of_image_and_dockerfile(world: World) -> None:
    world.knows(FIXED)
    (world.service.folder / "Dockerfile").write_text("FROM docker.io/library/debian:13\n")
    world.scan(world.image({**PACKAGES, "app/.env": f"TOKEN={TOKEN}\n"}))
    found = json.loads((world.into / "trivy.sarif").read_text())["runs"][0]["results"]
    assert {each["ruleId"] for each in found} >= {"CVE-2026-1000", "github-pat", "DS-0002"}
    table = (world.into / "trivy.txt").read_text()
    assert all(each in table for each in ("CVE-2026-1000", "GitHub", "DS-0002", "services/api/Dockerfile"))


def test_what_has_no_fix_refuses_only_where_the_policy_says_so(world: World) -> None:
    world.knows(UNFIXED)
    report = world.scan(world.image(PACKAGES))
    assert judge(report).passed
    assert ids(judge(report, ignore_unfixed=False)) == ["CVE-2026-2000"]


def test_an_exception_lets_a_finding_through_until_its_day_has_ended(world: World) -> None:
    world.knows(FIXED)
    report = world.scan(world.image(PACKAGES))
    last = ScanException("CVE-2026-1000", TODAY, "not reachable from our code")
    verdict = judge(report, exceptions=(last,))
    assert verdict.passed
    assert [exception for _, exception in verdict.let_through] == [last]
    ended = judge(report, exceptions=(ScanException("CVE-2026-1000", TODAY - timedelta(days=1), "was so"),))
    assert ids(ended) == ["CVE-2026-1000"]
    assert "ended on 2026-05-31; its reason was: was so" in findings.refusal_error(ended, "api").detail


def test_a_secret_is_found_in_any_layer_and_not_told_on(world: World) -> None:
    world.knows()
    hidden = [PACKAGES, {"app/.env": f"TOKEN={TOKEN}\n"}, {"app/.wh..env": ""}]
    assert ids(judge(world.scan(world.image(*hidden)))) == ["github-pat"]
    assert ids(judge(world.scan(world.image(PACKAGES, Env=[f"TOKEN={TOKEN}"])))) == ["github-pat"]
    written = "".join(path.read_text() for path in (world.root / ".slipway").rglob("*.*") if path.is_file())
    assert TOKEN not in written


def test_a_dockerfile_that_runs_as_root_refuses(world: World) -> None:
    world.knows()
    (world.service.folder / "Dockerfile").write_text('FROM docker.io/library/debian:13\nCMD ["/app"]\n')
    verdict = judge(world.scan(world.image(PACKAGES)))
    assert ids(verdict) == ["DS-0002"]
    assert verdict.refused[0].target == "services/api/Dockerfile"


@pytest.mark.parametrize(
    "lay",
    [
        lambda root, _: (root / "services/api/Dockerfile").write_text(
            "# trivy:ignore:DS-0001\nFROM debian:latest\nUSER 1\nHEALTHCHECK CMD x\n"
        ),
        lambda root, patch: patch.setenv("TRIVY_SEVERITY", "CRITICAL"),
        lambda root, patch: patch.setenv("TRIVY_SKIP_FILES", "app/.env"),
        lambda root, _: (root / ".trivyignore").write_text("DS-0001\nCVE-2026-3000\ngithub-pat\n"),
        lambda root, _: (root / "trivy.yaml").write_text("severity: [CRITICAL]\nscan:\n  skip-dirs: [app]\n"),
    ],
    ids=["comment", "severities", "skipped files", ".trivyignore", "trivy.yaml"],
)
def test_nothing_but_the_workspaces_policy_lets_a_finding_through(
    world: World, lay: Callable[[Path, pytest.MonkeyPatch], object]
) -> None:
    world.knows(LIBRARY)
    (world.service.folder / "Dockerfile").write_text("FROM debian:latest\nUSER 1\nHEALTHCHECK CMD x\n")
    lay(world.root, world.monkeypatch)
    world.monkeypatch.chdir(world.root)
    report = world.scan(world.image({**PACKAGES, "app/.env": f"TOKEN={TOKEN}\n"}))
    assert set(ids(judge(report, refuse=findings.SEVERITIES))) == {"CVE-2026-3000", "github-pat", "DS-0001"}


@pytest.mark.parametrize(
    "files",
    [
        {"app/main": "a program of nobody knows what"},
        {"etc/os-release": SYSTEM, "etc/debian_version": "13.1\n"},
        {"etc/os-release": 'ID=arch\nVERSION_ID="1"\n', "var/lib/pacman/local/zlib-1/desc": "%NAME%\nzlib\n"},
        {"etc/fedora-release": "Fedora release 43 (Forty Three)\n", "etc/os-release": "ID=fedora\nVERSION_ID=43\n"},
    ],
    ids=["no system", "no packages", "unknown system", "system without advisories"],
)
def test_an_image_that_trivy_knows_nothing_of_does_not_pass(world: World, files: Mapping[str, str]) -> None:
    world.knows()
    verdict = judge(world.scan(world.image(files)))
    assert ids(verdict) == ["packages-unknown"]
    let = ScanException("packages-unknown", TODAY, "one static program, built from our own code")
    assert judge(world.scan(world.image(files)), exceptions=(let,)).passed


def test_a_system_without_updates_does_not_pass(world: World) -> None:
    world.knows()
    old = {**PACKAGES, "etc/os-release": SYSTEM.replace("13", "9"), "etc/debian_version": "9.13\n"}
    assert ids(judge(world.scan(world.image(old)))) == ["system-end-of-life"]


def test_a_dockerfile_that_trivy_cannot_read_does_not_pass(world: World) -> None:
    world.knows()
    (world.service.folder / "Dockerfile").write_text("FROM scratch\nCOPPY a b\n")
    assert ids(judge(world.scan(world.image(PACKAGES)))) == ["dockerfile-unknown"]


def test_jars_that_cannot_be_named_refuse(world: World) -> None:
    world.knows()
    world.monkeypatch.setenv("TRIVY_JAVA_DB_REPOSITORY", "127.0.0.1:9/java-db:1")
    with pytest.raises(GateRefused) as caught:
        world.scan(world.image({**PACKAGES, "app/lib/thing-1.0.jar": "PK\x03\x04 no archive"}))
    assert "--download-java-db-only" in caught.value.remedy


def test_every_platform_of_an_image_is_scanned_and_listed(world: World) -> None:
    world.knows(FIXED)
    made = Layout(world.root / "platforms")
    clean = {name: text for name, text in PACKAGES.items() if "zlib" not in name}
    clean["var/lib/dpkg/status.d/tzdata"] = "Package: tzdata\nVersion: 2026a-1\nArchitecture: all\n"
    one, two = made.image((clean,), {}, "amd64"), made.image((PACKAGES,), {}, "arm64")
    attested = {**made.image(({"a": ""},), {}), "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    layout = made.done([made.index([one, two, attested])])
    verdict = judge(world.scan(layout))
    assert [(each.id, each.target) for each in verdict.refused] == [
        ("CVE-2026-1000", "api (debian 13.1) [linux/arm64]"),
    ]
    scan.write_sboms(world.run_context, world.service, layout, world.into)
    assert listed(world.into / "sbom.cdx.json") == {"tzdata", "zlib1g", "shaky"}
    assert listed(world.into / "sbom.spdx.json") == {"tzdata", "zlib1g", "shaky"}


def listed(path: Path) -> set[str]:
    """Return the packages that an SBOM names, without the image and its system."""
    document = json.loads(path.read_text())
    if "bomFormat" in document:
        return {each["name"] for each in document["components"] if each["type"] == "library"}
    return {each["name"] for each in document["packages"] if each.get("primaryPackagePurpose") == "LIBRARY"}


def test_both_lists_hold_every_package_and_are_the_same_each_time_but_for_names_and_times(world: World) -> None:
    layout = world.image(PACKAGES)  # no database: the lists need none
    for folder in ("one", "two"):
        scan.write_sboms(world.run_context, world.service, layout, world.into / folder)
    for name in scan.SBOM_FORMATS:
        assert listed(world.into / "one" / name) == {"zlib1g", "shaky"}
        first, second = (json.loads((world.into / each / name).read_text()) for each in ("one", "two"))
        assert steady(first) == steady(second)
    cyclonedx = json.loads((world.into / "one" / "sbom.cdx.json").read_text())
    assert (cyclonedx["bomFormat"], cyclonedx["metadata"]["component"]["name"]) == ("CycloneDX", "api")
    assert json.loads((world.into / "one" / "sbom.spdx.json").read_text())["spdxVersion"] == "SPDX-2.3"


def steady(document: dict[str, Any]) -> list[str]:
    """Return what does not change from list to list: packages, versions, files, licences."""
    entries = document.get("components") or [*document.get("packages", []), *document.get("files", [])]
    return sorted(
        json.dumps({key: value for key, value in each.items() if key not in {"bom-ref", "annotations"}})
        for each in entries
    )


def test_scans_at_the_same_time_do_not_wait_for_or_break_each_other(world: World) -> None:
    world.knows(FIXED)
    layout = world.image(PACKAGES)
    together = threading.Barrier(4)

    def one(number: int) -> list[str]:
        together.wait()
        report = world.scan(layout, str(number))
        scan.write_sboms(world.run_context, world.service, layout, world.into / str(number))
        return ids(judge(report))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == [["CVE-2026-1000"]] * 4


def test_a_scan_needs_no_lock_that_another_process_holds(world: World) -> None:
    cache = world.knows(FIXED)
    (cache / "fanal").mkdir()
    layout = world.image(PACKAGES)
    world.settings("[gate]\nseconds = 20\n")
    with (cache / "fanal" / "fanal.db").open("wb") as layers, (cache / "db" / "trivy.db").open("rb") as advisories:
        fcntl.flock(layers, fcntl.LOCK_EX)
        fcntl.flock(advisories, fcntl.LOCK_SH)
        assert ids(judge(world.scan(layout))) == ["CVE-2026-1000"]
        scan.write_sboms(world.run_context, world.service, layout, world.into)


def test_without_a_scanner_nothing_passes(world: World) -> None:
    world.knows()
    (world.run_context.bin / "trivy").unlink()
    with pytest.raises(GateRefused) as caught:
        ready(world)
    assert caught.value.exit_code == 3
    assert "invoke setup" in caught.value.remedy


def test_a_database_of_today_is_used_without_a_download(world: World) -> None:
    world.settings('[scan]\ndatabase = "127.0.0.1:9/none:2"\n')
    cache = world.knows()
    assert ready(world).folder == cache / "db"


@pytest.mark.parametrize("state", ["missing", "outdated", "cut off", "empty", "other bytes", "metadata", "version"])
def test_a_database_that_cannot_be_used_refuses_where_no_other_can_be_had(world: World, state: str) -> None:
    world.settings('[scan]\ndatabase = "127.0.0.1:9/none:2"\n')
    past = now() - timedelta(minutes=1)
    cache = world.knows(FIXED, **({"next_update": past} if state == "outdated" else {}))
    file, about = cache / "db" / "trivy.db", cache / "db" / "metadata.json"
    content = file.read_bytes()
    wrong = {
        "missing": file.unlink,
        "outdated": lambda: None,
        "cut off": lambda: file.write_bytes(content[: len(content) // 2]),
        "empty": lambda: file.write_bytes(b""),
        "other bytes": lambda: file.write_bytes(b"\x17" * len(content)),
        "metadata": lambda: about.write_text("{"),
        "version": lambda: about.write_text(about.read_text().replace('"Version":2', '"Version":1')),
    }
    wrong[state]()
    with pytest.raises(GateRefused) as caught:
        ready(world)
    assert caught.value.exit_code == 3
    assert "127.0.0.1:9/none:2" in caught.value.remedy
    assert caught.value.log
    assert caught.value.log.is_file()
    with pytest.raises(GateRefused):
        world.scan(world.image(PACKAGES))
    assert not world.into.exists()


@pytest.mark.parametrize("state", ["missing", "outdated"])
def test_the_database_comes_from_a_mirror(world: World, mirror: str, state: str) -> None:
    source = database.make(world.root / "source", [FIXED])
    database.push(source, f"{mirror}/mirror/trivy-db:2")
    world.settings(f'[scan]\ndatabase = "{mirror}/mirror/trivy-db:2"\n')
    if state == "outdated":
        world.knows(next_update=now() - timedelta(days=1))
    else:
        world.monkeypatch.setenv("TRIVY_CACHE_DIR", str(world.root / "none"))
    assert ready(world).uri == f"{mirror}/mirror/trivy-db:2"
    assert ids(judge(world.scan(world.image(PACKAGES)))) == ["CVE-2026-1000"]
    assert [each.name for each in scan.cache_folder().iterdir()] == ["db"]


def test_a_mirror_that_is_itself_outdated_refuses(world: World, mirror: str) -> None:
    source = database.make(world.root / "source", [FIXED], next_update=now() - timedelta(days=1))
    database.push(source, f"{mirror}/mirror/trivy-db:2")
    world.settings(f'[scan]\ndatabase = "{mirror}/mirror/trivy-db:2"\n')
    world.monkeypatch.setenv("TRIVY_CACHE_DIR", str(world.root / "none"))
    with pytest.raises(GateRefused, match="outdated"):
        ready(world)


def test_a_mirror_that_never_answers_is_given_up(world: World) -> None:
    """A silent mirror holds the gate up for its own limit and no longer: time is what is tested."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        world.settings(f'[scan]\ndatabase = "{address}/db:2"\n[gate]\nseconds = 2\n')
        world.monkeypatch.setenv("TRIVY_CACHE_DIR", str(world.root / "none"))
        with pytest.raises(GateRefused, match="missing"):
            ready(world)


def test_a_layout_that_is_no_image_refuses(world: World) -> None:
    world.knows()
    (world.root / "empty").mkdir()
    with pytest.raises(GateRefused, match="not an OCI layout"):
        world.scan(world.root / "empty")
    layout = world.image(PACKAGES)
    for blob in (layout / "blobs" / "sha256").iterdir():
        blob.write_bytes(b"something else")
    with pytest.raises(GateRefused, match="could not be scanned") as caught:
        world.scan(layout)
    assert caught.value.log == world.root / ".slipway" / "logs" / "api.scan.log"


def test_the_checks_of_dockerfiles_run_once_for_all_services(world: World) -> None:
    for name, text in (("web", "FROM docker.io/library/debian:13\n"), ("broken", "FROM scratch\nCOPPY\n")):
        folder = world.root / "services" / name
        folder.mkdir()
        (folder / "service.toml").write_text('kind = "worker"\n')
        (folder / "Dockerfile").write_text(text)
    judged = scan.scan_dockerfiles(world.run_context, world.workspace.services)
    assert {name: len(results) for name, results in judged.items()} == {"api": 1, "web": 1, "broken": 0}
    world.knows()
    world.monkeypatch.setattr(trivy, "scan_dockerfiles", lambda *_: pytest.fail("judged already"))
    scan.scan_image(world.run_context, world.service, world.image(PACKAGES), world.into, judged)
