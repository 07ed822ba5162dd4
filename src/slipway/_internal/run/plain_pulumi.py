"""Plain `pulumi` in a workspace: `.venv/bin/pulumi` runs this, with what `invoke` would give Pulumi."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

STACK_OPTIONS = ("--stack", "-s")


def main(root: Path, pulumi: Path, words: Sequence[str]) -> int:
    """Run the CLI as it was asked in the workspace `root`, and return its exit status.

    The passphrase is found or made, a stack that so far is only a file is made known before its configuration is set,
    and Pulumi's salt does not stay in the stacks' files.
    """
    from slipway._internal.model import stack as stacks
    from slipway._internal.model.errors import SlipwayError
    from slipway._internal.model.project import Project
    from slipway._internal.run import stack_config
    from slipway._internal.run.passphrase import hide_salt
    from slipway._internal.run.state import pulumi_environment

    stack, project = stack_argument(words), Project(root)
    try:
        with ExitStack() as files:
            for name in stacks.names(root):
                files.enter_context(hide_salt(root / "infra" / f"Pulumi.{name}.yaml"))
            environment = pulumi_environment(project, stack)
            if stack in stacks.names(root) and words[:1] == ["config"]:
                stack_config.create_stack(pulumi, project, str(stack), {})
            return run_in_terminal([str(pulumi), *words], {**os.environ, **environment})
    except SlipwayError as error:
        sys.stderr.write(f"error: {error.message}\n{error.detail}\nremedy: {error.remedy}\n".replace("\n\n", "\n"))
        return error.exit_code


def stack_argument(words: Sequence[str]) -> str | None:
    """Return the stack that a command line of Pulumi names; None where it names none."""
    for number, word in enumerate(words):
        if word in STACK_OPTIONS:
            return words[number + 1] if number + 1 < len(words) else None
        if word.startswith("--stack="):
            return word.partition("=")[2]
    return os.environ.get("PULUMI_STACK") or None


def run_in_terminal(argv: Sequence[str], environment: dict[str, str]) -> int:
    """Run a program in the terminal that this one has, from which Ctrl-C reaches it; TERM and HUP are passed on."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # signals that came before there was a program to pass them on to

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    signal.signal(signal.SIGINT, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    child = subprocess.Popen(argv, env=environment)
    for missed in early:
        child.send_signal(missed)
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
