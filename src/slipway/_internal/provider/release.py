"""What was deployed when, by whom, from which commit, and whether it got live: `slipway:index:Release` and `…:Live`.

A deploy that changes a digest or the mode begins with a record in Release, as soon as its images are known. It ends
with Live, which depends on everything deployed, taking that record up as what runs. So the two tell its result:

    live        it runs now
    good        it ran before
    deploying   it is the newest, has not got live, and somebody holds the stack's lock
    failed      it has not got live, and nobody is at work on it

Deploy A; deploy B, which fails halfway; deploy A's digests again, as A'. After the first, Release has [A] and Live A.
After the second Release has [B, A] and Live still A: B is `failed`, A is `live`, and what really runs may be part of
each. After the third Release has [A', B, A], and Live A': the digests differ from those that Release was last given
(B's), so they are a release of their own; A is `good`. Had B been tried again instead, with success, there would be no
new record: Release has B's digests already, and Live, which never got B, takes it up now.

A deploy that changes neither digests nor mode (an environment, a limit) is no release: A stays live even if it fails.
An image that cannot be built is none either: Release waits for all digests.

Live keeps the whole records of what was live, twenty of them, so twenty failed releases push none out. Records that an
earlier version made have no `contents` and were made after a success: they are good, and without a Live the newest of
them is live.
"""

# ruff: noqa: ARG002 - not every kind needs all that it is told

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState, changed_keys
from slipway._internal.provider.values import Props
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import git

MAX_RELEASES = 20

ReleaseResult = Literal["live", "good", "deploying", "failed"]
ReleaseRecord = dict[str, Any]
_live_checks: list[Callable[[], None]] = []


@contextmanager
def check_before_live(check: Callable[[], None]) -> Iterator[None]:
    """Have a check run before a release is taken up as what runs, for the time of a `with`; its error prevents that."""
    _live_checks.append(check)
    try:
        yield
    finally:
        _live_checks.remove(check)


class ReleaseHandler(ResourceHandler):
    """The stack's last releases. A new one begins when a digest, the gateway's too, or the mode changes."""

    required = ("mode", "digests")
    defaults = {"services": [], "contents": {}, "beside": {}}
    computed = ("releases",)

    def diff(self, old: ResourceState, news: Props) -> Diff:
        return Diff(changed_keys({"beside": {}, **old.inputs}, {"beside": {}, **news}, ("mode", "digests", "beside")))

    def unchanged_outputs(self, old: ResourceState) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        first = create_release_record(inputs)
        return ActualState(first["id"], {**self.public_inputs(inputs), "releases": [first]})

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        earlier = old.outputs.get("releases") or []
        return {**self.public_inputs(news), "releases": [create_release_record(news), *earlier][:MAX_RELEASES]}


class LiveHandler(ResourceHandler):
    """Which release runs now, and which ran before. Its input is the newest release's record."""

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
    """Return the record of a release that begins now."""
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


def add_results(
    releases: Sequence[ReleaseRecord], live: Mapping[str, Any] | None, *, busy: bool = False
) -> list[ReleaseRecord]:
    """Return every record that is kept, newest first, each with its `result`.

    Args:
        releases: Release's records.
        live: Live's outputs; None where the stack has none yet.
        busy: whether somebody is deploying the stack at this moment.
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
    """Return a record's id; what is not known before the deployment stands for itself."""
    return release.get("id") if isinstance(release, Mapping) else release
