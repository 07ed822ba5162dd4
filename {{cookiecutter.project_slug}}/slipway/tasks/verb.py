"""The decorator that makes a verb: an Invoke task in the workspace's own Python, whose errors are messages."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit
from invoke.tasks import Task

from slipway.model.location import refuse_odd_path
from slipway.run import process_environment, streams

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("msgspec", "rich", "docker", "pulumi", "pulumi_docker_build", "watchfiles")
CHOSEN = "Only these, with commas between them: api,web. Default: all."
"""What verbs say of `services`."""
TELLING = frozenset({"doctor", "logs", "preview", "releases", "report", "status", "verify"})
"""Verbs whose work is what they print: where that was lost, they have failed. What others did, they did."""
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def verb(**options: Any) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a function an Invoke task: `@verb(help={…})`; the options are those of Invoke's `@task`.

    A SlipwayError in it is shown as a message, and Invoke ends with the error's exit code; Ctrl-C ends with 130.
    """

    def made(body: Callable[..., None]) -> Task[Any]:
        @functools.wraps(body)
        def guarded(*args: Any, **kwargs: Any) -> None:
            lost = False
            try:
                carry_out(lambda: refuse_odd_path(ROOT))
                in_own_python()
                streams.require_utf8()
                prepare_scratch()
                carry_out(lambda: process_environment.prepare(ROOT))
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
    from slipway.model.errors import SlipwayError
    from slipway.tasks import show

    try:
        work()
    except SlipwayError as problem:
        show.error(problem)
        raise Exit(code=problem.exit_code) from problem
    except KeyboardInterrupt:
        show.say("Stopped. Nothing half-done is left: run it again to go on.")
        raise Exit(code=INTERRUPTED) from None
    except BrokenPipeError:  # `invoke logs … | head`
        raise Exit(code=0) from None


def prepare_scratch() -> None:
    """Remove what killed commands left; a folder that cannot be written is told by who has to write in it."""
    from slipway.model import scratch

    with suppress(OSError):
        scratch.prepare(ROOT / scratch.NAME)


def in_own_python() -> None:
    """Go on in the workspace's .venv when this Python lacks what the verbs need; make it first where there is none."""
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return
    own = ROOT / ".venv" / "bin" / "invoke"
    if Path(sys.prefix) == ROOT / ".venv" or not own.is_file():
        from slipway.toolchain.python import make_venv

        make_venv(ROOT)
    if Path(sys.prefix) == ROOT / ".venv":
        return
    os.execv(own, [str(own), *sys.argv[1:]])  # noqa: S606 - the same command, in the workspace's own Python
