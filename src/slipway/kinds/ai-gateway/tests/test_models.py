"""Names of models reach providers, with their keys, retries, fallbacks and time limits; OpenAI's API is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateways import PROVIDER_KEY, Maker, asked, usage
from tests.upstream import INPUT, OUTPUT, USAGE, Provider

Ask = Callable[..., Any]


def events(answer: Any) -> list[Any]:
    """Return the events of a stream's answer."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_a_chat_is_answered_under_the_callers_name_for_the_model(make: Maker, ask: Ask, provider: Provider) -> None:
    answer = ask(make())
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "An anchor holds."
    assert answer.json()["model"] == "good" == answer.headers["X-AI-Model"]
    assert answer.json()["usage"]["prompt_tokens"] == INPUT
    assert float(answer.headers["X-AI-Cost"]) == pytest.approx((INPUT * 1 + OUTPUT * 2) / 1e6)
    assert provider.keys == [f"Bearer {PROVIDER_KEY}"]
    assert provider.requests[0]["max_tokens"] == 1024


def test_a_stream_is_passed_on_and_counted_whether_or_not_the_caller_wants_its_usage(make: Maker, ask: Ask) -> None:
    client = make()
    answer = ask(client, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer)
    assert found[-1] == "[DONE]"
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in found[:-1]) == "An anchor holds."
    assert not any(each.get("usage") for each in found[:-1])
    found = events(ask(client, stream=True, stream_options={"include_usage": True}))
    assert {key: found[-2]["usage"][key] for key in USAGE} == USAGE
    (row,) = usage(client).json()
    assert (row["calls"], row["input"], row["output"], row["errors"]) == (2, 2 * INPUT, 2 * OUTPUT, 0)


def test_completions_and_embeddings_are_answered(make: Maker, provider: Provider) -> None:
    client = make()
    answer = client.post("/v1/completions", json={"model": "good", "prompt": "Hello", "max_tokens": 5})
    assert answer.json()["choices"][0]["text"] == "An anchor holds.", answer.text
    answer = client.post("/v1/embeddings", json={"model": "vectors", "input": ["Hello"]})
    assert answer.json()["data"][0]["embedding"] == [0.1, 0.2], answer.text
    rows = {row["model"]: row for row in usage(client).json()}
    assert (rows["good"]["input"], rows["good"]["output"]) == (INPUT, OUTPUT)
    assert (rows["vectors"]["input"], rows["vectors"]["output"]) == (3, 0)


@pytest.mark.parametrize("asked_for_usage", [False, True])
def test_completions_are_streamed_and_counted(make: Maker, provider: Provider, asked_for_usage: bool) -> None:
    client = make()
    sent = {"model": "good", "prompt": "Hello", "stream": True, "stream_options": {"include_usage": asked_for_usage}}
    answer = client.post("/v1/completions", json=sent)
    found = events(answer)
    assert found[-1] == "[DONE]", answer.text
    assert {each["object"] for each in found[:-1]} == {"text_completion"}
    pieces = [each["choices"][0] for each in found[:-1] if each["choices"]]
    assert "".join(each["text"] for each in pieces) == "An anchor holds."
    assert [each["finish_reason"] for each in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert [each["usage"]["total_tokens"] for each in found[:-1] if "usage" in each] == [12] * asked_for_usage
    (request,) = provider.requests
    assert (request["prompt"], request["max_tokens"]) == ("Hello", 1024) and "messages" not in request
    (row,) = usage(client).json()
    assert (row["calls"], row["input"], row["output"], row["errors"]) == (1, INPUT, OUTPUT, 0)
    assert row["cost"] == pytest.approx((INPUT * 1 + OUTPUT * 2) / 1e6)


@pytest.mark.parametrize(
    ("model", "code"),
    [("cut", "stream_cut"), ("stall", "provider_timeout"), ("busy", ""), ("broken", ""), ("safe", "")],
)
def test_a_streamed_completion_fails_and_falls_back_as_a_chat_does(make: Maker, model: str, code: str) -> None:
    client = make()
    answer = client.post("/v1/completions", json={"model": model, "prompt": "Hello", "stream": True})
    if model in ("busy", "broken"):
        assert answer.status_code == {"busy": 503, "broken": 502}[model]
    else:
        last = events(answer)[-1]
        assert last == "[DONE]" if model == "safe" else last["error"]["code"] == code
    (row,) = usage(client).json()
    assert row["errors"] == int(model != "safe")
    assert (row["output"] > 0) == (model in ("cut", "stall", "safe"))


def test_its_own_page_says_where_to_go_and_needs_no_key(make: Maker) -> None:
    answer = make().get("/", headers={"Authorization": ""})
    assert (answer.status_code, answer.json()["usage"]) == (200, "/usage")


def test_a_models_names_are_listed(make: Maker) -> None:
    answer = make({"models": ["good", "busy"]}).get("/v1/models").json()
    assert [model["id"] for model in answer["data"]] == ["busy", "good"]


def test_a_failed_try_is_made_again_and_a_failed_model_has_a_fallback(
    make: Maker, ask: Ask, provider: Provider
) -> None:
    client = make()
    assert ask(client, "flaky").status_code == 200
    assert provider.asked("flaky") == 2
    answer = ask(client, "safe")
    assert answer.json()["choices"][0]["message"]["content"] == "An anchor holds."
    assert answer.json()["model"] == "safe"
    assert ask(client, "safe", stream=True).text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("busy", 503, "provider_busy"),
        ("broken", 502, "provider_failed"),
        ("slow", 504, "provider_timeout"),
        ("picky", 400, "refused_by_provider"),
        ("locked", 502, "provider_refused_key"),
    ],
)
def test_a_providers_failure_is_told_without_its_key(
    make: Maker, ask: Ask, model: str, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make()
    for stream in (False, True) if model in ("busy", "broken", "picky") else (False,):
        answer = ask(client, model, stream=stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert PROVIDER_KEY not in answer.text
    assert PROVIDER_KEY not in caplog.text
    (row,) = usage(client).json()
    assert row["calls"] == row["errors"] > 0
    assert row["output"] == 0


def test_a_cut_stream_says_so_and_is_counted_by_what_came(make: Maker, ask: Ask) -> None:
    client = make()
    found = events(ask(client, "cut", stream=True))
    assert found[-1]["error"]["code"] == "stream_cut"
    (row,) = usage(client).json()
    assert row["errors"] == 1
    assert 0 < row["output"] < 10
    assert row["input"] > 0


def test_a_stream_that_stalls_is_ended(make: Maker, ask: Ask) -> None:
    client = make()
    found = events(ask(client, "stall", stream=True))
    assert found[0]["choices"][0]["delta"]["content"] == "An "
    assert found[-1]["error"]["code"] == "provider_timeout"
    assert usage(client).json()[0]["errors"] == 1


def test_a_stream_without_usage_is_counted_by_its_text(make: Maker, ask: Ask) -> None:
    client = make()
    assert events(ask(client, "silent", stream=True))[-1] == "[DONE]"
    (row,) = usage(client).json()
    assert (row["errors"], row["output"] > 0, row["input"] > 0) == (0, True, True)


def test_requests_are_spread_by_weight(make: Maker, ask: Ask, provider: Provider) -> None:
    both = {"providers": [asked(provider, "good", weight=9), asked(provider, "silent", weight=1)]}
    client = make(more={"both": both})
    for _ in range(60):
        ask(client, "both")
    assert provider.asked("good") > 2 * provider.asked("silent")


@pytest.mark.parametrize(
    "more",
    [
        {"api_base": "http://evil.example"},
        {"api_key": "x"},
        {"metadata": {}},
        {"mock_response": "x"},
        {"fallbacks": ["good"]},
        {"max_tokens": 0},
        {"max_tokens": 100_000},
        {"n": 100},
        {"tools": [{"type": "web_search"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
        {"messages": []},
    ],
)
def test_what_is_not_passed_on_is_refused(make: Maker, ask: Ask, provider: Provider, more: dict[str, Any]) -> None:
    answer = ask(make(), **more)
    assert answer.status_code == 400, answer.text
    assert provider.requests == []


def test_tools_are_passed_on(make: Maker, ask: Ask, provider: Provider) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    assert ask(make(), tools=[tool], tool_choice="auto", response_format={"type": "text"}).status_code == 200
    assert provider.requests[0]["tools"] == [tool]
