"""Counters that hold over all replicas: reserve before a call, settle after it.

What a call may take at most is reserved in one step, or refused: two calls at once cannot both take the last of a
budget. After the call, what it really took takes the reservation's place. A gateway that dies in between leaves its
reservation standing, which errs on the side of the budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from valkey.asyncio import Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ValkeyError

ERRORS = (ValkeyError, OSError, TimeoutError)

KEEP_USAGE = 400 * 86_400
"""Seconds that a day's usage is kept."""


class Charge(NamedTuple):
    """What a call may take of one counter at most, what the counter may reach, and when both are forgotten."""

    counter: str
    amount: int
    limit: int
    expires: int


class Full(NamedTuple):
    """The charge that did not fit, and what its counter had."""

    charge: Charge
    used: int


class Usage(NamedTuple):
    """What calls took; `cost` in billionths of a dollar."""

    calls: int = 0
    errors: int = 0
    input: int = 0
    output: int = 0
    cost: int = 0


class Entry(NamedTuple):
    """Whose usage it is."""

    day: str
    tenant: str
    service: str
    model: str
    prompt: str

    @property
    def name(self) -> str:
        """All but the day, which has a counter of its own; no name has a slash."""
        return "/".join(self[1:])


class CountersDown(Exception):
    """The counters cannot be reached, so nothing may be spent."""


class Counters(Protocol):
    """Where counts are kept."""

    async def reserve(self, charges: Sequence[Charge]) -> Full | None:
        """Take all charges, or none and return the first that does not fit."""

    async def settle(self, corrections: Mapping[str, int], entry: Entry, usage: Usage) -> None:
        """Add corrections to counters that are still there, and what was used to the day's usage."""

    async def usage(self, days: Sequence[str]) -> dict[Entry, Usage]:
        """Return what was used on certain days."""


class MemoryCounters:
    """Counts in this process alone: for one replica, until it ends."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counts: dict[str, tuple[int, int]] = {}
        self._usage: dict[Entry, Usage] = {}

    async def reserve(self, charges: Sequence[Charge]) -> Full | None:
        """See `Counters`: there is no await in it, so nothing comes between."""
        now = self._clock()
        self._counts = {name: count for name, count in self._counts.items() if count[1] > now}
        for charge in charges:
            used = self._counts.get(charge.counter, (0, 0))[0]
            if used + charge.amount > charge.limit:
                return Full(charge, used)
        for charge in charges:
            used = self._counts.get(charge.counter, (0, 0))[0]
            self._counts[charge.counter] = (used + charge.amount, charge.expires)
        return None

    async def settle(self, corrections: Mapping[str, int], entry: Entry, usage: Usage) -> None:
        """See `Counters`."""
        for name, amount in corrections.items():
            if name in self._counts:
                count, expires = self._counts[name]
                self._counts[name] = (count + amount, expires)
        before = self._usage.get(entry, Usage())
        self._usage[entry] = Usage(*(old + new for old, new in zip(before, usage, strict=True)))

    async def usage(self, days: Sequence[str]) -> dict[Entry, Usage]:
        """See `Counters`."""
        return {entry: usage for entry, usage in self._usage.items() if entry.day in days}


RESERVE = """
for i, key in ipairs(KEYS) do
    local used = tonumber(redis.call('GET', key) or '0')
    if used + tonumber(ARGV[3 * i - 2]) > tonumber(ARGV[3 * i - 1]) then return {i, used} end
end
for i, key in ipairs(KEYS) do
    redis.call('INCRBY', key, ARGV[3 * i - 2])
    redis.call('EXPIREAT', key, ARGV[3 * i])
end
return {0, 0}
"""

SETTLE = """
local day = table.remove(KEYS)
for i, key in ipairs(KEYS) do
    if redis.call('EXISTS', key) == 1 then redis.call('INCRBY', key, ARGV[i]) end
end
for i = #KEYS + 2, #ARGV, 2 do redis.call('HINCRBY', day, ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', day, ARGV[#KEYS + 1])
"""


class ValkeyCounters:
    """Counts in Valkey, where a script runs with nothing beside it."""

    def __init__(self, client: Valkey) -> None:
        self._client = client
        self._reserve = client.register_script(RESERVE)
        self._settle = client.register_script(SETTLE)

    @classmethod
    def at(cls, url: str) -> ValkeyCounters:
        """Return the counters at an address, which may have a password."""
        # What may have been done is never done again: a correction that is made twice would give money back.
        never = Retry(NoBackoff(), 0)
        return cls(Valkey.from_url(url, socket_timeout=3, socket_connect_timeout=3, retry=never))

    async def reserve(self, charges: Sequence[Charge]) -> Full | None:
        """See `Counters`."""
        words = [word for charge in charges for word in (charge.amount, charge.limit, charge.expires)]
        try:
            number, used = await self._reserve(keys=[charge.counter for charge in charges], args=words)
        except ERRORS as error:
            raise CountersDown(type(error).__name__) from error
        return Full(charges[number - 1], used) if number else None

    async def settle(self, corrections: Mapping[str, int], entry: Entry, usage: Usage) -> None:
        """See `Counters`."""
        fields = [word for name, count in usage._asdict().items() for word in (f"{entry.name}/{name}", count)]
        words = [*corrections.values(), KEEP_USAGE, *fields]
        try:
            await self._settle(keys=[*corrections, f"ai:usage:{entry.day}"], args=words)
        except ERRORS as error:
            raise CountersDown(type(error).__name__) from error

    async def usage(self, days: Sequence[str]) -> dict[Entry, Usage]:
        """See `Counters`."""
        found: dict[Entry, Usage] = {}
        try:
            for day in days:
                for field, count in (await self._client.hgetall(f"ai:usage:{day}")).items():
                    *names, counted = field.decode().split("/")
                    entry = Entry(day, *names)
                    found[entry] = found.get(entry, Usage())._replace(**{counted: int(count)})
        except ERRORS as error:
            raise CountersDown(type(error).__name__) from error
        return found
