"""A workspace imports what is public of Slipway, and no more than that has to stay as it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import ENGINE, PYTHONPATH, TEMPLATE

import slipway
import slipway.pulumi
import slipway.tasks
from slipway._internal.model.errors import ConfigError

PUBLIC = {"slipway", "slipway.pulumi", "slipway.tasks"}
# Most of these go when the engine itself declares targets and images, and infra/ holds what a team owns.
STILL_PRIVATE = {
    "slipway._internal.commands",
    "slipway._internal.commands.admission",
    "slipway._internal.commands.bake",
    "slipway._internal.commands.kubectl",
    "slipway._internal.content",
    "slipway._internal.content.digest",
    "slipway._internal.content.dockerfile",
    "slipway._internal.content.healthcheck",
    "slipway._internal.content.normalized_contexts",
    "slipway._internal.content.service_inputs",
    "slipway._internal.model",
    "slipway._internal.model.addresses",
    "slipway._internal.model.environment",
    "slipway._internal.model.errors",
    "slipway._internal.model.lock",
    "slipway._internal.model.masking",
    "slipway._internal.model.names",
    "slipway._internal.model.request_limits",
    "slipway._internal.model.stack",
    "slipway._internal.model.workspace",
    "slipway._internal.rollout.gateway",
    "slipway._internal.provider.release",
    "slipway._internal.run",
    "slipway._internal.run.credentials",
    "slipway._internal.run.owner",
    "slipway._internal.run.policy",
    "slipway._internal.toolchain.builder",
}
"""What workspaces import though it is not public; the list may only become shorter."""


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of Slipway that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "slipway")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "slipway":
            yield str(node.module)


def test_a_workspace_imports_what_is_public_and_what_is_listed_here() -> None:
    found = {name for path in TEMPLATE.rglob("*.py") for name in imported(path)}
    assert {"slipway", "slipway.pulumi", "slipway.tasks"} <= found
    assert found - PUBLIC == STILL_PRIVATE


def test_what_is_not_public_says_so_by_its_name() -> None:
    shown = {path.relative_to(ENGINE).parts[0] for path in ENGINE.rglob("*.py") if "kinds" not in path.parts}
    assert shown == {"__init__.py", "_internal", "check.py", "pulumi.py", "tasks.py"}, "check.py is a command"


@pytest.mark.parametrize("module", [slipway, slipway.pulumi, slipway.tasks])
def test_what_is_public_is_there(module: object) -> None:
    for name in module.__all__:  # type: ignore[attr-defined]
        assert getattr(module, name), name


def test_what_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        slipway.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, os, typing; before = {*sys.modules}; import slipway; print(sorted({*sys.modules} - before))"
    done = subprocess.check_output([sys.executable, "-c", code], env={"PYTHONPATH": PYTHONPATH}, text=True)
    assert done == "['__future__', 'slipway']\n"


def test_a_workspace_is_read_from_a_folder_or_from_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (tmp_path / "services").mkdir()
    assert slipway.Workspace.load(tmp_path).name == "shop"
    monkeypatch.chdir(tmp_path / "services")
    assert slipway.Workspace.load().root == tmp_path.resolve()
    monkeypatch.chdir("/")
    with pytest.raises(ConfigError, match=r"no workspace\.toml"):
        slipway.Workspace.load()
