"""A stack's settings live in its Pulumi file; the environment may override the mode for one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.model import stack
from slipway.model.errors import ConfigError


def write(root: Path, text: str, name: str = "dev") -> Path:
    path = root / "infra" / f"Pulumi.{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_settings_are_read_from_the_stack_file(tmp_path: Path) -> None:
    settings = "  slipway:images: hybrid\n  slipway:protected: true\n  slipway:port: 8081\n"
    write(tmp_path, f"config:\n{settings}  api:TOKEN:\n    secure: x\n")
    found = stack.load(tmp_path, "dev", {})
    assert (found.images, found.target, found.protected, found.port) == ("hybrid", "docker", True, 8081)


def test_an_empty_file_means_inline_on_docker(tmp_path: Path) -> None:
    write(tmp_path, "")
    assert stack.load(tmp_path, "dev", {}).images == "inline"


def test_values_that_pulumi_wrote_as_strings_are_understood(tmp_path: Path) -> None:
    write(tmp_path, 'config:\n  slipway:images: external\n  slipway:protected: "true"\n  slipway:port: "8081"\n')
    found = stack.load(tmp_path, "dev", {})
    assert found.protected is True
    assert found.port == 8081


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("slipway:imags: inline", "Pulumi.dev.yaml:2: unknown key `slipway:imags`"),
        ("slipway:images: outline", "Pulumi.dev.yaml:2: `slipway:images` is 'outline'"),
        ("slipway:target: moon", "`slipway:target` is 'moon'"),
        ("slipway:port: 99999", "`slipway:port` is 99999"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line_and_what_it_may_be(tmp_path: Path, line: str, said: str) -> None:
    write(tmp_path, f"config:\n  {line}\n")
    with pytest.raises(ConfigError) as caught:
        stack.load(tmp_path, "dev", {})
    assert said in caught.value.what
    assert caught.value.remedy


def test_an_unknown_stack_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    write(tmp_path, "", "prod")
    with pytest.raises(ConfigError) as caught:
        stack.load(tmp_path, "dev", {})
    assert "prod" in caught.value.remedy


def test_the_environment_overrides_the_mode_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, "config:\n  slipway:images: inline\n")
    found = stack.load(tmp_path, "dev", {"SLIPWAY_IMAGES": "external"})
    assert (found.images, found.overridden) == ("external", True)


def test_an_override_with_a_wrong_mode_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(ConfigError, match="SLIPWAY_IMAGES"):
        stack.load(tmp_path, "dev", {"SLIPWAY_IMAGES": "sideways"})


@pytest.mark.parametrize(("text", "environment"), [("inline", {}), ("external", {"SLIPWAY_IMAGES": "inline"})])
def test_a_protected_stack_refuses_inline_from_wherever_it_comes(
    tmp_path: Path, text: str, environment: dict[str, str]
) -> None:
    write(tmp_path, f"config:\n  slipway:images: {text}\n  slipway:protected: true\n")
    with pytest.raises(ConfigError, match="protected"):
        stack.load(tmp_path, "dev", environment)


@pytest.mark.parametrize(
    "text",
    [
        "config:\n  # why\n  slipway:images: inline # here\n  api:TOKEN:\n    secure: x\n",
        "encryptionsalt: v1:x\nconfig:\n  a:b: c\n",
        "encryptionsalt: v1:x\n",
        "",
    ],
)
def test_switching_the_mode_changes_one_line_and_keeps_the_rest(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    stack.write_mode(stack.load(tmp_path, "dev", {}), "external")
    after = path.read_text()
    assert stack.load(tmp_path, "dev", {}).images == "external"
    assert all(line in after for line in text.splitlines() if "slipway:images" not in line)
