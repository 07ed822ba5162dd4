"""A deploy reads each file once: what was verified is what is deployed, even if the files change later."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.images import images_of
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import verification
from slipway._internal.model import bases_lock, lock
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings
from slipway._internal.release import inputs

HERE = "127.0.0.1:5000"
PROD = Stack("prod", Path("Pulumi.prod.yaml"), "external", "docker", protected=True)
STAGING = replace(PROD, name="staging", protected=False)
BASE = f"{HERE}/shop/base-envoy@sha256:{'b' * 64}"
GOOD, EVIL = "a", "e"


def entry(name: str, letter: str, repository: str = f"{HERE}/shop/release") -> lock.LockEntry:
    evidence = {"sbom": f"sha256:{letter * 64}"}
    return lock.LockEntry(f"{repository}/{name}@sha256:{letter * 64}", letter * 64, "f" * 40, evidence)


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    service = Service("api", tmp_path / "services" / "api", ServiceSettings(kind="worker"))
    bases_lock.save(tmp_path, bases_lock.BasesLock("hardened", {"envoy": BASE}))
    return RunContext(Workspace(tmp_path, WorkspaceSettings("shop", HERE), (service,)), tmp_path / "bin", {})


def write(run_context: RunContext, stack: Stack, letter: str = GOOD, *, gateway: bool = True) -> lock.Lock:
    own = {lock.GATEWAY: entry(lock.GATEWAY, letter)} if gateway else {}
    made = lock.Lock(stack.name, services={"api": entry("api", letter)}, beside=own)
    lock.save(run_context.workspace.root, made)
    return made


def test_a_lock_that_is_replaced_after_it_was_proven_is_not_what_is_deployed(
    run_context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven: list[lock.Lock] = []

    def prove(context: RunContext, stack: Stack, _services: object, stack_lock: lock.Lock, **_more: Any) -> None:
        proven.append(stack_lock)
        write(context, stack, EVIL)
        bases_lock.save(
            context.workspace.root, bases_lock.BasesLock("hardened", {"envoy": BASE.replace("b" * 64, "e" * 64)})
        )

    monkeypatch.setattr(verification, "verify_stack", prove)
    before = write(run_context, PROD)
    found = inputs.read_inputs(run_context, PROD, NullReporter())
    assert proven == [before]
    assert images_of(found, {}) == {"api": entry("api", GOOD).ref}
    assert found.prebuilt_images == {lock.GATEWAY: entry(lock.GATEWAY, GOOD).ref}
    assert found.released_images == {entry("api", GOOD).ref, entry(lock.GATEWAY, GOOD).ref}


def test_a_rollback_deploys_the_lock_that_it_has_made(run_context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(verification, "verify_stack", lambda *_, already_verified, **__: asked.append(already_verified))
    made = write(run_context, PROD)
    write(run_context, PROD, EVIL)
    found = inputs.read_inputs(run_context, PROD, NullReporter(), stack_lock=made, already_verified=("api",))
    assert images_of(found, {}) == {"api": entry("api", GOOD).ref}
    assert asked == [("api",)], "the gateway is proven all the same"


def test_a_protected_stacks_lock_without_the_gateway_is_stale(run_context: RunContext) -> None:
    write(run_context, PROD, gateway=False)
    with pytest.raises(EvidenceError, match="is stale: it has no verified image for the gateway") as caught:
        inputs.read_inputs(run_context, PROD, NullReporter())
    assert caught.value.exit_code == 4 and "invoke ship --stack prod" in caught.value.remedy


def test_an_unprotected_stack_runs_the_locked_gateway_or_the_base(run_context: RunContext) -> None:
    write(run_context, STAGING)
    assert inputs.read_inputs(run_context, STAGING, NullReporter()).prebuilt_images == {
        lock.GATEWAY: entry(lock.GATEWAY, GOOD).ref
    }
    write(run_context, STAGING, gateway=False)
    assert inputs.read_inputs(run_context, STAGING, NullReporter()).prebuilt_images == {lock.GATEWAY: BASE}
    inline = replace(STAGING, mode="inline")
    assert inputs.read_inputs(run_context, inline, NullReporter()).prebuilt_images == {lock.GATEWAY: BASE}


def test_a_cluster_has_a_gateway_of_its_own(run_context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "verify_stack", lambda *_, **__: None)
    bases_lock.path_of(run_context.workspace.root).unlink()
    write(run_context, PROD, gateway=False)
    assert inputs.read_inputs(run_context, replace(PROD, target="kubernetes"), NullReporter()).prebuilt_images == {}


@pytest.mark.parametrize("stack", [STAGING, replace(STAGING, mode="hybrid")])
def test_an_image_from_elsewhere_is_refused_in_every_stack(run_context: RunContext, stack: Stack) -> None:
    for repository in ("evil.example/shop/release", f"{HERE}/other", f"{HERE}/shop/release/x"):
        lines = {"api": entry("api", GOOD, repository)}
        lock.save(run_context.workspace.root, lock.Lock(stack.name, services=lines))
        with pytest.raises(EvidenceError, match="outside this stack's repositories"):
            inputs.read_inputs(run_context, stack, NullReporter())


def test_a_locks_line_is_read_as_it_stands(run_context: RunContext) -> None:
    write(run_context, STAGING)
    path = lock.path_of(run_context.workspace.root, "staging")
    found = json.loads(path.read_text())
    found["beside"]["sidecar"] = found["beside"]["gateway"]
    path.write_text(json.dumps(found))
    with pytest.raises(EvidenceError, match="sidecar"):
        inputs.read_inputs(run_context, STAGING, NullReporter())
