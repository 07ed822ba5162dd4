"""Images are carried with all that proves them, and nothing is believed that a registry or a program says of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway._internal.run.process import ProcessResult
from slipway._internal.run.registries import transfer
from slipway._internal.run.registries.client import Manifest, Referrer, Registry

REPOSITORY = "shop/api"
IMAGE = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Store(Registry):
    """A registry in memory: manifests by digest, and tags."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.manifests: dict[str, Manifest] = {}
        self.tags: dict[str, str] = {}
        self.has_api = True
        self.hides: set[str] = set()
        self.down = False

    def put(self, content: dict[str, Any], *tags: str) -> str:
        data = json.dumps(content).encode()
        digest = digest_of(data)
        self.manifests[digest] = Manifest(data, digest, IMAGE)
        self.tags.update(dict.fromkeys(tags, digest))
        return digest

    def ping(self) -> None:
        if self.down:
            raise SlipwayError("the registry does not answer")

    def find_manifest(self, _repository: str, reference: str) -> Manifest | None:
        self.ping()
        return self.manifests.get(self.tags.get(reference, reference))

    def get_manifest(self, repository: str, reference: str) -> Manifest:
        found = self.find_manifest(repository, reference)
        if found is None:
            raise SlipwayError(f"{self.host} has no {reference}")
        return found

    def resolve_digest(self, repository: str, reference: str) -> str | None:
        found = self.find_manifest(repository, reference)
        return found.digest if found else None

    def has_referrers_api(self, _repository: str, _digest: str) -> bool:
        return self.has_api

    def list_referrers(self, _repository: str, digest: str, artifact_type: str = "") -> list[Referrer]:
        if not self.has_api:
            index = self.manifests.get(self.tags.get(digest.replace(":", "-"), ""))
            return [Referrer(str(each["digest"]), IMAGE, 1) for each in index.children] if index else []
        return [
            Referrer(each.digest, IMAGE, len(each.bytes))
            for each in self.manifests.values()
            if (each.content.get("subject") or {}).get("digest") == digest and each.digest not in self.hides
        ]

    def put_manifest(self, _repository: str, manifest: Manifest, reference: str) -> None:
        self.put(manifest.content, reference)


class World:
    """Two registries, and crane, which carries between a registry and a layout's folder."""

    def __init__(self) -> None:
        self.stores = {host: Store(host) for host in ("source.example", "target.example")}
        self.source, self.target = self.stores.values()
        self.fails: set[str] = set()
        self.damages = False
        self.ran: list[tuple[Sequence[str], dict[str, str]]] = []

    def registry(self, host: str, _config: Path | None = None, seconds: float = 0) -> Store:
        return self.stores[host]

    def run(self, argv: Sequence[str], *, env: dict[str, str], **_: Any) -> ProcessResult:
        argv = [str(word) for word in argv]
        verb = "pull" if "pull" in argv else "push"
        self.ran.append((argv, env))
        if verb in self.fails:
            return ProcessResult(1, f"{verb}: denied\n", "")
        ref = next(word for word in argv if "example/" in word)
        host, _, rest = ref.partition("/")
        layout = next(Path(word) for word in argv if word.startswith("/") and word != "/crane")
        if verb == "pull":
            digest = rest.partition("@")[2]
            write_layout(layout, b"{}" if self.damages else self.stores[host].manifests[digest].bytes)
        else:
            content = json.loads(read_layout(layout))
            tag = rest.rpartition(":")[2] if "@" not in rest else ""
            self.stores[host].put(content, *([tag] if tag else []))
        return ProcessResult(0, "", "")


def write_layout(folder: Path, data: bytes) -> str:
    digest = digest_of(data)
    blob = folder / "blobs" / "sha256" / digest.partition(":")[2]
    blob.parent.mkdir(parents=True)
    blob.write_bytes(data)
    descriptor = {"mediaType": IMAGE, "digest": digest, "size": len(data)}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return digest


def read_layout(folder: Path) -> bytes:
    (descriptor,) = json.loads((folder / "index.json").read_text())["manifests"]
    return (folder / "blobs" / "sha256" / descriptor["digest"].partition(":")[2]).read_bytes()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(transfer, "Registry", found.registry)
    monkeypatch.setattr(transfer, "run", found.run)
    monkeypatch.setattr(transfer, "verify_layout", transfer.oci_digest)
    monkeypatch.setattr(transfer, "login_command", lambda host, _config: f"docker login {host}")
    for name in ("is_plain_http", "login_command"):
        monkeypatch.setattr(Store, name, property(lambda self: f"docker login {self.host}"), raising=False)
    return found


def image(name: str) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": IMAGE, "annotations": {"name": name}, "layers": []}


def layout_of(folder: Path, name: str = "api") -> tuple[Path, str]:
    data = json.dumps(image(name)).encode()
    return folder / name, write_layout(folder / name, data)


TAG = f"target.example/{REPOSITORY}:h-1"


def test_a_push_is_believed_only_when_the_registry_has_these_bytes(world: World, tmp_path: Path) -> None:
    layout, digest = layout_of(tmp_path)
    assert transfer.push_layout(Path("/crane"), layout, TAG) == digest
    assert world.target.tags == {"h-1": digest}
    assert transfer.push_layout(Path("/crane"), layout, TAG) == digest and len(world.ran) == 1, "it is there already"


def test_a_tag_of_another_image_is_never_moved(world: World, tmp_path: Path) -> None:
    layout, _digest = layout_of(tmp_path)
    other = world.target.put(image("other"), "h-1")
    with pytest.raises(GateRefused):
        transfer.push_layout(Path("/crane"), layout, TAG)
    assert world.target.tags == {"h-1": other} and world.ran == []


def test_a_registry_that_has_something_else_afterwards_is_found_out(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, digest = layout_of(tmp_path)
    monkeypatch.setattr(transfer, "_push_with_crane", lambda *_: world.target.put(image("other"), "h-1"))
    with pytest.raises(SlipwayError, match=f"but {digest} was pushed"):
        transfer.push_layout(Path("/crane"), layout, TAG)


def test_a_push_that_fails_names_the_login_or_that_the_registry_is_down(world: World, tmp_path: Path) -> None:
    layout, _digest = layout_of(tmp_path)
    world.fails.add("push")
    with pytest.raises(SlipwayError, match="was not pushed") as failed:
        transfer.push_layout(Path("/crane"), layout, TAG)
    assert "docker login target.example" in failed.value.remedy and "push: denied" in failed.value.detail
    with pytest.raises(SlipwayError, match="was not pushed"):
        transfer.push_by_digest(Path("/crane"), layout, f"target.example/{REPOSITORY}")


def test_an_image_goes_up_by_digest_without_a_tag_and_once(world: World, tmp_path: Path) -> None:
    layout, digest = layout_of(tmp_path)
    for _ in range(2):
        pushed = transfer.push_by_digest(
            Path("/crane"), layout, f"target.example/{REPOSITORY}", environment={"DOCKER_CONFIG": "/login"}
        )
        assert pushed == digest
    assert world.target.tags == {} and [*world.target.manifests] == [digest]
    assert [env for _, env in world.ran] == [{"DOCKER_CONFIG": "/login"}]


def copied(world: World, digest: str, tmp_path: Path) -> transfer.CopyResult:
    return transfer.copy_image(
        Path("/crane"),
        f"source.example/{REPOSITORY}@{digest}",
        f"target.example/{REPOSITORY}",
        scratch=tmp_path / "scratch",
        logins=transfer.CopyLogins(push=Path("/push"), pull=Path("/pull")),
    )


def evidence(store: Store, subject: str, name: str = "signature") -> str:
    return store.put({**image(name), "subject": {"mediaType": IMAGE, "digest": subject, "size": 1}})


def test_a_copy_brings_the_image_its_evidence_and_the_evidence_of_that(world: World, tmp_path: Path) -> None:
    digest = world.source.put(image("api"))
    signature = evidence(world.source, digest)
    of_that = evidence(world.source, signature, "countersignature")
    found = copied(world, digest, tmp_path)
    assert found == transfer.CopyResult(digest, (signature, of_that))
    assert {*world.target.manifests} == {digest, signature, of_that}
    assert {env["DOCKER_CONFIG"] for argv, env in world.ran if "pull" in argv} == {"/pull"}
    assert {env["DOCKER_CONFIG"] for argv, env in world.ran if "push" in argv} == {"/push"}
    before = len(world.ran)
    assert copied(world, digest, tmp_path) == found and len(world.ran) == before
    assert [*(tmp_path / "scratch").iterdir()] == []


def test_only_a_digest_is_copied(world: World, tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="names no digest"):
        transfer.copy_image(Path("/crane"), "source.example/shop/api:latest", "target.example/x", scratch=tmp_path)


def test_bytes_that_are_not_what_the_digest_says_are_refused(world: World, tmp_path: Path) -> None:
    digest = world.source.put(image("api"))
    world.damages = True
    with pytest.raises(GateRefused, match="came as"):
        copied(world, digest, tmp_path)
    assert world.target.manifests == {}


def test_evidence_of_another_image_stops_the_copy(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, other = world.source.put(image("api")), world.source.put(image("other"))
    strange = evidence(world.source, other)
    monkeypatch.setattr(world.source, "list_referrers", lambda *_: [Referrer(strange, IMAGE, 1)])
    with pytest.raises(EvidenceError, match=f"belongs to {other}"):
        copied(world, digest, tmp_path)
    del world.source.manifests[strange]
    with pytest.raises(EvidenceError, match="is not there"):
        copied(world, digest, tmp_path)


def test_a_source_that_cannot_be_read_names_the_login(world: World, tmp_path: Path) -> None:
    digest = world.source.put(image("api"))
    world.fails.add("pull")
    with pytest.raises(SlipwayError, match="could not be fetched") as failed:
        copied(world, digest, tmp_path)
    assert "docker login source.example" in failed.value.remedy


def test_a_target_that_keeps_no_referrers_gets_an_index_of_them(world: World, tmp_path: Path) -> None:
    digest = world.source.put(image("api"))
    signature, sbom = evidence(world.source, digest), evidence(world.source, digest, "sbom")
    world.target.has_api = False
    assert {*copied(world, digest, tmp_path).evidence} == {signature, sbom}
    assert {each.digest for each in world.target.list_referrers(REPOSITORY, digest)} == {signature, sbom}
    assert digest.replace(":", "-") in world.target.tags


def test_a_target_that_never_tells_of_the_evidence_is_an_error(world: World, tmp_path: Path) -> None:
    digest = world.source.put(image("api"))
    world.target.hides.add(evidence(world.source, digest))
    with pytest.raises(SlipwayError, match="does not tell of 1 signatures or attestations"):
        copied(world, digest, tmp_path)


def test_an_image_whose_parts_are_missing_is_pushed_again(world: World, tmp_path: Path) -> None:
    part = world.source.put(image("amd64"))
    index = {"schemaVersion": 2, "manifests": [{"mediaType": IMAGE, "digest": part, "size": 1}]}
    digest = world.source.put(index)
    world.target.put(index)
    assert not transfer._is_complete(world.target, REPOSITORY, digest)
    copied(world, digest, tmp_path)
    assert len(world.ran) == 2, "it was fetched and pushed although its own manifest was there"
