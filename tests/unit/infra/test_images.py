"""The three modes, and services whose rollout failed, which go back to images that are not those of the lock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra import images
from infra.images import images_of
from slipway._internal.model import lock
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.stack import Mode, Stack
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings


def ref(letter: str) -> str:
    return f"127.0.0.1:5000/shop/release/api@sha256:{letter * 64}"


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Collect what Pulumi would build, by each time that it is asked."""
    asked: list[list[str]] = []

    def build(_name: str, _workspace: Workspace, services: Sequence[str]) -> SimpleNamespace:
        asked.append([*services])
        return SimpleNamespace(refs={name: f"built {name}" for name in services})

    monkeypatch.setattr(images, "BuiltImages", build)
    return asked


def inputs_of(tmp_path: Path, mode: Mode, **locked: str) -> DeployInputs:
    services = tuple(Service(name, tmp_path / name, ServiceSettings(kind="worker")) for name in ("api", "web"))
    workspace = Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), services)
    stack = Stack("staging", tmp_path / "Pulumi.staging.yaml", mode, "kubernetes", protected=False)
    return DeployInputs(
        workspace, stack, {name: lock.LockEntry(ref(letter), "c" * 64) for name, letter in locked.items()}
    )


def test_an_image_that_is_given_counts_more_than_the_lock_and_needs_none(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, "external", api="b")
    assert images_of(inputs, {"api": ref("a"), "web": ref("d")}) == {"api": ref("a"), "web": ref("d")}
    assert images_of(inputs, {"web": ref("d")}) == {"api": ref("b"), "web": ref("d")}


def test_external_builds_nothing_and_refuses_what_is_not_locked(tmp_path: Path, built: list[list[str]]) -> None:
    with pytest.raises(EvidenceError, match=r"staging\.lock\.json has no digest for web") as caught:
        images_of(inputs_of(tmp_path, "external", api="b", gone="e"), {})
    assert "invoke ship --stack staging" in caught.value.remedy
    assert not built


def test_inline_builds_all_but_what_is_given(tmp_path: Path, built: list[list[str]]) -> None:
    found = images_of(inputs_of(tmp_path, "inline"), {"web": ref("d"), "gone": ref("e")})
    assert found == {"api": "built api", "web": ref("d")}
    assert built == [["api"]]


def test_hybrid_builds_what_is_not_locked(tmp_path: Path, built: list[list[str]]) -> None:
    assert images_of(inputs_of(tmp_path, "hybrid", api="b"), {}) == {"api": ref("b"), "web": "built web"}
    assert built == [["web"]]
