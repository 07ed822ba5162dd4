"""Prompts: files in ai/prompts/ with front matter, which is TOML between two lines of `+++`, and {{variables}}.

A prompt answers as POST /prompts/NAME. Its version and a digest of its file say which text was answered.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jsonschema
from pydantic import Field

from app.files import ConfigError, Name, Table, parse_toml

VARIABLE = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")
FRONT_MATTER = re.compile(r"\A\+\+\+\n(.*?)^\+\+\+\n(.*)\Z", re.DOTALL | re.MULTILINE)

VariableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Parameters(Table):
    """What the model is asked with."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_output: int | None = Field(default=None, ge=1)
    seed: int | None = None


class Example(Table):
    """A test: what the text must hold for these variables, and an answer that must fit the schema."""

    variables: dict[VariableName, str]
    contains: Annotated[tuple[str, ...], Field(strict=False)] = ()
    answer: str | None = None


class FrontMatter(Table):
    """What stands before the text."""

    model: Name
    version: int = Field(ge=1)
    variables: dict[VariableName, str] = {}
    system: str | None = None
    parameters: Parameters = Parameters()
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    tests: Annotated[tuple[Example, ...], Field(strict=False)] = ()


class Prompt(NamedTuple):
    """A prompt, ready to be asked."""

    name: str
    file: Path
    version: str
    front: FrontMatter
    text: str

    @property
    def model(self) -> str:
        """The model that answers it."""
        return self.front.model

    def messages(self, variables: dict[str, str]) -> list[dict[str, str]]:
        """Return what the model is sent; every variable must be given, and no other.

        Raises:
            ValueError: a variable is missing or not known.
        """
        if missing := sorted(set(self.front.variables) - set(variables)):
            raise ValueError(f"missing variables: {', '.join(missing)}")
        if unknown := sorted(set(variables) - set(self.front.variables)):
            known = ", ".join(self.front.variables) or "none"
            raise ValueError(f"unknown variables: {', '.join(unknown)}; the prompt has: {known}")
        texts = (("system", self.front.system), ("user", self.text))
        return [{"role": role, "content": _fill(text, variables)} for role, text in texts if text]

    def read_answer(self, answer: str) -> Any:
        """Return a model's answer: text, or what it says by the prompt's schema.

        Raises:
            ValueError: it does not fit the schema.
        """
        if self.front.json_schema is None:
            return answer
        try:
            found = json.loads(answer)
            jsonschema.validate(found, self.front.json_schema, jsonschema.Draft202012Validator)
        except ValueError as error:
            raise ValueError(f"the answer is not JSON: {error}") from error
        except jsonschema.ValidationError as error:
            raise ValueError(f"the answer does not fit the schema at {error.json_path}") from error
        return found


def _fill(text: str, variables: dict[str, str]) -> str:
    """Return a text with its variables; what looks like one within a value stays as it is."""
    return VARIABLE.sub(lambda match: variables[match[1]], text)


def read_prompts(folder: Path) -> dict[str, Prompt]:
    """Return the prompts of a folder by their names.

    Raises:
        ConfigError: one is wrong.
    """
    return {file.stem: read_prompt(file) for file in sorted(folder.glob("*.md"))}


def read_prompt(file: Path) -> Prompt:
    """Return the prompt that a file has."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", file.stem):
        raise ConfigError(file, "", "its name cannot be a route", "Lower-case letters, digits and dashes: summary.md.")
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(file, "", f"it cannot be read: {error}", "Restore it from git.") from error
    match = FRONT_MATTER.match(content)
    if not match or not match[2].strip():
        raise ConfigError(
            file, "", "it has no front matter, or no text after it", "Begin with TOML between two lines of +++."
        )
    front = parse_toml(file, match[1], FrontMatter)
    version = f"{front.version}-{sha256(content.encode()).hexdigest()[:12]}"
    prompt = Prompt(file.stem, file, version, front, match[2].strip())
    _check_variables(prompt)
    _check_schema(prompt)
    for number, example in enumerate(front.tests):
        _check_example(prompt, f"tests.{number}", example)
    return prompt


def _check_variables(prompt: Prompt) -> None:
    used = set(VARIABLE.findall(f"{prompt.front.system or ''}\n{prompt.text}"))
    declared = set(prompt.front.variables)
    if used != declared:
        names = ", ".join(sorted(used ^ declared))
        raise ConfigError(
            prompt.file, "variables", f"declared or used, but not both: {names}",
            'Write each {{name}} of the text under [variables]: name = "what it is".',
        )  # fmt: skip


def _check_schema(prompt: Prompt) -> None:
    if prompt.front.json_schema is None:
        return
    try:
        jsonschema.Draft202012Validator.check_schema(prompt.front.json_schema)
    except jsonschema.SchemaError as error:
        raise ConfigError(prompt.file, "schema", error.message, "Write a JSON Schema, as TOML.") from error
    if "$ref" in json.dumps(prompt.front.json_schema):
        raise ConfigError(prompt.file, "schema", "it refers to another one", "Write it out: nothing is fetched.")


def _check_example(prompt: Prompt, key: str, example: Example) -> None:
    """Run one of a prompt's own tests."""
    try:
        messages = prompt.messages(example.variables)
        if example.answer is not None:
            prompt.read_answer(example.answer)
    except ValueError as error:
        raise ConfigError(prompt.file, key, str(error), "Correct the test, or the prompt.") from error
    sent = "\n".join(message["content"] for message in messages)
    for text in example.contains:
        if text not in sent:
            raise ConfigError(prompt.file, f"{key}.contains", f"{text!r} is not sent", "Correct the test or the text.")
