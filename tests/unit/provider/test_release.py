"""The record of releases."""

from __future__ import annotations

import re

from slipway.provider.kind import State, Stop
from slipway.provider.release import KEPT, Release

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def wish(digest: str, mode: str = "inline") -> dict[str, object]:
    return {"mode": mode, "digests": {"api": digest}, "services": ["api"]}


def state(digest: str, releases: list[dict[str, str]]) -> State:
    return State("urn", "r-1", wish(digest), {"releases": releases})


def test_a_first_release_says_what_when_by_whom_and_from_where() -> None:
    [first] = Release().create("urn", wish(ONE), Stop()).outputs["releases"]
    assert re.fullmatch(r"r-\d{8}-\d{6}-[0-9a-f]{4}", first["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["time"])
    assert first["digests"] == {"api": ONE}
    assert first["actor"] and isinstance(first["dirty"], bool)
    assert set(first) == {"id", "time", "actor", "commit", "dirty", "mode", "digests"}


def test_the_same_digests_are_no_new_release() -> None:
    assert list(Release().diff(state(ONE, []), {**wish(ONE), "services": []}).changed) == []


def test_a_digest_or_the_mode_makes_a_new_release() -> None:
    assert list(Release().diff(state(ONE, []), wish(TWO)).changed) == ["digests"]
    assert list(Release().diff(state(ONE, []), wish(ONE, "external")).changed) == ["mode"]


def test_the_newest_comes_first_and_twenty_are_kept() -> None:
    earlier = [{"id": f"r-{number}"} for number in range(KEPT)]
    releases = Release().update(state(ONE, earlier), wish(TWO), Stop())["releases"]
    assert releases[0]["digests"] == {"api": TWO}
    assert releases[1:] == earlier[:-1]


def test_a_preview_does_not_invent_a_release() -> None:
    assert Release().kept(state(ONE, [{"id": "r-1"}])) == {}
