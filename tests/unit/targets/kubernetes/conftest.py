"""The demo workspace, with its development stack on Kubernetes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.conftest import TEMPLATE

from slipway._internal.scaffold import service_creation


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's three services; no login for any registry."""
    (tmp_path / "workspace.toml").write_text('name = "demo"\nregistry = "registry.example"\n', encoding="utf-8")
    shutil.copytree(TEMPLATE / "libs", tmp_path / "libs")
    service_creation.create_initial_services(tmp_path, "demo")
    settings(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("SLIPWAY_PULL_CONFIG", raising=False)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/state")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def settings(root: Path, *lines: str) -> None:
    """Write the stack's file with more settings."""
    (root / "infra").mkdir(exist_ok=True)
    given = {"target": "kubernetes", "images": "inline", "protected": "false"}
    given |= dict(line.split(": ", 1) for line in lines)
    text = "".join(f"  slipway:{key}: {value}\n" for key, value in given.items())
    (root / "infra" / "Pulumi.dev.yaml").write_text(f"config:\n{text}", encoding="utf-8")


def change(root: Path, service: str, old: str, new: str) -> None:
    """Change a service's service.toml or add to it."""
    path = root / "services" / service / "service.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else f"{text}\n{new}\n", encoding="utf-8")
