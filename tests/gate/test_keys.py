"""The key pair by a real cosign: made once, whole or not at all, readable by its owner, never overwritten."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import PYTHONPATH

from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import signing_keys
from slipway._internal.model import trust, workspace
from slipway._internal.model.errors import ConfigError, GateRefused
from slipway._internal.toolchain.install import link_tools

pytestmark = pytest.mark.engine

SETTINGS = 'name = "shop"\nregistry = "127.0.0.1:5000"\n'
KILLED = """\
import os, signal, sys
from pathlib import Path
from slipway._internal.gate import signing_keys
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import workspace

root, bin_folder, name, times = sys.argv[1:]
left = int(times)

def dying(*arguments, real=getattr(signing_keys, name), **named):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)

setattr(signing_keys, name, dying)
signing_keys.ensure_key_pair(RunContext(workspace.load_workspace(Path(root)), Path(bin_folder), {}), os.environ)
"""


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    root = tmp_path / "shop"
    root.mkdir()
    (root / "workspace.toml").write_text(SETTINGS)
    (tmp_path / "bin").mkdir()
    link_tools(tmp_path / "bin", ("cosign",))
    return RunContext(workspace.load_workspace(root), tmp_path / "bin", {})


def configured(run_context: RunContext, signing: str) -> RunContext:
    path = run_context.workspace.root / "workspace.toml"
    path.write_text(f"{SETTINGS}\n[signing]\n{signing}\n")
    return RunContext(workspace.load_workspace(path.parent), run_context.bin, run_context.environment)


def works(run_context: RunContext, environment: dict[str, str] | None = None) -> signing_keys.Signer:
    return signing_keys.load_signer(run_context, trust.load(run_context.workspace.root), environment or {})


def test_the_pair_is_made_once_and_signs(run_context: RunContext) -> None:
    root = run_context.workspace.root
    made = signing_keys.ensure_key_pair(run_context, {})
    assert made
    assert made.private == root / ".slipway" / "signing" / "cosign.key"
    password = root / ".slipway" / "signing" / "password"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made.private, password)] == [0o600, 0o600]
    assert [key.path for key in trust.load(root).keys] == [made.public]
    assert works(run_context) == signing_keys.Signer(str(made.private), password.read_text())
    before = made.private.read_bytes()
    assert signing_keys.ensure_key_pair(run_context, {}) is None
    assert made.private.read_bytes() == before
    assert {path.name for path in (root / ".slipway").iterdir()} - {"tmp"} == {"signing", "signing.lock"}


@pytest.mark.parametrize(
    ("function", "times"),
    [
        ("_run_cosign", 0),
        ("_install_pair", 0),
        ("_write_if_missing", 1),
        ("_write_trusted_key", 0),
        ("write_atomically", 1),
    ],
)
def test_a_run_that_was_killed_is_finished_by_the_next(run_context: RunContext, function: str, times: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, run_context.workspace.root, run_context.bin, function, str(times)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    root = run_context.workspace.root
    assert trust.load(root).is_empty
    assert signing_keys.is_first_pair_due(run_context.workspace, trust.load(root), {})
    assert signing_keys.ensure_key_pair(run_context, {})
    works(run_context)
    assert len(trust.load(root).keys) == 1
    assert {path.name for path in (root / ".slipway").iterdir()} - {"tmp"} == {"signing", "signing.lock"}


def test_the_password_may_come_from_the_environment_and_is_then_in_no_file(run_context: RunContext) -> None:
    mine = configured(run_context, 'password = { env = "KEY_PASSWORD" }')
    with pytest.raises(GateRefused, match="KEY_PASSWORD is not set"):
        signing_keys.ensure_key_pair(mine, {})
    environment = {"KEY_PASSWORD": "p4ssword-of-the-environment"}
    assert signing_keys.ensure_key_pair(mine, environment)
    assert works(mine, environment).password == environment["KEY_PASSWORD"]
    with pytest.raises(GateRefused, match=r"the password of .* is missing") as caught:
        works(mine)
    assert "KEY_PASSWORD" in caught.value.remedy
    written = [path for path in run_context.workspace.root.rglob("*") if path.is_file()]
    assert [path for path in written if b"p4ssword" in path.read_bytes()] == []


def test_a_password_of_the_users_environment_is_not_cosigns(
    run_context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert signing_keys.ensure_key_pair(run_context, {})
    monkeypatch.setenv("COSIGN_PASSWORD", "of something else")
    works(run_context)


def test_a_key_that_is_there_is_used_and_its_public_half_written(run_context: RunContext) -> None:
    assert signing_keys.ensure_key_pair(run_context, {})
    (public,) = (key.path for key in trust.load(run_context.workspace.root).keys)
    public.unlink()
    with pytest.raises(GateRefused, match="is not among policy/keys"):
        works(run_context)
    assert signing_keys.ensure_key_pair(run_context, {}) == signing_keys.KeyFiles(public, None)
    works(run_context)


def test_a_missing_or_damaged_key_refuses_with_the_remedy(run_context: RunContext) -> None:
    with pytest.raises(GateRefused, match="is missing") as caught:
        works(run_context)
    assert "invoke keys" in caught.value.remedy
    assert signing_keys.ensure_key_pair(run_context, {})
    signing_keys.key_file(run_context.workspace).write_text("no key")
    with pytest.raises(GateRefused, match="cannot be opened") as caught:
        works(run_context)
    assert caught.value.exit_code == 3


def test_keyless_needs_an_identity_and_has_no_pair(run_context: RunContext) -> None:
    mine = configured(run_context, 'mode = "keyless"')
    with pytest.raises(ConfigError, match="has no keys"):
        signing_keys.ensure_key_pair(mine, {})
    with pytest.raises(GateRefused, match="trusts no identity"):
        works(mine)
    path = trust.identities_path(run_context.workspace.root)
    path.parent.mkdir()
    path.write_text('[[identity]]\nissuer = "https://i"\nsubject = "s"\n')
    assert works(mine) == signing_keys.Signer(None)


def test_the_environment_comes_before_the_file_and_one_of_them_is_needed(run_context: RunContext) -> None:
    both = configured(run_context, 'password = { env = "A", file = "password" }')
    assert signing_keys.ensure_key_pair(both, {})
    made = (run_context.workspace.root / "password").read_text()
    assert works(both).password == works(both, {"A": made}).password == made
    with pytest.raises(GateRefused, match="its password is another one"):
        works(both, {"A": "wrong"})
    with pytest.raises(ConfigError, match="neither a `file` nor an `env`"):
        works(configured(run_context, "password = {}"))
