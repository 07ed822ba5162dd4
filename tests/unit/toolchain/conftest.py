"""A machine of its own for each test: empty cache and state folders, and nothing on PATH."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway._internal.toolchain import vendor_release

Program = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "GITHUB_TOKEN", vendor_release.MIRROR_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(vendor_release, "_unreachable", set())


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Make a program that prints a text, and put its folder on PATH."""

    def make(name: str, says: str = "", folder: str = "bin") -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent))
        return path

    return make
