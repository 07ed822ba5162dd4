"""Prepares the environment: Docker engine, registry, builder, tools and bases, started or installed where missing."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from slipway._internal.build.bases import ensure_bases
from slipway._internal.context.reporter import Reporter, ToolLineReporter
from slipway._internal.context.run_context import RunContext, current_environment, tools_folder
from slipway._internal.insight.run_recorder import phase
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError, GateRefused, SlipwayError
from slipway._internal.model.files import write_atomically
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import credentials, process_environment
from slipway._internal.run.state import pulumi_home
from slipway._internal.toolchain import builder, daemons, docker_daemon, platforms
from slipway._internal.toolchain.install import link_tools
from slipway._internal.toolchain.kubernetes_plugin import ensure_kubernetes_plugin
from slipway._internal.toolchain.tool_catalog import TOOLS_FILE, find_tool

TOOLS = ("pulumi", "pulumi-language-python", "pulumi-resource-docker-build", "docker-buildx", "crane")
SCANNER, SIGNER = "trivy", "cosign"
KUBERNETES_TOOLS = ("kubectl",)
"""What is needed where a stack runs on a cluster."""
JOB_TOOLS = ("job-runner",)
"""What is needed where a job runs on a Docker engine."""


@phase("look what is there")
def prepare_environment(
    workspace: Workspace,
    reporter: Reporter,
    *,
    building: bool,
    install: bool = True,
    fresh: bool = False,
    preview: bool = False,
    gate: Sequence[str] = (),
    stack: Stack | None = None,
) -> RunContext:
    """Bring up what is missing for a deploy and, if `building`, for builds; nothing is done twice.

    Args:
        workspace: the workspace.
        reporter: told what is installed or started, before it is.
        building: whether images will be built: a mode without builds needs, and contacts, no builder.
        install: False refuses to install or start anything, and says what to do by hand.
        fresh: build hardened bases again although they are there.
        preview: no service is built: frontends that its Dockerfile asks for are not, either.
        gate: the gate's tools that are needed, too.
        stack: the stack that this is for; without it, all that the workspace has.

    Raises:
        GateRefused: one of the gate's tools is missing and could not be had.
        SlipwayError: something else is.
    """
    credentials.check_logins(workspace)
    targets = stack_targets(workspace, stack)
    if "docker" in targets or (building and not builder.runs_as_process()):
        docker_daemon.ensure_engine(
            install=install, on_line=ToolLineReporter(reporter)
        )  # first: a wrong DOCKER_HOST is said at once
    prepare_tools(workspace, reporter, install=install)
    if "docker" in targets and any(service.settings.job for service in workspace.services):
        prepare_tools(workspace, reporter, JOB_TOOLS, install=install)
    if "kubernetes" in targets:
        prepare_tools(workspace, reporter, KUBERNETES_TOOLS, install=install)
        ensure_kubernetes_plugin(
            tools_folder(workspace),
            pulumi_home(workspace.project),
            install=install,
            on_line=ToolLineReporter(reporter),
        )
    try:
        if gate:
            prepare_tools(workspace, reporter, gate, install=install)
    except SlipwayError as error:
        raise GateRefused(error.message, remedy=error.remedy, detail=error.detail, log=error.log) from error
    daemons.ensure_registry(workspace, install=install, on_line=ToolLineReporter(reporter))
    context = current_environment(workspace)
    if building or not has_bases(workspace):
        builder.ensure_builder(install=install, on_line=ToolLineReporter(reporter))
        platforms.ensure_platforms(workspace, install=install, on_line=ToolLineReporter(reporter))
        ensure_bases(workspace, context, reporter, install=install, fresh=fresh, preview=preview or not building)
    return context


def stack_targets(workspace: Workspace, stack: Stack | None) -> set[str]:
    """Return where a stack runs; without one, where all stacks of the workspace do."""
    if stack:
        return {stack.target}
    targets: set[str] = set()
    for name in stacks.names(workspace.root):
        with suppress(ConfigError):  # what is wrong with a stack is told by the commands that are for it
            targets.add(stacks.load(workspace.root, name, {}).target)
    return targets or {"docker"}


def required_gate_tools(stack: Stack) -> tuple[str, ...]:
    """Return which of the gate's tools a deploy needs: a protected stack takes only what is proven."""
    return (SIGNER,) if stack.protected else ()


def has_bases(workspace: Workspace) -> bool:
    from slipway._internal.model import bases_lock

    return bases_lock.path_of(workspace.root).is_file()


def prepare_tools(workspace: Workspace, reporter: Reporter, tools: Sequence[str] = TOOLS, *, install: bool) -> None:
    """Get tools and link them into .slipway/bin, once for each state of tools.toml."""
    folder = tools_folder(workspace)
    marker = folder / f".made-from-{'-'.join(tools)}"
    fingerprint = hashlib.sha256(TOOLS_FILE.read_bytes()).hexdigest()
    if (
        marker.is_file()
        and marker.read_text(encoding="utf-8") == fingerprint
        and all((folder / find_tool(name).main).exists() for name in tools)
        and (not _own_python(workspace) or wrapper_of(workspace).is_file())
    ):
        return
    folder.mkdir(parents=True, exist_ok=True)
    link_tools(folder, tools, install=install, on_line=ToolLineReporter(reporter))
    write_pulumi_wrapper(workspace, folder)
    write_atomically(marker, fingerprint)


PULUMI_WRAPPER = """#!/bin/sh
# Written by `invoke setup`: the Pulumi CLI with this workspace's tools, builder and passphrase.
export PATH={tools}:"$PATH"
export BUILDX_CONFIG={buildx}
unset {others}
if [ -z "${{PULUMI_CONFIG_PASSPHRASE}}${{PULUMI_CONFIG_PASSPHRASE_FILE}}" ] && [ -f {passphrase} ]; then
  unset PULUMI_CONFIG_PASSPHRASE
  export PULUMI_CONFIG_PASSPHRASE_FILE={passphrase}
fi
no_proxy="${{no_proxy:+$no_proxy,}}${{NO_PROXY:+$NO_PROXY,}}{direct}"
export no_proxy NO_PROXY="$no_proxy" HOME="${{HOME:-{user}}}"
if [ -z "${{PULUMI_HOME}}" ] && grep -q '^ *url: file:' {project}; then
  export PULUMI_HOME={home}
fi
exec {python} -P -m slipway._internal.run.plain_pulumi {root} {tools}/pulumi "$@"
"""


def write_pulumi_wrapper(workspace: Workspace, tools: Path) -> None:
    """Give the workspace's own .venv a `pulumi` that knows the workspace: plain `pulumi up` in infra/ just works."""
    if not _own_python(workspace):
        return
    from slipway._internal.run.state import pulumi_home_without_logs

    text = PULUMI_WRAPPER.format(
        tools=shlex.quote(str(tools)),
        python=shlex.quote(sys.executable),
        root=shlex.quote(str(workspace.root)),
        buildx=shlex.quote(str(builder.buildx_folder())),
        others=" ".join(name for name in process_environment.OVERRIDDEN_VARIABLES if name != "PULUMI_STACK"),
        direct=",".join(process_environment.LOOPBACK_HOSTS),
        user=Path.home(),
        passphrase=shlex.quote(str(workspace.scratch / "passphrase")),
        project=shlex.quote(str(workspace.root / "infra" / "Pulumi.yaml")),
        home=shlex.quote(str(pulumi_home_without_logs(workspace.root))),
    )
    write_atomically(wrapper_of(workspace), text, mode=0o755)


def wrapper_of(workspace: Workspace) -> Path:
    """Return the `pulumi` of the workspace's .venv."""
    return workspace.root / ".venv" / "bin" / "pulumi"


def _own_python(workspace: Workspace) -> bool:
    """Whether this runs in the workspace's .venv, and not another workspace's."""
    own = workspace.root / ".venv"
    return Path(sys.prefix) == own and not own.is_symlink()
