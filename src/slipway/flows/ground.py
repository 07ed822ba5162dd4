"""The ground that a flow stands on: Docker engine, registry, builder, tools and bases, brought up where missing."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from slipway.flows.bases import ensure_bases
from slipway.flows.recording import phase
from slipway.flows.report import Lines, Report
from slipway.flows.standing import Ground, standing, tools_of
from slipway.model import stack as stacks
from slipway.model.errors import ConfigError, GateRefused, SlipwayError
from slipway.model.files import write_atomically
from slipway.model.stack import Stack, Target
from slipway.model.workspace import Workspace
from slipway.run import credentials, process_environment
from slipway.toolchain import builder, daemons, engine, platforms
from slipway.toolchain.data import DATA
from slipway.toolchain.install import link_into

TOOLS = ("pulumi", "pulumi-language-python", "pulumi-resource-docker-build", "docker-buildx", "crane")
SCANNER, SIGNER = "trivy", "cosign"
KUBERNETES = ("kubectl",)
"""What is needed where a stack runs on a cluster."""


@phase("look what is there")
def ground(
    workspace: Workspace,
    report: Report,
    *,
    building: bool,
    install: bool = True,
    fresh: bool = False,
    gate: Sequence[str] = (),
    stack: Stack | None = None,
) -> Ground:
    """Bring up what is missing for a deploy and, if `building`, for builds; nothing is done twice.

    Args:
        workspace: the workspace.
        report: told what is installed or started, before it is.
        building: whether images will be built: a mode without builds needs, and contacts, no builder.
        install: False refuses to install or start anything, and says what to do by hand.
        fresh: build hardened bases again although they are there.
        gate: the gate's tools that are needed, too.
        stack: the stack that this is for; without it, all that the workspace has.

    Raises:
        GateRefused: one of the gate's tools is missing and could not be had.
        SlipwayError: something else is.
    """
    credentials.export(workspace)
    targets = targets_of(workspace, stack)
    if "docker" in targets or (building and not builder.as_process()):
        engine.ensure(install=install, on_line=Lines(report))  # first: a wrong DOCKER_HOST is said at once
    prepare_tools(workspace, report, install=install)
    if "kubernetes" in targets:
        prepare_tools(workspace, report, KUBERNETES, install=install)
    try:
        if gate:
            prepare_tools(workspace, report, gate, install=install)
    except SlipwayError as error:
        raise GateRefused(error.what, remedy=error.remedy, detail=error.detail, log=error.log) from error
    daemons.ensure_registry(workspace, install=install, on_line=Lines(report))
    here = standing(workspace)
    if building or not bases_known(workspace):
        builder.ensure(install=install, on_line=Lines(report))
        platforms.ensure(workspace, install=install, on_line=Lines(report))
        ensure_bases(workspace, here, report, install=install, fresh=fresh)
    return here


def targets_of(workspace: Workspace, stack: Stack | None) -> set[Target]:
    """Return where a stack runs; without one, where all stacks of the workspace do."""
    if stack:
        return {stack.target}
    found: set[Target] = set()
    for name in stacks.names(workspace.root):
        with suppress(ConfigError):  # what is wrong with a stack is told by the commands that are for it
            found.add(stacks.load(workspace.root, name, {}).target)
    return found or {"docker"}


def gate_of(stack: Stack) -> tuple[str, ...]:
    """Return which of the gate's tools a deploy needs: a protected stack takes only what is proven."""
    return (SIGNER,) if stack.protected else ()


def bases_known(workspace: Workspace) -> bool:
    from slipway.model import bases

    return bases.path_of(workspace.root).is_file()


def prepare_tools(workspace: Workspace, report: Report, tools: Sequence[str] = TOOLS, *, install: bool) -> None:
    """Get tools and link them into .slipway/bin, once for each state of tools.toml."""
    folder = tools_of(workspace)
    made = folder / f".made-from-{'-'.join(tools)}"
    wanted = hashlib.sha256(DATA.read_bytes()).hexdigest()
    if (
        made.is_file()
        and made.read_text(encoding="utf-8") == wanted
        and all((folder / name).exists() for name in tools)
        and (not _own_python(workspace) or wrapper_of(workspace).is_file())
    ):
        return
    folder.mkdir(parents=True, exist_ok=True)
    link_into(folder, tools, install=install, on_line=Lines(report))
    write_wrapper(workspace, folder)
    write_atomically(made, wanted)


WRAPPER = """#!/bin/sh
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
exec {python} -P -m slipway.run.plain_pulumi {root} {tools}/pulumi "$@"
"""


def write_wrapper(workspace: Workspace, tools: Path) -> None:
    """Give the workspace's own .venv a `pulumi` that knows the workspace: plain `pulumi up` in infra/ just works."""
    if not _own_python(workspace):
        return
    from slipway.run.state import quiet_home

    text = WRAPPER.format(
        tools=shlex.quote(str(tools)),
        python=shlex.quote(sys.executable),
        root=shlex.quote(str(workspace.root)),
        buildx=shlex.quote(str(builder.buildx_config())),
        others=" ".join(name for name in process_environment.CHOSEN_BY_SLIPWAY if name != "PULUMI_STACK"),
        direct=",".join(process_environment.LOOPBACK_HOSTS),
        user=Path.home(),
        passphrase=shlex.quote(str(workspace.scratch / "passphrase")),
        project=shlex.quote(str(workspace.root / "infra" / "Pulumi.yaml")),
        home=shlex.quote(str(quiet_home(workspace.root))),
    )
    write_atomically(wrapper_of(workspace), text, mode=0o755)


def wrapper_of(workspace: Workspace) -> Path:
    """Return the `pulumi` of the workspace's .venv."""
    return workspace.root / ".venv" / "bin" / "pulumi"


def _own_python(workspace: Workspace) -> bool:
    """Whether this runs in the workspace's .venv, which is no other workspace's, too."""
    own = workspace.root / ".venv"
    return Path(sys.prefix) == own and not own.is_symlink()
