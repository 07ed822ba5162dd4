"""A context is walked as BuildKit sends it: what counts, what does not, and what goes wrong on the way."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway._internal.content import build_context, dockerignore
from slipway._internal.model.errors import ConfigError


def paths(root: Path, rules: str = "") -> list[str]:
    return [entry.path for entry in build_context.walk(root, dockerignore.parse(rules.encode(), Path(".dockerignore")))]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("print()")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("src")
    return tmp_path


def test_folders_count_also_when_empty_and_links_are_not_followed(context: Path) -> None:
    assert paths(context) == ["empty", "link", "src", "src/main.py"]
    assert [entry.kind for entry in build_context.walk(context)] == ["folder", "link", "folder", "file"]


def test_a_left_out_folder_comes_back_with_what_is_taken_back_in(context: Path) -> None:
    assert paths(context, "*\n!src/main.py") == ["src", "src/main.py"]
    assert paths(context, "*\n!src/none") == []


def test_a_left_out_folder_is_not_read(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    scandir = os.scandir

    def watched(path: bytes) -> Iterator[os.DirEntry[bytes]]:
        read.append(path)
        return scandir(path)  # type: ignore[return-value]

    monkeypatch.setattr(os, "scandir", watched)
    assert paths(context, "src\n!empty/x") == ["empty", "link"]
    assert not [path for path in read if path.rstrip(b"/").endswith(b"src")]


@pytest.mark.parametrize(("folder", "file"), [(0o775, 0o664), (0o700, 0o600), (0o2755, 0o444), (0o1777, 0o4644)])
def test_of_modes_only_what_git_keeps_counts(context: Path, folder: int, file: int) -> None:
    before = build_context.fingerprint_tree(context)
    (context / "src").chmod(folder)
    (context / "src" / "main.py").chmod(file)
    assert build_context.fingerprint_tree(context) == before
    (context / "src" / "main.py").chmod(file | 0o011)
    assert build_context.fingerprint_tree(context) == before
    (context / "src" / "main.py").chmod(file | 0o100)
    assert build_context.fingerprint_tree(context) != before


def test_time_and_owner_and_place_do_not_count(context: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = build_context.fingerprint_tree(context)
    os.utime(context / "src" / "main.py", (1, 1))
    moved = tmp_path_factory.mktemp("elsewhere") / "deeper"
    context.rename(moved)
    assert build_context.fingerprint_tree(moved) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "src/main.py").write_text("print(1)"),
        lambda root: (root / "src/main.py").chmod(0o755),
        lambda root: (root / "src/main.py").rename(root / "src/other.py"),
        lambda root: ((root / "link").unlink(), (root / "link").symlink_to("empty")),
        lambda root: ((root / "link").unlink(), (root / "link").write_text("src")),
        lambda root: (root / "empty").rmdir(),
        lambda root: os.mkfifo(root / "pipe"),
    ],
)
def test_whatever_the_image_could_hold_counts(context: Path, change: object) -> None:
    before = build_context.fingerprint_tree(context)
    change(context)  # type: ignore[operator]
    assert build_context.fingerprint_tree(context) != before


def test_a_hard_link_is_a_file_of_its_own(context: Path) -> None:
    (context / "copy").write_text("print()")
    (context / "copy").chmod((context / "src/main.py").stat().st_mode)
    copied = build_context.fingerprint_tree(context)
    (context / "copy").unlink()
    (context / "copy").hardlink_to(context / "src/main.py")
    assert build_context.fingerprint_tree(context) == copied


def test_a_socket_is_an_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        (tmp_path / "s").chmod(0o644)
        as_socket = build_context.fingerprint_tree(tmp_path)
    (tmp_path / "s").unlink()
    (tmp_path / "s").touch(0o644)
    (tmp_path / "s").chmod(0o644)
    assert build_context.fingerprint_tree(tmp_path) == as_socket


def test_a_loop_of_links_is_just_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "up").symlink_to("..")
    assert paths(tmp_path) == ["a", "b", "up"]
    assert len(build_context.fingerprint_tree(tmp_path)) == 3


def test_the_root_may_be_a_link_but_not_a_file(context: Path) -> None:
    assert paths(context / "link") == ["main.py"]
    with pytest.raises(ConfigError, match="not a folder"):
        build_context.walk(context / "src" / "main.py")
    with pytest.raises(ConfigError, match="not a folder"):
        build_context.walk(context / "missing")


def test_names_that_are_no_utf8_stay_apart(tmp_path: Path) -> None:
    for name in (b"\xff", b"\xfe", "é".encode(), b"a\nb"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).touch()  # noqa: PTH118
    assert sorted(paths(tmp_path)) == sorted(["\udcff", "\udcfe", "é", "a\nb"])


def test_a_file_that_cannot_be_read_is_named(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refusing(path: bytes, flags: int, mode: int = 0o777) -> int:
        if path.endswith(b"main.py"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(ConfigError, match=r"src/main\.py: Permission denied") as caught:
        build_context.fingerprint_tree(context)
    assert ".dockerignore" in caught.value.remedy


def test_a_folder_that_cannot_be_read_is_named_unless_left_out(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refusing(path: bytes) -> object:
        if path.rstrip(b"/").endswith(b"src"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(ConfigError, match="src"):
        build_context.walk(context)
    assert paths(context, "src\n!src/x") == ["empty", "link"]


def test_what_vanishes_meanwhile_was_never_there(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_context.fingerprint_tree(context)
    real = os.open

    def vanishing(path: bytes, flags: int, mode: int = 0o777) -> int:
        if path.endswith(b"main.py"):
            raise FileNotFoundError(2, "No such file or directory")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", vanishing)
    assert build_context.fingerprint_tree(context) == {path: whole[path] for path in whole if path != "src/main.py"}


def test_a_big_file_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (build_context.CHUNK_BYTES * 2 + 1))
    before = build_context.fingerprint_tree(tmp_path)
    (tmp_path / "big").write_bytes(b"x" * (build_context.CHUNK_BYTES * 2) + b"y")
    assert build_context.fingerprint_tree(tmp_path) != before


def test_very_deep_trees_are_walked(tmp_path: Path) -> None:
    made = [tmp_path]
    for _ in range(1200):
        made.append(made[-1] / "d")
        made[-1].mkdir()
    found = len(paths(tmp_path))
    for folder in reversed(made[1:]):  # a deep tree would stop the tidying up after the test
        folder.rmdir()
    assert found == 1200
