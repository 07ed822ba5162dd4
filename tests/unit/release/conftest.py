"""What tests of deploys stand on: a Pulumi stack and a target that only act, and a report that is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import bases_lock
from slipway._internal.model.bases_lock import BasesLock
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release import deploy
from slipway._internal.run.pulumi import Outcome
from tests import synthetic

DIGEST = "sha256:" + "a1" * 32


class SaidReporter(NullReporter):
    """A report of which everything is kept, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def step(self, service: str, state: str, detail: str = "") -> None:
        self.lines.append(f"{service}: {state} {detail}".strip())

    def done(self, service: str, state: str) -> None:
        self.lines.append(f"{service}: {state}")

    def failed(self, service: str, state: str) -> None:
        self.lines.append(f"{service}: {state}")


class ActingStack:
    """Stands for a stack of Pulumi's: what was done with it, and what it gives."""

    def __init__(self, workspace: Any, stack: Stack) -> None:
        self.workspace, self.stack = workspace, stack
        self.did: list[str] = []
        self.known = True
        self.resources: list[dict[str, Any]] = []
        self.repaired = ""
        self.targets: Any = None
        self.gives: list[Outcome | Exception] = []
        self.while_working: Callable[[Any], None] = lambda _on_event: None

    def list_locks(self) -> list[Any]:
        return []

    def repair_state(self) -> str:
        return self.repaired

    def exists(self) -> bool:
        return self.known

    def refresh(self) -> None:
        self.did.append("refresh")

    def list_resources(self) -> list[dict[str, Any]]:
        return self.resources

    def _work(self, name: str, on_event: Any) -> Outcome:
        self.did.append(name)
        self.while_working(on_event)
        result = self.gives.pop(0) if self.gives else Outcome({"create": 1}, {})
        if isinstance(result, Exception):
            raise result
        return result

    def up(self, on_event: Any, on_advice: Any = None, targets: Any = None) -> Outcome:
        self.targets = targets
        return self._work("up", on_event)

    def destroy(self, on_event: Any) -> Outcome:
        return self._work("destroy", on_event)

    def preview(self, on_advice: Callable[[str], None], *, on_output: Callable[[str], None]) -> Outcome:
        on_output("    + slipway:docker:Container: (create)")
        on_output("Resources:")
        on_advice("advice: pin the image")
        return self._work("preview", None)


class ActingTarget:
    """Stands for the place where a stack runs: what was asked of it, and what it answers."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.foreign: SlipwayError | None = None
        self.silent = False
        self.drifted: list[str] = []
        self.unfinished: list[list[str]] = []
        self.adopts = False
        self.known_ids: Collection[str] | None = None
        self.orphans_beside: Collection[str] = ()
        self.explains: Callable[..., SlipwayError] = lambda error, *_: error

    def refuse_foreign_objects(self, known_ids: Any) -> None:
        self.did.append("refuse foreign objects")
        known_ids()
        if self.foreign:
            raise self.foreign

    def running_images(self) -> list[tuple[str, str]]:
        if self.silent:
            raise SlipwayError("it does not answer")
        return []

    def service_health(self, services: Collection[str]) -> dict[str, str]:
        return dict.fromkeys(services, "healthy")

    def drifted_services(self, live_images: Any) -> list[str]:
        live_images()
        return self.drifted

    def record_starts(self, _recorder: Any) -> None:
        self.did.append("record starts")

    def remove_orphans(self, known_ids: Collection[str]) -> None:
        self.did.append("remove orphans")
        self.orphans_beside = known_ids

    def may_adopt_existing(self) -> bool:
        return self.adopts

    @contextmanager
    def report_progress(self, _reporter: Any, _rolling: Any) -> Iterator[None]:
        yield

    def unfinished_rollouts(self) -> list[str]:
        return self.unfinished.pop(0) if self.unfinished else []

    def remove_superseded(self, _reporter: Any, known_ids: Any) -> None:
        self.did.append("remove superseded")
        self.known_ids = known_ids()

    def remove_abandoned(self, _reporter: Any, _consent: Any) -> int:
        self.did.append("remove abandoned")
        return 1

    def wait_deleted(self, _reporter: Any) -> None:
        self.did.append("wait deleted")

    def explain_failure(self, error: SlipwayError, services: Any, live_images: Any, redeploy: Any) -> SlipwayError:
        return self.explains(error, services, live_images, redeploy)


class Deployment:
    """A workspace of two services, its stack `dev`, and what stands for Pulumi and the target."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        synthetic.workspace(root, 2)
        (root / "infra" / "Pulumi.yaml").write_text(
            "name: many\nbackend:\n  url: file://../.slipway/state\n", encoding="utf-8"
        )
        gateway = f"127.0.0.1:1/many/base-envoy@{DIGEST}"
        bases_lock.save(root, BasesLock("hardened", {bases_lock.GATEWAY_BASE: gateway}))
        self.root, self.reporter, self.target = root, SaidReporter(), ActingTarget()
        self.workspace = load_workspace(root)
        self.context = RunContext(self.workspace, root / "bin", {})
        self.stack = deploy.load_stack(self.workspace, "dev")
        self.pulumi_stack = ActingStack(self.workspace, self.stack)
        self.opened: list[tuple[Any, ...]] = []
        monkeypatch.setattr(deploy, "open_stack", self.open)
        monkeypatch.setattr(deploy, "target_of", lambda *_: self.target)
        monkeypatch.setattr(deploy, "warn_of_unknown_commit", lambda *_: None)

    def open(self, _context: Any, *args: Any) -> ActingStack:
        self.opened.append(args)
        return self.pulumi_stack


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    for name in ("SLIPWAY_IMAGES", "PULUMI_BACKEND_URL", "SLIPWAY_UNPROTECT"):
        monkeypatch.delenv(name, raising=False)
    return Deployment(tmp_path, monkeypatch)
