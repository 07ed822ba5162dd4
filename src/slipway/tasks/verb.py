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

from slipway.model.location import refuse_odd_path, workspace_root
from slipway.run import process_environment, streams

CHOSEN = "Only these, with commas between them: api,web. Default: all."
"""What verbs say of `services`."""
TELLING = frozenset({"doctor", "logs", "preview", "releases", "report", "status", "verify"})
"""Verbs whose work is what they print: where that was lost, they have failed. What others did, they did."""
SIGNALLED = 128
"""What an exit code adds to the number of the signal that ended a verb, as shells have it: 130 for Ctrl-C."""


def verb(**options: Any) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a function an Invoke task: `@verb(help={…})`; the options are those of Invoke's `@task`.

    A SlipwayError in it is shown as a message, and Invoke ends with the error's exit code; Ctrl-C ends with 130.
    """

    def made(body: Callable[..., None]) -> Task[Any]:
        @functools.wraps(body)
        def guarded(*args: Any, **kwargs: Any) -> None:
            lost = False
            try:
                carry_out(lambda: refuse_odd_path(workspace_root()))
                streams.require_utf8()
                prepare_scratch()
                carry_out(lambda: process_environment.prepare(workspace_root()))
                with ended_as_by_ctrl_c():
                    carry_out(lambda: body(*args, **kwargs))
            finally:
                lost = streams.report_lost()
            if lost and (body.__name__ in TELLING or kwargs.get("json") or kwargs.get("dry")):
                raise Exit(code=1)

        return Task(guarded, **options)

    return made


def carry_out(work: Callable[[], None]) -> None:
    """Do the work; turn what goes wrong in it into a message and an exit code.

    Raises:
        Exit: always when it went wrong; Invoke ends the program with its code.
    """
    from slipway.model import files
    from slipway.model.errors import SlipwayError
    from slipway.tasks import show

    try:
        work()
    except SlipwayError as problem:
        show.error(problem)
        raise Exit(code=problem.exit_code) from problem
    except KeyboardInterrupt as stop:
        show.say("Stopped. Nothing half-done is left: run it again to go on.")
        raise Exit(code=SIGNALLED + (stop.args[0] if stop.args else signal.SIGINT)) from None
    except BrokenPipeError:  # `invoke logs … | head`
        raise Exit(code=0) from None
    except OSError as error:
        if not files.is_about_disk(error):
            raise
        show.error(files.not_written(error))
        raise Exit(code=1) from error
    finally:
        for said in files.unwritten:
            show.warn(said)
        files.unwritten.clear()


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Take TERM, and a terminal that closes, as Ctrl-C for the time of a `with`: what was started is ended too."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) == signal.SIG_DFL]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepare_scratch() -> None:
    """Remove what killed commands left; a folder that cannot be written is told by who has to write in it."""
    from slipway.model import scratch

    with suppress(OSError):
        scratch.prepare(workspace_root() / scratch.NAME, _end_left)


def _end_left(sessions: Mapping[int, str], mark: str) -> None:
    from slipway.run.sessions import end_left  # only now: hardly ever is anything left

    end_left(sessions, mark)
