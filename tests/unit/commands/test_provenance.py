"""The provenance that is attested is BuildKit's own record, with who built it; without a record there is none."""

from __future__ import annotations

from typing import Any

import pytest

from slipway._internal.commands import provenance
from slipway._internal.commands.provenance import METADATA_KEY, WORKSTATION_BUILDER
from slipway._internal.model.errors import GateRefused

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
        "api": {"containerimage.digest": "sha256:1", METADATA_KEY: record(BASE, invocation={"parameters": {}})},
        "web": {METADATA_KEY: record(OTHER)},
        "buildx.build.warnings": [],
    }
    assert provenance.make_predicate(metadata, ["api"], "https://ci.example/1") == {
        "builder": {"id": "https://ci.example/1"},
        "buildType": "https://mobyproject.org/buildkit@v1",
        "materials": [BASE],
        "invocation": {"parameters": {}},
    }
    assert provenance.make_predicate(metadata, ["api"])["builder"] == {"id": WORKSTATION_BUILDER}


def test_of_several_platforms_it_has_all_materials_each_once() -> None:
    shared = {"uri": "pkg:docker/alpine", "digest": {"sha256": "c" * 64}}
    metadata = {
        "api_for-linux-arm64": {METADATA_KEY: record(OTHER, shared, platform="arm64")},
        "api_for-linux-amd64": {METADATA_KEY: record(BASE, shared, platform="amd64")},
    }
    targets = ["api_for-linux-amd64", "api_for-linux-arm64"]
    found = provenance.make_predicate(metadata, targets)
    assert found["platform"] == "amd64"
    assert found["materials"] == [BASE, shared, OTHER]
    with pytest.raises(GateRefused, match="api: BuildKit recorded no provenance"):
        provenance.make_predicate({targets[0]: metadata[targets[0]]}, targets)


def test_an_image_that_starts_from_nothing_has_no_materials() -> None:
    record_of_scratch = {key: value for key, value in record().items() if key != "materials"}
    assert provenance.make_predicate({"api": {METADATA_KEY: record_of_scratch}}, ["api"])["materials"] == []


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"api": None},
        {"api": {"containerimage.digest": "sha256:1"}},
        {"api": {METADATA_KEY: None}},
        {"api": {METADATA_KEY: {"materials": [BASE]}}},
        {"api": {f"{METADATA_KEY}/linux/amd64": record(BASE), f"{METADATA_KEY}/linux/arm64": {}}},
        {"api": {f"{METADATA_KEY}er": record(BASE)}},
        {"web": {METADATA_KEY: record(BASE)}},
    ],
)
def test_without_a_whole_record_there_is_none(metadata: dict[str, Any]) -> None:
    with pytest.raises(GateRefused, match="api: BuildKit recorded no provenance"):
        provenance.make_predicate(metadata, ["api"])


def test_who_builds_is_the_cis_job_or_a_workstation() -> None:
    assert provenance.builder_id({}) == WORKSTATION_BUILDER
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_WORKFLOW_REF": "acme/shop/.github/workflows/ship.yml@refs/heads/main",
    }
    assert provenance.builder_id(github) == "https://github.com/acme/shop/.github/workflows/ship.yml@refs/heads/main"
    gitlab = {"GITLAB_CI": "true", "CI_PROJECT_URL": "https://gitlab.com/acme/shop", "CI_RUNNER_ID": "7"}
    assert provenance.builder_id(gitlab) == "https://gitlab.com/acme/shop/-/runners/7"
