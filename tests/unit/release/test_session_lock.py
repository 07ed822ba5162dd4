"""One `invoke dev` per stack: another process's lock is detected, the own one does not block."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from slipway._internal.model.errors import StackBusy
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.release import session_lock

HOLD = (
    "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, WorkspaceSettings(name="demo", registry="127.0.0.1:5000"), ())


def is_locked(lock: Path) -> bool:
    """Say whether another process would find the lock taken."""
    take = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return subprocess.run([sys.executable, "-c", take, lock], capture_output=True, check=False).returncode != 0


def test_ones_own_session_is_not_in_the_way_and_its_end_leaves_nothing(workspace: Workspace) -> None:
    session_lock.refuse_during_session(workspace, "dev")
    with session_lock.dev_session_lock(workspace, "dev"):
        session_lock.refuse_during_session(workspace, "dev")
        assert is_locked(session_lock.session_lock_path(workspace, "dev"))
    session_lock.refuse_during_session(workspace, "dev")
    assert not is_locked(session_lock.session_lock_path(workspace, "dev"))
    with session_lock.dev_session_lock(workspace, "dev"):
        assert is_locked(session_lock.session_lock_path(workspace, "dev"))


def test_anothers_session_is_busy_until_it_ends_however_it_ends(workspace: Workspace) -> None:
    lock = session_lock.session_lock_path(workspace, "dev")
    lock.parent.mkdir(parents=True)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout and other.stdout.readline() == "held\n"
        with pytest.raises(StackBusy, match="invoke dev"):
            session_lock.refuse_during_session(workspace, "dev")
        with pytest.raises(StackBusy), session_lock.dev_session_lock(workspace, "dev"):
            pass
        session_lock.refuse_during_session(workspace, "staging")
    finally:
        other.kill()
        other.communicate()
    with session_lock.dev_session_lock(workspace, "dev"):
        pass
