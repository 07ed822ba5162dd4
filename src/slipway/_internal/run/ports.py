"""Finds out who holds a TCP port: a container of the engine or a process of this machine."""

from __future__ import annotations

import errno
import http.client
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

from slipway._internal.run import engine

MAX_HTTP_TRIES, HTTP_SECONDS = 3, 3.0
_LISTEN_STATE = "0A"  # proc(5), net/tcp: the state in hexadecimal


def find_port_holder(port: int) -> str:
    """Return who holds a TCP port in words, as far as it can be told; empty when it can't."""
    with engine.docker_errors():
        for container in engine.client().api.containers():
            if any(published.get("PublicPort") == port for published in container["Ports"]):
                return f"container {container['Names'][0].lstrip('/')}"
    return _find_listening_process(port) if engine.address().startswith("unix://") else ""


def is_port_taken(bind: str, port: int) -> bool:
    """Return whether something has an address of the engine's machine, as far as it can be told."""
    if not engine.address().startswith("unix://"):
        return bool(find_port_holder(port))
    try:
        with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((bind, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def is_own_address(host: str) -> bool:
    """Return whether a host, as a URL has it, is `localhost` or an IP address of this machine; no name is looked up."""
    if host == "localhost":
        return True
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True


def answers_http(address: str) -> bool:
    """Return whether something at `host:port` of this machine answers HTTP, whatever it says; no proxy is asked."""
    for _ in range(MAX_HTTP_TRIES):
        connection = http.client.HTTPConnection(address, timeout=HTTP_SECONDS)
        try:
            connection.request("GET", "/.slipway/health")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
        return True
    return False


def _find_listening_process(port: int) -> str:
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(handle.readlink()) in sockets for handle in (folder / "fd").iterdir()):
                return f"process {folder.name} ({(folder / 'comm').read_text().strip()})"
        except OSError:  # it has ended, or is another user's
            continue
    return ""


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:  # not Linux
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
