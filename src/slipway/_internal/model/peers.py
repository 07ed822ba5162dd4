"""Peers in a Kubernetes stack's network settings: keywords, namespaces, address ranges."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

from slipway._internal.model.names import KUBERNETES_LABEL

ANYWHERE = "anywhere"
INTERNET = "internet"
"""All addresses but the private ones, see `PRIVATE`."""
NOWHERE = "nowhere"
PRIVATE = {
    "0.0.0.0/0": ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    "::/0": ("::1/128", "fc00::/7", "fe80::/10"),
}
"""All addresses of IPv4 and of IPv6, and those among them that are a cluster's, a network's or a machine's own."""


def split(text: str) -> tuple[str, ...]:
    """Return the single peers of a setting."""
    return tuple(peer for peer in re.split(r"[,\s]+", text) if peer)


def are_valid(text: str, *, words: Collection[str]) -> bool:
    """Whether each peer of a setting is one of the words, a namespace, or a range of addresses; and there is one."""
    keywords = (ANYWHERE, INTERNET, NOWHERE)
    return bool(split(text)) and all(
        peer in words or is_range(peer) or (peer not in keywords and KUBERNETES_LABEL.fullmatch(peer))
        for peer in split(text)
    )


def is_range(text: str) -> bool:
    """Whether a text is a range of addresses: `10.20.0.0/16`."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return "/" in text
