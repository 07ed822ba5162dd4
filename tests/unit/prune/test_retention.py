"""What stays in a repository and why: need before age, age before number, and never a guess."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway._internal.commands import builder_cache
from slipway._internal.content.normalized_contexts import copy_path
from slipway._internal.model.gate_settings import RetentionSettings
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings
from slipway._internal.prune.prune import classify_repositories, outdated_folders
from slipway._internal.prune.retention import (
    GRACE_PERIOD,
    RepositoryImage,
    RepositoryType,
    RetentionDecision,
    decide_retention,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def image(name: str, days: float | None, *tags: str, parts: Collection[str] = ()) -> RepositoryImage:
    made = None if days is None else NOW - timedelta(days=days)
    return RepositoryImage(name, tags or (f"h-{name}",), frozenset(parts), made)


def decided(
    *images: RepositoryImage,
    kind: RepositoryType = "release",
    needed: Mapping[str, str] | None = None,
    current: Collection[str] = (),
    keep: int = 0,
    days: int = 0,
) -> dict[str, RetentionDecision]:
    found = decide_retention(
        images, kind, needed=needed or {}, current=current, retention=RetentionSettings(keep=keep, days=days), now=NOW
    )
    assert len(found) == len(images)
    return {verdict.image.digest: verdict for verdict in found}


def test_what_is_needed_stays_with_its_reason_however_old() -> None:
    found = decided(image("a", 999), image("b", 999), needed={"a": "prod's release 7"})
    assert (found["a"].is_kept, found["a"].why) == (True, "prod's release 7")
    assert not found["b"].is_kept


def test_an_image_stays_for_a_part_of_it_that_is_needed() -> None:
    assert decided(image("a", 999, parts=("amd64", "arm64")), needed={"arm64": "a lock"})["a"].is_kept


def test_what_the_sources_are_now_stays() -> None:
    found = decided(image("a", 999, "h-now", "v1"), image("b", 999), current={"h-now"})
    assert [name for name, verdict in found.items() if verdict.is_kept] == ["a"]


def test_the_newest_stay_besides_what_is_needed() -> None:
    images = [image(str(age), age) for age in range(1, 7)]
    found = decided(*images, needed={"1": "a lock", "6": "a lock"}, keep=2)
    assert sorted(name for name, verdict in found.items() if verdict.is_kept) == ["1", "2", "3", "6"]
    assert found["2"].why == "one of the 2 newest"


def test_the_young_stay_however_many() -> None:
    found = decided(*[image(str(age), age) for age in range(20)], keep=1, days=10)
    assert sum(verdict.is_kept for verdict in found.values()) == 10
    assert found["9"].why == "younger than 10 days"
    assert found["10"].why == "nothing needs it, and it is older than 10 days and not one of the 1 newest"


def test_nothing_is_kept_by_age_or_number_where_neither_is_asked_for() -> None:
    assert not decided(image("a", 0))["a"].is_kept


@pytest.mark.parametrize("kind", ["release", "development", "other"])
def test_an_image_without_a_known_age_stays(kind: RepositoryType) -> None:
    assert decided(image("a", None), kind=kind, keep=0)["a"].is_kept


def test_an_image_without_a_tag_gets_the_time_that_a_gate_may_take() -> None:
    young, old = NOW - GRACE_PERIOD / 2, NOW - GRACE_PERIOD * 2
    found = decided(
        RepositoryImage("young", created_at=young),
        RepositoryImage("old", created_at=old),
        RepositoryImage("unknown"),
        keep=9,
        days=9,
    )
    assert {name: verdict.is_kept for name, verdict in found.items()} == {"young": True, "old": False, "unknown": True}
    assert decided(RepositoryImage("old", created_at=old), needed={"old": "a lock"})["old"].is_kept


def test_bases_and_build_cache_stay_while_they_have_a_tag() -> None:
    found = decided(image("a", 999), RepositoryImage("b", created_at=NOW - GRACE_PERIOD * 2), kind="other")
    assert found["a"].is_kept and not found["b"].is_kept


@given(
    ages=st.lists(st.one_of(st.none(), st.floats(0, 400)), max_size=12),
    keep=st.integers(0, 5),
    days=st.integers(0, 60),
    needed=st.sets(st.integers(0, 11)),
    kind=st.sampled_from(["release", "development", "other"]),
)
def test_whatever_the_policy_nothing_needed_goes_and_more_never_means_less(
    ages: list[float | None], keep: int, days: int, needed: set[int], kind: RepositoryType
) -> None:
    images = [image(str(number), age) for number, age in enumerate(ages)]
    names = {str(number): "a lock" for number in needed}
    some = decided(*images, kind=kind, needed=names, keep=keep, days=days)
    more = decided(*images, kind=kind, needed=names, keep=keep + 1, days=days + 1)
    assert all(verdict.is_kept for name, verdict in some.items() if name in names)
    assert {name for name, each in some.items() if each.is_kept} <= {
        name for name, each in more.items() if each.is_kept
    }


def test_the_repositories_are_those_of_this_workspace_alone() -> None:
    workspace = Workspace(Path("/w"), WorkspaceSettings("shop", "r.example/team"), ())
    known = [
        "team/shop/api",
        "team/shop/api_cache",
        "team/shop/web-cache",
        "team/shop/base-node-run",
        "team/shop/dockerfile_frontend",
        "team/shop/release/api",
        "team/shop/release/api/more",
        "team/shopping/api",
        "shop/api",
    ]
    assert classify_repositories(workspace, "r.example/team", known) == {
        "team/shop/api": "development",
        "team/shop/api_cache": "other",
        "team/shop/web-cache": "development",
        "team/shop/base-node-run": "other",
        "team/shop/dockerfile_frontend": "development",
        "team/shop/release/api": "release",
    }
    assert classify_repositories(workspace, "r.example", known) == {"shop/api": "development"}
    assert classify_repositories(workspace, "r.example", None) == {"shop/release/gateway": "release"}


def test_what_the_builder_s_cache_would_give_back_is_read_from_its_listing() -> None:
    lines = [
        '{"Reclaimable":true,"Size":"1.5MB","LastUsedAt":"3 months ago"}',
        '{"Reclaimable":true,"Size":"4.096kB","LastUsedAt":"30 days ago"}',
        '{"Reclaimable":true,"Size":"1GB","LastUsedAt":"29 days ago"}',
        '{"Reclaimable":false,"Size":"1GB","LastUsedAt":"2 years ago"}',
        '{"Reclaimable":true,"Size":"7B","LastUsedAt":"About an hour ago"}',
        "no JSON",
    ]
    assert builder_cache.parse_reclaimable_bytes(lines, 30) == 1_504_096
    assert builder_cache.parse_reclaimable_bytes(lines, 0) == 1_001_504_103
    assert builder_cache.parse_freed_bytes("ID  RECLAIMABLE\nabc true\nTotal:  268.5MB\n") == 268_500_000
    assert builder_cache.parse_freed_bytes("") == 0
    assert builder_cache.prune(Path("b"), "slipway", 30) == [
        "b",
        "--builder",
        "slipway",
        "prune",
        "--force",
        "--filter",
        "until=720h",
    ]


def test_copies_of_contexts_go_when_their_context_has_gone(tmp_path: Path) -> None:
    folder = tmp_path / "services" / "api"
    folder.mkdir(parents=True)
    workspace = Workspace(
        tmp_path, WorkspaceSettings("shop", "r.example"), (Service("api", folder, ServiceSettings(kind="worker")),)
    )
    there, gone = (copy_path(each, workspace.scratch) for each in (folder, folder.with_name("old")))
    for each in (there, gone):
        each.mkdir(parents=True)
    assert outdated_folders(workspace, {}) == [gone.parent]
