"""The builds' part of `invoke doctor`: who reads each service's Dockerfile."""

from __future__ import annotations

from collections.abc import Iterator

from slipway._internal.content.dockerfile import read
from slipway._internal.content.frontend import (
    FRONTEND_ARGUMENT,
    is_builders_own,
    lock_name,
    own_version,
    served_version,
)
from slipway._internal.content.pinning import check_frontend
from slipway._internal.model import bases_lock
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.doctor import CheckResult

NAME = "frontends"


def frontend_facts(workspace: Workspace) -> Iterator[CheckResult]:
    """Say of each service that is built here who reads its Dockerfile."""
    own: list[str] = []
    for service in workspace.built_services:
        try:
            dockerfile = read(service.dockerfile)
            check_frontend(dockerfile, service.settings.args)
            argument = service.settings.args.get(FRONTEND_ARGUMENT, "")
            version = "" if argument else served_version(dockerfile.syntax)
            image = _locked_image(workspace, version) if version else ""
        except SlipwayError as error:
            yield CheckResult(NAME, False, f"{service.name}: {error.message}", error.remedy)
            continue
        named = argument or dockerfile.syntax
        if version:
            where = image or "built from BuildKit's Go module by `invoke setup` or the next build"
            yield CheckResult(NAME, True, f"{service.name}: Dockerfile {version}, {where}")
        elif not named or is_builders_own(named):
            own.append(service.name)
        else:
            yield CheckResult(NAME, True, f"{service.name}: the image {named}, which the builder pulls")
    if own:
        yield CheckResult(NAME, True, f"{', '.join(own)}: the builder's own, Dockerfile {own_version()}")


def _locked_image(workspace: Workspace, version: str) -> str:
    """Return what the bases' lock has for a version; empty where there is no lock yet, or nothing in it."""
    if not bases_lock.path_of(workspace.root).is_file():
        return ""
    return bases_lock.load(workspace.root).bases.get(lock_name(version), "")
