"""Renders a template with given answers, by cookiecutter in a process of its own: the template's code runs there."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.run.process import run

SECONDS = 300.0
QUESTIONS = "cookiecutter.json"
PROGRAM = Path(__file__).with_name("_cookiecutter.py")
REFUSED = 3
"""The status that PROGRAM ends with where the template refuses its answers."""


@dataclass(frozen=True)
class RenderedTemplate:
    """A workspace as a template gives it: its folder, and all answers, the template's own defaults among them."""

    folder: Path
    answers: Mapping[str, Any]


def render_template(template: Path, answers: Mapping[str, Any], output: Path, what: str) -> RenderedTemplate:
    """Render a template without asking, in a new folder.

    Args:
        template: the folder that cookiecutter.json is in.
        answers: by question; of questions that are not among them the default counts.
        output: the folder, which is made, that gets the workspace and cookiecutter's own files.
        what: what is rendered, for messages: `the new template (1.4.0)`.

    Raises:
        ConfigError: the template refuses the answers.
        SlipwayError: cookiecutter failed.
    """
    output.mkdir(parents=True)
    request = {"template": str(template), "answers": dict(answers), "output": str(output)}
    result = run(
        [sys.executable, "-P", PROGRAM],
        cwd=output,
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": None},
        stdin=json.dumps(request),
        timeout=SECONDS,
    )
    if result.code:
        kind = ConfigError if result.code == REFUSED else SlipwayError
        raise kind(
            f"{what} could not be rendered with this workspace's answers",
            detail=result.tail(),
            remedy="Another answer is given by --answer QUESTION=ANSWER; the recorded ones stand in .cruft.json.",
        )
    (replay,) = (output / "replay").glob("*.json")
    found = json.loads(replay.read_text(encoding="utf-8"))["cookiecutter"]
    (folder,) = (output / "workspace").iterdir()
    return RenderedTemplate(folder, found)


def read_questions(text: str) -> dict[str, str]:
    """Return the questions of a cookiecutter.json with their prompts."""
    asked = json.loads(text)
    prompts = asked.get("__prompts__", {})
    return {name: _prompt(prompts.get(name)) for name in asked if not name.startswith("_")}


def _prompt(given: Any) -> str:
    """Return a question's text; cookiecutter's may be a table with the text of each choice."""
    return str(given.get("__prompt__", "")) if isinstance(given, Mapping) else str(given or "")
