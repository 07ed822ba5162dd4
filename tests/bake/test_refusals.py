"""Bad answers are refused before a file is written: with the reason, an example, exit 1 and no traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.bake.generate import QUESTIONS, Generated, files_of, generate, generate_here
from tests.conftest import ROOT

BAD = {
    "project_slug": [
        "",
        " ",
        "Demo",
        "my shop",
        "my_shop",
        "1st",
        "-demo",
        "demo-",
        "demo/",
        "demo\\",
        "a/b",
        "..",
        "../demo",
        ".",
        "/tmp/demo",
        r"C:\work\demo",
        'de"mo',
        "de'mo",
        "demo🚢",
        "démo",
        "de\nmo",
        "demo\n",
        "{{ cookiecutter }}",
        "$(id)",
        "d" * 41,
        "d" * 5000,
    ],
    "registry": [
        "",
        "https://ghcr.io/acme",
        "ghcr.io/acme team",
        "ghcr.io/acme/",
        "ghcr.io/Acme",
        "GHCR.io/acme",
        "user@ghcr.io",
        "ghcr.io/acme@sha256:0",
        "ghcr.io:0/acme",
        "ghcr.io:65536",
        "ghcr.io:port",
        "ghcr.io//acme",
        "-ghcr.io",
        'ghcr.io/"acme"',
        "ghcr.io/acme\n",
        "ghcr.io/⚓",
    ],
    "gateway_port": ["", "0", "-1", "65536", "1.5", "080 80", "http", "0x50", "８０８０", "9" * 400, "8080\n"],
    "state": ["", "Local", "s3://", "ftp://state", "file:///tmp/state", "s3://team state", 's3://a"b', "local\n"],
    **{
        question: ["", "nope", f"{choices[0]} ", choices[0].upper()]
        for question, choices in QUESTIONS["_choices"].items()
    },
}
CASES = [(question, answer) for question, answers in BAD.items() for answer in answers]


@pytest.mark.parametrize(("question", "answer"), CASES, ids=lambda each: ascii(each)[1:21] or "empty")
def test_a_bad_answer_is_refused_before_a_file_is_written(question: str, answer: str, tmp_path: Path) -> None:
    assert_refused(generate_here(tmp_path, **{question: answer}), question)


@pytest.mark.parametrize("question", BAD)
def test_so_it_is_by_the_command_itself(question: str, tmp_path: Path) -> None:
    assert_refused(generate(tmp_path, **{question: BAD[question][0]}), question)


def assert_refused(done: Generated, question: str) -> None:
    """Check that a refusal says what is wrong and how it is right, and that nothing was written."""
    assert done.code == 1, done.output
    assert not list(done.folder.iterdir())
    assert "Nothing was generated" in done.output
    assert f"{question}: " in done.output
    assert "for example: " in done.output
    assert "Traceback" not in done.output
    assert len(done.output) < 500


def test_all_bad_answers_are_told_at_once(tmp_path: Path) -> None:
    done = generate_here(tmp_path, project_slug="My Shop", registry="http://x", gateway_port="0")
    assert done.code == 1
    assert all(f"{question}: " in done.output for question in ("project_slug", "registry", "gateway_port"))


@pytest.mark.parametrize(
    "answers",
    [
        {"project_slug": "a"},
        {"project_slug": "team-shop-2"},
        {"project_slug": "d" * 40},
        {"registry": "ghcr.io/acme/shop"},
        {"registry": "localhost:5001"},
        {"registry": "[::1]:5000"},
        {"gateway_port": "1"},
        {"gateway_port": "65535"},
        {"state": "service"},
        {"state": "s3://team-state?region=eu-central-1"},
    ],
    ids=lambda answers: "&".join(f"{key}={value[:20]}" for key, value in answers.items()),
)
def test_an_unusual_good_answer_is_taken(tmp_path: Path, answers: dict[str, str]) -> None:
    done = generate_here(tmp_path, **answers)
    assert done.code == 0, done.output
    assert done.workspace.name == answers.get("project_slug", QUESTIONS["project_slug"])


def test_a_folder_that_exists_is_refused_and_kept(tmp_path: Path) -> None:
    mine = tmp_path / QUESTIONS["project_slug"] / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("precious")
    done = generate(tmp_path)
    assert done.code == 1
    assert "already exists" in done.output
    assert "Traceback" not in done.output
    assert files_of(tmp_path) == {f"{QUESTIONS['project_slug']}/mine.txt": mine}
    assert mine.read_text() == "precious"


def test_compiled_files_and_caches_in_the_template_are_not_baked(tmp_path: Path) -> None:
    template = tmp_path / "template"
    shutil.copytree(
        ROOT,
        template,
        ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", ".nox", "tests", "demo", "out"),
    )
    inner = template / "{{cookiecutter.project_slug}}"
    litter = {
        "slipway/__pycache__/x.cpython-311.pyc",
        "infra/__pycache__/y.pyc",
        "libs/common/__pycache__/z.pyc",
        ".ruff_cache/0.17/1",
        ".mypy_cache/3.11/x.json",
        "services/.pytest_cache/v",
    }
    for name in litter:
        (inner / name).parent.mkdir(parents=True, exist_ok=True)
        (inner / name).write_bytes(b"no text \xff\x8e {{ nothing }}")
    done = generate(tmp_path / "out", template=template)
    assert done.code == 0, done.output
    assert not litter & set(files_of(done.workspace))
