"""The bench's door to the shell: a command is run to its end, and one that fails is a `Failed` with its last words."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

SECONDS = 900.0
"""How long one command may take."""
TOLD = 160
"""Characters of a failure that a table has room for."""

Environment = Mapping[str, str | None]


class Failed(Exception):
    """A command ended badly, or could not be had. `short` is a line of why."""

    def __init__(self, what: str, output: str = "") -> None:
        super().__init__(f"{what}\n{output}" if output else what)
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        telling = next(
            (line for line in reversed(lines) if "error" in line.lower() or "✘" in line), lines[-1] if lines else ""
        )
        self.short = f"{what}: {telling}"[:TOLD] if telling else what[:TOLD]


def run(command: Sequence[str | Path], folder: Path, environment: Environment | None = None) -> str:
    """Run a command in a folder and return its output (both streams).

    Args:
        environment: variables added to this process's own; one that is None is taken away.

    Raises:
        Failed: it is not there, ended with another status than 0, or took longer than `SECONDS`.
    """
    words = [str(word) for word in command]
    name = " ".join((Path(words[0]).name, *words[1:3]))
    child = start(words, folder, environment)
    try:
        output, _ = child.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{name} did not end within {SECONDS:.0f} s") from error
    finally:
        end(child)
    if child.returncode:
        raise Failed(f"{name} ended with {child.returncode}", output)
    return output


def seconds(command: Sequence[str | Path], folder: Path, environment: Environment | None = None) -> float:
    """Run a command and return the seconds of its whole process."""
    began = time.monotonic()
    run(command, folder, environment)
    return time.monotonic() - began


def start(
    command: Sequence[str | Path],
    folder: Path,
    environment: Environment | None = None,
    output: IO[str] | int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, both streams in one pipe, or in a file."""
    try:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=merged(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Failed(f"{command[0]} is not there") from error


def end(child: subprocess.Popen[str], patience: float = 10.0) -> None:
    """End a started command's whole group where it still runs: first asked, then killed."""
    if child.poll() is not None:
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=patience)
            break
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


def merged(environment: Environment) -> dict[str, str]:
    """Return this process's environment with the changes."""
    both = {**os.environ, **environment}
    return {name: value for name, value in both.items() if value is not None}
