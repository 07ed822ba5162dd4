"""A value of a stack's configuration is had before anything is deployed; Pulumi is asked only for encrypted ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.masking import MASK, mask
from slipway._internal.model.project import Project
from slipway._internal.run.passphrase import VARIABLES
from slipway._internal.run.stack_config import read_setting

FILE = "config:\n  slipway:images: inline\n  build:plain: 5\n  build:token:\n    secure: v1:x:y\nencryptionsalt: v1:z\n"
PULUMI = """#!/bin/sh
echo "$@" >> {log}
case "$2 $3" in
  "stack init") {init} ;;
  "config get") if [ -e {made} ]; then {get}; else echo "error: no stack named 'dev' found"; exit 6; fi ;;
esac
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: file://../.slipway/state\n")
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(FILE)
    (tmp_path / ".slipway").mkdir()
    (tmp_path / ".slipway" / "passphrase").write_text("one")
    return tmp_path


def pulumi(root: Path, *, init: str = "touch {made}", get: str = "echo 'a warning'; echo '{answer}'") -> Path:
    """Make a program that answers as Pulumi does: it knows a stack once that was made."""
    path, made = root / "pulumi", root / "made"
    answer = json.dumps({"value": "open sesame", "secret": True})
    parts = {"init": init.format(made=made), "get": get.format(answer=answer)}
    path.write_text(PULUMI.format(log=root / "asked", made=made, **parts))
    path.chmod(0o755)
    return path


def test_what_the_file_does_not_have_is_not_asked_for(root: Path) -> None:
    assert read_setting(root / "no-pulumi", Project(root), "dev", "build:other", {}) is None
    assert read_setting(root / "no-pulumi", Project(root), "unknown", "build:token", {}) is None


def test_what_is_not_encrypted_is_read_from_the_file(root: Path) -> None:
    assert read_setting(root / "no-pulumi", Project(root), "dev", "build:plain", {}) == "5"


def test_a_stack_that_was_never_deployed_is_made_known_first(root: Path) -> None:
    assert read_setting(pulumi(root), Project(root), "dev", "build:token", {}) == "open sesame"
    asked = (root / "asked").read_text().splitlines()
    assert [line.split("--non-interactive ")[1].split(" --")[0] for line in asked] == [
        "config get",
        "stack init dev",
        "config get",
    ]
    assert mask("open sesame") == MASK
    assert (root / "infra" / "Pulumi.dev.yaml").read_text() == FILE


@pytest.mark.parametrize("where", ["init", "get"])
def test_another_passphrase_is_named_with_the_file(root: Path, where: str) -> None:
    said = "echo 'error: incorrect passphrase'; exit 1"
    program = pulumi(root, init=said) if where == "init" else pulumi(root, get=said)
    with pytest.raises(ConfigError) as caught:
        read_setting(program, Project(root), "dev", "build:token", {})
    assert str(root / "infra" / "Pulumi.dev.yaml") in caught.value.message
    assert "PULUMI_CONFIG_PASSPHRASE" in caught.value.remedy


def test_what_cannot_be_decrypted_is_named_with_the_command_that_sets_it_anew(root: Path) -> None:
    with pytest.raises(SlipwayError) as caught:
        read_setting(
            pulumi(root, get="echo 'error: cipher: message authentication failed'; exit 1"),
            Project(root),
            "dev",
            "build:token",
            {},
        )
    assert "build:token" in caught.value.message
    assert "config set --secret --stack dev build:token" in caught.value.remedy


def test_a_backend_that_does_not_answer_is_no_missing_stack(root: Path) -> None:
    with pytest.raises(SlipwayError, match="dev") as caught:
        read_setting(pulumi(root, init="echo 'error: access denied'; exit 1"), Project(root), "dev", "build:token", {})
    assert caught.value.detail == "error: access denied"
