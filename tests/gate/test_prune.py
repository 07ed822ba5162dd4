"""Retention on real registries: what is needed stays with its evidence, the rest goes, and its bytes come free."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.gate import registries
from tests.gate.registries import Referrers, Signer, front

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.model.gate_settings import RetentionSettings
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.prune import inventory, prune
from slipway._internal.prune.prune import PrunePlan
from slipway._internal.run import registry
from slipway._internal.run.registry import Registry
from slipway._internal.toolchain import registry_daemon as local
from slipway._internal.toolchain.install import ensure_tool

LATER = datetime.now(UTC) + timedelta(days=100)
"""When retention is reckoned: what the tests push is old then."""
ALL_GO = RetentionSettings(keep=0, days=1)


@dataclass
class Shop:
    """A workspace whose registry holds images."""

    run_context: RunContext
    folder: Path
    signer: Signer

    @property
    def workspace(self) -> Workspace:
        return self.run_context.workspace

    @property
    def registry_client(self) -> Registry:
        return Registry(self.workspace.registry)

    def ship(self, service: str, name: str, *, shared: bytes = b"", size: int = 20_000) -> str:
        """Push an image to a service's release repository, sign it, tag it; return its digest."""
        repository = self.workspace.release_repository(service)
        layout = registries.image(self.folder / f"{service}-{name}", name, shared=shared, size=size)
        digest = registry.push_by_digest(ensure_tool("crane"), layout, repository)
        self.signer.sign(f"{repository}@{digest}")
        self.registry_client.add_tag(registry.parse_reference(repository).repository, digest, f"h-{name}")
        return digest

    def lock(self, stack: str, service: str, digest: str) -> None:
        """Let a stack's lock name an image."""
        ref = f"{self.workspace.release_repository(service)}@{digest}"
        lock.save(self.workspace.root, lock.with_entries(lock.Lock(stack), {service: lock.LockEntry(ref, "c" * 64)}))

    def plan(self, **needed: str) -> PrunePlan:
        return prune.plan_prune(self.run_context, {digest: why for why, digest in needed.items()}, LATER, current={})

    def prune(self, **needed: str) -> prune.Freed:
        return prune.execute_prune(self.run_context, self.plan(**needed), NullReporter())

    def there(self, service: str, digest: str) -> bool:
        """Whether an image is there whole: its parts, and its evidence, which cosign verifies."""
        repository = registry.parse_reference(self.workspace.release_repository(service)).repository
        manifest = self.registry_client.find_manifest(repository, digest)
        if manifest is None:
            assert self.registry_client.find_manifest(repository, registry.fallback_tag(digest)) is None
            return False
        for part in manifest.children:
            assert self.registry_client.find_manifest(repository, part["digest"])
            for blob in self.registry_client.get_manifest(repository, part["digest"]).blobs:
                assert self.registry_client.read_blob(repository, blob["digest"])
        self.signer.verify(f"{self.workspace.release_repository(service)}@{digest}")
        return True


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A workspace with a registry of Slipway's own, on a machine where nothing else of Slipway runs."""
    crane, cosign = ensure_tool("crane"), ensure_tool("cosign")
    ensure_tool("registry")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DOCKER_CONFIG", str(registries.docker_config(tmp_path / "nobody", {})))
    for name in ("SLIPWAY_PUSH_CONFIG", "SLIPWAY_PULL_CONFIG", "COSIGN_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for tool in (crane, cosign):
        (bin_folder / tool.name).symlink_to(tool)
    address = f"127.0.0.1:{registries.free_port()}"
    local.ensure_local_registry(address)
    root = tmp_path / "shop"
    root.mkdir()
    workspace = Workspace(root, WorkspaceSettings("shop", address, retention=ALL_GO), ())
    try:
        yield Shop(RunContext(workspace, bin_folder, {}), tmp_path, Signer.make(tmp_path / "signer"))
    finally:
        local.stop_local_registry(address)


def test_what_is_needed_stays_whole_and_the_rest_goes_with_its_bytes(shop: Shop) -> None:
    """Retention on a real registry with garbage collection: what a lock or release names stays, the rest's bytes go."""
    base = b"a layer that all of them have" * 1000
    locked, released, old = (shop.ship("api", name, shared=base) for name in ("locked", "released", "old"))
    gone = shop.ship("web", "gone", shared=base)
    shop.lock("prod", "api", locked)
    planned = shop.plan(release=released)
    verdicts = {verdict.image.digest: (verdict.is_kept, verdict.why) for _, verdict in planned.decisions}
    assert verdicts[locked] == (True, "deploy/prod.lock.json names it")
    assert verdicts[released] == (True, "release")
    assert not verdicts[old][0] and not verdicts[gone][0]
    assert len(verdicts) == 4  # neither parts nor evidence are images
    assert len(planned.deletions) == 2 * (
        3 + 4
    )  # index, two manifests; signature, attestation, their index of then and now
    before = local.storage_size(shop.workspace.registry)
    freed = prune.execute_prune(shop.run_context, planned, NullReporter())
    assert freed.registries == planned.bytes == before - local.storage_size(shop.workspace.registry)
    assert freed.registries > 2 * 20_000
    assert shop.there("api", locked) and shop.there("api", released)
    assert not shop.there("api", old) and not shop.there("web", gone)
    assert shop.plan(release=released).is_empty


def test_nothing_is_deleted_by_planning(shop: Shop) -> None:
    digest = shop.ship("api", "one")
    planned = shop.plan()
    assert planned.deletions
    assert shop.there("api", digest)
    [(what, why, frees)] = planned.rows()
    assert what == f"{shop.workspace.release_repository('api')} h-one"
    assert why == "nothing needs it, and it is older than 1 days and not one of the 0 newest"
    assert frees == prune.format_bytes(planned.bytes)
    assert planned.summary().startswith("1 images and 0 results would go")


def test_a_part_that_two_images_share_stays_while_one_of_them_does(shop: Shop) -> None:
    stays, goes = shop.ship("api", "stays"), shop.ship("api", "goes")
    repository = "shop/release/api"
    one, two = (shop.registry_client.get_manifest(repository, each) for each in (stays, goes))
    mixed = {**one.content, "manifests": [*one.children, *two.children]}
    body = json.dumps(mixed).encode()
    shop.registry_client.put_manifest(repository, registry.Manifest(body, "", one.media_type), "h-mixed")
    digest = str(shop.registry_client.resolve_digest(repository, "h-mixed"))
    shop.signer.sign(f"{shop.workspace.release_repository('api')}@{digest}")
    shop.prune(lock=digest)
    assert (
        shop.registry_client.find_manifest(repository, stays) is None
        and shop.registry_client.find_manifest(repository, goes) is None
    )
    assert shop.there("api", digest)


def test_a_needed_image_whose_tag_somebody_moved_stays(shop: Shop) -> None:
    needed, other = shop.ship("api", "needed"), shop.ship("api", "other")
    repository = "shop/release/api"
    shop.registry_client.put_manifest(repository, shop.registry_client.get_manifest(repository, other), "h-needed")
    shop.lock("prod", "api", needed)
    shop.prune()
    assert shop.there("api", needed)
    assert not shop.there("api", other)


def test_an_index_that_lists_a_needed_image_as_evidence_does_not_delete_it(shop: Shop) -> None:
    needed, goes = shop.ship("api", "needed"), shop.ship("api", "goes")
    repository = "shop/release/api"
    index = shop.registry_client.get_manifest(repository, registry.fallback_tag(goes))
    real = shop.registry_client.get_manifest(repository, needed)
    wrong = {"digest": needed, "mediaType": real.media_type, "size": len(real.bytes)}
    body = json.dumps({**index.content, "manifests": [*index.children, wrong]}).encode()
    shop.registry_client.put_manifest(
        repository, registry.Manifest(body, "", index.media_type), registry.fallback_tag(goes)
    )
    shop.lock("prod", "api", needed)
    shop.prune()
    assert shop.there("api", needed) and not shop.there("api", goes)


@pytest.mark.parametrize("deleted", [1, 2, 3, 4, 5, 7])
def test_a_run_killed_in_the_middle_loses_nothing_needed_and_the_next_takes_the_rest(
    shop: Shop, deleted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention may be killed between any two deletions: nothing needed is lost, and the next run goes on."""
    stays = shop.ship("api", "stays")
    for name in ("one", "two"):
        shop.ship("api", name)
    whole = Registry.delete_manifest
    calls = []

    def killed(self: Registry, repository: str, digest: str) -> bool:
        if len(calls) == deleted:
            raise KeyboardInterrupt
        calls.append(digest)
        return whole(self, repository, digest)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "delete_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            shop.prune(lock=stays)
    assert shop.there("api", stays)
    shop.prune(lock=stays)
    assert shop.there("api", stays)
    assert (
        shop.registry_client.list_tags("shop/release/api")
        and len(shop.registry_client.list_tags("shop/release/api")) == 2
    )
    assert shop.plan(lock=stays).is_empty
    left = inventory.take_inventory(
        shop.registry_client,
        "shop/release/api",
        "release",
        local.list_revisions(shop.workspace.registry, "shop/release/api"),
    )
    assert set(left.manifests) == {*left.with_dependents(stays)}
    assert {each.digest for each in left.images()} == {stays}


def test_a_run_killed_before_garbage_was_collected_has_it_collected_by_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ship("api", "one")
    before = local.storage_size(shop.workspace.registry)

    def killed(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(local, "collect_garbage", killed)
        with pytest.raises(KeyboardInterrupt):
            shop.prune()
    assert local.storage_size(shop.workspace.registry) == before
    assert shop.prune().registries == before - local.storage_size(shop.workspace.registry) > 0
    assert shop.plan().is_empty


def test_the_registry_serves_again_when_collecting_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = shop.ship("api", "one")

    def broken(*_: object, **__: object) -> object:
        raise SlipwayError("it broke")

    monkeypatch.setattr(local, "run", broken)
    with pytest.raises(SlipwayError, match="it broke"):
        local.collect_garbage(shop.workspace.registry)
    assert shop.there("api", digest)


def test_a_damaged_lock_stops_everything(shop: Shop) -> None:
    digest = shop.ship("api", "one")
    (shop.workspace.root / "deploy").mkdir()
    (shop.workspace.root / "deploy" / "prod.lock.json").write_text("{")
    with pytest.raises(EvidenceError, match=r"prod\.lock"):
        shop.plan()
    assert shop.there("api", digest)


def test_what_became_needed_since_the_plan_stays(shop: Shop) -> None:
    digest, other = shop.ship("api", "one"), shop.ship("api", "two")
    planned = shop.plan()
    prune.execute_prune(shop.run_context, planned, NullReporter(), {digest: "a release of this minute"})
    assert shop.there("api", digest)
    assert not shop.there("api", other)


def test_development_images_and_results_that_are_not_of_the_present_sources_go(shop: Shop) -> None:
    repository = shop.workspace.repository("api")
    crane = ensure_tool("crane")
    digests = {
        name: registry.push_layout(
            crane, registries.image(shop.folder / name, name, size=9000), f"{repository}:h-{name}"
        )
        for name in ("now", "then")
    }
    for kind in ("oci", "gate"):
        for name in ("now", "then"):
            folder = shop.workspace.scratch / kind / "api" / name
            folder.mkdir(parents=True)
            (folder / "file").write_bytes(b"x" * 1000)
    planned = prune.plan_prune(shop.run_context, {}, LATER, current={"api": "now"})
    assert [folder.name for folder in planned.folders] == ["then", "then"]
    freed = prune.execute_prune(shop.run_context, planned, NullReporter())
    assert freed.folders == planned.folder_bytes == 2000
    assert shop.registry_client.find_manifest("shop/api", digests["now"]) and not shop.registry_client.find_manifest(
        "shop/api", digests["then"]
    )
    assert (shop.workspace.scratch / "gate" / "api" / "now" / "file").exists()
    shutil.rmtree(shop.workspace.scratch / "oci")


def test_other_workspaces_in_the_same_registry_are_left_alone(shop: Shop) -> None:
    base = b"".join(str(number).encode() for number in range(20_000))  # a layer that theirs has as well
    layout = registries.image(shop.folder / "theirs", "theirs", shared=base)
    digest = registry.push_layout(ensure_tool("crane"), layout, f"{shop.workspace.registry}/shopping/release/api:h-1")
    shop.ship("api", "one", shared=base)
    planned = shop.plan()
    assert prune.execute_prune(shop.run_context, planned, NullReporter()).registries == planned.bytes > 20_000
    assert shop.registry_client.resolve_digest("shopping/release/api", "h-1") == digest


@pytest.mark.parametrize("with_api", [False, True])
def test_a_registry_that_is_not_slipway_s_own_is_pruned_by_what_it_tells(
    shop: Shop, tmp_path: Path, with_api: bool
) -> None:
    with (
        registries.serve(tmp_path / "remote") as remote,
        front(remote.host, *([Referrers()] if with_api else [])) as at,
    ):
        settings = WorkspaceSettings("shop", at[0], retention=ALL_GO)
        there = Shop(
            RunContext(Workspace(shop.workspace.root, settings, ()), shop.run_context.bin, {}), shop.folder, shop.signer
        )
        stays, goes = there.ship("api", "stays"), there.ship("api", "goes")
        assert there.registry_client.has_referrers_api("shop/release/api", stays) == with_api
        planned = there.plan(lock=stays)
        assert planned.hosts_to_collect == () and planned.bytes > 20_000
        freed = prune.execute_prune(there.run_context, planned, NullReporter())
        assert freed.registries == 0  # it collects its garbage itself, one day
        assert there.there("api", stays)
        assert there.registry_client.find_manifest("shop/release/api", goes) is None
        for each in planned.deletions:
            assert there.registry_client.find_manifest("shop/release/api", each.digest) is None
        assert there.plan(lock=stays).is_empty
