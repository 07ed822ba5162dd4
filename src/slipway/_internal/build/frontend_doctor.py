"""The builds' part of `invoke doctor`: which Dockerfiles name a frontend, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator

from slipway._internal.content.dockerfile import read
from slipway._internal.content.frontend import OWN_VERSION, is_builders_own
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.doctor import CheckResult

NAME = "frontends"


def frontend_facts(workspace: Workspace) -> Iterator[CheckResult]:
    """Say of each Dockerfile with a `# syntax=` line who reads it; nothing where none has one."""
    own: list[str] = []
    for service in workspace.services:
        try:
            syntax = read(service.dockerfile).syntax
        except SlipwayError as error:
            yield CheckResult(NAME, False, error.message, error.remedy)
            continue
        if is_builders_own(syntax):
            own.append(service.name)
        elif "@sha256:" in syntax:
            yield CheckResult(NAME, True, f"{service.name}: the image {syntax}, which the builder pulls")
        elif syntax:
            yield CheckResult(
                NAME,
                False,
                f"{service.name}: {syntax} is not pinned by digest",
                "Write `# syntax=docker/dockerfile:1`, remove the line, or pin it by digest.",
            )
    if own:
        version = ".".join(map(str, OWN_VERSION))
        yield CheckResult(NAME, True, f"{', '.join(own)}: the builder's own stands in, Dockerfile {version}")
