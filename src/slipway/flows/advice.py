"""Says which mode suits each stack, and why, by what is on record: `invoke mode --advise`.

Building inside Pulumi suits few services, short builds and a small team, where the answer should come at once. Long
builds, many services, several stacks that build the same, and whatever has to be proven before it runs want images
built outside. Between them, where only a few of many services change, those few are built and the rest is locked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from slipway.flows.facts import build_seconds
from slipway.model import lock
from slipway.model import record as records
from slipway.model import stack as stacks
from slipway.model.errors import SlipwayError
from slipway.model.record import Record
from slipway.model.stack import Mode, Stack
from slipway.model.workspace import Workspace
from slipway.run import git

FEW_RUNS = 3
"""With fewer runs that built something, times are no reason to switch."""
MANY_SERVICES = 10
LONG_SECONDS = 60.0
"""A build that takes longer than this is one that people wait for."""
MOST = 0.5
"""The share of a deploy from which building is most of it."""
FEW_CHANGED = 0.25
"""The share of the services up to which those that change are a few of many."""
LARGE_TEAM = 5
DAYS = 90


@dataclass(frozen=True)
class Known:
    """What is known of a stack, by its records and files.

    Attributes:
        stack: its name; `mode` is where its images come from now.
        protected: whether it takes only what is proven; `gated` whether its lock holds evidence of the gate.
        services: how many the workspace has.
        team: how many people have committed in the last 90 days; 0 where git does not say.
        deploys: how many are on record, in so many `days`.
        builds: how many runs built something: deploys of a stack that builds inside Pulumi, else builds outside.
        build_seconds: how long building took in those, by the median; `deploy_seconds` how long all the rest of a
        deploy takes.
        changed: how many services a run built, by the median.
        others: unprotected stacks that build the same images inside Pulumi and are deployed more often, or as often.
    """

    stack: str
    mode: Mode
    protected: bool
    services: int
    gated: bool = False
    team: int = 0
    deploys: int = 0
    days: float = 0.0
    builds: int = 0
    build_seconds: float = 0.0
    deploy_seconds: float = 0.0
    changed: float = 0.0
    others: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of building in a deploy that builds: 0 to 1."""
        whole = self.build_seconds + self.deploy_seconds
        return self.build_seconds / whole if whole else 0.0


@dataclass(frozen=True)
class Advice:
    """One stack's line: the mode that suits it, why, and the command that switches."""

    known: Known
    advised: Mode
    why: str

    @property
    def command(self) -> str:
        return "" if self.advised == self.known.mode else f"invoke mode {self.advised} --stack {self.known.stack}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "stack": self.known.stack,
            "current": self.known.mode,
            "advised": self.advised,
            "why": self.why,
            "command": self.command,
            "known": {**asdict(self.known), "share": round(self.known.share, 3)},
        }


def advise(workspace: Workspace) -> list[Advice]:
    """Return a line for each stack.

    Raises:
        ConfigError: a stack's file is wrong.
    """
    found = [stacks.load(workspace.root, name, {}) for name in stacks.names(workspace.root)]
    kept = records.load_all(workspace.root)
    team = git.authors(workspace.root, DAYS)
    return [decide(known_of(workspace, stack, found, kept, team)) for stack in found]


def decide(known: Known) -> Advice:
    """Return the mode that suits a stack: the first reason that holds."""
    mode, why = next(_reasons(known))
    return Advice(known, mode, why)


def _reasons(known: Known) -> Iterator[tuple[Mode, str]]:
    """Yield the reasons that hold, the strongest first; the last one always does."""
    few = known.services >= MANY_SERVICES and 0 < known.changed <= known.services * FEW_CHANGED
    change = f"{known.changed:.0f} of {known.services} services change at a time"
    if known.protected:
        yield "external", "it is protected: only what the gate has proven may run there"
    if known.gated:
        yield "external", "what it runs has passed the gate, which building inside Pulumi would skip"
    if known.others and known.mode != "external":
        yield "external", f"{_again(known)}; lock for it what was built once"
    if known.builds < FEW_RUNS:
        yield _by_count(known)
    if known.share >= MOST and known.build_seconds >= LONG_SECONDS:
        if few:
            yield "hybrid", f"{_times(known)}, and {change}: lock the others"
        yield "external", f"{_times(known)}: with images built outside, a deploy takes {known.deploy_seconds:.1f} s"
    if few:
        yield "hybrid", f"{change}: lock the others"
    if known.services >= MANY_SERVICES:
        yield "external", f"{change}: that is much to build in a deploy"
    if known.team > LARGE_TEAM and known.share >= MOST:
        yield "external", f"{known.team} people work here and {_times(known)}: built once outside, nobody waits again"
    yield "inline", f"{_times(known)}: short enough for one command from a saved line to running"


def known_of(
    workspace: Workspace, stack: Stack, all_stacks: Sequence[Stack], kept: Sequence[Record], team: int
) -> Known:
    """Gather what is known of a stack. Runs that failed or were stopped tell nothing about times, and do not count."""
    good = [each for each in kept if each.result == "done"]
    deploys = [each for each in good if each.stack == stack.name and each.what in records.DEPLOYS]
    inside = stack.images != "external"
    runs = [each for each in (deploys if inside else _builds(good)) if built(workspace, each)]
    names = {service.name for service in workspace.services}
    spans = [build_seconds(each, names) for each in runs]
    rests = [each.seconds - build_seconds(each) for each in (runs if inside else deploys)]
    return Known(
        stack.name,
        stack.images,
        stack.protected,
        len(workspace.services),
        gated=_gated(workspace, stack),
        team=team,
        deploys=len(deploys),
        days=(deploys[-1].began - deploys[0].began) / 86400 if deploys else 0.0,
        builds=len(runs),
        build_seconds=round(median(spans), 1) if spans else 0.0,
        deploy_seconds=round(median(rests), 1) if rests else 0.0,
        changed=median(len(built(workspace, each)) for each in runs) if runs else 0.0,
        others=tuple(_others(stack, all_stacks, good)) if inside else (),
    )


def built(workspace: Workspace, record: Record) -> list[str]:
    """Return the workspace's services that a run built: at least one step was carried out and not cached."""
    names = {service.name for service in workspace.services}
    return [
        name
        for name, steps in record.services.items()
        if name in names and any(step.kind in ("step", "image") and step.state == "done" for step in steps)
    ]


def _builds(kept: Sequence[Record]) -> list[Record]:
    return [each for each in kept if each.what in ("build", "ship")]


def _others(stack: Stack, all_stacks: Sequence[Stack], kept: Sequence[Record]) -> list[str]:
    """Return the stacks that build the same inside Pulumi and keep doing so: those that are deployed more often.

    One of them all stays as it is, which is where people see their changes; of equals, the first by name.
    """

    def rank(name: str) -> tuple[int, str]:
        return -sum(each.stack == name for each in kept), name

    building = [each.name for each in all_stacks if each.images != "external" and not each.protected]
    return [name for name in sorted(building, key=rank) if rank(name) < rank(stack.name)]


def _gated(workspace: Workspace, stack: Stack) -> bool:
    try:
        return any(entry.evidence for entry in lock.load(workspace.root, stack.name).services.values())
    except SlipwayError:  # the deploy says what is wrong with a lock
        return False


def _by_count(known: Known) -> tuple[Mode, str]:
    """Advise where too few runs are on record: by the number of services, and else to leave it as it is."""
    runs = f"{known.builds} of the {FEW_RUNS} runs that built something, and that times are judged by, are on record"
    if known.mode == "inline" and known.services >= MANY_SERVICES:
        return "hybrid", f"{known.services} services are many to build in each deploy: lock those that rest ({runs})"
    return known.mode, f"no reason to switch yet: {runs}"


def _times(known: Known) -> str:
    where = f"in {known.builds} of {known.deploys} deploys" if known.mode != "external" else f"in {known.builds} builds"
    whole = known.build_seconds + known.deploy_seconds
    return f"building took {known.build_seconds:.1f} s of {whole:.1f} s ({100 * known.share:.0f} %) {where}"


def _again(known: Known) -> str:
    cost = f", {known.build_seconds:.1f} s each time," if known.builds else ""
    others = f"{', '.join(known.others)} {'builds' if len(known.others) == 1 else 'build'}"
    return f"{others} the same images: a change is built{cost} once more here"
