"""Reads TCP sockets from Linux's /proc/net/tcp and tcp6: the listening addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LISTEN = "0A"
ENGINE_DNS = "127.0.0.11"
"""The address of the engine's DNS server in each container."""


def read_proc_net(pid: int, name: str) -> str:
    """Return a /proc/net file of a process on this machine; empty if it cannot be read."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii", errors="replace") if pid else ""
    return ""


def listening_addresses(table: str) -> list[tuple[str, int]]:
    """Return the distinct listening addresses and ports, except those of the engine's DNS server."""
    return sorted({(address, port) for address, port in _local_endpoints(table, LISTEN) if address != ENGINE_DNS})


def _local_endpoints(table: str, state: str) -> Iterator[tuple[str, int]]:
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == state:
            address, _, port = fields[1].partition(":")
            yield _parse_address(address), int(port, 16)


def _parse_address(text: str) -> str:
    """Parse an address in the kernel's notation, four bytes each in this machine's order: 0100007F is 127.0.0.1."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
