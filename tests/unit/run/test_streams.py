"""The standard streams: whatever they lead to, the work goes on and the exit code says the truth."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import PYTHONPATH

from slipway._internal.run import streams
from slipway._internal.run.streams import ResilientOutput

START = "from slipway._internal.run import streams; streams.secure_streams(); import sys, os; "
SAY = START + r"print('\u2714 \xe9 done', flush=True); print('\u2718 bad', file=sys.stderr)"
"""In ASCII: a Python without UTF-8 would not take it otherwise."""


def run(code: str, redirect: str = "", **variables: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    environment = {**kept, "PYTHONPATH": PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1", "CODE": code, **variables}
    command = f'exec "$0" -c "$CODE" {redirect}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable], capture_output=True, env=environment, cwd="/", check=False
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, "? é done\n".encode("cp1252")),
        ({"PYTHONIOENCODING": "ascii"}, b"? ? done\n"),
        ({"PYTHONIOENCODING": "utf-16-le"}, "✔ é done\n".encode("utf-16-le")),
        ({"LC_ALL": "C", "PYTHONUTF8": "0"}, b"? ? done\n"),
        ({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, b"? ? done\n"),
        ({"PYTHONUTF8": "1"}, "✔ é done\n".encode()),
    ],
)
def test_what_an_encoding_lacks_becomes_a_question_mark(variables: dict[str, str], said: bytes) -> None:
    result = run(SAY, **variables)
    assert (result.returncode, result.stdout) == (0, said)
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere_and_no_file_takes_their_place(redirect: str, tmp_path: Path) -> None:
    written = tmp_path / "file"
    work = (
        f"file = open({str(written)!r}, 'w'); print('out'); print('err', file=sys.stderr); sys.stdin.read(); "
        "os.system('echo of a child'); file.write('whole'); file.close()"
    )
    result = run(START + work, redirect)
    assert (result.returncode, written.read_text()) == (0, "whole")
    assert b"Traceback" not in result.stderr


def test_a_full_device_is_said_and_ends_with_status_1() -> None:
    result = run(SAY, ">/dev/full", PYTHONUTF8="1")
    assert result.returncode == 1
    assert result.stderr.decode() == (
        "✘ bad\n✘ standard output could not be written in full: No space left on device\n"
    )


def test_work_that_is_done_while_the_device_is_full_goes_on(tmp_path: Path) -> None:
    code = (
        START + f"print('x' * 100_000, flush=True); open({str(tmp_path / 'done')!r}, 'w'); streams.report_lost_output()"
    )
    result = run(code, ">/dev/full")
    assert (result.returncode, (tmp_path / "done").exists()) == (0, True)


def test_a_full_device_for_errors_changes_nothing() -> None:
    result = run(SAY, "2>/dev/full", PYTHONUTF8="1")
    assert (result.returncode, result.stdout.decode()) == (0, "✔ é done\n")


def test_a_reader_that_goes_away_ends_nothing_and_is_no_failure(tmp_path: Path) -> None:
    code = START + f"[print('line', n, flush=True) for n in range(100_000)]; open({str(tmp_path / 'done')!r}, 'w')"
    result = run(code, "| head -1; exit ${PIPESTATUS[0]}")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"line 0\n", b"")
    assert (tmp_path / "done").exists()


def test_what_goes_on_without_end_ends_with_its_reader() -> None:
    code = START + (
        "streams.end_with_reader()\ntry:\n  while True: print('line', flush=True)\nexcept BrokenPipeError: sys.exit(7)"
    )
    result = run(code, "| head -1; exit ${PIPESTATUS[0]}")
    assert (result.returncode, result.stderr) == (7, b"")


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    code = START + "os.set_blocking(1, False); print('x' * 1_000_000); print('end')"
    result = run(code, "| (read -r -n 1; cat)")
    assert result.stdout.endswith(b"x\nend\n")
    assert result.stderr == b""


def test_a_locale_without_utf8_starts_python_in_utf8_mode_and_the_terminal_keeps_its_encoding() -> None:
    code = START + (
        "streams.require_utf8(); import locale; "
        "print(sys.flags.utf8_mode, locale.getpreferredencoding(), sys.stdout.encoding); "
        "print('\\u2714', os.environ['PYTHONUTF8'])"
    )
    result = run(code, LC_ALL="C", PYTHONUTF8="0")
    assert result.stderr == b""
    assert result.stdout.lower() == b"1 utf-8 ascii\n? 1\n"


def test_securing_streams_twice_changes_nothing() -> None:
    result = run(START + "one = sys.stdout; streams.secure_streams(); print(one is sys.stdout)")
    assert result.stdout == b"True\n"


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_who_reads_a_pipe_gets_each_line_when_it_is_printed(variables: dict[str, str]) -> None:
    code = f"{START} print('first'); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, **variables},
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        readable, _, _ = select.select([child.stdout], [], [], 60)
        assert readable and os.read(child.stdout.fileno(), 100) == b"first\n"
        child.stdin.close()
    assert child.returncode == 0


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ResilientOutput]]:
    """Make a file, or a pipe without a reader, standard output; nothing of it stays."""
    opened: list[int] = []
    monkeypatch.setattr(streams, "_reported", [])

    def lead_to(path: str) -> ResilientOutput:
        if path == "pipe":
            reader, writer = os.pipe()
            os.close(reader)
        else:
            writer = os.open(path, os.O_WRONLY)
        opened.append(writer)
        raw = ResilientOutput(writer)
        monkeypatch.setattr(
            sys, "stdout", io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", write_through=True)
        )
        return raw

    yield lead_to
    monkeypatch.undo()
    for descriptor in opened:
        os.close(descriptor)


def test_what_a_full_device_did_not_take_is_said_once(
    output: Callable[[str], ResilientOutput], capsys: pytest.CaptureFixture[str]
) -> None:
    raw = output("/dev/full")
    print("lost", flush=True)
    print("lost, too", flush=True)
    assert raw.problem is not None and streams.find_lost_output() == "No space left on device"
    assert [streams.report_lost_output(), streams.report_lost_output()] == [True, False]
    assert "No space left on device" in capsys.readouterr().err


def test_a_reader_that_had_enough_has_lost_nothing(output: Callable[[str], ResilientOutput]) -> None:
    output("pipe")
    print("nobody reads it", flush=True)
    assert streams.find_lost_output() == "" and streams.report_lost_output() is False


def test_a_write_that_nobody_reads_raises_where_that_was_asked_for(output: Callable[[str], ResilientOutput]) -> None:
    output("pipe")
    streams.end_with_reader()
    with pytest.raises(BrokenPipeError):
        print("nobody reads it", flush=True)


def test_what_is_taken_is_passed_on(tmp_path: Path, output: Callable[[str], ResilientOutput]) -> None:
    (tmp_path / "file").touch()
    output(str(tmp_path / "file"))
    print("✔ done", flush=True)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "✔ done\n"
    assert streams.find_lost_output() == ""
