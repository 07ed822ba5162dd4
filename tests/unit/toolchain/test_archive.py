"""A tool's archive: what comes out of it, and what is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from slipway._internal.toolchain import archive
from slipway._internal.toolchain.archive import require_native, unpack_members
from slipway._internal.toolchain.installed_tools import ToolUnavailable


def packed(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    file = folder / "a.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for about, content in members:
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return file


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.linkname = kind, link
    return about


def test_what_is_wanted_comes_out_and_nothing_else(tmp_path: Path) -> None:
    file = packed(tmp_path, (member("./bin/other"), b"o"), (member("./bin/tool"), b"program"))
    unpack_members(file, {"bin/tool": tmp_path / "tool"}, ())
    assert (tmp_path / "tool").read_bytes() == b"program"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "tool"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_wanted_member_that_is_no_regular_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    file = packed(tmp_path, (member("bin/tool", kind, "/etc/passwd"), b""))
    with pytest.raises(ToolUnavailable, match="not a regular file"):
        unpack_members(file, {"bin/tool": tmp_path / "tool"}, ())
    assert not (tmp_path / "tool").exists()


@pytest.mark.parametrize("name", ["/etc/passwd", "../tool", "bin/../../tool", "bin/.."])
def test_an_archive_that_leads_out_of_itself_is_refused(tmp_path: Path, name: str) -> None:
    file = packed(tmp_path, (member("bin/tool"), b"program"), (member(name), b"x"))
    with pytest.raises(ToolUnavailable, match="points outside it"):
        unpack_members(file, {"bin/tool": tmp_path / "tool"}, ())


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    file = packed(tmp_path, (member("tool"), b"one"), (member("./tool"), b"two"))
    with pytest.raises(ToolUnavailable, match="appears twice"):
        unpack_members(file, {"tool": tmp_path / "tool"}, ())


def test_a_missing_member_is_named_unless_it_may_be_missing(tmp_path: Path) -> None:
    file = packed(tmp_path, (member("tool"), b"one"))
    wanted = {"tool": tmp_path / "tool", "helper": tmp_path / "helper"}
    unpack_members(file, wanted, {"helper"})
    with pytest.raises(ToolUnavailable, match="holds no helper"):
        unpack_members(file, wanted, ())


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    import os

    file = packed(tmp_path, (member("tool"), os.urandom(500)))
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(ToolUnavailable, match="not a complete"):
        unpack_members(file, {"tool": tmp_path / "tool"}, ())


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", gzip.compress(b"nonsense", mtime=0), b"\x1f\x8b\x08" + b"x" * 100]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.tar.gz"
    file.write_bytes(content)
    with pytest.raises(ToolUnavailable, match=r"not a complete|holds no"):
        unpack_members(file, {"tool": tmp_path / "tool"}, ())


@pytest.mark.parametrize("wanted", ["tool", "elsewhere"])
def test_an_archive_that_unpacks_to_more_than_a_disk_holds_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    file = packed(tmp_path, (member("tool"), b"\0" * (4 << 20)))
    monkeypatch.setattr(archive, "MAX_ARCHIVE_BYTES", 1 << 20)
    with pytest.raises(ToolUnavailable, match="unpacks to more than 1 MB"):
        unpack_members(file, {wanted: tmp_path / "tool"}, ())


def test_a_member_larger_than_any_tool_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(tmp_path, (member("tool"), b"x" * 100))
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 10)
    with pytest.raises(ToolUnavailable, match="larger than"):
        unpack_members(file, {"tool": tmp_path / "tool"}, ())


def test_a_program_for_another_processor_does_not_run_here_and_a_script_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive.platform, "machine", lambda: "aarch64")
    file = tmp_path / "tool"
    for number, fits in ((62, False), (183, True)):
        file.write_bytes(b"\x7fELF".ljust(18, b"\0") + number.to_bytes(2, "little") + b"rest")
        if fits:
            require_native(file)
        else:
            with pytest.raises(ToolUnavailable, match="another processor than aarch64"):
                require_native(file)
    file.write_bytes(b"#!/bin/sh\n")
    require_native(file)
