"""What is one folder's alone: its suffix and its ports."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model import local_settings, stack, workspace
from slipway._internal.model.errors import ConfigError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:port: 9000\n"
    )
    return tmp_path


def write(root: Path, text: str) -> None:
    (root / ".slipway").mkdir(exist_ok=True)
    local_settings.path_of(root).write_text(text)


def test_without_the_file_names_and_ports_are_the_workspaces(root: Path) -> None:
    found = workspace.load_workspace(root)
    assert found.deployed_name == "shop"
    assert stack.gateway_port_of(found, stack.load(root, "dev", {})) == 9000


def test_what_is_saved_is_what_is_read_and_counts_first(root: Path) -> None:
    local_settings.save(root, "feature-x", {"dev": 8090})
    found = workspace.load_workspace(root)
    assert found.deployed_name == "shop-feature-x"
    assert stack.gateway_port_of(found, stack.load(root, "dev", {})) == 8090


def test_images_and_what_they_are_called_stay_the_same(root: Path) -> None:
    before = workspace.load_workspace(root)
    local_settings.save(root, "x", {})
    after = workspace.load_workspace(root)
    assert after.repository("api") == before.repository("api")
    assert after.release_repository("api") == before.release_repository("api")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('sufix = "x"\n', "unknown key `sufix`"),
        ('suffix = "Not_one"\n', r"local\.toml:1: `suffix`"),
        ('suffix = ""\n', "`suffix`"),
        (f'suffix = "{"x" * 21}"\n', "`suffix`"),
        ("[ports]\ndev = 0\n", "ports"),
        ('[ports]\ndev = "8080"\n', "ports"),
        ("suffix = [", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_it_is_named(root: Path, text: str, says: str) -> None:
    write(root, text)
    with pytest.raises(ConfigError, match=says):
        workspace.load_workspace(root)
