"""An object is identified by its resource, wherever that is in Pulumi's tree."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.rollout import ownership
from slipway._internal.run import engine

FLAT = "urn:pulumi:dev::shop::slipway:docker:Network::dev"
BELOW = "urn:pulumi:dev::shop::slipway:docker:DockerServices$slipway:docker:Network::dev"
DEEPER = "urn:pulumi:dev::shop::a:b:C$slipway:docker:DockerServices$slipway:docker:Network::dev"
OTHERS = (
    FLAT.replace("dev::shop", "prod::shop"),
    FLAT.replace("shop", "other"),
    FLAT.replace("::dev", "::x"),
    BELOW.replace("Network", "Gateway"),
)


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The labels of what this state has made."""
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: file://../.slipway/state\n")
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    use_workspace(tmp_path)
    return dict(ownership.current_owner().labels)


@pytest.mark.parametrize("made_as", [FLAT, BELOW, DEEPER])
@pytest.mark.parametrize("urn", [FLAT, BELOW, DEEPER])
def test_what_was_made_before_its_resource_moved_is_still_its_own(
    labels: dict[str, str], made_as: str, urn: str
) -> None:
    network = SimpleNamespace(name="shop-dev", id="n", attrs={"Labels": {**labels, engine.URN_LABEL: made_as}})
    assert ownership.is_own_network(network, urn)


@pytest.mark.parametrize("other", OTHERS)
def test_what_another_resource_has_made_is_not(labels: dict[str, str], other: str) -> None:
    network = SimpleNamespace(name="shop-dev", id="n", attrs={"Labels": {**labels, engine.URN_LABEL: other}})
    assert not ownership.is_own_network(network, BELOW)
