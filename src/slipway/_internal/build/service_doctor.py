"""The services' part of `invoke doctor`: what keeps each from the gate, or from its full restrictions."""

from __future__ import annotations

from collections.abc import Iterator

from slipway._internal.content import pinning
from slipway._internal.content.digest import TEST_STAGE
from slipway._internal.content.dockerfile import read
from slipway._internal.content.dockerfile_facts import read_facts
from slipway._internal.content.service_inputs import base_argument
from slipway._internal.model.containers import SecuritySettings
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.toolchain.doctor import CheckResult


def service_facts(workspace: Workspace) -> Iterator[CheckResult]:
    """Say of each service what it lacks, with the lines to add; none of it is wrong, so each finding is `ok`."""
    for service in workspace.services:
        for found, remedy in _findings(workspace, service):
            yield CheckResult(f"service {service.name}", True, found, remedy)


def _findings(workspace: Workspace, service: Service) -> Iterator[tuple[str, str]]:
    if service.settings.image is None:
        try:
            yield from _dockerfile_findings(workspace, service)
        except SlipwayError as error:
            yield error.message, error.remedy
    yield from _lifted(service.settings.security)


def _dockerfile_findings(workspace: Workspace, service: Service) -> Iterator[tuple[str, str]]:
    dockerfile = read(service.dockerfile)
    args = {base_argument(name): ref for name, ref in workspace.settings.bases.official.items()} | service.settings.args
    facts = read_facts(dockerfile, service.settings.target, service.settings.args)
    if not dockerfile.has_stage(TEST_STAGE):
        yield (
            f"{service.dockerfile} has no stage `{TEST_STAGE}`: the gate refuses it",
            f"Add before the last stage: `FROM STAGE AS {TEST_STAGE}`, and in it `RUN` what tests it.",
        )
    if facts.is_root and facts.base_argument() not in args and service.settings.security.user is None:
        yield (
            f"{service.dockerfile} names no USER in the stage `{facts.target or 'the last'}`: it runs as root, unless "
            "its base says otherwise",
            "Add `USER 65532:65532` to it.",
        )
    try:
        pinning.check(dockerfile, service.settings.target, args=args, contexts=service.settings.libs)
    except SlipwayError as error:
        yield error.message, error.remedy


def _lifted(security: SecuritySettings) -> Iterator[tuple[str, str]]:
    lifted = []
    if not security.read_only:
        lifted.append("read-only = false")
    if security.capabilities:
        lifted.append(f"capabilities = {', '.join(security.capabilities)}")
    if security.user is not None and security.user.partition(":")[0] in ("root", "0"):
        lifted.append(f"user = {security.user}")
    if lifted:
        yield f"[security] lifts restrictions: {'; '.join(lifted)}", "Take out what it runs without."
