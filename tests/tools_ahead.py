"""Gets the tools of later suites while earlier ones run: at a low priority, in a process that ends with its starter.

`python -m tests.tools_ahead SUITE…` gets what suites need, a tool at a time; two that want the same tool build it once,
since each tool has a lock. With --follow it ends, and all that it has started, when its standard input is closed. With
--look it gets nothing, and only says by its exit status whether all are there.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src"
FOLLOW, LOOK = "--follow", "--look"
LOWEST_PRIORITY = 19
POLL_SECONDS = 1.0
END_SECONDS = 30.0
"""How long the process may take to end its compilers, before it is killed."""


class AheadBuild:
    """The process that gets tools in the background."""

    def __init__(self, suites: Sequence[str], log: Path) -> None:
        self._log: IO[bytes] = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.tools_ahead", FOLLOW, *suites],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the suite that runs; this one hears of it by its standard input
        )

    def end(self) -> None:
        """End it with all that it has started; nothing to do where it is done."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def tools_of(suite: str) -> tuple[str, ...]:
    """Return what a suite needs from its start on. What the gate needs, the others want too, in single tests."""
    from slipway._internal.build import environment
    from slipway._internal.toolchain import kubernetes_plugin
    from slipway._internal.toolchain.cluster import components

    gate = "registry", "crane", environment.SCANNER, environment.SIGNER
    e2e = *environment.TOOLS, "buildkit", "registry", "compose"
    # Tools of one module go together: the second is built in no time.
    cluster = *environment.KUBERNETES_TOOLS, *components.TOOLS, kubernetes_plugin.PLUGIN, "envoy-gateway"
    needed = {"gate": gate, "e2e": e2e, "kubernetes": (*e2e, *cluster)}[suite]
    return tuple(dict.fromkeys(needed))


def get_tools(suites: Sequence[str]) -> int:
    """Get what suites need and say each step; return how many tools cannot be had: the suites then say so, too."""
    from slipway._internal.model.errors import SlipwayError

    missing = 0
    for tool in dict.fromkeys(tool for suite in suites for tool in tools_of(suite)):
        try:
            get_tool(tool)
        except SlipwayError as error:
            missing += 1
            print(f"✘ {error.message}\n{error.detail}", flush=True)
    return missing


def are_present(suites: Iterable[str]) -> bool:
    """Whether each tool that suites need is there, so that none of them would wait."""
    from slipway._internal.toolchain.install import find_installed_tool

    return all(find_installed_tool(tool) for suite in suites for tool in tools_of(suite))


def get_tool(tool: str) -> None:
    """Get one tool by the ways that a workspace gets it.

    Raises:
        SlipwayError: none of them leads to it.
    """
    from slipway._internal.toolchain.install import ensure_tool, find_installed_tool, link_tools
    from slipway._internal.toolchain.kubernetes_plugin import PLUGIN, ensure_kubernetes_plugin

    if find_installed_tool(tool):
        return
    if tool != PLUGIN:
        ensure_tool(tool, on_line=_say)
        return
    with tempfile.TemporaryDirectory() as folder:  # only what has to be built outlives it
        link_tools(Path(folder), ["pulumi"], on_line=_say)
        ensure_kubernetes_plugin(Path(folder), Path(folder, "home"), install=True, on_line=_say)


def follow_starter() -> None:
    """Interrupt this process when standard input ends, however the starter has ended; till then keep out of its way.

    The interrupt is Ctrl-C's: whoever has started a compiler ends it, and removes what it has written.
    """
    while not select.select([sys.stdin.fileno()], [], [], POLL_SECONDS)[0]:
        _lower_children()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _lower_children() -> None:
    """Lower the sessions of children: a nice value counts only within one where the kernel shares time by session."""
    for thread in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for child in thread.read_text(encoding="ascii").split():
                Path(f"/proc/{child}/autogroup").write_text(str(LOWEST_PRIORITY), encoding="ascii")


def _say(line: str) -> None:
    print(line, flush=True)


def main(words: Sequence[str]) -> int:
    """Get tools as the words say; return 1 where one cannot be had."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if FOLLOW in words:
        os.nice(LOWEST_PRIORITY)
        threading.Thread(target=follow_starter, daemon=True).start()
    if LOOK in words:
        return 0 if are_present(word for word in words if word != LOOK) else 1
    try:
        return min(get_tools([word for word in words if word != FOLLOW]), 1)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
