"""A template is rendered with given answers in a process of its own, and what it refuses is told with the remedy."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.run.process import ProcessResult
from slipway._internal.scaffold import _cookiecutter, template_render
from slipway._internal.scaffold.template_render import read_questions, render_template


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template with one file, which says what was answered, and a hook that refuses one answer."""
    root = tmp_path / "template"
    (root / "{{cookiecutter.slug}}").mkdir(parents=True)
    (root / "cookiecutter.json").write_text(json.dumps({"slug": "shop", "ci": ["github", "gitlab"], "owner": "ann"}))
    (root / "{{cookiecutter.slug}}" / "about").write_text("{{cookiecutter.ci}} {{cookiecutter.owner}}\n")
    (root / "hooks").mkdir()
    (root / "hooks" / "pre_gen_project.py").write_text(
        "import sys\nif '{{cookiecutter.owner}}' == 'nobody':\n    sys.exit('an owner is needed')\n"
    )
    return root


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """Let the program that renders run here; keep how it was asked."""
    asked: list[Any] = []

    def run(argv: list[Any], *, stdin: str, env: dict[str, Any], **_: Any) -> ProcessResult:
        asked.append((argv, env))
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            _cookiecutter.main()
        except SystemExit as end:
            return ProcessResult(int(str(end.code)), capsys.readouterr().out)
        return ProcessResult(0, capsys.readouterr().out)

    monkeypatch.setattr(template_render, "run", run)
    return asked


def test_given_answers_count_and_the_templates_own_for_the_rest(
    template: Path, tmp_path: Path, in_this_process: list[Any]
) -> None:
    found = render_template(template, {"ci": "gitlab"}, tmp_path / "out", "the template")
    assert found.folder.name == "shop"
    assert (found.folder / "about").read_text() == "gitlab ann\n"
    assert (found.answers["ci"], found.answers["owner"]) == ("gitlab", "ann")


def test_the_templates_code_sees_nothing_of_this_slipway(
    template: Path, tmp_path: Path, in_this_process: list[Any]
) -> None:
    render_template(template, {}, tmp_path / "out", "the template")
    ((argv, env),) = in_this_process
    assert argv == [sys.executable, "-P", template_render.PROGRAM] and env["PYTHONPATH"] is None
    assert "slipway" not in {name.partition(".")[0] for name in _imports(template_render.PROGRAM)}


def _imports(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in lines if line.startswith(("import ", "from "))]


@pytest.mark.parametrize("answers", [{"owner": "nobody"}, {"ci": "jenkins"}])
def test_an_answer_that_the_template_refuses_is_a_question_of_configuration(
    template: Path, tmp_path: Path, in_this_process: list[Any], answers: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match="the new template") as caught:
        render_template(template, answers, tmp_path / "out", "the new template")
    assert caught.value.detail and "--answer" in caught.value.remedy


def test_a_program_that_breaks_is_no_wrong_answer(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_render, "run", lambda *_, **__: ProcessResult(1, "ImportError: no cookiecutter"))
    with pytest.raises(SlipwayError, match="the template") as caught:
        render_template(template, {}, tmp_path / "out", "the template")
    assert not isinstance(caught.value, ConfigError) and "ImportError" in caught.value.detail


def test_questions_have_their_prompts_and_private_ones_are_none() -> None:
    asked = {
        "slug": "shop",
        "ci": ["github"],
        "owner": "",
        "_hidden": 1,
        "__prompts__": {"slug": "The name", "ci": {"__prompt__": "Which CI", "github": "GitHub"}},
    }
    assert read_questions(json.dumps(asked)) == {"slug": "The name", "ci": "Which CI", "owner": ""}
