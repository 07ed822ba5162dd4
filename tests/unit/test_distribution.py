"""What the engine imports is what its distribution declares, and the workspace's lock has all of it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.conftest import ENGINE, ROOT, TEMPLATE

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = {canonicalize_name(each.name): each for each in map(Requirement, PROJECT["dependencies"])}
OWN = {"slipway"}


def imported() -> set[str]:
    """Return the top-level names that the engine imports; what is copied into services is theirs."""
    paths = [path for path in ENGINE.rglob("*.py") if ENGINE / "kinds" not in path.parents]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - OWN


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    packages = packages_distributions()
    unknown = {name for name in imported() if name not in packages}
    assert not unknown
    needed = {
        canonicalize_name(
            next((each for each in packages[name] if canonicalize_name(each) in DECLARED), packages[name][0])
        )
        for name in imported()
    }
    assert needed == DECLARED.keys()


def test_the_locks_have_what_is_declared() -> None:
    for lock in (TEMPLATE / "requirements.txt", ROOT / "requirements-dev.txt"):
        locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
        assert locked.keys() >= DECLARED.keys()
        assert not [name for name, wanted in DECLARED.items() if locked[name] not in wanted.specifier]


def test_the_engine_is_none_of_the_templates_locked_packages() -> None:
    assert "\nslipway-workspace" in (TEMPLATE / "requirements.in").read_text(encoding="utf-8")
    assert not re.search(
        r"^slipway-workspace==|^--find-links", (TEMPLATE / "requirements.txt").read_text(), re.MULTILINE
    )


def test_what_generates_a_workspace_needs_pythons_own_library_alone() -> None:
    code = f"import sys; sys.path[:0] = [{str(ENGINE.parent)!r}, {str(ROOT)!r}]; "
    code += "import slipway._internal.scaffold.service_creation, slipway._internal.run.streams, wheel_builder"
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code], check=False).returncode == 0
