"""What was used: by day, tenant, service, model and prompt, as JSON, CSV and a page.

In the container `python -m app.usage [--csv] [FROM [TO]]` prints it: `invoke exec ai -- python -m app.usage`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import sys
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from app.counters import Counters, Entry, Usage
from app.errors import ApiError
from app.limits import NANO
from app.settings import ADMIN_KEY
from common import secrets

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


def main(arguments: list[str]) -> None:
    """Print what the gateway in this container says of the usage."""
    form = "csv" if "--csv" in arguments else "json"
    named = [word for word in arguments if word not in ("--csv", "--json")]
    query = urlencode(dict(zip(("from", "to"), named, strict=False)))
    connection = HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=60)
    key = {"Authorization": f"Bearer {secrets.read(ADMIN_KEY).strip()}"}
    connection.request("GET", f"{os.environ.get('ROUTE', '').rstrip('/')}/usage.{form}?{query}", headers=key)
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        raise SystemExit(text)
    print(text.rstrip())


if __name__ == "__main__":
    main(sys.argv[1:])
