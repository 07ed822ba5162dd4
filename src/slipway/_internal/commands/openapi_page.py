"""The page of a gateway that shows what its services answer, by their OpenAPI documents."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache

import msgspec

from slipway._internal.commands.gateway_options import DescribedApi
from slipway._internal.model.package_data import package_path

_BLOCK = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@cache
def read_page() -> str:
    """Return the page, which asks for the list and the documents itself."""
    return package_path("_internal", "commands", "openapi.html").read_text(encoding="utf-8")


def content_policy() -> str:
    """Return the Content-Security-Policy of the page: its own script and style run, and this gateway is asked alone."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _BLOCK.findall(read_page()):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    allowed = "; ".join(f"{kind}-src {' '.join(found)}" for kind, found in hashes.items())
    denied = "; ".join(f"{name} 'none'" for name in ("default-src", "base-uri", "form-action", "frame-ancestors"))
    return f"{denied}; connect-src 'self'; {allowed}"


def list_apis(apis: Sequence[DescribedApi]) -> str:
    """Return the list of documents that the page asks for, as JSON."""
    return json.dumps([{"prefix": "", **msgspec.to_builtins(api)} for api in apis])
