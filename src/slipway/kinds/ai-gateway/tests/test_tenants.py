"""A tenant's limits hold before a call is made, and a refusal says what is used up and until when."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest

from app import keys
from app.counters import Charge, CountersDown, MemoryCounters
from tests.gateways import KEY, Maker, serving, usage, wait_for
from tests.upstream import INPUT, OUTPUT, Provider

Ask = Callable[..., Any]
COST = (INPUT * 1 + OUTPUT * 2) / 1e6


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer sk-wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x"])
def test_a_call_without_a_key_is_refused(make: Maker, provider: Provider, header: str) -> None:
    client = make()
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("POST", "/prompts/x")):
        answer = client.request(method, path, headers={"Authorization": header}, json={})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert provider.requests == []


def test_a_model_that_is_not_the_tenants_is_refused_as_one_that_is_not_there(make: Maker, ask: Ask) -> None:
    client = make({"models": ["good"]})
    for model in ("busy", "nowhere"):
        answer = ask(client, model)
        assert answer.status_code == 403
        assert "it may use: good" in answer.json()["error"]["message"]


def test_requests_are_limited_by_the_minute(make: Maker, ask: Ask, provider: Provider) -> None:
    make.now += 15
    client = make({"requests-per-minute": 2})
    assert [ask(client).status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(client)
    assert refused.headers["Retry-After"] == "45"
    assert "2 requests a minute" in refused.json()["error"]["message"]
    assert "until 2027-01-15T08:01:00Z" in refused.json()["error"]["message"]
    assert len(provider.requests) == 2
    make.now += 45
    assert ask(client).status_code == 200


def test_tokens_are_reserved_before_and_settled_after(make: Maker, ask: Ask) -> None:
    client = make({"tokens-per-minute": 800})
    answers = [ask(client, max_tokens=500) for _ in range(30)]
    passed = [answer.status_code for answer in answers].count(200)
    assert {answer.status_code for answer in answers} == {200, 429}
    assert 12 * passed <= 800 - 500
    refused = ask(client, max_tokens=2000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "max_tokens_too_large")
    refused = ask(client, max_tokens=799)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "larger_than_limit")


@pytest.mark.parametrize("window", ["day", "month"])
def test_a_budget_is_never_exceeded(make: Maker, ask: Ask, window: str) -> None:
    client = make({f"budget-per-{window}": 0.001})
    answers = [ask(client, max_tokens=50) for _ in range(60)]
    assert {answer.status_code for answer in answers} == {200, 402}
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert f"$0.001 a {window}" in refused.json()["error"]["message"]
    until = {"day": "2027-01-16T00:00:00Z", "month": "2027-02-01T00:00:00Z"}[window]
    assert f"until {until}" in refused.json()["error"]["message"]
    (row,) = usage(client).json()
    assert row["cost"] == pytest.approx(COST * row["calls"])
    assert row["cost"] <= 0.001
    make.now += 86_400 * (1 if window == "day" else 31)
    assert ask(client, max_tokens=50).status_code == 200


def test_a_budget_of_nothing_allows_what_costs_nothing(make: Maker, ask: Ask, provider: Provider) -> None:
    free = {"model": "openai/good", "base-url": provider.url, "price": {"input": 0, "output": 0}}
    client = make({"budget-per-month": 0}, more={"free": {"providers": [free]}})
    assert ask(client, "free").status_code == 200
    assert ask(client, "good").status_code == 402


def test_calls_at_once_do_not_share_what_is_left(make: Maker, ask: Ask, provider: Provider) -> None:
    client = make({"budget-per-day": 0.003})  # a call may cost about 0.0012
    provider.gate.clear()
    threading.Timer(1, provider.gate.set).start()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ask(client, max_tokens=500).status_code, range(8)))
    assert sorted(set(found)) == [200, 402]
    assert found.count(200) == 2


def test_a_failed_call_gives_back_what_was_reserved(make: Maker, ask: Ask) -> None:
    client = make({"budget-per-day": 0.0013, "tokens-per-minute": 2000})
    assert [ask(client, "broken", max_tokens=500).status_code for _ in range(5)].count(502) >= 1
    assert ask(client, max_tokens=500).status_code == 200


def test_a_slow_call_costs_what_it_sent(make: Maker, ask: Ask) -> None:
    client = make()
    assert ask(client, "slow").status_code == 504
    (row,) = usage(client).json()
    assert row["cost"] == pytest.approx(row["input"] / 1e6) and row["cost"] > 0


def test_a_stream_that_nobody_hears_to_its_end_is_counted_and_ended(make: Maker, provider: Provider) -> None:
    client = make({"budget-per-day": 0.0025})  # one call may cost about 0.0022
    with serving(client) as port:
        connection = HTTPConnection("127.0.0.1", port)
        body = {"model": "long", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"Authorization": f"Bearer {KEY}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        assert b"An" in connection.getresponse().readline()
        connection.close()
        wait_for(lambda: usage(client).json())
    (row,) = usage(client).json()
    assert (row["calls"], row["errors"]) == (1, 1)
    assert 0 < row["output"] < 100
    wait_for(lambda: provider.hung_up)


def test_nothing_is_spent_while_the_counters_are_away(make: Maker, ask: Ask, provider: Provider) -> None:
    class Away(MemoryCounters):
        async def reserve(self, charges: Any) -> Any:
            raise CountersDown("ConnectionError")

    answer = ask(make(counters=Away()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "counters_down")
    assert provider.requests == []


def test_what_could_not_be_settled_stays_reserved(make: Maker, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    class Leaving(MemoryCounters):
        async def settle(self, *_: Any) -> None:
            raise CountersDown("ConnectionError")

    client = make({"tokens-per-minute": 1500}, counters=Leaving(lambda: make.now))
    assert [ask(client, max_tokens=700).status_code for _ in range(2)] == [200, 429]
    assert "not counted" in caplog.text


def test_a_counters_name_has_its_window() -> None:
    from app.limits import Most, charges
    from app.settings import Tenant

    tenant = Tenant.model_validate({"models": [], "requests-per-minute": 5, "budget-per-month": 1.5})
    assert charges("shop", tenant, Most(100, 200), 1_800_000_030.0) == [
        Charge("ai:shop:requests:minute:1800000000", 1, 5, 1_800_000_060 + 3600),
        Charge("ai:shop:cost:month:1798761600", 200, 1_500_000_000, 1_801_440_000 + 3600),
    ]


def test_a_new_key_is_one_of_the_line_that_is_printed_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    keys.main(["shop/web"])
    first, second = capsys.readouterr().out.splitlines()
    key, line = first.split(": ")[1], second.split(":", 1)[1].strip()
    (found,) = keys.parse_keys(f"\n{line}\n")
    assert keys.find_caller([found], f"Bearer {key}") == keys.Caller("shop", "web")
    assert key not in line
    with pytest.raises(SystemExit, match="usage"):
        keys.main(["Shop Web"])


def test_a_tenant_may_have_several_keys_and_a_plain_one_is_refused() -> None:
    digest = hashlib.sha256(b"second").hexdigest()
    found = keys.parse_keys(f"shop sha256:{'0' * 64}\nshop sha256:{digest}")
    assert keys.find_caller(found, "bearer second") == keys.Caller("shop", "-")
    with pytest.raises(ValueError, match="line 2") as error:
        keys.parse_keys(f"shop sha256:{digest}\nshop sk-plain")
    assert "sk-plain" not in str(error.value)
