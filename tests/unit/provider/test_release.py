"""The record of releases, and their results."""

from __future__ import annotations

import re
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.provider.handler import ResourceState
from slipway._internal.provider.release import (
    MAX_RELEASES,
    LiveHandler,
    ReleaseHandler,
    add_results,
    check_before_live,
)
from slipway._internal.provider.values import UNKNOWN
from slipway._internal.rollout.cancellation import CancellationToken

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def release_inputs(digest: str, mode: str = "inline") -> dict[str, Any]:
    return {"mode": mode, "digests": {"api": digest}, "services": ["api"]}


def state(digest: str, releases: list[dict[str, Any]]) -> ResourceState:
    return ResourceState("urn", "r-1", release_inputs(digest), {"releases": releases})


def test_a_first_release_says_what_when_by_whom_and_from_where() -> None:
    inputs = {**release_inputs(ONE), "contents": {"api": "c" * 64}}
    [first] = ReleaseHandler().create("urn", inputs, CancellationToken()).outputs["releases"]
    assert re.fullmatch(r"r-\d{8}-\d{6}-[0-9a-f]{8}", first["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["time"])
    assert first["digests"] == {"api": ONE}
    assert first["contents"] == {"api": "c" * 64}
    assert first["actor"] and isinstance(first["dirty"], bool)
    assert set(first) == {"id", "time", "actor", "commit", "dirty", "mode", "digests", "contents", "beside"}


def test_the_same_digests_are_no_new_release() -> None:
    news = {**release_inputs(ONE), "services": [], "contents": {"api": "c" * 64}}
    assert list(ReleaseHandler().diff(state(ONE, []), news).changed) == []


def test_a_digest_or_the_mode_makes_a_new_release() -> None:
    assert list(ReleaseHandler().diff(state(ONE, []), release_inputs(TWO)).changed) == ["digests"]
    assert list(ReleaseHandler().diff(state(ONE, []), release_inputs(ONE, "external")).changed) == ["mode"]


def test_the_newest_comes_first_and_twenty_are_kept() -> None:
    earlier = [{"id": f"r-{number}"} for number in range(MAX_RELEASES)]
    releases = ReleaseHandler().update(state(ONE, earlier), release_inputs(TWO), CancellationToken())["releases"]
    assert releases[0]["digests"] == {"api": TWO}
    assert releases[1:] == earlier[:-1]


def test_a_preview_does_not_invent_a_release() -> None:
    old = ResourceState("urn", "live", {"release": {"id": "r-1"}}, {"live": "r-1", "good": [{"id": "r-1"}]})
    assert ReleaseHandler().unchanged_outputs(state(ONE, [{"id": "r-1"}])) == {}
    assert LiveHandler().unchanged_outputs(old) == {}


class Stack:
    """A stack as Pulumi keeps it: a resource that failed keeps its old state, one that has no change is left alone."""

    def __init__(self) -> None:
        self.release: ResourceState | None = None
        self.live: ResourceState | None = None

    def deploy(self, digest: str, *, fails: bool = False) -> str:
        """Deploy, and return the newest release's id."""
        self.release = apply(ReleaseHandler(), self.release, release_inputs(digest))
        newest = self.release.outputs["releases"][0]
        if not fails:
            self.live = apply(LiveHandler(), self.live, {"release": newest})
        return str(newest["id"])

    def results(self, *, busy: bool = False) -> list[tuple[str, str]]:
        assert self.release
        live = self.live.outputs if self.live else None
        listed = add_results(self.release.outputs["releases"], live, busy=busy)
        return [(each["id"], each["result"]) for each in listed]


def apply(kind: ReleaseHandler | LiveHandler, old: ResourceState | None, inputs: dict[str, Any]) -> ResourceState:
    inputs = kind.check(inputs).inputs
    if old is None:
        real = kind.create("urn", inputs, CancellationToken())
        return ResourceState("urn", real.id, inputs, real.outputs)
    if not kind.diff(old, inputs).changed:
        return ResourceState("urn", old.id, inputs, old.outputs)
    return ResourceState("urn", old.id, inputs, kind.update(old, inputs, CancellationToken()))


@pytest.fixture
def stack() -> Stack:
    return Stack()


def test_what_runs_is_live_and_what_ran_is_good(stack: Stack) -> None:
    first, second = stack.deploy(ONE), stack.deploy(TWO)
    assert stack.results() == [(second, "live"), (first, "good")]


def test_a_release_that_failed_is_failed_and_the_one_before_it_still_live(stack: Stack) -> None:
    first, second = stack.deploy(ONE), stack.deploy(TWO, fails=True)
    assert stack.results() == [(second, "failed"), (first, "live")]


def test_the_same_digests_after_a_failed_release_are_a_release_of_their_own(stack: Stack) -> None:
    first, failed, again = stack.deploy(ONE), stack.deploy(TWO, fails=True), stack.deploy(ONE)
    assert len({first, failed, again}) == 3
    assert stack.results() == [(again, "live"), (failed, "failed"), (first, "good")]


def test_a_failed_release_that_is_tried_again_gets_live_without_a_new_record(stack: Stack) -> None:
    first, failed, again = stack.deploy(ONE), stack.deploy(TWO, fails=True), stack.deploy(TWO)
    assert failed == again
    assert stack.results() == [(again, "live"), (first, "good")]


def test_a_first_release_that_failed_is_not_live(stack: Stack) -> None:
    failed = stack.deploy(ONE, fails=True)
    assert stack.results() == [(failed, "failed")]
    assert stack.results(busy=True) == [(failed, "deploying")]


def test_while_somebody_deploys_only_the_newest_is_under_way(stack: Stack) -> None:
    first, failed = stack.deploy(ONE), stack.deploy(TWO, fails=True)
    newest = stack.deploy("sha256:" + "3" * 64, fails=True)
    assert stack.results(busy=True) == [(newest, "deploying"), (failed, "failed"), (first, "live")]
    live = stack.deploy("sha256:" + "3" * 64)
    assert live == newest
    assert stack.results(busy=True)[0] == (live, "live")  # a deploy that changes no image


def test_however_many_fail_the_live_release_stays_known(stack: Stack) -> None:
    first = stack.deploy(ONE)
    for number in range(MAX_RELEASES + 1):
        stack.deploy(f"sha256:{number:064x}", fails=True)
    results = stack.results()
    assert results[-1] == (first, "live")
    assert {result for _, result in results[:-1]} == {"failed"}


def test_twenty_that_ran_are_kept(stack: Stack) -> None:
    ids = [stack.deploy(f"sha256:{number:064x}") for number in range(MAX_RELEASES + 2)]
    assert stack.live
    assert [each["id"] for each in stack.live.outputs["good"]] == ids[:1:-1]


def test_releases_of_an_earlier_version_are_good_and_their_newest_runs(stack: Stack) -> None:
    early = [{"id": "r-2", "digests": {"api": ONE}}, {"id": "r-1", "digests": {"api": TWO}}]
    stack.release = ResourceState("urn", "r-1", release_inputs(ONE), {"releases": early})
    assert stack.results() == [("r-2", "live"), ("r-1", "good")]
    failed = stack.deploy(TWO, fails=True)
    assert stack.results() == [(failed, "failed"), ("r-2", "live"), ("r-1", "good")]
    assert stack.deploy(TWO) == failed
    assert stack.results() == [(failed, "live"), ("r-2", "good"), ("r-1", "good")]


def test_a_stack_of_an_earlier_version_takes_up_what_runs_without_a_new_release(stack: Stack) -> None:
    early = [{"id": "r-2", "digests": {"api": ONE}}, {"id": "r-1", "digests": {"api": TWO}}]
    stack.release = ResourceState("urn", "r-1", release_inputs(ONE), {"releases": early})
    assert stack.deploy(ONE) == "r-2"
    assert stack.results() == [("r-2", "live"), ("r-1", "good")]


def test_a_preview_of_a_new_release_shows_that_another_one_will_run() -> None:
    old = ResourceState("urn", "live", {"release": {"id": "r-1", "digests": {}}}, {"live": "r-1", "good": []})
    assert list(LiveHandler().diff(old, {"release": UNKNOWN}).changed) == ["release"]
    assert list(LiveHandler().diff(old, {"release": {"id": "r-1", "contents": {}}}).changed) == []


def test_nothing_deployed_has_no_releases() -> None:
    assert add_results([], None) == []


def test_a_release_gets_live_when_what_is_asked_before_has_no_objection(stack: Stack) -> None:
    first = stack.deploy("a")
    asked: list[str] = []

    def object_once() -> None:
        asked.append("live?")
        if len(asked) == 1:
            raise SlipwayError("not rolled out in staging: api")

    with check_before_live(object_once):
        with pytest.raises(SlipwayError, match="not rolled out"):
            stack.deploy("b")
        assert [result for _, result in stack.results()] == ["failed", "live"]
        third = stack.deploy("c")
    assert len(asked) == 2
    assert [name for name, result in stack.results() if result == "live"] == [third]
    assert stack.deploy("a") != first
    assert len(asked) == 2
