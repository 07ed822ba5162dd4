"""Every verb ends with a message and the right exit code, whatever it runs in."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit
from tests.conftest import PYTHONPATH

from slipway._internal.model import files, workspace_path
from slipway._internal.model.errors import StackBusy
from slipway._internal.run import streams
from slipway._internal.tasks.verb import exit_on_error, verb

TASKS = """
from pathlib import Path
from slipway.tasks import verbs
namespace = verbs(Path(__file__).parent)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace whose commands run in this Python."""
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def invoke(root: Path, words: str, redirect: str = "", **variables: str | None) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    given = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": PYTHONPATH, **variables}
    environment = {name: value for name, value in given.items() if value is not None}
    return subprocess.run(
        ["bash", "-c", f'exec "$0" -m invoke {words} {redirect}', sys.executable],
        capture_output=True,
        env=environment,
        cwd=root,
        check=False,
    )


@pytest.mark.parametrize(
    ("redirect", "variables", "said"),
    [
        ("", {"PYTHONIOENCODING": "ascii"}, b"? 'Bad'"),
        ("", {"LC_ALL": "C", "PYTHONUTF8": "0"}, b"? 'Bad'"),
        ("", {"HOME": None}, b"'Bad'"),
        ("", {"TERM": None, "COLUMNS": "1", "NO_COLOR": "1"}, b"'Bad'"),
        ("<&- >&-", {}, b"'Bad'"),
        ("2>&-", {}, b""),
        ("", {"TMPDIR": "/nowhere"}, b"TMPDIR is /nowhere"),
        ("", {"HOME": "/nowhere"}, b"HOME is /nowhere"),
    ],
)
def test_a_mistake_is_a_message_wherever_it_is_said(
    root: Path, redirect: str, variables: dict[str, str | None], said: bytes
) -> None:
    result = invoke(root, "new Bad", redirect, **variables)
    assert result.returncode == 2
    assert said in result.stderr
    assert b"Traceback" not in result.stdout + result.stderr


def test_a_list_that_a_full_device_did_not_take_is_a_failure(root: Path) -> None:
    result = invoke(root, "--list", ">/dev/full")
    assert result.returncode == 1
    assert b"No space left on device" in result.stderr
    assert b"Traceback" not in result.stderr


SLOW = """
import signal, sys
from slipway._internal.run.process import run
from slipway._internal.tasks.verb import exit_on_error, interrupt_on_signals
from invoke.exceptions import Exit
try:
    with interrupt_on_signals():
        exit_on_error(lambda: run(["sh", "-c", "echo $$; sleep 600"], on_line=lambda line: print(line, flush=True)))
except Exit as problem:
    sys.exit(problem.code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_verb_that_is_ended_ends_what_it_started(number: signal.Signals) -> None:
    command, environment = [sys.executable, "-c", SLOW], {**os.environ, "PYTHONPATH": PYTHONPATH}
    verb = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert verb.stdout
    child = int(verb.stdout.readline())
    verb.send_signal(number)
    assert verb.wait(60) == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (StackBusy("dev is busy", remedy="Wait."), 5, "dev is busy"),
        (KeyboardInterrupt(), 128 + signal.SIGINT, "Stopped."),
        (KeyboardInterrupt(signal.SIGTERM), 128 + signal.SIGTERM, "Stopped."),
        (KeyboardInterrupt("decoding with a codec failed"), 128 + signal.SIGINT, "Stopped."),
        (BrokenPipeError(), 0, ""),
        (OSError(errno.ENOSPC, "No space left on device", "/x/file"), 1, "/x/file"),
    ],
)
def test_what_goes_wrong_ends_with_a_message_and_its_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    with pytest.raises(Exit) as end:
        exit_on_error(lambda: fail(error))
    assert end.value.code == code
    assert said in "".join(capsys.readouterr())


def test_a_mistake_of_slipways_own_is_not_hidden() -> None:
    with pytest.raises(FileNotFoundError):
        exit_on_error(lambda: fail(FileNotFoundError(errno.ENOENT, "No such file", "/x")))


def test_what_could_not_be_remembered_is_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    files.write_failures.append("the record was not written")
    exit_on_error(lambda: None)
    exit_on_error(lambda: None)
    assert capsys.readouterr().err == "! the record was not written\n"


@pytest.mark.parametrize(
    ("name", "options", "fails"),
    [("status", {}, True), ("deploy", {}, False), ("deploy", {"json": True}, True), ("deploy", {"dry": True}, True)],
)
def test_lost_output_is_a_failure_only_where_the_output_is_what_was_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, bool], fails: bool
) -> None:
    def body(context: Context, json: bool = False, dry: bool = False) -> None:
        """Stand for a verb."""

    body.__name__ = name
    workspace_path.use_workspace(root)
    monkeypatch.setattr(streams, "report_lost_output", lambda: True)
    code = 0
    try:
        verb()(body)(Context(), **options)
    except Exit as end:
        code = end.code
    assert code == int(fails)
