"""The checks of `invoke doctor` on this machine, each with its remedy where something is wrong."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.setting_sources import describe_port_setting
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import engine as sdk
from slipway._internal.run import git, statefile
from slipway._internal.run.process import run
from slipway._internal.run.state import local_state_folder, pulumi_home, state_file
from slipway._internal.toolchain import builder, docker_daemon, kubernetes_plugin, leftovers, platforms, registry_daemon
from slipway._internal.toolchain.install import find_installed_tool
from slipway._internal.toolchain.installed_tools import read_version
from slipway._internal.toolchain.tool_catalog import Tool, load_tools
from slipway._internal.toolchain.vendor_release import is_reachable

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 10 * 10**9
MAX_CACHE_BYTES = 8 * 10**9
ADDED_CERTIFICATES = Path("/usr/local/share/ca-certificates")
CONNECT_SECONDS = 3.0
SETUP_REMEDY = "Run `invoke setup`."
NO_INIT_REMEDY = "Install it beside dockerd: the package tini on Debian, docker-init of Docker's release elsewhere."


@dataclass(frozen=True)
class CheckResult:
    """One finding: `found` says what is there, `remedy` what to do when it isn't `ok`."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def run_checks(workspace: Workspace) -> Iterator[CheckResult]:
    """Look at all that a workspace needs, changing nothing; a check that breaks is a fact, not an error."""
    checks: tuple[Callable[[Workspace], Iterator[CheckResult]], ...] = (
        _python,
        _engine,
        _tools,
        _buildkit,
        _platforms,
        _registry,
        _gateway,
        _git,
        _disk,
        _caches,
        _state,
        _certificates,
        _sources,
    )
    for check in checks:
        try:
            yield from check(workspace)
        except SlipwayError as error:
            yield CheckResult(check.__name__.strip("_"), False, error.message, error.remedy)
        except Exception as error:  # a doctor that falls ill helps nobody
            yield CheckResult(check.__name__.strip("_"), False, f"cannot be checked: {error}")


def _python(_workspace: Workspace) -> Iterator[CheckResult]:
    wanted = ".".join(map(str, MIN_PYTHON))
    found = f"{sys.version.split()[0]} in {sys.prefix}"
    supported = sys.version_info >= MIN_PYTHON
    yield CheckResult("Python", supported, found, "" if supported else f"Use Python {wanted} or newer.")


def _engine(_workspace: Workspace) -> Iterator[CheckResult]:
    status = docker_daemon.inspect_engine()
    if not status.problem:
        details, has_init = _engine_details()
        yield CheckResult("Docker engine", True, details)
        if not has_init:
            yield CheckResult(
                "init", False, "the engine has no docker-init, so orphans in containers stay zombies", NO_INIT_REMEDY
            )
        return
    found = status.problem if status.error else f"{status.address} does not answer: {status.problem}"
    try:
        steps = docker_daemon.plan_setup(status)
    except SlipwayError as error:
        yield CheckResult("Docker engine", False, found, error.remedy)
    else:
        plan_text = ", then ".join(step.value for step in steps)
        yield CheckResult("Docker engine", False, found, f"`invoke setup` will {plan_text}.")


def _engine_details() -> tuple[str, bool]:
    """Return what there is to say about the engine, and whether it has an init for containers."""
    with suppress(Exception):
        client = sdk.client()
        version: dict[str, Any] = client.version()
        info: dict[str, Any] = client.info()
        return (
            f"{version['Version']}, API {version['ApiVersion']}, storage {info.get('Driver')}, "
            f"cgroup v{info.get('CgroupVersion', '1')}, at {docker_daemon.address()}"
        ), (info.get("InitCommit") or {}).get("ID") != "N/A"
    return f"at {docker_daemon.address()}", True


def _tools(workspace: Workspace) -> Iterator[CheckResult]:
    for tool in needed_tools(workspace):
        path = find_installed_tool(tool.name)
        if tool.name == kubernetes_plugin.PLUGIN and (found := _downloaded_plugin(workspace)):
            yield CheckResult(f"tool {tool.name}", True, f"Pulumi's own, {found}")
        elif path is None and tool.later:
            yield CheckResult(f"tool {tool.name}", True, f"{tool.version} is not installed yet: `{tool.later}` gets it")
        elif path is None:
            yield CheckResult(f"tool {tool.name}", False, f"{tool.version} is not installed", SETUP_REMEDY)
        else:
            version = read_version(tool, path) if tool.read else tool.version
            yield CheckResult(f"tool {tool.name}", True, f"{version or 'no version'}, {path}")


def _downloaded_plugin(workspace: Workspace) -> Path | None:
    with suppress(SlipwayError):  # what is wrong with infra/Pulumi.yaml is told by the commands that need it
        home = pulumi_home(workspace.project)
        if kubernetes_plugin.is_downloaded(home):
            return kubernetes_plugin.plugin_folder(home)
    return None


def needed_tools(workspace: Workspace) -> list[Tool]:
    """Return the tools that this workspace uses on this machine."""
    unused = {"registry": not workspace.local_registry, "buildkit": not builder.runs_as_process()}
    return [tool for tool in load_tools().values() if not unused.get(tool.name) and not tool.part_of]


def _buildkit(_workspace: Workspace) -> Iterator[CheckResult]:
    if builder.runs_as_process():
        path = builder.socket_path()
        up = builder.is_responding(path)
        yield CheckResult("BuildKit", up, f"{'up' if up else 'not up'} at {path}", SETUP_REMEDY if not up else "")
    known = builder.read_registered_endpoint(builder.buildx_folder())
    found = (
        f"{builder.BUILDER_NAME}: {known[0]} {known[1]}".strip()
        if known
        else f"{builder.BUILDER_NAME} is not known to buildx"
    )
    yield CheckResult("builder", known is not None, found, "" if known else SETUP_REMEDY)


def _platforms(workspace: Workspace) -> Iterator[CheckResult]:
    """What the builder can build; nothing is said where no builder is known yet."""
    config, buildx = builder.buildx_folder(), find_installed_tool("docker-buildx")
    if buildx is None or builder.read_registered_endpoint(config) is None:
        return
    name, wanted = builder.builder_of(workspace), workspace.settings.build.platforms
    if name != builder.BUILDER_NAME and not (config / "instances" / name).is_file():
        yield CheckResult(
            "platforms", False, f"{', '.join(workspace.settings.build.builders)}: not known to buildx yet", SETUP_REMEDY
        )
        return
    nodes = builder.list_nodes(buildx, name, config)
    found = "; ".join(
        f"{node.address}: {node.problem.splitlines()[0] if node.problem else ', '.join(sorted(node.platforms))}"
        for node in nodes
    )
    try:
        platforms.refuse_unbuildable(workspace, nodes)
    except SlipwayError as error:
        yield CheckResult("platforms", False, f"{error.message} ({found})", error.remedy)
        return
    yield CheckResult("platforms", True, f"{', '.join(wanted)} can be built ({found})")


def _registry(workspace: Workspace) -> Iterator[CheckResult]:
    host, port = registry_daemon.split_address(workspace.registry)
    if workspace.local_registry:
        up = registry_daemon.is_responding(host, port)
        yield CheckResult(
            "registry", up, f"{workspace.registry} {'answers' if up else 'is not up'}", "" if up else SETUP_REMEDY
        )
        return
    port = port if port != 80 else 443
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
        yield CheckResult("registry", True, f"{host}:{port} can be reached")
    except OSError as error:
        remedy = "Check the network and proxy, or `registry` in workspace.toml."
        yield CheckResult("registry", False, f"{host}:{port} cannot be reached: {error}", remedy)


def _gateway(workspace: Workspace) -> Iterator[CheckResult]:
    """Yield whether the workspace's gateway port, and those that stacks have for themselves, are free or their own."""
    settings, beside = workspace.settings.gateway, workspace.local.suffix
    if beside:
        name = workspace.deployed_name
        yield CheckResult("side by side", True, f"this folder runs as {name}, beside others of {workspace.name}")
    found = {} if beside else {settings.port: ("", "port")}
    for name in stacks.names(workspace.root):
        with suppress(SlipwayError):  # what is wrong with a stack's file is told by the commands that are for it
            stack = stacks.load(workspace.root, name, {})
            if stack.target == "docker":
                for key, port in _gateway_ports(workspace, stack).items():
                    found.setdefault(port, (name, key))
    for port, (name, key) in found.items():
        yield _check_port(workspace, "127.0.0.1" if key == "metrics-port" else settings.bind, port, name, key)


def _gateway_ports(workspace: Workspace, stack: Stack) -> dict[str, int]:
    """Return where a stack's gateway listens, by the key of the setting."""
    ports = {
        "port": stacks.gateway_port_of(workspace, stack),
        "tls-port": stacks.tls_port_of(workspace, stack) if stacks.speaks_tls(stack) else None,
        "metrics-port": stacks.metrics_port_of(workspace, stack),
    }
    return {key: port for key, port in ports.items() if port}


def _check_port(workspace: Workspace, bind: str, port: int, stack: str, key: str) -> CheckResult:
    check_name = f"gateway {key} of {stack}" if stack else f"gateway {key}"
    bind_address = f"{bind}:{port}"
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            reason = str(error.strerror)
        else:
            return CheckResult(check_name, True, f"{bind_address} is free")
    if workspace.deployed_name in _publishing_workspaces(port):
        return CheckResult(check_name, True, f"{bind_address} is this workspace's gateway")
    holder = registry_daemon.find_listener(port)
    remedy = f"End that, or choose another port: {describe_port_setting(stack, workspace.root, key=key)}."
    return CheckResult(check_name, False, f"{bind_address}: {reason.lower()}{f' ({holder})' if holder else ''}", remedy)


def _publishing_workspaces(port: int) -> set[str]:
    """Return the names of the workspaces whose containers publish a port."""
    with suppress(Exception):
        found = sdk.client().api.containers(filters={"label": "slipway.workspace"})
        return {
            str(container["Labels"]["slipway.workspace"])
            for container in found
            if any(published.get("PublicPort") == port for published in container.get("Ports", []))
        }
    return set()


def _git(workspace: Workspace) -> Iterator[CheckResult]:
    if git.find_repository(workspace.root) is None:
        yield CheckResult("git", True, "no repository here: releases and locks name no commit")
        return
    problem = git.find_commit_problem(workspace.root)
    if problem:
        yield CheckResult("git", False, f"the commit cannot be determined: {problem.message}", problem.remedy)
        return
    commit = git.head_commit(workspace.root)
    yield CheckResult("git", True, f"commit {commit[:12]}" if commit else "no commit yet")


def _disk(workspace: Workspace) -> Iterator[CheckResult]:
    for name, path in (
        ("disk of the workspace", workspace.root),
        ("disk of the build cache", builder.state_folder()),
    ):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        remedy = (
            "Free some space: `invoke prune --machine` removes what nothing needs." if free < MIN_FREE_BYTES else ""
        )
        yield CheckResult(name, free >= MIN_FREE_BYTES, f"{free / 1e9:.1f} GB free at {existing}", remedy)


def _caches(_workspace: Workspace) -> Iterator[CheckResult]:
    """What Slipway has left on this machine and could have removed, before it fills the disk."""
    total = sum(leftover.bytes for leftover in leftovers.find_leftovers())
    remedy = (
        "" if total < MAX_CACHE_BYTES else "`invoke prune --machine` removes them, and first says what it would remove."
    )
    yield CheckResult("caches", total < MAX_CACHE_BYTES, f"{total / 1e9:.1f} GB of old tools and Go's caches", remedy)


def _state(workspace: Workspace) -> Iterator[CheckResult]:
    """Yield whether each stack's state is whole, and whether its disk has room for a deploy."""
    folder = local_state_folder(workspace.project)
    for file in sorted(state_file(folder, workspace.name, "x").parent.glob("*.json")) if folder else ():
        damage = statefile.find_damage(file)
        yield CheckResult(
            f"state of {file.stem}",
            not damage,
            f"{file} is damaged: {damage}" if damage else "whole",
            f"`{how_to_deploy(file.stem)}` restores its last good backup and reads what really runs." if damage else "",
        )
    if folder:
        statefile.require_space(state_file(folder, workspace.name, "x"))  # its error is the fact


def _certificates(workspace: Workspace) -> Iterator[CheckResult]:
    added = sorted(path.name for path in ADDED_CERTIFICATES.glob("**/*.crt")) if ADDED_CERTIFICATES.is_dir() else []
    if not added:
        yield CheckResult("certificates", True, "none added on this machine: TLS does not seem to be inspected")
        return
    passed_to_builds = "ca" in workspace.build_secrets(os.environ)
    remedy = 'Give builds this machine\'s bundle: ca = { file = "…" } under [build.secrets] of workspace.toml.'
    how = "builds get this machine's bundle" if passed_to_builds else "builds do not get this machine's bundle"
    yield CheckResult(
        "certificates", passed_to_builds, f"added here: {', '.join(added)}; {how}", "" if passed_to_builds else remedy
    )


def _sources(workspace: Workspace) -> Iterator[CheckResult]:
    """Where missing tools would come from; only wrong when one is missing and there is no way to it."""
    complete = all(find_installed_tool(tool.name) for tool in needed_tools(workspace))
    go = shutil.which("go")
    version = run([go, "env", "GOVERSION"], timeout=20).output.strip() if go else "there is none"
    yield CheckResult(
        "Go", bool(go) or complete, version, "" if go or complete else "Install Go, or put the tools on PATH."
    )
    network = is_reachable()
    available = network or complete or bool(go)
    found = "vendors' releases can be reached" if network else "vendors' releases cannot be reached"
    yield CheckResult("network", available, found, "" if available else "Check the proxy, or set SLIPWAY_TOOLS_MIRROR.")
