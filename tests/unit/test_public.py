"""A workspace imports what is public of Slipway, and no more than that has to stay as it is."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import ENGINE, PYTHONPATH, TEMPLATE

import slipway
import slipway.policy
import slipway.pulumi
import slipway.tasks
from slipway._internal.model.errors import ConfigError


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a file imports of Slipway: the module, and the name in it (empty for the module itself)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "slipway")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "slipway":
            yield from ((str(node.module), alias.name) for alias in node.names)


def test_a_workspace_and_the_kinds_of_services_import_only_what_is_public() -> None:
    files = [*TEMPLATE.rglob("*.py"), *(ENGINE / "kinds").rglob("*.py")]
    found = {(name, which) for path in files for name, which in imported(path)}
    assert {name for name, _ in found} == {"slipway.policy", "slipway.pulumi", "slipway.tasks"}
    assert not [f"{name}.{which}" for name, which in found if which not in importlib.import_module(name).__all__], (
        "a name that is not in __all__ is private"
    )


def test_what_is_not_public_says_so_by_its_name() -> None:
    shown = {path.relative_to(ENGINE).parts[0] for path in ENGINE.rglob("*.py")}
    public = {"__init__.py", "policy.py", "pulumi.py", "tasks.py"}
    assert shown - {"kinds"} == {*public, "_internal", "check.py"}, "check.py is a command"


@pytest.mark.parametrize("module", [slipway, slipway.policy, slipway.pulumi, slipway.tasks])
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
