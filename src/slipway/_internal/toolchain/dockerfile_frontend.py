"""BuildKit's Dockerfile frontend as a program, built from BuildKit's own Go module at the version that is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from slipway._internal.toolchain.install import provide_tool
from slipway._internal.toolchain.tool_catalog import FRONTEND_TOOL, GoModule, Tool, find_tool

ARCHITECTURES = ("amd64", "arm64")
"""The machines that it is built for: the image is the same for everyone, whichever his builder runs on."""
MODULE = "github.com/moby/buildkit"
SOURCE = "frontend/dockerfile/cmd/dockerfile-frontend"
MINOR_OFFSET = 6
"""Dockerfile 1.N.0 is the frontend of BuildKit 0.(N+6).0: so it has been from 1.3 on."""
UPSTREAM_DOCKERFILE = "Dockerfile"

OnLine = Callable[[str], None]


def frontend_tool(version: str) -> Tool:
    """Return how a frontend is built: `1.99.0`, or `1.99.0-labs` with what that channel has beyond the stable one.

    The same Go gives the same bytes on every machine. Go's checksum database vouches for the sources.
    """
    number, _, channel = version.partition("-")
    _, minor, patch = number.split(".")
    programs = tuple(f"{FRONTEND_TOOL}-{architecture}" for architecture in ARCHITECTURES)
    buildkit = find_tool("buildkit").go
    assert buildkit
    return Tool(
        FRONTEND_TOOL,
        version,
        (*programs, UPSTREAM_DOCKERFILE),
        go=GoModule(
            buildkit.go,
            (f"{MODULE} v0.{int(minor) + MINOR_OFFSET}.{patch}",),
            {f"{MODULE}/{SOURCE}": FRONTEND_TOOL},
            f"-X main.Version={version}",
            {
                "CGO_ENABLED": "0",
                "GOAMD64": "v1",
                "GOARM64": "v8.0",
                "GOFLAGS": "-buildvcs=false -modcacherw -trimpath",
            },
            extra={UPSTREAM_DOCKERFILE: f"{MODULE} {SOURCE}/Dockerfile"},
            architectures=ARCHITECTURES,
            tags=f"{MODULE} frontend/dockerfile/release/{channel or 'mainline'}/tags",
        ),
    )


def ensure_frontend_programs(version: str, *, install: bool = True, on_line: OnLine | None = None) -> Path:
    """Return the folder that holds the frontend's program for each architecture, building them where they are missing.

    Raises:
        SlipwayError: they could not be built; the reasons are in its detail.
    """
    return provide_tool(frontend_tool(version), install=install, on_line=on_line).parent


def image_dockerfile(programs: Path) -> str:
    """Return the Dockerfile of a frontend's image, whose context is that folder.

    The labels, by which BuildKit knows what a frontend can do, are those of BuildKit's own image of it.
    """
    upstream = (programs / UPSTREAM_DOCKERFILE).read_text(encoding="utf-8")
    labels = re.findall(r"^LABEL moby\.buildkit\.frontend\..*$", upstream, re.MULTILINE)
    copy = f"COPY --chmod=755 {FRONTEND_TOOL}-${{TARGETARCH}} /bin/{FRONTEND_TOOL}"
    return "\n".join(["FROM scratch", "ARG TARGETARCH", *labels, copy, f'ENTRYPOINT ["/bin/{FRONTEND_TOOL}"]', ""])
