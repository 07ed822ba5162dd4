"""A state that a full disk has damaged is found, and its last whole form put back."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.run import statefile


def state(text: str) -> str:
    return json.dumps({"version": 3, "checkpoint": {"stack": "dev", "latest": {"resources": [{"urn": text}]}}})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".pulumi" / "stacks" / "shop" / "dev.json"
    path.parent.mkdir(parents=True)
    return path


def write(file: Path, text: str) -> None:
    """Write as Pulumi does: another file is renamed over it."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_a_state_that_is_whole_or_not_there_yet_is_not_touched(file: Path) -> None:
    assert statefile.restore_backup(file) == ""
    write(file, state("a"))
    assert statefile.restore_backup(file) == ""
    assert file.read_text() == state("a")


@pytest.mark.parametrize("damaged", ["", state("b")[:-10], "null", "[1]", "{}", '{"version": 3}', "\0" * 100])
def test_a_damaged_state_is_replaced_by_what_it_was_and_kept_beside_it(file: Path, damaged: str) -> None:
    write(file, state("a"))
    statefile.back_up(file)
    write(file, damaged)
    assert "was damaged" in statefile.restore_backup(file)
    assert file.read_text() == state("a")
    assert file.with_name("dev.json.damaged").read_text() == damaged
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert statefile.restore_backup(file) == ""


def test_a_damaged_state_is_never_kept_in_the_place_of_a_whole_one(file: Path) -> None:
    write(file, state("a"))
    statefile.back_up(file)
    for _ in range(5):
        write(file, "")
        statefile.back_up(file)
    statefile.restore_backup(file)
    assert file.read_text() == state("a")


def test_a_few_backups_stay_and_cost_no_room(file: Path) -> None:
    for number in range(9):
        write(file, state(str(number)))
        statefile.back_up(file)
        statefile.back_up(file)
    kept = sorted(file.parents[2].joinpath("backups").rglob("*.json"))
    assert [path.read_text() for path in kept] == [state("8"), state("7"), state("6")]
    assert kept[0].samefile(file)


def test_without_links_the_backup_is_a_copy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    write(file, state("a"))
    statefile.back_up(file)
    write(file, "")
    statefile.restore_backup(file)
    assert file.read_text() == state("a")


def test_where_there_is_no_backup_pulumis_own_copy_counts(file: Path) -> None:
    write(file, "")
    file.with_name("dev.json.bak").write_text(state("a"))
    statefile.restore_backup(file)
    assert file.read_text() == state("a")


def test_a_damaged_state_without_a_backup_is_refused_with_what_to_do(file: Path) -> None:
    write(file, "")
    with pytest.raises(EvidenceError) as caught:
        statefile.restore_backup(file)
    assert "it is empty" in caught.value.message
    assert "invoke up --yes" in caught.value.remedy


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_too_little_room_for_a_deploy_is_told_before_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statefile.require_space(file)

    def usage(_folder: Any) -> Usage:
        return Usage(1, 1, 1_500_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(SlipwayError) as caught:
        statefile.require_space(file)
    assert "only 1.5 MB are free" in caught.value.message
    assert "invoke prune" in caught.value.remedy


def test_what_a_killed_pulumi_was_about_to_write_goes_and_what_one_writes_now_stays(file: Path) -> None:
    old, new = file.with_name("dev.json.bak.18ec.tmp"), file.with_name("dev.json.18ed.tmp")
    for path in (old, new):
        path.write_text("")
    os.utime(old, (1, 1))
    statefile.remove_temporary_files(file)
    assert new.exists() and not old.exists()


def test_what_is_not_this_stacks_stays_however_it_is_called(file: Path) -> None:
    above = file.parents[2]
    others = [above / "plugins" / "x.tmp", file.with_name("other.json.18ec.tmp"), above / "history" / "shop" / "o.tmp"]
    mine = [above / "history" / "shop" / "dev" / "dev-1.history.json.1.tmp", above / "meta.yaml.1.tmp"]
    for path in (*others, *mine):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        os.utime(path, (1, 1))
    statefile.remove_temporary_files(file)
    assert [path.exists() for path in (*others, *mine)] == [True] * 3 + [False] * 2


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE])
def test_a_state_that_cannot_be_read_is_not_taken_for_a_damaged_one(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write(file, state("a"))
    statefile.back_up(file)
    write(file, state("b"))
    whole = statefile.read_bytes

    def read(path: Path, limit: int) -> bytes:
        if path == file:
            raise OSError(number, os.strerror(number), str(path))
        return whole(path, limit)

    monkeypatch.setattr(statefile, "read_bytes", read)
    with pytest.raises(SlipwayError, match="cannot be read"):
        statefile.restore_backup(file)
    assert file.read_text() == state("b")


def test_a_state_that_is_longer_than_what_is_looked_into_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, state("a"))
    statefile.back_up(file)
    write(file, state("b" * 1000))
    monkeypatch.setattr(statefile, "MAX_STATE_BYTES", 500)
    assert statefile.restore_backup(file) == ""
    assert file.read_text() == state("b" * 1000)


def test_backups_of_a_stack_that_was_removed_never_stand_in_for_one_made_anew(file: Path) -> None:
    write(file, state("a"))
    statefile.back_up(file)
    file.unlink()
    statefile.back_up(file)
    write(file, "")
    with pytest.raises(EvidenceError):
        statefile.restore_backup(file)
    assert [each.name for each in file.parents[2].joinpath("backups").rglob("*.json")] == ["removed-1.json"]
