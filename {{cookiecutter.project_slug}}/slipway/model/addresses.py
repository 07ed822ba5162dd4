"""Which addresses something may listen on, or be reached at; none is one that a program reads as another."""

from __future__ import annotations

import ipaddress
import re

_NUMBERS = re.compile(r"[0-9.]+")


def bind_problem(bind: str) -> str:
    """Return why nothing may listen on an address; nothing where it is a plain IP address of a machine.

    A Docker engine takes no host name: of whatever it cannot read as an IP address, it listens on all of the machine's.
    """
    try:
        address = ipaddress.ip_address(bind)
    except ValueError:
        return "is no IP address"
    if "%" in bind:
        return "has a zone, which the engine does not know"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return f"is the IPv4 address {address.ipv4_mapped} in another dress"
    if address.is_multicast or bind == "255.255.255.255":
        return "is the address of many machines"
    return ""


BIND_REMEDY = "Write an IP address of the engine's machine: 127.0.0.1 or ::1 for itself, 0.0.0.0 for all who reach it."


def same_address(one: str, other: str) -> bool:
    """Say whether two texts are the same IP address."""
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def in_url(host: str, port: int) -> str:
    """Return host and port as a URL has them: brackets around an IPv6 address, and no port 80."""
    host = f"[{host}]" if ":" in host else host
    return host if port == 80 else f"{host}:{port}"


def registry_problem(registry: str) -> str:
    """Return why the host of host[:port][/path] is none: numbers that are no IP address, or one that is nobody's."""
    authority = registry.partition("/")[0]
    host = authority[1:].partition("]")[0] if authority.startswith("[") else authority.partition(":")[0]
    if not authority.startswith("[") and not _NUMBERS.fullmatch(host):
        return ""
    if problem := bind_problem(host):
        return problem
    return "is no machine's address" if ipaddress.ip_address(host).is_unspecified else ""
