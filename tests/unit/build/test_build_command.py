"""`invoke build` touches nothing before it knows what is needed, and remembers what it has built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build import build, build_command
from slipway._internal.content import build_state
from slipway._internal.content.build_state import BuiltImage
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import lock
from slipway._internal.model.bases_lock import BasesLock
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace, load_workspace


@dataclass
class Plan:
    """Stands for what is known of one service's image."""

    name: str
    pushed_digest: str | None = None
    is_built: bool = False
    round: int = 1

    @property
    def service(self) -> Any:
        return type("Service", (), {"name": self.name})

    @property
    def is_needed(self) -> bool:
        return not self.pushed_digest and not self.is_built

    def image(self) -> BuiltImage | None:
        digest = self.pushed_digest or ("sha256:built" if self.is_built else None)
        return BuiltImage(f"tag-of-{self.name}", digest, pushed=bool(self.pushed_digest)) if digest else None


@dataclass
class Work:
    """What there is of each service, and what was done in order."""

    plans: list[Plan]
    done: list[str] = field(default_factory=list)
    saved: dict[str, Any] = field(default_factory=dict)
    rounds: int = 0

    def plan(self, _workspace: Workspace, services: Sequence[Any], *_: Any) -> list[Plan]:
        self.rounds += 1
        chosen = {service.name for service in services}
        found = [plan for plan in self.plans if plan.name in chosen]
        for plan in found:
            plan.round = self.rounds
        return found

    def build(self, _context: Any, plans: Sequence[Plan], _reporter: Any, *, local: bool = False) -> None:
        for plan in plans:
            if plan.is_needed or (local and not plan.is_built):
                plan.is_built = True
                self.done.append(f"build {plan.name}")

    def upload(self, _context: Any, plan: Plan, _reporter: Any) -> None:
        self.done.append(f"push {plan.name}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tmp_path.joinpath("workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    for name in ("api", "web"):
        folder = tmp_path / "services" / name
        folder.mkdir(parents=True)
        folder.joinpath("service.toml").write_text('kind = "worker"\n')
        folder.joinpath("Dockerfile").write_text("FROM scratch AS run\n")
    return tmp_path


@pytest.fixture
def work(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    found = Work([Plan("api"), Plan("web", pushed_digest="sha256:pushed")])

    @contextmanager
    def nothing(*_: Any, **__: Any) -> Iterator[None]:
        yield

    def prepare(workspace: Workspace, *_: Any, **__: Any) -> RunContext:
        found.done.append("prepare")
        return RunContext(workspace, root / "bin", {})

    def save(_root: Path, _cache: Any, images: Any = None, *, complete: bool = False) -> None:
        found.saved = {"images": images, "complete": complete}

    for name in ("record_run", "workspace_lock"):
        monkeypatch.setattr(build_command, name, nothing)
    monkeypatch.setattr(build_command.daemons, "ensure_registry", lambda *_, **__: found.done.append("registry"))
    monkeypatch.setattr(build_command, "has_bases", lambda _workspace: True)
    monkeypatch.setattr(build_command, "prepare_environment", prepare)
    monkeypatch.setattr(build_command.bases_lock, "load", lambda _root: BasesLock("official"))
    monkeypatch.setattr(build, "plan_builds", found.plan)
    monkeypatch.setattr(build, "build_missing", found.build)
    monkeypatch.setattr(build, "upload_image", found.upload)
    monkeypatch.setattr(build, "explain_changes", lambda _workspace, plan: [f"why {plan.name}"])
    monkeypatch.setattr(build_state, "save", save)
    yield found


def run(root: Path, chosen: str | None = None, **options: bool) -> build_command.BuildResult:
    return build_command.build_services(root, chosen, NullReporter(), **options)


def test_only_what_nobody_has_is_built_and_all_of_it_is_remembered(root: Path, work: Work) -> None:
    result = run(root)
    assert work.done == ["registry", "prepare", "build api"] and result.reasons == {}
    assert {name: image.pushed for name, image in work.saved["images"].items()} == {"api": False, "web": True}
    assert work.saved["complete"] is True


def test_where_nothing_is_needed_no_builder_is_started(root: Path, work: Work) -> None:
    work.plans[0].pushed_digest = "sha256:there"
    run(root)
    assert work.done == ["registry"]
    run(root, local=True)
    assert work.done == ["registry", "registry", "prepare", "build api", "build web"]


def test_a_dry_run_says_why_and_neither_builds_nor_remembers(root: Path, work: Work) -> None:
    result = run(root, dry=True, explain=True)
    assert result.reasons == {"api": ["why api"], "web": ["why web"]}
    assert work.done == ["registry"] and work.saved == {}


def test_a_choice_keeps_what_is_remembered_of_the_others(
    root: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = BuiltImage("tag-of-web", "sha256:earlier", pushed=True)
    state = build_state.SavedState(images={"web": web})
    monkeypatch.setattr(build_state, "load", lambda _root: state)
    run(root, "api")
    assert work.saved["images"]["web"] == web and work.saved["complete"] is False
    assert work.done == ["registry", "prepare", "build api"]


def test_bases_are_made_before_a_plan_where_there_are_none_and_a_changed_one_makes_it_anew(
    root: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_command, "has_bases", lambda _workspace: False)
    locks = iter([BasesLock("official"), BasesLock("hardened")])
    monkeypatch.setattr(build_command.bases_lock, "load", lambda _root: next(locks))
    result = run(root)
    assert work.done == ["registry", "prepare", "prepare", "build api"]
    assert work.rounds == 2 and {plan.round for plan in result.plans} == {2}  # type: ignore[attr-defined]


def stack(root: Path, mode: Any = "inline") -> Stack:
    return Stack("dev", root / "infra" / "Pulumi.dev.yaml", mode, "docker", protected=False)


def context(root: Path) -> RunContext:
    return RunContext(load_workspace(root), root / "bin", {})


def test_few_images_are_left_to_pulumi_and_many_are_built_and_pushed_before(
    root: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_command.build_ahead_if_many(context(root), stack(root), NullReporter())
    assert work.done == []
    monkeypatch.setattr(build, "MAX_BATCH_SIZE", 1)
    build_command.build_ahead_if_many(context(root), stack(root), NullReporter())
    assert work.done == [], "two services, but one image that is missing"
    work.plans[1].pushed_digest = None
    build_command.build_ahead_if_many(context(root), stack(root), NullReporter())
    assert work.done == ["build api", "build web", "push api", "push web"]


def test_ahead_of_pulumi_all_that_is_missing_is_built_but_for_what_a_hybrid_stack_has_locked(
    root: Path, work: Work
) -> None:
    build_command.build_ahead(context(root), stack(root), NullReporter())
    assert work.done == ["build api", "push api"]
    work.plans[:] = [Plan("api"), Plan("web")]
    work.done.clear()
    entry = lock.LockEntry(f"127.0.0.1:5000/shop/api@sha256:{'a' * 64}", "c" * 64, None)
    lock.save(root, lock.with_entries(lock.load(root, "dev"), {"api": entry}))
    build_command.build_ahead(context(root), stack(root, "hybrid"), NullReporter())
    assert work.done == ["build web", "push web"]
