"""The Pulumi CLI as the Automation API starts it, and what matters of the text of one that failed."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from pulumi import automation
from semver import VersionInfo

from slipway._internal.model.scratch import temporary_folder, track_session
from slipway._internal.model.terminal_text import LAST_LINES
from slipway._internal.run.process import child_environment
from slipway._internal.run.process_status import read_start_time
from slipway._internal.run.sessions import end_processes, program_name, session_processes

INTERRUPT_SECONDS, PLUGIN_SECONDS = 30.0, 2.0
"""How long Pulumi has to end in order after an interrupt; how long a plugin has to end, and then Pulumi without it."""
_running: set[subprocess.Popen[str]] = set()

NOISE_PREFIXES = ("warning: using pulumi-", "error: update failed", "error: preview failed")
"""How lines of Pulumi's diagnostics begin that tell a reader nothing."""


class PulumiCli(automation.PulumiCommand):
    """The Pulumi CLI in a session of its own, so that Ctrl-C reaches it once, from here, and it may end in order.

    It and its plugins leave temporary files, a copy of the kubeconfig among them; so they get a folder that goes.
    """

    def __init__(self, command: Path, scratch: Path) -> None:
        self.command = str(command)
        self._scratch = scratch
        self.version = VersionInfo(3, 255)  # the API only asks whether events can be streamed (3.206 and newer)

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> automation.CommandResult:
        with ExitStack() as ending:
            with suppress(OSError):  # a full disk: Pulumi says so itself
                folder = ending.enter_context(temporary_folder(self._scratch, "pulumi"))
                additional_env = {**additional_env, "TMPDIR": str(folder)}
            return self._run(args, cwd, additional_env, on_output, on_error)

    def _run(
        self,
        args: list[str],
        cwd: str,
        environment: Mapping[str, str],
        on_output: Callable[[str], Any] | None,
        on_error: Callable[[str], Any] | None,
    ) -> automation.CommandResult:
        child = subprocess.Popen(
            [self.command, "--non-interactive", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=child_environment({**environment, "PULUMI_AUTOMATION_API": "true"}),
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        texts: dict[str, list[str]] = {"stdout": [], "stderr": []}
        readers = [
            threading.Thread(target=_read_stream, args=(child.stdout, texts["stdout"], on_output)),
            threading.Thread(target=_read_stream, args=(child.stderr, texts["stderr"], on_error)),
        ]
        _running.add(child)
        try:
            with _forwarded_interrupts(child) as interrupted, track_session(child.pid, read_start_time(child.pid)):
                for reader in readers:
                    reader.start()
                code = child.wait()
                if code < 0:  # it was killed, and could not end its plugins
                    end_processes((pid for pid in session_processes(child.pid) if pid != child.pid), PLUGIN_SECONDS)
                for reader in readers:
                    reader.join()
        finally:
            _running.discard(child)
        result = automation.CommandResult("\n".join(texts["stdout"]), "\n".join(texts["stderr"]), code)
        if interrupted.is_set():
            raise KeyboardInterrupt
        if code:
            raise automation.errors.create_command_error(result)
        return result


def extract_diagnosis(text: str) -> str:
    """Return what matters of a failed command's text: what each resource said went wrong, or its error lines."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    start = next((number for number, line in enumerate(lines) if line.startswith("Diagnostics:")), None)
    if start is None:
        return "\n".join(line for line in lines if "error" in line.lower())
    end = next((n for n, line in enumerate(lines) if n > start and not line.startswith(" ")), len(lines))
    diagnostics = [line for line in lines[start + 1 : end] if not line.strip().startswith(NOISE_PREFIXES)]
    heads = [number for number, line in enumerate(diagnostics) if not line.startswith("   ")]
    empty = {number for number in heads if number + 1 == len(diagnostics) or number + 1 in heads}
    return "\n".join(line.removeprefix("  ") for number, line in enumerate(diagnostics) if number not in empty)


def without_service_logs(text: str) -> str:
    """Return a failed command's text without the lines that services have logged: their disks are not the state's."""
    kept, depth = [], None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if depth is not None and (indent > depth or not line.strip()):
            continue
        depth = indent if line.lstrip().startswith(LAST_LINES) else None
        kept.append(line)
    return "\n".join(kept)


def end_plugin(name: str) -> None:
    """End a plugin of the Pulumis that this process runs: Pulumi goes on, and fails what it asked of the plugin."""
    for child in list(_running):
        end_processes([pid for pid in session_processes(child.pid) if program_name(pid) == name], PLUGIN_SECONDS)


def _end_pulumi(child: subprocess.Popen[str]) -> None:
    """End a Pulumi that an interrupt has not ended: first its plugins, so that it may keep its books, then all."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(INTERRUPT_SECONDS)
        return
    end_processes([pid for pid in session_processes(child.pid) if pid != child.pid], PLUGIN_SECONDS)
    with suppress(subprocess.TimeoutExpired):
        child.wait(PLUGIN_SECONDS)
    end_processes(session_processes(child.pid), 0.0)


def _read_stream(stream: Any, lines: list[str], on_line: Callable[[str], Any] | None) -> None:
    for line in stream:
        text = line.rstrip()
        lines.append(text)
        if on_line:
            on_line(text)


@contextmanager
def _forwarded_interrupts(child: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """Pass Ctrl-C and TERM on to the child as an interrupt, and let it end what is under way."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        again = interrupted.is_set()
        interrupted.set()
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            if not again:
                threading.Thread(target=_end_pulumi, args=(child,), daemon=True).start()

    previous_handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
