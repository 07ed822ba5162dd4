"""The one door to Pulumi: the Automation API with an inline program, or the same engine's other commands."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlparse

import yaml
from pulumi import automation
from pulumi.automation.events import EngineEvent
from semver import VersionInfo

from slipway.model import stack as stacks
from slipway.model.errors import Busy, ConfigError, SlipwayError
from slipway.model.files import write_atomically
from slipway.model.stack import Stack
from slipway.model.workspace import Workspace

OnEvent = Callable[[EngineEvent], None]
NOISE = ("warning: using pulumi-resource-", "error: update failed", "error: preview failed")
"""How lines of Pulumi's diagnostics begin that tell a reader nothing."""
PASSPHRASE = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


@dataclass(frozen=True)
class Outcome:
    """What an update or preview did: resources by operation (`same`, `create`, `replace`, …), and the outputs."""

    operations: Mapping[str, int]
    outputs: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        return any(count for operation, count in self.operations.items() if operation not in ("same", "read"))


@dataclass(frozen=True)
class StaleLock:
    """A lock in the state backend and what is known of its owner."""

    path: Path
    pid: int
    user: str
    host: str
    since: str
    alive: bool


@dataclass
class Door:
    """One stack, opened. `command` is the Pulumi CLI, `log` gets all that it prints, `environment` adds to its own."""

    workspace: Workspace
    stack: Stack
    program: Callable[[], None]
    command: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    _failure: SlipwayError | None = None

    def up(self, on_event: OnEvent) -> Outcome:
        """Make the stack what the program says.

        Raises:
            Busy: someone else is updating the stack.
            SlipwayError: the update failed; its detail has Pulumi's own words.
        """
        tally = Tally(on_event)
        with self._explained():
            self._opened().up(on_event=tally, on_output=self._note, on_error=self._note, color="never")
        return tally.outcome()

    def preview(self, on_event: OnEvent, *, on_output: Callable[[str], None] | None = None) -> Outcome:
        """Say what `up` would do; nothing is built and nothing changes."""

        def note(line: str) -> None:
            self._note(line)
            if on_output:
                on_output(line)

        tally = Tally(on_event)
        with self._explained():
            self._opened().preview(on_event=tally, on_output=note, on_error=self._note, color="never", diff=True)
        return tally.outcome()

    def destroy(self, on_event: OnEvent) -> Outcome:
        """Remove everything that the stack holds."""
        tally = Tally(on_event)
        with self._explained():
            self._opened().destroy(on_event=tally, on_output=self._note, on_error=self._note, color="never")
        return tally.outcome()

    def recover(self) -> None:
        """After an interrupted update: forget creations that never ended, and read what really exists."""
        with self._explained():
            self._opened().refresh(clear_pending_creates=True, on_output=self._note, on_error=self._note, color="never")

    def state(self) -> list[dict[str, Any]]:
        """Return the stack's resources as the backend holds them (secrets encrypted); none when it is new."""
        if self.exists():
            with self._explained():
                return list((self._opened().export_stack().deployment or {}).get("resources") or [])
        return []

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs; none when it was never deployed."""
        for resource in self.state():
            if resource["type"] == "pulumi:pulumi:Stack":
                return dict(resource.get("outputs") or {})
        return {}

    def exists(self) -> bool:
        """Whether the backend knows the stack. A file backend is asked without starting Pulumi."""
        folder = local_state(self.workspace.root)
        if folder:
            return (folder / ".pulumi" / "stacks" / self.workspace.name / f"{self.stack.name}.json").is_file()
        with self._explained():
            return any(each.name == self.stack.name for each in self._local_workspace().list_stacks())

    def stale_locks(self) -> list[StaleLock]:
        """Return the stack's locks in a file backend; other backends keep their own order."""
        folder = local_state(self.workspace.root)
        if not folder:
            return []
        return [
            _lock(path)
            for path in sorted(
                (folder / ".pulumi" / "locks" / "organization" / self.workspace.name / self.stack.name).glob("*.json")
            )
        ]

    def _local_workspace(self) -> automation.LocalWorkspace:
        return automation.LocalWorkspace(
            work_dir=str(self.workspace.root / "infra"),
            program=self._program,
            env_vars={**environment_of(self.workspace.root), **self.environment},
            pulumi_command=_Command(self.command),
        )

    def _opened(self) -> automation.Stack:
        local = self._local_workspace()
        if self.exists():
            return _QuickStack(self.stack.name, local)
        return automation.Stack.create_or_select(self.stack.name, local)

    def _program(self) -> None:
        try:
            self.program()
        except SlipwayError as error:
            self._failure = error
            raise

    def _note(self, line: str) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # The API warns of every event that names no resource; what they say is in the log as well.
                warnings.filterwarnings("ignore", message="Failed to parse engine event")
                yield
        except automation.ConcurrentUpdateError as error:
            raise Busy(
                f"someone else is deploying `{self.stack.name}` at this moment",
                remedy="Wait for it to end and try again; `invoke doctor` shows who holds the lock.",
                detail=_diagnosis(str(error)),
            ) from error
        except automation.CommandError as error:
            if self._failure:
                raise self._failure from error
            raise SlipwayError(
                f"Pulumi could not do it for `{self.stack.name}`",
                remedy="Mend what the lines above say and run it again: what is in place already stays.",
                detail=_diagnosis(str(error)),
                log=self.log,
            ) from error


class Tally:
    """Passes engine events on, and counts what they say was done."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._operations: dict[str, int] = {}
        self._outputs: dict[str, Any] = {}

    def __call__(self, event: EngineEvent) -> None:
        if event.summary_event:
            self._operations = {
                str(getattr(op, "value", op)): n for op, n in event.summary_event.resource_changes.items()
            }
        done = event.res_outputs_event
        if done and done.metadata.type == "pulumi:pulumi:Stack" and done.metadata.new:
            self._outputs = dict(done.metadata.new.outputs or {})
        self._on_event(event)

    def outcome(self) -> Outcome:
        return Outcome(self._operations, self._outputs)


class _QuickStack(automation.Stack):
    """A stack that is known to exist, and whose outputs came with the events: three starts of the CLI fewer."""

    def __init__(self, name: str, workspace: automation.LocalWorkspace) -> None:
        self.name = name
        self.workspace = workspace

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> automation.UpdateSummary:  # noqa: ARG002 - the API's shape
        now = datetime.now(UTC)
        return automation.UpdateSummary("", now, "", {}, {}, "", end_time=now)


class _Command(automation.PulumiCommand):
    """The Pulumi CLI in a session of its own, so that Ctrl-C reaches it once, from here, and it may end in order."""

    def __init__(self, command: Path) -> None:
        self.command = str(command)
        self.version = VersionInfo(3, 255)  # the API only asks whether events can be streamed (3.206 and newer)

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> automation.CommandResult:
        child = subprocess.Popen(
            [self.command, "--non-interactive", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"},
            encoding="utf-8",
            start_new_session=True,
        )
        texts: dict[str, list[str]] = {"stdout": [], "stderr": []}
        readers = [
            threading.Thread(target=_drain, args=(child.stdout, texts["stdout"], on_output)),
            threading.Thread(target=_drain, args=(child.stderr, texts["stderr"], on_error)),
        ]
        with _interrupts_passed_to(child) as interrupted:
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
            code = child.wait()
        result = automation.CommandResult("\n".join(texts["stdout"]), "\n".join(texts["stderr"]), code)
        if interrupted.is_set():
            raise KeyboardInterrupt
        if code:
            raise automation.errors.create_command_error(result)
        return result


def environment_of(root: Path) -> dict[str, str]:
    """Return the variables that Pulumi and its plugins need for this workspace.

    The passphrase that encrypts secrets in the configuration is the user's own (PULUMI_CONFIG_PASSPHRASE or
    …_FILE); where there is none, one is made once and kept in .slipway/passphrase, for this user's eyes only.

    Raises:
        ConfigError: secrets were encrypted with a passphrase that is not here.
    """
    variables = {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true"}
    folder = local_state(root)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        if "PULUMI_HOME" not in os.environ:
            variables["PULUMI_HOME"] = str(quiet_home(root))
    if any(name in os.environ for name in PASSPHRASE):
        return variables
    path = root / ".slipway" / "passphrase"
    if not path.is_file():
        encrypted = [
            name
            for name in stacks.names(root)
            if "encryptionsalt:" in (root / "infra" / f"Pulumi.{name}.yaml").read_text(encoding="utf-8")
        ]
        if encrypted:
            raise ConfigError(
                f"the secrets of {', '.join(encrypted)} are encrypted with a passphrase that is not on this machine",
                remedy=f"Get it from a colleague, and put it in {path} (mode 0600) or in PULUMI_CONFIG_PASSPHRASE.",
            )
        write_atomically(path, secrets.token_urlsafe(32), mode=0o600)
    return {**variables, "PULUMI_CONFIG_PASSPHRASE_FILE": str(path)}


def quiet_home(root: Path) -> Path:
    """Return a home for Pulumi in which it cannot keep its debug log.

    The CLI writes a log of everything at the highest level to $PULUMI_HOME/logs, always, secrets' values included
    until it knows how to encrypt them. A file in that place keeps it from doing so, and saves half of the CLI's time.
    Only where the state is local: other backends' credentials are in the user's own home.
    """
    home = root / ".slipway" / "pulumi"
    home.mkdir(parents=True, exist_ok=True)
    logs = home / "logs"
    if not logs.exists():
        write_atomically(logs, "This file keeps Pulumi from writing its debug log, which may hold secrets.\n")
    return home


def local_state(root: Path) -> Path | None:
    """Return the folder that holds the state, or None when the backend in infra/Pulumi.yaml is no folder."""
    project = yaml.safe_load((root / "infra" / "Pulumi.yaml").read_text(encoding="utf-8")) or {}
    url = os.environ.get("PULUMI_BACKEND_URL") or str((project.get("backend") or {}).get("url", ""))
    parts = urlparse(url)
    if parts.scheme != "file":
        return None
    return (root / "infra" / Path(f"{parts.netloc}{parts.path}").expanduser()).resolve()


def _lock(path: Path) -> StaleLock:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        data = {}
    pid, host = int(data.get("pid", 0)), str(data.get("hostname", ""))
    return StaleLock(
        path,
        pid,
        str(data.get("username", "somebody")),
        host,
        str(data.get("timestamp", "")),
        alive=(bool(host) and host != os.uname().nodename) or _is_pulumi(pid),
    )


def _is_pulumi(pid: int) -> bool:
    """Whether the process lives and is a Pulumi: a dead owner's number may have gone to another program."""
    try:
        about = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    name, _, rest = about.partition("(")[2].rpartition(")")
    return name == "pulumi" and rest.split()[0] not in "ZX"  # ended, and nobody has asked how


def _diagnosis(text: str) -> str:
    """Return what matters of a failed command's text: what each resource said went wrong, or its error lines."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    start = next((number for number, line in enumerate(lines) if line.startswith("Diagnostics:")), None)
    if start is None:
        return "\n".join(line for line in lines if "error" in line.lower())
    end = next((n for n, line in enumerate(lines) if n > start and not line.startswith(" ")), len(lines))
    told = [line for line in lines[start + 1 : end] if not line.strip().startswith(NOISE)]
    heads = [number for number, line in enumerate(told) if not line.startswith("   ")]
    empty = {number for number in heads if number + 1 == len(told) or number + 1 in heads}
    return "\n".join(line.removeprefix("  ") for number, line in enumerate(told) if number not in empty)


def _drain(stream: Any, lines: list[str], on_line: Callable[[str], Any] | None) -> None:
    for line in stream:
        text = line.rstrip()
        lines.append(text)
        if on_line:
            on_line(text)


@contextmanager
def _interrupts_passed_to(child: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """Pass Ctrl-C and TERM on to the child as an interrupt, and let it end what is under way."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        if child.poll() is None:
            child.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
