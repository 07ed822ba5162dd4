"""`invoke prune` over registries in memory: nothing that is needed goes, and a run that was stopped is taken up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.model.workspace import Workspace, load_workspace
from slipway._internal.prune import prune
from slipway._internal.prune.inventory import CREATED_ANNOTATION, take_inventory
from slipway._internal.prune.prune import PrunePlan, execute_prune, format_bytes, plan_prune
from slipway._internal.run.process import ProcessResult
from slipway._internal.run.registry import Manifest, Referrer, Registry

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(days=900), NOW - timedelta(hours=1)
HOST = "127.0.0.1:5000"
RELEASE, DEVELOPMENT = "shop/release/api", "shop/api"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class MemoryRegistry(Registry):
    """A registry whose repositories are tables; several objects speak of the same one."""

    def __init__(self, host: str = HOST, _config: Path | None = None) -> None:
        self.host = host
        self.manifests: dict[str, dict[str, Manifest]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.deleted: list[tuple[str, str]] = []
        self.refuses_after: int | None = None
        self.has_api = True
        self.tells_catalog = True

    def put(self, repository: str, content: Mapping[str, Any], *tags: str) -> str:
        data = json.dumps(content).encode()
        digest = digest_of(data)
        self.manifests.setdefault(repository, {})[digest] = Manifest(data, digest, "")
        self.tags.setdefault(repository, {}).update(dict.fromkeys(tags, digest))
        return digest

    def image(self, name: str, *tags: str, repository: str = RELEASE, layers: Mapping[str, int] | None = None) -> str:
        sizes = {f"layer-{name}": 1000} if layers is None else layers
        blobs = [{"digest": digest_of(blob.encode()), "size": size} for blob, size in sizes.items()]
        return self.put(repository, {"name": name, "layers": blobs}, *tags)

    def index(self, *parts: str, tag: str, repository: str = RELEASE) -> str:
        return self.put(repository, {"manifests": [{"digest": part, "size": 1} for part in parts]}, tag)

    def evidence(self, subject: str, created: datetime, repository: str = RELEASE) -> str:
        annotations = {CREATED_ANNOTATION: created.isoformat()}
        return self.put(repository, {"subject": {"digest": subject, "size": 1}, "annotations": annotations})

    def list_repositories(self) -> tuple[str, ...] | None:
        return tuple(self.manifests) if self.tells_catalog else None

    def list_tags(self, repository: str) -> tuple[str, ...]:
        there = self.manifests.get(repository, {})
        return tuple(tag for tag, digest in self.tags.get(repository, {}).items() if digest in there)

    def find_manifest(self, repository: str, reference: str) -> Manifest | None:
        digest = self.tags.get(repository, {}).get(reference, reference)
        return self.manifests.get(repository, {}).get(digest)

    def resolve_digest(self, repository: str, reference: str) -> str | None:
        found = self.find_manifest(repository, reference)
        return found.digest if found else None

    def has_referrers_api(self, repository: str, digest: str) -> bool:
        return self.has_api

    def list_referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[Referrer]:
        return [
            Referrer(each.digest, "", 1)
            for each in self.manifests.get(repository, {}).values()
            if (each.content.get("subject") or {}).get("digest") == digest
        ]

    def delete_manifest(self, repository: str, digest: str) -> bool:
        if self.refuses_after is not None and len(self.deleted) >= self.refuses_after:
            raise SlipwayError("the registry refuses")
        self.deleted.append((repository, digest))
        return self.manifests[repository].pop(digest, None) is not None


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> MemoryRegistry:
    """The one registry, which is not Slipway's own; no builder answers."""
    found = MemoryRegistry()
    monkeypatch.setattr(prune, "Registry", lambda host, _config: found)
    monkeypatch.setattr(prune.local, "is_started_by_slipway", lambda _host: False)
    monkeypatch.setattr(prune, "_builder_answers", lambda: False)
    return found


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    (tmp_path / "services" / "api").mkdir(parents=True)
    (tmp_path / "services" / "api" / "service.toml").write_text('kind = "python-api"\nroute = "/"\nport = 8000\n')
    (tmp_path / "services" / "api" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "workspace.toml").write_text(f'name = "shop"\nregistry = "{HOST}"\n[retention]\nkeep = 1\ndays = 30\n')
    return RunContext(load_workspace(tmp_path), tmp_path / "bin", {})


def planned(context: RunContext, needed: Mapping[str, str] | None = None, **current: str) -> PrunePlan:
    return plan_prune(context, needed or {}, NOW, current=current)


def gone(plan: PrunePlan) -> list[str]:
    return [deletion.digest for deletion in plan.deletions]


def old_images(registry: MemoryRegistry, count: int, **options: Any) -> list[str]:
    """Put released images, the newest first, each with evidence of its age."""
    digests = [registry.image(f"i{number}", f"h-{number}", **options) for number in range(count)]
    for number, digest in enumerate(digests):
        registry.evidence(digest, OLD - timedelta(days=number))
    return digests


def test_old_images_go_with_their_evidence_after_them_and_the_newest_stays(
    registry: MemoryRegistry, context: RunContext
) -> None:
    newest, older = old_images(registry, 2)
    plan = planned(context)
    assert gone(plan)[0] == older and newest not in gone(plan)
    assert len(gone(plan)) == 2, "its evidence goes, too, and that of the other stays"
    assert execute_prune(context, plan, NullReporter()).registries == 0, "it is not Slipway's own to collect"
    assert [digest for _, digest in registry.deleted] == gone(plan)
    assert planned(context).is_empty


def test_what_a_lock_or_a_release_names_stays_with_all_that_is_its(
    registry: MemoryRegistry, context: RunContext
) -> None:
    _newest, locked, released, lost = old_images(registry, 4)
    entry = lock.LockEntry(f"{HOST}/{RELEASE}@{locked}", "c" * 64, None)
    root = context.workspace.root
    lock.save(root, lock.with_entries(lock.load(root, "prod"), {"api": entry}))
    plan = planned(context, {released: "a release of prod"})
    assert gone(plan)[0] == lost and not {locked, released} & {*gone(plan)}
    reasons = {decision.image.digest: decision.why for _, decision in plan.decisions}
    assert reasons[locked] == "deploy/prod.lock.json names it" and reasons[released] == "a release of prod"


def test_a_needed_part_keeps_the_whole_and_what_is_shared_stays(registry: MemoryRegistry, context: RunContext) -> None:
    _newest = old_images(registry, 1)
    amd, arm, other = (registry.image(name) for name in ("amd", "arm", "other"))
    whole = registry.index(amd, arm, tag="h-whole")
    half = registry.index(amd, other, tag="h-half")
    for digest in (whole, half):
        registry.evidence(digest, OLD - timedelta(days=100))
    plan = planned(context, {arm: "a release"})
    assert half in gone(plan) and other in gone(plan)
    assert not {whole, amd, arm} & {*gone(plan)}, "a part that two images share stays with the one that stays"


def test_a_damaged_lock_stops_all_of_it(registry: MemoryRegistry, context: RunContext) -> None:
    old_images(registry, 2)
    (context.workspace.root / "deploy").mkdir()
    (context.workspace.root / "deploy" / "prod.lock.json").write_text("{")
    with pytest.raises(EvidenceError):
        planned(context)
    assert registry.deleted == []


def test_evidence_of_an_image_that_is_not_there_goes(registry: MemoryRegistry, context: RunContext) -> None:
    orphan = registry.evidence(f"sha256:{'0' * 64}", OLD)
    registry.tags[RELEASE]["sig"] = orphan
    (deletion,) = planned(context).deletions
    assert deletion.digest == orphan and "which is not there" in deletion.why


def test_what_the_sources_are_now_stays_and_an_age_that_is_unknown_is_no_reason_to_go(
    registry: MemoryRegistry, context: RunContext
) -> None:
    content = f"sha256:{'d' * 64}"
    registry.image("now", prune.content_tag(content), repository=DEVELOPMENT)
    registry.image("some", "h-some", repository=DEVELOPMENT)
    registry.image("base", "1", repository="shop/base-python")
    plan = planned(context, api=content)
    assert plan.is_empty
    assert {decision.why for _, decision in plan.decisions} == {
        "built from the present sources",
        "its age is unknown",
        "it has a tag, and is not a service's",
    }


def test_other_workspaces_repositories_are_not_looked_at(registry: MemoryRegistry, context: RunContext) -> None:
    registry.image("theirs", "h-1", repository="shop2/release/api")
    registry.image("theirs", "h-1", repository="team/shop/release/api")
    assert planned(context).decisions == ()


def test_without_a_catalog_the_services_repositories_are_known_by_name(
    registry: MemoryRegistry, context: RunContext
) -> None:
    registry.tells_catalog = False
    _newest, older = old_images(registry, 2)
    assert older in gone(planned(context))


def test_bytes_come_free_once_and_only_where_nothing_else_has_them(
    registry: MemoryRegistry, context: RunContext
) -> None:
    sizes = {"shared": 5000, "twice": 700}
    keeper = registry.image("keeper", "h-keep", layers={"shared": 5000})
    one = registry.image("one", "h-1", layers={**sizes, "own": 30})
    two = registry.image("two", "h-2", layers=sizes)
    for digest, days in ((keeper, 0), (one, 1), (two, 2)):
        registry.evidence(digest, OLD - timedelta(days=days))
    plan = planned(context)
    manifests = sum(len(registry.manifests[RELEASE][digest].bytes) for digest in gone(plan))
    assert {one, two} < {*gone(plan)}
    assert plan.bytes == 30 + 700 + manifests
    rows = plan.rows()
    assert [row[0] for row in rows][:2] == [f"{HOST}/{RELEASE} h-1", f"{HOST}/{RELEASE} h-2"]
    assert plan.summary().startswith("2 images and 0 results would go; ")


def test_a_run_that_was_stopped_is_taken_up_though_no_registry_tells_what_is_left(
    registry: MemoryRegistry, context: RunContext
) -> None:
    registry.has_api = False
    _newest, older = old_images(registry, 2)
    plan = planned(context)
    evidence = registry.evidence(older, OLD - timedelta(days=1))  # what it has already
    written = replace(
        plan,
        deletions=(
            prune.Deletion(f"{HOST}/{RELEASE}", older, "old", frozenset({older})),
            prune.Deletion(f"{HOST}/{RELEASE}", evidence, "old", frozenset({older})),
        ),
    )
    registry.refuses_after = 1
    with pytest.raises(SlipwayError, match="refuses"):
        execute_prune(context, written, NullReporter())
    journal = context.workspace.scratch / "run" / "prune.json"
    assert json.loads(journal.read_text()) == {f"{HOST}/{RELEASE}": [older, evidence]}
    registry.refuses_after = None
    again = planned(context)
    assert gone(again) == [evidence]
    execute_prune(context, again, NullReporter())
    assert not journal.exists() and evidence not in registry.manifests[RELEASE]


def test_a_journal_that_cannot_be_read_names_itself(registry: MemoryRegistry, context: RunContext) -> None:
    journal = context.workspace.scratch / "run" / "prune.json"
    journal.parent.mkdir(parents=True)
    journal.write_text("[")
    with pytest.raises(SlipwayError) as refused:
        planned(context)
    assert str(journal) in refused.value.message and "Remove it" in refused.value.remedy


def test_what_has_become_needed_since_the_plan_stays(registry: MemoryRegistry, context: RunContext) -> None:
    _newest, one, two = old_images(registry, 3)
    plan = planned(context)
    assert {one, two} < {*gone(plan)}
    execute_prune(context, plan, NullReporter(), {one: "deployed meanwhile"})
    deleted = {digest for _, digest in registry.deleted}
    assert two in deleted and one not in deleted
    evidence_of_one = [each.digest for each in registry.list_referrers(RELEASE, one)]
    assert len(evidence_of_one) == 1, "what is its stays as well"


def test_results_that_are_not_of_the_present_sources_go_with_their_bytes(
    registry: MemoryRegistry, context: RunContext
) -> None:
    scratch = context.workspace.scratch
    for content in ("now", "before"):
        (scratch / "oci" / "api" / content).mkdir(parents=True)
        (scratch / "oci" / "api" / content / "blob").write_bytes(b"x" * 2000)
    plan = planned(context, api="now")
    assert (plan.folders, plan.folder_bytes) == ((scratch / "oci" / "api" / "before",), 2000)
    assert execute_prune(context, plan, NullReporter()).folders == 2000
    assert (scratch / "oci" / "api" / "now").is_dir() and not (scratch / "oci" / "api" / "before").exists()


# Slipway's own registry, and the builder


@pytest.fixture
def own(registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch) -> MemoryRegistry:
    """The same registry as one that Slipway runs: its files tell when each manifest came."""
    times: dict[str, datetime] = {}
    monkeypatch.setattr(prune.local, "is_started_by_slipway", lambda host: host == HOST)
    monkeypatch.setattr(
        prune.local,
        "list_revisions",
        lambda _host, name: {digest: times.get(digest, OLD) for digest in registry.manifests.get(name, {})},
    )
    registry.times = times  # type: ignore[attr-defined]
    return registry


def test_in_its_own_registry_age_is_that_of_files_and_garbage_is_collected(
    own: MemoryRegistry, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[str] = []

    def collect(host: str, **_: Any) -> int:
        collected.append(host)
        return 12345

    monkeypatch.setattr(prune.local, "collect_garbage", collect)
    new, old = (own.image(name, f"h-{name}", repository=DEVELOPMENT) for name in ("new", "old"))
    untagged, fresh = (own.image(name, repository=DEVELOPMENT) for name in ("untagged", "fresh"))
    own.times.update({new: YOUNG, fresh: YOUNG})  # type: ignore[attr-defined]
    plan = planned(context)
    assert {*gone(plan)} == {old, untagged} and plan.hosts_to_collect == (HOST,)
    assert execute_prune(context, plan, NullReporter()).registries == 12345
    assert collected == [HOST] and {*own.manifests[DEVELOPMENT]} == {new, fresh}


def test_bytes_that_another_workspace_has_do_not_come_free(own: MemoryRegistry, context: RunContext) -> None:
    own.image("ours", repository=DEVELOPMENT, layers={"shared": 5000})
    own.image("theirs", "1", repository="other/api", layers={"shared": 5000})
    (deletion,) = planned(context).deletions
    assert deletion.bytes == len(own.manifests[DEVELOPMENT][deletion.digest].bytes)


def test_the_builders_cache_is_asked_for_and_pruned_by_age(
    registry: MemoryRegistry, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []
    lines = {"du": '{"Reclaimable": true, "Size": "2GB", "LastUsedAt": "3 months ago"}\n', "prune": "Total:\t1.5GB\n"}
    status = {"prune": 0}

    def run(argv: Sequence[str], **_: Any) -> ProcessResult:
        asked.append(argv)
        word = next(word for word in argv if word in lines)
        return ProcessResult(status.get(word, 0), lines[word], "")

    monkeypatch.setattr(prune, "_builder_answers", lambda: True)
    monkeypatch.setattr(prune, "run", run)
    plan = planned(context)
    assert plan.cache_bytes == 2 * 10**9 and not plan.is_empty
    assert plan.rows() == [("the builder's cache", "not used for a long time", "about 2 GB")]
    assert execute_prune(context, plan, NullReporter()).cache == 1_500_000_000
    assert "until=720h" in asked[-1]
    status["prune"] = 1
    with pytest.raises(SlipwayError, match="cache could not be pruned") as refused:
        execute_prune(context, plan, NullReporter())
    assert "invoke setup" in refused.value.remedy


# What a repository holds


def test_an_index_under_a_fallback_tag_is_evidence_and_what_it_lists_is_not_by_that_alone() -> None:
    registry = MemoryRegistry()
    registry.has_api = False
    subject = registry.image("subject", "h-1")
    signature = registry.evidence(subject, OLD)
    stranger = registry.image("stranger", "h-2")
    fallback = registry.index(signature, stranger, tag=subject.replace(":", "-"))
    inventory = take_inventory(registry, RELEASE, "release", {})
    assert inventory.evidence_of([subject]) == [signature, fallback]
    assert {image.digest for image in inventory.images()} == {subject, stranger}
    assert inventory.created_at(subject) == OLD


@pytest.mark.parametrize("text", ["yesterday", "", None, 5])
def test_a_time_that_is_none_is_no_age(text: object) -> None:
    registry = MemoryRegistry()
    subject = registry.image("subject", "h-1")
    registry.put(RELEASE, {"subject": {"digest": subject}, "annotations": {CREATED_ANNOTATION: text}})
    assert take_inventory(registry, RELEASE, "release", {}).created_at(subject) is None
    registry.has_api = False
    registry.put(RELEASE, {"subject": "no object", "annotations": "none"}, "odd")
    assert take_inventory(registry, RELEASE, "release", {subject: YOUNG}).created_at(subject) == YOUNG


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2_600_000, "3 MB"), (5 * 10**12, "5000 GB")]
)
def test_sizes_are_written_as_people_do(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_a_workspace_names_the_digests_in_its_files(context: RunContext) -> None:
    workspace: Workspace = context.workspace
    (workspace.root / "bases").mkdir()
    digest, evidence = f"sha256:{'a' * 64}", f"sha256:{'e' * 64}"
    entry = lock.LockEntry(f"{HOST}/{RELEASE}@{digest}", "c" * 64, None, evidence={"signature": evidence})
    lock.save(workspace.root, lock.with_entries(lock.load(workspace.root, "dev"), {"api": entry}))
    found = prune.digests_in_files(workspace)
    assert found == {digest: "deploy/dev.lock.json names it", evidence: "deploy/dev.lock.json names it"}
