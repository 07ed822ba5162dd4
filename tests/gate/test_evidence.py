"""Evidence on a real registry by a real cosign: attached once, verified whole, and refused for each way to forge it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.conftest import PYTHONPATH

from slipway._internal.commands import cosign
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import evidence, signing_keys
from slipway._internal.gate.evidence import AttestationInputs, EvidenceRequirement
from slipway._internal.model import trust, workspace
from slipway._internal.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway._internal.run import registry
from slipway._internal.toolchain.install import link_tools
from slipway._internal.toolchain.registry_daemon import registry_config

pytestmark = pytest.mark.engine

TODAY = date(2026, 11, 23)
SENTINEL = "5ent1nel-signing-passw0rd"
CONTENT = "c" * 64
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ATTESTED = [kind for kind in cosign.EVIDENCE_KINDS if kind != cosign.SIGNATURE]
SETTINGS = """\
name = "shop"
registry = "{registry}"

[[scan.exceptions]]
id = "CVE-2026-0001"
until = 2026-12-31
reason = "not reachable"
"""
WATCHED = """\
#!/bin/sh
# Keeps what a look at the process list would have shown.
printf '%s\\n' "$0 $*" >> "{folder}/argv"
env >> "{folder}/environ"
exec "{real}" "$@"
"""
KILLED = """\
import json, os, signal, sys
from pathlib import Path
from slipway._internal.gate import evidence, signing_keys
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import trust, workspace

said = json.loads(sys.stdin.read())

class Death(NullReporter):
    def step(self, service, state, detail=""):
        if detail == said["at"] or state == said["at"]:
            os.kill(os.getpid(), signal.SIGKILL)

here = workspace.load_workspace(Path(said["root"]))
run_context = RunContext(here, Path(said["bin"]), {})
files = {kind: Path(path) for kind, path in said["files"].items()}
attached = evidence.AttestationInputs("api", said["content"], None, files)
signer = signing_keys.load_signer(run_context, trust.load(here.root), os.environ)
evidence.attach_evidence(run_context, said["ref"], attached, signer, Death())
"""


@dataclass
class World:
    """A registry, a workspace with a key pair, and the tools; all of it is gone after the module's tests."""

    run_context: RunContext
    host: str
    folder: Path
    number: int = 0

    @property
    def root(self) -> Path:
        return self.run_context.workspace.root

    @property
    def trust(self) -> trust.Trust:
        return trust.load(self.root)

    def signer(self) -> signing_keys.Signer:
        return signing_keys.load_signer(self.run_context, self.trust, {})

    def image(self, service: str = "api") -> str:
        """Push an image that nobody else has, and return it by digest."""
        self.number += 1
        repository = f"shop/release/{service}"
        layer = self.blob(repository, tar(f"hello {self.number}"))
        described = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                **self.blob(repository, json.dumps(described).encode()),
            },
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **layer}],
        }
        digest = self.manifest(repository, json.dumps(manifest).encode(), MANIFEST)["digest"]
        return f"{self.host}/{repository}@{digest}"

    def blob(self, repository: str, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        begun = requests.post(f"http://{self.host}/v2/{repository}/blobs/uploads/", timeout=10)
        requests.put(begun.headers["Location"], params={"digest": digest}, data=data, timeout=10).raise_for_status()
        return {"digest": digest, "size": len(data)}

    def manifest(self, repository: str, data: bytes, kind: str, tag: str = "") -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        where = f"http://{self.host}/v2/{repository}/manifests/{tag or digest}"
        requests.put(where, data=data, headers={"Content-Type": kind}, timeout=10).raise_for_status()
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def listed(self, ref: str) -> list[dict[str, Any]]:
        """Return what the registry lists as attached to an image."""
        part = registry.parse_reference(ref)
        tag = part.reference.replace(":", "-")
        where = f"http://{self.host}/v2/{part.repository}/manifests/{tag}"
        answer = requests.get(where, headers={"Accept": INDEX}, timeout=10)
        return list(answer.json()["manifests"]) if answer.ok else []

    def list_only(self, ref: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write the list of what is attached anew, as whoever may push can."""
        part = registry.parse_reference(ref)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
        self.manifest(part.repository, json.dumps(index).encode(), INDEX, part.reference.replace(":", "-"))

    def bundle(self, ref: str, manifest: str) -> dict[str, Any]:
        """Return one of the bundles attached to an image."""
        repository = registry.parse_reference(ref).repository
        base = f"http://{self.host}/v2/{repository}"
        described = requests.get(f"{base}/manifests/{manifest}", headers={"Accept": MANIFEST}, timeout=10).json()
        return dict(requests.get(f"{base}/blobs/{described['layers'][0]['digest']}", timeout=10).json())

    def plant(self, ref: str, bundle: Mapping[str, Any]) -> str:
        """Attach a bundle to an image as cosign would, and return its manifest's digest."""
        part = registry.parse_reference(ref)
        artifact = "application/vnd.dev.sigstore.bundle.v0.3+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", **self.blob(part.repository, b"{}")},
            "layers": [{"mediaType": artifact, **self.blob(part.repository, json.dumps(bundle).encode())}],
            "subject": {"mediaType": MANIFEST, "digest": part.reference, "size": 1},
            "annotations": {"org.opencontainers.image.created": "2099-01-01T00:00:00Z"},
        }
        entry = self.manifest(part.repository, json.dumps(manifest).encode(), MANIFEST)
        self.list_only(ref, [*self.listed(ref), {**entry, "artifactType": artifact}])
        return str(entry["digest"])

    def files(self, **instead: Any) -> dict[str, Path]:
        """Return a file for each kind of attestation; `instead` has other content for some, None leaves one out."""
        folder = self.folder / f"files-{time.monotonic_ns()}"
        folder.mkdir()
        contents = {
            "sbom": {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []},
            "spdx": {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "api"},
            "scan": scan([]),
            "provenance": {"buildDefinition": {"buildType": "x"}, "runDetails": {"builder": {"id": "x"}}},
            "tests": {"result": "PASSED", "passedTests": ["one"]},
        }
        made = {}
        for kind, content in {**contents, **instead}.items():
            if content is not None:
                made[kind] = folder / f"{kind}.json"
                made[kind].write_text(json.dumps(content))
        return made

    def attach(self, ref: str, signer: signing_keys.Signer | None = None, service: str = "api", **instead: Any) -> None:
        attached = AttestationInputs(service, CONTENT, "f" * 40, self.files(**instead))
        evidence.attach_evidence(self.run_context, ref, attached, signer or self.signer(), NullReporter())

    def verify(self, *wanted: EvidenceRequirement, today: date = TODAY) -> dict[str, evidence.VerifiedImage]:
        return evidence.verify_evidence(self.run_context, wanted, self.trust, today=today)

    def other_pair(self, name: str) -> tuple[signing_keys.Signer, Path]:
        """Return another signer and its public key, which nobody trusts."""
        prefix = self.folder / name
        argv = cosign.generate_key_pair(self.run_context.bin / "cosign", prefix)
        environment = {each: value for each, value in os.environ.items() if each != "COSIGN_PASSWORD"}
        subprocess.run(argv, input=b"other", env=environment, check=True, capture_output=True, timeout=60)
        return signing_keys.Signer(f"{prefix}.key", "other"), Path(f"{prefix}.pub")


def tar(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("hello")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def scan(vulnerabilities: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a scan's predicate, with Trivy's report as small as it can be."""
    report = {
        "SchemaVersion": 2,
        "ArtifactName": "api",
        "ArtifactType": "container_image",
        "Metadata": {"ImageID": "sha256:1", "OS": {"Family": "debian", "Name": "12"}},
        "Results": [
            {"Target": "api", "Class": "os-pkgs", "Packages": [{"Name": "a"}], "Vulnerabilities": vulnerabilities},
            {"Target": "Dockerfile", "Class": "config", "MisconfSummary": {"Successes": 1, "Failures": 0}},
        ],
    }
    return {"invocation": {}, "scanner": {"uri": "trivy", "result": report}, "metadata": {}}


VULNERABLE = scan(
    [
        {
            "VulnerabilityID": "CVE-2026-0001",
            "PkgName": "a",
            "InstalledVersion": "1",
            "FixedVersion": "2",
            "Severity": "CRITICAL",
        }
    ]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("evidence")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    link_tools(bin_folder, ("cosign", "registry"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host = f"127.0.0.1:{port}"
    (folder / "registry.yml").write_text(registry_config(host, folder / "data"))
    child = subprocess.Popen(
        [bin_folder / "registry", "serve", folder / "registry.yml"],
        env={"OTEL_TRACES_EXPORTER": "none"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(host)
        root = folder / "shop"
        root.mkdir()
        (root / "workspace.toml").write_text(SETTINGS.format(registry=host))
        (bin_folder / "cosign").rename(bin_folder / "cosign-itself")
        (bin_folder / "cosign").write_text(WATCHED.format(folder=folder, real=bin_folder / "cosign-itself"))
        (bin_folder / "cosign").chmod(0o755)
        run_context = RunContext(workspace.load_workspace(root), bin_folder, {})
        (root / ".slipway" / "signing").mkdir(parents=True)
        (root / ".slipway" / "signing" / "password").write_text(f"{SENTINEL}\n")
        assert signing_keys.ensure_key_pair(run_context, {})
        yield World(run_context, host, folder)
    finally:
        child.terminate()
        child.wait(timeout=30)


def wait_for(host: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if requests.get(f"http://{host}/v2/", timeout=1).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError("the registry did not start")


@pytest.fixture(scope="module")
def shipped(world: World) -> tuple[str, evidence.VerifiedImage]:
    """One image with all its evidence; tests that change something take an image of their own."""
    ref = world.image()
    world.attach(ref)
    return ref, world.verify(EvidenceRequirement("api", ref, CONTENT, "f" * 40))["api"]


def locked(proof: evidence.VerifiedImage, **instead: Any) -> EvidenceRequirement:
    """Return what a lock asks for that was written from a proof."""
    return replace(
        EvidenceRequirement(proof.service, proof.ref, proof.content, proof.commit, proof.evidence), **instead
    )


def wrong(world: World, *wanted: EvidenceRequirement) -> str:
    """Return what the verification says is wrong."""
    with pytest.raises(EvidenceError) as caught:
        world.verify(*wanted)
    assert caught.value.exit_code == 4
    assert "invoke ship" in caught.value.remedy
    return caught.value.detail


def test_all_evidence_is_attached_and_proves_the_image(
    world: World, shipped: tuple[str, evidence.VerifiedImage]
) -> None:
    """The whole evidence of one image, by the real cosign on a real registry: all that later tests forge."""
    ref, proof = shipped
    assert set(proof.evidence) == set(cosign.EVIDENCE_KINDS)
    assert {each["digest"] for each in world.listed(ref)} == set(proof.evidence.values())
    assert (proof.content, proof.commit) == (CONTENT, "f" * 40)
    assert proof.scan_report["ArtifactType"] == "container_image"
    assert (world.root / proof.signer).read_text().startswith("-----BEGIN PUBLIC KEY-----")
    assert world.verify(locked(proof))["api"] == proof


def test_anybody_can_verify_it_with_cosign_alone(world: World, shipped: tuple[str, evidence.VerifiedImage]) -> None:
    ref, proof = shipped
    offline = ["--key", str(world.root / proof.signer), "--insecure-ignore-tlog", "--allow-http-registry"]
    program = world.run_context.bin / "cosign"
    said = ["-a", f"content={CONTENT}", "-a", "service=api", "-a", "workspace=shop"]
    commands = [[program, "verify", *offline, *said, ref]]
    commands += [
        [program, "verify-attestation", *offline, "--type", cosign.PREDICATE_TYPES[each], ref] for each in ATTESTED
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def test_attaching_again_adds_nothing(world: World, shipped: tuple[str, evidence.VerifiedImage]) -> None:
    ref, _ = shipped
    before = world.listed(ref)
    world.attach(ref)
    assert world.listed(ref) == before


@pytest.mark.parametrize("at", ["spdx", "signing"])
def test_an_attach_that_was_killed_is_continued(world: World, at: str) -> None:
    """Signing that was killed at any step is finished by the next run, and nothing is attached twice."""
    ref = world.image()
    said = {
        "root": str(world.root),
        "bin": str(world.run_context.bin),
        "ref": ref,
        "content": CONTENT,
        "files": {kind: str(path) for kind, path in world.files().items()},
        "at": at,
    }
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED], input=json.dumps(said), text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL
    half = world.listed(ref)
    assert len(half) == ["sbom", "spdx", "scan", "provenance", "tests", "signing"].index(at)
    assert "signature: none is attached" in wrong(world, EvidenceRequirement("api", ref, CONTENT))
    world.attach(ref)
    assert [each for each in world.listed(ref) if each in half] == half
    assert len(world.listed(ref)) == len(cosign.EVIDENCE_KINDS)
    world.verify(EvidenceRequirement("api", ref, CONTENT))


def test_an_image_that_nobody_signed_is_refused(world: World) -> None:
    detail = wrong(world, EvidenceRequirement("api", world.image()))
    assert all(f"api: {kind}: none is attached" in detail for kind in cosign.EVIDENCE_KINDS)


def test_an_image_that_is_gone_is_refused(world: World, shipped: tuple[str, evidence.VerifiedImage]) -> None:
    ref = f"{shipped[0].partition('@')[0]}@sha256:{'0' * 64}"
    assert f"{ref} is not in the registry" in wrong(world, EvidenceRequirement("api", ref))


def test_a_signature_by_another_key_counts_for_nothing(world: World) -> None:
    ref = world.image()
    signer, _ = world.other_pair("stranger")
    world.attach(ref, signer)
    detail = wrong(world, EvidenceRequirement("api", ref, CONTENT))
    assert all(
        f"{kind}: it was made with a key that policy/keys does not hold" in detail for kind in cosign.EVIDENCE_KINDS
    )


def test_a_signature_that_only_claims_the_trusted_key_is_refused_by_cosign(world: World) -> None:
    """A forged key's name is not believed: the mathematics of a real cosign decides."""
    ref = world.image()
    signer, _ = world.other_pair("claimant")
    world.attach(ref, signer)
    bundles = [world.bundle(ref, each["digest"]) for each in world.listed(ref)]
    world.list_only(ref, [])
    for bundle in bundles:
        bundle["verificationMaterial"]["publicKey"]["hint"] = world.trust.keys[0].hint
        world.plant(ref, bundle)
    detail = wrong(world, EvidenceRequirement("api", ref, CONTENT))
    assert all(f"{kind}: cosign refuses it: failed to verify signature" in detail for kind in cosign.EVIDENCE_KINDS)


def test_attestations_of_another_key_do_not_count_beside_a_good_signature(world: World) -> None:
    """Every attestation needs a trusted key of its own: a good signature beside it vouches for nothing else."""
    ref = world.image()
    signer, _ = world.other_pair("half")
    world.attach(ref, signer)
    world.attach(ref, sbom=None)
    detail = wrong(world, EvidenceRequirement("api", ref, CONTENT))
    assert detail == "api: sbom: it was made with a key that policy/keys does not hold"


@pytest.mark.parametrize("kind", ATTESTED)
def test_each_kind_of_evidence_is_asked_for(world: World, kind: str) -> None:
    ref = world.image()
    world.attach(ref, **{kind: None})
    assert wrong(world, EvidenceRequirement("api", ref, CONTENT)) == f"api: {kind}: none is attached"


def test_evidence_of_one_image_is_none_for_another(world: World, shipped: tuple[str, evidence.VerifiedImage]) -> None:
    ref, proof = shipped
    other = world.image()
    planted = {kind: world.plant(other, world.bundle(ref, digest)) for kind, digest in proof.evidence.items()}
    for wanted in (EvidenceRequirement("api", other, CONTENT), locked(proof, ref=other, evidence=planted)):
        detail = wrong(world, wanted)
        assert all(f"{kind}: cosign refuses it: " in detail for kind in cosign.EVIDENCE_KINDS)
        assert "does not match any digest in statement" in detail


def test_one_kind_of_evidence_is_none_of_another_kind(
    world: World, shipped: tuple[str, evidence.VerifiedImage]
) -> None:
    _, proof = shipped
    once = {**proof.evidence, "scan": proof.evidence["sbom"]}
    assert "scan: sha256:" in wrong(world, locked(proof, evidence=once))
    crosswise = {**once, "sbom": proof.evidence["scan"]}
    assert "sbom: sha256:" in wrong(world, locked(proof, evidence=crosswise))


def test_a_changed_statement_is_refused_by_cosign(world: World) -> None:
    ref = world.image()
    world.attach(ref, tests={"result": "FAILED"})
    assert "tests: they say 'FAILED'" in wrong(world, EvidenceRequirement("api", ref, CONTENT))
    for entry in world.listed(ref):
        bundle = world.bundle(ref, entry["digest"])
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        if statement["predicateType"] == cosign.PREDICATE_TYPES["tests"]:
            statement["predicate"]["result"] = "PASSED"
            bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
            forged = world.plant(ref, bundle)
    refused = wrong(world, EvidenceRequirement("api", ref, CONTENT))
    assert "tests: they say 'FAILED'" in refused  # the genuine one still counts, the newer forged one does not
    world.list_only(ref, [each for each in world.listed(ref) if each["digest"] == forged])
    assert "tests: cosign refuses it: failed to verify signature" in wrong(
        world, EvidenceRequirement("api", ref, CONTENT)
    )


@pytest.mark.parametrize(
    ("instead", "expected"),
    [
        ({"content": "d" * 64}, f"it says content `{CONTENT}`, not `{'d' * 64}`"),
        ({"commit": "e" * 40}, f"it says commit `{'f' * 40}`, not `{'e' * 40}`"),
        ({"service": "web"}, "it says service `api`, not `web`"),
    ],
)
def test_a_signature_about_something_else_is_refused(
    world: World, shipped: tuple[str, evidence.VerifiedImage], instead: dict[str, str], expected: str
) -> None:
    assert expected in wrong(world, locked(shipped[1], **instead))


def test_another_workspaces_image_is_refused(world: World, shipped: tuple[str, evidence.VerifiedImage]) -> None:
    here = world.run_context.workspace
    renamed = replace(world.run_context, workspace=replace(here, settings=_renamed(here.settings)))
    with pytest.raises(EvidenceError) as caught:
        evidence.verify_evidence(renamed, [locked(shipped[1])], world.trust, today=TODAY)
    assert "it says workspace `shop`, not `stall`" in caught.value.detail


def _renamed(settings: workspace.WorkspaceSettings) -> workspace.WorkspaceSettings:
    import msgspec

    return msgspec.structs.replace(settings, name="stall")


def test_a_lock_whose_evidence_is_no_longer_there_is_refused(world: World) -> None:
    ref = world.image()
    world.attach(ref)
    proof = world.verify(EvidenceRequirement("api", ref, CONTENT))["api"]
    world.list_only(ref, [each for each in world.listed(ref) if each["digest"] != proof.evidence["sbom"]])
    detail = wrong(world, locked(proof))
    assert detail == f"api: sbom: {proof.evidence['sbom'][:19]}, which the lock names, is not attached to the image"


def test_a_lock_that_names_only_some_evidence_is_refused(
    world: World, shipped: tuple[str, evidence.VerifiedImage]
) -> None:
    some = {kind: digest for kind, digest in shipped[1].evidence.items() if kind != "scan"}
    assert wrong(world, locked(shipped[1], evidence=some)) == "api: scan: the lock names none"


def test_signatures_of_every_trusted_key_count_until_it_is_withdrawn(
    world: World, shipped: tuple[str, evidence.VerifiedImage]
) -> None:
    signer, public = world.other_pair("second")
    trusted = trust.keys_folder(world.root) / "second.pub"
    ref = world.image("web")
    try:
        trusted.write_text(public.read_text())
        world.attach(ref, signer, "web")
        web = EvidenceRequirement("web", ref, CONTENT)
        proofs = world.verify(locked(shipped[1]), web)
        assert {proofs["api"].signer, proofs["web"].signer} == {shipped[1].signer, "policy/keys/second.pub"}
    finally:
        trusted.unlink(missing_ok=True)
    detail = wrong(world, locked(shipped[1]), web)
    assert "api:" not in detail
    assert "web: signature: it was made with a key" in detail


def test_what_is_wrong_with_every_service_is_said_at_once(
    world: World, shipped: tuple[str, evidence.VerifiedImage]
) -> None:
    unsigned = [EvidenceRequirement(name, world.image(name), CONTENT) for name in ("web", "worker")]
    detail = wrong(world, locked(shipped[1]), *unsigned)
    assert "web: signature" in detail
    assert "worker: signature" in detail


def test_an_exception_that_has_expired_refuses_what_was_shipped_before(world: World) -> None:
    ref = world.image()
    world.attach(ref, scan=VULNERABLE)
    wanted = EvidenceRequirement("api", ref, CONTENT)
    assert world.verify(wanted, today=date(2026, 12, 31))["api"].scan_report["Results"]
    with pytest.raises(GateRefused, match="api: the scan refuses 1 finding") as caught:
        world.verify(wanted, today=date(2027, 1, 1))
    assert caught.value.exit_code == 3


def test_a_scan_that_is_refused_today_gives_way_to_one_that_passes(world: World) -> None:
    ref = world.image()
    world.attach(ref, scan=json.loads(json.dumps(VULNERABLE).replace("CVE-2026", "CVE-2025")))
    wanted = EvidenceRequirement("api", ref, CONTENT)
    with pytest.raises(GateRefused, match="api: the scan refuses 1 finding"):
        world.verify(wanted)
    world.attach(ref)
    assert world.verify(wanted)["api"].scan_report == scan([])["scanner"]["result"]


def test_a_report_that_is_none_refuses(world: World) -> None:
    ref = world.image()
    world.attach(ref, scan={"scanner": {"result": {}}})
    assert "scan: the scan's report is not one of an image" in wrong(world, EvidenceRequirement("api", ref, CONTENT))


def test_nothing_is_verified_where_nobody_is_trusted(world: World, shipped: tuple[str, evidence.VerifiedImage]) -> None:
    with pytest.raises(EvidenceError, match="policy/ trusts nobody"):
        evidence.verify_evidence(world.run_context, [locked(shipped[1])], trust.TrustedSigners(), today=TODAY)


def test_a_registry_that_is_down_is_no_verdict_on_the_evidence(world: World) -> None:
    ref = f"127.0.0.1:9/shop/release/api@sha256:{'0' * 64}"
    with pytest.raises(SlipwayError, match="does not answer") as caught:
        world.verify(EvidenceRequirement("api", ref))
    assert caught.value.exit_code == 1


def test_what_was_verified_today_is_remembered_as_long_as_nothing_differs(world: World) -> None:
    ref = world.image()
    world.attach(ref)
    proof = world.verify(EvidenceRequirement("api", ref, CONTENT))["api"]
    mine = locked(proof)
    assert evidence.cached_verifications(world.run_context, [mine], world.trust, today=TODAY) == {"api"}
    assert not evidence.cached_verifications(world.run_context, [mine], world.trust, today=date(2026, 11, 24))
    assert not evidence.cached_verifications(world.run_context, [mine], replace(world.trust, keys=()), today=TODAY)
    assert not evidence.cached_verifications(
        world.run_context, [replace(mine, content="d" * 64)], world.trust, today=TODAY
    )
    assert not evidence.cached_verifications(world.run_context, [replace(mine, evidence={})], world.trust, today=TODAY)
    world.list_only(ref, world.listed(ref)[1:])
    assert not evidence.cached_verifications(world.run_context, [mine], world.trust, today=TODAY)


def test_a_wrong_password_refuses_before_anything_is_attached(world: World) -> None:
    password = world.root / ".slipway" / "signing" / "password"
    password.write_text("wr0ng-passw0rd")
    try:
        with pytest.raises(GateRefused, match="its password is another one"):
            world.signer()
        password.unlink()
        with pytest.raises(GateRefused, match=r"the password of .* is missing"):
            world.signer()
    finally:
        password.write_text(SENTINEL)


def test_a_key_that_policy_does_not_trust_signs_nothing(world: World) -> None:
    public = world.trust.keys[0].path
    text = public.read_text()
    try:
        public.unlink()
        with pytest.raises(GateRefused, match="is not among policy/keys") as caught:
            world.signer()
        assert "invoke keys" in caught.value.remedy
        made = signing_keys.ensure_key_pair(world.run_context, {})
        assert made == signing_keys.KeyFiles(public, None)
        world.signer()
    finally:
        public.write_text(text)


def test_the_password_is_nowhere_but_in_its_file(world: World, shipped: tuple[str, evidence.VerifiedImage]) -> None:
    """Every cosign of this module was watched: its arguments, its environment, what it printed, what it left."""
    password = world.root / ".slipway" / "signing" / "password"
    kept = [
        path for path in world.folder.rglob("*") if path.is_file() and path not in (password, world.run_context.bin)
    ]
    assert any(path.suffix == ".log" for path in kept)
    assert " sign " in (world.folder / "argv").read_text()
    assert [str(path) for path in kept if SENTINEL.encode() in path.read_bytes()] == []
    assert SENTINEL not in repr(world.signer())
