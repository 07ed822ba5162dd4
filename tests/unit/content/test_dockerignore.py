"""An ignore file is read and judged as BuildKit does it, oddities included."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.content import dockerignore
from slipway._internal.model.errors import ConfigError


def left_out(text: str | bytes, path: str) -> bool:
    """Judge a path from the root down, as a walk does."""
    data = text.encode() if isinstance(text, str) else text
    rules = dockerignore.parse(data, Path(".dockerignore"))
    state: dockerignore.MatchState = ()
    parts = path.split("/")
    out = False
    for depth in range(1, len(parts) + 1):
        out, state = rules.evaluate("/".join(parts[:depth]), state)
    return out


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("foo", "foo", True),
        ("foo", "foo/deep/file", True),
        ("foo", "a/foo", False),
        ("/foo", "foo", True),
        ("foo/", "foo", True),
        ("./a/../foo", "foo", True),
        ("*.pyc", "m.pyc", True),
        ("*.pyc", "a/m.pyc", False),
        ("*/*.pyc", "a/m.pyc", True),
        ("**/*.pyc", "m.pyc", True),
        ("**/*.pyc", "a/b/m.pyc", True),
        ("**/foo", "xfoo", False),
        ("**foo", "a/xfoo", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("**", "anything/at/all", True),
        ("fo?", "foo", True),
        ("fo?", "fo/", False),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[^a]x", "bx", True),
        ("a[^b]c", "a/c", True),
        (r"\*", "*", True),
        (r"\*", "x", False),
        (r"a\?", "ab", False),
        (r"\#x", "#x", True),
        (" #x", "#x", True),
        ("#x", "#x", False),
        ("Foo", "foo", False),
        ("a.b", "axb", False),
        ("*.b+c", "x.b+c", True),
        ("é*", "éa", True),
        ("  foo \t", "foo", True),
        ("foo\r", "foo", True),
        ("\ufefffoo", "foo", True),
        ("foo\u00a0", "foo", True),
        (".", "foo", False),
        ("/", "foo", False),
        ("..", "foo", False),
        ("{a,b}", "a", False),
        ("[[:digit:]]", "7", True),
        (r"\d", "7", True),
        ("[*]", "*", False),
        ("foo\nbar", "bar", True),
    ],
)
def test_a_pattern_matches_what_buildkit_matches(pattern: str, path: str, expected: bool) -> None:
    assert left_out(pattern, path) is expected


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("*\n!keep", "keep", False),
        ("*\n!keep", "other", True),
        ("*\n!a/keep", "a/keep", False),
        ("*\n!a/keep", "a/other", True),
        ("a\n!a/b", "a/b/c", False),
        ("a\n!a/b\na/b/c", "a/b/c", True),
        ("!a\na", "a", True),
        ("**/*.md\n!README.md", "README.md", False),
        ("**/*.md\n!README.md", "docs/README.md", True),
        ("*\n! /src", "src/main.py", False),
        ("a/*\n!a", "a/b", True),
        ("*\n!!x", "!x", False),
        ("foo\n!../../foo", "foo", True),
    ],
)
def test_the_last_rule_that_speaks_about_a_path_decides(text: str, path: str, expected: bool) -> None:
    assert left_out(text, path) is expected


@pytest.mark.parametrize("text", ["!", "! ", "!/", "[", "[]a]", "[a-]", "a\\", "x" * 70_000])
def test_a_pattern_that_buildkit_refuses_is_named_by_file_and_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\.dockerignore, line 2"):
        dockerignore.parse(f"# first\n{text}".encode(), Path(".dockerignore"))


def test_a_fault_that_buildkit_meets_only_in_use_is_an_error_only_then() -> None:
    rules = dockerignore.parse(b"![z-a]", Path(".dockerignore"))
    assert rules.evaluate("x") == (False, (False,))
    with pytest.raises(ConfigError, match=r"line 1.*backwards"):
        dockerignore.parse(b"[z-a]", Path(".dockerignore")).evaluate("x")


def test_bytes_that_are_no_utf8_match_themselves() -> None:
    rules = dockerignore.parse(b"b\xff", Path(".dockerignore"))
    assert rules.evaluate(b"b\xff".decode("utf-8", "surrogateescape"))[0]


@pytest.mark.parametrize(
    ("text", "folder", "expected"),
    [
        ("node_modules", "node_modules", False),
        ("*\n!src", "node_modules", False),
        ("*\n!src", "src", True),
        ("*\n!a/b/c", "a", True),
        ("*\n!a/b/**", "a/b", True),
        ("*\n!**/x", "node_modules", True),
    ],
)
def test_a_folder_is_entered_only_where_an_exception_could_match(text: str, folder: str, expected: bool) -> None:
    assert dockerignore.parse(text.encode(), Path("f")).may_hold_exceptions(folder) is expected


def test_the_dockerfiles_own_ignore_file_wins_over_the_contexts(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("a")
    (tmp_path / "app.Dockerfile.dockerignore").write_text("b")
    assert dockerignore.load_dockerignore(tmp_path, tmp_path / "app.Dockerfile").evaluate("b")[0]
    assert not dockerignore.load_dockerignore(tmp_path, tmp_path / "app.Dockerfile").evaluate("a")[0]
    assert dockerignore.load_dockerignore(tmp_path, tmp_path / "Dockerfile").evaluate("a")[0]
    assert dockerignore.load_dockerignore(tmp_path).evaluate("a")[0]


def test_an_ignore_file_that_links_out_of_the_context_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("a")
    context = tmp_path / "context"
    context.mkdir()
    (context / ".dockerignore").symlink_to("../outside")
    assert dockerignore.load_dockerignore(context) == dockerignore.Dockerignore()
    (context / "rules").write_text("b")
    (context / ".dockerignore").unlink()
    (context / ".dockerignore").symlink_to("/rules")
    assert dockerignore.load_dockerignore(context).evaluate("b")[0]


def test_ignore_files_that_loop_or_are_folders_are_not_there(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").symlink_to(".dockerignore")
    assert dockerignore.load_dockerignore(tmp_path) == dockerignore.Dockerignore()
    (tmp_path / ".dockerignore").unlink()
    (tmp_path / ".dockerignore").mkdir()
    assert dockerignore.load_dockerignore(tmp_path) == dockerignore.Dockerignore()
