"""What the scan needs: which images a layout holds, whether the database can be used, what a failing Trivy means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.commands.test_trivy import bbolt

from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import scan
from slipway._internal.model.errors import GateRefused

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def trivy(run_context: RunContext, script: str) -> None:
    """Let a shell script stand for Trivy."""
    program = run_context.bin / "trivy"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def database(run_context: RunContext, **about: Any) -> None:
    folder = scan.cache_folder() / "db"
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {
        "Version": 2,
        "NextUpdate": "2026-06-02T06:35:35.123456789Z",
        "UpdatedAt": "2026-06-01T06:35:35Z",
        **about,
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    (folder / "trivy.db").write_bytes(bbolt(2))


def layout(folder: Path, *manifests: dict[str, Any], **below: list[dict[str, Any]]) -> Path:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps({"manifests": manifests}))
    for digest, inside in below.items():
        (folder / "blobs" / "sha256" / digest).write_text(json.dumps({"manifests": inside}))
    return folder


def image(digest: str, architecture: str, **more: Any) -> dict[str, Any]:
    return {
        "mediaType": IMAGE,
        "digest": f"sha256:{digest}",
        "platform": {"os": "linux", "architecture": architecture, **more},
    }


def test_an_image_alone_in_its_layout_is_found(tmp_path: Path) -> None:
    one = image("1", "amd64")
    assert scan.list_images(layout(tmp_path / "one", one)) == [("linux/amd64", one)]
    bare = {"mediaType": IMAGE, "digest": "sha256:1"}
    assert scan.list_images(layout(tmp_path / "bare", bare)) == [("", bare)]


def test_the_images_of_all_platforms_are_found_and_attestations_are_none(tmp_path: Path) -> None:
    one, two = image("1", "amd64"), image("2", "arm64", variant="v8")
    attested = {**image("3", "unknown"), "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    found = layout(tmp_path / "all", {"mediaType": INDEX, "digest": "sha256:f"}, f=[one, two, attested])
    assert scan.list_images(found) == [("linux/amd64", one), ("linux/arm64/v8", two)]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"manifests": [{}]}', '{"manifests": []}'])
def test_what_is_no_layout_refuses(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(GateRefused):
        scan.list_images(tmp_path)


def test_a_database_of_today_is_usable(run_context: RunContext) -> None:
    database(run_context)
    found = scan.load_database(run_context, NOW)
    assert found.as_attested == {
        "uri": "mirror.gcr.io/aquasec/trivy-db:2",
        "version": "2",
        "lastUpdate": "2026-06-01T06:35:35Z",
    }


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"NextUpdate": "2026-06-01T12:00:00Z"}, "outdated since 2026-06-01 12:00"),
        ({"NextUpdate": "0001-01-01T00:00:00Z"}, "outdated"),
        ({"NextUpdate": "soon"}, "damaged"),
        ({"NextUpdate": None}, "damaged"),
        ({"Version": 1}, "version 1"),
        ({"Version": 3}, "version 3"),
        ({"Version": None}, "damaged"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_apart(run_context: RunContext, about: dict[str, Any], why: str) -> None:
    database(run_context, **about)
    with pytest.raises(scan.DatabaseUnavailable, match=why):
        scan.load_database(run_context, NOW)


@pytest.mark.parametrize("name", ["trivy.db", "metadata.json"])
def test_half_a_database_is_none(run_context: RunContext, name: str) -> None:
    database(run_context)
    (scan.cache_folder() / "db" / name).unlink()
    with pytest.raises(scan.DatabaseUnavailable, match="missing"):
        scan.load_database(run_context, NOW)


def test_the_cache_is_the_one_that_trivy_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("TRIVY_CACHE_DIR", "/t")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert scan.cache_folder() == Path("/t")
    monkeypatch.delenv("TRIVY_CACHE_DIR")
    assert scan.cache_folder() == Path("/x/trivy")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert scan.cache_folder() == Path.home() / ".cache" / "trivy"
    monkeypatch.setattr("sys.platform", "darwin")
    assert scan.cache_folder() == Path.home() / "Library" / "Caches" / "trivy"


@pytest.mark.parametrize(
    ("script", "what", "remedy"),
    [
        ("echo no space left; exit 1", "could not be scanned", "Read the log"),
        ("sleep 60", "did not finish within", "seconds"),
        ("exit 0", "left no report", "Read the log"),
        (
            'for each; do case $each in --output=*) echo "{}" > "${each#*=}";; esac; done',
            "empty report",
            "Read the log",
        ),
        (
            'for each; do case $each in --output=*) echo "{" > "${each#*=}";; esac; done',
            "left no report",
            "Read the log",
        ),
    ],
    ids=["fails", "hangs", "writes nothing", "writes an empty report", "writes half a report"],
)
def test_a_trivy_that_has_not_scanned_refuses(
    run_context: RunContext, monkeypatch: pytest.MonkeyPatch, script: str, what: str, remedy: str
) -> None:
    monkeypatch.setattr(scan, "TRIVY_SLACK_SECONDS", -4)
    database(run_context, NextUpdate=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    trivy(run_context, script)
    into = run_context.workspace.root / "into"
    into.mkdir()
    (into / "scan.json").write_text("of an earlier scan")
    found = layout(run_context.workspace.root / "layout", image("1", "amd64"))
    with pytest.raises(GateRefused) as caught:
        scan.scan_image(run_context, run_context.workspace.services[0], found, into)
    assert what in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.log == run_context.workspace.root / ".slipway" / "logs" / "api.scan.log"
    assert list(into.iterdir()) == []
    assert list((run_context.workspace.root / ".slipway" / "tmp").glob("*/scan-*")) == []
