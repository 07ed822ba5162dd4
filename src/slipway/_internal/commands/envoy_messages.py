"""What the files of an Envoy configuration are made of."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]


def typed(name: str, /, **fields: Any) -> JsonObject:
    """Return a message as Envoy reads it where several kinds may stand."""
    return {"@type": f"type.googleapis.com/{name}", **fields}


def set_header(name: str, value: str) -> JsonObject:
    """Return the entry that sets a header, whatever it was."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
