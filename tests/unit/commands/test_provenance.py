"""The provenance that is attested is BuildKit's own record, with who built it; without a record there is none."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.commands import provenance
from slipway.commands.provenance import FIELD, WORKSTATION
from slipway.model.errors import GateRefused

BASE = {"uri": "pkg:docker/python@3.13", "digest": {"sha256": "a" * 64}}
OTHER = {"uri": "pkg:docker/python@3.13?platform=linux%2Farm64", "digest": {"sha256": "b" * 64}}


def record(*materials: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "builder": {"id": ""},
        "buildType": "https://mobyproject.org/buildkit@v1",
        "materials": list(materials),
        **more,
    }


def test_it_is_buildkits_record_of_just_that_target_with_who_built() -> None:
    metadata = {
        "api": {"containerimage.digest": "sha256:1", FIELD: record(BASE, invocation={"parameters": {}})},
        "web": {FIELD: record(OTHER)},
        "buildx.build.warnings": [],
    }
    assert provenance.predicate(metadata, "api", "https://ci.example/1") == {
        "builder": {"id": "https://ci.example/1"},
        "buildType": "https://mobyproject.org/buildkit@v1",
        "materials": [BASE],
        "invocation": {"parameters": {}},
    }
    assert provenance.predicate(metadata, "api")["builder"] == {"id": WORKSTATION}


def test_of_several_platforms_it_has_all_materials_each_once() -> None:
    shared = {"uri": "pkg:docker/alpine", "digest": {"sha256": "c" * 64}}
    metadata = {
        "api": {
            f"{FIELD}/linux/arm64": record(OTHER, shared, platform="arm64"),
            f"{FIELD}/linux/amd64": record(BASE, shared, platform="amd64"),
        }
    }
    found = provenance.predicate(metadata, "api")
    assert found["platform"] == "amd64"
    assert found["materials"] == [BASE, shared, OTHER]


def test_an_image_from_scratch_has_no_materials() -> None:
    without = {name: value for name, value in record().items() if name != "materials"}
    for told in (record(), without):
        assert provenance.predicate({"api": {FIELD: told}}, "api")["materials"] == []


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"api": None},
        {"api": {"containerimage.digest": "sha256:1"}},
        {"api": {FIELD: None}},
        {"api": {FIELD: {"materials": [BASE]}}},
        {"api": {f"{FIELD}/linux/amd64": record(BASE), f"{FIELD}/linux/arm64": {}}},
        {"api": {f"{FIELD}er": record(BASE)}},
        {"web": {FIELD: record(BASE)}},
    ],
)
def test_without_a_whole_record_there_is_none(metadata: dict[str, Any]) -> None:
    with pytest.raises(GateRefused, match="api: BuildKit recorded no provenance"):
        provenance.predicate(metadata, "api")


def test_who_builds_is_the_cis_job_or_a_workstation() -> None:
    assert provenance.builder_id({}) == WORKSTATION
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_WORKFLOW_REF": "acme/shop/.github/workflows/ship.yml@refs/heads/main",
    }
    assert provenance.builder_id(github) == "https://github.com/acme/shop/.github/workflows/ship.yml@refs/heads/main"
    gitlab = {"GITLAB_CI": "true", "CI_PROJECT_URL": "https://gitlab.com/acme/shop", "CI_RUNNER_ID": "7"}
    assert provenance.builder_id(gitlab) == "https://gitlab.com/acme/shop/-/runners/7"
