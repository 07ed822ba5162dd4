"""One `invoke dev` for a stack: another process's is seen, one's own is not in the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from slipway.flows import session
from slipway.model.errors import Busy
from slipway.model.workspace import Settings, Workspace

HOLD = (
    "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Settings(name="demo", registry="127.0.0.1:5000"), ())


def is_locked(lock: Path) -> bool:
    """Say whether another process would find the lock taken."""
    take = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return subprocess.run([sys.executable, "-c", take, lock], capture_output=True, check=False).returncode != 0


def test_ones_own_session_is_not_in_the_way_and_its_end_leaves_nothing(workspace: Workspace) -> None:
    session.refuse_beside_session(workspace, "dev")
    with session.session(workspace, "dev"):
        session.refuse_beside_session(workspace, "dev")
        assert is_locked(session.lock_of(workspace, "dev"))
    session.refuse_beside_session(workspace, "dev")
    assert not is_locked(session.lock_of(workspace, "dev"))
    with session.session(workspace, "dev"):
        assert is_locked(session.lock_of(workspace, "dev"))


def test_anothers_session_is_busy_until_it_ends_however_it_ends(workspace: Workspace) -> None:
    lock = session.lock_of(workspace, "dev")
    lock.parent.mkdir(parents=True)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout and other.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="invoke dev"):
            session.refuse_beside_session(workspace, "dev")
        with pytest.raises(Busy), session.session(workspace, "dev"):
            pass
        session.refuse_beside_session(workspace, "staging")
    finally:
        other.kill()
        other.communicate()
    with session.session(workspace, "dev"):
        pass
