"""A `# syntax=` line asks for what the builder has, for a later one that Slipway serves, or for another image."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.commands.bake import build_args
from slipway._internal.content import frontend
from slipway._internal.content.digest import BuildInputs, content_digest, content_manifest, describe_changes
from slipway._internal.content.dockerfile import read
from slipway._internal.content.frontend import (
    built_dockerfile,
    is_builders_own,
    served_version,
    without_syntax_line,
)
from slipway._internal.content.normalized_contexts import normalize_inputs
from slipway._internal.model.errors import EvidenceError
from slipway._internal.toolchain.dockerfile_frontend import MINOR_OFFSET
from slipway._internal.toolchain.tool_catalog import find_tool


@pytest.mark.parametrize(
    "syntax",
    [
        "docker/dockerfile",
        "docker/dockerfile:1",
        "docker/dockerfile:latest",
        "docker/dockerfile:1.4",
        "docker/dockerfile:1.28",
        "docker/dockerfile:1.28.3",
        "docker.io/docker/dockerfile:1",
        "index.docker.io/docker/dockerfile:1.7",
        "docker/dockerfile:labs",
        "docker/dockerfile:1-labs",
        "docker/dockerfile:1.7-labs",
        "docker/dockerfile:1.28.0-labs",
        "docker/dockerfile:experimental",
        "docker/dockerfile:1.0-experimental",
    ],
)
def test_the_official_frontend_of_any_channel_up_to_its_version_is_the_builders_own(syntax: str) -> None:
    assert is_builders_own(syntax)
    assert served_version(syntax) == ""


@pytest.mark.parametrize(
    ("syntax", "version"),
    [
        ("docker/dockerfile:1.29", "1.29.0"),
        ("docker/dockerfile:1.029", "1.29.0"),
        ("docker.io/docker/dockerfile:1.30.2", "1.30.2"),
        ("docker/dockerfile:1.29-labs", "1.29.0-labs"),
        ("docker/dockerfile:1.30.2-labs", "1.30.2-labs"),
    ],
)
def test_a_later_official_frontend_is_served_at_its_whole_version(syntax: str, version: str) -> None:
    assert served_version(syntax) == version
    assert not is_builders_own(syntax)


def test_the_builders_own_version_is_that_of_the_oldest_buildkit_which_is_accepted() -> None:
    buildkit = find_tool("buildkit")
    for version in (buildkit.accepts, buildkit.version):
        assert (1, int(version.split(".")[1]) - MINOR_OFFSET) == frontend.OWN_VERSION


@pytest.mark.parametrize(
    "syntax",
    [
        "",
        "docker/dockerfile:2",
        "docker/dockerfile:2.1-labs",
        "docker/dockerfile:0.9",
        "docker/dockerfile:1.29-experimental",
        "docker/dockerfile:1.29-rc1",
        f"docker/dockerfile:1.{'9' * 5000}",
        "docker/dockerfile:labs-1",
        "docker/dockerfile-upstream:1",
        "example.com/docker/dockerfile:1",
        "docker/dockerfile:1@sha256:" + "0" * 64,
        "docker/dockerfile:1 --flag",
    ],
)
def test_any_other_frontend_is_the_image_that_it_names(syntax: str) -> None:
    assert not is_builders_own(syntax)
    assert served_version(syntax) == ""


@pytest.mark.parametrize(
    ("text", "built"),
    [
        (b"# syntax=docker/dockerfile:1\nFROM a\n", b"#\nFROM a\n"),
        (b"\xef\xbb\xbf# syntax=docker/dockerfile:1\nFROM a\n", b"#\nFROM a\n"),
        (b"#!/usr/bin/x\n# SYNTAX = docker/dockerfile\n\nFROM a", b"#!/usr/bin/x\n#\n\nFROM a"),
        (
            b"# syntax=docker/dockerfile:1\r\n# escape=`\r\nFROM a\r\n",
            b"# escape=`\r\n#\nFROM a\r\n",
        ),
        (b"# check=skip=all\n# syntax=docker/dockerfile:1\nFROM a\n", b"# check=skip=all\n#\nFROM a\n"),
        (b"# about\n# syntax=docker/dockerfile:1\nFROM a\n", b"# about\n# syntax=docker/dockerfile:1\nFROM a\n"),
        (b"# syntax=docker/dockerfile:1\nFROM a\nRUN echo \xff\n", b"#\nFROM a\nRUN echo \xff\n"),
    ],
)
def test_only_the_directive_goes_and_every_instruction_keeps_its_line(text: bytes, built: bytes) -> None:
    assert without_syntax_line(text) == built
    assert text.count(b"\n") == built.count(b"\n")


def inputs_with(folder: Path, text: str) -> BuildInputs:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(text)
    return BuildInputs(folder / "Dockerfile", folder)


def test_a_builder_gets_a_private_copy_with_the_dockerfiles_own_ignore_file(tmp_path: Path) -> None:
    inputs = inputs_with(tmp_path / "services" / "api", "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY . /\n")
    (inputs.context / "Dockerfile.dockerignore").write_text("notes\n")
    built = normalize_inputs(inputs, tmp_path / ".slipway")
    assert built.dockerfile.is_relative_to(tmp_path / ".slipway")
    assert built.dockerfile.read_text() == "#\nFROM scratch\nCOPY . /\n"
    assert built.dockerfile.with_name("Dockerfile.dockerignore").read_text() == "notes\n"
    assert stat.S_IMODE(built.dockerfile.stat().st_mode) == 0o600
    assert built.context == inputs.context
    assert content_digest(built) == content_digest(inputs)
    (inputs.context / "Dockerfile.dockerignore").unlink()
    again = normalize_inputs(inputs.as_on_disk(), tmp_path / ".slipway")
    assert again.dockerfile == built.dockerfile
    assert not again.dockerfile.with_name("Dockerfile.dockerignore").exists()


def test_a_dockerfile_that_names_none_or_another_is_built_as_it_lies_there(tmp_path: Path) -> None:
    for text in ("FROM scratch\n", f"# syntax=example.com/own@sha256:{'0' * 64}\nFROM scratch\n"):
        inputs = inputs_with(tmp_path / "api", text)
        assert built_dockerfile(read(inputs.dockerfile), tmp_path / ".slipway") == inputs.dockerfile


def test_the_frontends_version_is_part_of_the_digest_only_where_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = inputs_with(tmp_path / "named", "# syntax=docker/dockerfile:1\nFROM scratch\n")
    plain = inputs_with(tmp_path / "plain", "FROM scratch\n")
    before = content_manifest(named), content_manifest(plain)
    assert ["frontend" in manifest for manifest in before] == [True, False]
    monkeypatch.setattr(frontend, "OWN_VERSION", (1, 29))
    after = content_manifest(named), content_manifest(plain)
    assert describe_changes(before[0], after[0]) == ["frontend changed"]
    assert before[1] == after[1]


LATER = "# syntax=docker/dockerfile:1.99-labs\nFROM scratch\n"
SERVED = f"127.0.0.1:5000/demo/dockerfile_frontend@sha256:{'1' * 64}"


def test_a_later_frontend_is_given_to_the_build_by_digest_and_its_version_counts_alone(tmp_path: Path) -> None:
    inputs = replace(inputs_with(tmp_path / "api", LATER), frontend=SERVED)
    built = normalize_inputs(inputs, tmp_path / ".slipway")
    assert build_args(built)["BUILDKIT_SYNTAX"] == SERVED
    assert built.dockerfile == inputs.dockerfile
    other = replace(inputs, frontend=SERVED.replace("1" * 64, "2" * 64))
    assert content_digest(other) == content_digest(inputs) == content_digest(replace(inputs, frontend=""))
    before = content_manifest(inputs)
    (inputs.context / "Dockerfile").write_text(LATER.replace("-labs", ""))
    assert describe_changes(before, content_manifest(inputs)) == ["Dockerfile changed", "frontend changed"]


@pytest.mark.parametrize("image", ["", "127.0.0.1:5000/demo/dockerfile_frontend:1.99.0-labs"])
def test_nothing_is_built_by_another_frontend_than_the_line_asks_for(tmp_path: Path, image: str) -> None:
    inputs = replace(inputs_with(tmp_path / "api", LATER), frontend=image)
    with pytest.raises(EvidenceError, match=r"Dockerfile: the line `syntax=.*1\.99\.0-labs") as refused:
        normalize_inputs(inputs, tmp_path / ".slipway")
    assert "invoke setup" in refused.value.remedy
    normalize_inputs(inputs, tmp_path / ".slipway", preview=True)
    own = replace(inputs, args={"BUILDKIT_SYNTAX": SERVED})
    assert build_args(normalize_inputs(own, tmp_path / ".slipway"))["BUILDKIT_SYNTAX"] == SERVED
