"""BuildKit on this machine, and the buildx builder `slipway` that leads to it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.process import run
from slipway._internal.toolchain import background, paths
from slipway._internal.toolchain.install import ensure_tool
from slipway._internal.toolchain.installed_tools import is_accepted, read_version
from slipway._internal.toolchain.locking import file_lock
from slipway._internal.toolchain.paths import state_path
from slipway._internal.toolchain.tool_catalog import find_tool

BUILDER_NAME = "slipway"
START_SECONDS, CONNECT_SECONDS, BUILDX_SECONDS = 30.0, 2.0, 60.0

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Builder:
    """A buildx builder. `started_by_slipway`: its BuildKit was started by Slipway, which may end it."""

    name: str
    address: str  # of BuildKit: unix://…, or docker-container:// for one that runs in the Docker engine
    config: Path  # buildx's own folder; the user's is never written
    started_by_slipway: bool

    @property
    def env(self) -> dict[str, str]:
        """What buildx and the docker-build provider need to use this builder."""
        return {"BUILDX_CONFIG": str(self.config), "BUILDX_BUILDER": self.name}


@dataclass(frozen=True)
class Node:
    """One BuildKit of a builder: its address, the platforms that it can build, why it does not answer if so.

    `version` is empty where it says none.
    """

    address: str
    platforms: frozenset[str]
    problem: str
    version: str = ""


def ensure_builder(*, install: bool = True, on_line: OnLine | None = None) -> Builder:
    """Return the builder, starting BuildKit if need be: as a process for root, else in the Docker engine.

    Args:
        install: False when buildkitd and buildx may not be installed.
        on_line: told what happens.

    Raises:
        SlipwayError: a program cannot be had, BuildKit did not start (with its log's last lines), or is too old.
    """
    tell = on_line or (lambda _line: None)
    home, config = state_folder(), buildx_folder()
    paths.restrict_state_folder()
    if not runs_as_process():
        endpoint = ("docker-container", "")
        if read_registered_endpoint(config) != endpoint:
            _register_builder(endpoint, install, tell)
        return Builder(BUILDER_NAME, "docker-container://", config, started_by_slipway=True)
    path = socket_path()
    if not is_responding(path):
        program = ensure_tool("buildkitd", install=install, on_line=on_line)
        with file_lock(home / ".lock", lambda: tell("buildkitd: another start is under way, waiting")):
            if not is_responding(path):
                tell(f"buildkitd: starting it, data in {home / 'data'}")
                _start_buildkitd(program, path, tell)
    running = background.find_running(home)
    _refuse_outdated(running)
    endpoint = ("remote", f"unix://{path}")
    if read_registered_endpoint(config) != endpoint:
        _register_builder(endpoint, install, tell)
    return Builder(BUILDER_NAME, endpoint[1], config, started_by_slipway=running is not None)


def _refuse_outdated(running: background.DaemonProcess | None) -> None:
    """Raise SlipwayError for a BuildKit that was started when older ones were accepted: its frontend is older, too."""
    if running is None:
        return
    tool, version = find_tool("buildkit"), None
    with suppress(OSError):  # its program is gone, or another user's
        version = read_version(tool, Path(f"/proc/{running.pid}/exe").readlink())
    if version and not is_accepted(tool, version):
        raise SlipwayError(
            f"BuildKit {version} is running, at least {tool.accepts} is needed",
            remedy=f"An earlier Slipway started it. `kill {running.pid}` ends it; then run `invoke setup`.",
        )


def builder_of(workspace: Workspace) -> str:
    """Return the builder that a workspace builds with: `slipway`, or one of its own where it names native builders."""
    build = workspace.settings.build
    if not build.builders:
        return BUILDER_NAME
    fingerprint = [sorted(build.builders.items()), _own_platforms(workspace)]
    return f"{BUILDER_NAME}-{hashlib.sha256(json.dumps(fingerprint).encode()).hexdigest()[:12]}"


def _own_platforms(workspace: Workspace) -> list[str]:
    """Return the platforms that this machine's own BuildKit builds, by emulation or not."""
    build = workspace.settings.build
    return sorted({*build.platforms} - build.builders.keys())


def register_native_builders(workspace: Workspace, *, install: bool = True, on_line: OnLine | None = None) -> None:
    """Register the builder that has this machine's BuildKit and each native one that workspace.toml names.

    `ensure_builder` has been called. Its name stands for the addresses, so a changed one makes another builder.

    Raises:
        SlipwayError: buildx did not take one.
    """
    tell = on_line or (lambda _line: None)
    own, name, home = read_registered_endpoint(buildx_folder()), builder_of(workspace), buildx_folder()
    wanted = [own[1] if own else "", *workspace.settings.build.builders.values()]
    if own is None or _read_node_endpoints(home, name) == wanted:
        return
    buildx = ensure_tool("docker-buildx", install=install, on_line=tell)
    env = {"BUILDX_CONFIG": str(home)}
    with file_lock(home.with_name("buildx.lock"), lambda: tell("buildx: another set-up is under way, waiting")):
        if _read_node_endpoints(home, name):
            run([buildx, "rm", "--keep-daemon", "--keep-state", name], env=env, timeout=BUILDX_SECONDS)
        # buildx takes the first node that can build a platform: ours must not claim what another is there for.
        own_platforms = _own_platforms(workspace)
        commands = [create_command(buildx, own, find_tool("buildkit").version, name, own_platforms)]
        for platform, address in workspace.settings.build.builders.items():
            tell(f"builder: {platform} is built by {address}")
            commands.append(append_command(buildx, own[0], name, platform, address))
        for command in commands:
            result = run(command, env=env, timeout=BUILDX_SECONDS)
            if result.code:
                run([buildx, "rm", "--keep-daemon", "--keep-state", name], env=env, timeout=BUILDX_SECONDS)
                raise SlipwayError(
                    f"buildx did not take the builder {command[-1]}",
                    remedy="Look at [build.builders] in workspace.toml.",
                    detail=result.tail(),
                )


def list_nodes(buildx: Path, name: str, config: Path) -> list[Node]:
    """Ask a builder's nodes what they can build; some tenths of a second.

    Raises:
        SlipwayError: buildx does not know the builder.
    """
    env = {"BUILDX_CONFIG": str(config)}
    result = run([buildx, "ls", "--format", "json"], env=env, timeout=BUILDX_SECONDS)
    for line in result.output.splitlines():
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            entry = json.loads(line)
            if entry["Name"] == name:
                return [
                    Node(
                        str(node["Endpoint"]),
                        frozenset(str(platform_name).rstrip("*") for platform_name in node.get("Platforms") or ()),
                        str(node.get("Err") or ("" if node.get("Status") == "running" else node.get("Status"))),
                        str(node.get("Version") or ""),
                    )
                    for node in entry["Nodes"]
                ]
    raise SlipwayError(f"buildx does not know the builder {name}", remedy="Run `invoke setup`.", detail=result.tail())


def stop_builder() -> bool:
    """End BuildKit if Slipway started it (its cache stays); return whether it did."""
    config = buildx_folder()
    if read_registered_endpoint(config) == ("docker-container", ""):
        run([ensure_tool("docker-buildx", install=False), "stop", BUILDER_NAME], env={"BUILDX_CONFIG": str(config)})
        return True
    return background.stop_daemon(state_folder())


def runs_as_process() -> bool:
    """Whether BuildKit runs as a process of its own here: that takes Linux, root and runc's privileges."""
    return os.geteuid() == 0 and platform.system() == "Linux"


def is_responding(path: Path) -> bool:
    """Return whether something listens on BuildKit's socket; it does so only when its worker is ready."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(CONNECT_SECONDS)
    with connection, suppress(OSError):
        connection.connect(str(path))
        return True
    return False


def state_folder() -> Path:
    """Return where buildkitd has its cache, log and pid file."""
    return state_path("buildkitd")


def buildx_folder() -> Path:
    """Return buildx's folder."""
    return state_path("buildx")


def socket_path() -> Path:
    """Return BuildKit's socket: in its folder, or in a short one where that path is too long for a socket."""
    return paths.socket_path(state_folder() / "buildkitd.sock")


def buildkitd_config(data: Path, path: Path, cores: int) -> str:
    """Return buildkitd's configuration.

    Loopback registries need no entry: BuildKit speaks plain HTTP to them by itself. Steps mostly wait for a
    network, so there are more of them at once than cores. Old cache goes when there is more than 30 GB of it
    or the disk runs full. Which platforms are emulated is looked up whenever it is asked: by default BuildKit goes on
    answering what it knew before `emulation` registered one.
    """
    return f"""\
root = "{data}"

[system]
  platformsCacheMaxAge = "0s"

[grpc]
  address = ["unix://{path}"]

[worker.containerd]
  enabled = false

[worker.oci]
  enabled = true
  max-parallelism = {max(4, 2 * cores)}
  gc = true
  reservedSpace = "5GB"
  maxUsedSpace = "30GB"
  minFreeSpace = "5%"
"""


def create_command(
    buildx: Path, endpoint: tuple[str, str], version: str, name: str = BUILDER_NAME, platforms: Sequence[str] = ()
) -> list[str]:
    """Return the command that registers a builder of this machine with buildx, for these platforms if any are named."""
    driver, address = endpoint
    platform_option = [f"--platform={','.join(platforms)}"] if platforms else []
    command = [str(buildx), "create", "--name", name, "--driver", driver, *platform_option]
    if driver == "remote":
        return [*command, address]
    # The host's network: a registry on this machine's loopback address is reached from inside.
    options = [f"image=moby/buildkit:v{version}", "network=host"]
    return [*command, *(f"--driver-opt={option}" for option in options)]


def append_command(buildx: Path, driver: str, name: str, platform: str, address: str) -> list[str]:
    """Return the command that adds the native builder of a platform to a builder."""
    return [
        *(str(buildx), "create", "--append", "--name", name, "--driver", driver),
        *("--platform", platform, address),
    ]


def read_registered_endpoint(config: Path) -> tuple[str, str] | None:
    """Return driver and address of the builder as buildx has it written down; None when it has not."""
    try:
        known = json.loads((config / "instances" / BUILDER_NAME).read_text(encoding="utf-8"))
        endpoint = str(known["Nodes"][0]["Endpoint"]) if known["Driver"] == "remote" else ""
        return str(known["Driver"]), endpoint
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _read_node_endpoints(config: Path, name: str) -> list[str]:
    """Return the addresses of a builder's nodes as buildx has them written down."""
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        known = json.loads((config / "instances" / name).read_text(encoding="utf-8"))
        remote = known["Driver"] == "remote"
        return [str(node["Endpoint"]) if remote or number else "" for number, node in enumerate(known["Nodes"])]
    return []


def _register_builder(endpoint: tuple[str, str], install: bool, tell: OnLine) -> None:
    config = buildx_folder()
    buildx = ensure_tool("docker-buildx", install=install, on_line=tell)
    env = {"BUILDX_CONFIG": str(config)}
    # Not a file in buildx's folder: buildx holds a `.lock` of its own there.
    with file_lock(config.with_name("buildx.lock"), lambda: tell("buildx: another set-up is under way, waiting")):
        known = read_registered_endpoint(config)
        if known == endpoint:
            return
        if known is not None:
            run([buildx, "rm", "--keep-daemon", "--keep-state", BUILDER_NAME], env=env, timeout=BUILDX_SECONDS)
        result = run(create_command(buildx, endpoint, find_tool("buildkit").version), env=env, timeout=BUILDX_SECONDS)
    if result.code:
        remedy = f"See that the Docker engine answers (`invoke doctor`); else remove {config} and try again."
        raise SlipwayError("buildx did not take the builder", remedy=remedy, detail=result.tail())


def _empty_temporary_folder(home: Path) -> Path:
    """Return BuildKit's own temporary folder, without the mount points that one which was killed has left in it.

    Only empty folders are removed: one that is still mounted shows a layer's files, which are no copies.
    """
    folder = home / "tmp"
    paths.make_private(folder)
    for left_over in folder.iterdir():
        with suppress(OSError):
            left_over.rmdir()
    return folder


def _start_buildkitd(program: Path, path: Path, tell: OnLine) -> None:
    home = state_folder()
    search = f"{program.resolve().parent}:{os.environ.get('PATH', os.defpath)}"
    if not any(shutil.which(name, path=search) for name in ("buildkit-runc", "runc")):
        raise SlipwayError("BuildKit needs runc", remedy="Install it: `apt-get install runc` (docker.io brings it).")
    paths.make_private(path.parent)
    with suppress(FileNotFoundError):
        path.unlink()  # nobody listens on it
    text = buildkitd_config(home / "data", path, os.cpu_count() or 1)
    (home / "buildkitd.toml").write_text(text, encoding="utf-8")
    environment = {"PATH": search, "TMPDIR": str(_empty_temporary_folder(home))}
    background.launch_daemon(home, [program, "--config", home / "buildkitd.toml"], env=environment)
    background.wait_until_ready(
        lambda: is_responding(path),
        home,
        "buildkitd",
        seconds=START_SECONDS,
        on_line=tell,
        remedy="The log says why. In a container, BuildKit needs one that is privileged.",
    )
