"""A tenant's limits: what a call is charged before it is made, and what a refusal says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NamedTuple

from app.counters import Charge, Full
from app.errors import ApiError
from app.settings import Tenant

NANO = 1_000_000_000
"""Money is counted in billionths of a dollar: whole numbers, which add up."""
MARGIN = 3600
"""Seconds that a counter is kept after its window, so that clocks which differ a little forget nothing too early."""


class Most(NamedTuple):
    """What a call may take at most: tokens, and money in billionths of a dollar."""

    tokens: int
    cost: int


class Window(NamedTuple):
    """A minute, day or month, in UTC, which a limit is for."""

    name: str
    begins: datetime
    ends: datetime


def windows(now: float) -> dict[str, Window]:
    """Return the minute, day and month that a time is in."""
    moment = datetime.fromtimestamp(now, UTC)
    minute = moment.replace(second=0, microsecond=0)
    day = minute.replace(hour=0, minute=0)
    month = day.replace(day=1)
    return {
        "minute": Window("minute", minute, minute + timedelta(minutes=1)),
        "day": Window("day", day, day + timedelta(days=1)),
        "month": Window("month", month, (month + timedelta(days=32)).replace(day=1)),
    }


def charges(name: str, tenant: Tenant, most: Most, now: float) -> list[Charge]:
    """Return what a call is charged; nothing for what the tenant has no limit of."""
    at = windows(now)
    wanted = (
        ("requests", at["minute"], 1, tenant.requests_per_minute),
        ("tokens", at["minute"], most.tokens, tenant.tokens_per_minute),
        ("cost", at["day"], most.cost, _nanos(tenant.budget_per_day)),
        ("cost", at["month"], most.cost, _nanos(tenant.budget_per_month)),
    )
    return [
        Charge(
            f"ai:{name}:{what}:{window.name}:{int(window.begins.timestamp())}",
            amount,
            limit,
            int(window.ends.timestamp()) + MARGIN,
        )
        for what, window, amount, limit in wanted
        if limit is not None
    ]


def corrections(reserved: Sequence[Charge], used: Most) -> dict[str, int]:
    """Return what to add to each counter so that it has what was used, not what was reserved."""
    return {
        charge.counter: amount - charge.amount
        for charge in reserved
        if (amount := {"tokens": used.tokens, "cost": used.cost}.get(charge.counter.split(":")[2])) is not None
    }


def refusal(full: Full, now: float) -> ApiError:
    """Return the answer to a call that does not fit: what is used up, and until when."""
    _, tenant, what, window, _ = full.charge.counter.split(":")
    ends = full.charge.expires - MARGIN
    until = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    amount, limit, used = full.charge.amount, full.charge.limit, full.used
    if what == "cost":
        shown = f"${limit / NANO:g} a {window}, of which ${used / NANO:g} is used or reserved until {until}"
        message = f"the budget of tenant {tenant} is {shown}; this call may cost up to ${amount / NANO:g}"
        return ApiError(402, "budget_exceeded", message, _wait(ends, now))
    if amount > limit:
        message = f"this call may take up to {amount} {what}, and tenant {tenant} has {limit} a {window}: "
        return ApiError(400, "larger_than_limit", message + "send less, or ask for a smaller max_tokens")
    message = f"tenant {tenant} has {limit} {what} a {window}, of which {used} are used or reserved until {until}"
    return ApiError(429, "rate_limit_exceeded", message, _wait(ends, now))


def _wait(ends: int, now: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, ceil(ends - now)))}


def _nanos(dollars: float | None) -> int | None:
    return None if dollars is None else round(dollars * NANO)
