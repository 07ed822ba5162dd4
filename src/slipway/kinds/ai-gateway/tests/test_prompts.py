"""A prompt is a file: read strictly, tested by its own examples, answered with the version that was asked."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from app.files import ConfigError
from app.prompts import read_prompt
from tests.gateways import Maker, usage
from tests.upstream import Provider

TEXT = """+++
model = "good"
version = 3
system = "Be short."
[variables]
text = "what to sort"
[parameters]
temperature = 0.1
max-output = 40
[schema]
type = "object"
required = ["kind"]
additionalProperties = false
[schema.properties.kind]
enum = ["ship", "boat"]
[[tests]]
variables = { text = "A tanker" }
contains = ["Sort: A tanker"]
answer = '{"kind": "ship"}'
+++
Sort: {{text}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "sort.md"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_a_prompt_is_a_route_and_the_answer_says_which_version(
    make: Maker, provider: Provider, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ai")
    prompt = read_prompt(file)
    client = make(prompts={"sort": prompt})
    provider.answer = '{"kind": "boat"}'
    answer = client.post("/prompts/sort", json={"variables": {"text": "A {{text}} dinghy"}})
    assert answer.json() == {"prompt": "sort", "version": prompt.version, "output": {"kind": "boat"}}
    assert prompt.version.startswith("3-")
    assert (answer.headers["X-AI-Prompt"], answer.headers["X-AI-Prompt-Version"]) == ("sort", prompt.version)
    (sent,) = provider.requests
    assert sent["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Sort: A {{text}} dinghy"},
    ]
    assert (sent["max_tokens"], sent["temperature"]) == (40, 0.1)
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["kind"]
    assert [row["prompt"] for row in usage(client).json()] == [f"sort@{prompt.version}"]
    assert f"sort@{prompt.version}" in json.dumps([vars(record) for record in caplog.records], default=str)


@pytest.mark.parametrize("text", ["no JSON", '{"kind": "car"}', '{"kind": "ship", "more": 1}', "[]"])
def test_an_answer_that_does_not_fit_the_schema_is_no_answer(
    make: Maker, provider: Provider, file: Path, text: str
) -> None:
    client = make(prompts={"sort": read_prompt(file)})
    provider.answer = text
    answer = client.post("/prompts/sort", json={"variables": {"text": "x"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "answer_does_not_fit")
    assert answer.headers["X-AI-Prompt-Version"].startswith("3-")
    assert usage(client).json()[0]["output"] > 0


def test_a_prompt_is_refused_with_wrong_variables_or_for_a_tenant_without_its_model(make: Maker, file: Path) -> None:
    prompts = {"sort": read_prompt(file)}
    client = make(prompts=prompts)
    for body, said in (
        ({}, "missing variables: text"),
        ({"variables": {"text": "x", "y": "z"}}, "unknown variables: y"),
        ({"variables": {"text": 5}}, "variables.text"),
        ({"other": 1}, "other"),
    ):
        answer = client.post("/prompts/sort", json=body)
        assert answer.status_code == 400 and said in answer.json()["error"]["message"]
    assert client.post("/prompts/none", json={}).status_code == 404
    client = make({"models": ["busy"]}, prompts=prompts)
    assert client.post("/prompts/sort", json={"variables": {"text": "x"}}).status_code == 403


def test_every_change_of_a_prompt_is_another_version(file: Path) -> None:
    before = read_prompt(file).version
    file.write_text(TEXT.replace("Sort:", "Sort this:").replace('"Sort: A', '"Sort this: A'), encoding="utf-8")
    assert read_prompt(file).version != before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("+++\nmodel", "model", "no front matter"),
        ("version = 3", "version = 0", "version"),
        ("version = 3\n", "version = 3\nverion = 4\n", "there is no key 'verion'; the keys are: model, version"),
        ('text = "what to sort"', 'texts = "what to sort"', "declared or used, but not both: text, texts"),
        ("{{text}}", "{{text}} {{more}}", "declared or used, but not both: more"),
        ('contains = ["Sort: A', 'contains = ["Sort: B', "tests.0.contains"),
        ('{"kind": "ship"}', '{"kind": "car"}', "tests.0: the answer does not fit the schema at $.kind"),
        ('type = "object"', 'type = "thing"', "schema"),
        ("additionalProperties = false", '"$ref" = "http://x"', "nothing is fetched"),
        ("temperature = 0.1", 'temperature = "hot"', "parameters.temperature"),
        ("version = 3", "version = ", "not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_file_key_and_remedy(file: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_prompt(file)
    assert str(error.value).startswith(str(file))
    assert said in str(error.value) and "remedy" in str(error.value)


def test_a_name_that_cannot_be_a_route_is_refused(file: Path) -> None:
    odd = file.rename(file.with_name("Sort It.md"))
    with pytest.raises(ConfigError, match="cannot be a route"):
        read_prompt(odd)
