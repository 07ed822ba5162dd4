"""The Docker engine: whether it answers and, for root on Debian or Ubuntu, how it is installed and started."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import docker_config, ssh
from slipway._internal.run import engine as sdk
from slipway._internal.run.process import ProcessResult, run
from slipway._internal.toolchain import background
from slipway._internal.toolchain.locking import file_lock
from slipway._internal.toolchain.paths import state_path

DEFAULT_ADDRESS = docker_config.DEFAULT_ADDRESS
PID_FILE = Path("/var/run/docker.pid")
PACKAGES = ("docker.io", "iptables")
PING_SECONDS, START_SECONDS, INSTALL_SECONDS = 3.0, 60.0, 900.0

OnLine = Callable[[str], None]


class SetupStep(Enum):
    """What is done to get an engine; the value is the sentence that says so beforehand."""

    INSTALL = f"install {' and '.join(PACKAGES)} with apt-get"
    SERVICE = "start the system's docker service"
    START = "start dockerd, and remember that Slipway did"


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers. `started_by_slipway`: Slipway started it, and may end it."""

    address: str
    started_by_slipway: bool


@dataclass(frozen=True)
class EngineStatus:
    """What decides how an engine is had; `problem` is why none answers, empty when one does."""

    address: str
    problem: str = ""
    denied: bool = False
    user_chosen: bool = False  # DOCKER_HOST or a Docker context names it: somebody else's to start
    root: bool = False
    linux: bool = True
    apt: bool = False
    dockerd: bool = False
    service: bool = False
    error: SlipwayError | None = None  # what is to be said, where `problem` alone would say less


def address() -> str:
    """Return the engine's address: `DOCKER_HOST`, else the Docker context in use, else the default socket.

    Raises:
        ConfigError: what names it is wrong.
    """
    return docker_config.engine_address()


def is_responding() -> bool:
    """Return whether the engine answers now; some milliseconds when it does."""
    return not _ping_problem(address())


def inspect_engine() -> EngineStatus:
    """Look at this machine."""
    engine_address = address()
    error = _ssh_error(engine_address)
    problem = error.message if error else _ping_problem(engine_address)
    return EngineStatus(
        address=engine_address,
        problem=problem,
        error=error,
        denied="ermission denied" in problem,
        user_chosen=engine_address != DEFAULT_ADDRESS,
        root=os.geteuid() == 0,
        linux=platform.system() == "Linux",
        apt=shutil.which("apt-get") is not None,
        dockerd=shutil.which("dockerd") is not None,
        service=Path("/run/systemd/system").is_dir(),
    )


def plan_setup(status: EngineStatus | None = None, *, install: bool = True) -> tuple[SetupStep, ...]:
    """Return what `ensure_engine` would do; empty when the engine answers already. Nothing is done here.

    Args:
        status: the situation; this machine's by default.
        install: False when nothing may be installed (a stopped engine is still started).

    Raises:
        SlipwayError: there is no way to an engine from here; the remedy says what to do by hand.
    """
    status = status or inspect_engine()
    if not status.problem:
        return ()
    if status.error:
        raise status.error
    problem = f"the Docker engine at {status.address} does not answer: {status.problem}"
    if status.user_chosen:
        raise SlipwayError(
            problem,
            remedy="DOCKER_HOST or the Docker context in use names it: start it there; or unset DOCKER_HOST and "
            "`docker context use default`.",
        )
    if status.denied:
        raise SlipwayError(
            problem,
            remedy="Your user may not use it: `sudo usermod -aG docker $USER`, then log in again. "
            "Or use a rootless engine and point DOCKER_HOST to its socket.",
        )
    if not status.linux:
        raise SlipwayError(problem, remedy="Start Docker Desktop (or another engine, and set DOCKER_HOST).")
    if not status.root:
        raise SlipwayError(problem, remedy=_manual_remedy(status))
    if not status.dockerd and not (install and status.apt):
        raise SlipwayError(problem, remedy=f"Install a Docker engine ({' and '.join(PACKAGES)} on Debian and Ubuntu).")
    return (*(() if status.dockerd else (SetupStep.INSTALL,)), SetupStep.SERVICE if status.service else SetupStep.START)


def ensure_engine(*, install: bool = True, on_line: OnLine | None = None) -> Engine:
    """Return an engine that answers, installing and starting one where `plan_setup` allows it.

    Raises:
        SlipwayError: there is none and no way to one, or it did not start (with its log's last lines).
    """
    tell = on_line or (lambda _line: None)
    if not is_responding():
        with file_lock(state_folder() / ".lock", lambda: tell("Docker engine: another start is under way, waiting")):
            steps = plan_setup(install=install)
            for step in steps:
                tell(f"Docker engine: {step.value}")
            for step in steps:
                _STEP_ACTIONS[step](tell)
    return Engine(address(), started_by_slipway=background.find_running(state_folder()) is not None)


def stop_engine() -> bool:
    """End the engine if Slipway started it; return whether it did."""
    return background.stop_daemon(state_folder(), seconds=60)


def state_folder() -> Path:
    """Return where the engine's pid file and log are, when it is ours."""
    return state_path("dockerd")


def _install_engine(tell: OnLine) -> None:
    log = state_folder() / "install.log"

    def apt(*words: str) -> ProcessResult:
        env = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
        argv = ["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120", *words]
        return run(argv, env=env, log=log, on_line=_skip_empty(tell), timeout=INSTALL_SECONDS)

    install = ("install", "--no-install-recommends", *PACKAGES)
    if apt(*install).code == 0:
        return
    apt("update")  # its lists may be missing or name packages that are gone
    result = apt(*install)
    if result.code:
        message, remedy = "apt-get could not install the engine", f"Install by hand: {' '.join(PACKAGES)}."
        raise SlipwayError(message, remedy=remedy, detail=result.tail(), log=log)


def _skip_empty(tell: OnLine) -> OnLine:
    return lambda line: tell(line.strip()) if line.strip() else None


def _start_service(tell: OnLine) -> None:
    result = run(["systemctl", "start", "docker"], on_line=tell, timeout=START_SECONDS * 2)
    if result.code:
        remedy = "See `systemctl status docker` and `journalctl -u docker`."
        raise SlipwayError("the docker service did not start", remedy=remedy, detail=result.tail())


def _start_dockerd(tell: OnLine) -> None:
    if _has_foreign_dockerd():  # the package's own start script may have begun one just now
        tell("Docker engine: a dockerd is already starting, waiting for it")
        deadline = time.monotonic() + START_SECONDS
        while not is_responding():
            if time.monotonic() > deadline:
                raise SlipwayError(f"the dockerd of {PID_FILE} does not answer", remedy="End it, then try again.")
            time.sleep(0.2)
        return
    background.launch_daemon(state_folder(), ["dockerd"])
    remedy = "The log says why. In a container, dockerd needs one that is privileged."
    background.wait_until_ready(
        is_responding, state_folder(), "dockerd", seconds=START_SECONDS, on_line=tell, remedy=remedy
    )


_STEP_ACTIONS: dict[SetupStep, Callable[[OnLine], None]] = {
    SetupStep.INSTALL: _install_engine,
    SetupStep.SERVICE: _start_service,
    SetupStep.START: _start_dockerd,
}


def _has_foreign_dockerd() -> bool:
    """Whether the system's pid file names a living dockerd; one that names something else is removed.

    dockerd itself refuses to start when any process at all has that number.
    """
    try:
        pid = int(PID_FILE.read_text(encoding="ascii"))
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return False
    if name == "dockerd":
        return True
    with suppress(OSError):
        PID_FILE.unlink()
    return False


def _manual_remedy(status: EngineStatus) -> str:
    if not status.dockerd:
        return "Ask an administrator to install a Docker engine, or run `invoke setup` as root once."
    if status.service:
        return "Start it: `sudo systemctl start docker`."
    return "Start it as root: run `sudo dockerd` or `invoke setup` as root once; or use a rootless engine."


def _ping_problem(engine_address: str) -> str:
    """Ask for /_ping; return why it failed, empty when it did not. Plain sockets: no import of the SDK."""
    parts = urlsplit(engine_address)
    if parts.scheme not in {"unix", "tcp", "http"} or os.environ.get("DOCKER_TLS_VERIFY"):
        return _sdk_ping_problem()
    try:
        if parts.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PING_SECONDS)
            connection.connect(parts.path)
        else:
            connection = socket.create_connection((parts.hostname or "", parts.port or 2375), PING_SECONDS)
        with connection:
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            first = connection.recv(64).split(b"\r\n")[0]
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "" if b" 200 " in first + b" " else f"it says {first!r}"


def _ssh_error(engine_address: str) -> SlipwayError | None:
    """Return why an engine on a server is not reached; None where it is, or is on no server behind SSH."""
    if engine_address.startswith(ssh.SSH_SCHEME):
        try:
            sdk.client()
        except SlipwayError as error:
            return error
    return None


def _sdk_ping_problem() -> str:
    try:
        sdk.client().ping()
    except SlipwayError as error:
        return error.detail or error.message
    except Exception as error:  # requests and docker raise their own
        return str(error)
    return ""
