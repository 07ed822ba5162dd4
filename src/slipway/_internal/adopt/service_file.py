"""Writes a service.toml: its keys in the order of the reference, each with the comment that says where it is from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from slipway._internal.adopt.plan import KIND, Draft

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ORDER = (
    *("kind", "image", "route", "port", "health", "url", "target", "entrypoint", "command", "needs", "secrets"),
    *(
        "drain",
        "start-timeout",
        "routes",
        "env",
        "args",
        "healthcheck",
        "security",
        "volumes",
        "tmp",
        "resources",
        "scale",
    ),
)
_COMMENTS = {
    "route": "The gateway sends it this path and all below, with the path unchanged, to its port.",
    "routes": "The gateway sends it this path and all below, to its port.",
    "health": "Answers 200 while the service is well.",
    "target": "The Dockerfile's stage that is shipped; an empty text is the last one.",
    "needs": "Services that it calls: NAME_URL is the address of each. All services are at NAME:PORT, too.",
    "secrets": "Files /run/secrets/NAME, from the stack's encrypted configuration.",
    "args": "Build arguments.",
    "volumes": "Folders whose files outlive the container.",
    "healthcheck": "Takes the place of the image's HEALTHCHECK.",
}


def render(draft: Draft) -> str:
    """Return the service.toml of a service."""
    settings = {"kind": draft.kind or KIND, **draft.settings}
    ordered = [key for key in _ORDER if key in settings] + [key for key in settings if key not in _ORDER]
    plain = [key for key in ordered if not _is_table(settings[key])]
    tables = [key for key in ordered if _is_table(settings[key])]
    parts = [_render_key(key, settings[key], draft.comments) for key in plain]
    parts += [_render_table(key, settings[key], draft.comments) for key in tables]
    return "\n".join(part for part in parts if part)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _render_key(key: str, value: Any, comments: Mapping[str, str]) -> str:
    return "\n".join([*_comment(key, comments), f"{_format_key(key)} = {format_value(value)}", ""])


def _render_table(key: str, value: Any, comments: Mapping[str, str]) -> str:
    lines = [*_comment(key, comments)]
    for table in value if isinstance(value, list) else [value]:
        lines.append(f"[[{key}]]" if isinstance(value, list) else f"[{key}]")
        for name, item in table.items():
            lines += [*_comment(f"{key}.{name}", comments), f"{_format_key(name)} = {format_value(item)}"]
        lines.append("")
    return "\n".join(lines)


def _comment(key: str, comments: Mapping[str, str]) -> Iterator[str]:
    texts = [_COMMENTS.get(key, ""), comments.get(key, "")]
    for text in texts:
        for line in text.splitlines():
            yield f"# {line}".rstrip()


def _format_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else format_value(key)


def format_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(format_value(item) for item in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
