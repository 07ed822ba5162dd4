"""What was used: by day, tenant, service, model and prompt, as JSON, CSV and a page.

In the container `python -m app.usage` prints it; `invoke ai usage` runs that.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Sequence
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


def as_csv(table: list[dict[str, Any]], by: Sequence[str] = Entry._fields) -> str:
    """Return rows as CSV, with a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*by, *Usage._fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def add_up(table: list[dict[str, Any]], by: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows added up by some of the names, in the order of those."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in table:
        names = {name: row[name] for name in by}
        total = found.setdefault(tuple(names.values()), {**names, **dict.fromkeys(Usage._fields, 0)})
        for name in Usage._fields:
            total[name] += row[name]
    return [{**row, "cost": round(row["cost"], 9)} for _, row in sorted(found.items())]


def as_table(table: list[dict[str, Any]], by: Sequence[str]) -> str:
    """Return rows as text in columns, with their sum as the last line."""
    if not table:
        return "Nothing was used in these days."
    total = {**dict.fromkeys(by, ""), **add_up(table, ())[0]}
    columns = (*by, *Usage._fields)
    lines = [[_shown(row, name) for name in columns] for row in (*table, total)]
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    return "\n".join(
        "  ".join(
            word.ljust(width) if name in by else word.rjust(width)
            for word, width, name in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in (columns, *lines)
    )


def _shown(row: dict[str, Any], name: str) -> str:
    return f"${row[name]:.6f}" if name == "cost" else str(row[name])


def main(arguments: list[str]) -> None:
    """Print what the gateway in this container says of the usage."""
    parser = argparse.ArgumentParser(prog="python -m app.usage", allow_abbrev=False)
    for form in ("json", "csv", "table"):
        parser.add_argument(f"--{form}", dest="form", action="store_const", const=form, default="json")
    parser.add_argument("--by", default=",".join(Entry._fields), help="add up by these, with commas between them")
    parser.add_argument("--from", dest="first", metavar="DAY")
    parser.add_argument("--to", dest="last", metavar="DAY")
    wanted = parser.parse_args(arguments)
    by = [name for name in Entry._fields if name in wanted.by.split(",")]
    table = add_up(_ask({"from": wanted.first or "", "to": wanted.last or ""}), by)
    if wanted.form == "json":
        print(json.dumps(table))
    else:
        print(as_csv(table, by).rstrip() if wanted.form == "csv" else as_table(table, by))


def _ask(query: dict[str, str]) -> list[dict[str, Any]]:
    """Return the rows of the gateway's own answer: it alone has counted."""
    connection = HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=60)
    key = {"Authorization": f"Bearer {secrets.read(ADMIN_KEY).strip()}"}
    connection.request("GET", f"{os.environ.get('ROUTE', '').rstrip('/')}/usage.json?{urlencode(query)}", headers=key)
    answer = connection.getresponse()
    found = json.load(answer)
    if answer.status != 200:
        raise SystemExit(f"✘ {found['error']['message']}")
    rows: list[dict[str, Any]] = found
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
