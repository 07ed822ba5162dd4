"""Records a run: its phases, and each service's steps with their times and results.

One run is recorded at a time in a process. What is called on the way joins the record that is open, from whatever
thread, so a flow that is called alone leaves a record and one that is part of another adds to that one's.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from msgspec.structs import replace

from slipway._internal.model import run_record as records
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import note_write_failure
from slipway._internal.model.masking import mask
from slipway._internal.model.run_record import Phase, RecordedStep, RunOutcome, RunRecord, StepState, StepType
from slipway._internal.run import process

if TYPE_CHECKING:  # a command that finds nothing to do imports no more than it needs
    from slipway._internal.commands.buildkit_progress import BuildEvent
    from slipway._internal.context.reporter import Reporter
    from slipway._internal.context.run_context import RunContext
    from slipway._internal.model.stack import Stack
    from slipway._internal.model.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")
NAME_LIMIT = 240
"""Letters of an instruction that are kept."""
UNRECORDED_STATES = ("building", "testing", "passed", "pushed")
"""How states of a service begin that are no steps: BuildKit's own say more, or it waits for the other services."""
STATE_PRECEDENCE: tuple[StepState, ...] = ("cached", "done", "stopped", "failed")
"""What counts of a step that was told twice: the latter."""
StepKey = tuple[str, str, StepType]
"""What is under way: service, name, kind."""


class Recorder:
    """Collects what happens in one run. `worked` says whether anything did: else no record is left."""

    def __init__(self, what: str, began: float | None = None) -> None:
        self.what = what
        self.began = time.time() if began is None else began
        self.has_work = False
        self.stack: Stack | None = None
        self._lock = threading.Lock()
        self._phases: list[Phase] = []
        self._phase: tuple[str, float] | None = None
        self._steps: dict[str, list[RecordedStep]] = {}
        self._open_steps: dict[StepKey, float] = {}
        self._images: dict[str, str] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Name the part that the command is in for the time of a `with`; a part of a part is not told apart."""
        with self._lock:
            outermost = self._phase is None
        if outermost:
            self.enter_phase(name)
        try:
            yield
        finally:
            if outermost:
                self.enter_phase("")

    def enter_phase(self, name: str) -> None:
        """From now on the command is in another part, or in none."""
        now = self._now()
        with self._lock:
            if self._phase:
                self._phases.append(Phase(self._phase[0], self._phase[1], now))
            self._phase = (name, now) if name else None

    def begin_step(self, service: str, name: str, kind: StepType) -> None:
        """Something begins for a service."""
        self.has_work = True
        with self._lock:
            self._open_steps.setdefault((service, _step_name(name), kind), self._now())

    def end_step(self, service: str, name: str, kind: StepType, state: StepState = "done") -> None:
        """What began has ended; what never began is passed over."""
        key: StepKey = (service, _step_name(name), kind)
        with self._lock:
            begin = self._open_steps.pop(key, None)
            if begin is not None:
                self._add_step(key, begin, self._now(), state)

    def end_build(self, service: str, state: StepState = "done") -> None:
        """A service's build has ended. What is still open is over, too: of its steps, the end was not told.

        The docker-build provider loses lines now and then. Such a step is taken to have ended when the next one began;
        the last one ended as the build did.
        """
        with self._lock:
            begins = sorted(step.begin for step in self._steps.get(service, []) if step.kind == "step")
            open_steps = sorted(
                (begin, key) for key, begin in self._open_steps.items() if key[0] == service and key[2] == "step"
            )
            begins += [begin for begin, _ in open_steps]
            for begin, key in open_steps:
                after = [later for later in begins if later > begin]
                end = min(after, default=self._now())
                self._add_step(key, begin, end, "done" if after else state)
                del self._open_steps[key]

    def split_step(self, service: str, name: str, parts: Sequence[str], moments: Sequence[float]) -> None:
        """Tell a step that has ended in parts, one more than the moments (seconds since 1970) that lie between them.

        Moments that are not in it are another clock's: then it stays whole.
        """
        with self._lock:
            steps = self._steps.get(service, [])
            for number, step in enumerate(steps):
                boundaries = [step.begin, *(round(moment - self.began, 3) for moment in moments), step.end]
                if step.name == name and step.state == "done" and boundaries == sorted(boundaries):
                    spans = zip(parts, boundaries[:-1], boundaries[1:], strict=True)
                    steps[number : number + 1] = [
                        RecordedStep(part, step.kind, begin, end) for part, begin, end in spans
                    ]
                    return

    def services_with_step(self, name: str) -> list[str]:
        """Return the services for which something of this name was done."""
        return [service for service, steps in self._steps.items() if any(step.name == name for step in steps)]

    def fail_service(self, service: str) -> None:
        """Everything that is under way for a service has failed."""
        with self._lock:
            has_failed_step = any(step.state == "failed" for step in self._steps.get(service, []))
            open_steps = [(name, kind) for owner, name, kind in self._open_steps if owner == service and kind != "step"]
        self.end_build(service, "done" if has_failed_step else "failed")
        for name, kind in open_steps:
            self.end_step(service, name, kind, "failed")

    def record_build_event(self, service: str, event: BuildEvent) -> None:
        """A step of BuildKit's began or ended for a service."""
        name = _step_name(str(event.step))
        if event.kind == "started":
            self.begin_step(service, name, "step")
        elif event.kind in ("done", "cached", "failed"):
            self.has_work = True
            with self._lock:
                open_since = self._open_steps.pop((service, name, "step"), None)
                end = self._now()
                begin = max(0.0, end - event.seconds) if event.seconds or open_since is None else open_since
                self._add_step((service, name, "step"), round(begin, 3), end, _step_state(event))

    def add_images(self, images: Mapping[str, object]) -> None:
        """What each service's image is, by digest."""
        self._images.update({name: str(ref) for name, ref in images.items() if "sha256:" in str(ref)})

    def built_services(self) -> list[str]:
        """Return the services and bases of which something was built."""
        return [name for name, steps in self._steps.items() if any(step.kind == "step" for step in steps)]

    def images(self) -> dict[str, str]:
        return dict(self._images)

    def to_record(self, result: RunOutcome, problem: str, service_count: int) -> RunRecord:
        """Return the whole record; what is still under way was stopped."""
        self.enter_phase("")
        now = self._now()
        with self._lock:
            for key, begin in self._open_steps.items():
                self._add_step(key, begin, now, "stopped")
            self._open_steps.clear()
            return RunRecord(
                what=self.what,
                began=round(self.began, 3),
                seconds=now,
                result=result,
                stack=self.stack.name if self.stack else "",
                mode=self.stack.mode if self.stack else "",
                problem=problem,
                phases=tuple(self._phases),
                services={
                    name: tuple(sorted(_merge_steps(steps), key=_begin_of))
                    for name, steps in sorted(self._steps.items())
                },
                images=dict(sorted(self._images.items())),
                known=service_count,
            )

    def _add_step(self, key: StepKey, begin: float, end: float, state: StepState) -> None:
        service, name, kind = key
        self._steps.setdefault(service, []).append(RecordedStep(name, kind, begin, end, state))

    def _now(self) -> float:
        return round(max(0.0, time.time() - self.began), 3)


class RecordingReporter:
    """A report that passes on what it is told, and records the states that services went through."""

    def __init__(self, reporter: Reporter, recorder: Recorder) -> None:
        self._reporter = reporter
        self._recorder = recorder
        self._states: dict[str, str] = {}

    def say(self, text: str) -> None:
        self._reporter.say(text)

    def step(self, service: str, state: str, detail: str = "") -> None:
        if self._states.get(service) != state:
            self._end_step(service, "done")
            self._states[service] = state
            if not state.startswith(UNRECORDED_STATES):
                self._recorder.begin_step(service, state, "gate")
        self._reporter.step(service, state, detail)

    def done(self, service: str, state: str) -> None:
        self._end_step(service, "done")
        self._reporter.done(service, state)

    def failed(self, service: str, state: str) -> None:
        self._end_step(service, "failed")
        self._reporter.failed(service, state)

    def _end_step(self, service: str, state: StepState) -> None:
        before = self._states.pop(service, None)
        if before:
            self._recorder.end_step(service, before, "gate", state)


_recorders: list[Recorder] = []


def current_recorder() -> Recorder:
    """Return the recorder of the run that is under way; where nothing is recorded, one that nobody reads."""
    return _recorders[-1] if _recorders else Recorder("nothing")


@contextmanager
def record_run(
    workspace: Workspace, what: str, stack: Stack | None = None, *, from_process_start: bool = False
) -> Iterator[Recorder]:
    """Record the run for the time of a `with`, or join the record that is open; it is written however the run ends.

    Args:
        workspace: gets the record, when anything was done.
        what: `build`, `ship`, `push`, `deploy` or `rollback`.
        stack: where to, if anywhere.
        from_process_start: count from the start of this process, so that the start of Python is seen too.
    """
    if _recorders:
        _recorders[-1].stack = stack or _recorders[-1].stack
        yield _recorders[-1]
        return
    recorder = Recorder(what, process.read_own_start_time() if from_process_start else None)
    recorder.stack = stack
    if from_process_start:
        recorder._phases.append(Phase("Python starts", 0.0, recorder._now()))
    _recorders.append(recorder)
    result: RunOutcome = "done"
    problem = ""
    try:
        yield recorder
    except KeyboardInterrupt:
        result, problem = "interrupted", "stopped by Ctrl-C"
        raise
    except SlipwayError as error:
        result, problem = "failed", error.message
        raise
    except BaseException as error:
        result, problem = "failed", type(error).__name__
        raise
    finally:
        _recorders.remove(recorder)
        if recorder.has_work:
            try:
                recorder.add_images(_layout_digests(workspace, recorder))
                records.save(workspace.root, recorder.to_record(result, problem, len(workspace.services)))
            except OSError as error:  # a full disk must not make a good run a bad one
                note_write_failure(error)


def phase(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a phase of the run that calls it."""

    def decorate(work: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(work)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with current_recorder().phase(name):
                return work(*args, **kwargs)

        return wrapper

    return decorate


def record_run_as(
    what: str,
) -> Callable[[Callable[Concatenate[RunContext, P], R]], Callable[Concatenate[RunContext, P], R]]:
    """Make a function a recorded run, or a part of the one that calls it, and a phase of that."""

    def decorate(work: Callable[Concatenate[RunContext, P], R]) -> Callable[Concatenate[RunContext, P], R]:
        @functools.wraps(work)
        def wrapper(context: RunContext, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with record_run(context.workspace, what) as recorder, recorder.phase(what):
                return work(context, *args, **kwargs)

        return wrapper

    return decorate


def _layout_digests(workspace: Workspace, recorder: Recorder) -> dict[str, str]:
    """Return the digest of what was built into an OCI layout, for services whose image nobody told."""
    digests = {}
    for service in recorder.built_services():
        folders = (workspace.scratch / "oci" / service).glob("*/index.json")
        newest = max(folders, key=lambda path: path.stat().st_mtime, default=None)
        if newest and newest.stat().st_mtime >= recorder.began and service not in recorder.images():
            with suppress(LookupError, ValueError, TypeError):
                digests[service] = str(json.loads(newest.read_bytes())["manifests"][0]["digest"])
    return digests


def _step_state(event: BuildEvent) -> StepState:
    return "cached" if event.kind == "cached" else "failed" if event.kind == "failed" else "done"


def _merge_steps(steps: Iterable[RecordedStep]) -> Iterator[RecordedStep]:
    """Yield steps by their begin; one that BuildKit told twice, such as a base that is fetched only when used, once."""
    merged: dict[tuple[str, StepType], RecordedStep] = {}
    for step in sorted(steps, key=lambda candidate: (candidate.begin, candidate.end)):
        key = (step.name, step.kind)
        before = merged.get(key)
        if before and (step.state == before.state == "cached" or step.begin <= before.end):
            state: StepState = max((before.state, step.state), key=STATE_PRECEDENCE.index)
            merged[key] = replace(
                before, end=max(before.end, step.end if state != "cached" else before.end), state=state
            )
        else:
            if before:
                yield before
            merged[key] = step
    yield from merged.values()


def _begin_of(step: RecordedStep) -> float:
    return step.begin


def _step_name(name: str) -> str:
    """Return a step's name on one line and not too long."""
    return " ".join(mask(name).split())[:NAME_LIMIT]
