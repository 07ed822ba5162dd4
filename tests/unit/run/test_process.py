"""Programs that other threads run are ended when the main thread is interrupted, with all that they started."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import process
from slipway._internal.run.process import ProcessResult, run, stream_lines


@pytest.fixture(autouse=True)
def work_goes_on_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_stopping", threading.Event())


def test_after_that_other_threads_start_nothing_more_but_the_main_one_may_tidy_up() -> None:
    process.end_all_children()
    refused: list[SlipwayError] = []

    def work() -> None:
        try:
            process.run(["true"])
        except SlipwayError as error:
            refused.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=60)
    assert len(refused) == 1
    assert process.run(["true"]).code == 0


def test_nothing_runs_and_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    for name in ("kill", "killpg"):
        monkeypatch.setattr(os, name, lambda *words: ended.append(words))
    process.end_all_children()
    assert ended == []


@pytest.mark.parametrize(
    ("script", "grace", "code"),
    [
        ("sleep 600 & echo $!; wait", 60.0, -signal.SIGTERM),
        ("trap '' TERM; sleep 600 & echo $!; while :; do wait; done", 0.2, -signal.SIGKILL),
    ],
    ids=["politely", "for good"],
)
def test_all_programs_of_all_threads_are_ended_with_what_they_started(
    monkeypatch: pytest.MonkeyPatch, script: str, grace: float, code: int
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", grace)
    results: list[ProcessResult] = []
    started: list[int] = []
    there = threading.Semaphore(0)

    def record_line(line: str) -> None:
        started.append(int(line))
        there.release()

    def work() -> None:
        results.append(process.run(["sh", "-c", script], on_line=record_line))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert there.acquire(timeout=60)
    process.end_all_children()
    for thread in threads:
        thread.join(timeout=60)
    assert [each.code for each in results] == [code] * 3
    assert len(started) == 3
    end = time.monotonic() + 60  # a signal is sent at once, and taken when its receiver's turn comes
    while (left := [pid for pid in started if lives(pid)]) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left
    assert not process._running


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        os.kill(pid, 0)
    except OSError:
        return False
    return state not in "ZX"


def test_a_program_that_has_ended_is_not_ended_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process.run(["true"]).code == 0
    monkeypatch.setattr(process.os, "killpg", pytest.fail)
    process.end_all_children()


def test_this_process_began_before_now_and_after_the_machine() -> None:
    age = time.time() - process.read_own_start_time()
    assert -1 < age < time.clock_gettime(time.CLOCK_BOOTTIME)


def test_where_the_system_does_not_tell_a_process_begins_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "read_status", lambda _: None)
    assert abs(process.read_own_start_time() - time.time()) < 1


def test_standard_error_is_kept_apart_from_data() -> None:
    result = run(["sh", "-c", "echo '{}'; echo 'Warning: old' >&2; exit 3"], apart=True)
    assert (result.code, result.output, result.errors) == (3, "{}\n", "Warning: old\n")


def test_a_stream_that_nobody_reads_any_more_is_ended() -> None:
    lines = stream_lines(["sh", "-c", "echo $$; while true; do sleep 1; done"])
    pid = int(next(lines))
    lines.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_outlives_an_ended_program_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ORPHAN_SECONDS", 0.2)
    lines = stream_lines(["sh", "-c", "(trap '' TERM; echo there; while :; do sleep 600; done) & echo $!; wait"])
    said = {next(lines), next(lines)}
    left = os.pidfd_open(int((said - {"there"}).pop()))
    lines.close()
    assert select.select([left], [], [], 60)[0]
    os.close(left)
