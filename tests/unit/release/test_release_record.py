"""The record of releases in a Pulumi program: its images resolve only when all of them are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest
from tests.unit.targets.kubernetes.declared import Declared, RecordingMonitor

from slipway._internal.model import lock
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway.pulumi import ReleaseRecord, Suffix

REF = f"127.0.0.1:5000/shop/api@sha256:{'a' * 64}"
GATEWAY = f"127.0.0.1:5000/shop/gateway@sha256:{'b' * 64}"
RELEASE = {"id": "r1", "time": "2026-01-01T00:00:00Z", "mode": "inline", "digests": {"api": REF}}


class Recorded(Declared):
    """What is declared, with the outputs that the provider gives."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        identity, outputs = super().new_resource(args)
        return identity, {**outputs, "releases": [RELEASE], "live": "r1", "good": [RELEASE]}


@pytest.fixture
def inputs(tmp_path: Path) -> DeployInputs:
    workspace = Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), ())
    stack = Stack("dev", tmp_path / "Pulumi.dev.yaml", "hybrid", "docker", protected=False)
    entries = {"api": lock.LockEntry(REF, "c" * 64), "web": lock.LockEntry(REF, "d" * 64)}
    return DeployInputs(workspace, stack, entries, {lock.GATEWAY: GATEWAY})


@pytest.mark.parametrize("preview", [True, False])
def test_a_release_is_recorded_with_its_images_and_live_when_all_is_in_place(
    inputs: DeployInputs, preview: bool
) -> None:
    recorded, seen = Recorded(), []
    pulumi.runtime.set_mocks(recorded, project="shop", stack="dev", preview=preview, monitor=RecordingMonitor(recorded))

    def program() -> None:
        record = ReleaseRecord("dev", inputs, {"api": REF, "web": pulumi.Output.from_input("built")})
        with pytest.raises(RuntimeError, match="mark_live"):
            _ = record.live
        assert (record.images["api"] == REF) is preview, "nothing is known before all is, where something is made"
        record.mark_live([Suffix("what-runs", of={})])
        found = pulumi.Output.all(*record.images.values(), record.live, record.releases)
        found.apply(seen.append)

    pulumi.runtime.test(program)()
    assert seen[0][:4] == [REF, "built", GATEWAY, "r1"]
    assert [each["result"] for each in seen[0][4]] == ["live"]
    assert recorded["Release", "dev"]["contents"] == {"api": "c" * 64}, "an image that is not the lock's has none"
    assert recorded["Release", "dev"]["beside"] == {lock.GATEWAY: GATEWAY}
    assert ("Suffix", "what-runs") in recorded.waited
    parts = {("Release", "dev"), ("Live", "dev"), ("Protection", "dev")}
    assert {recorded.tree[which] for which in parts} == {("ReleaseRecord", "dev")}
    assert parts <= recorded.flat, "known by where earlier versions declared it"
