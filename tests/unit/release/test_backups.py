"""Backups: whole or not there, read again before anybody trusts them, and never in place of another file."""

from __future__ import annotations

import errno
import gzip
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace import Workspace, load_workspace
from slipway._internal.release import backups
from slipway._internal.release.backups import check_backup, create_backup, restore_backup
from slipway._internal.targets.status import ServiceStatus
from slipway._internal.targets.target import DataVolume

DATA = bytes(range(256)) * 20_000


@dataclass(frozen=True)
class RunningTarget:
    """A target on which the database is in a state."""

    state: str = "healthy"
    drift: str = "shop-dev-db.data is full"

    def status(self, _live_images: object) -> list[ServiceStatus]:
        return [ServiceStatus("db", self.state, "-", "-", self.drift)] if self.state != "nowhere" else []

    def data_volumes(self) -> list[DataVolume]:
        return [DataVolume("shop-dev-db.data", "db"), DataVolume("shop-dev-queue.data", "queue")]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a database; its commands are run here, by Python, in place of a container."""
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:target: docker\n  slipway:protected: false\n"
    )

    def exec_command(_workspace: Workspace, _stack: str, _service: str, command: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", *command]

    monkeypatch.setattr(backups, "_exec_command", exec_command)
    monkeypatch.setattr(backups, "target_of", lambda *_: RunningTarget())
    return write(tmp_path)


def write(root: Path, dump: str = "", restore: str = "", check: str = "") -> Workspace:
    dump = dump or f"import sys; sys.stdout.buffer.write(open({str(root / 'data')!r}, 'rb').read())"
    restore = restore or f"import sys; open({str(root / 'restored')!r}, 'wb').write(sys.stdin.buffer.read())"
    folder = root / "services" / "db"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "service.toml").write_text(
        f'kind = "x"\nimage = "db@sha256:{"a" * 64}"\n[[volumes]]\nname = "data"\npath = "/data"\n[backup]\n'
        f'dump = ["""{dump}"""]\nrestore = ["""{restore}"""]\n' + (f'check = ["""{check}"""]\n' if check else "")
    )
    other = root / "services" / "api"
    other.mkdir(exist_ok=True)
    (other / "service.toml").write_text(f'kind = "x"\nimage = "api@sha256:{"b" * 64}"\n')
    return load_workspace(root)


def test_what_is_saved_can_be_put_back(shop: Workspace) -> None:
    made = create_backup(shop, "dev", "db", None, NullReporter())
    assert made.file.parent == shop.scratch / "backups" and made.file.name.startswith("db-dev-")
    assert (made.data_bytes, made.bytes) == (len(DATA), made.file.stat().st_size)
    assert made.file.stat().st_mode & 0o777 == 0o600
    assert gzip.decompress(made.file.read_bytes()) == DATA
    check_backup(shop, "dev", "db", made.file, NullReporter())
    restore_backup(shop, "dev", "db", made.file, NullReporter())
    assert (shop.root / "restored").read_bytes() == DATA


def test_a_file_that_is_there_is_left_alone(shop: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        create_backup(shop, "dev", "db", file, NullReporter())
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("dump", "said"),
    [
        ("import sys; sys.stdout.write('half'); sys.exit('no space')", "ended with exit code 1"),
        ("pass", "wrote nothing"),
        ("import os, signal; print('x', flush=True); os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
    ],
)
def test_nothing_is_left_of_one_that_fails(shop: Workspace, tmp_path: Path, dump: str, said: str) -> None:
    with pytest.raises(SlipwayError, match=said):
        create_backup(write(tmp_path, dump), "dev", "db", tmp_path / "out" / "db.gz", NullReporter())
    assert list((tmp_path / "out").iterdir()) == []


def test_what_the_command_said_is_in_the_error(shop: Workspace, tmp_path: Path) -> None:
    with pytest.raises(SlipwayError) as caught:
        create_backup(write(tmp_path, "import sys; sys.exit('no space')"), "dev", "db", None, NullReporter())
    assert "no space" in caught.value.detail


def test_the_services_own_check_decides(shop: Workspace, tmp_path: Path) -> None:
    refuses = write(tmp_path, check="import sys; sys.stdin.buffer.read(); sys.exit(3)")
    with pytest.raises(SlipwayError, match="exit code 3"):
        create_backup(refuses, "dev", "db", tmp_path / "db.gz", NullReporter())
    assert not (tmp_path / "db.gz").exists()


@pytest.mark.parametrize("check", ["", "import sys; sys.stdin.buffer.read()"])
@pytest.mark.parametrize("damage", ["cut", "turned", "empty", "text"])
def test_a_damaged_file_restores_nothing(shop: Workspace, tmp_path: Path, damage: str, check: str) -> None:
    file = create_backup(shop, "dev", "db", tmp_path / "db.gz", NullReporter()).file
    data = file.read_bytes()
    file.write_bytes(
        {"cut": data[:-9], "turned": data[:100] + bytes([data[100] ^ 255]) + data[101:], "empty": b"", "text": b"SQL"}[
            damage
        ]
    )
    with pytest.raises(ConfigError, match="is damaged"):
        check_backup(write(tmp_path, check=check), "dev", "db", file, NullReporter())


def test_a_file_that_is_not_there_is_named(shop: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        check_backup(shop, "dev", "db", tmp_path / "nowhere", NullReporter())


def test_a_folder_that_cannot_be_written_is_named(shop: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SlipwayError, match="cannot be written"):
        create_backup(shop, "dev", "db", tmp_path / "file" / "db.gz", NullReporter())


def test_a_service_without_backup_says_what_to_write(shop: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"services/api/service\.toml has no \[backup\]") as caught:
        create_backup(shop, "dev", "api", None, NullReporter())
    assert "dump = " in caught.value.remedy


@pytest.mark.parametrize(
    ("state", "why", "remedy"),
    [
        ("nowhere", "db does not run in dev", "`invoke up`"),
        ("missing", "db does not run in dev", "`invoke up`"),
        ("restarting", r"db is restarting in dev.*: shop-dev-db\.data is full", "invoke logs db"),
    ],
)
def test_a_service_that_does_not_run_is_told_before_anything_is_written(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, why: str, remedy: str
) -> None:
    file = create_backup(shop, "dev", "db", tmp_path / "db.gz", NullReporter()).file
    monkeypatch.setattr(backups, "target_of", lambda *_: RunningTarget(state))
    for work in (
        lambda: create_backup(shop, "dev", "db", tmp_path / "out" / "db.gz", NullReporter()),
        lambda: check_backup(shop, "dev", "db", file, NullReporter()),
    ):
        with pytest.raises(SlipwayError, match=why) as caught:
            work()
        assert remedy in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_a_service_that_runs_elsewhere_is_saved_there(shop: Workspace) -> None:
    with (shop.root / "infra" / "Pulumi.dev.yaml").open("a") as file:
        file.write("  slipway:external: db\n")
    with pytest.raises(ConfigError, match="runs elsewhere in dev"):
        create_backup(shop, "dev", "db", None, NullReporter())


def test_a_full_volume_is_named_where_a_backup_does_not_fit(shop: Workspace, tmp_path: Path) -> None:
    file = create_backup(shop, "dev", "db", tmp_path / "db.gz", NullReporter()).file
    full = write(tmp_path, restore="import sys; sys.stdin.buffer.read(); sys.exit('x: No space left on device')")
    with pytest.raises(SlipwayError, match=r"does not fit: shop-dev-db\.data is full") as caught:
        restore_backup(full, "dev", "db", file, NullReporter())
    assert "docker volume inspect shop-dev-db.data" in caught.value.remedy and "No space" in caught.value.detail


def test_a_full_disk_leaves_no_half_backup(shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backups.os, "fsync", full)
    with pytest.raises(SlipwayError, match=r"out/db\.gz cannot be written: the disk is full \(.* are free") as caught:
        create_backup(shop, "dev", "db", tmp_path / "out" / "db.gz", NullReporter())
    assert "df -h" in caught.value.remedy
    assert list((tmp_path / "out").iterdir()) == []
