"""The builds' part of `invoke doctor`: which Dockerfiles name a frontend, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator

from slipway._internal.content.dockerfile import read
from slipway._internal.content.frontend import is_builders_own, own_version
from slipway._internal.content.pinning import check_frontend
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.doctor import CheckResult

NAME = "frontends"


def frontend_facts(workspace: Workspace) -> Iterator[CheckResult]:
    """Say of each Dockerfile with a `# syntax=` line who reads it; nothing where none has one."""
    own: list[str] = []
    for service in workspace.services:
        try:
            dockerfile = read(service.dockerfile)
            check_frontend(dockerfile, service.settings.args)
        except SlipwayError as error:
            yield CheckResult(NAME, False, f"{service.name}: {error.message}", error.remedy)
            continue
        if is_builders_own(dockerfile.syntax):
            own.append(service.name)
        elif dockerfile.syntax:
            yield CheckResult(NAME, True, f"{service.name}: the image {dockerfile.syntax}, which the builder pulls")
    if own:
        yield CheckResult(NAME, True, f"{', '.join(own)}: the builder's own stands in, Dockerfile {own_version()}")
