"""Values are passed: nothing is told to another part by way of this process's environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ENGINE

MUTATORS = {"clear", "pop", "popitem", "setdefault", "update"}
PUTS = {"putenv", "unsetenv"}
ALLOWED = {
    "__init__.py: setdefault": "gRPC reads it from this process alone, when it is imported",
    "_internal/run/process_environment.py: alias": "mends what the user's own environment has wrong, before anything "
    "else is done: HOME and the proxies are read by Python, requests, gRPC and Docker's SDK themselves",
}
"""The places that write the environment, and why nothing else would do."""


def environment_writes(code: ast.AST) -> Iterator[str]:
    """Yield how code writes os.environ: by a subscript, a method, another name, or the system's own call."""
    for node in ast.walk(code):
        match node:
            case ast.Subscript(value=inner, ctx=ast.Store() | ast.Del()) if is_environment(inner):
                yield "subscript"
            case ast.Call(func=ast.Attribute(value=inner, attr=attr)) if is_environment(inner) and attr in MUTATORS:
                yield attr
            case ast.Call(func=ast.Attribute(value=ast.Name("os"), attr=attr)) if attr in PUTS:
                yield attr
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) | ast.NamedExpr(value=value):
                if any(is_environment(part) for part in (value, *branches(value))):
                    yield "alias"
            case ast.AugAssign(target=target) if is_environment(target):
                yield "subscript"
            case ast.ImportFrom(module="os", names=names) if {"environ", *PUTS} & {name.name for name in names}:
                yield "import"


def is_environment(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("environ", "environb")


def branches(value: ast.expr) -> list[ast.expr]:
    if isinstance(value, ast.IfExp):
        return [value.body, value.orelse]
    return value.values if isinstance(value, ast.BoolOp) else []


def written(path: Path) -> list[str]:
    name = path.relative_to(ENGINE).as_posix()
    return [f"{name}: {how}" for how in environment_writes(ast.parse(path.read_text(encoding="utf-8")))]


def test_the_environment_is_written_nowhere_else() -> None:
    files = [path for path in ENGINE.rglob("*.py") if ENGINE / "kinds" not in path.parents]
    found = [each for path in files for each in written(path)]
    assert sorted(found) == sorted(ALLOWED)


def test_every_way_to_write_it_is_seen() -> None:
    ways = [
        "os.environ['A'] = 'b'",
        "del os.environ['A']",
        "os.environ.update(a)",
        "os.environ.pop('A', None)",
        "os.environ |= a",
        "os.putenv('A', 'b')",
        "mine = os.environ",
        "mine = given or os.environ",
        "mine = os.environ if given is None else given",
        "from os import environ",
    ]
    assert [way for way in ways if not list(environment_writes(ast.parse(way)))] == []
    assert list(environment_writes(ast.parse("run(env={**os.environ, 'A': 'b'}); a = os.environ.get('A')"))) == []
