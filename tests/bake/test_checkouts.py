"""Every clone of a workspace has the same content digests, however its machine's git and umask are set."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from slipway._internal.build.bases import hardened_tags
from slipway._internal.content.digest import content_digests
from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.model.workspace import load_workspace

BASES = ("python-build", "python-run", "node-build", "node-run", "envoy", "postgres")
SETTINGS = {
    "usual": (),
    "autocrlf": ("core.autocrlf=true",),
    "input": ("core.autocrlf=input",),
    "CRLF": ("core.eol=crlf", "core.autocrlf=false"),
}


@pytest.fixture(scope="module")
def committed(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds the workspace, with files whose bytes a conversion would change."""
    root = tmp_path_factory.mktemp("committed") / "demo"
    shutil.copytree(plain, root)
    (root / "services" / "api" / "app" / "data.bin").write_bytes(b"\x89PNG\r\n\x1a\n\x00one\ntwo\r\n")
    (root / "services" / "api" / "app" / "dos.bat").write_bytes(b"echo one\r\necho two\r\n")
    (root / "services" / "api" / "app" / "run.sh").write_text("#!/bin/sh\necho one\n")
    (root / "services" / "api" / "app" / "run.sh").chmod(0o755)
    run_git(root, "init", "--quiet")
    run_git(root, "-c", "core.autocrlf=true", "-c", "core.safecrlf=false", "add", ".")
    run_git(root, "commit", "--quiet", "--message", "Generated")
    return root


def run_git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@localhost")
    subprocess.run(["git", "-C", root, *who, *words], check=True, capture_output=True)


def digests(root: Path) -> dict[str, str]:
    """Return the content digest of each service, and the tag of each base."""
    workspace = load_workspace(root)
    refs = {name: f"r/{name}@sha256:{'0' * 64}" for name in BASES}
    services = content_digests({each.name: build_inputs_of(workspace, each, refs) for each in workspace.services})
    return {**services, **hardened_tags(workspace, BASES)}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_a_clone_has_the_digests_of_what_was_committed(
    committed: Path, tmp_path: Path, settings: tuple[str, ...], umask: int
) -> None:
    clone = tmp_path / "demo"
    given = [word for each in settings for word in ("-c", each)]
    before = os.umask(umask)
    try:
        subprocess.run(["git", *given, "clone", "--quiet", committed, clone], check=True)
    finally:
        os.umask(before)
    assert (clone / "bases" / "distroless.sh").read_bytes() == (committed / "bases" / "distroless.sh").read_bytes()
    assert (clone / "services" / "api" / "app" / "dos.bat").read_bytes() == b"echo one\r\necho two\r\n"
    assert digests(clone) == digests(committed)
