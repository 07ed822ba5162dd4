"""A folder that runs beside another: its names, and its port."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.model import local_settings, stack, workspace
from slipway._internal.model.errors import ConfigError
from slipway._internal.release import side_by_side


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    root = tmp_path / "shop-feature"
    (root / "infra").mkdir(parents=True)
    (root / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (root / "infra" / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: file://../.slipway/state\n")
    for name in ("dev", "mine"):
        (root / "infra" / f"Pulumi.{name}.yaml").write_text(
            "config:\n  slipway:images: inline\n  slipway:protected: false\n"
        )
    running: list[tuple[str, str]] = []
    monkeypatch.setattr(side_by_side, "target_of", lambda *_: SimpleNamespace(running_images=lambda: running))
    return root


def run_beside(root: Path, name: str | None = None, stack_name: str = "dev") -> workspace.Workspace:
    return side_by_side.assign_suffix_and_port(
        workspace.load_workspace(root), stack.load(root, stack_name, {}), name, NullReporter()
    )


def test_it_is_called_after_its_folder_and_listens_at_a_free_port(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first = taken.getsockname()[1]
        (root / "infra" / "Pulumi.dev.yaml").write_text(
            f"config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:port: {first - 1}\n"
        )
        found = run_beside(root)
    assert found.deployed_name == "shop-feature"
    assert found.local.ports["dev"] > first


def test_doing_it_again_changes_nothing(root: Path) -> None:
    first = run_beside(root, "x")
    assert run_beside(root) == first
    assert run_beside(root, "x") == first


def test_each_stack_gets_a_port_of_its_own(root: Path) -> None:
    run_beside(root, "x")
    ports = run_beside(root, None, "mine").local.ports
    assert set(ports) == {"dev", "mine"} and len(set(ports.values())) == 2


def test_a_folder_that_runs_keeps_its_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        side_by_side, "target_of", lambda *_: SimpleNamespace(running_images=lambda: [("shop-dev-api-1", "i")])
    )
    with pytest.raises(ConfigError, match="already runs `dev` as shop"):
        run_beside(root, "x")
    assert not local_settings.path_of(root).exists()


def test_a_shared_state_has_its_stacks_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://team-state")
    with pytest.raises(ConfigError, match="shared") as caught:
        run_beside(root)
    assert "Pulumi.NAME.yaml" in caught.value.remedy


@pytest.mark.parametrize("name", ["Not_one", "x" * 21, "-x", "x-"])
def test_a_name_that_is_none_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid name for `--beside`"):
        run_beside(root, name)


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [("feature_x", "feature-x"), ("shop-two", "two"), ("Ünï", "n"), ("a" * 50, "a" * 20)],
)
def test_a_suffix_is_made_of_the_folders_name(folder: str, suffix: str) -> None:
    assert side_by_side.suggest_suffix(Path("/w") / folder, "shop") == suffix


@pytest.mark.parametrize("folder", ["shop", "___", "SHOP"])
def test_a_folders_name_that_says_nothing_gives_a_random_suffix(folder: str) -> None:
    assert local_settings.SUFFIX_PATTERN.fullmatch(side_by_side.suggest_suffix(Path("/w") / folder, "shop"))
