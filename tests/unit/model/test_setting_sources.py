"""A remedy names the file and key that decide."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.setting_sources import describe_port_setting, describe_registry_setting

STACK = "config:\n  slipway:images: inline\n  slipway:target: docker\n  slipway:protected: false\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "infra").mkdir()
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "ghcr.io/acme"\n')
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(STACK)
    own = "  slipway:port: 8081\n  slipway:registry: prod.example/shop\n"
    (tmp_path / "infra" / "Pulumi.copy.yaml").write_text(STACK + own)
    return tmp_path


def test_a_stacks_own_port_is_named_with_its_file(root: Path) -> None:
    assert describe_port_setting("copy", root) == "slipway:port in infra/Pulumi.copy.yaml"


def test_without_one_it_is_the_workspaces_and_the_stack_may_have_its_own(root: Path) -> None:
    said = describe_port_setting("dev", root)
    assert said.startswith("`port` under [gateway] in workspace.toml")
    assert "slipway:port in infra/Pulumi.dev.yaml" in said


def test_a_stack_without_a_file_is_no_reason_to_fail(root: Path) -> None:
    (root / "infra" / "Pulumi.dev.yaml").write_text("config: {\n")
    assert describe_port_setting("gone", root) == "`port` under [gateway] in workspace.toml"
    assert describe_port_setting("copy", root) == "slipway:port in infra/Pulumi.copy.yaml"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("ghcr.io", "`registry` in workspace.toml"),
        ("prod.example", "slipway:registry in infra/Pulumi.copy.yaml"),
        ("elsewhere.example", "`registry` in workspace.toml"),
    ],
)
def test_a_registry_is_named_where_it_stands(root: Path, host: str, said: str) -> None:
    assert describe_registry_setting(host, root) == said


def test_a_mode_of_the_environment_is_mended_there(root: Path) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(STACK.replace("inline", "external").replace("false", "true"))
    with pytest.raises(ConfigError) as caught:
        stacks.load(root, "dev", {"SLIPWAY_IMAGES": "inline"})
    assert caught.value.remedy.startswith("Unset SLIPWAY_IMAGES")
    file.write_text(STACK.replace("false", "true"))
    with pytest.raises(ConfigError) as caught:
        stacks.load(root, "dev", {})
    assert str(file) in caught.value.remedy
