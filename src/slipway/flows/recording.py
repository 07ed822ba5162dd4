"""Keeps the record of a run: its phases, and what was done for each service, when, and how it ended.

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

from slipway.model import record as records
from slipway.model.errors import SlipwayError
from slipway.model.files import note_unwritten
from slipway.model.masking import mask
from slipway.model.record import Ended, Kind, Phase, Record, State, Step
from slipway.run import process

if TYPE_CHECKING:  # a command that finds nothing to do imports no more than it needs
    from slipway.commands.progress import Event
    from slipway.flows.report import Report
    from slipway.flows.standing import Ground
    from slipway.model.stack import Stack
    from slipway.model.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")
NAME_LIMIT = 240
"""Letters of an instruction that are kept."""
NO_STEPS = ("building", "testing", "passed", "pushed")
"""How states of a service begin that are no steps: BuildKit's own say more, or it waits for the other services."""
STATES: tuple[State, ...] = ("cached", "done", "stopped", "failed")
"""What counts of a step that was told twice: the latter."""
Key = tuple[str, str, Kind]
"""What is under way: service, name, kind."""


class Recorder:
    """Collects what happens in one run. `worked` says whether anything did: else no record is left."""

    def __init__(self, what: str, began: float | None = None) -> None:
        self.what = what
        self.began = time.time() if began is None else began
        self.worked = False
        self.stack: Stack | None = None
        self._lock = threading.Lock()
        self._phases: list[Phase] = []
        self._phase: tuple[str, float] | None = None
        self._steps: dict[str, list[Step]] = {}
        self._open: dict[Key, float] = {}
        self._images: dict[str, str] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Name the part that the command is in for the time of a `with`; a part of a part is not told apart."""
        with self._lock:
            outermost = self._phase is None
        if outermost:
            self.enter(name)
        try:
            yield
        finally:
            if outermost:
                self.enter("")

    def enter(self, name: str) -> None:
        """From now on the command is in another part, or in none."""
        now = self._now()
        with self._lock:
            if self._phase:
                self._phases.append(Phase(self._phase[0], self._phase[1], now))
            self._phase = (name, now) if name else None

    def began_step(self, service: str, name: str, kind: Kind) -> None:
        """Something begins for a service."""
        self.worked = True
        with self._lock:
            self._open.setdefault((service, _named(name), kind), self._now())

    def ended_step(self, service: str, name: str, kind: Kind, state: State = "done") -> None:
        """What began has ended; what never began is passed over."""
        key: Key = (service, _named(name), kind)
        with self._lock:
            begin = self._open.pop(key, None)
            if begin is not None:
                self._add(key, begin, self._now(), state)

    def ended_build(self, service: str, state: State = "done") -> None:
        """A service's build has ended. What is still open is over, too: of its steps, the end was not told.

        The docker-build provider loses lines now and then. Such a step is taken to have ended when the next one began;
        the last one ended as the build did.
        """
        with self._lock:
            begins = sorted(step.begin for step in self._steps.get(service, []) if step.kind == "step")
            left = sorted((begin, key) for key, begin in self._open.items() if key[0] == service and key[2] == "step")
            begins += [begin for begin, _ in left]
            for begin, key in left:
                after = [each for each in begins if each > begin]
                end = min(after, default=self._now())
                self._add(key, begin, end, "done" if after else state)
                del self._open[key]

    def divide(self, service: str, name: str, parts: Sequence[str], moments: Sequence[float]) -> None:
        """Tell a step that has ended in parts, one more than the moments (seconds since 1970) that lie between them.

        Moments that are not in it are another clock's: then it stays whole.
        """
        with self._lock:
            steps = self._steps.get(service, [])
            for number, step in enumerate(steps):
                cuts = [step.begin, *(round(moment - self.began, 3) for moment in moments), step.end]
                if step.name == name and step.state == "done" and cuts == sorted(cuts):
                    spans = zip(parts, cuts[:-1], cuts[1:], strict=True)
                    steps[number : number + 1] = [Step(part, step.kind, begin, end) for part, begin, end in spans]
                    return

    def ended(self, name: str) -> list[str]:
        """Return the services for which something of this name was done."""
        return [service for service, steps in self._steps.items() if any(step.name == name for step in steps)]

    def failed(self, service: str) -> None:
        """Everything that is under way for a service has failed."""
        with self._lock:
            told = any(step.state == "failed" for step in self._steps.get(service, []))
            left = [(name, kind) for whose, name, kind in self._open if whose == service and kind != "step"]
        self.ended_build(service, "done" if told else "failed")
        for name, kind in left:
            self.ended_step(service, name, kind, "failed")

    def take(self, service: str, event: Event) -> None:
        """A step of BuildKit's began or ended for a service."""
        name = _named(str(event.step))
        if event.kind == "started":
            self.began_step(service, name, "step")
        elif event.kind in ("done", "cached", "failed"):
            self.worked = True
            with self._lock:
                opened = self._open.pop((service, name, "step"), None)
                end = self._now()
                begin = max(0.0, end - event.seconds) if event.seconds or opened is None else opened
                self._add((service, name, "step"), round(begin, 3), end, _state(event))

    def holds(self, images: Mapping[str, object]) -> None:
        """What each service's image is, by digest."""
        self._images.update({name: str(ref) for name, ref in images.items() if "sha256:" in str(ref)})

    def built(self) -> list[str]:
        """Return the services and bases of which something was built."""
        return [name for name, steps in self._steps.items() if any(step.kind == "step" for step in steps)]

    def images(self) -> dict[str, str]:
        return dict(self._images)

    def record(self, result: Ended, problem: str, known: int) -> Record:
        """Return the whole record; what is still under way was stopped."""
        self.enter("")
        now = self._now()
        with self._lock:
            for key, begin in self._open.items():
                self._add(key, begin, now, "stopped")
            self._open.clear()
            return Record(
                what=self.what,
                began=round(self.began, 3),
                seconds=now,
                result=result,
                stack=self.stack.name if self.stack else "",
                mode=self.stack.images if self.stack else "",
                problem=problem,
                phases=tuple(self._phases),
                services={
                    name: tuple(sorted(_merged(steps), key=_begin)) for name, steps in sorted(self._steps.items())
                },
                images=dict(sorted(self._images.items())),
                known=known,
            )

    def _add(self, key: Key, begin: float, end: float, state: State) -> None:
        service, name, kind = key
        self._steps.setdefault(service, []).append(Step(name, kind, begin, end, state))

    def _now(self) -> float:
        return round(max(0.0, time.time() - self.began), 3)


class Heard:
    """A report that passes on what it is told, and records the states that services went through."""

    def __init__(self, report: Report, recorder: Recorder) -> None:
        self._report = report
        self._recorder = recorder
        self._states: dict[str, str] = {}

    def say(self, text: str) -> None:
        self._report.say(text)

    def step(self, service: str, state: str, detail: str = "") -> None:
        if self._states.get(service) != state:
            self._end(service, "done")
            self._states[service] = state
            if not state.startswith(NO_STEPS):
                self._recorder.began_step(service, state, "gate")
        self._report.step(service, state, detail)

    def done(self, service: str, state: str) -> None:
        self._end(service, "done")
        self._report.done(service, state)

    def failed(self, service: str, state: str) -> None:
        self._end(service, "failed")
        self._report.failed(service, state)

    def _end(self, service: str, state: State) -> None:
        before = self._states.pop(service, None)
        if before:
            self._recorder.ended_step(service, before, "gate", state)


_open: list[Recorder] = []


def current() -> Recorder:
    """Return the recorder of the run that is under way; where nothing is recorded, one that nobody reads."""
    return _open[-1] if _open else Recorder("nothing")


@contextmanager
def recorded(workspace: Workspace, what: str, stack: Stack | None = None, *, whole: bool = False) -> Iterator[Recorder]:
    """Record the run for the time of a `with`, or join the record that is open; it is written however the run ends.

    Args:
        workspace: gets the record, when anything was done.
        what: `build`, `ship`, `push`, `deploy` or `rollback`.
        stack: where to, if anywhere.
        whole: count from the start of this process, so that the start of Python is seen too.
    """
    if _open:
        _open[-1].stack = stack or _open[-1].stack
        yield _open[-1]
        return
    recorder = Recorder(what, process.began() if whole else None)
    recorder.stack = stack
    if whole:
        recorder._phases.append(Phase("Python starts", 0.0, recorder._now()))
    _open.append(recorder)
    result: Ended = "done"
    problem = ""
    try:
        yield recorder
    except KeyboardInterrupt:
        result, problem = "interrupted", "stopped by Ctrl-C"
        raise
    except SlipwayError as error:
        result, problem = "failed", error.what
        raise
    except BaseException as error:
        result, problem = "failed", type(error).__name__
        raise
    finally:
        _open.remove(recorder)
        if recorder.worked:
            try:
                recorder.holds(_layouts(workspace, recorder))
                records.save(workspace.root, recorder.record(result, problem, len(workspace.services)))
            except OSError as error:  # a full disk must not make a good run a bad one
                note_unwritten(error)


def phase(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a phase of the run that calls it."""

    def made(work: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(work)
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            with current().phase(name):
                return work(*args, **kwargs)

        return timed

    return made


def recorded_as(
    what: str,
) -> Callable[[Callable[Concatenate[Ground, P], R]], Callable[Concatenate[Ground, P], R]]:
    """Make a function a recorded run, or a part of the one that calls it, and a phase of that."""

    def made(work: Callable[Concatenate[Ground, P], R]) -> Callable[Concatenate[Ground, P], R]:
        @functools.wraps(work)
        def timed(ground: Ground, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with recorded(ground.workspace, what) as recorder, recorder.phase(what):
                return work(ground, *args, **kwargs)

        return timed

    return made


def _layouts(workspace: Workspace, recorder: Recorder) -> dict[str, str]:
    """Return the digest of what was built into an OCI layout, for services whose image nobody told."""
    found = {}
    for service in recorder.built():
        folders = (workspace.scratch / "oci" / service).glob("*/index.json")
        newest = max(folders, key=lambda path: path.stat().st_mtime, default=None)
        if newest and newest.stat().st_mtime >= recorder.began and service not in recorder.images():
            with suppress(LookupError, ValueError, TypeError):
                found[service] = str(json.loads(newest.read_bytes())["manifests"][0]["digest"])
    return found


def _state(event: Event) -> State:
    return "cached" if event.kind == "cached" else "failed" if event.kind == "failed" else "done"


def _merged(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield steps by their begin; one that BuildKit told twice, such as a base that is fetched only when used, once."""
    found: dict[tuple[str, Kind], Step] = {}
    for step in sorted(steps, key=lambda each: (each.begin, each.end)):
        key = (step.name, step.kind)
        before = found.get(key)
        if before and (step.state == before.state == "cached" or step.begin <= before.end):
            state: State = max((before.state, step.state), key=STATES.index)
            found[key] = replace(
                before, end=max(before.end, step.end if state != "cached" else before.end), state=state
            )
        else:
            if before:
                yield before
            found[key] = step
    yield from found.values()


def _begin(step: Step) -> float:
    return step.begin


def _named(name: str) -> str:
    """Return a step's name on one line and not too long."""
    return " ".join(mask(name).split())[:NAME_LIMIT]
