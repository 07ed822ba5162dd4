"""What must not go out does not in an answer either, however a stream cuts it, and a moderation is asked before."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from app.guards import Guards, Refused, guard
from app.streams import MOST_HELD, HeldText
from tests.gateways import PROVIDER_KEY, Maker, usage
from tests.upstream import INPUT, OUTPUT, Provider

Ask = Callable[..., Any]
KEY, CARD = "sk-" + "a1B2" * 8, "4111 1111 1111 1111"
OWN = [{"name": "customer", "pattern": r"C-\d{8}", "action": "mask"}]


def events(answer: Any) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def said(answer: Any, number: int = 0) -> str:
    """Return what a choice of a streamed answer says, with the arguments of its calls of tools."""
    text = ""
    for event in events(answer):
        for choice in event["choices"] if event != "[DONE]" and "choices" in event else ():
            if choice["index"] == number:
                delta = choice.get("delta", choice)
                text += delta.get("content") or delta.get("text") or ""
                text += "".join(call["function"].get("arguments", "") for call in delta.get("tool_calls", ()))
    return text


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the key {KEY} and more", "the key [key] and more"),
        (f"at the end {KEY}", "at the end [key]"),
        (f"{CARD} is a card, {CARD}", "[card] is a card, [card]"),
        ("C-12345678, C-1234567 and C-123456789", "[customer], C-1234567 and [customer]9"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII", "[key]\nMII"),
        ("1796117812000 s and 4111 1111 1111 1112.", "1796117812000 s and 4111 1111 1111 1112."),
        ("nothing of a task, a risk or -- a dash -", "nothing of a task, a risk or -- a dash -"),
    ],
)
@pytest.mark.parametrize("path", ["chat", "tool", "completion"])
def test_a_stream_is_masked_wherever_it_is_cut(
    make: Maker, provider: Provider, size: int, text: str, shown: str, path: str
) -> None:
    client = make(guards={"patterns": OWN})
    provider.pieces = [text[start : start + size] for start in range(0, len(text), size)]
    sent: dict[str, Any] = {"model": "caller" if path == "tool" else "good", "stream": True}
    if path == "completion":
        answer = client.post("/v1/completions", json={**sent, "prompt": "Hello"})
    else:
        answer = client.post("/v1/chat/completions", json={**sent, "messages": [{"role": "user", "content": "Hello"}]})
    assert said(answer) == shown
    found = events(answer)
    assert found[-1] == "[DONE]"
    assert [each["choices"][0].get("finish_reason") for each in found[:-1]][-1] == "stop"
    (row,) = usage(client).json()
    assert (row["input"], row["output"], row["errors"]) == (INPUT, OUTPUT, 0)


def test_the_choices_of_a_stream_are_looked_at_apart(make: Maker, ask: Ask, provider: Provider) -> None:
    provider.pieces = [KEY[:10], KEY[10:], " x"]
    answer = ask(make(), stream=True, n=3)
    assert [said(answer, number) for number in range(3)] == ["[key] x"] * 3


def test_a_stream_goes_out_as_it_comes_but_for_what_is_undecided() -> None:
    held = HeldText(Guards().answer_rules, [])
    assert [held.add(piece) for piece in ("An anchor", " holds. ", "sk-", "ip ", "the ta", "sk ")] == [
        "An anchor", " holds. ", "", "sk-ip ", "the ta", "sk ",
    ]  # fmt: skip
    assert held.end() == ""


@pytest.mark.parametrize(
    ("pattern", "text", "masked"),
    [
        (r"\d{3}(?:-\d{4})?", "123-4567 123-45", "[x] [x]-45"),
        ("abcd|ab", "abcd abc", "[x] [x]c"),
        ("(?s)BEGIN.*?END|secret", "BEGIN a secret END secret", "[x] [x]"),
        ("(?<=key: )[a-z]{5}", "the key: abcdefg", "the key: [x]fg"),
        ("ab$", "ab abab", "ab ab[x]"),
        ("(?i)blue ?bird", "a BlueB bluebird Blue Bird", "a BlueB [x] [x]"),
    ],
)
def test_a_cut_text_is_masked_as_a_whole_one(pattern: str, text: str, masked: str) -> None:
    guards = Guards.model_validate({"patterns": [{"name": "x", "pattern": pattern, "action": "mask"}]})
    assert guard(guards.answer_rules, text)[0] == masked
    for size in range(1, len(text)):
        held = HeldText(guards.answer_rules, [])
        pieces = [held.add(text[start : start + size]) for start in range(0, len(text), size)]
        assert "".join(pieces) + held.end() == masked, size


def test_a_text_that_stays_undecided_is_refused_at_last() -> None:
    guards = Guards.model_validate({"patterns": [{"name": "x", "pattern": "(?s)BEGIN.*END", "action": "mask"}]})
    held = HeldText(guards.answer_rules, [])
    assert held.add("BEGIN " + "a" * (MOST_HELD - 10)) == ""
    with pytest.raises(Refused, match="cannot be decided"):
        held.add("a" * 20)


def test_an_answer_is_masked_and_logged_masked(
    make: Maker, ask: Ask, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ai")
    client = make({"log-content": True}, guards={"patterns": OWN})
    provider.answer, provider.pieces = f"{KEY} of C-12345678", [KEY[:9], f"{KEY[9:]} of C-123", "45678"]
    assert ask(client).json()["choices"][0]["message"]["content"] == "[key] of [customer]"
    assert said(ask(client, stream=True)) == "[key] of [customer]"
    text = client.post("/v1/completions", json={"model": "good", "prompt": "Hello"}).json()["choices"][0]["text"]
    assert text == "[key] of [customer]"
    lines = json.dumps([vars(record) for record in caplog.records], default=str)
    assert lines.count("[key] of [customer]") == 3 and KEY not in lines
    assert {tuple(record.masked) for record in caplog.records if hasattr(record, "masked")} == {("customer", "key")}


def test_an_answer_may_be_refused_and_is_paid(make: Maker, ask: Ask, provider: Provider) -> None:
    client = make(guards={"answers": {"keys": "refuse"}})
    provider.answer, provider.pieces = f"Keep {KEY}.", ["Keep ", KEY[:9], f"{KEY[9:]}.", " Bye"]
    answer = ask(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "answer_refused_by_guard")
    assert KEY not in answer.text and float(answer.headers["X-AI-Cost"]) > 0
    streamed = ask(client, stream=True)
    assert events(streamed)[-1]["error"]["code"] == "answer_refused_by_guard"
    assert said(streamed) == "Keep " and KEY[:9] not in streamed.text
    (row,) = usage(client).json()
    assert (row["calls"], row["errors"]) == (2, 2)
    assert row["output"] >= OUTPUT and row["cost"] > 0


def test_what_is_allowed_in_answers_passes(make: Maker, ask: Ask, provider: Provider) -> None:
    own = [{**OWN[0], "answers": "allow"}]
    client = make(guards={"answers": {"keys": "allow", "cards": "allow"}, "patterns": own})
    provider.answer = f"{KEY} {CARD} C-12345678"
    assert ask(client).json()["choices"][0]["message"]["content"] == provider.answer
    assert ask(client, logprobs=True).status_code == 200
    assert ask(make(), logprobs=True).status_code == 400  # they would spell what is masked


def moderated(provider: Provider, **more: Any) -> dict[str, Any]:
    return {"moderation": {"model": "good", "base-url": provider.url, "key": "MODERATION_KEY", **more}}


def models_asked(provider: Provider) -> list[str]:
    return ["moderation" if "messages" not in each and "prompt" not in each else "model" for each in provider.requests]


@pytest.mark.parametrize("stream", [False, True])
def test_a_flagged_request_reaches_no_model(make: Maker, ask: Ask, provider: Provider, stream: bool) -> None:
    client = make({"budget-per-day": 0.0013}, guards=moderated(provider))
    assert ask(client, stream=stream, max_tokens=500).status_code == 200
    assert models_asked(provider) == ["moderation", "model"]
    assert provider.requests[0]["input"] == "Hello"
    for _ in range(3):  # and takes nothing of the budget
        answer = ask(client, text="Let us plan a mutiny", stream=stream, max_tokens=500)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "flagged_by_moderation")
        assert "the request: violence" in answer.json()["error"]["message"]
    assert models_asked(provider).count("model") == 1
    assert ask(client, text="x", max_tokens=500).status_code == 200


def test_what_is_masked_is_not_sent_to_the_moderation_either(make: Maker, ask: Ask, provider: Provider) -> None:
    assert ask(make(guards=moderated(provider)), text=f"pay by {CARD}").status_code == 200
    assert provider.requests[0]["input"] == "pay by [card]"


@pytest.mark.parametrize("model", ["broken", "busy", "slow", "empty", "odd", "locked", "picky"])
def test_nothing_passes_while_the_moderation_does_not_answer(
    make: Maker, ask: Ask, provider: Provider, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make(guards=moderated(provider, model=model, timeout=0.3))
    answer = ask(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "moderation_down"), answer.text
    assert answer.headers["Retry-After"] == "5"
    assert "model" not in models_asked(provider)
    assert PROVIDER_KEY not in answer.text + caplog.text


def test_other_kinds_of_requests_are_moderated_too(make: Maker, provider: Provider) -> None:
    client = make(guards=moderated(provider))
    for path, sent in (
        ("/v1/completions", {"model": "good", "prompt": "mutiny"}),
        ("/v1/embeddings", {"model": "vectors", "input": ["x", "mutiny"]}),
    ):
        assert client.post(path, json=sent).json()["error"]["code"] == "flagged_by_moderation"
    assert client.post("/v1/embeddings", json={"model": "vectors", "input": "x"}).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_flagged_answer_does_not_go_out(
    make: Maker, ask: Ask, provider: Provider, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ai")
    client = make({"log-content": True}, guards=moderated(provider, answers=True))
    provider.answer, provider.pieces = "A mutiny!", ["A mu", "tiny!"]
    answer = ask(client, stream=stream)
    assert "tiny" not in answer.text and "flagged_by_moderation" in answer.text
    assert "tiny!" not in json.dumps([vars(record) for record in caplog.records], default=str)
    (row,) = usage(client).json()
    assert (row["errors"], row["output"]) == (1, OUTPUT)
    provider.answer, provider.pieces = "An anchor.", ["An ", "anchor."]
    assert "anchor." in ask(client, stream=stream).text
