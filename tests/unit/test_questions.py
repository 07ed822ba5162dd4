"""The questions are at most eight, and what cookiecutter shows of them is what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.text import Text
from tests.conftest import ROOT

ANSWERS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
QUESTIONS = [name for name in ANSWERS if not name.startswith("_")]


def test_there_are_at_most_eight_questions() -> None:
    assert len(QUESTIONS) <= 8


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_has_a_prompt_that_is_no_markup(question: str) -> None:
    prompt = ANSWERS["__prompts__"][question]
    assert Text.from_markup(prompt).plain == prompt  # cookiecutter prints it as rich markup


@pytest.mark.parametrize("question", sorted(ANSWERS["_choices"]))
def test_a_choice_names_all_that_may_be_chosen_and_defaults_to_one(question: str) -> None:
    assert ANSWERS[question] in ANSWERS["_choices"][question]
    assert all(choice in ANSWERS["__prompts__"][question] for choice in ANSWERS["_choices"][question])
