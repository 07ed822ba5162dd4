"""Files and requests that nobody would write: refused by what is wrong with them, and never by a traceback."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from app import requests
from app.files import ConfigError
from app.settings import FOLDER, load
from app.upstream import check_models
from tests.gateways import KEY, PROVIDER_KEY, Maker
from tests.upstream import Provider

SEEDS = range(6)
TIMES = 60
PROMPT = (FOLDER / "prompts" / "fuzz.md").name
FILES = {
    "models.toml": """
[models.chat]
providers = [{ model = "openai/gpt-4.1-mini", key = "OPENAI_API_KEY", weight = 3 }]
fallbacks = ["local"]
timeout = 60
retries = 2
[models.local]
providers = [{ model = "openai/local", base-url = "http://llama:8080/v1", price = { input = 0, output = 0.5 } }]
max-output = 100
""",
    "tenants.toml": """
counters = "VALKEY_URL"
[tenants.shop]
models = ["chat"]
requests-per-minute = 60
budget-per-day = 5.0
log-content = true
""",
    "guards.toml": """
max-input = 1000
keys = "refuse"
answers = { keys = "mask" }
[[patterns]]
name = "customer"
pattern = 'C-\\d{8}'
action = "mask"
[moderation]
model = "m"
key = "OPENAI_API_KEY"
""",
    f"prompts/{PROMPT}": """+++
model = "chat"
version = 1
variables = { text = "what" }
parameters = { temperature = 0.2, max-output = 50 }
[schema]
type = "object"
[[tests]]
variables = { text = "An anchor." }
answer = "{}"
+++
Say: {{text}}
""",
}
ODD = ["", "0", "-1", "1e999", "nan", '"x"', "true", "[]", "{}", "[[1]]", '"\\u0000"', "9" * 400,
       "2026-12-01", "=", "+++\n",
       '"a\\r\\nb"', "[models.chat]", "{{x}}", "'(a+)+$'", "\x00", "\ud7ff", "'('", '"../../etc/passwd"']  # fmt: skip


def changed(text: str, chance: random.Random) -> str:
    """Return a text with some of its words or lines taken away, doubled, exchanged, or replaced by odd ones."""
    for _ in range(chance.randint(1, 3)):
        parts = text.split(" ") if chance.random() < 0.6 else text.splitlines(keepends=True)
        joint = " " if parts and not parts[0].endswith("\n") else ""
        at, other = chance.randrange(len(parts)), chance.randrange(len(parts))
        what = chance.randrange(4)
        if what == 0:
            del parts[at]
        elif what == 1:
            parts.insert(other, parts[at])
        elif what == 2:
            parts[at], parts[other] = parts[other], parts[at]
        else:
            parts[at] = chance.choice(ODD)
        text = joint.join(parts) or " "
    return text


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_is_right_or_refused_with_its_name_and_a_remedy(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  the same each time
    (tmp_path / "prompts").mkdir()
    refused = 0
    for _ in range(TIMES):
        name = chance.choice(list(FILES))
        for each, text in FILES.items():
            (tmp_path / each).write_text(changed(text, chance) if each == name else text, encoding="utf-8")
        try:
            check_models(load(tmp_path))
        except ConfigError as error:
            refused += 1
            assert ".toml" in str(error) or ".md" in str(error)
            assert "remedy" in str(error)
    assert refused > TIMES // 3


VALUES: list[Any] = [
    None, True, 0, -1, 10**30, 1e308, 0.5, "", "x", "good\r\nX-Evil: 1", "good\x00", "../good", "é\u2028", [], {},
    [None], [[]], {"x": 1}, {"role": "user"}, [{"role": "user", "content": "x"}], "a" * 3000, "sk-" + "a1B2" * 8,
]  # fmt: skip
KEYS = [
    "model", "messages", "prompt", "input", "stream", "stream_options", "max_tokens", "n", "temperature", "stop",
    "tools", "tool_choice", "response_format", "logprobs", "user", "seed", "api_base", "api_key", "extra_headers",
    "mock_response", "metadata", "variables", "custom_llm_provider", "base_url", "headers", "\r\nX",
]  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "good", "messages": [{"role": "user", "content": "Hello"}]},
    "/v1/completions": {"model": "good", "prompt": "Hello"},
    "/v1/embeddings": {"model": "vectors", "input": ["Hello"]},
    "/prompts/none": {"variables": {}},
}
MAY_BE_SENT = {
    *(name for shape in (requests.Chat, requests.Completion, requests.Embedding) for name in shape.model_fields),
    "stream_options",
    "encoding_format",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_request_is_answered_or_refused_and_nothing_else_is_passed_on(
    make: Maker, provider: Provider, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  the same each time
    client = make(guards={"max-input": 20_000})
    for _ in range(TIMES):
        path = chance.choice(list(BODIES))
        body = dict(BODIES[path])
        for _ in range(chance.randint(0, 3)):
            body[chance.choice([*body, *KEYS])] = chance.choice(VALUES)
        sent = json.dumps(body)
        if chance.random() < 0.1:
            sent = sent[: chance.randrange(len(sent))]
        answer = client.post(path, content=sent)
        assert answer.status_code in (200, 400, 403, 404), (path, sent, answer.text)
        assert "x-evil" not in answer.headers
        assert PROVIDER_KEY not in answer.text
    for request in provider.requests:
        assert set(request) <= MAY_BE_SENT
        assert request["model"] in ("good", "vectors")
        assert "sk-a1B2" not in json.dumps(request)
    assert set(provider.keys) <= {f"Bearer {PROVIDER_KEY}"}


DEEP = 50_000
GOOD = '{"model": "good", "messages": [{"role": "user", "content": "Hello"}]'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * DEEP, 400),
        (b'{"model": "good", "messages": ' + b"[" * DEEP + b"]" * DEEP + b"}", 400),
        (f'{GOOD}, "tool_choice": {"[" * 150}{"]" * 150}}}'.encode(), None),
        (f'{GOOD}, "tool_choice": {"[" * DEEP}{"]" * DEEP}}}'.encode(), 400),
        (f'{GOOD}, "response_format": {{"x": {"[" * 1000}{"]" * 1000}}}}}'.encode(), None),
        (f'{GOOD}, "model": "busy"}}'.encode(), 503),  # the last of two keys is the one that is looked at and sent
        (f'{GOOD}, "temperature": NaN}}'.encode(), 400),
        (f'{GOOD}, "temperature": 1e999}}'.encode(), 400),
        (f'{GOOD}, "tool_choice": {{"x": NaN}}}}'.encode(), 400),
        (f'{GOOD}, "tool_choice": {{"x": 1e999}}}}'.encode(), 400),
        (f'{GOOD}, "seed": {"9" * 5000}}}'.encode(), 400),
        (f'{GOOD}, "user": "\\ud800"}}'.encode(), 400),
        (b'{"model": "good", "messages": [{"role": "user", "content": "\xff\xfe"}]}', 400),
        (b"", 400),
        (b"null", 400),
        (b"\x00" * 100, 400),
        (b"\xef\xbb\xbf" + f"{GOOD}}}".encode(), 400),
        (f'{GOOD}, "user": "{"x" * 300_000}"}}'.encode(), 413),
    ],
)
def test_a_body_that_is_none_is_refused(make: Maker, provider: Provider, body: bytes, status: int | None) -> None:
    answer = make().post("/v1/chat/completions", content=body)
    assert answer.status_code in ((200, 400) if status is None else (status,)), answer.text
    if answer.status_code in (400, 413):
        assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
        assert provider.requests == []


@pytest.mark.parametrize("name", ["%0d%0aX-Evil:1", "..%2fsummary", "%00", "a" * 5000, "sümmary", "{{x}}"])
def test_a_prompts_name_reaches_no_header_and_no_file(make: Maker, name: str) -> None:
    answer = make().post(f"/prompts/{name}", json={"variables": {}})
    assert answer.status_code == 404
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("key", [f"{KEY}\t", f"{KEY} {KEY}", "ü" * 20, "x" * 60_000, f"{KEY},{KEY}"])
def test_a_key_with_something_more_is_none(make: Maker, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}".encode()}
    answer = make().get("/v1/models", headers=headers)
    assert answer.status_code == (200 if key == f"{KEY}\t" else 401)
