"""What `invoke dev` does about a change and at its end: build, copy, deploy, or leave what serves."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import FakeEngine, stack_labels

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import current_environment
from slipway._internal.dev import images, loop
from slipway._internal.dev.loop import run_dev_session, sigterm_as_interrupt
from slipway._internal.dev.swap import ContainerSwapper, LiveGateway, SwapRequest, SwapResult
from slipway._internal.dev.watcher import Change
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release.deploy import DeployedService, DeployResult, load_stack
from slipway._internal.run import engine

SYNCED = 'kind = "x"\nroute = "/api"\nport = 8000\n[dev]\nsync = ["app"]\n'


class Console(NullReporter):
    """What the loop said, and which errors it showed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.errors: list[SlipwayError] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def log(self, service: str, line: str) -> None: ...

    def show_error(self, problem: SlipwayError) -> None:
        self.errors.append(problem)


class Edits:
    """Stands for the watcher: the user saves one thing after another, then presses Ctrl-C."""

    def __init__(self) -> None:
        self.changes: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.steps: list[Callable[[], Change | None]] = []
        self.watching = False

    def start(self) -> None:
        self.watching = True

    def stop(self) -> None:
        self.watching = False

    def next_change(self) -> Change:
        if not self.steps:
            raise KeyboardInterrupt
        change = self.steps.pop(0)()
        return change or self.next_change()


@dataclass
class Session:
    """A workspace whose `api` is deployed on an engine in memory; builds and swaps are only written down."""

    root: Path
    docker: FakeEngine
    edits: Edits = field(default_factory=Edits)
    console: Console = field(default_factory=Console)
    deploys: int = 0
    singles: list[bool] = field(default_factory=list)
    built: list[list[str]] = field(default_factory=list)
    swapped: list[SwapRequest] = field(default_factory=list)
    restored: list[dict[str, str]] = field(default_factory=list)
    failures: list[SlipwayError | KeyboardInterrupt] = field(default_factory=list)
    image: str = "demo/api@sha256:built"
    folders_match: bool = True

    def deploy(self, _context: Any, stack: Any, *_rest: Any) -> DeployResult:
        self.deploys += 1
        self.singles.append(stack.single)
        if self.deploys > 1 and self.failures:
            raise self.failures.pop(0)
        for container in [*self.docker.all.values()]:
            container.remove()
        labels = stack_labels("api", load_workspace(self.root).deployed_name)
        self.docker.add_container("demo-dev-api-1", labels=labels, image="demo/api@sha256:deployed")
        return DeployResult("dev", "inline", (DeployedService("api", "d", "http://x/api", "200"),), {}, True, 1.0)

    def build(self, _context: Any, inputs: Any) -> dict[str, str]:
        if inputs:
            self.built.append(list(inputs))
        return dict.fromkeys(inputs, self.image)

    def swap(self, requests: Any, on_start: Callable[[str, str], None]) -> SwapResult:
        result = SwapResult()
        for request in requests:
            self.swapped.append(request)
            labels = {**self.docker.named("demo-dev-api-1").labels, engine.DEV_LABEL: "true"}
            made = self.docker.add_container(f"demo-dev-api-{len(self.swapped) + 1}", labels=labels)
            result.containers[request.service], result.starts[request.service] = made, 0.5
            on_start(request.service, made.id)
        return result

    def save(self, path: str, text: str) -> None:
        """Have the user save a file."""

        def write() -> Change:
            (self.root / path).parent.mkdir(exist_ok=True)
            (self.root / path).write_text(text, encoding="utf-8")
            return Change(0.0, frozenset({self.root / path}))

        self.edits.steps.append(write)

    def run(self, *, syncing: bool = False, chosen: tuple[str, ...] = ()) -> str:
        """Run it to its end and return what was said."""
        workspace = load_workspace(self.root)
        stack = load_stack(workspace, "dev")
        run_dev_session(workspace, stack, chosen, self.console, syncing=syncing, consent=lambda _question: True)
        return "\n".join(self.console.lines)


@pytest.fixture
def session(root: Path, docker: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Session:
    found = Session(root, docker)
    monkeypatch.delenv("SLIPWAY_IMAGES", raising=False)
    monkeypatch.setattr(loop, "WorkspaceWatcher", lambda _workspace: found.edits)
    monkeypatch.setattr(loop, "refuse_foreign_objects_early", lambda *_: None)
    monkeypatch.setattr(loop, "prepare_environment", lambda workspace, *_, **__: current_environment(workspace))
    monkeypatch.setattr(loop, "deploy_stack", found.deploy)
    monkeypatch.setattr(loop, "REREAD_SECONDS", 0.0)
    monkeypatch.setattr(LiveGateway, "of", lambda *_: LiveGateway(None, "the gateway's configuration", ()))
    monkeypatch.setattr(images, "build_images", found.build)
    monkeypatch.setattr(images, "has_folders_as_built", lambda *_: found.folders_match)
    monkeypatch.setattr(images, "pack_folders", lambda *_: {"/app/app": b"archive"})
    monkeypatch.setattr(ContainerSwapper, "swap", lambda _, requests, on_start: found.swap(requests, on_start))
    monkeypatch.setattr(
        ContainerSwapper, "restore_deployed", lambda _, deployed, _config: found.restored.append(deployed)
    )
    return found


def test_it_deploys_says_what_it_watches_and_ends_with_what_was_deployed(session: Session) -> None:
    said = session.run()
    assert session.deploys == 1 and not session.edits.watching
    assert "http://x/api" in said and "Watching api" in said and "Ended. dev" in said


def test_a_saved_source_is_built_and_swapped_in_and_the_end_is_a_release(session: Session) -> None:
    session.save("services/api/main.py", "pass\n")
    said = session.run()
    assert session.built == [["api"]]
    (request,) = session.swapped
    assert (request.image, request.replaced.name, request.replaced.dev) == (session.image, "demo-dev-api-1", False)
    assert "build" in said and "start 0.5" in said
    assert session.deploys == 2 and "as a release" in said


def test_what_is_saved_without_a_change_starts_nothing(session: Session) -> None:
    session.save("services/api/Dockerfile", "FROM scratch AS run\n")
    session.run()
    assert session.built == [] and session.swapped == [] and session.deploys == 1


def test_the_second_change_replaces_what_the_first_one_made(session: Session) -> None:
    session.save("services/api/main.py", "1\n")
    session.edits.steps.append(lambda: setattr(session, "image", "demo/api@sha256:next"))
    session.save("services/api/main.py", "2\n")
    session.run()
    assert [request.replaced.dev for request in session.swapped] == [False, True]


def test_a_build_that_gives_the_same_image_swaps_nothing(session: Session) -> None:
    session.image = "demo/api@sha256:deployed"
    session.save("services/api/notes", "x\n")
    assert "same image" in session.run()
    assert session.built == [["api"]] and session.swapped == []


def test_settings_and_enter_go_the_ordinary_way(session: Session) -> None:
    session.save("services/api/service.toml", 'kind = "x"\nroute = "/api"\nport = 8001\n')
    session.edits.steps.append(lambda: Change(0.0, deploy_requested=True))
    said = session.run()
    assert session.deploys == 3 and session.swapped == []
    assert said.count("dev is deployed. Watching.") == 2


@pytest.mark.parametrize(("matching", "copied"), [(True, True), (False, False)])
def test_with_sync_sources_are_copied_where_the_image_holds_them_as_they_are(
    session: Session, root: Path, matching: bool, copied: bool
) -> None:
    (root / "services" / "api" / "app").mkdir()
    (root / "services" / "api" / "app" / "main.py").write_text("old\n")
    (root / "services" / "api" / "service.toml").write_text(SYNCED)
    session.folders_match = matching
    session.save("services/api/app/main.py", "new\n")
    said = session.run(syncing=True)
    (request,) = session.swapped
    assert (request.folders == {"/app/app": b"archive"}) is copied
    assert session.built == ([] if copied else [["api"]])
    assert ("building instead" in said) is not copied


def test_a_file_that_is_half_written_is_read_again_and_an_error_ends_nothing(session: Session) -> None:
    session.save("services/api/service.toml", "kind = ")
    session.save("services/api/service.toml", 'kind = "x"\nroute = "/api"\nport = 8000\n')
    said = session.run()
    (problem,) = session.console.errors
    assert isinstance(problem, ConfigError) and "service.toml" in problem.message
    assert "What ran before still serves." in said and session.deploys == 1


def test_a_start_that_fails_is_shown_and_the_previous_one_serves(session: Session) -> None:
    problem = SlipwayError("api ended with 3")
    session.swap = lambda *_: SwapResult(failed={"api": problem})  # type: ignore[method-assign]
    session.save("services/api/main.py", "pass\n")
    said = session.run()
    assert session.console.errors == [problem] and "previous one still serves" in said


def test_files_that_cannot_be_deployed_at_the_end_leave_what_was_deployed_before(session: Session) -> None:
    session.save("services/api/main.py", "pass\n")
    session.failures = [SlipwayError("the build failed")]
    with pytest.raises(SlipwayError, match="dev") as caught:
        session.run()
    deployed = session.docker.named("demo-dev-api-1")
    assert session.restored == [{"api": deployed.id}]
    assert [error.message for error in session.console.errors] == ["the build failed"]
    assert "invoke up" in caught.value.remedy


def test_who_does_not_wait_for_the_end_keeps_the_last_changes_until_the_next_deploy(session: Session) -> None:
    session.save("services/api/main.py", "pass\n")
    session.failures = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        session.run()
    assert session.restored == []
    assert "Your last changes keep serving" in session.console.lines[-1]


def test_where_files_cannot_be_watched_any_longer_the_session_ends_with_that_error(session: Session) -> None:
    def fail() -> Change:
        raise SlipwayError("the files cannot be watched")

    session.edits.steps.append(fail)
    with pytest.raises(SlipwayError, match="watched"):
        session.run()
    assert "Ended. dev" in session.console.lines[-1]


def test_a_hybrid_stacks_locked_services_are_not_watched(session: Session, root: Path) -> None:
    (root / "infra" / "Pulumi.dev.yaml").write_text("config:\n  slipway:images: hybrid\n  slipway:protected: false\n")
    (root / "deploy").mkdir()
    entry = f'{{"ref": "127.0.0.1:5000/demo/api@sha256:{"a" * 64}", "content": "{"c" * 64}"}}'
    (root / "deploy" / "dev.lock.json").write_text(f'{{"stack": "dev", "version": 1, "services": {{"api": {entry}}}}}')
    session.save("services/api/main.py", "pass\n")
    session.run()
    assert session.built == [] and session.swapped == []


def test_services_that_were_not_chosen_are_left_alone(session: Session) -> None:
    session.save("services/api/main.py", "pass\n")
    session.run(chosen=("web",))
    assert session.built == [] and session.swapped == []


def test_of_a_service_with_several_containers_one_runs_until_the_end(session: Session) -> None:
    (session.root / "services" / "api" / "service.toml").write_text(f"{SYNCED}[scale]\nmin = 3\n")
    said = session.run()
    assert session.singles == [True, False], "the session's end brings all back"
    assert said.endswith("as a release.")


def test_a_job_that_changes_is_deployed(session: Session) -> None:
    (session.root / "services" / "api" / "service.toml").write_text('kind = "x"\n[job]\nschedule = "@daily"\n')
    session.save("services/api/main.py", "changed\n")
    said = session.run()
    assert "A job has changed (api): deploying." in said
    assert (session.deploys, session.built, session.swapped) == (2, [], [])


def test_a_signal_to_end_is_taken_as_ctrl_c_for_the_time_of_a_session_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert signal.getsignal(signal.SIGTERM) is before
