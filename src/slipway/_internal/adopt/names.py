"""Makes service, volume and secret names of what projects call things."""

from __future__ import annotations

import re

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.names import DNS_LABEL, RESERVED

MAX_LENGTH = 40


def to_label(text: str) -> str:
    """Return a DNS label that is close to a name: `backend_api` is `backend-api`; nothing where there is none."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    label = re.sub(r"^[0-9-]+", "", label)[:MAX_LENGTH].rstrip("-")
    return f"{label}-service" if RESERVED.match(label) else label


def require_label(name: str, given: str) -> str:
    """Return a service's name, made of what the user or the project calls it.

    Args:
        name: the label that was made.
        given: what it was made of.

    Raises:
        ConfigError: it is no DNS label.
    """
    if not DNS_LABEL.fullmatch(name) or RESERVED.match(name):
        raise ConfigError(
            f"{given!r:.80} cannot name a service",
            remedy="Give it a name: --name orders. It is a DNS label: lower-case letters, digits and dashes, a letter "
            "first, at most 40.",
        )
    return name


def to_secret(text: str) -> str:
    """Return the name of a secret, which is a variable's: `db-password` is `db_password`."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return f"_{name}" if name[:1].isdigit() else name
