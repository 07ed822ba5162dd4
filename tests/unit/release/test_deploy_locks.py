"""Locks of deploys on other machines, whose processes cannot be checked from here."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import SlipwayError, StackBusy
from slipway._internal.model.stack import Stack
from slipway._internal.release import deploy_locks
from slipway._internal.run.state import StateLock, read_lock


class LockedStack:
    """A stack with one lock."""

    stack = Stack("dev", Path("Pulumi.dev.yaml"), "inline", "docker", protected=False)

    def __init__(self, path: Path, host: str, hours: float, *, alive: bool = True) -> None:
        path.write_text("{}")
        since = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
        self.lock = StateLock(path, 42, "ann", host, since, alive)

    def list_locks(self) -> list[StateLock]:
        return [self.lock] if self.lock.path.exists() else []


def yes(_question: str) -> bool:
    return True


def no(_question: str) -> bool:
    return False


def test_a_young_lock_of_another_machine_stays_and_the_remedy_says_how_it_goes(tmp_path: Path) -> None:
    pulumi_stack = LockedStack(tmp_path / "lock", "ci-7", 1)
    with pytest.raises(StackBusy, match="process 42 of ann on ci-7") as caught:
        deploy_locks.clear_stale_lock(pulumi_stack, yes, NullReporter())  # type: ignore[arg-type]
    assert "invoke unlock --stack dev" in caught.value.remedy
    assert pulumi_stack.lock.path.exists()


def test_an_old_lock_of_another_machine_goes_with_consent_and_only_so(tmp_path: Path) -> None:
    pulumi_stack = LockedStack(tmp_path / "lock", "ci-7", 25)
    with pytest.raises(StackBusy, match="may still be running there"):
        deploy_locks.clear_stale_lock(pulumi_stack, no, NullReporter())  # type: ignore[arg-type]
    deploy_locks.clear_stale_lock(pulumi_stack, yes, NullReporter())  # type: ignore[arg-type]
    assert not pulumi_stack.lock.path.exists()


def test_a_lock_from_a_time_to_come_is_young(tmp_path: Path) -> None:
    with pytest.raises(StackBusy):
        deploy_locks.clear_stale_lock(LockedStack(tmp_path / "lock", "ci-7", -1000), yes, NullReporter())  # type: ignore[arg-type]


def test_unlock_removes_another_machines_lock_on_consent(tmp_path: Path) -> None:
    pulumi_stack = LockedStack(tmp_path / "lock", "ci-7", 0)
    with pytest.raises(StackBusy, match="may still be running"):
        deploy_locks.remove_locks(pulumi_stack, no, NullReporter())  # type: ignore[arg-type]
    assert deploy_locks.remove_locks(pulumi_stack, yes, NullReporter()) == 1  # type: ignore[arg-type]
    assert deploy_locks.remove_locks(pulumi_stack, yes, NullReporter()) == 0  # type: ignore[arg-type]


def test_unlock_never_takes_the_lock_of_a_living_process_here(tmp_path: Path) -> None:
    pulumi_stack = LockedStack(tmp_path / "lock", os.uname().nodename, 1000)
    with pytest.raises(StackBusy, match="someone else is deploying"):
        deploy_locks.remove_locks(pulumi_stack, yes, NullReporter())  # type: ignore[arg-type]
    assert pulumi_stack.lock.path.exists()


def test_a_lock_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    pulumi_stack = LockedStack(tmp_path / "lock", "ci-7", 0)
    pulumi_stack.lock.path.unlink()
    pulumi_stack.lock.path.mkdir()
    with pytest.raises(SlipwayError, match="cannot remove"):
        deploy_locks.remove_locks(pulumi_stack, yes, NullReporter())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1]",
        b"{",
        b'"x"',
        b'{"pid": "x"}',
        b'{"pid": -1}',
        b'{"pid": null, "hostname": null}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_a_damaged_lock_is_one_of_nobody(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lock.json"
    path.write_bytes(data)
    lock = read_lock(path)
    assert (lock.pid, lock.host, lock.alive, lock.is_remote, lock.age()) == (0, "", False, False, 0.0)


def test_what_a_lock_says_cannot_move_a_terminals_cursor(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(
        r'{"hostname": "\u001b[2J", "username": "\u001b]0;x", "timestamp": "2026-01-01T00:00:00.123456789Z"}'
    )
    lock = read_lock(path)
    assert "\x1b" not in lock.owner
    assert lock.age() > 0
