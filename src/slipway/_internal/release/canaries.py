"""Canaries of a stack: what there is, and what a step, a promotion or an abortion would do. Nothing changes here.

What shall be is in the stack's state, an input of its Release: whoever deploys finds it, on whatever machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slipway._internal.context.protection import refuse_lost_protection
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import lock
from slipway._internal.model.canary import Canary, canary_object_name
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.own_targets import ENGINE_TARGETS
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.release.releases import (
    CanaryStep,
    DeployedRelease,
    list_stack_resources,
    live_release,
    parse_canaries,
    parse_releases,
    parse_steps,
    short_digest,
)
from slipway._internal.release.rollback import GOOD_RESULTS, find_good_release

STEP_COLUMNS = ("time", "service", "canary", "got", "by")
SHOWN_STEPS = 20
COLUMNS = ("service", "canary", "gets", "since", "by", "the others run")


@dataclass(frozen=True)
class CanaryRow:
    """A canary that is under way, and what the rest of its service runs."""

    service: str
    image: str
    percent: int
    since: str
    actor: str
    stable_image: str

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @property
    def cells(self) -> tuple[str, ...]:
        """Return its row in a table of COLUMNS."""
        digests = short_digest(self.image), short_digest(self.stable_image) or "-"
        return self.service, digests[0], f"{self.percent} %", self.since, self.actor, digests[1]


@dataclass(frozen=True)
class StackCanaries:
    """What a stack's state says: its releases, the canaries under way, and their steps, newest first."""

    releases: list[DeployedRelease]
    canaries: tuple[Canary, ...]
    steps: tuple[CanaryStep, ...]

    @property
    def live_images(self) -> Mapping[str, str]:
        """The images of the live release by service; empty without one."""
        live = live_release(self.releases)
        return live.digests if live else {}

    def of(self, service: str) -> Canary | None:
        """Return a service's canary."""
        return next((canary for canary in self.canaries if canary.service == service), None)

    @property
    def rows(self) -> list[CanaryRow]:
        """The canaries that are under way."""
        found = []
        for canary in self.canaries:
            last = next((step for step in self.steps if step.service == canary.service), None)
            since, actor = (last.local_time, last.actor) if last else ("-", "-")
            stable = self.live_images.get(canary.service, "")
            found.append(CanaryRow(canary.service, canary.image, canary.percent, since, actor, stable))
        return found


@dataclass(frozen=True)
class CanaryPlan:
    """What is to become of a service's canary.

    Attributes:
        stack: the stack.
        service: the service.
        before: the canary that there is; None: there is none yet.
        percent: the share that it shall get; 0: it ends.
        image: its image by digest; empty: what the working tree builds.
        promotes: whether its image becomes the service's.
        release: the release that its image is from, if one was named.
        found: what the stack's state says.
    """

    stack: Stack
    service: Service
    before: Canary | None
    percent: int
    image: str
    promotes: bool
    release: DeployedRelease | None
    found: StackCanaries

    @property
    def summary(self) -> str:
        """What it does, in words."""
        name, what = self.service.name, short_digest(self.image) or "an image of the files as they are"
        stable = short_digest(self.found.live_images.get(name, ""))
        if self.promotes:
            return f"{name} in {self.stack.name}: all requests go to {what}, which replaces {stable}."
        if not self.percent:
            return f"{name} in {self.stack.name}: all requests go to {stable}; the canary {what} ends."
        now = f" instead of {self.before.percent} %" if self.before else ""
        return f"{name} in {self.stack.name}: {self.percent} % of requests{now} go to {what}, the others to {stable}."

    @property
    def what_next(self) -> str:
        """What was done, and what can be done next."""
        name, verb = self.service.name, f"invoke canary {self.service.name}"
        where = f" --stack {self.stack.name}"
        if self.percent:
            return (
                f"{self.summary} Each request is drawn anew. Next: `{verb} PERCENT{where}`, `--promote` or `--abort`."
            )
        if not self.promotes:
            return f"All requests to {name} in {self.stack.name} go to what ran before."
        done = f"{name} in {self.stack.name} runs what its canary ran."
        if self.stack.mode == "inline":
            deploy = how_to_deploy(self.stack.name)
            return f"{done} The next `{deploy}` builds the files as they are."
        return done

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "service": self.service.name,
            "stack": self.stack.name,
            "image": self.image or None,
            "percent": 100 if self.promotes else self.percent,
            "stable_image": self.found.live_images.get(self.service.name),
        }

    @property
    def builds(self) -> bool:
        """Whether an image has to be built for it."""
        return bool(self.percent) and not self.image


def read_canaries(context: RunContext, stack: Stack) -> StackCanaries:
    """Return what a stack's state says of canaries.

    Raises:
        SlipwayError: the state cannot be read.
    """
    resources = list_stack_resources(context, stack)
    return StackCanaries(
        parse_releases(stack.name, resources),
        tuple(parse_canaries(resources)),
        tuple(parse_steps(stack.name, resources)),
    )


def plan_share(context: RunContext, stack: Stack, name: str, percent: int, release_id: str | None) -> CanaryPlan:
    """Plan a canary's share of a service's requests: its first, or another.

    Args:
        context: the run's context.
        stack: the stack.
        name: the service's.
        percent: the share.
        release_id: the release whose image the canary has, or None: the lock's, or what the working tree builds.

    Raises:
        ConfigError: the service or stack can have none, or not this one.
        EvidenceError: the lock has no image of the service.
    """
    workspace = context.workspace
    service = workspace.service(name)
    if not 1 <= percent <= 99:
        raise ConfigError(
            f"a canary of {percent} % is none",
            remedy=f"Write 1 to 99. `invoke canary {name} --promote --stack {stack.name}` gives it all requests, "
            "`--abort` none.",
        )
    refuse_lost_protection(workspace, stack)
    refuse_without_weights(workspace, stack, service)
    found = read_canaries(context, stack)
    before = found.of(name)
    release = None
    if release_id:
        good = [each for each in found.releases if each.result in GOOD_RESULTS]
        release = find_good_release(found.releases, good, stack.name, release_id)
        if name not in release.digests:
            raise ConfigError(f"{name} did not exist in the release {release_id}", remedy="Name another release.")
    stable = _refuse_undeployed(found, stack, name)
    image = before.image if before else _next_image(workspace, stack, service)
    if release:
        image = release.digests[name]
    if before and digest_of(image) != digest_of(before.image):
        raise ConfigError(
            f"{name} has a canary of another image already: {short_digest(before.image)}",
            remedy=f"`invoke canary {name} --abort --stack {stack.name}` ends it; then begin with the other.",
        )
    if image and digest_of(image) == digest_of(stable):
        raise _same_image_error(name, stack.name)
    return CanaryPlan(stack, service, before, percent, image, promotes=False, release=release, found=found)


def plan_end(context: RunContext, stack: Stack, name: str, *, promotes: bool) -> CanaryPlan:
    """Plan the end of a canary: its image becomes the service's, or all is as it was.

    Raises:
        ConfigError: the service has none.
    """
    service = context.workspace.service(name)
    refuse_lost_protection(context.workspace, stack)
    found = read_canaries(context, stack)
    before = found.of(name)
    if before is None:
        raise ConfigError(
            f"{name} has no canary in {stack.name}",
            remedy=f"`invoke canary {name} 10 --stack {stack.name}` begins one; "
            f"`invoke canary --stack {stack.name}` shows all.",
        )
    return CanaryPlan(stack, service, before, 0, before.image, promotes=promotes, release=None, found=found)


def refuse_same_image(plan: CanaryPlan, image: str) -> None:
    """Raise ConfigError where what was built for a canary is what its service runs."""
    if digest_of(image) == digest_of(plan.found.live_images.get(plan.service.name, "")):
        raise _same_image_error(plan.service.name, plan.stack.name)


def refuse_without_weights(workspace: Workspace, stack: Stack, service: Service) -> None:
    """Refuse a canary where nothing could share out the service's requests, or a second container would do harm.

    Raises:
        ConfigError: says why, by the file that decides it.
    """
    file = service.folder / "service.toml"
    if stack.target not in ENGINE_TARGETS:
        raise ConfigError(
            f"{stack.file}: the target of {stack.name} is {stack.target}, which knows no canaries",
            remedy="Canaries are for stacks on a Docker engine, and on Kubernetes with a Gateway.",
        )
    if stack.target == "kubernetes" and not (stack.gateway or stack.parent):
        how = "slipway:ingress: an Ingress" if stack.ingress else "no slipway:gateway: nothing"
        raise ConfigError(
            f"{stack.file}: the stack has {how} shares out no requests by weight",
            remedy="Set slipway:gateway, or slipway:parent, for routes of the Gateway API.",
        )
    if stack.target == "kubernetes" and any(
        each.name == canary_object_name(service.name) for each in workspace.services
    ):
        raise ConfigError(
            f"the canary of {service.name} would be named {canary_object_name(service.name)}, as another service is",
            remedy="Give that one another name.",
        )
    if service.name in stack.external:
        raise ConfigError(
            f"{stack.file}: {service.name} runs elsewhere (slipway:external)", remedy="Begin the canary there."
        )
    if service.settings.job or not any(not route.redirect for route in service.routes):
        raise ConfigError(
            f"{file}: {service.name} has no route, so no gateway shares out its requests",
            remedy="Give it a `route`, or deploy it as a whole.",
        )
    if service.is_stateful:
        raise ConfigError(
            f"{file}: {service.name} has data in [[volumes]], which two versions at once would write",
            remedy="Deploy it as a whole.",
        )


def step_cells(step: CanaryStep) -> tuple[str, ...]:
    """Return a step's row in a table of STEP_COLUMNS."""
    return step.local_time, step.service, short_digest(step.image), step.summary, step.actor


def digest_of(image: str) -> str:
    """Return the digest of an image, which is the image in whatever repository it is."""
    return image.partition("@")[2]


def _refuse_undeployed(found: StackCanaries, stack: Stack, name: str) -> str:
    """Return the image that a service runs; refuse where it runs none, or the last deploy has failed."""
    image = found.live_images.get(name)
    if not image:
        raise ConfigError(
            f"{name} does not run in {stack.name} yet, so there is nothing to compare a canary with",
            remedy=f"Deploy it first: `{how_to_deploy(stack.name)}`.",
        )
    if found.releases[0].result not in GOOD_RESULTS and not found.canaries:
        raise ConfigError(
            f"the last deploy of {stack.name} did not end well: {found.releases[0].id}",
            remedy=f"Repeat it (`{how_to_deploy(stack.name)}`) or go back (`invoke rollback --stack {stack.name}`) "
            "first.",
        )
    return image


def _next_image(workspace: Workspace, stack: Stack, service: Service) -> str:
    """Return the image that a deploy would bring now: the lock's; empty: what the working tree builds.

    Raises:
        EvidenceError: the mode needs one that is locked, and none is.
    """
    if stack.mode == "inline":
        return ""
    entry = lock.load(workspace.root, stack.name).services.get(service.name)
    if entry:
        return entry.ref
    if stack.mode == "hybrid" and not stack.protected:
        return ""
    return DeployInputs(workspace, stack).locked_images([service.name])[service.name]  # says how to lock one


def _same_image_error(name: str, stack: str) -> ConfigError:
    return ConfigError(
        f"{name} runs that image in {stack} already, so a canary of it would show nothing",
        remedy="Change the service, lock a newer image, or name an earlier one: `--release NAME`.",
    )


def with_share(canaries: Sequence[Canary], canary: Canary) -> tuple[Canary, ...]:
    """Return the canaries with one more, or with another share of one."""
    others = (each for each in canaries if each.service != canary.service)
    return tuple(sorted([*others, canary], key=lambda each: each.service))


def without(canaries: Sequence[Canary], service: str) -> tuple[Canary, ...]:
    """Return the canaries without a service's."""
    return tuple(canary for canary in canaries if canary.service != service)
