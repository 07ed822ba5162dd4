"""Files are read only where they are files, and up to a bound; what cannot be written is told with its remedy."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from slipway._internal.model import files
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.model.text import read_text


def odd_files(folder: Path) -> dict[str, Path]:
    """Make everything that is not a readable file, and name it."""
    found = {name: folder / name for name in ("folder", "pipe", "dangling", "circle", "socket", "large", "latin")}
    found["folder"].mkdir()
    os.mkfifo(found["pipe"])
    found["dangling"].symlink_to("nowhere")
    found["circle"].symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(found["socket"]))
    with found["large"].open("wb") as file:
        file.truncate(100 * files.MEGABYTE)
    found["latin"].write_bytes("ok\nGrüße".encode("latin-1"))
    return {**found, "device": Path("/dev/zero"), "below a file": found["latin"] / "x", "missing": folder / "missing"}


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    for path in odd_files(tmp_path).values():
        with pytest.raises(ConfigError) as caught:
            read_text(path)
        assert str(path) in caught.value.message
        assert caught.value.remedy


def test_the_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"latin:2: this is not UTF-8"):
        read_text(odd_files(tmp_path)["latin"])


def test_a_memory_that_is_none_is_none(tmp_path: Path) -> None:
    for path in odd_files(tmp_path).values():
        assert read_json_or_none(path, limit=files.MEGABYTE) is None


def test_line_ends_and_the_mark_of_windows_editors_are_no_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(tmp_path / "a") == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("number", "said", "remedy"),
    [
        (errno.ENOSPC, "the disk is full", "invoke prune"),
        (errno.EDQUOT, "quota", "invoke prune"),
        (errno.EROFS, "read-only", "read-only"),
        (errno.EACCES, "lack permission", "belongs to you"),
        (errno.EIO, "reports an error", "run it again"),
        (errno.ENAMETOOLONG, "too long", "shorter"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_with_why_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str, remedy: str
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "state.json").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SlipwayError) as caught:
        files.write_atomically(tmp_path / "state.json", "new")
    assert str(tmp_path / "state.json") in caught.value.message
    assert said in caught.value.message
    assert remedy in caught.value.remedy
    assert ("MB are free" in caught.value.message) is (number in (errno.ENOSPC, errno.EDQUOT))
    assert (tmp_path / "state.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_folder_that_cannot_be_made_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x", tmp_path / ("n" * 300)):
        with pytest.raises(SlipwayError) as caught:
            files.write_atomically(path, "")
        assert caught.value.remedy


def test_a_name_of_the_longest_length_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    files.write_atomically(path, "x")
    assert path.read_text() == "x"


def test_that_a_memory_cannot_be_written_is_told_once_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "write_failures", [])
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert files.write_best_effort(tmp_path / "file" / "x", "") is False
    assert len(files.write_failures) == 1
    assert files.write_best_effort(tmp_path / "good", "") is True


def test_what_is_beside_a_path_is_removed_only_where_a_dead_process_of_this_system_left_it(tmp_path: Path) -> None:
    path, dead = tmp_path / "versions.json", 2**22 + 1
    system = files._system_id()
    lives = f".versions.json.1.{system}"
    stays = [f".versions.json.{dead}", f".versions.json.{dead}.0badcafe", lives]
    for name in (*stays, f".versions.json.{dead}.{system}"):
        (tmp_path / name).touch()
    files.write_atomically(path, "new")
    assert {each.name for each in tmp_path.iterdir()} == {"versions.json", *stays}
