"""Renders a record as one self-contained HTML page: no network, no other file.

`report.html`, `report.css` and `report.js` are beside this. The page draws everything from its data, as text and
never as markup, and its own policy lets no other script run and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from string import Template
from typing import Any

from slipway._internal.model.package_data import package_path

HERE = package_path("_internal", "insight", "page")


def page(facts: Mapping[str, Any]) -> str:
    """Return the page that shows what `insight/report_data.py` has gathered."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return Template((HERE / "report.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(str(facts["title"])),
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}",
        style=style,
        script=script,
        facts=json.dumps(facts, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _hash(text: str) -> str:
    """Return how a content security policy names a script or style that stands in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
