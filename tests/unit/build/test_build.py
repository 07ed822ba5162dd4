"""What has to be built is decided by content and the registry's word; what was built is stored whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build import build
from slipway._internal.build.build import BuildPlan
from slipway._internal.content.build_state import BuiltImage
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import bases_lock, lock
from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.model.workspace import Workspace, load_workspace

MANIFEST = '{"schemaVersion": 2, "layers": []}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST.encode()).hexdigest()}"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    tmp_path.joinpath("workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    for number, name in enumerate(("api", "web")):
        folder = tmp_path / "services" / name
        folder.mkdir(parents=True)
        folder.joinpath("service.toml").write_text(f'kind = "worker"\n# {number}\n')
        folder.joinpath("Dockerfile").write_text(f"FROM scratch AS run\nCOPY . /\n# {number}\n")
    monkeypatch.setattr(build.git, "head_commit", lambda _root: "1" * 40)
    monkeypatch.setattr(build, "warn_of_unknown_commit", lambda *_: None)
    monkeypatch.setattr(bases_lock, "load", lambda _root: bases_lock.BasesLock("official"))
    return RunContext(load_workspace(tmp_path), tmp_path / "bin", {})


class Remote:
    """The registry: which tags it has, who asked, and what was pushed."""

    def __init__(self) -> None:
        self.has: dict[str, str] = {}
        self.asked: list[list[str]] = []
        self.pushed: list[str] = []

    def look_up(self, tags: Any, _workspace: Workspace) -> dict[str, str | None]:
        asked = [*tags]
        self.asked.append(asked)
        return {tag: self.has.get(tag) for tag in asked}

    def push(self, _crane: Path, layout: Path, tag: str, *, config: Path | None) -> str:
        assert config is None, "no login is named"
        self.pushed.append(tag)
        self.has[tag] = build.registry.oci_digest(layout)
        return self.has[tag]


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    found = Remote()
    for name in ("resolve_digests", "fetch_reported_digests"):
        monkeypatch.setattr(build.registry, name, found.look_up)
    monkeypatch.setattr(build.registry, "push_layout", found.push)
    yield found


def plan(context: RunContext, images: dict[str, BuiltImage] | None = None) -> dict[str, BuildPlan]:
    found = build.plan_builds(context.workspace, context.workspace.services, None, images)
    return {each.service.name: each for each in found}


def bakes(monkeypatch: pytest.MonkeyPatch, *, change: Path | None = None) -> list[list[str]]:
    """Have bakes write a layout for each target; return the targets of each. `change`: a file edited meanwhile."""
    found: list[list[str]] = []

    def bake(_context: RunContext, plans: Sequence[BuildPlan], _reporter: Any, folder: Path, metadata: Path) -> None:
        names = build.target_names(plans)
        found.append(names)
        for name in names:
            write_layout(folder / name)
        provenance = {"buildType": "https://mobyproject.org/buildkit@v1", "materials": [], "invocation": {}}
        metadata.write_text(
            json.dumps({n: {"buildx.build.provenance": provenance, "containerimage.digest": DIGEST} for n in names})
        )
        if change:
            change.write_text("changed during the build")

    monkeypatch.setattr(build, "bake_services", bake)
    monkeypatch.setattr(build.provenance, "make_predicate", lambda *_: {"made": "up"})
    return found


def write_layout(folder: Path, digest: str = DIGEST) -> None:
    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    descriptor = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": len(MANIFEST)}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "blobs" / "sha256" / digest.partition(":")[2]).write_text(MANIFEST)


def test_an_image_is_needed_where_neither_this_machine_nor_the_registry_has_its_content(
    context: RunContext, remote: Remote
) -> None:
    first = plan(context)
    assert first["api"].is_needed and first["api"].image() is None
    assert first["api"].summary(dry=True) == "would be built" and first["api"].summary(dry=False) == "not built"
    remote.has[first["api"].tag] = DIGEST
    write_layout(first["web"].layout)
    found = plan(context)
    assert not found["api"].is_needed and found["api"].summary(dry=False) == f"{DIGEST} is in the registry"
    assert found["api"].image() == BuiltImage(found["api"].tag, DIGEST, pushed=True)
    assert not found["web"].is_needed and found["web"].summary(dry=False) == f"{DIGEST} is built"
    (context.workspace.root / "services" / "api" / "new.py").write_text("NEW = 1\n")
    changed = plan(context)
    assert changed["api"].is_needed and changed["api"].tag != found["api"].tag
    assert changed["web"].tag == found["web"].tag


def test_what_is_remembered_of_the_same_content_is_not_asked_for_again(context: RunContext, remote: Remote) -> None:
    first = plan(context)
    images = {
        "api": BuiltImage(first["api"].tag, DIGEST, pushed=True),
        "web": BuiltImage("127.0.0.1:5000/shop/web:h-of-other-content", DIGEST, pushed=True),
    }
    found = plan(context, images)
    assert remote.asked[-1] == [first["web"].tag]
    assert found["api"].pushed_digest == DIGEST and found["web"].pushed_digest is None


def test_missing_images_are_built_and_stored_and_a_second_time_nothing_is(
    context: RunContext, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    baked = bakes(monkeypatch)
    build.build_missing(context, [*plan(context).values()], NullReporter())
    assert baked == [["api", "web"]]
    found = plan(context)
    assert found["api"].is_built and (found["api"].layout / "index.json").is_file()
    results = build.gate_results_folder(context.workspace, "api", found["api"].content)
    assert json.loads((results / build.PROVENANCE_FILE).read_text()) == {"made": "up"}
    build.build_missing(context, [*found.values()], NullReporter())
    assert len(baked) == 1
    assert [*(context.workspace.scratch / "oci").glob(f"{build.NEW_PREFIX}*")] == []


def test_what_only_the_registry_has_is_built_where_it_is_wanted_here(
    context: RunContext, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    baked = bakes(monkeypatch)
    remote.has = {each.tag: DIGEST for each in plan(context).values()}
    build.build_missing(context, [*plan(context).values()], NullReporter())
    assert baked == []
    build.build_missing(context, [*plan(context).values()], NullReporter(), local=True)
    assert baked == [["api", "web"]]


def test_many_are_built_in_batches(context: RunContext, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    baked = bakes(monkeypatch)
    monkeypatch.setattr(build, "MAX_BATCH_SIZE", 1)
    build.build_missing(context, [*plan(context).values()], NullReporter())
    assert baked == [["api"], ["web"]]


def test_sources_that_change_during_the_build_give_no_image(
    context: RunContext, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    bakes(monkeypatch, change=context.workspace.root / "services" / "api" / "late.py")
    plans = [*plan(context).values()]
    with pytest.raises(SlipwayError, match="api: its sources changed during the build") as refused:
        build.build_missing(context, plans, NullReporter())
    assert refused.value.remedy == "Run it again."
    assert not (context.workspace.scratch / "oci" / "api").exists()
    assert [*(context.workspace.scratch / "oci").iterdir()] == []


def test_an_image_of_other_content_is_replaced_and_test_results_of_the_same_stay(
    context: RunContext, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    bakes(monkeypatch)
    first = plan(context)["api"]
    results = build.gate_results_folder(context.workspace, "api", first.content)
    results.mkdir(parents=True)
    for name in (build.JUNIT_FILE, build.TESTS_FILE, "scan.json"):
        (results / name).write_text("of an earlier build")
    write_layout(first.layout.with_name("of-other-content"))
    build.build_missing(context, [first], NullReporter())
    assert {path.name for path in results.iterdir()} == {build.JUNIT_FILE, build.TESTS_FILE, build.PROVENANCE_FILE}
    assert [path.name for path in first.layout.parent.iterdir()] == [first.content]


def test_a_push_locks_digests_and_says_what_was_locked_already(context: RunContext, remote: Remote) -> None:
    for each in plan(context).values():
        write_layout(each.layout)
    services, root = context.workspace.services, context.workspace.root
    dry = build.push_images(context, services, "prod", NullReporter(), dry=True)
    assert [line.note for line in dry] == ["would be locked"] * 2 and remote.pushed == []
    assert lock.load(root, "prod").services == {}
    done = build.push_images(context, services, "prod", NullReporter(), dry=False)
    assert [line.note for line in done] == ["locked"] * 2 and len(remote.pushed) == 2
    locked = lock.load(root, "prod").services
    assert locked["api"].ref == f"127.0.0.1:5000/shop/api@{DIGEST}" and locked["api"].commit == "1" * 40
    before = (root / "deploy" / "prod.lock.json").read_bytes()
    again = build.push_images(context, services, "prod", NullReporter(), dry=False)
    assert [line.note for line in again] == ["locked already"] * 2 and len(remote.pushed) == 2
    assert (root / "deploy" / "prod.lock.json").read_bytes() == before


def test_a_push_of_what_was_never_built_is_refused_by_name(context: RunContext, remote: Remote) -> None:
    write_layout(plan(context)["web"].layout)
    with pytest.raises(EvidenceError, match=r"not built yet from the present sources: api$") as refused:
        build.push_images(context, context.workspace.services, "prod", NullReporter(), dry=False)
    assert "invoke build" in refused.value.remedy
    assert remote.pushed == [] and not (context.workspace.root / "deploy").exists()


def test_why_an_image_is_built_is_said_of_the_last_build_here(
    context: RunContext, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    bakes(monkeypatch)
    workspace = context.workspace
    assert "no earlier" in build.explain_changes(workspace, plan(context)["api"])[0]
    build.build_missing(context, [*plan(context).values()], NullReporter())
    assert build.explain_changes(workspace, plan(context)["api"]) == []
    (workspace.root / "services" / "api" / "new.py").write_text("NEW = 1\n")
    (line,) = build.explain_changes(workspace, plan(context)["api"])
    assert "services/api/new.py" in line


def test_a_bake_is_of_oci_layouts_with_the_workspaces_cache_and_builder(
    context: RunContext, remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {}

    def run_bake(_context: RunContext, targets: list[str], _reporter: Any, create: Any, environment: Any) -> None:
        definition, command = create({"npm": tmp_path / "npm"}, Path("buildx"), tmp_path / "bake.json")
        given.update(targets=targets, definition=definition, command=command, environment=environment)

    monkeypatch.setattr(build.bake_runner, "run_bake", run_bake)
    monkeypatch.setattr(build, "builder_of", lambda _workspace: "our-builder")
    plans = [*plan(context).values()]
    build.bake_services(context, plans, NullReporter(), tmp_path / "new", tmp_path / "metadata.json")
    assert given["targets"] == ["api", "web"] and given["environment"] == build.PROVENANCE_ENVIRONMENT
    assert {*given["definition"]["target"]} == {"api", "web"}
    assert "our-builder" in " ".join(given["command"]) and any(
        word.endswith(f"={tmp_path / 'metadata.json'}") for word in given["command"]
    )
    output = json.dumps(given["definition"]["target"]["api"])
    assert plans[0].tag in output and str(tmp_path / "new" / "api") in output
