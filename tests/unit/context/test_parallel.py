"""Several services at once: each to its end, all that failed told together, and an interrupt that leaves nothing."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from slipway._internal.context.parallel import MAX_PARALLEL, combine_errors, run_parallel
from slipway._internal.model.errors import ConfigError, GateRefused, SlipwayError
from slipway._internal.run import process


@pytest.fixture(autouse=True)
def work_goes_on_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_stopping", threading.Event())


def test_each_result_stands_under_its_name() -> None:
    assert run_parallel([1, 2, 3], str, lambda each: each * each) == {"1": 1, "2": 4, "3": 9}
    assert run_parallel([], str, lambda each: each) == {}


def test_services_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(MAX_PARALLEL, timeout=60)
    assert len(run_parallel(range(MAX_PARALLEL), str, lambda _each: together.wait())) == MAX_PARALLEL


def test_all_are_carried_to_their_end_though_one_fails() -> None:
    done: list[str] = []

    def work(name: str) -> None:
        if name == "api":
            raise GateRefused("api failed")
        done.append(name)

    with pytest.raises(GateRefused, match=r"^api failed$"):
        run_parallel(["api", "web", "worker"], str, work)
    assert sorted(done) == ["web", "worker"]


def test_one_failure_is_told_as_it_is() -> None:
    error = SlipwayError("api could not be built", remedy="Mend it.", log=Path("api.log"))
    assert combine_errors({"api": error}) is error


def test_several_failures_are_told_in_one_with_their_details_and_logs() -> None:
    build = SlipwayError("api could not be built", remedy="Mend it.", detail="line 1\nline 2", log=Path("/l/api.log"))
    config = ConfigError("web is wrong", remedy="Correct it.")
    found = combine_errors({"api": build, "web": config})
    assert isinstance(found, SlipwayError)
    assert found.message == "2 services failed: api, web"
    assert found.detail == "api could not be built\n  line 1\n  line 2\n  log /l/api.log\n\nweb is wrong"
    assert found.remedy == "Mend it."
    assert found.exit_code == SlipwayError.exit_code


def test_a_refusal_among_several_failures_gives_the_exit_code() -> None:
    found = combine_errors({"api": SlipwayError("no disk"), "web": GateRefused("a hole")})
    assert isinstance(found, GateRefused) and found.exit_code == 3


def test_a_mistake_in_slipway_is_not_hidden_behind_other_failures() -> None:
    mistake = KeyError("api")
    assert combine_errors({"web": GateRefused("a hole"), "api": mistake}) is mistake


def test_an_interrupt_ends_the_programs_that_run_and_what_waits_never_begins() -> None:
    begun: set[int] = set()
    results: dict[int, int] = {}
    running = threading.Barrier(MAX_PARALLEL + 1, timeout=60)

    def work(each: int) -> None:
        begun.add(each)
        script = "echo begun; exec sleep 600"
        results[each] = process.run(["sh", "-c", script], on_line=lambda _line: void(running.wait())).code

    def interrupt() -> None:
        running.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_parallel(range(MAX_PARALLEL + 5), str, work)
    thread.join()
    assert begun == set(range(MAX_PARALLEL))
    assert results == dict.fromkeys(range(MAX_PARALLEL), -signal.SIGTERM)
    assert not process._running


def void(_value: object) -> None:
    """Take a value and give none."""
