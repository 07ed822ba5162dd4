"""Backups: whole or not there, read again before anybody trusts them, and never in place of another file."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace import Workspace, load_workspace
from slipway._internal.release import backups
from slipway._internal.release.backups import check_backup, create_backup, restore_backup

DATA = bytes(range(256)) * 20_000


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a database; its commands are run here, by Python, in place of a container."""
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (tmp_path / "data").write_bytes(DATA)

    def exec_command(_workspace: Workspace, _stack: str, _service: str, command: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", *command]

    monkeypatch.setattr(backups, "_exec_command", exec_command)
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
