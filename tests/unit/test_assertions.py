"""Every test can fail: it asserts something itself, or calls something of the tests that does."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef
RAISERS = {"pytest.raises", "pytest.warns", "pytest.fail"}


def asserts_itself(function: Function) -> bool:
    """Say whether a function asserts: by `assert`, by pytest, or by a mock's `assert_…`."""
    return any(
        (isinstance(node, ast.Assert) and not tells_a_type(node.test))
        or (isinstance(node, ast.Attribute) and (ast.unparse(node) in RAISERS or node.attr.startswith("assert_")))
        for node in ast.walk(function)
    )


def tells_a_type(test: ast.expr) -> bool:
    """Say whether an assertion is there for the type checker: `isinstance` of what has a name already."""
    return (
        isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance" and not isinstance(test.args[0], ast.Call)
    )


class Module:
    """A file of the tests: its functions, and what they may call of the tests' functions and methods.

    A function is known by its file's module and its name, a method by its name alone, behind a dot.
    """

    def __init__(self, file: Path, name: str) -> None:
        """Read the file."""
        self.name = name
        tree = ast.parse(file.read_text(encoding="utf-8"))
        self.methods = {id(node) for owner in ast.walk(tree) if isinstance(owner, ast.ClassDef) for node in owner.body}
        self.functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
        self.imported: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                self.imported |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                self.imported |= {alias.asname or alias.name: alias.name for alias in node.names}

    def key(self, function: Function) -> str:
        """Return what a function or method is known by."""
        return f".{function.name}" if id(function) in self.methods else f"{self.name}:{function.name}"

    def calls(self, function: Function) -> set[str]:
        """Return what a function may call."""
        keys = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                keys.add(self.imported.get(node.func.id, f"{self.name}:{node.func.id}"))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = self.imported.get(ast.unparse(node.func.value))
                keys.add(f"{owner.replace(':', '.')}:{node.func.attr}" if owner else f".{node.func.attr}")
        return keys


def find_idle_tests(folder: Path) -> list[str]:
    """Name the tests below a folder that neither assert nor call a function or method of the folder that does."""
    modules = {
        file: Module(file, ".".join((folder.name, *file.relative_to(folder).with_suffix("").parts)))
        for file in sorted(folder.rglob("*.py"))
    }
    calls = [(module.key(each), module.calls(each)) for module in modules.values() for each in module.functions]
    asserting = {module.key(each) for module in modules.values() for each in module.functions if asserts_itself(each)}
    while more := {key for key, called in calls if called & asserting} - asserting:
        asserting |= more
    return [
        f"{file.relative_to(folder)}:{function.lineno} {function.name}"
        for file, module in modules.items()
        if file.name.startswith("test_")
        for function in module.functions
        if function.name.startswith("test_") and not asserts_itself(function) and not module.calls(function) & asserting
    ]


def test_every_test_asserts_something() -> None:
    assert find_idle_tests(ROOT / "tests") == []


def test_a_test_that_asserts_nothing_is_found(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "helpers.py").write_text(
        "def check(x): assert x\nclass World:\n    def look(self): check(1)\n    def idle(self): pass\n"
    )
    (tests / "test_it.py").write_text(
        "import shutil\nimport pytest\nfrom tests.helpers import check\n"
        "def test_asserts(): assert 1\n"
        "def test_raises():\n    with pytest.raises(ValueError): int('x')\n"
        "def test_mock(mock): mock.assert_called_once()\n"
        "def test_calls(): check(2)\n"
        "def test_by_a_method(world): world.look()\n"
        "def test_tells_a_type(): assert isinstance(1, int)\n"
        "def test_only_does(): print(1)\n"
        "def test_by_an_idle_method(world): world.idle()\n"
        "def test_of_another_library(): shutil.look()\n"
    )
    assert find_idle_tests(tests) == [
        "test_it.py:10 test_tells_a_type",
        "test_it.py:11 test_only_does",
        "test_it.py:12 test_by_an_idle_method",
        "test_it.py:13 test_of_another_library",
    ]
