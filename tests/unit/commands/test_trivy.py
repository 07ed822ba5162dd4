"""Trivy's commands, and what is made of its reports."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.commands import trivy

TRIVY, CACHE, OUT = Path("/bin/trivy"), Path("/cache"), Path("/out.json")
META = struct.Struct("<IIIIQQQQQQ")


def test_a_scan_looks_for_everything_in_a_layout_without_the_network_or_a_shared_cache() -> None:
    command = trivy.scan_image(TRIVY, "api", OUT, CACHE, 90)
    assert command[:2] == ["/bin/trivy", "image"]
    assert set(command[2:]) == {
        "--input=api",
        "--output=/out.json",
        "--cache-dir=/cache",
        "--timeout=90s",
        "--format=json",
        "--list-all-pkgs",
        "--scanners=vuln,secret",
        "--image-config-scanners=secret",
        "--cache-backend=memory",
        "--no-progress",
        "--skip-db-update",
        "--offline-scan",
        "--skip-version-check",
        "--disable-telemetry",
    }


@pytest.mark.parametrize("kind", ["cyclonedx", "spdx-json"])
def test_a_list_of_packages_needs_no_database(kind: trivy.SbomFormat) -> None:
    command = trivy.make_sbom(TRIVY, "api", kind, OUT, CACHE, 90)
    assert f"--format={kind}" in command
    assert "--skip-db-update" in command
    assert not [each for each in command if each.startswith("--scanners")]


def test_dockerfiles_are_judged_by_the_checks_inside_trivy() -> None:
    command = trivy.scan_dockerfiles(TRIVY, OUT, CACHE, 90)
    assert command[:2] == ["/bin/trivy", "config"]
    assert command[-1] == "."
    assert {"--skip-check-update", "--misconfig-scanners=dockerfile", "--skip-version-check"} <= set(command)


def test_a_report_is_written_in_other_forms() -> None:
    assert trivy.convert_report(TRIVY, OUT, "sarif", Path("/o"))[1:] == [
        "convert",
        "--quiet",
        "--format=sarif",
        "--output=/o",
        "/out.json",
    ]
    assert "--scanners=vuln,secret,misconfig" in trivy.convert_report(TRIVY, OUT, "table", Path("/o"))


def test_the_database_comes_from_trivys_own_place_or_a_mirror() -> None:
    own = trivy.download_database(TRIVY, CACHE, None, 90)
    assert "--download-db-only" in own
    assert not [each for each in own if "repository" in each]
    assert "--db-repository=m.example/db:2" in trivy.download_database(TRIVY, CACHE, "m.example/db:2", 90)


def test_variables_that_could_change_a_verdict_are_blanked_and_those_for_downloads_stay() -> None:
    given = {"TRIVY_SEVERITY": "LOW", "TRIVY_IGNOREFILE": "x", "TRIVY_USERNAME": "me", "PATH": "/bin"}
    assert trivy.blank_variables(given) == {"TRIVY_SEVERITY": "", "TRIVY_IGNOREFILE": ""}


@pytest.mark.parametrize(
    ("text", "judged"),
    [
        ("# trivy:ignore:DS-0001\nFROM a", "# trivy ignore:DS-0001\nFROM a"),
        ("#tfsec:ignore:*:exp:2030-01-01", "#tfsec ignore:*:exp:2030-01-01"),
        ("# trivy:exp:2030-01-01:ignore:*", "# trivy exp:2030-01-01:ignore:*"),
        ("FROM ghcr.io/aquasecurity/trivy:0.69.0 AS scan", "FROM ghcr.io/aquasecurity/trivy:0.69.0 AS scan"),
    ],
)
def test_comments_that_tell_trivy_to_ignore_something_tell_it_nothing(text: str, judged: str) -> None:
    assert trivy.without_ignore_comments(text) == judged


def report(*targets: str) -> dict[str, Any]:
    return {"Metadata": {"ImageID": "sha256:1", "ImageConfig": {}}, "Results": [{"Target": each} for each in targets]}


def test_image_and_dockerfile_are_one_report_without_the_images_configuration() -> None:
    whole = trivy.merge_reports([("linux/amd64", report("api (debian 13)"))], [{"Target": "services/api/Dockerfile"}])
    assert [each["Target"] for each in whole["Results"]] == ["api (debian 13)", "services/api/Dockerfile"]
    assert whole["Metadata"] == {"ImageID": "sha256:1"}
    assert "SlipwayPlatforms" not in whole


def test_results_of_several_platforms_are_told_apart() -> None:
    whole = trivy.merge_reports(
        [("linux/amd64", report("api")), ("linux/arm64", report("api"))], [{"Target": "Dockerfile"}]
    )
    assert [each["Target"] for each in whole["Results"]] == ["api [linux/amd64]", "api [linux/arm64]", "Dockerfile"]
    assert list(whole["SlipwayPlatforms"]) == ["linux/amd64", "linux/arm64"]


def test_a_report_without_results_is_still_one() -> None:
    assert trivy.merge_reports([("", {"Metadata": {}, "Results": None})], [])["Results"] == []


def test_the_predicate_holds_the_report_the_database_and_the_times() -> None:
    whole = {"Trivy": {"Version": "0.69.0"}, "Results": []}
    one, two = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    database = {"uri": "u", "version": "2", "lastUpdate": "t"}
    assert trivy.make_predicate(whole, database, one, two) == {
        "invocation": {"parameters": {"database": database}, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": "https://github.com/aquasecurity/trivy@v0.69.0",
            "version": "0.69.0",
            "db": {"uri": "u", "version": "2"},
            "result": whole,
        },
        "metadata": {"scanStartedOn": "2026-01-01T00:00:00Z", "scanFinishedOn": "2026-01-02T00:00:00Z"},
    }


def test_lists_of_several_platforms_become_one_in_which_each_thing_stands_once() -> None:
    one = {
        "bomFormat": "CycloneDX",
        "metadata": {"component": {"bom-ref": "r1", "name": "api"}},
        "components": [{"bom-ref": "a"}, {"bom-ref": "b"}],
        "dependencies": [{"ref": "r1", "dependsOn": ["a", "b"]}, {"ref": "a"}],
    }
    two = {
        "metadata": {"component": {"bom-ref": "r2", "name": "api"}},
        "components": [{"bom-ref": "b"}, {"bom-ref": "c"}],
        "dependencies": [{"ref": "r2", "dependsOn": ["c"]}, {"ref": "a", "dependsOn": ["c"]}],
    }
    whole = trivy.merge_sboms([one, two])
    assert whole["metadata"]["component"]["bom-ref"] == "r1"
    assert [each["bom-ref"] for each in whole["components"]] == ["a", "b", "r2", "c"]
    assert whole["dependencies"] == [
        {"ref": "a", "dependsOn": ["c"]},
        {"ref": "r1", "dependsOn": ["a", "b"]},
        {"ref": "r2", "dependsOn": ["c"]},
    ]
    assert trivy.merge_sboms([one]) == one


def test_spdx_lists_of_several_platforms_become_one() -> None:
    said = {"spdxElementId": "x", "relatedSpdxElement": "y", "relationshipType": "CONTAINS"}
    one = {"packages": [{"SPDXID": "x"}, {"SPDXID": "y"}], "relationships": [said]}
    two = {"packages": [{"SPDXID": "y"}, {"SPDXID": "z"}], "relationships": [said], "files": [{"SPDXID": "f"}]}
    whole = trivy.merge_sboms([one, two])
    assert [each["SPDXID"] for each in whole["packages"]] == ["x", "y", "z"]
    assert whole["relationships"] == [said]
    assert whole["files"] == [{"SPDXID": "f"}]


def bbolt(pages: int, *, magic: int = 0xED0CDAED) -> bytes:
    meta = b"\0" * 16 + META.pack(magic, 2, 4096, 0, 3, 0, 2, pages, 7, 0)
    return meta.ljust(4096, b"\0") * 2


@pytest.mark.parametrize(
    ("head", "size", "whole"),
    [
        (bbolt(10), 40960, True),
        (bbolt(10), 65536, True),
        (bbolt(10), 40959, False),
        (bbolt(10, magic=1), 40960, False),
        (bbolt(10)[:4096], 4096, False),
        (b"", 0, False),
        (b"\xff" * 8192, 8192, False),
    ],
)
def test_a_database_that_was_cut_off_or_is_none_is_told(head: bytes, size: int, whole: bool) -> None:
    assert trivy.is_complete_database(head, size) is whole
