"""A bake definition says exactly what decides an image, and its command allows exactly what that names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.commands import bake
from slipway._internal.content.digest import BuildInputs
from slipway._internal.model.names import DNS_LABEL
from slipway._internal.model.workspace import CacheMode

PIN = "@sha256:" + "a" * 64
INPUTS = BuildInputs(
    dockerfile=Path("/w/services/api/Dockerfile"),
    context=Path("/w/services/api"),
    contexts={"common": Path("/w/libs/common")},
    target="run",
    platforms=("linux/amd64",),
    args={"B": "2", "A": "1"},
    bases={"PYTHON_RUN": f"r/x{PIN}"},
)
LOCAL = bake.BakeTarget("api", INPUTS, ("127.0.0.1:5000/demo/api:h-1",), {"ca": Path("/w/.slipway/run/ca")})
REMOTE = bake.BakeTarget("web", INPUTS, ("ghcr.io:443/acme/web:h-2@sha256:x",))


def of(target: bake.BakeTarget, output: str = "oci", stage: str | None = None) -> dict[str, Any]:
    return bake.make_definition([target], output, Path("/w/.slipway/oci"), stage)["target"][target.service]


def test_a_target_holds_all_that_decides_the_image() -> None:
    assert of(LOCAL) == {
        "context": "/w/services/api",
        "contexts": {"common": "/w/libs/common"},
        "dockerfile": "/w/services/api/Dockerfile",
        "target": "run",
        "args": {"A": "1", "B": "2", "PYTHON_RUN": f"r/x{PIN}", "SOURCE_DATE_EPOCH": bake.SOURCE_DATE_EPOCH},
        "platforms": ["linux/amd64"],
        "tags": ["127.0.0.1:5000/demo/api:h-1"],
        "secret": ["id=ca,src=/w/.slipway/run/ca"],
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
        "output": [
            "type=oci,dest=/w/.slipway/oci/api,tar=false,rewrite-timestamp=true,oci-mediatypes=true,compression=gzip,compression-level=1"
        ],
    }


def test_the_definition_is_json_and_the_same_each_time() -> None:
    first = json.dumps(bake.make_definition([LOCAL, REMOTE], "oci", Path("/o")))
    assert json.loads(first)["target"].keys() == {"api", "web"}
    assert json.dumps(bake.make_definition([LOCAL, REMOTE], "oci", Path("/o"))) == first


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "registry",
            "type=image,rewrite-timestamp=true,oci-mediatypes=true,compression=gzip,compression-level=1,push=true",
        ),
        ("none", "type=cacheonly"),
    ],
)
def test_results_go_where_they_are_asked_to(output: str, expected: str) -> None:
    assert of(LOCAL, output)["output"] == [expected]


def test_an_unknown_output_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="no such output"):
        of(LOCAL, "floppy")


def test_a_stage_may_be_built_in_the_targets_place() -> None:
    assert of(LOCAL, "none", "test")["target"] == "test"
    last = bake.BakeTarget("x", BuildInputs(Path("/d"), Path("/c")))
    assert "target" not in of(last)


def test_a_registry_elsewhere_keeps_the_cache_and_one_on_this_machine_does_not() -> None:
    assert "cache-from" not in of(LOCAL)
    found = of(REMOTE)
    assert found["cache-from"] == ["type=registry,ref=ghcr.io:443/acme/web_cache:linux-amd64"]
    kept = "mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true"
    assert found["cache-to"] == [f"type=registry,ref=ghcr.io:443/acme/web_cache:linux-amd64,{kept}"]
    assert "cache-to" not in of(REMOTE, "none", "test")


@pytest.mark.parametrize(
    ("registry", "cache", "reads", "writes"),
    [
        ("127.0.0.1:5000", "auto", False, False),
        ("127.0.0.1:5000", "registry", True, True),
        ("ghcr.io", "auto", True, True),
        ("ghcr.io", "read", True, False),
        ("ghcr.io", "off", False, False),
    ],
)
def test_the_setting_says_who_reads_and_writes_the_cache(
    registry: str, cache: CacheMode, reads: bool, writes: bool
) -> None:
    found = bake.layer_cache_options([f"{registry}/a/b:t"], ["linux/amd64"], cache, writing=True)
    assert ("cache-from" in found, "cache-to" in found) == (reads, writes)


def test_each_platform_has_a_cache_and_a_build_for_several_only_reads() -> None:
    found = bake.layer_cache_options(["ghcr.io/a/b:t"], ["linux/arm64", "linux/arm/v7"], writing=True)
    assert found == {
        "cache-from": [f"type=registry,ref=ghcr.io/a/b_cache:linux-{name}" for name in ("arm-v7", "arm64")]
    }


def test_several_platforms_are_a_target_each_which_a_builder_of_its_own_can_take() -> None:
    several = replace(REMOTE, inputs=replace(INPUTS, platforms=("linux/arm64", "linux/amd64", "linux/arm/v7")))
    names = ["web_for-linux-amd64", "web_for-linux-arm-v7", "web_for-linux-arm64"]
    assert bake.target_names([several, LOCAL]) == [*names, "api"]
    found: dict[str, Any] = bake.make_definition([several], "oci", Path("/o"))["target"]
    assert list(found) == names
    assert [each["platforms"] for each in found.values()] == [["linux/amd64"], ["linux/arm/v7"], ["linux/arm64"]]
    assert found[names[2]]["output"][0].startswith("type=oci,dest=/o/web_for-linux-arm64,tar=false,")
    assert found[names[2]]["cache-to"][0].startswith("type=registry,ref=ghcr.io:443/acme/web_cache:linux-arm64,")
    assert {bake.service_of(name) for name in names} == {"web"}
    assert bake.argv(Path("b"), Path("f"), "s", [several])[-3:] == names


def test_what_would_be_an_expression_or_a_field_is_quoted() -> None:
    inputs = BuildInputs(Path("/a${b}/Dockerfile"), Path("/a${b}"), args={"A": "${HOME} %{if} $x"})
    found = of(bake.BakeTarget("x", inputs, (), {"s": Path('/with,comma/and"quote')}))
    assert found["args"]["A"] == "$${HOME} %%{if} $x"
    assert found["context"] == "/a$${b}"
    assert found["secret"] == ['id=s,"src=/with,comma/and""quote"']


def test_a_services_own_epoch_does_not_win() -> None:
    inputs = BuildInputs(Path("/d"), Path("/c"), args={"SOURCE_DATE_EPOCH": "7"})
    assert of(bake.BakeTarget("x", inputs))["args"] == {"SOURCE_DATE_EPOCH": bake.SOURCE_DATE_EPOCH}


def test_the_epoch_is_one_that_zip_files_can_hold() -> None:
    assert int(bake.SOURCE_DATE_EPOCH) >= 315_532_800


def test_the_command_allows_what_is_read_and_no_more() -> None:
    found = bake.argv(Path("/t/docker-buildx"), Path("/w/b.json"), "slipway", [LOCAL, REMOTE])
    assert found == [
        "/t/docker-buildx",
        "bake",
        "--builder=slipway",
        "--file=/w/b.json",
        "--progress=rawjson",
        "--allow=fs.read=/w/.slipway/run/ca",
        "--allow=fs.read=/w/libs/common",
        "--allow=fs.read=/w/services/api",
        "api",
        "web",
    ]
    assert "--allow=fs.write=/o" in bake.argv(Path("b"), Path("f"), "s", [LOCAL], oci_dir=Path("/o"))


def test_no_secrets_value_is_anywhere(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush")
    target = bake.BakeTarget("x", INPUTS, (), {"token": tmp_path / "token"})
    assert "hush" not in json.dumps(of(target)) + repr(bake.argv(Path("b"), Path("f"), "s", [target]))


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("127.0.0.1:5000/demo/api:h-1", "127.0.0.1:5000/demo/api"),
        ("ghcr.io/acme/web", "ghcr.io/acme/web"),
        (f"host:1/a/b:t{PIN}", "host:1/a/b"),
        ("python:3", "python"),
    ],
)
def test_a_repository_is_a_reference_without_tag_and_digest(ref: str, expected: str) -> None:
    assert bake.repository_of(ref) == expected
    assert not re.search(r"@", bake.repository_of(ref))


def test_the_tests_are_run_by_fetching_the_file_that_they_write() -> None:
    assert bake.make_test_definition([LOCAL], Path("/w/.slipway/oci/.new-1/reports")) == {
        "api_test": {
            "context": "/w/services/api",
            "contexts": {"common": "/w/libs/common"},
            "dockerfile": "/w/services/api/Dockerfile",
            "target": "test",
            "args": {"A": "1", "B": "2", "PYTHON_RUN": f"r/x{PIN}", "SOURCE_DATE_EPOCH": bake.SOURCE_DATE_EPOCH},
            "platforms": ["linux/amd64"],
            "tags": ["127.0.0.1:5000/demo/api:h-1"],
            "secret": ["id=ca,src=/w/.slipway/run/ca"],
            "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
            "output": ["type=cacheonly"],
        },
        "api_report": {
            "context": "/w/services/api",
            "contexts": {"tests": "target:api_test"},
            "dockerfile-inline": "FROM scratch\nCOPY --from=tests /tmp/junit*.xml /\n",
            "platforms": ["linux/amd64"],
            "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
            "output": ["type=local,dest=/w/.slipway/oci/.new-1/reports/api"],
        },
    }


def test_tests_are_never_written_to_a_registrys_cache() -> None:
    stage = bake.make_test_definition([REMOTE], Path("/r"))["web_test"]
    assert "cache-to" not in stage
    assert stage["cache-from"] == ["type=registry,ref=ghcr.io:443/acme/web_cache:linux-amd64"]


def test_each_target_of_a_definition_is_one_services_and_no_service_has_such_a_name() -> None:
    found = bake.make_test_definition([LOCAL, REMOTE], Path("/r"))
    assert {name: bake.service_of(name) for name in found} == {
        "api_test": "api",
        "api_report": "api",
        "web_test": "web",
        "web_report": "web",
    }
    assert bake.service_of("team-api") == "team-api"
    assert bake.report_target_names([LOCAL, REMOTE]) == ["api_report", "web_report"]
    assert set(bake.report_target_names([LOCAL, REMOTE])) <= set(found)
    assert not any(DNS_LABEL.fullmatch(name) for name in found)


def test_without_platforms_the_builders_own_is_taken() -> None:
    alone = bake.BakeTarget("x", BuildInputs(Path("/d"), Path("/c")))
    assert not [
        name for name, target in bake.make_test_definition([alone], Path("/r")).items() if "platforms" in target
    ]


def test_a_report_goes_to_a_path_that_may_hold_anything() -> None:
    report = bake.make_test_definition([bake.BakeTarget("x", INPUTS)], Path("/a,b${c}"))["x_report"]
    assert report["output"] == ['type=local,"dest=/a,b$${c}/x"']


def test_the_command_can_build_other_targets_and_keep_what_was_built_and_how() -> None:
    found = bake.argv(
        Path("buildx"), Path("f"), "s", [LOCAL], chosen=["api", "api_report"], metadata=Path("/w/new/metadata.json")
    )
    assert found[-2:] == ["api", "api_report"]
    assert "--metadata-file=/w/new/metadata.json" in found
    assert not any(word.startswith("--metadata-file") for word in bake.argv(Path("b"), Path("f"), "s", [LOCAL]))


def test_what_somebody_works_on_is_pushed_by_digest_alone_and_its_layers_stay_as_they_were_made() -> None:
    target = of(LOCAL, "dev")
    [output] = target["output"]
    assert output.startswith(bake.DEV_EXPORT) and output.endswith("name=127.0.0.1:5000/demo/api")
    assert "tags" not in target and "rewrite" not in output
    assert target["args"] == of(LOCAL)["args"]
    remote = of(REMOTE, "dev")
    assert remote["cache-from"] and "cache-to" not in remote
