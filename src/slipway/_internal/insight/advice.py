"""Advises which mode suits each stack, and why, from the records: `invoke mode --advise`.

Building inside Pulumi suits few services, short builds and a small team, where the answer should come at once. Long
builds, many services, several stacks that build the same, and whatever has to be proven before it runs want images
built outside. Between them, where only a few of many services change, those few are built and the rest is locked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from slipway._internal.insight.report_data import build_seconds
from slipway._internal.model import lock
from slipway._internal.model import run_record as records
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.run_record import RunRecord
from slipway._internal.model.stack import Mode, Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import git

FEW_RUNS = 3
"""With fewer runs that built something, times are no reason to switch."""
MANY_SERVICES = 10
LONG_SECONDS = 60.0
"""A build that takes longer than this is one that people wait for."""
MOST_SHARE = 0.5
"""The share of a deploy from which building is most of it."""
FEW_CHANGED_SHARE = 0.25
"""The share of the services up to which those that change are a few of many."""
LARGE_TEAM = 5
TEAM_DAYS = 90


@dataclass(frozen=True)
class StackProfile:
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

    profile: StackProfile
    advised: Mode
    why: str

    @property
    def command(self) -> str:
        return "" if self.advised == self.profile.mode else f"invoke mode {self.advised} --stack {self.profile.stack}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "stack": self.profile.stack,
            "current": self.profile.mode,
            "advised": self.advised,
            "why": self.why,
            "command": self.command,
            "known": {**asdict(self.profile), "share": round(self.profile.share, 3)},
        }


def advise_modes(workspace: Workspace, only: str | None = None) -> list[Advice]:
    """Return a line for each stack, or for one.

    Raises:
        ConfigError: a stack's file is wrong, or there is no such stack.
    """
    if only:
        stacks.load(workspace.root, only, {})
    all_stacks = [stacks.load(workspace.root, name, {}) for name in stacks.names(workspace.root)]
    all_records = records.load_all(workspace.root)
    team = git.count_authors(workspace.root, TEAM_DAYS)
    return [
        choose_mode(profile_stack(workspace, stack, all_stacks, all_records, team))
        for stack in all_stacks
        if only in (None, stack.name)
    ]


def choose_mode(profile: StackProfile) -> Advice:
    """Return the mode that suits a stack: the first reason that holds."""
    mode, why = next(_reasons(profile))
    return Advice(profile, mode, why)


def _reasons(profile: StackProfile) -> Iterator[tuple[Mode, str]]:
    """Yield the reasons that hold, the strongest first; the last one always does."""
    few_change = profile.services >= MANY_SERVICES and 0 < profile.changed <= profile.services * FEW_CHANGED_SHARE
    change = f"{profile.changed:.0f} of {profile.services} services change at a time"
    if profile.protected:
        yield "external", "it is protected: only what has passed the gate may run there"
    if profile.gated:
        yield "external", "what it runs has passed the gate, which building inside Pulumi would skip"
    if profile.others and profile.mode != "external":
        yield "external", f"{_describe_repeated_builds(profile)}; lock for it what was built once"
    if profile.builds < FEW_RUNS:
        yield _advise_by_service_count(profile)
    if profile.share >= MOST_SHARE and profile.build_seconds >= LONG_SECONDS:
        if few_change:
            yield "hybrid", f"{_describe_times(profile)}, and {change}: lock the others"
        yield (
            "external",
            f"{_describe_times(profile)}: with images built outside, a deploy takes {profile.deploy_seconds:.1f} s",
        )
    if few_change:
        yield "hybrid", f"{change}: lock the others"
    if profile.services >= MANY_SERVICES:
        yield "external", f"{change}: that is a lot to build in a deploy"
    if profile.team > LARGE_TEAM and profile.share >= MOST_SHARE:
        yield (
            "external",
            f"{profile.team} people work here and {_describe_times(profile)}: built once outside, nobody waits again",
        )
    yield "inline", f"{_describe_times(profile)}: short enough for one command from a saved line to running"


def profile_stack(
    workspace: Workspace, stack: Stack, all_stacks: Sequence[Stack], all_records: Sequence[RunRecord], team: int
) -> StackProfile:
    """Gather what is known of a stack. Runs that failed or were stopped tell nothing about times, and do not count."""
    good_runs = [record for record in all_records if record.result == "done"]
    deploys = [record for record in good_runs if record.stack == stack.name and record.what in records.DEPLOY_VERBS]
    builds_inside = stack.mode != "external"
    runs = [
        record for record in (deploys if builds_inside else _build_runs(good_runs)) if built_services(workspace, record)
    ]
    names = {service.name for service in workspace.services}
    build_times = [build_seconds(record, names) for record in runs]
    other_times = [record.seconds - build_seconds(record) for record in (runs if builds_inside else deploys)]
    return StackProfile(
        stack.name,
        stack.mode,
        stack.protected,
        len(workspace.services),
        gated=_has_gate_evidence(workspace, stack),
        team=team,
        deploys=len(deploys),
        days=(deploys[-1].began - deploys[0].began) / 86400 if deploys else 0.0,
        builds=len(runs),
        build_seconds=round(median(build_times), 1) if build_times else 0.0,
        deploy_seconds=round(median(other_times), 1) if other_times else 0.0,
        changed=median(len(built_services(workspace, record)) for record in runs) if runs else 0.0,
        others=tuple(_stacks_deployed_more_often(stack, all_stacks, good_runs)) if builds_inside else (),
    )


def built_services(workspace: Workspace, record: RunRecord) -> list[str]:
    """Return the workspace's services that a run built: at least one step was carried out and not cached."""
    names = {service.name for service in workspace.services}
    return [
        name
        for name, steps in record.services.items()
        if name in names and any(step.kind in ("step", "image") and step.state == "done" for step in steps)
    ]


def _build_runs(all_records: Sequence[RunRecord]) -> list[RunRecord]:
    return [record for record in all_records if record.what in ("build", "ship")]


def _stacks_deployed_more_often(
    stack: Stack, all_stacks: Sequence[Stack], all_records: Sequence[RunRecord]
) -> list[str]:
    """Return the stacks that build the same inside Pulumi and keep doing so: those that are deployed more often.

    One of them all stays as it is, which is where people see their changes; of equals, the first by name.
    """

    def rank(name: str) -> tuple[int, str]:
        return -sum(record.stack == name for record in all_records), name

    building = [candidate.name for candidate in all_stacks if candidate.mode != "external" and not candidate.protected]
    return [name for name in sorted(building, key=rank) if rank(name) < rank(stack.name)]


def _has_gate_evidence(workspace: Workspace, stack: Stack) -> bool:
    try:
        return any(entry.evidence for entry in lock.load(workspace.root, stack.name).services.values())
    except SlipwayError:  # the deploy says what is wrong with a lock
        return False


def _advise_by_service_count(profile: StackProfile) -> tuple[Mode, str]:
    """Advise where too few runs are on record: by the number of services, and else to leave it as it is."""
    runs = f"{profile.builds} of the {FEW_RUNS} runs that built something, and that times are judged by, are on record"
    if profile.mode == "inline" and profile.services >= MANY_SERVICES:
        return "hybrid", f"{profile.services} services are many to build in each deploy: lock those that rest ({runs})"
    return profile.mode, f"no reason to switch yet: {runs}"


def _describe_times(profile: StackProfile) -> str:
    where = (
        f"in {profile.builds} of {profile.deploys} deploys"
        if profile.mode != "external"
        else f"in {profile.builds} builds"
    )
    whole = profile.build_seconds + profile.deploy_seconds
    return f"building took {profile.build_seconds:.1f} s of {whole:.1f} s ({100 * profile.share:.0f} %) {where}"


def _describe_repeated_builds(profile: StackProfile) -> str:
    cost = f", {profile.build_seconds:.1f} s each time," if profile.builds else ""
    others = f"{', '.join(profile.others)} {'builds' if len(profile.others) == 1 else 'build'}"
    return f"{others} the same images: a change is built{cost} once more here"
