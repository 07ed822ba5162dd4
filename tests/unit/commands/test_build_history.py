"""Of BuildKit's records, the one of a service's build that has just failed is found."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from slipway._internal.commands import build_history

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(name: str, created: str, ref: str) -> str:
    return json.dumps({"name": name, "created_at": created, "ref": f"slipway/slipway0/{ref}", "status": "Error"})


def test_the_newest_failed_build_of_the_service_is_found() -> None:
    lines = [
        record("services/web (run)", "2026-01-01T12:00:09.123456789Z", "other"),
        record("services/api (run)", "2026-01-01T12:00:08.123456789Z", "newest"),
        record("api (run)", "2026-01-01T12:00:07Z", "older"),
    ]
    assert build_history.find_newest_failure(lines, "api", NOON) == "newest"
    assert build_history.find_newest_failure(lines[2:], "api", NOON) == "older"


def test_builds_before_this_run_and_lines_of_another_form_are_nobody_s() -> None:
    lines = ["no JSON", "{}", "[]", record("api (run)", "2026-01-01T11:59:59Z", "yesterday's"), record("ap", "x", "y")]
    assert build_history.find_newest_failure(lines, "api", NOON) is None
    assert (
        build_history.find_newest_failure([record("api-two (run)", "2026-01-01T12:00:07Z", "another")], "api", NOON)
        is None
    )
