"""The builds that carry cache mounts name just what they need, and give BuildKit no reason to empty them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway._internal.commands import cache_mounts

CACHES = {"npm": "r/node@sha256:1", "/root/.cache/uv": "r/python@sha256:2"}


def test_a_mount_is_read_into_an_archive_of_its_own() -> None:
    target = cache_mounts.save_definition(CACHES, Path("/w/c"), "1")["target"]["cache-npm"]
    assert isinstance(target, dict)
    lines = target["dockerfile-inline"].splitlines()
    assert lines[0] == "FROM r/node@sha256:1 AS carried"
    assert lines[2].startswith(
        "RUN --mount=type=cache,id=npm,target=/cache,sharing=locked mkdir /saved && tar --create"
    )
    assert "--file=/saved/npm.tar" in lines[2]
    assert target["output"] == ["type=local,dest=/w/c"]


def test_a_mount_is_filled_from_its_archive_and_nothing_is_kept_of_that_build() -> None:
    target = cache_mounts.load_definition(CACHES, Path("/w/c"), "1")["target"]["cache-root--cache-uv"]
    assert isinstance(target, dict)
    assert "--mount=type=bind,source=root--cache-uv.tar" in target["dockerfile-inline"]
    assert (target["context"], target["output"]) == ("/w/c", ["type=cacheonly"])


@pytest.mark.parametrize("made", [cache_mounts.save_definition, cache_mounts.load_definition])
def test_each_run_is_another_one_without_no_cache_which_would_empty_the_mounts(made: object) -> None:
    assert callable(made)
    one, two = (json.dumps(made(CACHES, Path("/c"), moment)) for moment in ("1", "2"))
    assert one != two and "no-cache" not in one
    assert "secret" not in one


def test_the_command_builds_each_mount_and_may_touch_the_folder_alone() -> None:
    found = cache_mounts.argv(Path("b"), Path("f"), "slipway", CACHES, Path("/c"))
    assert found[-2:] == ["cache-npm", "cache-root--cache-uv"]
    assert [word for word in found if word.startswith("--allow")] == ["--allow=fs.read=/c", "--allow=fs.write=/c"]


@pytest.mark.parametrize("cache", ["pip-$TARGETARCH", "a,b", "", "x y"])
def test_ids_that_are_no_plain_names_are_left_alone(cache: str) -> None:
    assert not cache_mounts.MOUNT_ID.fullmatch(cache)


def test_a_folder_with_a_comma_in_its_path_is_one_field() -> None:
    target = cache_mounts.save_definition(CACHES, Path("/w/a,b"), "1")["target"]["cache-root--cache-uv"]
    assert target["output"] == ['type=local,"dest=/w/a,b"']
