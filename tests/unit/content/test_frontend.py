"""A `# syntax=` line that asks for what the builder has itself: it needs no registry, and nothing else changes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from slipway._internal.content import frontend
from slipway._internal.content.digest import BuildInputs, content_digest, content_manifest, describe_changes
from slipway._internal.content.dockerfile import read
from slipway._internal.content.frontend import built_dockerfile, is_builders_own, without_syntax_line
from slipway._internal.content.normalized_contexts import normalize_inputs


@pytest.mark.parametrize(
    "syntax",
    [
        "docker/dockerfile",
        "docker/dockerfile:1",
        "docker/dockerfile:latest",
        "docker/dockerfile:1.4",
        "docker/dockerfile:1.20.3",
        "docker.io/docker/dockerfile:1",
        "index.docker.io/docker/dockerfile:1.7",
    ],
)
def test_the_stable_frontend_up_to_its_version_is_the_builders_own(syntax: str) -> None:
    assert is_builders_own(syntax)


@pytest.mark.parametrize(
    "syntax",
    [
        "",
        "docker/dockerfile:1.21",
        "docker/dockerfile:2",
        "docker/dockerfile:0.9",
        "docker/dockerfile:1-labs",
        "docker/dockerfile:experimental",
        "docker/dockerfile-upstream:1",
        "example.com/docker/dockerfile:1",
        "docker/dockerfile:1@sha256:" + "0" * 64,
        "docker/dockerfile:1 --flag",
    ],
)
def test_any_other_frontend_is_the_image_that_it_names(syntax: str) -> None:
    assert not is_builders_own(syntax)


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
    monkeypatch.setattr(frontend, "OWN_VERSION", (1, 21))
    after = content_manifest(named), content_manifest(plain)
    assert describe_changes(before[0], after[0]) == ["frontend changed"]
    assert before[1] == after[1]
