"""A workspace that serves is updated over two versions of the template, and serves what they brought and its team did.

It has a .venv of its own, as a user's has: an update replaces the engine that it runs on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.bake.generate import generate
from tests.conftest import ROOT
from tests.e2e.conftest import REGISTRY, free_ports, leftovers, sweep
from tests.e2e.workspace import Ran, Workspace

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

NAME = "slipway-e2e-update"
KIND = "src/slipway/kinds/python-api/app/main.py"
ENGINE = "src/slipway/__init__.py"


class Template(Workspace):
    """A repository of this template as it stands here and now, to which versions are added."""

    def release(self, version: str) -> None:
        """Commit everything as a version."""
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--message", version)
        self.git("tag", version)

    def set_engine(self, version: str) -> None:
        """Give the engine another version, and so the wheel another name and digest."""
        file = self.root / ENGINE
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        assert any(line.startswith("__version__ = ") for line in lines)
        changed = (f'__version__ = "{version}"\n' if line.startswith("__version__ = ") else line for line in lines)
        file.write_text("".join(changed), encoding="utf-8")


@dataclass
class OwnPython(Workspace):
    """A workspace whose commands go through its tasks.py, which makes and renews its .venv."""

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "tasks.py", *words],
            cwd=self.root,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def succeed(self, *words: str) -> Ran:
        ran = self.invoke(*words)
        assert ran.code == 0, ran.output
        return ran

    def engine_version(self) -> str:
        """Return the version of the engine that is installed."""
        ask = "import slipway; print(slipway.__version__)"
        python = self.root / ".venv" / "bin" / "python"
        return subprocess.run([python, "-c", ask], cwd="/", capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--message", message)


@pytest.fixture
def template(tmp_path: Path) -> Template:
    """The template's repository with its first version."""
    root = tmp_path / "template"
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
            (root / name).chmod((ROOT / name).stat().st_mode)
    made = Template(root, 0)
    made.git("init", "--quiet", "--initial-branch=main")
    made.release("v101.0.0")
    return made


@pytest.fixture
def team(template: Template, tmp_path: Path, machine: None) -> Iterator[OwnPython]:
    """A workspace of that version in git; nothing of it is left afterwards."""
    port = free_ports(3)
    answers = {"project_slug": NAME, "registry": REGISTRY, "services": "api", "ci": "none", "gateway_port": str(port)}
    made = OwnPython(generate(tmp_path / "work", template=template.root, **answers).workspace, port)
    made.git("init", "--quiet")
    made.commit("Generated")
    sweep(NAME)
    try:
        yield made
    finally:
        made.invoke("down", "--yes")
        left = leftovers(NAME)
        sweep(NAME)
    assert left == []


def test_a_workspace_that_serves_is_updated_over_two_versions_and_serves_again(
    template: Template, team: OwnPython
) -> None:
    team.succeed("up", "--yes")
    assert team.get("/api/health") == (200, '{"status":"ok"}')
    team.edit("services/api/app/main.py", '"lantern"', '"sextant"')
    team.commit("The team's")

    template.set_engine("101.1.0")
    template.edit(KIND, '{"status": "ok"}', '{"status": "ok", "template": "second"}')
    template.release("v101.1.0")
    said = team.succeed("update").output
    assert "The workspace is at v101.1.0" in said
    assert "api" in team.succeed("status").stdout
    assert team.engine_version() == "101.1.0", "the next command has renewed .venv"
    team.commit("Template v101.1.0")

    template.set_engine("101.2.0")
    template.edit(KIND, '"service": "api",', '"service": "api", "template": "third",')
    template.release("v101.2.0")
    assert team.invoke("update", "--check").code == 1
    team.succeed("update")
    assert [path.name for path in (team.root / "vendor").glob("*.whl")] == [
        "slipway_workspace-101.2.0-py3-none-any.whl"
    ]
    team.succeed("up", "--yes")
    assert team.engine_version() == "101.2.0"
    assert json.loads(team.get("/api/health")[1]) == {"status": "ok", "template": "second"}
    assert json.loads(team.get("/api/info")[1])["template"] == "third"
    assert "sextant" in team.get("/api/items")[1], "what the team changed is there as well"
    team.commit("Template v101.2.0")

    assert "up to date with its template" in team.succeed("update").output
    assert "Nothing changed" in team.succeed("up", "--yes").output
    assert team.git("status", "--porcelain") == ""
