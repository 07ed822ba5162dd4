"""A made-up template with a history: a small workspace of a few files, each version a commit and a tag."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.bake.generate import generate
from tests.conftest import ENGINE

from slipway._internal.scaffold.update import update_workspace
from slipway._internal.scaffold.update_apply import UpdatePlan
from slipway._internal.scaffold.update_plan import UpdateRequest

INSIDE = "{{cookiecutter.project_slug}}"
WHO = ("-c", "user.name=ann", "-c", "user.email=ann@localhost")
README = "# {{ cookiecutter.project_slug }}\n\n" + "".join(f"Line {number}.\n" for number in range(1, 21))
EXTENSIONS = f"""\
import sys
from pathlib import Path

from jinja2.ext import Extension

sys.path.insert(0, {str(ENGINE.parent)!r})
from slipway._internal.scaffold.template_record import generated_record


class Record(Extension):
    def __init__(self, environment):
        super().__init__(environment)
        environment.filters["record"] = lambda answers: generated_record(answers, Path(__file__).resolve().parent)
"""
QUESTIONS = """\
{"project_slug": "shop", "colour": "red"%s,
 "_extensions": ["shop_extensions.Record"], "_copy_without_render": ["*.py", "*.whl", "*.bin"]}
"""
FIRST: dict[str, str | bytes] = {
    "cookiecutter.json": QUESTIONS % "",
    "shop_extensions.py": EXTENSIONS,
    "CHANGELOG.md": "# Changelog\n\n## 1.0.0\n\n- The first.\n",
    f"{INSIDE}/.cruft.json": "{{ cookiecutter | record }}",
    f"{INSIDE}/.gitignore": ".slipway/\nlocal.cfg\n",
    f"{INSIDE}/README.md": README,
    f"{INSIDE}/workspace.toml": 'name = "{{ cookiecutter.project_slug }}"\ncolour = "{{ cookiecutter.colour }}"\n',
    f"{INSIDE}/tasks.py": "VERSION = 1\n",
    f"{INSIDE}/infra/main.py": "".join(f"line_{number} = {number}\n" for number in range(1, 31)),
    f"{INSIDE}/infra/rules.py": "RULES = ['limits']\n",
    f"{INSIDE}/infra/policy/one.py": "ONE = 1\n",
    f"{INSIDE}/logo.bin": b"\x89\x00logo one\x00",
    f"{INSIDE}/run.sh": "#!/bin/sh\necho one\n",
    f"{INSIDE}/services/web/service.toml": 'route = "/"\n',
    f"{INSIDE}/services/web/app.py": "".join(f"page_{number} = {number}\n" for number in range(1, 21)),
    f"{INSIDE}/vendor/slipway_workspace-1.0.0-py3-none-any.whl": b"PK\x03\x04 engine one\x00",
}


class History:
    """A template's repository, to which versions are added; it has the first one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.exists():
            folder.mkdir(parents=True)
            git(folder, "init", "--quiet", "--initial-branch=main")
            self.release("1.0.0", FIRST)

    def release(
        self, version: str | None, files: dict[str, str | bytes | None] | dict[str, str | bytes], **modes: int
    ) -> str:
        """Write files (None removes one; `run_sh=0o755` gives the workspace's run.sh a mode), commit, tag, and return
        the commit."""
        for name, content in files.items():
            path = self.folder / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        for name, mode in modes.items():
            (self.folder / INSIDE / name.replace("_", ".")).chmod(mode)
        return self.commit(version)

    def rename(self, old: str, new: str) -> None:
        """Rename a file of the workspace, for the next version."""
        (self.folder / INSIDE / new).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / INSIDE / old).rename(self.folder / INSIDE / new)

    def commit(self, version: str | None = None) -> str:
        """Commit what is there, tag it, and return the commit."""
        git(self.folder, "add", "--all", ".")
        git(self.folder, "commit", "--quiet", "--message", version or "between versions")
        if version:
            git(self.folder, "tag", f"v{version}")
        return git(self.folder, "rev-parse", "HEAD").strip()

    def generate(self, folder: Path, *, commit: bool = True, **answers: str) -> Path:
        """Generate a workspace from what is checked out, put it into git, and return it."""
        done = generate(folder, template=self.folder, **answers)
        assert done.code == 0, done.output
        if commit:
            git(done.workspace, "init", "--quiet")
            save(done.workspace)
        return done.workspace


def save(workspace: Path) -> None:
    """Commit everything in a workspace."""
    git(workspace, "add", "--all", ".")
    git(workspace, "commit", "--quiet", "--allow-empty", "--message", "The team's")


def git(folder: Path, *words: str) -> str:
    """Return what git says; it knows no settings of this machine."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(["git", "-C", folder, *WHO, *words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def brought(workspace: Path, to: str | None = None, **answers: str) -> UpdatePlan:
    """Update a workspace, as one who agrees to everything, and return what was done."""
    found = update_workspace(workspace, UpdateRequest(to, answers=answers), lambda _line: None, lambda _question: True)
    assert found
    return found


def files_in(workspace: Path) -> dict[str, tuple[str, bytes]]:
    """Return what is in a workspace by path: the kind and mode, and the bytes."""
    found = {}
    for path in sorted(workspace.rglob("*")):
        name = path.relative_to(workspace)
        if name.parts[0] in (".git", ".slipway") or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink():
            found[str(name)] = ("link", str(path.readlink()).encode())
        else:
            found[str(name)] = ("run" if path.stat().st_mode & 0o100 else "file", path.read_bytes())
    return found


def second(history: History) -> str:
    """Add a version in which files are added, renamed, deleted, changed, made executable, linked; a new engine."""
    history.rename("infra/rules.py", "infra/policy/rules.py")
    (history.folder / INSIDE / "infra" / "latest").symlink_to("main.py")
    main = str(FIRST[f"{INSIDE}/infra/main.py"])
    return history.release(
        "2.0.0",
        {
            "CHANGELOG.md": "# Changelog\n\n## 2.0.0\n\n- The second.\n\n## 1.0.0\n\n- The first.\n",
            f"{INSIDE}/infra/main.py": main.replace("line_3 = 3\n", "line_3 = 'three'\n"),
            f"{INSIDE}/infra/policy/one.py": None,
            f"{INSIDE}/infra/added.py": "ADDED = 1\n",
            f"{INSIDE}/logo.bin": b"\x89\x00logo two\x00",
            f"{INSIDE}/tasks.py": "VERSION = 2\n",
            f"{INSIDE}/vendor/slipway_workspace-1.0.0-py3-none-any.whl": None,
            f"{INSIDE}/vendor/slipway_workspace-2.0.0-py3-none-any.whl": b"PK\x03\x04 engine two\x00",
        },
        run_sh=0o755,
    )


def third(history: History) -> str:
    """Add a version with a new question, and a file that was not there two versions ago changed."""
    return history.release(
        "3.0.0",
        {
            "cookiecutter.json": QUESTIONS % ', "shape": "round"',
            f"{INSIDE}/infra/added.py": "ADDED = 2\n",
            f"{INSIDE}/README.md": README.replace("Line 2.", "Line two: {{ cookiecutter.shape }}."),
        },
    )


def changed(path: str, old: str, new: str) -> dict[str, str | bytes | None]:
    """Return a file of the first version with a text in another's place."""
    name = f"{INSIDE}/{path}"
    text = FIRST[name]
    assert isinstance(text, str) and old in text
    return {name: text.replace(old, new)}


def edit(workspace: Path, path: str, old: str, new: str) -> None:
    file = workspace / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def status(workspace: Path) -> list[str]:
    return git(workspace, "status", "--short").splitlines()
