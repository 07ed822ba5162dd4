"""A frontend is BuildKit's own module at the version that is asked for, with its channel's tags and its labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain import install
from slipway._internal.toolchain.dockerfile_frontend import (
    ensure_frontend_programs,
    frontend_tool,
    image_dockerfile,
)
from slipway._internal.toolchain.gomodule import build_environment
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.tool_catalog import Tool


@pytest.mark.parametrize(
    ("version", "module", "channel"),
    [
        ("1.20.0", "github.com/moby/buildkit v0.26.0", "mainline"),
        ("1.26.0-labs", "github.com/moby/buildkit v0.32.0", "labs"),
        ("1.11.1", "github.com/moby/buildkit v0.17.1", "mainline"),
    ],
)
def test_a_version_is_that_of_a_buildkit_and_its_channel_names_the_tags(
    version: str, module: str, channel: str
) -> None:
    tool = frontend_tool(version)
    assert tool.go
    assert tool.go.requires == (module,)
    assert tool.go.tags.endswith(f"release/{channel}/tags")
    assert tool.version == version and version in tool.go.ldflags


def test_it_is_the_same_bytes_wherever_it_is_built_and_go_vouches_for_its_sources() -> None:
    recipe = frontend_tool("1.99.0").go
    assert recipe
    environment = build_environment(recipe)
    assert "-trimpath" in str(environment["GOFLAGS"]).split() and environment["CGO_ENABLED"] == "0"
    assert environment["GONOSUMDB"] == "nothing.invalid" and environment["GOSUMDB"] == "sum.golang.org"
    assert recipe.architectures == ("amd64", "arm64")


def test_its_image_has_a_program_for_each_machine_and_buildkits_own_labels(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        'FROM golang AS build\nLABEL other="x"\nFROM scratch\nLABEL moby.buildkit.frontend.network.none="true"\n'
        'LABEL moby.buildkit.frontend.caps="moby.buildkit.frontend.inputs"\nCOPY --from=build /x /bin/x\n'
    )
    assert image_dockerfile(tmp_path).splitlines() == [
        "FROM scratch",
        "ARG TARGETARCH",
        'LABEL moby.buildkit.frontend.network.none="true"',
        'LABEL moby.buildkit.frontend.caps="moby.buildkit.frontend.inputs"',
        "COPY --chmod=755 dockerfile-frontend-${TARGETARCH} /bin/dockerfile-frontend",
        'ENTRYPOINT ["/bin/dockerfile-frontend"]',
    ]


def test_it_is_built_once_and_a_refused_version_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(tool: Tool, into: Path, _on_line: object) -> None:
        if tool.version != "1.99.0":
            raise ToolUnavailable("Go: the build failed: unknown revision")
        built.append(tool.version)
        for name in tool.binaries:
            (into / name).touch(0o755)

    monkeypatch.setattr(install, "install_from_go", build)
    folder = ensure_frontend_programs("1.99.0")
    assert folder.name == "1.99.0" and ensure_frontend_programs("1.99.0") == folder
    assert built == ["1.99.0"]
    with pytest.raises(SlipwayError, match=r"1\.98\.0") as missing:
        ensure_frontend_programs("1.98.0")
    assert "unknown revision" in missing.value.detail
    with pytest.raises(SlipwayError):
        ensure_frontend_programs("1.97.0", install=False)
