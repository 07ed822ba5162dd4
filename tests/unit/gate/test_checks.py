"""What a service has to pass: steps that passed are not repeated, none is skipped, and no result is believed alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.build import build
from slipway._internal.build.build import BuildPlan
from slipway._internal.commands import junit, provenance
from slipway._internal.content.digest import BuildInputs, content_digest
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import checks
from slipway._internal.gate.checks import FILE_BY_KIND
from slipway._internal.gate.scan import Database, DockerfileResults
from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.model.workspace import load_workspace

TODAY = date(2026, 11, 23)
DIGEST = f"sha256:{'d' * 64}"
DATABASE = Database(Path("db"), "mirror/db:2", "2026-11-23T06:00:00Z", datetime(2026, 11, 24, tzinfo=UTC))
METADATA = {"api": {provenance.METADATA_KEY: {"buildType": "buildkit", "materials": [{"uri": "pkg:docker/base"}]}}}
CLEAN: dict[str, Any] = {
    "SchemaVersion": 2,
    "ArtifactName": "api",
    "ArtifactType": "container_image",
    "Metadata": {"ImageID": "sha256:1", "OS": {"Family": "debian", "Name": "13"}},
    "Results": [
        {"Target": "api", "Class": "os-pkgs", "Packages": [{"Name": "a"}]},
        {"Target": "Dockerfile", "Class": "config", "MisconfSummary": {"Successes": 1, "Failures": 0}},
    ],
}
HOLE = {
    "VulnerabilityID": "CVE-2026-1",
    "PkgName": "a",
    "InstalledVersion": "1",
    "FixedVersion": "2",
    "Severity": "CRITICAL",
}
BROKEN = {**CLEAN, "Results": [{**CLEAN["Results"][0], "Vulnerabilities": [HOLE]}, CLEAN["Results"][1]]}
PASSED = '<testsuites><testcase name="one"/></testsuites>'
FAILED = '<testsuites><testcase name="one"/><testcase name="two"><failure/></testcase></testsuites>'


@pytest.fixture
def run_context(tmp_path: Path) -> RunContext:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    service = tmp_path / "services" / "api"
    service.mkdir(parents=True)
    (service / "service.toml").write_text('kind = "worker"\n')
    (service / "Dockerfile").write_text("FROM scratch AS build\nFROM build AS test\nFROM build AS run\n")
    return RunContext(load_workspace(tmp_path), tmp_path / "bin", {})


@pytest.fixture
def api(run_context: RunContext) -> BuildPlan:
    service = run_context.workspace.service("api")
    inputs = BuildInputs(service.dockerfile, service.folder)
    content = content_digest(inputs)
    layout_path = build.layout_folder(run_context.workspace, "api", content)
    return BuildPlan(service, inputs, content, f"127.0.0.1:5000/shop/api:h-{content}", layout_path, None, {})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the tools, in order; each of them does what it should."""
    steps: list[str] = []

    def scanned(
        context: RunContext, service: Any, layout: Path, into: Path, dockerfile_results: object
    ) -> Mapping[str, Any]:
        steps.append("scan")
        (into / "trivy.json").write_text(json.dumps(CLEAN))
        (into / "scan.json").write_text(json.dumps({"scanner": {"db": DATABASE.as_attested}}))
        return CLEAN

    def listed(context: RunContext, service: Any, layout: Path, into: Path) -> None:
        steps.append("sbom")
        for file in ("sbom.cdx.json", "sbom.spdx.json"):
            (into / file).write_text("{}")

    monkeypatch.setattr(checks.bake_runner, "run_bake", baked(steps, {"junit.xml": PASSED}))
    monkeypatch.setattr(checks.scan, "scan_image", scanned)
    monkeypatch.setattr(checks.scan, "write_sboms", listed)
    monkeypatch.setattr(checks.registry, "verify_layout", lambda _layout: DIGEST)
    return steps


def baked(steps: list[str], reports: Mapping[str, str]) -> Callable[..., None]:
    """Return a bake that does what its definition says: a layout, a report, the metadata."""

    def carry_out(
        run_context: RunContext, followed: Sequence[str], report: object, made: Any, environment: Mapping[str, str]
    ) -> None:
        assert environment == {"BUILDX_METADATA_PROVENANCE": "max"}
        definition, command = made({}, Path("buildx"), Path("file"))
        targets = definition["target"]
        assert set(followed) == set(targets), (
            "the steps of all targets are followed, also of those behind the named ones"
        )
        names = [name for name in followed if not name.endswith("_test")]
        assert command[-len(names) :] == names
        steps.append("+".join(names))
        for name in names:
            fields = dict(each.split("=", 1) for each in targets[name]["output"][0].split(",") if "=" in each)
            dest = Path(fields["dest"])
            dest.mkdir(parents=True)
            if fields["type"] == "oci":
                (dest / "index.json").write_text("{}")
            else:
                for file, text in reports.items():
                    (dest / file).write_text(text)
        metadata = next(word.partition("=")[2] for word in command if word.startswith("--metadata-file="))
        Path(metadata).write_text(json.dumps(METADATA))

    return carry_out


def judged() -> Future[DockerfileResults]:
    future: Future[DockerfileResults] = Future()
    future.set_result({"api": []})
    return future


def prove(run_context: RunContext, each: BuildPlan) -> checks.GateResult:
    return checks.run_checks(run_context, each, NullReporter(), DATABASE, judged(), TODAY)


def folder(run_context: RunContext) -> Path:
    """Return the folder with the results of the one content that there is."""
    [found] = (run_context.workspace.root / ".slipway" / "gate" / "api").iterdir()
    return found


def test_a_service_passes_every_step_and_each_leaves_its_result(
    run_context: RunContext, api: BuildPlan, asked: list[str]
) -> None:
    found = prove(run_context, api)
    assert asked == ["api+api_report", "scan", "sbom"]
    assert (found.digest, found.folder) == (DIGEST, folder(run_context))
    assert found.files == {kind: folder(run_context) / file for kind, file in FILE_BY_KIND.items()}
    assert all(path.is_file() for path in found.files.values())
    assert json.loads((folder(run_context) / "tests.json").read_text())["passedTests"] == ["one"]
    assert json.loads((folder(run_context) / "provenance.json").read_text())["materials"] == [
        {"uri": "pkg:docker/base"}
    ]
    assert not list((run_context.workspace.root / ".slipway" / "oci").glob(".new-*"))
    assert checks.require_passed(run_context, api, TODAY) == found


def test_what_has_passed_is_not_repeated(run_context: RunContext, api: BuildPlan, asked: list[str]) -> None:
    prove(run_context, api)
    asked.clear()
    prove(run_context, api)
    assert asked == []


@pytest.mark.parametrize(
    ("lost", "repeated"),
    [
        ("tests.json", ["api_report"]),
        ("provenance.json", ["api", "scan", "sbom"]),
        ("scan.json", ["scan"]),
        ("sbom.spdx.json", ["sbom"]),
    ],
)
def test_only_the_step_whose_result_is_lost_is_repeated(
    run_context: RunContext, api: BuildPlan, asked: list[str], lost: str, repeated: list[str]
) -> None:
    prove(run_context, api)
    (folder(run_context) / lost).unlink()
    asked.clear()
    prove(run_context, api)
    assert asked == repeated
    assert (folder(run_context) / lost).is_file()


def test_what_was_found_in_other_bytes_of_the_same_content_does_not_count(
    run_context: RunContext, api: BuildPlan, asked: list[str]
) -> None:
    prove(run_context, api)
    (api.layout / "index.json").unlink()
    asked.clear()
    prove(run_context, api)
    assert asked == ["api", "scan", "sbom"]


def test_another_database_is_a_reason_to_scan_again(run_context: RunContext, api: BuildPlan, asked: list[str]) -> None:
    prove(run_context, api)
    asked.clear()
    newer = replace(DATABASE, updated="2026-11-23T12:00:00Z")
    checks.run_checks(run_context, api, NullReporter(), newer, judged(), TODAY)
    assert asked == ["scan"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scanner": {}}', '{"scanner": "trivy"}'])
def test_a_scan_that_does_not_say_its_database_is_repeated(
    run_context: RunContext, api: BuildPlan, asked: list[str], text: str
) -> None:
    prove(run_context, api)
    (folder(run_context) / "scan.json").write_text(text)
    asked.clear()
    prove(run_context, api)
    assert asked == ["scan"]


def test_what_was_scanned_before_is_judged_by_todays_policy(
    run_context: RunContext, api: BuildPlan, asked: list[str]
) -> None:
    prove(run_context, api)
    (folder(run_context) / "trivy.json").write_text(json.dumps(BROKEN))
    with pytest.raises(GateRefused, match="api"):
        prove(run_context, api)
    with pytest.raises(GateRefused):
        checks.require_passed(run_context, api, TODAY)
    text = '\n[[scan.exceptions]]\nid = "CVE-2026-1"\nuntil = 2026-11-23\nreason = "none"\n'
    with (run_context.workspace.root / "workspace.toml").open("a") as file:
        file.write(text)
    excepting = replace(run_context, workspace=load_workspace(run_context.workspace.root))
    assert checks.require_passed(excepting, api, TODAY)
    with pytest.raises(GateRefused):
        checks.require_passed(excepting, api, date(2026, 11, 24))


def test_an_image_that_changes_while_it_is_scanned_does_not_pass(
    run_context: RunContext, api: BuildPlan, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = iter([DIGEST, f"sha256:{'e' * 64}"])
    monkeypatch.setattr(checks.registry, "verify_layout", lambda _layout: next(digests))
    with pytest.raises(GateRefused, match="was changed while it was scanned"):
        prove(run_context, api)


@pytest.mark.parametrize("lost", [*FILE_BY_KIND.values(), "the image"])
def test_the_steps_after_want_every_step_before(
    run_context: RunContext, api: BuildPlan, asked: list[str], lost: str
) -> None:
    prove(run_context, api)
    (api.layout / "index.json" if lost == "the image" else folder(run_context) / lost).unlink()
    with pytest.raises(GateRefused, match="api has not passed") as caught:
        checks.require_passed(run_context, api, TODAY)
    assert "invoke ship" in caught.value.remedy
    assert lost == "the image" or lost in caught.value.detail


def test_without_a_test_stage_nothing_is_built(run_context: RunContext, api: BuildPlan, asked: list[str]) -> None:
    api.service.dockerfile.write_text("FROM scratch AS build\nFROM build AS tests\n")
    with pytest.raises(GateRefused, match="no stage `test`") as caught:
        prove(run_context, api)
    assert "FROM build AS test" in caught.value.remedy
    assert asked == []


def test_sources_that_change_while_they_are_built_do_not_pass(
    run_context: RunContext, api: BuildPlan, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bake = checks.bake_runner.run_bake

    def edited(*words: Any) -> None:
        bake(*words)
        with api.service.dockerfile.open("a") as file:
            file.write("# a thought\n")

    monkeypatch.setattr(checks.bake_runner, "run_bake", edited)
    with pytest.raises(SlipwayError, match="api: its sources changed during the build"):
        prove(run_context, api)
    assert not api.is_built and not list(folder(run_context).iterdir())


def test_tests_that_fail_are_kept_and_so_is_nothing_else(
    run_context: RunContext, api: BuildPlan, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_words: object) -> None:
        raise GateRefused("api did not pass its tests: step [test 8/8] failed", detail="assert 1 == 2")

    monkeypatch.setattr(checks.bake_runner, "run_bake", fail)
    with pytest.raises(GateRefused, match="did not pass its tests"):
        prove(run_context, api)
    text = (folder(run_context) / "junit.xml").read_text(encoding="utf-8")
    assert junit.parse(text).failed == ("api.test stage",) and "assert 1 == 2" in text
    assert [path.name for path in folder(run_context).iterdir()] == ["junit.xml"]
    assert not api.is_built


def test_a_build_that_fails_leaves_no_results(
    run_context: RunContext, api: BuildPlan, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_words: object) -> None:
        raise SlipwayError("api could not be built")

    monkeypatch.setattr(checks.bake_runner, "run_bake", fail)
    with pytest.raises(SlipwayError, match="could not be built") as caught:
        prove(run_context, api)
    assert not isinstance(caught.value, GateRefused)
    assert not list(folder(run_context).iterdir())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (FAILED, "names 1 failed tests"),
        ("<html/>", "cannot be read"),
        ("", "cannot be read"),
        ("<testsuites />", "no test that passed"),
    ],
)
def test_a_report_that_does_not_say_that_all_passed_refuses_though_the_stage_ended_well(
    run_context: RunContext, api: BuildPlan, asked: list[str], monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.setattr(checks.bake_runner, "run_bake", baked(asked, {"junit.xml": text}))
    for _ in range(2):  # the next run does not take it for passed either
        with pytest.raises(GateRefused, match=says):
            prove(run_context, api)
    assert (folder(run_context) / "junit.xml").read_text() == text
    assert not (folder(run_context) / "tests.json").exists()
    assert "scan" not in asked


def test_a_stage_without_a_report_is_one_test_that_passed(
    run_context: RunContext, api: BuildPlan, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.bake_runner, "run_bake", baked(asked, {}))
    prove(run_context, api)
    assert junit.parse((folder(run_context) / "junit.xml").read_text()).passed == ("api.test stage",)


def test_every_report_that_a_stage_leaves_counts(
    run_context: RunContext, api: BuildPlan, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.bake_runner, "run_bake", baked(asked, {"junit-1.xml": PASSED, "junit-2.xml": FAILED}))
    with pytest.raises(GateRefused, match="failed tests"):
        prove(run_context, api)


def test_tests_alone_build_no_image_and_run_again_whatever_they_said(
    run_context: RunContext, api: BuildPlan, asked: list[str]
) -> None:
    for _ in range(2):
        checks.rerun_tests(run_context, api, NullReporter())
    assert asked == ["api_report", "api_report"]
    assert not api.is_built and not (folder(run_context) / "provenance.json").exists()


def test_a_scan_alone_is_repeated_and_gives_its_table(
    run_context: RunContext, api: BuildPlan, asked: list[str]
) -> None:
    prove(run_context, api)
    (folder(run_context) / "trivy.txt").write_text("a table")
    asked.clear()
    assert checks.rescan(run_context, api, NullReporter(), DATABASE, TODAY) == "a table"
    assert asked == ["scan"]


def test_what_was_not_built_here_is_not_scanned(
    run_context: RunContext, api: BuildPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.build, "plan_builds", lambda *_: [replace(api, pushed_digest=DIGEST)])
    with pytest.raises(GateRefused, match="not built here") as caught:
        checks.require_built(run_context, [api.service])
    assert "--local" in caught.value.remedy
