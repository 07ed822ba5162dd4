"""Deploys a stack: prove the ground, clear what an interrupted run left, let Pulumi work, ask every URL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway.flows.commits import warn_of_unknown_commit
from slipway.flows.events import Narrator
from slipway.flows.failures import whole_log_of
from slipway.flows.inputs import read_inputs
from slipway.flows.locks import clear_stale_lock
from slipway.flows.logs import logs_of
from slipway.flows.places import Place, place_of
from slipway.flows.protection import refuse_lost_protection
from slipway.flows.recording import current, recorded
from slipway.flows.report import Report, Silence
from slipway.flows.session import refuse_beside_session
from slipway.flows.standing import Ground
from slipway.flows.stuck import StuckPlugin
from slipway.model import stack as stacks
from slipway.model.errors import Busy, ConfigError, EvidenceError, SlipwayError
from slipway.model.files import write_atomically
from slipway.model.gateway import USUAL, limits_of
from slipway.model.inputs import DeployInputs
from slipway.model.stack import Stack
from slipway.model.workspace import Workspace
from slipway.run import ports
from slipway.run.owner import state_ids
from slipway.run.policy import advised
from slipway.run.pulumi import BUILDS, Door, Outcome, StateNotSaved
from slipway.run.state import local_state, mark_of

if TYPE_CHECKING:
    from pulumi.automation.events import EngineEvent
    from pulumi_policy import Policy

Consent = Callable[[str], bool]
HEALTHY = ("healthy", "running", "scheduled", "not run here")
"""What is said of a service without a URL that is as it should be."""


@dataclass(frozen=True)
class Row:
    """One service as it runs: image digest, URL (where it has a route) and health."""

    service: str
    digest: str
    url: str
    health: str


@dataclass(frozen=True)
class Deployed:
    """What a deploy left in place, and whether it changed anything."""

    stack: str
    mode: str
    rows: tuple[Row, ...]
    operations: Mapping[str, int]
    changed: bool
    seconds: float

    @property
    def healthy(self) -> bool:
        """Whether every service is healthy or answers its URL; what a service says below 500 is its own affair."""
        return all(row.health in HEALTHY or "200" <= row.health[:3] < "500" for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


def deploy(
    ground: Ground, stack: Stack, report: Report, consent: Consent, inputs: DeployInputs | None = None
) -> Deployed:
    """Make the stack what the workspace says, and return what then runs.

    Args:
        ground: what there is to work with.
        stack: the stack.
        report: told each step.
        consent: asked where something dead is in the way.
        inputs: what the deploy goes by, where it was read and proven already.

    Raises:
        ConfigError: the stack was protected, is no more, and nobody said that this is meant.
        Busy: someone else is deploying, or an interrupted deploy's lock was not cleared with consent.
        EvidenceError: the mode wants a digest that is not locked.
        SlipwayError: a build, a container's start or Pulumi failed; what ran before still runs.
    """
    began = time.monotonic()
    workspace = ground.workspace
    refuse_beside_session(workspace, stack.name)
    refuse_lost_protection(workspace, stack)
    warn_of_unknown_commit(workspace, report)
    inputs = inputs or read_inputs(ground, stack, report)
    place = place_of(workspace, stack)
    with recorded(workspace, "deploy", stack) as record:
        with record.phase("Pulumi starts"):
            outcome = up(ground, inputs, place, report, consent)
        record.holds(outcome.outputs.get("images", {}))
        with record.phase("ask the URLs"):
            rows = tuple(look(workspace, place, outcome))
        place.started(record)
    return Deployed(stack.name, stack.images, rows, outcome.operations, outcome.changed, time.monotonic() - began)


def up(ground: Ground, inputs: DeployInputs, place: Place, report: Report, consent: Consent) -> Outcome:
    """Let Pulumi make the stack what the workspace says, after clearing what an interrupted run has left."""
    stack = inputs.stack
    if unheeded := limits_unheeded(ground.workspace, stack):
        report.say(unheeded)
    door = opened(ground, stack, inputs)
    clear_stale_lock(door, consent, report)
    if said := door.mend():
        report.say(said)
    current().worked = True
    with marked(ground.workspace, stack) as interrupted:
        if interrupted:
            place.refuse_others(lambda: ids_of(door) or ())
            report.say(f"The last deploy of {stack.name} was interrupted: reading what really runs first.")
            recover(door, place)
        elif drifted := place.drifted(lambda: live_images(door)):
            report.say(f"No longer as deployed: {', '.join(drifted)}. Reading what really runs first.")
            door.recover()
        with place.taking_over() if interrupted else nullcontext():
            outcome = carried_out(ground, inputs, door, place, report)
        place.settle(report, lambda: ids_of(door))
        return outcome


def limits_unheeded(workspace: Workspace, stack: Stack) -> str:
    """Return what is said where files set limits of requests that the stack's target cannot; empty where it can."""
    own = [each.name for each in workspace.services if limits_of(each.settings.gateway) != USUAL]
    names = [*own, *(["workspace.toml"] if limits_of(workspace.settings.gateway) != USUAL else [])]
    if stack.target != "kubernetes" or not names:
        return ""
    return (
        f"Not in force on Kubernetes: `body` and `timeouts` under [gateway] of {', '.join(names)}. "
        "No Gateway or Ingress has a common word for them; set them where yours is configured."
    )


def ids_of(door: Door) -> Collection[str] | None:
    """Return the ids of all that a stack's state knows; None where it cannot be read."""
    root = door.workspace.root
    if local_state(root):
        return state_ids(root, door.workspace.name, door.stack.name)
    return {str(resource["id"]) for resource in door.state() if resource.get("id")}


def refuse_others(ground: Ground, stack: Stack) -> None:
    """Raise ConfigError where what runs as the stack is another folder's; nothing is made before, nor removed."""
    door = opened(ground, stack)
    place_of(ground.workspace, stack).refuse_others(lambda: ids_of(door) or ())


def refuse_others_at_first(ground: Ground, stack: Stack) -> None:
    """Do that before a first deploy, which may build for minutes; a later one asks while Pulumi starts."""
    known = local_state(ground.workspace.root) and state_ids(ground.workspace.root, ground.workspace.name, stack.name)
    if not known and answers(ground.workspace, stack):
        refuse_others(ground, stack)


def answers(workspace: Workspace, stack: Stack) -> bool:
    """Say whether the place where a stack runs answers; what does not is brought up, or explained, by what needs it."""
    try:
        place_of(workspace, stack).running()
    except SlipwayError:
        return False
    return True


def carried_out(ground: Ground, inputs: DeployInputs, door: Door, place: Place, report: Report) -> Outcome:
    """Let Pulumi work; where what it deploys does not start, the place says why and what becomes of it."""

    def narrator() -> Narrator:
        return Narrator(report, logs_of(ground.workspace), whole_log_of(ground))

    def again(images: Mapping[str, str]) -> None:
        report.say(f"Going back to what ran before: {', '.join(images)}.")
        second = narrator()
        with place.watched(report, second.rolling):
            told(opened(ground, inputs.stack, inputs, images).up, second)

    first = narrator()
    stuck = StuckPlugin(ground, first)
    try:
        with place.watched(report, first.rolling), stuck:
            return told(door.up, first)
    except (ConfigError, EvidenceError, Busy):
        raise
    except SlipwayError as error:
        if stuck.service:
            without_plugin(ground, inputs.stack, stuck.service, report)
            return carried_out(ground, inputs, door, place, report)
        explained = place.explained(error, first.failures.services(), lambda: live_images(door), again)
        if explained is error:
            raise
        raise explained from error


def without_plugin(ground: Ground, stack: Stack, service: str, report: Report) -> None:
    """Build what is still missing as `invoke build` does: Pulumi's plugin hung at a service, and was ended."""
    from slipway.flows.needed import build_ahead

    report.say(
        f"{service}: Pulumi's docker-build plugin hangs, as it does when a step prints a line of 64 KiB or more. "
        "Building without it, then going on."
    )
    build_ahead(ground, stack, report)


def live_images(door: Door) -> Mapping[str, str]:
    """Return the images of the release that is live, by service; none where nothing ever was."""
    from slipway.flows.releases import live_of, releases_of

    live = live_of(releases_of(door.stack.name, door.state()))
    return live.digests if live else {}


def told(work: Callable[[Narrator], Outcome], narrator: Narrator) -> Outcome:
    """Let Pulumi work; of its own error, which speaks of everything, make one of what went wrong."""
    try:
        return work(narrator)
    except SlipwayError as error:
        if type(error) is SlipwayError and (plain := narrator.failures.error()):
            raise plain from error
        raise


def preview(ground: Ground, stack: Stack) -> tuple[list[str], Outcome]:
    """Return Pulumi's diff as lines, with what policies only advise, and what it counts; nothing changes."""
    lines: list[str] = []
    advice: list[str] = []

    def listen(event: EngineEvent) -> None:
        if event.policy_event and (said := advised(event.policy_event)):
            advice.append(said)

    refuse_lost_protection(ground.workspace, stack)
    inputs = read_inputs(ground, stack, Silence(), proving=False)
    outcome = opened(ground, stack, inputs).preview(listen, on_output=lines.append)
    return [*diff_of(lines), *advice], outcome


NOISE = ("Previewing update", "pulumi:pulumi:Stack: (same)", "warning: using pulumi-", "[urn=", "[provider=")
"""How lines of Pulumi's preview begin that tell a reader nothing."""
FORGOTTEN = tuple(f"- {kind}: (delete" for kind in BUILDS)
"""How the part about a resource begins that is only forgotten: the image that it built stays."""


def diff_of(lines: list[str]) -> list[str]:
    """Return the lines of Pulumi's preview that show what would change."""
    end = next((number for number, line in enumerate(lines) if line.startswith("Resources:")), len(lines))
    kept, depth = [], None
    for line in filter(str.strip, lines[:end]):
        text = line.lstrip()
        indent = len(line) - len(text)
        if depth is not None and indent > depth:
            continue
        depth = indent if text.startswith(FORGOTTEN) else None
        if depth is None and not text.startswith(NOISE):
            kept.append(line)
    return kept


def ask_when_protected(stack: Stack, question: str, consent: Consent) -> None:
    """Ask before something is done to a protected stack.

    Raises:
        ConfigError: nobody consented.
    """
    if stack.protected and not consent(question):
        raise ConfigError(
            f"`{stack.name}` is protected and nobody said yes",
            remedy="Answer the question in a terminal, or add --yes.",
        )


def look(workspace: Workspace, place: Place, outcome: Outcome) -> Iterator[Row]:
    """Yield each service as it runs now: asked over its URL where it has one, else its health."""
    urls, images = outcome.outputs.get("urls", {}), outcome.outputs.get("images", {})
    healths = place.healths([service.name for service in workspace.services if not urls.get(service.name)])
    for service in workspace.services:
        url = urls.get(service.name, "")
        digest = str(images.get(service.name, "")).partition("@")[2]
        yield Row(service.name, digest, url, answer(url) if url else healths[service.name])


def answer(url: str, *, patience: float = 5.0) -> str:
    """Return what a URL answers: `200 OK`, another status, or why there was no answer. Seconds: `patience`."""
    import requests

    end = time.monotonic() + patience
    session = requests.Session()
    session.trust_env = not ports.is_own_address(urlsplit(url).hostname or "")  # no proxy leads back to this machine
    while True:
        try:
            reply = session.get(url, timeout=5)
        except requests.RequestException as error:
            said = f"no answer ({type(error).__name__})"
        else:
            said = f"{reply.status_code} {reply.reason}"
            if reply.status_code < 500:
                return said
        if time.monotonic() > end:
            return said
        time.sleep(0.1)


def opened(
    ground: Ground, stack: Stack, inputs: DeployInputs | None = None, instead: Mapping[str, str] | None = None
) -> Door:
    """Open a stack's door with the program and policies of infra/ and the provider, served from this process.

    Args:
        ground: what there is to work with.
        stack: the stack.
        inputs: what the program goes by; None where nothing is deployed.
        instead: images (service → image) in the place of those that the stack's mode says.
    """
    from slipway.provider.serve import serve_in_thread

    before = instead or {}

    def program() -> None:
        place_of(ground.workspace, stack).refuse_others(lambda: ids_of(door) or ())
        from infra.__main__ import program as of_infra  # imported while Pulumi is busy with its own start

        if inputs:
            of_infra(inputs, before)

    door = Door(
        ground.workspace,
        stack,
        program,
        policies=partial(policies, inputs, before.values()),
        command=ground.bin / "pulumi",
        log=logs_of(ground.workspace) / f"{stack.name}.pulumi.log",
        environment={**ground.environment, "PULUMI_DEBUG_PROVIDERS": f"slipway:{serve_in_thread()}"},
    )
    return door


def policies(inputs: DeployInputs | None, before: Iterable[str]) -> Sequence[Policy]:
    """Return what every preview and deploy obeys; it is imported only then.

    Args:
        inputs: what the deploy goes by, so that the rules judge by nothing else.
        before: images that ran before, and may again.
    """
    from infra.policy.__main__ import policies as of_infra
    from infra.policy.rule import Place as Judged

    return of_infra(Judged(inputs=inputs, also=frozenset(before)))


def recover(door: Door, place: Place) -> None:
    """Make Pulumi's state and what really runs agree again after an interrupted deploy."""
    if door.exists():
        door.recover()
    place.clear({str(resource.get("id")) for resource in door.state()})


@contextmanager
def marked(workspace: Workspace, stack: Stack) -> Iterator[bool]:
    """Leave a mark while a deploy runs; yield whether an earlier one left its own, so was interrupted."""
    mark = mark_of(workspace.root, stack.name)
    interrupted = mark.is_file()
    write_atomically(mark, f"{os.getpid()}\n")
    try:
        yield interrupted
    except StateNotSaved:
        raise
    except (SlipwayError, KeyboardInterrupt):
        if not interrupted:
            mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


def remove(ground: Ground, stack: Stack, report: Report, consent: Consent, *, also_abandoned: bool = False) -> Outcome:
    """Remove everything that the stack runs; its images and its state's history stay.

    Args:
        ground: what there is to work with.
        stack: the stack.
        report: told each step.
        consent: answers questions.
        also_abandoned: remove first what a folder that is gone has left of it.
    """
    refuse_beside_session(ground.workspace, stack.name)
    place = place_of(ground.workspace, stack)
    door = opened(ground, stack)
    if also_abandoned:
        place.remove_abandoned(report, consent)
    place.refuse_others(lambda: ids_of(door) or ())
    clear_stale_lock(door, consent, report)
    place.settle(report, lambda: ids_of(door))
    outcome = told(door.destroy, Narrator(report, logs_of(ground.workspace))) if door.exists() else Outcome({}, {})
    place.emptied(report)
    mark_of(ground.workspace.root, stack.name).unlink(missing_ok=True)
    return outcome


def chosen_stack(workspace: Workspace, name: str) -> Stack:
    """Return a stack with the mode in force for this run."""
    return stacks.load(workspace.root, name, os.environ)
