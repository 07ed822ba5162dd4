"""Docstrings say what is so: each argument that they name is a parameter, each error a class that there is."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.conftest import ENGINE, ROOT, TEMPLATE

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
FILES = [
    *sorted(path for path in ENGINE.rglob("*.py") if "kinds" not in path.relative_to(ENGINE).parts),
    *sorted((TEMPLATE / "infra").rglob("*.py")),
    *(ROOT / name for name in ("local_extensions.py", "noxfile.py", "wheel_builder.py")),
]
ENTRY = re.compile(r"^(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*):", re.MULTILINE)
"""What begins an entry of a section, once the section's own indent is gone; a wrapped line is further in."""


def sections(docstring: str) -> dict[str, list[str]]:
    """Return the names of a docstring's entries by section."""
    found: dict[str, list[str]] = {}
    for title, body in re.findall(r"^(Args|Raises):\n((?:(?: {4}.*)?\n?)*)", docstring, re.MULTILINE):
        lines = "\n".join(line[4:] for line in body.splitlines())
        found[title] = [name for names in ENTRY.findall(lines) for name in names.replace("*", "").split(", ")]
    return found


def documented(tree: ast.Module) -> Iterator[tuple[Documented, dict[str, list[str]]]]:
    """Yield everything in a module that has a docstring with sections."""
    for node in ast.walk(tree):
        if isinstance(node, Documented) and (found := sections(ast.get_docstring(node) or "")):
            yield node, found


def parameters(node: Documented) -> set[str]:
    """Return the parameters of a function; of a class those of its `__init__`, and its fields."""
    if isinstance(node, ast.ClassDef):
        fields = {
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        }
        starts = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        return fields.union(*(parameters(each) for each in starts))
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {each.arg for each in every if each}


def modules_by_class() -> dict[str, str]:
    """Return which of the engine's modules has a class, for each name of one."""
    found = {}
    for path in FILES:
        if path.is_relative_to(ENGINE):
            module = ".".join(path.relative_to(ENGINE.parent).with_suffix("").parts).removesuffix(".__init__")
            classes = (node for node in TREES[path].body if isinstance(node, ast.ClassDef))
            found.update({node.name: module for node in classes})
    return found


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MODULES = modules_by_class()


def imports(tree: ast.Module) -> dict[str, str]:
    """Return the module that each imported name comes from."""
    froms = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module)
    return {each.asname or each.name: str(node.module) for node in froms for each in node.names}


def is_error(name: str, modules: Mapping[str, str] = MODULES) -> bool:
    """Whether a name stands for an error: one of Python's own, one in a module that is known, or `package.Name`."""
    package, _, own = name.rpartition(".")
    module = package or modules.get(own) or "builtins"
    found = getattr(importlib.import_module(module), own, None)
    return isinstance(found, type) and issubclass(found, BaseException)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_name_parameters_and_errors_that_there_are(path: Path) -> None:
    modules = {**MODULES, **imports(TREES[path])}
    for node, found in documented(TREES[path]):
        where = f"{path}:{node.lineno} {node.name}"
        assert {*found.get("Args", ())} <= parameters(node), f"{where}: no such parameter"
        assert [name for name in found.get("Raises", ()) if not is_error(name, modules)] == [], (
            f"{where}: no such error"
        )


def test_every_entry_is_seen_and_what_is_none_is_not() -> None:
    text = """Do it.

    It goes on.

    Args:
        one: a thing,
            which is told of: in a second line.
        two, *three: more.

    Raises:
        ConfigError: the first.
        requests.ConnectionError: the second.
    """
    function = f"def work(one, two, *three):\n    {text!r}\n"
    ((node, found),) = documented(ast.parse(function))
    assert found == {"Args": ["one", "two", "three"], "Raises": ["ConfigError", "requests.ConnectionError"]}
    assert parameters(node) == {"one", "two", "three"}
    assert is_error("ConfigError") and is_error("requests.ConnectionError") and is_error("OSError")
    assert not is_error("NoSuchError") and not is_error("Path") and not is_error("print")


def test_the_docstrings_of_the_engine_are_read() -> None:
    """The claim above would hold of nothing, too."""
    found = [each for tree in TREES.values() for _, each in documented(tree)]
    assert sum("Args" in each for each in found) > 50 and sum("Raises" in each for each in found) > 100
