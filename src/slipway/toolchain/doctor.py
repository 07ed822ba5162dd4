"""What `invoke doctor` finds on this machine: each fact with its remedy where something is wrong."""

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

from slipway.model import stack as stacks
from slipway.model.errors import SlipwayError
from slipway.model.origins import port_setting
from slipway.model.stack import how_to_deploy
from slipway.model.workspace import Workspace
from slipway.run import engine as sdk
from slipway.run import git, statefile
from slipway.run.process import run
from slipway.run.state import local_state, state_file
from slipway.toolchain import builder, engine, leftovers, platforms, registry
from slipway.toolchain.data import Tool, tools
from slipway.toolchain.find import version_of
from slipway.toolchain.install import present
from slipway.toolchain.release import reachable

PYTHON = (3, 11)
DISK_BYTES = 10 * 10**9
CACHES_BYTES = 8 * 10**9
ADDED_CERTIFICATES = Path("/usr/local/share/ca-certificates")
CONNECT_SECONDS = 3.0
SETUP = "Run `invoke setup`."
NO_INIT = "Install it beside dockerd: the package tini on Debian, docker-init of Docker's release elsewhere."


@dataclass(frozen=True)
class Fact:
    """One finding: `found` says what is there, `remedy` what to do when it isn't `ok`."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def facts(workspace: Workspace) -> Iterator[Fact]:
    """Look at all that a workspace needs, changing nothing; a check that breaks is a fact, not an error."""
    checks: tuple[Callable[[Workspace], Iterator[Fact]], ...] = (
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
            yield Fact(check.__name__.strip("_"), False, error.what, error.remedy)
        except Exception as error:  # a doctor that falls ill helps nobody
            yield Fact(check.__name__.strip("_"), False, f"cannot be checked: {error}")


def _python(_workspace: Workspace) -> Iterator[Fact]:
    wanted = ".".join(map(str, PYTHON))
    found = f"{sys.version.split()[0]} in {sys.prefix}"
    fine = sys.version_info >= PYTHON
    yield Fact("Python", fine, found, "" if fine else f"Use Python {wanted} or newer.")


def _engine(_workspace: Workspace) -> Iterator[Fact]:
    now = engine.situation()
    if not now.problem:
        details, has_init = _engine_details()
        yield Fact("Docker engine", True, details)
        if not has_init:
            yield Fact("init", False, "the engine has no docker-init, so orphans in containers stay zombies", NO_INIT)
        return
    found = now.problem if now.error else f"{now.address} does not answer: {now.problem}"
    try:
        steps = engine.plan(now)
    except SlipwayError as error:
        yield Fact("Docker engine", False, found, error.remedy)
    else:
        will = ", then ".join(each.value for each in steps)
        yield Fact("Docker engine", False, found, f"`invoke setup` will {will}.")


def _engine_details() -> tuple[str, bool]:
    """Return what there is to say about the engine, and whether it has an init for containers."""
    with suppress(Exception):
        client = sdk.client()
        version: dict[str, Any] = client.version()
        info: dict[str, Any] = client.info()
        return (
            f"{version['Version']}, API {version['ApiVersion']}, storage {info.get('Driver')}, "
            f"cgroup v{info.get('CgroupVersion', '1')}, at {engine.address()}"
        ), (info.get("InitCommit") or {}).get("ID") != "N/A"
    return f"at {engine.address()}", True


def _tools(workspace: Workspace) -> Iterator[Fact]:
    for each in needed(workspace):
        path = present(each.name)
        if path is None and each.later:
            yield Fact(f"tool {each.name}", True, f"{each.version} is not installed yet: `{each.later}` gets it")
        elif path is None:
            yield Fact(f"tool {each.name}", False, f"{each.version} is not installed", SETUP)
        else:
            version = version_of(each, path) if each.read else each.version
            yield Fact(f"tool {each.name}", True, f"{version or 'no version'}, {path}")


def needed(workspace: Workspace) -> list[Tool]:
    """Return the tools that this workspace uses on this machine."""
    spared = {"registry": not workspace.local_registry, "buildkit": not builder.as_process()}
    return [each for each in tools().values() if not spared.get(each.name) and not each.part_of]


def _buildkit(_workspace: Workspace) -> Iterator[Fact]:
    if builder.as_process():
        path = builder.socket_path()
        up = builder.answers(path)
        yield Fact("BuildKit", up, f"{'up' if up else 'not up'} at {path}", SETUP if not up else "")
    known = builder.registered(builder.buildx_config())
    found = f"{builder.NAME}: {known[0]} {known[1]}".strip() if known else f"{builder.NAME} is not known to buildx"
    yield Fact("builder", known is not None, found, "" if known else SETUP)


def _platforms(workspace: Workspace) -> Iterator[Fact]:
    """What the builder can build; nothing is said where no builder is known yet."""
    config, buildx = builder.buildx_config(), present("docker-buildx")
    if buildx is None or builder.registered(config) is None:
        return
    name, wanted = builder.name_of(workspace), workspace.settings.build.platforms
    if name != builder.NAME and not (config / "instances" / name).is_file():
        yield Fact(
            "platforms", False, f"{', '.join(workspace.settings.build.builders)}: not known to buildx yet", SETUP
        )
        return
    nodes = builder.nodes(buildx, name, config)
    found = "; ".join(
        f"{node.address}: {node.problem.splitlines()[0] if node.problem else ', '.join(sorted(node.platforms))}"
        for node in nodes
    )
    try:
        platforms.refuse_unbuildable(workspace, nodes)
    except SlipwayError as error:
        yield Fact("platforms", False, f"{error.what} ({found})", error.remedy)
        return
    yield Fact("platforms", True, f"{', '.join(wanted)} can be built ({found})")


def _registry(workspace: Workspace) -> Iterator[Fact]:
    host, port = registry.split(workspace.registry)
    if workspace.local_registry:
        up = registry.answers(host, port)
        yield Fact("registry", up, f"{workspace.registry} {'answers' if up else 'is not up'}", "" if up else SETUP)
        return
    port = port if port != 80 else 443
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
        yield Fact("registry", True, f"{host}:{port} can be reached")
    except OSError as error:
        remedy = "Look at the network and proxy, or at `registry` in workspace.toml."
        yield Fact("registry", False, f"{host}:{port} cannot be reached: {error}", remedy)


def _gateway(workspace: Workspace) -> Iterator[Fact]:
    """Yield whether the workspace's gateway port, and each that a stack has for itself, is free or its own."""
    settings, beside = workspace.settings.gateway, workspace.local.suffix
    if beside:
        name = workspace.deployed_name
        yield Fact("side by side", True, f"this folder runs as {name}, beside others of {workspace.name}")
    found = {} if beside else {settings.port: ""}
    for name in stacks.names(workspace.root):
        with suppress(SlipwayError):  # what is wrong with a stack's file is told by the commands that are for it
            stack = stacks.load(workspace.root, name, {})
            if stack.target == "docker":
                found.setdefault(stacks.gateway_port_of(workspace, stack), name)
    for port, name in found.items():
        yield _port(workspace, settings.bind, port, name)


def _port(workspace: Workspace, bind: str, port: int, stack: str) -> Fact:
    what = f"gateway port of {stack}" if stack else "gateway port"
    where = f"{bind}:{port}"
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            taken = str(error.strerror)
        else:
            return Fact(what, True, f"{where} is free")
    if workspace.deployed_name in _publishers(port):
        return Fact(what, True, f"{where} is this workspace's gateway")
    holder = registry.listener(port)
    remedy = f"End that, or choose another port: {port_setting(stack, workspace.root)}."
    return Fact(what, False, f"{where}: {taken.lower()}{f' ({holder})' if holder else ''}", remedy)


def _publishers(port: int) -> set[str]:
    """Return the names of the workspaces whose containers publish a port."""
    with suppress(Exception):
        found = sdk.client().api.containers(filters={"label": "slipway.workspace"})
        return {
            str(each["Labels"]["slipway.workspace"])
            for each in found
            if any(one.get("PublicPort") == port for one in each.get("Ports", []))
        }
    return set()


def _git(workspace: Workspace) -> Iterator[Fact]:
    if git.repository(workspace.root) is None:
        yield Fact("git", True, "no repository here: releases and locks name no commit")
        return
    problem = git.unknown_commit(workspace.root)
    if problem:
        yield Fact("git", False, f"the commit cannot be known: {problem.what}", problem.remedy)
        return
    commit = git.commit(workspace.root)
    yield Fact("git", True, f"commit {commit[:12]}" if commit else "no commit yet")


def _disk(workspace: Workspace) -> Iterator[Fact]:
    for name, path in (
        ("disk of the workspace", workspace.root),
        ("disk of the build cache", builder.folder()),
    ):
        there = next(each for each in (path, *path.parents) if each.exists())
        free = shutil.disk_usage(there).free
        remedy = "Make room: `invoke prune --machine` removes what nothing needs." if free < DISK_BYTES else ""
        yield Fact(name, free >= DISK_BYTES, f"{free / 1e9:.1f} GB free at {there}", remedy)


def _caches(_workspace: Workspace) -> Iterator[Fact]:
    """What Slipway has left on this machine and could have removed, before it fills the disk."""
    left = sum(each.bytes for each in leftovers.find())
    remedy = "" if left < CACHES_BYTES else "`invoke prune --machine` removes them, and says first what would go."
    yield Fact("caches", left < CACHES_BYTES, f"{left / 1e9:.1f} GB of old tools and Go's caches", remedy)


def _state(workspace: Workspace) -> Iterator[Fact]:
    """Yield whether each stack's state is whole, and whether its disk has room for a deploy."""
    folder = local_state(workspace.root)
    for file in sorted(state_file(folder, workspace.name, "x").parent.glob("*.json")) if folder else ():
        why = statefile.damage(file)
        yield Fact(
            f"state of {file.stem}",
            not why,
            f"{file} is damaged: {why}" if why else "whole",
            f"`{how_to_deploy(file.stem)}` puts its last whole backup back and reads what really runs." if why else "",
        )
    if folder:
        statefile.require_room(state_file(folder, workspace.name, "x"))  # its error is the fact


def _certificates(workspace: Workspace) -> Iterator[Fact]:
    added = sorted(each.name for each in ADDED_CERTIFICATES.glob("**/*.crt")) if ADDED_CERTIFICATES.is_dir() else []
    if not added:
        yield Fact("certificates", True, "none added to this machine's: TLS does not look inspected")
        return
    given = "ca" in workspace.build_secrets(os.environ)
    remedy = 'Give builds this machine\'s bundle: ca = { file = "…" } under [build.secrets] of workspace.toml.'
    how = "builds get this machine's bundle" if given else "builds do not get this machine's bundle"
    yield Fact("certificates", given, f"added here: {', '.join(added)}; {how}", "" if given else remedy)


def _sources(workspace: Workspace) -> Iterator[Fact]:
    """Where missing tools would come from; only wrong when one is missing and there is no way to it."""
    complete = all(present(each.name) for each in needed(workspace))
    go = shutil.which("go")
    version = run([go, "env", "GOVERSION"], timeout=20).output.strip() if go else "there is none"
    yield Fact("Go", bool(go) or complete, version, "" if go or complete else "Install Go, or put the tools on PATH.")
    network = reachable()
    fine = network or complete or bool(go)
    found = "vendors' releases can be reached" if network else "vendors' releases cannot be reached"
    yield Fact("network", fine, found, "" if fine else "Look at the proxy, or set SLIPWAY_TOOLS_MIRROR.")
