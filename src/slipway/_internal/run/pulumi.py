"""The client for Pulumi: the Automation API with an inline program, and the CLI's other commands."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi import automation
from pulumi.automation.events import EngineEvent

from slipway._internal.model.errors import ConfigError, SlipwayError, StackBusy
from slipway._internal.model.files import format_megabytes, free_bytes, open_private, write_failures
from slipway._internal.model.masking import mask
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import passphrase, statefile
from slipway._internal.run.policy import PolicyReports, PolicyServer, ViolationCollector, serve_policies
from slipway._internal.run.pulumi_command import PulumiCli, extract_diagnosis, without_service_logs
from slipway._internal.run.resource_tree import COMPONENT_TYPES
from slipway._internal.run.state import (
    PASSPHRASE_VARIABLES,
    StateLock,
    lacks_passphrase,
    list_locks,
    list_stacks,
    local_state_folder,
    pulumi_environment,
    state_exists,
    state_file,
)

if TYPE_CHECKING:
    from pulumi_policy import Policy

BUILD_TYPES = ("docker-build:index:Image", "pulumi:providers:docker-build")
"""What lives in the state only until the image is in the registry: see `BuiltImages`."""
OnEvent = Callable[[EngineEvent], None]
OnAdvice = Callable[[str], None]
"""Gets a line for what a policy only advises."""
_DISK_ERRORS = re.compile(
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
    def has_changes(self) -> bool:
        return any(count for operation, count in self.operations.items() if operation not in ("same", "read"))


@dataclass
class PulumiStack:
    """One stack, opened.

    `cli` is the Pulumi CLI, `log` gets all that it prints, `environment` adds to its own; `policies` gives what a
    preview and an update obey.
    """

    workspace: Workspace
    stack: Stack
    program: Callable[[], None]
    cli: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    policies: Callable[[], Sequence[Policy]] = tuple
    _failure: SlipwayError | None = None
    _reports: PolicyReports = field(default_factory=PolicyReports)

    @property
    def _folder(self) -> Path:
        """Where Pulumi runs."""
        return self.workspace.root / "infra"

    def _serve_policies(self) -> AbstractContextManager[PolicyServer]:
        return serve_policies(self.policies(), self.environment, self._folder, self._reports)

    def up(self, on_event: OnEvent, on_advice: OnAdvice | None = None, targets: Sequence[str] | None = None) -> Outcome:
        """Make the stack what the program says.

        Args:
            on_event: gets each of the engine's events.
            on_advice: gets what policies only advise.
            targets: the URNs of what alone is changed, `**` for any text; None: everything.

        Raises:
            StackBusy: someone else is updating the stack.
            GateRefused: a policy refuses a resource; nothing is made of it.
            SlipwayError: the update failed; its detail has Pulumi's own words.
        """
        counter = OperationCounter(on_event, self._reports, on_advice)
        self._prepare_change()
        with self._translated_errors(counter.violations), self._serve_policies() as policy:
            self._open_stack(policy.environment).up(
                on_event=counter,
                on_output=self._log_line,
                on_error=self._log_line,
                color="never",
                target=[*targets] if targets else None,
                policy_packs=policy.packs,
            )
        return counter.outcome()

    def preview(self, on_advice: OnAdvice | None = None, *, on_output: Callable[[str], None] | None = None) -> Outcome:
        """Say what `up` would do; nothing is built and nothing changes.

        Raises:
            GateRefused: a policy would refuse a resource.
            SlipwayError: Pulumi could not say it.
        """

        def note(line: str) -> None:
            self._log_line(line)
            if on_output:
                on_output(line)

        counter = OperationCounter(lambda _event: None, self._reports, on_advice)
        with self._translated_errors(counter.violations), self._serve_policies() as policy:
            self._open_stack(policy.environment).preview(
                on_event=counter,
                on_output=note,
                on_error=self._log_line,
                color="never",
                diff=True,
                policy_packs=policy.packs,
            )
        return counter.outcome()

    def destroy(self, on_event: OnEvent) -> Outcome:
        """Remove everything that the stack holds."""
        counter = OperationCounter(on_event)
        self._prepare_change()
        with self._translated_errors():
            self._open_stack().destroy(
                on_event=counter, on_output=self._log_line, on_error=self._log_line, color="never"
            )
        return counter.outcome()

    def repair_state(self) -> str:
        """Put back a state that a full disk has damaged; return what was done in words, or nothing.

        Raises:
            EvidenceError: it is damaged, and there is no backup.
        """
        return statefile.repair_state(self.workspace.project, self.stack.name)

    def _state_file(self) -> Path | None:
        """Return the file that holds the stack's state; None where the backend is not a folder."""
        folder = local_state_folder(self.workspace.project)
        return state_file(folder, self.workspace.name, self.stack.name) if folder else None

    def _prepare_change(self) -> None:
        """Look for room, and keep the state as it is, before it is changed."""
        if file := self._state_file():
            statefile.remove_temporary_files(file)
            statefile.require_space(file)
            statefile.back_up(file)

    def refresh(self) -> None:
        """After an interrupted update: forget creations that never ended, and read what really exists."""
        self._prepare_change()
        with self._translated_errors():
            self._open_stack().refresh(
                clear_pending_creates=True, on_output=self._log_line, on_error=self._log_line, color="never"
            )

    def list_resources(self) -> list[dict[str, Any]]:
        """Return the stack's resources as the backend holds them (secrets encrypted); none when it is new."""
        if self.exists():
            with self._translated_errors():
                resources = (self._open_stack().export_stack().deployment or {}).get("resources") or []
                return [resource for resource in resources if isinstance(resource, dict)]
        return []

    def read_outputs(self) -> dict[str, Any]:
        """Return the stack's outputs; none when it was never deployed."""
        for resource in self.list_resources():
            if resource.get("type") == "pulumi:pulumi:Stack":
                return dict(resource.get("outputs") or {})
        return {}

    def exists(self) -> bool:
        """Whether the backend knows the stack. A file backend is asked without starting Pulumi."""
        folder = local_state_folder(self.workspace.project)
        if folder:
            return state_exists(state_file(folder, self.workspace.name, self.stack.name))
        return self.stack.name in self.list_stacks()

    def list_stacks(self) -> list[str]:
        """Return the names of all stacks of this workspace that the backend has, also of those without a file here."""
        folder = local_state_folder(self.workspace.project)
        if folder:
            return list_stacks(state_file(folder, self.workspace.name, "x").parent)
        with self._translated_errors():
            return sorted(summary.name for summary in self._local_workspace(make=False).list_stacks())

    def list_locks(self) -> list[StateLock]:
        """Return the stack's locks in a file backend; other backends keep their own order."""
        folder = local_state_folder(self.workspace.project)
        return list_locks(folder, self.workspace.name, self.stack.name) if folder else []

    def _local_workspace(
        self, environment: Mapping[str, str] | None = None, *, make: bool = True
    ) -> automation.LocalWorkspace:
        own = pulumi_environment(self.workspace.project, self.stack.name, make=make)
        return automation.LocalWorkspace(
            work_dir=str(self._folder),
            program=self._run_program,
            env_vars={**own, **self.environment, **(environment or {})},
            pulumi_command=PulumiCli(self.cli, self.workspace.scratch),
        )

    def _open_stack(self, environment: Mapping[str, str] | None = None) -> automation.Stack:
        if repair := self.repair_state():
            write_failures.append(repair)
        exists = self.exists()
        if exists and lacks_passphrase(self.workspace.project):
            raise passphrase.missing_passphrase_error(
                self.workspace.root, f"the state and the secrets of `{self.stack.name}`"
            )
        local_workspace = self._local_workspace(environment)
        if exists:
            return ExistingStack(self.stack.name, local_workspace)
        return automation.Stack.create_or_select(self.stack.name, local_workspace)

    def _run_program(self) -> None:
        try:
            self.program()
        except SlipwayError as error:
            self._failure = error
            raise

    def _log_line(self, line: str) -> None:
        with open_private(self.log) as file:
            file.write(f"{mask(line)}\n")

    def _wrong_passphrase_error(self) -> ConfigError:
        root = self.workspace.root
        variable = next((name for name in PASSPHRASE_VARIABLES if name in os.environ), "")
        own_file = passphrase.passphrase_file(root)
        unset_hint = (
            f" {variable} is set; unset it, and {own_file} is taken." if variable and own_file.is_file() else ""
        )
        error = passphrase.missing_passphrase_error(
            root, f"the secrets of `{self.stack.name}` ({self.stack.file}, or its state)"
        )
        error.message = (
            f"{variable or own_file} holds another passphrase than the one that the secrets of `{self.stack.name}` in "
        )
        error.message += f"{self.stack.file} or in its state are encrypted with"
        error.remedy, error.log = f"{error.remedy}{unset_hint}", self.log
        return error

    @contextmanager
    def _translated_errors(self, violations: ViolationCollector | None = None) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # The API warns of every event that names no resource; what they say is in the log as well.
                warnings.filterwarnings("ignore", message="Failed to parse engine event")
                with passphrase.hide_salt(self.stack.file):
                    yield
        except automation.ConcurrentUpdateError as error:
            raise StackBusy(
                f"someone else is deploying `{self.stack.name}` at this moment",
                remedy="Wait for it to end and try again; `invoke doctor` shows who holds the lock.",
                detail=extract_diagnosis(str(error)),
            ) from error
        except automation.CommandError as error:
            if self._failure:
                raise self._failure from error
            if refusal := violations and violations.refusal():
                raise refusal from error
            if not_saved := _DISK_ERRORS.search(without_service_logs(str(error))):
                raise self._state_not_saved_error(not_saved[0], str(error)) from error
            if "incorrect passphrase" in str(error):
                raise self._wrong_passphrase_error() from error
            raise SlipwayError(
                f"Pulumi failed for `{self.stack.name}`",
                remedy="Fix what the lines above name and run it again: what is in place already stays.",
                detail=extract_diagnosis(str(error)),
                log=self.log,
            ) from error

    def _state_not_saved_error(self, reason: str, output: str) -> StateNotSaved:
        folder = local_state_folder(self.workspace.project)
        free = free_bytes(folder) if folder else None
        free_space = f" ({format_megabytes(free)} are free in {folder})" if free is not None else ""
        return StateNotSaved(
            f"a disk was full or failed while `{self.stack.name}` was deployed: {reason}{free_space}",
            remedy="Make room (`invoke prune` removes images that nothing needs any more) and run it again with --yes: "
            "it reads what really runs, and goes on from there.",
            detail=extract_diagnosis(output),
            log=self.log,
        )


class OperationCounter:
    """Passes engine events on, and counts what they say was done.

    Not counted: a component, which is nothing but its parts; and that an image's resource is forgotten, whose image
    stays.
    """

    def __init__(
        self, on_event: OnEvent, reports: PolicyReports | None = None, on_advice: OnAdvice | None = None
    ) -> None:
        self._on_event = on_event
        self._reports = reports or PolicyReports()
        self._on_advice = on_advice
        self._operations: dict[str, int] = {}
        self._uncounted: Counter[str] = Counter()
        self._outputs: dict[str, Any] = {}
        self.violations = ViolationCollector()

    def __call__(self, event: EngineEvent) -> None:
        if event.policy_event:
            violation = self._reports.violation(event.policy_event)
            self.violations.record(violation)
            if violation.advice and self._on_advice:
                self._on_advice(violation.advice)
        if event.summary_event:
            self._operations = {operation_of(op): count for op, count in event.summary_event.resource_changes.items()}
        started = event.resource_pre_event
        if started and _is_uncounted(started.metadata.type, operation_of(started.metadata.op)):
            self._uncounted[operation_of(started.metadata.op)] += 1
        finished = event.res_outputs_event
        if finished and finished.metadata.type == "pulumi:pulumi:Stack" and finished.metadata.new:
            self._outputs = dict(finished.metadata.new.outputs or {})
        self._on_event(event)

    def outcome(self) -> Outcome:
        operations = {name: count - self._uncounted[name] for name, count in self._operations.items()}
        return Outcome({name: count for name, count in operations.items() if count > 0}, self._outputs)


def _is_uncounted(resource_type: str, operation: str) -> bool:
    return resource_type in COMPONENT_TYPES or (resource_type in BUILD_TYPES and operation == "delete")


def operation_of(op: object) -> str:
    """Return what the engine does to a resource as a word, whether the API has a name for it or not."""
    return str(getattr(op, "value", op))


class ExistingStack(automation.Stack):
    """A stack that is known to exist, and whose outputs came with the events: three starts of the CLI fewer."""

    def __init__(self, name: str, workspace: automation.LocalWorkspace) -> None:
        self.name = name
        self.workspace = workspace

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> automation.UpdateSummary:  # noqa: ARG002 - the API's shape
        now = datetime.now(UTC)
        return automation.UpdateSummary("", now, "", {}, {}, "", end_time=now)
