"""The one door to Pulumi: the Automation API with an inline program, or the same engine's other commands."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi import automation
from pulumi.automation.events import EngineEvent

from slipway.model.errors import Busy, ConfigError, SlipwayError
from slipway.model.files import free_bytes, megabytes, open_private, unwritten
from slipway.model.masking import mask
from slipway.model.stack import Stack
from slipway.model.workspace import Workspace
from slipway.run import passphrase, statefile
from slipway.run.policy import Violations, served
from slipway.run.pulumi_command import Command, diagnosis
from slipway.run.state import (
    PASSPHRASE,
    StaleLock,
    environment_of,
    is_there,
    keeps_passphrase_elsewhere,
    local_state,
    locks,
    stacks_in,
    state_file,
)

if TYPE_CHECKING:
    from pulumi_policy import Policy

BUILDS = ("docker-build:index:Image", "pulumi:providers:docker-build")
"""What lives in the state only until the image is in the registry: see infra/images.py."""
OnEvent = Callable[[EngineEvent], None]
_NOT_SAVED = re.compile(
    r"no space left on device|disk quota exceeded|read-only file system|input/output error|stale NFS file handle", re.I
)
"""What the system says where a disk does not take what is written: then the state may lack what was done."""


class StateNotSaved(SlipwayError):
    """The disk was full, or failed, while Pulumi worked: what really runs has to be read again."""


@dataclass(frozen=True)
class Outcome:
    """What an update or preview did: resources by operation (`same`, `create`, `replace`, …), and the outputs."""

    operations: Mapping[str, int]
    outputs: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        return any(count for operation, count in self.operations.items() if operation not in ("same", "read"))


@dataclass
class Door:
    """One stack, opened.

    `command` is the Pulumi CLI, `log` gets all that it prints, `environment` adds to its own; `policies` gives what a
    preview and an update obey.
    """

    workspace: Workspace
    stack: Stack
    program: Callable[[], None]
    command: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    policies: Callable[[], Sequence[Policy]] = tuple
    _failure: SlipwayError | None = None

    def up(self, on_event: OnEvent) -> Outcome:
        """Make the stack what the program says.

        Raises:
            Busy: someone else is updating the stack.
            GateRefused: a policy refuses a resource; nothing is made of it.
            SlipwayError: the update failed; its detail has Pulumi's own words.
        """
        tally = Tally(on_event)
        self._begin_change()
        with self._explained(tally.violations), served(self.policies(), self.environment) as policy:
            self._opened(policy.environment).up(
                on_event=tally,
                on_output=self._note,
                on_error=self._note,
                color="never",
                policy_packs=policy.packs,
            )
        return tally.outcome()

    def preview(self, on_event: OnEvent, *, on_output: Callable[[str], None] | None = None) -> Outcome:
        """Say what `up` would do; nothing is built and nothing changes.

        Raises:
            GateRefused: a policy would refuse a resource.
            SlipwayError: Pulumi could not say it.
        """

        def note(line: str) -> None:
            self._note(line)
            if on_output:
                on_output(line)

        tally = Tally(on_event)
        with self._explained(tally.violations), served(self.policies(), self.environment) as policy:
            self._opened(policy.environment).preview(
                on_event=tally,
                on_output=note,
                on_error=self._note,
                color="never",
                diff=True,
                policy_packs=policy.packs,
            )
        return tally.outcome()

    def destroy(self, on_event: OnEvent) -> Outcome:
        """Remove everything that the stack holds."""
        tally = Tally(on_event)
        self._begin_change()
        with self._explained():
            self._opened().destroy(on_event=tally, on_output=self._note, on_error=self._note, color="never")
        return tally.outcome()

    def mend(self) -> str:
        """Put back a state that a full disk has damaged; return what was done in words, or nothing.

        Raises:
            EvidenceError: it is damaged, and there is no backup.
        """
        return statefile.mend(self.workspace.root, self.workspace.name, self.stack.name)

    def _file(self) -> Path | None:
        """Return the file that holds the stack's state; None where the backend is no folder."""
        folder = local_state(self.workspace.root)
        return state_file(folder, self.workspace.name, self.stack.name) if folder else None

    def _begin_change(self) -> None:
        """Look for room, and keep the state as it is, before it is changed."""
        if file := self._file():
            statefile.sweep(file)
            statefile.require_room(file)
            statefile.keep(file)

    def recover(self) -> None:
        """After an interrupted update: forget creations that never ended, and read what really exists."""
        self._begin_change()
        with self._explained():
            self._opened().refresh(clear_pending_creates=True, on_output=self._note, on_error=self._note, color="never")

    def state(self) -> list[dict[str, Any]]:
        """Return the stack's resources as the backend holds them (secrets encrypted); none when it is new."""
        if self.exists():
            with self._explained():
                found = (self._opened().export_stack().deployment or {}).get("resources") or []
                return [each for each in found if isinstance(each, dict)]
        return []

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs; none when it was never deployed."""
        for resource in self.state():
            if resource.get("type") == "pulumi:pulumi:Stack":
                return dict(resource.get("outputs") or {})
        return {}

    def exists(self) -> bool:
        """Whether the backend knows the stack. A file backend is asked without starting Pulumi."""
        folder = local_state(self.workspace.root)
        if folder:
            return is_there(state_file(folder, self.workspace.name, self.stack.name))
        return self.stack.name in self.known()

    def known(self) -> list[str]:
        """Return the names of all stacks of this workspace that the backend has, also of those without a file here."""
        folder = local_state(self.workspace.root)
        if folder:
            return stacks_in(state_file(folder, self.workspace.name, "x").parent)
        with self._explained():
            return sorted(each.name for each in self._local_workspace(make=False).list_stacks())

    def stale_locks(self) -> list[StaleLock]:
        """Return the stack's locks in a file backend; other backends keep their own order."""
        folder = local_state(self.workspace.root)
        return locks(folder, self.workspace.name, self.stack.name) if folder else []

    def _local_workspace(
        self, environment: Mapping[str, str] | None = None, *, make: bool = True
    ) -> automation.LocalWorkspace:
        own = environment_of(self.workspace.root, self.stack.name, make=make)
        return automation.LocalWorkspace(
            work_dir=str(self.workspace.root / "infra"),
            program=self._program,
            env_vars={**own, **self.environment, **(environment or {})},
            pulumi_command=Command(self.command),
        )

    def _opened(self, environment: Mapping[str, str] | None = None) -> automation.Stack:
        if said := self.mend():
            unwritten.append(said)
        exists = self.exists()
        if exists and keeps_passphrase_elsewhere(self.workspace.root):
            raise passphrase.missing(self.workspace.root, f"the state and the secrets of `{self.stack.name}`")
        local = self._local_workspace(environment)
        if exists:
            return _QuickStack(self.stack.name, local)
        return automation.Stack.create_or_select(self.stack.name, local)

    def _program(self) -> None:
        try:
            self.program()
        except SlipwayError as error:
            self._failure = error
            raise

    def _note(self, line: str) -> None:
        with open_private(self.log) as file:
            file.write(f"{mask(line)}\n")

    def _wrong_passphrase(self) -> ConfigError:
        root = self.workspace.root
        named = next((name for name in PASSPHRASE if name in os.environ), "")
        own = passphrase.file_of(root)
        taken = f" {named} is set; unset it, and {own} is taken." if named and own.is_file() else ""
        error = passphrase.missing(root, f"the secrets of `{self.stack.name}` ({self.stack.file}, or its state)")
        error.what = f"{named or own} holds another passphrase than the one that the secrets of `{self.stack.name}` in "
        error.what += f"{self.stack.file} or in its state are encrypted with"
        error.remedy, error.log = f"{error.remedy}{taken}", self.log
        return error

    @contextmanager
    def _explained(self, violations: Violations | None = None) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # The API warns of every event that names no resource; what they say is in the log as well.
                warnings.filterwarnings("ignore", message="Failed to parse engine event")
                with passphrase.salt_kept_out(self.stack.file):
                    yield
        except automation.ConcurrentUpdateError as error:
            raise Busy(
                f"someone else is deploying `{self.stack.name}` at this moment",
                remedy="Wait for it to end and try again; `invoke doctor` shows who holds the lock.",
                detail=diagnosis(str(error)),
            ) from error
        except automation.CommandError as error:
            if self._failure:
                raise self._failure from error
            if refusal := violations and violations.refusal():
                raise refusal from error
            if not_saved := _NOT_SAVED.search(str(error)):
                raise self._state_not_saved(not_saved[0], str(error)) from error
            if "incorrect passphrase" in str(error):
                raise self._wrong_passphrase() from error
            raise SlipwayError(
                f"Pulumi could not do it for `{self.stack.name}`",
                remedy="Mend what the lines above say and run it again: what is in place already stays.",
                detail=diagnosis(str(error)),
                log=self.log,
            ) from error

    def _state_not_saved(self, why: str, told: str) -> StateNotSaved:
        folder = local_state(self.workspace.root)
        free = free_bytes(folder) if folder else None
        room = f" ({megabytes(free)} are free in {folder})" if free is not None else ""
        return StateNotSaved(
            f"a disk would not take what was written while `{self.stack.name}` was deployed: {why}{room}",
            remedy="Make room (`invoke prune` removes images that nothing needs any more) and run it again with --yes: "
            "it reads what really runs, and goes on from there.",
            detail=diagnosis(told),
            log=self.log,
        )


class Tally:
    """Passes engine events on, and counts what they say was done.

    That an image's resource is forgotten, whose image stays, is nothing that was done.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._operations: dict[str, int] = {}
        self._forgotten = 0
        self._outputs: dict[str, Any] = {}
        self.violations = Violations()

    def __call__(self, event: EngineEvent) -> None:
        if event.policy_event:
            self.violations.take(event.policy_event)
        if event.summary_event:
            self._operations = {operation_of(op): count for op, count in event.summary_event.resource_changes.items()}
        begun = event.resource_pre_event
        if begun and begun.metadata.type in BUILDS and operation_of(begun.metadata.op) == "delete":
            self._forgotten += 1
        done = event.res_outputs_event
        if done and done.metadata.type == "pulumi:pulumi:Stack" and done.metadata.new:
            self._outputs = dict(done.metadata.new.outputs or {})
        self._on_event(event)

    def outcome(self) -> Outcome:
        counted = {**self._operations, "delete": self._operations.get("delete", 0) - self._forgotten}
        return Outcome({operation: count for operation, count in counted.items() if count > 0}, self._outputs)


def operation_of(op: object) -> str:
    """Return what the engine does to a resource as a word, whether the API has a name for it or not."""
    return str(getattr(op, "value", op))


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
