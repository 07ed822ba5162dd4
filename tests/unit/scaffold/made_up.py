"""A made-up template whose renderer only fills in answers: updates over it run no cookiecutter, but the real git."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import ConfigError
from slipway._internal.scaffold.template_record import record_text
from slipway._internal.scaffold.template_render import RenderedTemplate

INSIDE = "{{cookiecutter.project_slug}}"
WHO = ("-c", "user.name=ann", "-c", "user.email=ann@localhost")
QUESTIONS = {"project_slug": "shop", "ci": "none"}
WHEEL = "vendor/slipway_workspace-{}-py3-none-any.whl"
FILES = {
    ".gitignore": ".slipway/\n",
    "README.md": "# {project_slug}\n\nci: {ci}\n",
    "workspace.toml": 'name = "{project_slug}"\n',
    "main.py": "".join(f"line_{number} = {number}\n" for number in range(1, 31)),
    WHEEL.format(1): "engine one\n",
}


def git(folder: Path, *words: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", "-C", folder, *WHO, *words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def save(folder: Path, message: str = "saved") -> str:
    """Commit everything in a folder, and return the commit."""
    git(folder, "add", "--all", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD").strip()


def status(folder: Path) -> list[str]:
    return git(folder, "status", "--short").splitlines()


def undo(folder: Path) -> None:
    git(folder, "restore", "--source=HEAD", "--staged", "--worktree", "--", ".")


def fill_in(template: Path, answers: Mapping[str, Any], output: Path, what: str) -> RenderedTemplate:
    """Render as `render_template` does: the recorded answers count, defaults else; `ci=bad` is refused."""
    asked = json.loads((template / "cookiecutter.json").read_text())
    given = {name: answers.get(name, default) for name, default in asked.items() if not name.startswith("_")}
    if given.get("ci") == "bad":
        raise ConfigError(f"{what} could not be rendered with this workspace's answers", remedy="--answer")
    folder = output / "workspace"
    for path in sorted((template / INSIDE).rglob("*")):
        if path.is_file():
            text = path.read_text()
            for name, answer in given.items():
                text = text.replace(f"{{{name}}}", str(answer))
            target = folder / path.relative_to(template / INSIDE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    (folder / ".cruft.json").write_text("{}\n")
    return RenderedTemplate(folder, {**given, "_template": str(template)})


class Template:
    """A template's repository, to which versions are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch=main")
        self.questions(**QUESTIONS)
        self.first = self.release("1.0.0", {"CHANGELOG.md": "# Changelog\n\n## 1.0.0\n\n- The first.\n"}, FILES)

    def questions(self, **asked: str) -> None:
        """Have the next version ask these questions, with these defaults."""
        self.folder.joinpath("cookiecutter.json").write_text(json.dumps(asked))

    def release(
        self, version: str | None, top: Mapping[str, str | None], inside: Mapping[str, str | None] | None = None
    ) -> str:
        """Write files of the template and of its workspaces (None removes one), commit, tag; return the commit."""
        for name, text in {**top, **{f"{INSIDE}/{name}": text for name, text in (inside or {}).items()}}.items():
            path = self.folder / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        commit = save(self.folder, version or "between versions")
        if version:
            git(self.folder, "tag", f"v{version}")
        return commit

    def generate(self, folder: Path, **answers: str) -> Path:
        """Make a workspace of what is checked out, in git, and return it."""
        rendered = fill_in(self.folder, answers, folder.with_name(f"{folder.name}-rendered"), "it")
        rendered.folder.rename(folder)
        self.record(folder, rendered.answers)
        git(folder, "init", "--quiet")
        save(folder)
        return folder

    def record(self, workspace: Path, answers: Mapping[str, Any], **keys: Any) -> None:
        """Write a workspace's .cruft.json."""
        known = {"template": str(self.folder), "commit": git(self.folder, "rev-parse", "HEAD").strip()}
        given = {**known, "checkout": None, "directory": None, **keys}
        (workspace / ".cruft.json").write_text(record_text(answers, **given))
