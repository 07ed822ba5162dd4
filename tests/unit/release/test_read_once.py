"""A command reads each configuration file once: two readings could differ."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pulumi
import pytest
from tests.conftest import TEMPLATE

from slipway._internal.build import bases, build, build_command, environment
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import current_environment
from slipway._internal.gate import checks, gate
from slipway._internal.model import bases_lock
from slipway._internal.model.bases_lock import BasesLock
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release import deploy, status
from slipway._internal.run import registry
from slipway._internal.run.pulumi import Outcome, PulumiStack
from slipway._internal.scaffold import service_creation
from slipway._internal.targets.docker import observation

DIGEST = f"sha256:{'d' * 64}"
READ_ONCE = ("workspace.toml", "service.toml", "Dockerfile", "Pulumi.yaml", "Pulumi.dev.yaml", "bases.lock.json")


class Opened:
    """Counts what is opened for reading below a folder; a hook cannot be taken out again, so it can be switched off."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.count: Counter[str] = Counter()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.root is None or event != "open" or not isinstance(args[0], str | bytes | os.PathLike):
            return
        path = Path(os.fsdecode(args[0]))
        if path.name in READ_ONCE and path.is_relative_to(self.root):
            self.count[path.relative_to(self.root).as_posix()] += 1

    @contextmanager
    def below(self, root: Path) -> Iterator[Counter[str]]:
        self.root, self.count = root, Counter()
        try:
            yield self.count
        finally:
            self.root = None


OPENED = Opened()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's services on Docker, with bases that are known; whatever is asked of a registry is there."""
    root = tmp_path / "demo"
    shutil.copytree(TEMPLATE / "infra", root / "infra")
    model = 'name = "demo"\nregistry = "registry.example"\n[bases]\nsource = "official"\n'
    (root / "workspace.toml").write_text(model)
    (root / "infra" / "Pulumi.yaml").write_text("name: demo\nbackend:\n  url: file://../.slipway/state\n")
    (root / "infra" / "Pulumi.dev.yaml").write_text("config:\n  slipway:images: inline\n  slipway:protected: false\n")
    shutil.copytree(TEMPLATE / "libs", root / "libs")
    shutil.copytree(TEMPLATE / "bases", root / "bases", ignore=shutil.ignore_patterns("*.json"))
    service_creation.create_initial_services(root, "demo")
    made = load_workspace(root)
    refs = {name: f"base/{name}@{DIGEST}" for name in bases.required_bases(made, bases.read_dockerfiles(made))}
    bases_lock.save(root, BasesLock("official", refs))
    official = "".join(f'{name} = "{ref}"\n' for name, ref in refs.items())
    (root / "workspace.toml").write_text(f"{model}[bases.official]\n{official}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("SLIPWAY_PULL_CONFIG", "SLIPWAY_PUSH_CONFIG", "PULUMI_BACKEND_URL", "SLIPWAY_IMAGES"):
        monkeypatch.delenv(name, raising=False)

    def there(refs: Any, _workspace: object) -> Mapping[str, str]:
        return dict.fromkeys(refs, DIGEST)

    monkeypatch.setattr(registry, "resolve_digests", there)
    monkeypatch.setattr(registry, "fetch_reported_digests", there)
    for module, name in (
        (build_command.daemons, "ensure_registry"),
        (environment.docker_daemon, "ensure_engine"),
        (environment.builder, "ensure_builder"),
        (environment.platforms, "ensure_platforms"),
        (environment, "prepare_tools"),
    ):
        monkeypatch.setattr(module, name, lambda *_args, **_more: None)
    monkeypatch.setattr(observation.engine, "list_containers", lambda *_: [])
    return root


class Declared(pulumi.runtime.Mocks):
    """What a program declares, which nobody makes."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        outputs = {"releases": [{"id": "r-1"}], "live": "", "good": [], "newest": {}, "protected": False}
        return f"{args.name}-id", {**args.inputs, **outputs}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"nothing is asked for: {args.token}")


@pytest.fixture
def pulumi_runs_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the engine: the program is run, and the policies are made."""

    def preview(self: PulumiStack, *_: object, **_more: object) -> Outcome:
        self.exists()
        pulumi.runtime.set_mocks(Declared(), project=self.workspace.name, stack=self.stack.name, preview=True)
        pulumi.runtime.test(self.program)()
        assert self.policies()
        return Outcome({}, {})

    monkeypatch.setattr(PulumiStack, "preview", preview)
    monkeypatch.setattr(observation.DockerTarget, "refuse_foreign_objects", lambda self, _ids: self.owner())


def more_than_once(count: Mapping[str, int]) -> dict[str, int]:
    return {path: times for path, times in count.items() if times > 1}


def test_loading_a_workspace_reads_each_file_once(root: Path) -> None:
    with OPENED.below(root) as count:
        load_workspace(root)
    services = [f"services/{folder.name}/service.toml" for folder in (root / "services").iterdir()]
    assert count == dict.fromkeys(["workspace.toml", *services], 1)


def test_invoke_build_reads_each_file_once(root: Path) -> None:
    with OPENED.below(root) as count:
        result = build_command.build_services(root, None, NullReporter())
    assert len(result.plans) == len(list((root / "services").iterdir())) and count["workspace.toml"] == 1
    assert more_than_once(count) == {}


@pytest.mark.usefixtures("pulumi_runs_the_program")
def test_a_preview_reads_each_file_once_but_for_what_a_build_goes_by(root: Path) -> None:
    with OPENED.below(root) as count:
        workspace = load_workspace(root)
        stack = deploy.load_stack(workspace, "dev")
        context = environment.prepare_environment(workspace, NullReporter(), building=True, stack=stack)
        deploy.preview_stack(context, stack)
    assert count["workspace.toml"] == count["infra/Pulumi.dev.yaml"] == count["infra/Pulumi.yaml"] == 1
    found = more_than_once(count)
    # Which bases are needed is asked before they are made, which may take minutes; what is built, and from which
    # bases, when it is: an older reading would put a digest on an image that it is not of.
    allowed = {path: 2 for path in count if path.endswith("Dockerfile")} | {"bases/bases.lock.json": 3}
    assert {path: times for path, times in found.items() if times > allowed.get(path, 1)} == {}


def test_the_gate_reads_each_file_once(root: Path) -> None:
    with OPENED.below(root) as count:
        workspace = load_workspace(root)
        stack = deploy.load_stack(workspace, "dev")
        candidates = gate.plan_candidates(current_environment(workspace), workspace.services, stack)
        for candidate in candidates:
            checks._require_test_stage(candidate.plan)
    assert len(candidates) == len(workspace.services)
    assert more_than_once(count) == {}


def test_status_reads_each_file_once(root: Path) -> None:
    with OPENED.below(root) as count:
        status.read_stack_status(load_workspace(root), "dev")
    assert count["workspace.toml"] == 1
    assert more_than_once(count) == {}


def test_sources_that_change_while_they_are_built_are_seen_all_the_same(root: Path) -> None:
    workspace = load_workspace(root)
    (plan, *_) = build.plan_builds(workspace, workspace.services)
    build.refuse_changed_sources(plan)
    with plan.service.dockerfile.open("a") as file:
        file.write("# one more line\n")
    with pytest.raises(SlipwayError, match="its sources changed during the build"):
        build.refuse_changed_sources(plan)
