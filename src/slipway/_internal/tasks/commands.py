"""Verbs that run a command of the user's: exec, run."""

from __future__ import annotations

import sys

from invoke.context import Context
from invoke.exceptions import Exit

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.optional_words import SEPARATOR
from slipway._internal.tasks.verb import verb

HELP = {"service": "The service.", "stack": "The stack it runs in."}


@verb(name="exec", help=HELP)
def exec_in_service(context: Context, service: str, stack: str = "dev") -> None:
    """Run a command in a service's running container: invoke exec api -- python -V.

    Its exit code is the command's. In a terminal it is interactive, where the image has a shell: invoke exec api -- sh.
    """
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.commands import exec_command

    raise Exit(code=exec_command(load_workspace(workspace_root()), stack, service, command_words()))


@verb(help=HELP)
def run(context: Context, service: str, stack: str = "dev") -> None:
    """Run a command in a new container like a service's: invoke run api -- python -m app.migrate.

    It has the live image, its network, environment and secrets, gets no requests, and is removed when it ends. Its exit
    code is the command's. The command replaces the image's own, ENTRYPOINT included.
    """
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.release.commands import run_command

    raise Exit(code=run_command(load_workspace(workspace_root()), stack, service, command_words()))


def command_words() -> list[str]:
    """Return the words after `--` just as they were given: Invoke itself joins them to one text."""
    words = sys.argv[1:]
    return words[words.index(SEPARATOR) + 1 :] if SEPARATOR in words else []
