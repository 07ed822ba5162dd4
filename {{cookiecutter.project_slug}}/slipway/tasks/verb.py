"""The decorator that makes a function a verb: an Invoke task in the workspace's own Python, whose errors are messages."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoke import Exit, task

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("msgspec", "rich", "docker", "pulumi", "pulumi_docker_build")
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def verb(body: Callable[..., None] | None = None, /, **options: Any) -> Any:
    """Make a function an Invoke task: `@verb` or `@verb(help={…}, optional=[…])`.

    A SlipwayError in it is shown as a message, and Invoke ends with the error's exit code; Ctrl-C ends with 130.
    """
    if body is None:
        return lambda function: verb(function, **options)

    @functools.wraps(body)
    def guarded(*args: Any, **kwargs: Any) -> None:
        in_own_python()
        from slipway.model.errors import SlipwayError
        from slipway.tasks import show

        try:
            body(*args, **kwargs)
        except SlipwayError as problem:
            show.error(problem)
            raise Exit(code=problem.exit_code) from problem
        except KeyboardInterrupt:
            show.say("Stopped. Nothing half-done is left: run it again to go on.")
            raise Exit(code=INTERRUPTED) from None
        except BrokenPipeError:  # `invoke logs … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=0) from None

    return task(guarded, **options)


def in_own_python() -> None:
    """Go on in the workspace's .venv when this Python lacks what the verbs need; make the .venv first where there is none."""
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return
    own = ROOT / ".venv" / "bin" / "invoke"
    if Path(sys.prefix) == ROOT / ".venv" or not own.is_file():
        from slipway.toolchain.python import make_venv

        make_venv(ROOT)
    if Path(sys.prefix) == ROOT / ".venv":
        return
    os.execv(own, [str(own), *sys.argv[1:]])  # noqa: S606 - the same command, in the workspace's own Python
