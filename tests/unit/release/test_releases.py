"""Reading a stack's releases, and the digests that are still needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.context.run_context import RunContext
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.provider.release import MAX_RELEASES
from slipway._internal.release import releases
from slipway._internal.release.releases import DeployedRelease

REGISTRY = "127.0.0.1:5000"


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def ref(service: str, letter: str) -> str:
    return f"{REGISTRY}/shop/{service}@{digest(letter)}"


def record(name: str, letter: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "time": "2026-03-01T12:00:00Z",
        "actor": "ann",
        "commit": "c" * 40,
        "dirty": False,
        "mode": "inline",
        "digests": {"api": ref("api", letter)},
        "contents": {},
        **more,
    }


def resources(records: list[dict[str, Any]], live: int = 0) -> list[dict[str, Any]]:
    """Return a state whose release number `live` runs and where all older ones ran."""
    return [
        {"type": "pulumi:pulumi:Stack", "outputs": {}},
        {"type": releases.RELEASE_TYPE, "outputs": {"releases": records}},
        {"type": releases.LIVE_TYPE, "outputs": {"live": records[live]["id"], "good": records[live:]}},
    ]


@dataclass
class FakeStack:
    """A Pulumi stack with given resources, or a broken one."""

    resources: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    broken: bool = False
    locked: bool = False

    def list_resources(self) -> list[dict[str, Any]]:
        if self.broken:
            raise SlipwayError("the state cannot be read")
        return self.resources

    def list_stacks(self) -> list[str]:
        return self.names

    def list_locks(self) -> list[Any]:
        class AliveLock:
            alive = True

        return [AliveLock()] if self.locked else []


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    (tmp_path / "infra").mkdir()
    for name in ("dev", "prod"):
        (tmp_path / "infra" / f"Pulumi.{name}.yaml").write_text(
            "config:\n  slipway:images: inline\n  slipway:protected: false\n"
        )
    return RunContext(Workspace(tmp_path, WorkspaceSettings("shop", REGISTRY), ()), tmp_path / "bin", {})


@pytest.fixture
def fake_stacks(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeStack]:
    """Fake stacks by name; an unknown one is empty."""
    known: dict[str, FakeStack] = {}

    def reader(_context: RunContext, stack: Stack) -> FakeStack:
        return known.get(stack.name, FakeStack(names=list(known)))

    monkeypatch.setattr(releases, "_open_for_reading", reader)
    return known


def lines(records: list[dict[str, Any]], live: int = 0, *, busy: bool = False) -> list[DeployedRelease]:
    return releases.parse_releases("dev", resources(records, live), busy=busy)


def test_releases_are_told_with_their_results() -> None:
    found = lines([record("r-3", "3"), record("r-2", "2"), record("r-1", "1")], live=1)
    assert [(each.id, each.result) for each in found] == [("r-3", "failed"), ("r-2", "live"), ("r-1", "good")]
    assert found[0].digests == {"api": ref("api", "3")}


def test_a_stack_that_was_never_deployed_has_none() -> None:
    assert releases.parse_releases("dev", []) == []


def test_who_holds_the_lock_is_at_work_on_the_newest(
    run_context: RunContext, fake_stacks: dict[str, FakeStack]
) -> None:
    fake_stacks["dev"] = FakeStack(resources([record("r-2", "2"), record("r-1", "1")], live=1), locked=True)
    stack = Stack("dev", Path("Pulumi.dev.yaml"), "inline", "docker", protected=False)
    assert [each.result for each in releases.list_releases(run_context, stack)] == ["deploying", "live"]


def test_a_record_of_an_earlier_version_is_read() -> None:
    early = record("r-1", "1", commit=None)
    early.pop("contents")
    [line] = releases.parse_releases("dev", [{"type": releases.RELEASE_TYPE, "outputs": {"releases": [early]}}])
    assert (line.result, line.commit, line.contents, line.short_commit) == ("live", "", {}, "-")


@pytest.mark.parametrize(
    "records",
    [
        [{"id": "r-1"}],
        [{"digests": {}}],
        "a text",
        [record("r-1", "1", digests=["api"])],
        [record("r-1", 3 * "1", time=5)],
    ],
    ids=["too little", "no id", "no list", "digests without services", "a time that is none"],
)
def test_a_record_that_is_none_is_an_error_and_not_left_out(records: Any) -> None:
    with pytest.raises(SlipwayError, match="cannot read the record"):
        releases.parse_releases("dev", [{"type": releases.RELEASE_TYPE, "outputs": {"releases": records}}])


def test_the_last_twenty_are_shown_and_the_one_that_runs() -> None:
    records = [record(f"r-{number:02}", "f") for number in range(MAX_RELEASES + 3, 0, -1)]
    found = releases.parse_releases(
        "dev",
        [
            {"type": releases.RELEASE_TYPE, "outputs": {"releases": records[:MAX_RELEASES]}},
            {"type": releases.LIVE_TYPE, "outputs": {"live": records[-1]["id"], "good": records[-1:]}},
        ],
    )
    assert [each.id for each in releases.recent_releases(found)] == [
        *(each["id"] for each in records[:MAX_RELEASES]),
        "r-01",
    ]


def test_a_line_is_short_enough_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = lines([record("r-1", "1", dirty=True, digests={"web": ref("web", "a"), "api": ref("api", "b")})])
    assert line.short_commit == f"{'c' * 10}*"
    assert line.images_summary == f"api {'b' * 12}, web {'a' * 12}"
    assert line.local_time.startswith("2026-0")


def test_what_a_lock_names_is_needed_with_its_evidence(
    run_context: RunContext, fake_stacks: dict[str, FakeStack]
) -> None:
    entry = lock.LockEntry(ref("api", "1"), "c" * 64, None, {"sbom": digest("e")})
    lock.save(run_context.workspace.root, lock.Lock("prod", services={"api": entry}))
    needed = releases.needed_digests(run_context)
    assert needed == {
        digest("1"): "api is locked for prod",
        digest("e"): "the sbom of api, which is locked for prod",
    }


def test_every_kept_release_of_every_stack_is_needed_also_one_that_failed(
    run_context: RunContext, fake_stacks: dict[str, FakeStack]
) -> None:
    fake_stacks["dev"] = FakeStack(resources([record("r-2", "2"), record("r-1", "1")], live=1))
    fake_stacks["prod"] = FakeStack(resources([record("r-9", "9")]))
    needed = releases.needed_digests(run_context)
    assert needed == {
        digest("2"): "api of the release r-2 of dev",
        digest("1"): "api of the release r-1 of dev",
        digest("9"): "api of the release r-9 of prod",
    }


def test_what_runs_is_needed_also_where_no_release_names_it(
    run_context: RunContext, fake_stacks: dict[str, FakeStack]
) -> None:
    fake_stacks["dev"] = FakeStack([{"type": "slipway:docker:Container", "outputs": {"image": ref("api", "7")}}])
    assert releases.needed_digests(run_context) == {digest("7"): "runs in dev"}


def test_what_runs_on_a_cluster_is_needed_too(run_context: RunContext, fake_stacks: dict[str, FakeStack]) -> None:
    deployment = {"spec": {"template": {"spec": {"containers": [{"name": "api", "image": ref("api", "7")}]}}}}
    template = {"spec": {"template": {"spec": {"containers": [{"name": "report", "image": ref("report", "8")}]}}}}
    fake_stacks["dev"] = FakeStack(
        [
            {"type": "kubernetes:apps/v1:Deployment", "outputs": deployment},
            {"type": "kubernetes:batch/v1:CronJob", "outputs": {"spec": {"jobTemplate": template}}},
        ]
    )
    assert releases.needed_digests(run_context) == {digest("7"): "runs in dev", digest("8"): "runs in dev"}


def test_stacks_that_only_the_state_or_a_lock_still_knows_count(
    run_context: RunContext, fake_stacks: dict[str, FakeStack]
) -> None:
    fake_stacks["dev"] = FakeStack(names=["dev", "old"])
    fake_stacks["old"] = FakeStack(resources([record("r-1", "1")]))
    lock.save(
        run_context.workspace.root, lock.Lock("gone", services={"api": lock.LockEntry(ref("api", "5"), "c" * 64)})
    )
    assert set(releases.needed_digests(run_context)) == {digest("1"), digest("5")}


def test_a_state_that_cannot_be_read_is_never_taken_for_an_empty_one(
    run_context: RunContext, fake_stacks: dict[str, FakeStack]
) -> None:
    fake_stacks["prod"] = FakeStack(broken=True)
    with pytest.raises(SlipwayError, match="cannot be read"):
        releases.needed_digests(run_context)


def test_a_damaged_lock_is_never_taken_for_an_empty_one(
    run_context: RunContext, fake_stacks: dict[str, FakeStack]
) -> None:
    (run_context.workspace.root / "deploy").mkdir()
    (run_context.workspace.root / "deploy" / "prod.lock.json").write_text("{")
    with pytest.raises(EvidenceError):
        releases.needed_digests(run_context)
