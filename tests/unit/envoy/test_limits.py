"""Limits, on the real Envoy."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from tests.e2e.upstream import upstream
from tests.running_envoy import ANYWHERE, RunningEnvoy

from slipway._internal.commands.envoy import Route
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.route_rules import LimitSettings
from slipway._internal.model.routes import RedirectSettings, RouteSettings


def limited(gateway: RunningEnvoy, path: str, limit: LimitSettings, **more: Any) -> Route:
    rules = RouteSettings(path=path, limit=limit, **more)
    return Route(path[1:] or "root", path, gateway.upstream, RequestLimits("1k"), rules=rules)


def test_a_caller_has_its_burst_and_is_then_told_when_to_come_again(gateway: RunningEnvoy) -> None:
    gateway.serve([limited(gateway, "/a", LimitSettings(1, "minute", burst=3)), Route("b", "/b", gateway.upstream)])
    # Whatever the method, the size and the part of the path: a route becomes several entries of Envoy's table.
    answers = [gateway.ask("/a"), gateway.ask("/a/x", "POST", b"x"), gateway.ask("/a/y", "POST", iter([b"x"]))]
    assert [answer.status for answer in answers] == [200, 200, 200]
    refused = gateway.ask("/a/z", "PUT", b"x")
    assert (refused.status, refused.json) == (429, {"error": "too many requests", "status": 429})
    assert refused.headers["retry-after"] == "60"
    assert "retry-after" not in answers[0].headers
    assert gateway.ask("/a", Accept="text/html").headers["content-type"] == "text/html"
    assert gateway.ask("/a", source=ANYWHERE).status == 200  # another caller
    assert gateway.ask("/b").status == 200


def test_all_callers_together_have_a_routes_limit(gateway: RunningEnvoy) -> None:
    gateway.serve([limited(gateway, "/a", LimitSettings(2, "day", by="route"))])
    assert [gateway.ask("/a").status, gateway.ask("/a", source=ANYWHERE).status] == [200, 200]
    refused = gateway.ask("/a", source="127.0.0.3")
    assert (refused.status, refused.headers["retry-after"]) == (429, "43200")


def test_tokens_come_back_one_by_one_and_not_all_at_the_periods_end(gateway: RunningEnvoy) -> None:
    gateway.serve([limited(gateway, "/a", LimitSettings(120, "minute", burst=1))])
    assert [gateway.ask("/a").status, gateway.ask("/a").status] == [200, 429]
    time.sleep(0.6)
    assert [gateway.ask("/a").status, gateway.ask("/a").status] == [200, 429]


def test_a_rate_of_thousands_a_second_holds(gateway: RunningEnvoy) -> None:
    gateway.serve([limited(gateway, "/a", LimitSettings(5000, "second", burst=5))])
    found = [gateway.ask("/a").status for _ in range(50)]
    assert set(found) == {200}  # a request takes longer than a token


def test_a_redirect_counts_and_two_routes_of_a_path_have_each_their_own(gateway: RunningEnvoy) -> None:
    moved = limited(gateway, "/old", LimitSettings(1, "day"), redirect=RedirectSettings(path="/new"))
    reads = limited(gateway, "/a", LimitSettings(1, "day"), methods=("GET",))
    writes = limited(gateway, "/a", LimitSettings(2, "day"), methods=("POST",))
    gateway.serve([moved, reads, writes])
    assert [gateway.ask("/old").status for _ in range(2)] == [302, 429]
    assert [gateway.ask("/a").status for _ in range(2)] == [200, 429]
    assert [gateway.ask("/a", "POST", b"").status for _ in range(3)] == [200, 200, 429]


def test_a_header_makes_nobody_another_caller(gateway: RunningEnvoy) -> None:
    gateway.serve([limited(gateway, "/a", LimitSettings(1, "day"))])
    assert gateway.ask("/a", X__Forwarded__For="6.6.6.6").status == 200
    assert gateway.ask("/a", X__Forwarded__For="7.7.7.7", X__Real__IP="7.7.7.7").status == 429


def test_where_the_table_of_callers_is_full_the_one_who_was_silent_longest_is_forgotten(
    gateway: RunningEnvoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the table's end is nobody's refusal, and takes no memory; see the reference."""
    monkeypatch.setattr("slipway._internal.commands.envoy_rules.MAX_CALLERS", 3)
    gateway.serve([limited(gateway, "/a", LimitSettings(1, "day"))])
    assert [gateway.ask("/a", source=f"127.0.0.{number}").status for number in (10, 11, 12, 10)] == [200, 200, 200, 429]
    assert gateway.ask("/a", source="127.0.0.13").status == 200  # 11 is forgotten
    assert [gateway.ask("/a", source=f"127.0.0.{number}").status for number in (10, 12, 13)] == [429, 429, 429]
    assert gateway.ask("/a", source="127.0.0.11").status == 200


def test_counts_of_one_limit_are_no_others_and_begin_anew_with_other_limits_alone(
    gateway: RunningEnvoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the reference says: each limit has a table of callers of its own, which no rollout empties."""
    monkeypatch.setattr("slipway._internal.commands.envoy_rules.MAX_CALLERS", 2)
    routes = [limited(gateway, path, LimitSettings(1, "day")) for path in ("/a", "/b")]
    gateway.serve(routes)
    sources = ("127.0.0.10", "127.0.0.11")

    def statuses() -> set[int]:
        return {gateway.ask(path, source=source).status for path in ("/a", "/b") for source in sources}

    assert [statuses(), statuses()] == [{200}, {429}]
    with upstream() as other:  # a rollout: the routes lead elsewhere
        moved = [replace(route, upstream=f"127.0.0.1:{other.port}") for route in routes]
        gateway.serve(moved)
        assert statuses() == {429}
        gateway.serve([*moved, Route("c", "/c", gateway.upstream)])
        assert statuses() == {429} and gateway.ask("/c").status == 200
    gateway.serve([*routes, limited(gateway, "/c", LimitSettings(1, "day"))])
    assert statuses() == {200}


def test_the_last_limit_goes_and_comes(gateway: RunningEnvoy) -> None:
    routes = [limited(gateway, "/a", LimitSettings(1, "day")), Route("b", "/b", gateway.upstream)]
    for _ in range(2):
        gateway.serve(routes)
        assert [gateway.ask("/a").status for _ in range(2)] == [200, 429]
        gateway.serve([Route("a", "/a", gateway.upstream), routes[1]])
        assert {gateway.ask("/a").status for _ in range(3)} == {200}
