"""Services whose rollout failed go back to images that are not those of the lock."""

from __future__ import annotations

from pathlib import Path

from infra.images import images_of
from slipway._internal.model import lock
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings


def ref(letter: str) -> str:
    return f"127.0.0.1:5000/shop/release/api@sha256:{letter * 64}"


def test_an_image_that_is_given_counts_more_than_the_lock_and_needs_none(tmp_path: Path) -> None:
    services = tuple(Service(name, tmp_path / name, ServiceSettings(kind="worker")) for name in ("api", "web"))
    workspace = Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), services)
    stack = Stack("staging", tmp_path / "Pulumi.staging.yaml", "external", "kubernetes", protected=False)
    inputs = DeployInputs(workspace, stack, {"api": lock.LockEntry(ref("b"), "c" * 64)})
    assert images_of(inputs, {"api": ref("a"), "web": ref("d")}) == {"api": ref("a"), "web": ref("d")}
    assert images_of(inputs, {"web": ref("d")}) == {"api": ref("b"), "web": ref("d")}
