"""Both kinds of counters keep to what they promise: all or nothing, and never more than the limit."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import fakeredis
import pytest

from app.counters import Charge, Counters, CountersDown, Entry, Full, MemoryCounters, Usage, ValkeyCounters

ENTRY = Entry("2027-01-15", "shop", "web", "good", "-")
Test = Callable[[Counters, Counters], Awaitable[None]]


SERVER = os.environ.get("VALKEY_TEST_URL")
"""A real server to test with, too."""


@pytest.fixture(params=["memory", "script", *(["server"] if SERVER else [])])
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Run a test with two replicas' counters; in memory there is one."""

    def run(test: Test) -> None:
        async def go() -> None:
            await test(*replicas(request.param))

        asyncio.run(go())

    return run


def replicas(kind: str) -> tuple[Counters, Counters]:
    if kind == "memory":
        counters = MemoryCounters()
        return counters, counters
    if kind == "script":  # the scripts of Lua, in a server that is none
        server = fakeredis.FakeServer(server_type="valkey")
        return tuple(ValkeyCounters(fakeredis.FakeAsyncValkey(server=server)) for _ in range(2))  # type: ignore[return-value]
    assert SERVER
    return ValkeyCounters.at(SERVER), ValkeyCounters.at(SERVER)


def charge(amount: int, limit: int, name: str = "") -> Charge:
    return Charge(name or f"test:{uuid.uuid4()}", amount, limit, int(time.time()) + 100)


def test_what_fits_is_taken_and_what_does_not_takes_nothing(run: Callable[[Test], None]) -> None:
    async def test(one: Counters, two: Counters) -> None:
        small, large = charge(3, 10), charge(3, 100)
        assert await one.reserve([small, large]) is None
        assert await two.reserve([large, small]) is None
        full = await one.reserve([large._replace(amount=90), small._replace(amount=5)])
        assert full == Full(small._replace(amount=5), 6)
        assert await two.reserve([large._replace(amount=94), small._replace(amount=4)]) is None

    run(test)


def test_many_at_once_never_take_more_than_there_is(run: Callable[[Test], None]) -> None:
    async def test(one: Counters, two: Counters) -> None:
        each = charge(7, 100)
        found = await asyncio.gather(*(counters.reserve([each]) for counters in (one, two) for _ in range(50)))
        assert found.count(None) == 14

    run(test)


def test_a_correction_gives_back_what_was_not_used_but_brings_no_counter_back(run: Callable[[Test], None]) -> None:
    async def test(one: Counters, two: Counters) -> None:
        each, gone = charge(80, 100), charge(1, 1)
        assert await one.reserve([each]) is None
        await two.settle({each.counter: -60, gone.counter: -5}, ENTRY, Usage(calls=1))
        assert await two.reserve([each]) is None
        assert await one.reserve([gone]) is None
        assert (await one.reserve([gone]) or Full(gone, 0)).used == 1

    run(test)


def test_usage_adds_up_by_day_and_name(run: Callable[[Test], None]) -> None:
    async def test(one: Counters, two: Counters) -> None:
        entry = ENTRY._replace(tenant=f"t{uuid.uuid4().hex[:8]}")
        await one.settle({}, entry, Usage(1, 0, 7, 5, 17_000))
        await two.settle({}, entry, Usage(1, 1, 3, 0, 3_000))
        await two.settle({}, entry._replace(day="2027-01-16", prompt="p@1"), Usage(1))
        found = await one.usage(["2027-01-15", "2027-01-16"])
        assert found[entry] == Usage(2, 1, 10, 5, 20_000)
        assert found[entry._replace(day="2027-01-16", prompt="p@1")] == Usage(1)
        assert entry not in await one.usage(["2027-01-14"])

    run(test)


def test_a_server_that_is_away_stops_all_spending() -> None:
    counters: Any = ValkeyCounters.at("redis://:secret@127.0.0.1:1/0")
    for asked in (
        lambda: counters.reserve([charge(1, 1)]),
        lambda: counters.settle({}, ENTRY, Usage()),
        lambda: counters.usage(["2027-01-15"]),
    ):
        with pytest.raises(CountersDown) as error:
            asyncio.run(asked())
        assert "secret" not in str(error.value)
