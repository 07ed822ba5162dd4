"""What was deployed in a stack and how that ended, and which digests are still needed: read from Pulumi's state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from slipway.flows.logs import logs_of
from slipway.flows.standing import Ground
from slipway.flows.status import short
from slipway.model import lock
from slipway.model import stack as stacks
from slipway.model.errors import SlipwayError
from slipway.model.stack import Stack
from slipway.provider.release import KEPT, with_results
from slipway.run.pulumi import Door

RELEASE, LIVE = "slipway:index:Release", "slipway:index:Live"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\b")


@dataclass(frozen=True)
class ReleaseLine:
    """One release: what was put in place when, by whom, from which commit, and how that ended.

    `digests` is service → image by digest, `contents` service → content digest where that is known, `beside` what ran
    beside the services (the gateway) → image by digest; `result` is
    `live`, `good`, `deploying` or `failed` (see slipway/provider/release.py).
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
    def when(self) -> str:
        """Its time on this machine's clock."""
        return f"{datetime.fromisoformat(self.time).astimezone():%Y-%m-%d %H:%M:%S}"

    @property
    def source(self) -> str:
        """Its commit, shortened; a star says that the files were not quite as committed."""
        return f"{self.commit[:10] or '-'}{'*' if self.commit and self.dirty else ''}"

    @property
    def images(self) -> str:
        """Each service and its digest, shortened."""
        return ", ".join(f"{service} {short_digest(ref)}" for service, ref in sorted(self.digests.items()))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Record(msgspec.Struct, frozen=True):
    """A release as the state has it."""

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


def releases(ground: Ground, stack: Stack) -> list[ReleaseLine]:
    """Return every release that the stack's state keeps, newest first; none where it was never deployed.

    Raises:
        SlipwayError: the state cannot be read.
    """
    door = _reader(ground, stack)
    busy = any(held.alive for held in door.stale_locks())
    return releases_of(stack.name, door.state(), busy=busy)


def shown(lines: list[ReleaseLine]) -> list[ReleaseLine]:
    """Return the last twenty, and the one that runs now should it be older."""
    return [each for number, each in enumerate(lines) if number < KEPT or each.result == "live"]


def live_of(lines: list[ReleaseLine]) -> ReleaseLine | None:
    """Return the release that runs now."""
    return next((each for each in lines if each.result == "live"), None)


def releases_of(name: str, resources: list[dict[str, Any]], *, busy: bool = False) -> list[ReleaseLine]:
    """Return the releases that a stack's resources in the state tell of.

    Raises:
        SlipwayError: what stands there is no record of releases.
    """
    found = {kind: _outputs(resources, kind) for kind in (RELEASE, LIVE)}
    try:
        kept = with_results(list((found[RELEASE] or {}).get("releases") or []), found[LIVE], busy=busy)
        records = msgspec.convert(kept, list[_Record])
        for each in records:
            datetime.fromisoformat(each.time)
    except (ValueError, AttributeError, KeyError, TypeError) as error:  # msgspec's own among them
        raise SlipwayError(
            f"the state of `{name}` holds a record of releases that cannot be read: {error}",
            remedy=f"In infra/: `pulumi stack export --stack {name}` shows it.",
        ) from error
    return [
        ReleaseLine(
            each.id,
            each.time,
            each.actor,
            each.commit or "",
            each.dirty,
            each.mode,
            each.result,
            each.digests,
            each.contents,
            each.beside,
        )
        for each in records
    ]


def needed_digests(ground: Ground) -> dict[str, str]:
    """Return each digest that a lock or a release of any stack names, or that any stack runs, and the reason.

    Stacks whose settings are no longer in infra/, but whose lock or state is there, count as well.

    Raises:
        EvidenceError: a lock is damaged.
        SlipwayError: a state cannot be read. Whoever deletes must not guess.
    """
    root = ground.workspace.root
    written = set(stacks.names(root))
    locked = {path.name.removesuffix(".lock.json") for path in (root / "deploy").glob("*.lock.json")}
    deployed = _reader(ground, _named(ground, "dev")).known()
    needed: dict[str, str] = {}
    for name in sorted(written | locked):
        for digest, reason in needed_by_lock(lock.load(root, name)):
            needed.setdefault(digest, reason)
    for name in sorted(written | set(deployed)):
        for digest, reason in needed_by_state(name, _reader(ground, _named(ground, name)).state()):
            needed.setdefault(digest, reason)
    return needed


def needed_by_lock(locked: lock.Lock) -> Iterator[tuple[str, str]]:
    """Yield each digest that a lock names, with the reason."""
    for service, entry in lock.all_entries(locked).items():
        yield entry.ref.partition("@")[2], f"{service} is locked for {locked.stack}"
        for kind, digest in entry.evidence.items():
            yield digest, f"the {kind} of {service}, which is locked for {locked.stack}"


def needed_by_state(name: str, resources: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield each digest that a stack's state names, with the reason: of its releases, and of what it runs."""
    for each in releases_of(name, resources):
        for service, ref in (*each.digests.items(), *each.beside.items()):
            for digest in _DIGEST.findall(ref):
                yield digest, f"{service} of the release {each.id} of {name}"
    for resource in resources:
        for image in _images(resource):
            for digest in _DIGEST.findall(image):
                yield digest, f"runs in {name}"


def _images(resource: Mapping[str, Any]) -> Iterator[str]:
    """Yield the images that a resource runs: a container's own, or those of all that an object of a cluster holds."""
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
    """Return the twelve letters of a reference's digest that people compare."""
    return short(ref).rpartition(":")[2]


def _outputs(resources: list[dict[str, Any]], kind: str) -> dict[str, Any] | None:
    """Return the outputs of the stack's one resource of a kind; None where it has none."""
    return next((each.get("outputs") or {} for each in resources if each.get("type") == kind), None)


def _named(ground: Ground, name: str) -> Stack:
    """Return what is needed of a stack to read its state, also of one whose settings are no longer there."""
    file = ground.workspace.root / "infra" / f"Pulumi.{name}.yaml"
    return Stack(name, file, images="external", target="docker", protected=False)


def _reader(ground: Ground, stack: Stack) -> Door:
    """Open a stack's door for reading: no program, no provider."""
    return Door(
        ground.workspace,
        stack,
        lambda: None,
        command=ground.bin / "pulumi",
        log=logs_of(ground.workspace) / f"{stack.name}.pulumi.log",
        environment=ground.environment,
    )
