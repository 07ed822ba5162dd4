"""Reads from Pulumi's state what was deployed to a stack, how that ended, and which digests are still needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from slipway._internal.context.logs import logs_folder
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import lock
from slipway._internal.model import stack as stacks
from slipway._internal.model.canary import Canary
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.provider.release import MAX_RELEASES, add_results, canaries_of
from slipway._internal.run.pulumi import PulumiStack
from slipway._internal.targets.status import shorten_image

RELEASE_TYPE, LIVE_TYPE = "slipway:index:Release", "slipway:index:Live"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\b")


@dataclass(frozen=True)
class DeployedRelease:
    """One release: what was deployed when, by whom, from which commit, and how that ended.

    `digests` maps each service to its image by digest, `contents` each service to its content digest if known, and
    `beside` whatever ran beside the services (the gateway) to its image by digest. `result` is `live`, `good`,
    `deploying` or `failed` (see slipway/_internal/provider/release.py).
    """

    id: str
    time: str
    actor: str
    commit: str
    dirty: bool
    mode: str
    result: str
    digests: Mapping[str, str]
    contents: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def local_time(self) -> str:
        """The release's time in this machine's time zone."""
        return f"{datetime.fromisoformat(self.time).astimezone():%Y-%m-%d %H:%M:%S}"

    @property
    def short_commit(self) -> str:
        """The shortened commit; a star marks uncommitted changes."""
        return f"{self.commit[:10] or '-'}{'*' if self.commit and self.dirty else ''}"

    @property
    def images_summary(self) -> str:
        """Each service with its shortened digest."""
        return ", ".join(f"{service} {short_digest(ref)}" for service, ref in sorted(self.digests.items()))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class CanaryStep(msgspec.Struct, frozen=True):
    """What somebody did with a canary: its `percent` of requests from then on; `result` is `share`, `promoted` or
    `aborted`, `image` by digest, `time` RFC 3339 in UTC."""

    time: str
    actor: str
    service: str
    image: str
    percent: float
    result: str

    @property
    def local_time(self) -> str:
        """The time in this machine's time zone."""
        return f"{datetime.fromisoformat(self.time).astimezone():%Y-%m-%d %H:%M:%S}"

    @property
    def summary(self) -> str:
        """What was done, in words."""
        return f"{self.percent:.0f} %" if self.result == "share" else self.result

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**msgspec.to_builtins(self), "percent": int(self.percent)}


class _StateRelease(msgspec.Struct, frozen=True):
    """A release as the state stores it."""

    id: str
    time: str
    mode: str
    result: str
    digests: dict[str, str]
    actor: str = ""
    commit: str | None = None
    dirty: bool = False
    contents: dict[str, str] = {}
    beside: dict[str, str] = {}


def list_releases(context: RunContext, stack: Stack) -> list[DeployedRelease]:
    """Return every release in the stack's state, newest first; empty if the stack was never deployed.

    Raises:
        SlipwayError: the state cannot be read.
    """
    pulumi_stack = _open_for_reading(context, stack)
    is_deploying = any(lock.alive for lock in pulumi_stack.list_locks())
    return parse_releases(stack.name, pulumi_stack.list_resources(), busy=is_deploying)


def list_stack_resources(context: RunContext, stack: Stack) -> list[dict[str, Any]]:
    """Return all resources in the stack's state; none if the stack was never deployed.

    Raises:
        SlipwayError: the state cannot be read.
    """
    return _open_for_reading(context, stack).list_resources()


def recent_releases(releases: list[DeployedRelease]) -> list[DeployedRelease]:
    """Return the last twenty releases, and the live one if it is older."""
    return [release for number, release in enumerate(releases) if number < MAX_RELEASES or release.result == "live"]


def live_release(releases: list[DeployedRelease]) -> DeployedRelease | None:
    """Return the live release."""
    return next((release for release in releases if release.result == "live"), None)


def parse_releases(name: str, resources: list[dict[str, Any]], *, busy: bool = False) -> list[DeployedRelease]:
    """Return the releases recorded in a stack's resources.

    Raises:
        SlipwayError: the record of releases cannot be read.
    """
    outputs = {
        resource_type: _resource_outputs(resources, resource_type) for resource_type in (RELEASE_TYPE, LIVE_TYPE)
    }
    try:
        entries = add_results(list((outputs[RELEASE_TYPE] or {}).get("releases") or []), outputs[LIVE_TYPE], busy=busy)
        records = msgspec.convert(entries, list[_StateRelease])
        for record in records:
            datetime.fromisoformat(record.time)
    except (ValueError, AttributeError, KeyError, TypeError) as error:  # msgspec's own among them
        raise SlipwayError(
            f"cannot read the record of releases in the state of `{name}`: {error}",
            remedy=f"In infra/, inspect it with `pulumi stack export --stack {name}`.",
        ) from error
    return [
        DeployedRelease(
            record.id,
            record.time,
            record.actor,
            record.commit or "",
            record.dirty,
            record.mode,
            record.result,
            record.digests,
            record.contents,
            record.beside,
        )
        for record in records
    ]


def parse_canaries(resources: Iterable[Mapping[str, Any]]) -> list[Canary]:
    """Return the canaries that are under way, by a stack's resources."""
    found = [resource.get("inputs") or {} for resource in resources if resource.get("type") == RELEASE_TYPE]
    return [canary for inputs in found for canary in canaries_of(inputs)]


def parse_steps(name: str, resources: list[dict[str, Any]]) -> list[CanaryStep]:
    """Return the steps of canaries that a stack's resources record, newest first.

    Raises:
        SlipwayError: the record cannot be read.
    """
    try:
        return msgspec.convert((_resource_outputs(resources, RELEASE_TYPE) or {}).get("steps") or [], list[CanaryStep])
    except msgspec.ValidationError as error:
        raise SlipwayError(
            f"cannot read the steps of canaries in the state of `{name}`: {error}",
            remedy=f"In infra/, inspect it with `pulumi stack export --stack {name}`.",
        ) from error


def needed_digests(context: RunContext) -> dict[str, str]:
    """Return each digest that a lock or a release of any stack names, or that any stack runs, with the reason.

    This includes stacks without a settings file in infra/ that still have a lock or a state.

    Raises:
        EvidenceError: a lock is damaged.
        SlipwayError: a state cannot be read. A deletion must not guess.
    """
    root = context.workspace.root
    configured_names = set(stacks.names(root))
    locked_names = {path.name.removesuffix(".lock.json") for path in (root / "deploy").glob("*.lock.json")}
    deployed_names = _open_for_reading(context, _stack_named(context, "dev")).list_stacks()
    needed: dict[str, str] = {}
    for name in sorted(configured_names | locked_names):
        for digest, reason in digests_in_lock(lock.load(root, name)):
            needed.setdefault(digest, reason)
    for name in sorted(configured_names | set(deployed_names)):
        for digest, reason in digests_in_state(
            name, _open_for_reading(context, _stack_named(context, name)).list_resources()
        ):
            needed.setdefault(digest, reason)
    return needed


def digests_in_lock(stack_lock: lock.Lock) -> Iterator[tuple[str, str]]:
    """Yield each digest that a lock names, with the reason."""
    for service, entry in lock.all_entries(stack_lock).items():
        yield entry.ref.partition("@")[2], f"{service} is locked for {stack_lock.stack}"
        for kind, digest in entry.evidence.items():
            yield digest, f"the {kind} of {service}, which is locked for {stack_lock.stack}"


def digests_in_state(name: str, resources: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield each digest in a stack's state, with the reason: of its releases, of canaries, and what it runs."""
    for release in parse_releases(name, resources):
        for service, ref in (*release.digests.items(), *release.beside.items()):
            for digest in _DIGEST.findall(ref):
                yield digest, f"{service} of the release {release.id} of {name}"
    for canary in parse_canaries(resources):
        for digest in _DIGEST.findall(canary.image):
            yield digest, f"the canary of {canary.service} in {name}"
    for resource in resources:
        for image in _resource_images(resource):
            for digest in _DIGEST.findall(image):
                yield digest, f"runs in {name}"


def _resource_images(resource: Mapping[str, Any]) -> Iterator[str]:
    """Yield the images that a resource runs: a container's own, or all images in a Kubernetes object."""
    outputs = resource.get("outputs") or {}
    parts: list[Any] = [outputs]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            image = part.get("image")
            if isinstance(image, str):
                yield image
            if str(resource.get("type")).startswith("kubernetes:"):
                parts += part.values()
        elif isinstance(part, list):
            parts += part


def short_digest(ref: str) -> str:
    """Return the first twelve characters of a reference's digest."""
    return shorten_image(ref).rpartition(":")[2]


def _resource_outputs(resources: list[dict[str, Any]], resource_type: str) -> dict[str, Any] | None:
    """Return the outputs of the stack's only resource of a type; None if it has none."""
    return next(
        (resource.get("outputs") or {} for resource in resources if resource.get("type") == resource_type), None
    )


def _stack_named(context: RunContext, name: str) -> Stack:
    """Return a Stack that is sufficient for reading its state, even if its settings file is gone."""
    file = context.workspace.root / "infra" / f"Pulumi.{name}.yaml"
    return Stack(name, file, mode="external", target="docker", protected=False)


def _open_for_reading(context: RunContext, stack: Stack) -> PulumiStack:
    """Open a Pulumi stack for reading: without a program or provider."""
    return PulumiStack(
        context.workspace,
        stack,
        lambda: None,
        cli=context.bin / "pulumi",
        log=logs_folder(context.workspace) / f"{stack.name}.pulumi.log",
        environment=context.environment,
    )
