"""Checks addresses to listen on or connect to, and refuses those that programs read in different ways."""

from __future__ import annotations

import ipaddress
import re

_NUMERIC_HOST = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?", re.ASCII)
"""A host whose last part is a number: programs read it as an IP address, and not all as the same one."""
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\.?", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_BUILDER_ADDRESS = re.compile(r"([a-z][a-z-]*)://([!-~]+)")


def bind_problem(bind: str) -> str:
    """Return why nothing may listen on an address; empty for a plain IP address of a machine.

    A Docker engine does not resolve host names: for whatever is not an IP address it listens on every address.
    """
    try:
        address = ipaddress.ip_address(bind)
    except ValueError:
        return "is not an IP address"
    if "%" in bind:
        return "has a zone, which the engine does not know"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return f"is the IPv4 address {address.ipv4_mapped} written as IPv6"
    if address.is_multicast or bind == "255.255.255.255":
        return "is the address of many machines"
    return ""


BIND_REMEDY = "Write an IP address of the engine's machine: 127.0.0.1 or ::1 for itself, 0.0.0.0 for all who reach it."


def is_same_address(one: str, other: str) -> bool:
    """Say whether two texts are the same IP address."""
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def url_authority(host: str, port: int, scheme: str = "http") -> str:
    """Return host and port as a URL has them: brackets around an IPv6 address, and not the port that goes without."""
    host = f"[{host}]" if ":" in host else host
    return host if port == {"http": 80, "https": 443}[scheme] else f"{host}:{port}"


def registry_problem(registry: str) -> str:
    """Return why the host of host[:port][/path] is invalid:a malformed IP address, or no machine's."""
    authority = registry.partition("/")[0]
    host, _ = _host_and_port(authority)
    if not authority.startswith("[") and not _NUMERIC_HOST.fullmatch(host):
        return ""
    if problem := bind_problem(host):
        return problem
    address = ipaddress.ip_address(host)
    if str(address) != host:
        return f"is {address} written in another way"
    return "does not belong to a machine" if address.is_unspecified else ""


def builder_problem(address: str) -> str:
    """Return why an address is not one that buildx's `remote` driver accepts for a builder; empty where it is."""
    match = _BUILDER_ADDRESS.fullmatch(address)
    if not match:
        return "is not the address of a builder"
    scheme, rest = match.groups()
    if scheme == "unix":
        return "" if rest.startswith("/") else "is a path that does not begin with /"
    if scheme not in ("tcp", "ssh"):
        return "" if _HOST.match(rest) else "names nothing"
    user, at, rest = rest.rpartition("@")
    if at and (scheme == "tcp" or not _HOST.fullmatch(user)):
        return "names a user, which only ssh:// addresses may"
    return _host_problem(rest.partition("/")[0], needs_port=scheme == "tcp")


def _host_problem(authority: str, *, needs_port: bool) -> str:
    host, port = _host_and_port(authority)
    if not authority.startswith("[") and not _HOST.fullmatch(host):
        return "has no host name"
    if (port or needs_port) and not (_PORT.fullmatch(port) and int(port) < 65536):
        return "has no port from 1 to 65535"
    return registry_problem(authority)


def _host_and_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port
