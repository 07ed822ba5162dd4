"""The registry on this machine: a process on a loopback address, started when a workspace names one."""

from __future__ import annotations

import http.client
import re
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.names import LOOPBACK
from slipway._internal.run.process import run
from slipway._internal.toolchain import background, registry_proxy
from slipway._internal.toolchain.install import ensure_tool
from slipway._internal.toolchain.locking import file_lock
from slipway._internal.toolchain.paths import make_private, restrict_state_folder, socket_path, state_path

PROBE_SECONDS, START_SECONDS = 3.0, 20.0
MAX_RESETS, RETRY_PAUSE = 5, 0.1
API_HEADERS = ("Docker-Distribution-Api-Version", "Distribution-Api-Version")
TLS_STATUSES = (301, 302, 307, 308, 400)  # what a TLS server, or one in front of it, says to a plain request
LISTEN_STATE = "0A"
GARBAGE_SECONDS = 3600.0

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class LocalRegistry:
    """A registry that answers at host:port. `started_by_slipway`: Slipway started it, and may end it."""

    address: str
    started_by_slipway: bool


def ensure_local_registry(registry: str, *, install: bool = True, on_line: OnLine | None = None) -> LocalRegistry:
    """Return the loopback registry that a workspace names, starting one when nothing answers there.

    Args:
        registry: `registry` of workspace.toml: host[:port][/path], the host a loopback one.
        install: False when the registry program may not be installed.
        on_line: told what happens.

    Raises:
        ConfigError: something else has that port.
        SlipwayError: the program cannot be had, or did not start (with its log's last lines).
    """
    tell = on_line or (lambda _line: None)
    host, port = split_address(registry)
    home = state_folder(port)
    restrict_state_folder()
    if not is_responding(host, port) or _lacks_access_control(home):
        program = ensure_tool("registry", install=install, on_line=on_line)
        with file_lock(home / ".lock", lambda: tell("registry: another start is under way, waiting")):
            if _lacks_access_control(home):
                tell("registry: starting it anew, for this user alone; its images stay")
                background.stop_daemon(home)
            if not is_responding(host, port):
                tell(f"registry: starting it on {host}:{port}, data in {home / 'data'}")
                _start_registry(program, host, port, tell)
    return LocalRegistry(f"{host}:{port}", started_by_slipway=background.find_running(home) is not None)


def is_responding(host: str, port: int) -> bool:
    """Return whether a registry answers there; False when nothing does.

    Raises:
        ConfigError: something does, and it is not a registry.
    """
    problem = ""
    for _ in range(MAX_RESETS):
        try:
            status, header = _probe(host, port)
        except ConnectionRefusedError:
            return False
        except ConnectionResetError as error:  # of a program that ends at this moment, too: look again
            problem = str(error)
            time.sleep(RETRY_PAUSE)
            continue
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
            break
        if status in {200, 401} and header:
            return True
        if status == 403 and header:
            raise ConfigError(
                f"the registry on port {port} of {host} belongs to another user of this machine",
                remedy='Choose another port in workspace.toml: registry = "127.0.0.1:5001".',
            )
        problem = f"it answers {status} to /v2/"
        break
    listener_name = find_listener(port)
    raise ConfigError(
        f"port {port} of {host} is taken by something that is not a "
        f"registry{f' ({listener_name})' if listener_name else ''}: {problem}",
        remedy='Choose another port in workspace.toml: registry = "127.0.0.1:5001".',
    )


def _probe(host: str, port: int) -> tuple[int, str | None]:
    """Return the status and the API's header of what answers there, in plain HTTP or in TLS."""
    plain = http.client.HTTPConnection(host.strip("[]"), port, timeout=PROBE_SECONDS)
    answer = _request_version(plain)
    if answer[1] or answer[0] not in TLS_STATUSES:
        return answer
    # Only whether a registry is there: nothing secret is sent, and whoever does so checks the certificate.
    unverified = ssl._create_unverified_context()  # noqa: S323
    tls = http.client.HTTPSConnection(host.strip("[]"), port, timeout=PROBE_SECONDS, context=unverified)
    try:
        return _request_version(tls)
    except ssl.SSLError:
        return answer


def _request_version(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    try:
        connection.request("GET", "/v2/")
        answer = connection.getresponse()
        return answer.status, next(filter(None, map(answer.headers.get, API_HEADERS)), None)
    finally:
        connection.close()


def stop_local_registry(registry: str) -> bool:
    """End the registry if Slipway started it (its images stay); return whether it did."""
    return background.stop_daemon(state_folder(split_address(registry)[1]))


def split_address(registry: str) -> tuple[str, int]:
    """Return host and port of a registry's address; port 80 when it names none."""
    found = re.fullmatch(r"(\[[^]]+\]|[^:/]+)(?::(\d+))?(?:/.*)?", registry)
    if not found:
        raise ConfigError(f"`registry` is {registry!r}", remedy='Write host[:port][/path], as "127.0.0.1:5000".')
    return found[1], int(found[2] or 80)


def state_folder(port: int) -> Path:
    """Return where the registry of a port has its images, log and pid file."""
    return state_path(f"registry-{port}")


def registry_config(address: str | Path, data: Path) -> str:
    """Return the registry's configuration: one folder, deletion allowed for retention.

    Args:
        address: `host:port`, of loopback alone, or the path of a unix socket.
        data: the folder of its images.
    """
    return f"""\
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  delete:
    enabled: true
  filesystem:
    rootdirectory: "{data}"
http:
  net: {"unix" if isinstance(address, Path) else "tcp"}
  addr: "{address}"
"""


def is_started_by_slipway(registry: str) -> bool:
    """Return whether the registry at an address runs here and was started by Slipway."""
    host, port = split_address(registry)
    return LOOPBACK.match(host) is not None and background.find_running(state_folder(port)) is not None


def list_revisions(registry: str, repository: str) -> Mapping[str, datetime]:
    """Return every manifest of a repository in Slipway's own registry, tagged or not: digest → when it came.

    Registries tell only of what has a tag; the files know all.
    """
    manifests = _storage_folder(registry) / "repositories" / repository / "_manifests" / "revisions" / "sha256"
    revisions_found = {}
    for link in manifests.glob("*/link"):
        with suppress(FileNotFoundError):  # deleted at this moment
            revisions_found[f"sha256:{link.parent.name}"] = datetime.fromtimestamp(link.stat().st_mtime, UTC)
    return revisions_found


def collect_garbage(registry: str, *, on_line: OnLine | None = None) -> int:
    """Remove what no manifest names from Slipway's own registry, and return how many bytes that gave back.

    The registry is stopped meanwhile, as a push at that time would lose what it has sent already; it is started
    again whatever happens. Killed in the middle, it is started by the next command that needs it, and the next
    collection takes what was left.

    Raises:
        SlipwayError: it is not Slipway's own, or its program failed.
    """
    tell = on_line or (lambda _line: None)
    if not is_started_by_slipway(registry):
        raise SlipwayError(
            f"the registry {registry} was not started by Slipway, so its garbage is not Slipway's to collect",
            remedy="Run `registry garbage-collect` where it runs.",
        )
    host, port = split_address(registry)
    home = state_folder(port)
    program = ensure_tool("registry", install=False)
    with file_lock(home / ".lock", lambda: tell("registry: another start is under way, waiting")) as lock:
        tell("registry: stopping it, to collect garbage")
        background.stop_daemon(home)
        before = storage_size(registry)
        try:
            result = run(
                [program, "garbage-collect", "--quiet", home / "config.yml"],
                env={"OTEL_TRACES_EXPORTER": "none"},
                timeout=GARBAGE_SECONDS,
                hold=lock,  # the registry must not start beside it, were this process killed
            )
        finally:
            _start_registry(program, host, port, tell)
        if result.code:
            raise SlipwayError(
                f"garbage could not be collected from {registry}", remedy="Try again.", detail=result.tail()
            )
        return before - storage_size(registry)


def storage_size(registry: str) -> int:
    """Return how many bytes the blobs in Slipway's own registry have."""
    total = 0
    for path in (_storage_folder(registry) / "blobs").rglob("data"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _storage_folder(registry: str) -> Path:
    return state_folder(split_address(registry)[1]) / "data" / "docker" / "registry" / "v2"


def _start_registry(program: Path, host: str, port: int, tell: OnLine) -> None:
    home = state_folder(port)
    bind_host = "127.0.0.1" if host == "localhost" else host
    command: list[str | Path] = [program, "serve", home / "config.yml"]
    address: str | Path = f"{bind_host}:{port}"
    if registry_proxy.is_supported():
        address = socket_path(home / "registry.sock")
        make_private(address.parent)
        proxy_command: list[str | Path] = [
            sys.executable,
            "-I",
            "-S",
            registry_proxy.__file__,
            bind_host.strip("[]"),
            str(port),
            address,
        ]
        command = [*proxy_command, *command]
    (home / "config.yml").write_text(registry_config(address, home / "data"), encoding="utf-8")
    background.launch_daemon(home, command, env={"OTEL_TRACES_EXPORTER": "none"})
    remedy = "The log says why; `registry` in workspace.toml names the address."
    background.wait_until_ready(
        lambda: is_responding(host, port), home, "registry", seconds=START_SECONDS, on_line=tell, remedy=remedy
    )


def _lacks_access_control(home: Path) -> bool:
    """Return whether Slipway's own registry was started by an earlier Slipway, which let all users in."""
    if not registry_proxy.is_supported() or background.find_running(home) is None:
        return False
    with suppress(OSError):
        return "net: unix" not in (home / "config.yml").read_text(encoding="utf-8")
    return False


def find_listener(port: int) -> str:
    """Return name and number of the process that listens on a port; '' when this user may not know."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        with suppress(OSError):
            if any(str(descriptor.readlink()) in inodes for descriptor in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text(encoding='utf-8').strip()}, process {process.name}"
    return ""
