"""Imports go one way: model → content → commands → run → toolchain → context → … → tasks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.conftest import ENGINE

BASE = {"model", "content", "commands", "run"}
TOOLS = {*BASE, "toolchain", "context"}
WORK = {*TOOLS, "rollout", "provider", "insight", "targets"}
ALLOWED = {
    "model": set(),
    "content": {"model"},
    "commands": {"model", "content"},
    "run": {"model", "content", "commands"},
    "toolchain": {"model", "commands", "run"},
    "context": {*BASE, "toolchain"},
    "rollout": BASE,
    "provider": {*BASE, "rollout"},
    "policy": {"model", "commands", "run"},
    "insight": TOOLS,
    "targets": {*WORK, "release"},
    "build": {*TOOLS, "insight"},
    "gate": {*WORK, "build"},
    "release": {*WORK, "policy", "build", "gate"},
    "dev": {*WORK, "build", "gate", "release"},
    "prune": {*WORK, "build", "gate", "release"},
    "scaffold": TOOLS,
    "tasks": {*WORK, "build", "gate", "release", "dev", "prune", "scaffold"},
}
ROOMS = ENGINE / "_internal"
MODULES = sorted(ENGINE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("slipway._internal"):
            parts = (node.module or "").split(".")[1:]
            named = {alias.name for alias in node.names if not alias.name.startswith("__")}
            found |= {parts[1]} if len(parts) > 1 else named
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[2] for alias in node.names if alias.name.startswith("slipway._internal.")}
    return found


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_only_what_is_below_it(layer: str) -> None:
    folder = ROOMS / layer
    wrong = {
        f"{path.relative_to(ENGINE)} imports slipway.{name}"
        for path in MODULES
        if folder in path.parents
        for name in imported(path) - ALLOWED[layer] - {layer}
    }
    assert not wrong
