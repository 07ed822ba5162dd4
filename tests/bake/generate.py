"""Generates workspaces as their users do: by the `cookiecutter` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from cookiecutter.cli import main as cookiecutter
from tests.conftest import ROOT

QUESTIONS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = [(question, choice) for question, choices in QUESTIONS["_choices"].items() for choice in choices]
SECONDS = 120.0


@dataclass(frozen=True)
class Generated:
    """How `cookiecutter` ended, what it printed, and the folder that it was to write into."""

    code: int
    output: str
    folder: Path

    @property
    def workspace(self) -> Path:
        """The one workspace in the folder."""
        (workspace,) = self.folder.iterdir()
        return workspace


def generate(folder: Path, *, template: Path = ROOT, words: Sequence[str] = (), **answers: str) -> Generated:
    """Run `cookiecutter --no-input` with these answers, in a process of its own; `words` replace the template."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cookiecutter", *_arguments(folder, words or [template], answers)],
        # No configuration of whoever runs the tests, and no compiled files beside the template's.
        env={**os.environ, "COOKIECUTTER_CONFIG": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )
    return Generated(done.returncode, done.stdout, folder)


def generate_here(folder: Path, **answers: str) -> Generated:
    """Do the same in this process, which is many times quicker; an exception that gets out is a traceback."""
    done = CliRunner().invoke(cookiecutter, _arguments(folder, [ROOT], answers))
    leaked = done.exception is not None and not isinstance(done.exception, SystemExit)
    return Generated(done.exit_code, f"{done.output}{'Traceback' if leaked else ''}", folder)


def _arguments(folder: Path, template: Sequence[str | Path], answers: dict[str, str]) -> list[str]:
    given = (f"{question}={answer}" for question, answer in answers.items())
    return [*map(str, template), "--no-input", "--output-dir", str(folder), *given]


def files_of(folder: Path) -> dict[str, Path]:
    """Return all files below a folder by their path in it."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
