"""The syntax of names and addresses, and their specifications. The template reads it too: it needs only `re`."""

from __future__ import annotations

import re

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""RFC 1123 label, a letter first (RFC 1035) and at most 40 long, so that a container's name made of three fits."""

RESERVED = re.compile(r"(?:gateway|network)$|base-")
"""What no service may be called: the gateway's and network's own names, and the repositories of bases."""

REGISTRY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])"
    r"(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
    r"(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
"""host[:port][/path], after the grammar of image references (github.com/distribution/reference)."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"

KUBERNETES_LABEL = re.compile(_LABEL)
"""RFC 1123 label: what Kubernetes takes as a namespace's name."""

KUBERNETES_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
"""RFC 1123 subdomain: what Kubernetes takes as the name of most objects, classes and Secrets among them."""

KUBERNETES_PARENT = re.compile(rf"{_LABEL}/{KUBERNETES_NAME.pattern}")
"""The namespace and the name of a Gateway."""

HOST = re.compile(rf"(?=.{{1,253}}\Z)(?!(?:.*\.)?[0-9]+\Z){KUBERNETES_NAME.pattern}")
"""A host name and no address, as Gateways and Ingresses take it."""

ACME_URL = re.compile(r"https://[A-Za-z0-9.:\[\]-]{1,260}/[\x21-\x7e]{0,500}")
"""The address of an authority's directory: RFC 8555 has it by HTTPS alone."""

EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=^_`{|}~-]{1,64}@(?=[A-Za-z0-9])[A-Za-z0-9.-]{1,253}")
"""An address for mail that stands in a `mailto:` (RFC 6068) as it is."""

LOOPBACK = re.compile(r"(?:127\.[0-9.]+|localhost|\[::1\])(?::|/|$)")
"""A registry on this machine."""

CONTENT_TAG = "h-"
"""How the tag begins that holds the content digest an image was built from."""

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""An image's tag, after the grammar of image references."""


def content_tag(content: str) -> str:
    """Return the tag of the image that has a content digest."""
    return f"{CONTENT_TAG}{content}"
