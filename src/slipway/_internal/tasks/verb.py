"""The decorator that makes a verb: an Invoke task whose errors are messages."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from invoke.exceptions import Exit
from invoke.tasks import Task

from slipway._internal.model.workspace_path import refuse_unsafe_path, workspace_root
from slipway._internal.run import process_environment, streams
from slipway._internal.tasks.optional_words import OptionalWordsTask

SERVICES_HELP = "Only these, with commas between them: api,web. Default: all."
"""What verbs say of `services`."""
READING_VERBS = frozenset({"doctor", "logs", "preview", "releases", "report", "status", "verify"})
"""Verbs whose work is what they print: where that was lost, they have failed. What others did, they did."""
SIGNAL_EXIT_BASE = 128
"""What an exit code adds to the number of the signal that ended a verb, as shells have it: 130 for Ctrl-C."""


def verb(**options: Any) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a function an Invoke task: `@verb(help={…})`; the options are those of Invoke's `@task`.

    A SlipwayError in it is shown as a message, and Invoke ends with the error's exit code; Ctrl-C ends with 130.
    """

    def decorate(body: Callable[..., None]) -> Task[Any]:
        @functools.wraps(body)
        def run_verb(*args: Any, **kwargs: Any) -> None:
            output_lost = False
            try:
                exit_on_error(lambda: refuse_unsafe_path(workspace_root()))
                streams.require_utf8()
                prepare_scratch()
                exit_on_error(lambda: process_environment.sanitize_environment(workspace_root()))
                with interrupt_on_signals():
                    exit_on_error(lambda: body(*args, **kwargs))
            finally:
                output_lost = streams.report_lost_output()
            if output_lost and (body.__name__ in READING_VERBS or kwargs.get("json") or kwargs.get("dry")):
                raise Exit(code=1)

        return OptionalWordsTask(run_verb, **options)

    return decorate


def exit_on_error(work: Callable[[], None]) -> None:
    """Do the work; turn what goes wrong in it into a message and an exit code.

    Raises:
        Exit: always when it went wrong; Invoke ends the program with its code.
    """
    from slipway._internal.model import files
    from slipway._internal.model.errors import SlipwayError
    from slipway._internal.tasks import show

    try:
        work()
    except SlipwayError as problem:
        show.error(problem)
        raise Exit(code=problem.exit_code) from problem
    except KeyboardInterrupt as interrupt:
        show.say("Stopped. Nothing half-done is left: run it again to go on.")
        raise Exit(code=SIGNAL_EXIT_BASE + _signal_of(interrupt)) from None
    except BrokenPipeError:  # `invoke logs … | head`
        raise Exit(code=0) from None
    except OSError as error:
        if not files.is_disk_error(error):
            raise
        show.error(files.write_error(error))
        raise Exit(code=1) from error
    finally:
        for warning in files.write_failures:
            show.warn(warning)
        files.write_failures.clear()


def _signal_of(interrupt: KeyboardInterrupt) -> int:
    """Return the signal that an interrupt stands for: Ctrl-C's, unless it has a number. Python may give it a text."""
    return next((each for each in interrupt.args if isinstance(each, int)), signal.SIGINT)


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Take TERM, and a terminal that closes, as Ctrl-C for the time of a `with`: what was started is ended too."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    handlers = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def prepare_scratch() -> None:
    """Remove what killed commands left; a folder that cannot be written is told by who has to write in it."""
    from slipway._internal.model import scratch

    with suppress(OSError):
        scratch.prepare(workspace_root() / scratch.FOLDER_NAME, _end_leftover_processes)


def _end_leftover_processes(sessions: Mapping[int, str], mark: str) -> None:
    from slipway._internal.run.sessions import end_orphaned_sessions  # only now: hardly ever is anything left

    end_orphaned_sessions(sessions, mark)
