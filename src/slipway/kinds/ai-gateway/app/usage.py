"""What was used: by day, tenant, service, model and prompt, as JSON, CSV and a page."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from app.counters import Counters, Entry, Usage
from app.errors import ApiError
from app.limits import NANO

COLUMNS = (*Entry._fields, *Usage._fields)
MOST_DAYS = 400
PAGE = (Path(__file__).parent / "usage.html").read_text(encoding="utf-8")


def _allowed(tag: str) -> str:
    """Return the hash by which a browser knows the page's own script or style."""
    (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


PAGE_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src {_allowed('script')}; style-src {_allowed('style')}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def days(since: str | None, until: str | None) -> list[str]:
    """Return the days from one to another; the last thirty where none are named.

    Raises:
        ApiError: they are no days, or too many.
    """
    try:
        last = date.fromisoformat(until) if until else datetime.now(UTC).date()
        first = date.fromisoformat(since) if since else last - timedelta(days=29)
    except ValueError as error:
        raise ApiError(400, "invalid_request", "from and to are days: 2026-12-31") from error
    if not 0 <= (last - first).days < MOST_DAYS:
        raise ApiError(400, "invalid_request", f"from comes before to, by at most {MOST_DAYS} days")
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]


async def rows(counters: Counters, wanted: list[str]) -> list[dict[str, Any]]:
    """Return one row for each day, tenant, service, model and prompt; the cost in dollars."""
    found = sorted((await counters.usage(wanted)).items())
    return [{**entry._asdict(), **usage._asdict(), "cost": usage.cost / NANO} for entry, usage in found]


def as_csv(table: list[dict[str, Any]]) -> str:
    """Return rows as CSV, with a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()
