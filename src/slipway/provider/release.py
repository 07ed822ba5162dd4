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

A deploy that changes neither digests nor mode (an environment, a limit) is no release: A stays live if it fails, too.
An image that cannot be built is none either: Release waits for all digests.

Live keeps the whole records of what was live, twenty of them, so twenty failed releases push none out. Records that an
earlier version made have no `contents` and were made after a success: they are good, and without a Live the newest of
them is live.
"""

# ruff: noqa: ARG002 - not every kind needs all that it is told

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from slipway.model.location import workspace_root
from slipway.provider.kind import Diff, Kind, Real, State, Stop, changed_keys
from slipway.provider.values import Props
from slipway.run import git

KEPT = 20

Result = Literal["live", "good", "deploying", "failed"]
Record = dict[str, Any]


class Release(Kind):
    """The stack's last releases. A new one begins when a digest, the gateway's too, or the mode changes."""

    required = ("mode", "digests")
    defaults = {"services": [], "contents": {}, "beside": {}}
    computed = ("releases",)

    def diff(self, old: State, news: Props) -> Diff:
        return Diff(changed_keys({"beside": {}, **old.inputs}, {"beside": {}, **news}, ("mode", "digests", "beside")))

    def kept(self, old: State) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        first = entry(inputs)
        return Real(first["id"], {**self.public(inputs), "releases": [first]})

    def update(self, old: State, news: Props, stop: Stop) -> Props:
        earlier = old.outputs.get("releases") or []
        return {**self.public(news), "releases": [entry(news), *earlier][:KEPT]}


class Live(Kind):
    """Which release runs now, and which ran before. Its input is the newest release's record."""

    required = ("release",)
    computed = ("live", "good")

    def diff(self, old: State, news: Props) -> Diff:
        return Diff(["release"] if _id(old.inputs.get("release")) != _id(news["release"]) else [])

    def kept(self, old: State) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        return Real("live", self._taken_up(inputs, []))

    def update(self, old: State, news: Props, stop: Stop) -> Props:
        return self._taken_up(news, old.outputs.get("good") or [])

    def _taken_up(self, inputs: Props, earlier: Sequence[Record]) -> Props:
        now: Record = inputs["release"]
        before = [each for each in earlier if each["id"] != now["id"]]
        return {**self.public(inputs), "live": now["id"], "good": [now, *before][:KEPT]}


def entry(inputs: Props) -> Record:
    """Return the record of a release that begins now."""
    now = datetime.now(UTC)
    return {
        "id": f"r-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "actor": git.user(workspace_root()),
        "commit": git.commit(workspace_root()) or "",
        "dirty": git.dirty(workspace_root()),
        "mode": inputs["mode"],
        "digests": inputs["digests"],
        "contents": inputs.get("contents") or {},
        "beside": inputs.get("beside") or {},
    }


def with_results(releases: Sequence[Record], live: Mapping[str, Any] | None, *, busy: bool = False) -> list[Record]:
    """Return every record that is kept, newest first, each with its `result`.

    Args:
        releases: Release's records.
        live: Live's outputs; None where the stack has none yet.
        busy: whether somebody is deploying the stack at this moment.
    """
    good = list((live or {}).get("good") or [])
    known = {each["id"] for each in releases}
    kept = [*releases, *(each for each in good if each["id"] not in known)]
    early = [each["id"] for each in releases if "contents" not in each]
    now = (live or {}).get("live") or next(iter(early), None)
    ran = {*early, *(each["id"] for each in good)}
    newest = releases[0]["id"] if releases else None

    def result(name: str) -> Result:
        if name == now:
            return "live"
        if name in ran:
            return "good"
        return "deploying" if busy and name == newest else "failed"

    return [{**each, "result": result(each["id"])} for each in kept]


def _id(release: Any) -> Any:
    """Return a record's id; what is not known before the deployment stands for itself."""
    return release.get("id") if isinstance(release, Mapping) else release
