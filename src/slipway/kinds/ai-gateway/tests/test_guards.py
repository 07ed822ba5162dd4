"""What must not go out does not, in whatever part of a request it stands, streams and prompts included."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from app.guards import Guards, Refused, guard
from tests.gateways import Maker
from tests.upstream import Provider

Ask = Callable[..., Any]
CARD, AWS = "4111 1111 1111 1111", "AKIA" + "A1B2C3D4E5F6G7H8"
SECRETS = [
    "sk-" + "a1B2" * 8,
    "sk-ant-api03-" + "a1B2" * 8,
    "ghp_" + "a1B2" * 9,
    "xoxb-" + "1234-" * 5,
    "glpat-" + "a1B2" * 5,
    AWS,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w",
    "-----BEGIN RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_key_is_refused_and_not_told(make: Maker, ask: Ask, provider: Provider, secret: str, stream: bool) -> None:
    answer = ask(make(), text=f"my key is {secret}, keep it", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "refused_by_guard")
    assert secret not in answer.text
    assert provider.requests == []


def test_what_is_masked_goes_out_masked(make: Maker, ask: Ask, provider: Provider) -> None:
    client = make(
        guards={"emails": "mask", "patterns": [{"name": "customer", "pattern": r"C-\d{8}", "action": "mask"}]}
    )
    for stream in (False, True):
        assert ask(client, text=f"{CARD} of ada@example.org, C-12345678", stream=stream).status_code == 200
    sent = {request["messages"][0]["content"] for request in provider.requests}
    assert sent == {"[card] of [email], [customer]"}


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": AWS}]}]},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": AWS}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": AWS}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {AWS: {}}}}]},
        {"stop": ["x", AWS]},
        {"user": AWS},
        {"response_format": {"type": "text", "x": AWS}},
    ],
)
def test_every_text_of_a_request_is_looked_at(make: Maker, ask: Ask, provider: Provider, more: dict[str, Any]) -> None:
    assert ask(make(), **more).json()["error"]["code"] == "refused_by_guard"
    assert provider.requests == []


def test_other_endpoints_are_guarded_too(make: Maker, provider: Provider) -> None:
    client = make()
    assert client.post("/v1/completions", json={"model": "good", "prompt": AWS}).status_code == 400
    assert client.post("/v1/embeddings", json={"model": "vectors", "input": ["x", AWS]}).status_code == 400
    assert provider.requests == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (CARD, "[card]"),
        ("4111-1111-1111-1111", "[card]"),
        ("378282246310005", "[card]"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("0000 0000 0000 0000", "0000 0000 0000 0000"),
        ("1796117812000", "1796117812000"),
        ("card 4111111111111111.", "card [card]."),
        ("nr.4111111111111111", "nr.[card]"),
        ("4111 1111 1111 1111 12/27", "[card]/27"),
        (" ".join("4111111111111111"), "[card]"),
        ("22 4111 1111 1111 1111", "[card]"),
        ("0.4111111111111111", "0.4111111111111111"),
        ("4111111111111111" * 2, "4111111111111111" * 2),
    ],
)
def test_a_cards_number_is_known_by_its_check_digit(text: str, masked: str) -> None:
    assert guard(Guards().rules, text)[0] == masked


def test_ordinary_texts_pass() -> None:
    text = "The mask-making task-force is risk-averse: sk-8, v1.2.3, user@host, 2027-01-15 10:00, +49 30 1234567."
    assert guard(Guards().rules, text) == (text, [])


def test_a_pattern_of_ones_own_may_refuse() -> None:
    guards = Guards.model_validate({"patterns": [{"name": "project", "pattern": "(?i)bluebird", "action": "refuse"}]})
    with pytest.raises(Refused, match="project") as error:
        guard(guards.rules, "about BlueBird")
    assert "BlueBird" not in str(error.value)


@pytest.mark.parametrize("pattern", ["", "(", "a*"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        Guards.model_validate({"patterns": [{"name": "x", "pattern": pattern, "action": "mask"}]})


def test_a_request_that_is_too_large_is_refused_before_it_is_read(make: Maker, ask: Ask, provider: Provider) -> None:
    client = make(guards={"max-input": 1000})
    assert ask(client, text="x" * 500).status_code == 200
    refused = ask(client, text="x" * 1000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "input_too_large")
    assert len(provider.requests) == 1


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return json.dumps([vars(record) for record in caplog.records], default=str)


@pytest.mark.parametrize("stream", [False, True])
def test_texts_are_logged_only_for_a_tenant_that_says_so_and_masked(
    make: Maker, ask: Ask, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    caplog.set_level(logging.DEBUG, "ai")
    ask(make(), text=f"Ahoy {CARD}", stream=stream)
    assert "Ahoy" not in logged(caplog) and "anchor holds" not in logged(caplog)
    ask(make({"log-content": True}), text=f"Ahoy {CARD}", stream=stream)
    assert "Ahoy [card]" in logged(caplog) and "anchor holds" in logged(caplog)
    assert CARD not in logged(caplog)


def test_what_is_wrong_with_a_request_is_told_without_its_values(make: Maker, ask: Ask) -> None:
    answer = ask(make(), temperature="hush-hush")
    assert answer.status_code == 400
    assert "temperature" in answer.text and "hush" not in answer.text


def test_a_pattern_that_takes_too_long_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.guards.MOST_SECONDS", 0.05)
    guards = Guards.model_validate({"patterns": [{"name": "slow", "pattern": "(x+x+)+y", "action": "mask"}]})
    with pytest.raises(Refused, match="slow takes too long"):
        guard(guards.rules, "x" * 5000)
