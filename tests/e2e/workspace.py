"""A generated workspace on real components, driven as its user would: by `invoke`, in its folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.main import cookiecutter
from tests.conftest import ROOT
from tests.own_python import lend

from slipway._internal.run import engine

UP_SECONDS = 1500.0
"""The first `invoke up` may have to build the base images; everything else is far quicker."""
WAIT_SECONDS = 240.0
"""How long a test waits for something that takes a second on an idle machine."""


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed: `output` is both streams, one after the other."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return f"{self.stdout}{self.stderr}"

    def json(self) -> Any:
        """Return what a `--json` command printed."""
        assert self.code == 0, self.output
        return json.loads(self.stdout)

    def line(self, beginning: str) -> str:
        """Return the first line that begins so."""
        return next(line for line in self.output.splitlines() if line.startswith(beginning))

    def log(self) -> Path:
        """Return the log that an error names."""
        return Path(self.line("  log ").split()[1])


@dataclass
class Workspace:
    """One baked workspace; `environment` is added to every command's."""

    root: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start an Invoke command in a process group of its own."""
        return subprocess.Popen(
            [lend(self.root), "-m", "invoke", *words],
            cwd=self.root,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def invoke(self, *words: str, **environment: str) -> Ran:
        """Run an Invoke command to its end. Whatever happens, there is no traceback, and no colour in a pipe."""
        return ended(self.start(*words, **environment))

    def piped(self, *words: str, stdin: str = "") -> Ran:
        """Run an Invoke command that reads its standard input from a pipe."""
        return self._run([lend(self.root), "-m", "invoke", *words], self.root, stdin, {})

    def up(self, *words: str, **environment: str) -> dict[str, Any]:
        """Run `invoke up --json`, which must succeed, and return what it says."""
        return dict(self.invoke("up", "--json", *words, **environment).json())

    def get(self, path: str) -> tuple[int, str]:
        """Request a path from the gateway."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def pulumi(self, *words: str, stdin: str = "", **environment: str) -> Ran:
        """Run plain Pulumi in infra/, as the `pulumi` that `invoke setup` puts into the workspace's .venv would."""
        command = [str(self.root / ".slipway" / "bin" / "pulumi"), "--non-interactive", "--color", "never", *words]
        settings = {
            "PATH": f"{self.root / '.slipway' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.root / ".slipway" / "passphrase"),
        }
        return self._run(command, self.root / "infra", stdin, {**settings, **environment})

    def _run(self, command: Sequence[str | Path], folder: Path, stdin: str, environment: Mapping[str, str]) -> Ran:
        """Run a program to its end that reads a text from a pipe."""
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def containers(self, stack: str = "dev") -> dict[str, engine.ContainerSummary]:
        """Return what the engine has of a stack, by name in the state; there must be one container for each."""
        found = engine.list_containers(self.root.name, stack)
        assert len({each.resource for each in found}) == len(found), [each.name for each in found]
        return {each.resource: each for each in found}

    def ids(self, stack: str = "dev") -> dict[str, str]:
        """Return each service's container by its id."""
        return {service: each.id for service, each in self.containers(stack).items()}

    def containers_now(self, stack: str = "dev") -> dict[str, str]:
        """Return the id of each service's newest container that runs, also while `invoke dev` is at work."""
        return {
            each.service: each.id for each in engine.list_containers(self.root.name, stack) if each.state == "running"
        }

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def env(self, service: str, name: str, value: str) -> None:
        """Give a service an environment variable."""
        self.edit(f"services/{service}/service.toml", "[args]\n", f'[env]\n{name} = "{value}"\n\n[args]\n')

    def git(self, *words: str) -> str:
        """Run git in the workspace."""
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        done = subprocess.run(["git", *who, *words], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout

    def restore(self) -> None:
        """Put every file back as it was committed; what git ignores stays."""
        self.git("checkout", "--quiet", "--force", "HEAD", "--", ".")
        self.git("clean", "--quiet", "-d", "--force")


def ended(child: subprocess.Popen[str], output: str = "") -> Ran:
    """Wait for a started command's end; `output` is what was read of it before."""
    try:
        rest, errors = child.communicate(timeout=UP_SECONDS)
    except subprocess.TimeoutExpired:
        kill(child)
        raise
    text = f"{output}{rest}{errors}"
    # Of Slipway's own code no traceback is shown; what a service wrote stands behind a bar.
    assert not any(line.startswith("Traceback") for line in text.splitlines()), text
    assert "\x1b" not in text, text
    return Ran(child.returncode, output + rest, errors)


def read_until(child: subprocess.Popen[str], wanted: Callable[[str], bool]) -> str:
    """Read a started command's output up to a line that is wanted, and return it."""
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line)
        if wanted(line):
            return "".join(lines)
    errors = child.stderr.read() if child.stderr else ""
    raise AssertionError(f"it ended with {child.wait()}:\n{''.join(lines)}{errors}")


def wait_until(true: Callable[[], Any], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < end, f"still not: {what}"
        time.sleep(0.05)


def kill(child: subprocess.Popen[str]) -> list[int]:
    """Kill a command and all that it has started, at once and without a warning; return who they were."""
    family = [child.pid, *descendants(child.pid)]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.wait(timeout=WAIT_SECONDS)
    return family


def processes_gone(pids: list[int]) -> None:
    """Wait until processes have ended; a zombie that nobody waits for has."""

    def lives(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    wait_until(lambda: not any(lives(pid) for pid in pids), f"{pids} have ended")


def descendants(pid: int) -> Iterator[int]:
    """Yield all processes that a process has started, and those that they have."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                yield int(folder.name)
                yield from descendants(int(folder.name))


@contextmanager
def tiny_disk(folder: Path) -> Iterator[None]:
    """Put a file system of one megabyte over a folder."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def bake(folder: Path, **answers: Any) -> Path:
    """Generate a workspace with these answers, by default without a database, and return its folder."""
    context = {"services": "demo", **answers}
    return Path(cookiecutter(str(ROOT), no_input=True, output_dir=str(folder), extra_context=context))
