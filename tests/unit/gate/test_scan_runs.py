"""What the gate has Trivy do, and what it makes of what Trivy writes; Trivy itself only acts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.commands.test_trivy import bbolt
from tests.unit.gate.test_scan import INDEX, database, image, layout, trivy

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import scan
from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.run.process import ProcessResult

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def option(command: list[str], name: str) -> str:
    """Return the value of one of a command's options; empty where it has none."""
    return next((word.partition("=")[2] for word in command if word.startswith(f"--{name}=")), "")


class Acting:
    """Stands for Trivy: writes a report of what it is given, and keeps what it was asked."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.dockerfiles: dict[str, str] = {}
        self.images: list[str] = []
        self.does: Callable[[list[str]], ProcessResult | None] = lambda _command: None

    def run(self, command: list[str], *, cwd: Path, env: dict[str, str], **_: Any) -> ProcessResult:
        self.commands.append(command)
        self.environments.append(env)
        if result := self.does(command):
            return result
        output = Path(option(command, "output") or cwd / "none")
        if command[1] == "config":
            files = sorted(cwd.rglob("Dockerfile"))
            self.dockerfiles = {str(path.relative_to(cwd)): path.read_text() for path in files}
            results = [{"Target": name, "Class": "config"} for name in self.dockerfiles]
            output.write_text(json.dumps({"SchemaVersion": 2, "Results": results}))
        elif command[1] == "convert":
            output.write_text(f"as {option(command, 'format')}")
        elif option(command, "format") == "json":
            index = json.loads((cwd / option(command, "input") / "index.json").read_text())
            self.images += [manifest["digest"] for manifest in index["manifests"]]
            report = {"SchemaVersion": 2, "Trivy": {"Version": "1"}, "Metadata": {"ImageID": self.images[-1]}}
            output.write_text(json.dumps({**report, "Results": [{"Target": "api (debian)"}]}))
        elif option(command, "format") == "cyclonedx":
            output.write_text(
                json.dumps({"bomFormat": "CycloneDX", "components": [{"bom-ref": str(len(self.images))}]})
            )
        elif option(command, "format") == "spdx-json":
            output.write_text(json.dumps({"spdxVersion": "SPDX-2.3", "packages": [{"SPDXID": "a"}]}))
        return ProcessResult(0, "")


@pytest.fixture
def acting(run_context: RunContext, monkeypatch: pytest.MonkeyPatch) -> Acting:
    found = Acting()
    trivy(run_context, "exit 9")
    database(run_context, NextUpdate=TOMORROW)
    monkeypatch.setattr(scan, "run", found.run)
    monkeypatch.setenv("XDG_STATE_HOME", str(run_context.workspace.root / "state"))
    return found


def scan_api(run_context: RunContext, found: Path) -> dict[str, str]:
    into = run_context.workspace.root / "into"
    scan.scan_image(run_context, run_context.workspace.services[0], found, into)
    return {path.name: path.read_text() for path in into.iterdir()}


def test_a_scan_leaves_report_table_sarif_and_what_is_attested(run_context: RunContext, acting: Acting) -> None:
    files = scan_api(run_context, layout(run_context.workspace.root / "layout", image("1", "amd64")))
    assert sorted(files) == ["scan.json", "trivy.json", "trivy.sarif", "trivy.txt"]
    assert (files["trivy.txt"], files["trivy.sarif"]) == ("as table", "as sarif")
    report = json.loads(files["trivy.json"])
    assert [result["Target"] for result in report["Results"]] == ["api (debian)", "services/api/Dockerfile"]
    attested = json.loads(files["scan.json"])
    assert attested["scanner"]["result"] == report
    assert attested["invocation"]["parameters"]["database"]["lastUpdate"] == "2026-06-01T06:35:35Z"


def test_every_platform_of_an_image_is_scanned(run_context: RunContext, acting: Acting) -> None:
    several = layout(
        run_context.workspace.root / "layout",
        {"mediaType": INDEX, "digest": "sha256:f"},
        f=[image("1", "amd64"), image("2", "arm64")],
    )
    report = json.loads(scan_api(run_context, several)["trivy.json"])
    assert acting.images == ["sha256:1", "sha256:2"]
    assert set(report["SlipwayPlatforms"]) == {"linux/amd64", "linux/arm64"}


def test_trivys_own_settings_and_comments_hide_nothing(
    run_context: RunContext, acting: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVY_SEVERITY", "CRITICAL")
    monkeypatch.setenv("TRIVY_USERNAME", "ann")
    run_context.workspace.services[0].dockerfile.write_text("# trivy:ignore:DS002\nFROM scratch\n")
    found = scan.scan_dockerfiles(run_context, run_context.workspace.services)
    assert found == {"api": [{"Target": "services/api/Dockerfile", "Class": "config"}]}
    assert "trivy:ignore" not in acting.dockerfiles["services/api/Dockerfile"]
    (environment,) = acting.environments
    assert environment["TRIVY_SEVERITY"] == "" and "TRIVY_USERNAME" not in environment


def test_dockerfiles_that_were_looked_at_together_are_not_looked_at_again(
    run_context: RunContext, acting: Acting
) -> None:
    found = layout(run_context.workspace.root / "layout", image("1", "amd64"))
    into = run_context.workspace.root / "into"
    report = scan.scan_image(run_context, run_context.workspace.services[0], found, into, {"api": [{"Target": "seen"}]})
    assert [result["Target"] for result in report["Results"]] == ["api (debian)", "seen"]
    assert not any(command[1] == "config" for command in acting.commands)


def test_a_database_that_went_out_of_date_refuses_the_scan(run_context: RunContext, acting: Acting) -> None:
    database(run_context, NextUpdate="2026-01-01T00:00:00Z")
    with pytest.raises(GateRefused, match="outdated") as caught:
        scan_api(run_context, layout(run_context.workspace.root / "layout", image("1", "amd64")))
    assert str(scan.cache_folder() / "db") in caught.value.remedy and acting.commands == []


def test_both_lists_of_packages_cover_all_platforms_with_one_cache_for_each(
    run_context: RunContext, acting: Acting
) -> None:
    several = layout(run_context.workspace.root / "layout", image("1", "amd64"), image("2", "arm64"))
    into = run_context.workspace.root / "into"
    (scan.cache_folder() / "java-db").mkdir()
    scan.write_sboms(run_context, run_context.workspace.services[0], several, into)
    assert json.loads((into / "sbom.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    assert json.loads((into / "sbom.spdx.json").read_text())["packages"] == [{"SPDXID": "a"}]
    caches = [option(command, "cache-dir") for command in acting.commands]
    assert len(caches) == 4 and caches[0] == caches[1] != caches[2] == caches[3]


def download(acting: Acting, **about: Any) -> None:
    """Let Trivy download a database."""

    def write(command: list[str]) -> ProcessResult | None:
        if "--download-db-only" not in command:
            return None
        folder = Path(option(command, "cache-dir")) / "db"
        folder.mkdir()
        told = {"Version": 2, "NextUpdate": TOMORROW, "UpdatedAt": "2026-11-30T00:00:00Z", **about}
        (folder / "metadata.json").write_text(json.dumps(told))
        (folder / "trivy.db").write_bytes(bbolt(2))
        return ProcessResult(0, "")

    acting.does = write


def test_a_database_of_today_is_not_downloaded_again(run_context: RunContext, acting: Acting) -> None:
    assert scan.ensure_database(run_context, NullReporter(), datetime.now(UTC)).updated == "2026-06-01T06:35:35Z"
    assert acting.commands == []


def test_an_outdated_database_is_replaced_and_nothing_of_the_download_stays(
    run_context: RunContext, acting: Acting
) -> None:
    database(run_context, NextUpdate="2026-01-01T00:00:00Z")
    killed = scan.cache_folder() / ".slipway-new-killed"
    killed.mkdir()
    download(acting)
    found = scan.ensure_database(run_context, NullReporter(), datetime.now(UTC))
    assert found.updated == "2026-11-30T00:00:00Z"
    assert [path.name for path in scan.cache_folder().iterdir()] == ["db"]


@pytest.mark.parametrize("problem", ["refused", "interrupted", "outdated"])
def test_where_no_database_of_today_can_be_had_nothing_is_scanned(
    run_context: RunContext, acting: Acting, problem: str
) -> None:
    database(run_context, NextUpdate="2026-01-01T00:00:00Z")

    def fail(_command: list[str]) -> ProcessResult:
        if problem == "interrupted":
            raise SlipwayError("trivy did not finish")
        return ProcessResult(1, "no such host")

    if problem == "outdated":
        download(acting, NextUpdate="2026-01-02T00:00:00Z")
    else:
        acting.does = fail
    with pytest.raises(GateRefused, match="outdated") as caught:
        scan.ensure_database(run_context, NullReporter(), datetime.now(UTC))
    said = {"refused": "no such host", "interrupted": "did not finish", "outdated": ""}[problem]
    assert said in caught.value.detail
    assert "[scan]" in caught.value.remedy


def test_without_a_scanner_nothing_is_scanned(run_context: RunContext, acting: Acting) -> None:
    (run_context.bin / "trivy").unlink()
    with pytest.raises(GateRefused, match="not installed"):
        scan.ensure_database(run_context, NullReporter(), datetime.now(UTC))


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("unable to initialize the Java DB", "--download-java-db-only"),
        ("context deadline exceeded", "`seconds` under [gate]"),
        ("no space left on device", "log"),
    ],
)
def test_a_failing_trivys_remedy_fits_its_words(
    run_context: RunContext, acting: Acting, output: str, remedy: str
) -> None:
    acting.does = lambda _command: ProcessResult(1, output)
    with pytest.raises(GateRefused) as caught:
        scan_api(run_context, layout(run_context.workspace.root / "layout", image("1", "amd64")))
    assert remedy in caught.value.remedy and output in caught.value.detail
