"""Records what was deployed when, by whom, from which commit, and whether it went live: `slipway:index:Release`
and `slipway:index:Live`.

A deploy that changes a digest or the mode adds a record to Release as soon as its images are known. At its end Live,
which depends on everything deployed, stores that record as the live one. Together they give each release's result:

    live        it runs now
    good        it ran before
    deploying   it is the newest, is not live yet, and somebody holds the stack's lock
    failed      it never went live, and nobody is deploying it

Example: deploy A; deploy B, which fails halfway; deploy A's digests again, as A'. After the first, Release has [A] and
Live has A. After the second, Release has [B, A] and Live still has A: B is `failed`, A is `live`, and parts of both may
be running. After the third, Release has [A', B, A] and Live has A': the digests differ from those that Release last
received (B's), so they are a new release; A is `good`. If B were retried instead, and succeeded, there would be no new
record: Release already has B's digests, and Live now stores B.

A deploy that changes neither digests nor mode (only an environment or a limit) is not a release: A stays live even if
that deploy fails. A failed build is not a release either: Release waits for all digests.

A canary's image and share are an input of Release from before its container starts until it is gone, so they are known
wherever the state is, and a run that was killed can be repeated. A deploy does not name the input, and is refused while
there is a canary. Each change of it adds a step to Release: who, when, what.

Live keeps the full records of the last twenty live releases, so twenty failed releases push none of them out. Records
of earlier versions have no `contents` and were written after a success: they are good, and without a Live the newest
of them is live.
"""

# ruff: noqa: ARG002 - not every handler needs every argument

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from slipway._internal.model.canary import Canary, canary_busy_error
from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState, changed_keys
from slipway._internal.provider.values import Props
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import git

MAX_RELEASES = 20
MAX_STEPS = 100
"""How many steps of canaries are kept."""

ReleaseResult = Literal["live", "good", "deploying", "failed"]
ReleaseRecord = dict[str, Any]
_live_checks: list[Callable[[], None]] = []


@contextmanager
def check_before_live(check: Callable[[], None]) -> Iterator[None]:
    """Run a check before a release goes live, inside a `with` block; its error keeps the release from going live."""
    _live_checks.append(check)
    try:
        yield
    finally:
        _live_checks.remove(check)


class ReleaseHandler(ResourceHandler):
    """The stack's last releases. A new one starts when a digest (also the gateway's) or the mode changes."""

    required = ("mode", "digests")
    defaults = {"services": [], "contents": {}, "beside": {}}
    optional = ("canaries", "ends")
    computed = ("releases", "steps")

    def validate_change(self, olds: Props, news: Props) -> list[tuple[str, str]]:
        """Raise StackBusy where a deploy, or `pulumi up`, would end a canary unasked."""
        under_way = canaries_of(olds)
        if under_way and "canaries" not in news:
            raise canary_busy_error(under_way)
        return []

    def diff(self, old: ResourceState, news: Props) -> Diff:
        changed = _changed_records(old.inputs, news)
        return Diff([*changed, *(["canaries"] if canaries_of(old.inputs) != canaries_of(news) else [])])

    def unchanged_outputs(self, old: ResourceState) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        first = create_release_record(inputs)
        return ActualState(first["id"], {**self.public_inputs(inputs), "releases": [first], "steps": []})

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        releases = old.outputs.get("releases") or []
        steps = [*_new_steps(old.inputs, news), *(old.outputs.get("steps") or [])]
        if _changed_records(old.inputs, news):
            releases = [create_release_record(news), *releases]
        return {**self.public_inputs(news), "releases": releases[:MAX_RELEASES], "steps": steps[:MAX_STEPS]}


class LiveHandler(ResourceHandler):
    """Which release is live, and which were before. Its input is the newest release's record."""

    required = ("release",)
    computed = ("live", "good")

    def diff(self, old: ResourceState, news: Props) -> Diff:
        return Diff(["release"] if _release_id(old.inputs.get("release")) != _release_id(news["release"]) else [])

    def unchanged_outputs(self, old: ResourceState) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        return ActualState("live", self._mark_live(inputs, []))

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        return self._mark_live(news, old.outputs.get("good") or [])

    def _mark_live(self, inputs: Props, earlier: Sequence[ReleaseRecord]) -> Props:
        for check in [*_live_checks]:
            check()
        now: ReleaseRecord = inputs["release"]
        before = [release for release in earlier if release["id"] != now["id"]]
        return {**self.public_inputs(inputs), "live": now["id"], "good": [now, *before][:MAX_RELEASES]}


def create_release_record(inputs: Props) -> ReleaseRecord:
    """Return the record of a release that starts now."""
    now = datetime.now(UTC)
    return {
        "id": f"r-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "actor": git.current_user(workspace_root()),
        "commit": git.head_commit(workspace_root()) or "",
        "dirty": git.is_dirty(workspace_root()),
        "mode": inputs["mode"],
        "digests": inputs["digests"],
        "contents": inputs.get("contents") or {},
        "beside": inputs.get("beside") or {},
    }


def canaries_of(inputs: Mapping[str, Any]) -> list[Canary]:
    """Return the canaries that a Release's inputs name."""
    found: Mapping[str, Mapping[str, Any]] = inputs.get("canaries") or {}
    # Pulumi's numbers are floats.
    return [Canary(service, str(canary["image"]), int(canary["percent"])) for service, canary in sorted(found.items())]


def _changed_records(olds: Props, news: Props) -> list[str]:
    """Return the inputs whose change makes a new release."""
    return changed_keys({"beside": {}, **olds}, {"beside": {}, **news}, ("mode", "digests", "beside"))


def _new_steps(olds: Props, news: Props) -> list[dict[str, Any]]:
    """Return what becomes of canaries: the share that each gets now, and of those that end, how."""
    before, after = ({canary.service: canary for canary in canaries_of(inputs)} for inputs in (olds, news))
    now = datetime.now(UTC)
    said = {"time": f"{now:%Y-%m-%dT%H:%M:%SZ}", "actor": git.current_user(workspace_root())}
    steps = []
    for service in sorted({*before, *after}):
        old, new = before.get(service), after.get(service)
        if old == new:
            continue
        image, percent = (new or before[service]).image, new.percent if new else 0
        result = "share" if new else news.get("ends") or "aborted"
        steps.append({**said, "service": service, "image": image, "percent": percent, "result": result})
    return steps


def add_results(
    releases: Sequence[ReleaseRecord], live: Mapping[str, Any] | None, *, busy: bool = False
) -> list[ReleaseRecord]:
    """Return every stored record, newest first, each with its `result`.

    Args:
        releases: Release's records.
        live: Live's outputs; None if the stack has none yet.
        busy: whether somebody is deploying the stack now.
    """
    good = list((live or {}).get("good") or [])
    known_ids = {release["id"] for release in releases}
    records = [*releases, *(release for release in good if release["id"] not in known_ids)]
    legacy_ids = [release["id"] for release in releases if "contents" not in release]
    now = (live or {}).get("live") or next(iter(legacy_ids), None)
    ran_ids = {*legacy_ids, *(release["id"] for release in good)}
    newest = releases[0]["id"] if releases else None

    def result(name: str) -> ReleaseResult:
        if name == now:
            return "live"
        if name in ran_ids:
            return "good"
        return "deploying" if busy and name == newest else "failed"

    return [{**release, "result": result(release["id"])} for release in records]


def _release_id(release: Any) -> Any:
    """Return a record's id; a value that is unknown before the deployment is returned as it is."""
    return release.get("id") if isinstance(release, Mapping) else release
